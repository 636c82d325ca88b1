"""Click simulation: an expert that knows the truth plays an exercise with a click tool (DESIGN section 6).

``sampled`` draws how the episode is to go, ``simulate`` plays it; so a trajectory can be made again from its plan. In
the stories of self-reflection a wrong turn is noticed and taken back ("self-correction"), or the given mask isn't what
is asked for and is set aside ("inconsistent"). Wrong turns stay in the story, flagged as not to be learned.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.random import Generator

from napari_ibisagent.core.actions import Action, Click, Discard, PromptAction, Revert, Terminate, Turn
from napari_ibisagent.core.clicks import next_click
from napari_ibisagent.core.distance import deepest, inner_distance
from napari_ibisagent.core.masks import Mask, error_regions, iou
from napari_ibisagent.core.packed import PackedMask
from napari_ibisagent.core.protocols import OpenedView, Segmenter
from napari_ibisagent.core.view import View
from napari_ibisagent.training.trajectories.exercises import Exercise
from napari_ibisagent.training.trajectories.form import Trajectory, TrajectoryStep
from napari_ibisagent.training.words.answers import absent_answer, answer
from napari_ibisagent.training.words.thoughts import Kind, thought

DIRECT, SELF_CORRECTION, INCONSISTENT = "direct", "self-correction", "inconsistent"
# How often each story is told, in parts.
STRAIGHT: Mapping[str, float] = {DIRECT: 1.0}
REFLECTION: Mapping[str, float] = {DIRECT: 0.7, SELF_CORRECTION: 0.15, INCONSISTENT: 0.15}
# Below this IoU a mask has nothing of its target; up to the other one it is more of something else.
_NOTHING, _HALF = 0.1, 0.5
# Of a pixel: decimals that are coarser than this favour some pixels.
_COARSE = 0.5


@dataclass(frozen=True, slots=True)
class Recipe:
    """How episodes are made.

    goal: the expert stops at this IoU. most: clicks in force at most, and as many that go astray. gain: from an IoU of
    ``enough`` on the expert stops rather than make a click that gains less than so much. near: the share of clicks that
    lie near the error's centre instead of on it. late: the share of corrections that mend the smaller error first.
    slips: the share of clicks that go astray; they are flagged, and what follows mends them. decimals: how finely a
    click is placed. stories: how often each is told. brief: thoughts of few words, for small models. varied: not always
    the same words for the same thing.
    """

    goal: float = 0.9
    most: int = 20
    gain: float = 0.005
    enough: float = 0.7
    near: float = 0.0
    late: float = 0.0
    slips: float = 0.0
    decimals: int = 4
    stories: Mapping[str, float] = field(default_factory=lambda: STRAIGHT)
    brief: bool = False
    varied: bool = True


@dataclass(frozen=True, slots=True)
class Plan:
    """How one episode is to go. wrong_at: before which click the wrong turn comes; None: there is none."""

    story: str = DIRECT
    wrong_at: int | None = None
    seed: int = 0


def sampled(exercise: Exercise, recipe: Recipe, rng: Generator) -> Plan:
    """A plan for an exercise; only stories that it can tell."""
    seed = int(rng.integers(2**32))
    names = [name for name in recipe.stories if recipe.stories[name] > 0 and _can_tell(exercise, name)]
    if not names:
        return Plan(seed=seed)
    shares = np.array([recipe.stories[name] for name in names], float)
    story = str(rng.choice(names, p=shares / shares.sum()))
    return Plan(story, int(rng.integers(2)) if story == SELF_CORRECTION else None, seed)


def simulate(
    exercise: Exercise,
    tool: Segmenter,
    recipe: Recipe,
    plan: Plan,
    opened: Callable[[View], OpenedView] | None = None,
) -> Trajectory:
    """The expert's episode. Raises BackendError where the tool fails.

    opened: gives a view that the tool has opened already, which is asked for only where the episode clicks.
    """
    play = _Play(exercise, recipe, np.random.default_rng(plan.seed))
    if exercise.answer:
        play.end(exercise.answer, Kind.DONE, "")
    elif not exercise.truth.any():
        play.end(absent_answer(exercise.target, play.wording), Kind.ABSENT, exercise.target)
    else:
        play.through((opened or tool.open)(exercise.view), plan)
    return Trajectory(
        name=exercise.name,
        prompt=exercise.prompt,
        target=exercise.target,
        shape=exercise.view.shape,
        steps=tuple(play.steps),
        source=exercise.source,
        kind=exercise.kind,
        story=play.story,
        given=play.given,
        truth=PackedMask.of(exercise.truth),
        segmenter=tool.name,
    )


def _can_tell(exercise: Exercise, story: str) -> bool:
    return story == DIRECT or bool(exercise.truth.any() and exercise.wrong)


class _Play:
    """One episode on its way."""

    def __init__(self, exercise: Exercise, recipe: Recipe, rng: Generator) -> None:
        self.rng = rng
        self.steps: list[TrajectoryStep] = []
        self.given: PackedMask | None = None
        # What it tells in the end: a wrong turn may find nothing to click on.
        self.story = DIRECT
        self._exercise, self._recipe = exercise, recipe
        self._mask: Mask = np.zeros(exercise.view.shape, bool)
        self._prompts: tuple[PromptAction, ...] = ()
        self._aims: set[Click] = set()
        self._strayed = 0

    def through(self, opened: OpenedView, plan: Plan) -> None:
        """Clicks until the goal is met or no click gains."""
        exercise, recipe = self._exercise, self._recipe
        if plan.story == INCONSISTENT:
            self._mask = self._other()
            self.given, self.story = PackedMask.of(self._mask), INCONSISTENT
            self._tell(Kind.DISCARD, (Discard(),), np.zeros_like(self._mask), None)
        wrong_at = plan.wrong_at
        while True:
            overlap = iou(self._mask, exercise.truth)
            aim = self._aim()
            over = aim is None or overlap >= recipe.goal or len(self._prompts) >= recipe.most
            over = over or aim in self._aims  # the tool won't do more about that place
            if wrong_at is not None and (over or len(self._prompts) >= wrong_at):
                wrong_at = None
                self._wrong_turn(opened)
                continue
            if over or aim is None:
                break
            click = self._placed(aim)
            mask = opened.segment((*self._prompts, click), None).mask
            if iou(mask, exercise.truth) < overlap + recipe.gain and overlap >= recipe.enough:
                break
            kind = Kind.MISSED if click.positive else Kind.SPILLED
            astray = self._astray(click)
            if astray is None:
                self._tell(kind, (click,), mask, click)
                self._prompts = (*self._prompts, click)
                self._aims.add(aim)
            else:
                self._strays(opened, kind, astray, overlap)
        if self._mask.any():
            self.end(answer(exercise.target, self.wording), Kind.DONE, exercise.target)

    def end(self, words: str, kind: Kind, target: str) -> None:
        """The closing turn."""
        said = "" if not target else self._thought(kind, None)
        overlap = None if self._exercise.answer else round(iou(self._mask, self._exercise.truth), 4)
        mask = PackedMask.of(self._mask) if self._mask.any() else None
        self.steps.append(TrajectoryStep(Turn(said, (Terminate(),), words), mask, overlap))

    def _tell(
        self, kind: Kind, actions: tuple[Action, ...], after: Mask, click: Click | None, *, learn: bool = True
    ) -> None:
        turn = Turn(self._thought(kind, click), actions)
        self._mask = after
        self.steps.append(TrajectoryStep(turn, PackedMask.of(after), round(iou(after, self._exercise.truth), 4), learn))

    @property
    def wording(self) -> Generator:
        """What words are drawn with."""
        return self.rng if self._recipe.varied else np.random.default_rng(0)

    def _thought(self, kind: Kind, click: Click | None) -> str:
        exercise = self._exercise
        if kind is Kind.MISSED and not self._mask.any():
            kind = Kind.FIRST
        return thought(
            *(kind, exercise.target, exercise.view.shape, self._mask, click, self.wording), brief=self._recipe.brief
        )

    def _strays(self, opened: OpenedView, kind: Kind, click: Click, overlap: float) -> None:
        """A click that went astray. What it ruined is taken back by those who reflect; else later clicks mend it."""
        before, prompts = self._mask, (*self._prompts, click)
        mask = opened.segment(prompts, None).mask
        self._tell(kind, (click,), mask, click, learn=False)
        ruined = iou(mask, self._exercise.truth) < max(0.5 * overlap, _NOTHING)
        if ruined and SELF_CORRECTION in self._recipe.stories:
            self._takes_back(before)
        else:
            self._prompts = prompts

    def _wrong_turn(self, opened: OpenedView) -> None:
        """A wrong click, and the turn that takes it back; neither where the click does no harm."""
        before = self._mask
        click = self._wrong_click()
        if click is None:
            return
        mask = opened.segment((*self._prompts, click), None).mask
        if iou(mask, self._exercise.truth) > max(iou(before, self._exercise.truth), _HALF):
            return
        self._tell(Kind.MISSED, (click,), mask, click, learn=False)
        self._takes_back(before)

    def _wrong_click(self) -> Click | None:
        """A click into something else."""
        spot = deepest(self._other() & ~self._exercise.truth & ~self._mask)
        if spot is None:
            return None
        return self._placed(Click(*self._exercise.view.point_of(spot[0], spot[1]), True))

    def _takes_back(self, before: Mask) -> None:
        self._tell(Kind.REVERT, (Revert(),), before, None)
        self.story = SELF_CORRECTION if self.story == DIRECT else self.story

    def _other(self) -> Mask:
        """Something else on the picture."""
        names = sorted(self._exercise.wrong)
        return self._exercise.wrong[names[int(self.rng.integers(len(names)))]]

    def _aim(self) -> Click | None:
        """Where the expert clicks next; None where nothing is left to mend."""
        recipe, goal = self._recipe, self._exercise.truth
        late, near = self.rng.random(2) < (recipe.late, recipe.near)
        missed, spilled = error_regions(self._mask, goal)
        if late and missed.any() and spilled.any():
            missed_is_larger = inner_distance(missed).max() >= inner_distance(spilled).max()
            goal = self._mask & goal if missed_is_larger else self._mask | goal
        centre = next_click(self._mask, goal)
        if centre is None:
            return None
        if near:
            depth = inner_distance(missed if centre.positive else spilled)
            rows, columns = np.nonzero(depth >= 0.5 * depth.max())
            n = int(self.rng.integers(len(rows)))
            return Click(*self._exercise.view.point_of(int(rows[n]), int(columns[n])), centre.positive)
        return centre

    def _astray(self, click: Click) -> Click | None:
        """A click that goes astray from where it should be, or None: this one doesn't."""
        if self.rng.random() >= self._recipe.slips or self._strayed >= self._recipe.most:
            return None
        self._strayed += 1
        extent = np.sqrt(np.count_nonzero(self._exercise.truth)) / max(self._exercise.view.shape)
        dx, dy = self.rng.normal(0, 0.4 * extent + 0.01, 2)
        x, y = (float(np.clip(v, 0.0, 1.0)) for v in (click.x + dx, click.y + dy))
        return self._placed(Click(x, y, click.positive))

    def _placed(self, aim: Click) -> Click:
        """The click in as many decimals as the recipe has.

        Where they are about as coarse as the pixels, some numbers stand for two pixels and others for one, and a model
        would learn to prefer the former. So the click lies anywhere in its pixel before it is rounded.
        """
        places, (rows, columns) = self._recipe.decimals, self._exercise.view.shape
        x, y = aim.x, aim.y
        if 10.0**-places * max(rows, columns) > _COARSE:
            dx, dy = self.rng.uniform(-0.5, 0.5, 2)
            x, y = (float(np.clip(v, 0.0, 1.0)) for v in (x + dx / columns, y + dy / rows))
        return Click(round(x, places), round(y, places), aim.positive)
