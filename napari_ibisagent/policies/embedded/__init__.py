"""The embedded policy: no weights, no GPU. It understands plain sentences, looks for evidence, and clicks by it.

It finds the target (``organs`` in CT, ``salience`` for described things), clicks where the tool's mask and its
evidence differ most, takes back what made the mask worse, and stops when nothing is left to gain. It is honest
rather than bold: whatever it doesn't know, or doesn't see well enough, ends as "not found" with the reason.

It speaks the text of the IBISAgent dialect like every other policy. What it leaves out: learned appearance.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from napari_ibisagent.core.actions import Action, Box, Click, Revert, Terminate, Turn
from napari_ibisagent.core.clicks import next_click
from napari_ibisagent.core.dialects.ibis import render
from napari_ibisagent.core.episode import Author, Episode, Verdict
from napari_ibisagent.core.knowledge import Resolution, Structure, read_knowledge, resolve
from napari_ibisagent.core.masks import Mask, bounding_box, dice
from napari_ibisagent.core.protocols import Location, Situation
from napari_ibisagent.core.target import Side, Target
from napari_ibisagent.core.view import AXES, Plane, View, view_of
from napari_ibisagent.core.volume import Volume
from napari_ibisagent.io.resources import resource
from napari_ibisagent.policies.embedded.organs import Absent, Finding, find
from napari_ibisagent.policies.embedded.salience import describe, find_thing
from napari_ibisagent.policies.embedded.sight import best_slice, goal_in_view
from napari_ibisagent.policies.embedded.survey import Survey

# The mask agrees with the evidence this well (Dice): nothing more to do.
_GOOD = 0.95
# Below this the tool did not reach what the evidence shows; the mask is not offered as an answer.
_POOR = 0.5
# Between these two the answer says that it should be checked.
_DOUBTFUL = 0.75
# After so many steps a mask that still agrees poorly is given up.
_PATIENCE = 8
# A step that gains less than this, twice, ends the episode; one that loses more than this is taken back.
_GAIN = 0.01
# Slices looked at when a described thing is searched for in a volume.
_SAMPLES = 24


@dataclass(frozen=True, eq=False, slots=True)
class _Goal:
    """What the policy expects on a view, with its evidence; ``mask`` None: not found, ``reason`` says why."""

    mask: Mask | None
    target: Target | None
    facts: tuple[str, ...] = ()
    reason: str = ""
    how: str = ""


class EmbeddedPolicy:
    """See the module. Evidence is kept for the last scan and view, so that a turn costs some ms."""

    name = "embedded"
    dialect = "ibis"

    def __init__(self, knowledge: tuple[Structure, ...]) -> None:
        self._knowledge = knowledge
        self._survey: tuple[Volume, Survey] | None = None
        self._found: dict[tuple[str, str], Finding | Absent] = {}
        self._goal: tuple[View, str, _Goal] | None = None

    # -- the two protocols -------------------------------------------------------------------------------

    def locate(self, volume: Volume, prompt: str, plane: Plane) -> Location:
        """The slice with the most evidence; see ``Locator``."""
        count = volume.shape[AXES[plane][0]]
        understood = resolve(prompt, self._knowledge)
        if understood.target is None or understood.structure is None:
            return self._locate_described(volume, prompt, plane, understood, count)
        found = self._evidence(volume, understood.structure, understood.target)
        if isinstance(found, Absent):
            return Location(None, f"{understood.how}. {found.reason}", understood.target)
        survey = self._survey_of(volume)
        index = best_slice(found, survey, plane, count)
        return Location(index, f"{understood.how}. Most of it is seen in {plane} slice {index}.", understood.target)

    def act(self, situation: Situation) -> Iterator[str]:
        """The next turn as text, in pieces of a word; see ``Policy``."""
        turn = self._turn(situation)
        for piece in render(turn).split(" "):
            yield piece + " "

    # -- deciding ----------------------------------------------------------------------------------------

    def _turn(self, situation: Situation) -> Turn:
        episode = situation.episode
        goal = self._goal_of(situation)
        if goal.mask is None:
            return Turn(f"{goal.how}. {goal.reason}", (Terminate(),), f"not found: {goal.reason}")
        wanted = _with_human_word(goal.mask, episode)
        mask = episode.mask_array()
        agreement = dice(mask, wanted)
        before = _agreement_before(episode, wanted)
        if before is not None and agreement < before - _GAIN and _may_revert(episode):
            return Turn(
                f"The last click made it worse: agreement with the evidence fell from {before:.2f} to {agreement:.2f}. "
                "I take it back.",
                (Revert(),),
            )
        if _flooded(episode, mask, wanted):
            return Turn(
                f"The click flooded far beyond the evidence (agreement {agreement:.2f}). "
                "I take it back and draw a box.",
                (Revert(),),
            )
        click = None if agreement >= _GOOD else _fresh_click(mask, wanted, episode)
        if click is not None and not mask.any() and _took_back_first(episode) and len(episode.steps) == 2:
            return _boxed(goal, wanted)
        hopeless = len(episode.steps) >= _PATIENCE and agreement < _POOR
        if click is None or hopeless or _stalled(episode, wanted):
            return _closing(goal, agreement, bool(mask.any()))
        return Turn(_reasoning(goal, episode, mask, wanted, click), (click,))

    # -- evidence ----------------------------------------------------------------------------------------

    def _goal_of(self, situation: Situation) -> _Goal:
        view, prompt = situation.view, situation.episode.prompt
        if self._goal is None or self._goal[0] is not view or self._goal[1] != prompt:
            self._goal = (view, prompt, self._look(situation.volume, view, prompt))
        return self._goal[2]

    def _look(self, volume: Volume, view: View, prompt: str) -> _Goal:
        understood = resolve(prompt, self._knowledge)
        if understood.target is None or understood.structure is None:
            return self._look_for_described(volume, view, prompt, understood)
        target, how = understood.target, understood.how
        found = self._evidence(volume, understood.structure, target)
        if isinstance(found, Absent):
            return _Goal(None, target, reason=found.reason, how=how)
        survey = self._survey_of(volume)
        mask = goal_in_view(found, survey, view)
        if not mask.any():
            best = best_slice(found, survey, view.plane, volume.shape[AXES[view.plane][0]])
            reason = f"{view.plane.capitalize()} slice {view.index} shows no {target.full_name}"
            reason += "." if best == view.index else f"; slice {best} shows the most of it."
            return _Goal(None, target, reason=reason, how=how)
        return _Goal(mask, target, found.facts, how=how)

    def _look_for_described(self, volume: Volume, view: View, prompt: str, understood: Resolution) -> _Goal:
        description = describe(prompt, view.plane, volume.has_orientation)
        if description is None:
            return _Goal(None, None, reason=understood.how, how="I look for what the sentence names or describes")
        how = f"I read this as a thing that is {description.words}"
        thing = find_thing(description, view)
        if thing is None:
            return _Goal(None, None, reason="Nothing in this view stands out like that.", how=how)
        return _Goal(thing.mask, Target(prompt.strip()[:80]), thing.facts, how=how)

    def _locate_described(
        self, volume: Volume, prompt: str, plane: Plane, understood: Resolution, count: int
    ) -> Location:
        description = describe(prompt, plane, volume.has_orientation)
        if description is None:
            return Location(None, understood.how)
        best: tuple[float, int] | None = None
        for index in np.unique(np.linspace(0, count - 1, min(count, _SAMPLES)).astype(int)):
            thing = find_thing(description, view_of(volume, plane, int(index)))
            if thing is not None and (best is None or thing.fit > best[0]):
                best = (thing.fit, int(index))
        if best is None:
            return Location(None, f"Nothing in this scan stands out as a thing that is {description.words}.")
        return Location(best[1], f"A thing that is {description.words} stands out most in slice {best[1]}.")

    def _evidence(self, volume: Volume, structure: Structure, target: Target) -> Finding | Absent:
        if volume.modality != "CT" or volume.is_colour:
            kind = volume.modality or "a picture without a modality"
            if structure.hu is None:
                return Absent(f"I know the {structure.name} by name, but have no rule that finds it.")
            return Absent(f"My rules for the {structure.name} need a CT in Hounsfield units; this is {kind}.")
        if target.side in (Side.LEFT, Side.RIGHT) and not volume.has_orientation:
            return Absent(f"This scan doesn't say which side is the patient's {target.side.value}.")
        survey = self._survey_of(volume)
        key = (structure.key, target.side.value)
        if key not in self._found:
            self._found[key] = find(structure, target.side, survey)
        return self._found[key]

    def _survey_of(self, volume: Volume) -> Survey:
        if self._survey is None or self._survey[0] is not volume:
            self._survey = (volume, Survey.of(volume))
            self._found = {}
        return self._survey[1]


def build() -> EmbeddedPolicy:
    """The embedded policy with the knowledge base of ``resources/``; it takes no options."""
    return EmbeddedPolicy(read_knowledge(resource("knowledge/anatomy.toml").read_text(encoding="utf-8")))


# -- pure parts --------------------------------------------------------------------------------------------


def _with_human_word(goal: Mask, episode: Episode) -> Mask:
    """The goal with what a person painted or clicked: their word stands above the evidence."""
    wanted = goal.copy()
    before = np.zeros(episode.shape, bool) if episode.given is None else episode.given.array()
    for step in episode.steps:
        after = before if step.mask is None else step.mask.array()
        if step.author is Author.HUMAN:
            changed = after != before
            wanted[changed] = after[changed]
        before = after
    return wanted


def _agreement_before(episode: Episode, wanted: Mask) -> float | None:
    """How well the mask before the last step agreed, or None on the first step."""
    if not episode.steps:
        return None
    if len(episode.steps) == 1:
        given = episode.given
        return None if given is None else dice(given.array(), wanted)
    earlier = episode.steps[-2].mask
    return 0.0 if earlier is None else dice(earlier.array(), wanted)


def _may_revert(episode: Episode) -> bool:
    """Only an own click may be taken back: not a person's step, and not a revert."""
    last = episode.steps[-1]
    own = last.author is Author.AGENT and last.verdict is not Verdict.REJECTED
    return own and any(isinstance(a, Click) for a in last.actions)


def _fresh_click(mask: Mask, wanted: Mask, episode: Episode) -> Click | None:
    """The click that does most against the difference, away from clicks that were refused or taken back."""
    flooded = episode.steps[0].proposed if _took_back_first(episode) else ()
    refused = [
        click
        for step in episode.steps
        for click in step.proposed
        if isinstance(click, Click) and click not in episode.prompts and click not in flooded
    ]
    height, width = mask.shape
    least = 1.0 + 0.015 * np.sqrt(np.count_nonzero(wanted))
    goal = wanted.copy()
    for click in refused:
        rows, columns = np.ogrid[:height, :width]
        near = (rows - click.y * height) ** 2 + (columns - click.x * width) ** 2 <= (3 * least) ** 2
        goal[near] = mask[near]
    found = next_click(mask, goal)
    if found is None:
        return None
    click, wrong = found, goal != mask
    row, column = min(int(click.y * height), height - 1), min(int(click.x * width), width - 1)
    reach = int(least)
    around = wrong[max(row - reach, 0) : row + reach + 1, max(column - reach, 0) : column + reach + 1]
    return click if around.mean() > 0.5 else None


def _took_back_first(episode: Episode) -> bool:
    """Whether the second step took the first one back: its click was in the right place all the same."""
    return len(episode.steps) > 1 and any(isinstance(a, Revert) for a in episode.steps[1].actions)


def _flooded(episode: Episode, mask: Mask, wanted: Mask) -> bool:
    """Whether the very first click spilled over more than the whole target; a box mends that in one step."""
    first = len(episode.steps) == 1 and len(episode.prompts) == 1 and episode.given is None
    spilled = np.count_nonzero(mask & ~wanted)
    return first and _may_revert(episode) and bool(spilled > np.count_nonzero(wanted))


def _boxed(goal: _Goal, wanted: Mask) -> Turn:
    """A box round the evidence, with a tenth of its size to spare, and a click into its middle."""
    height, width = wanted.shape
    bounds = bounding_box(wanted)
    click = next_click(np.zeros_like(wanted), wanted)
    if bounds is None or click is None:
        raise ValueError("There is no evidence to draw a box round.")
    edges = []
    for at, size in zip(bounds, (height, width), strict=True):
        spare = 0.1 * (at.stop - at.start) + 1
        edges.append((max(0.0, (at.start - spare) / size), min(1.0, (at.stop + spare) / size)))
    (y0, y1), (x0, x1) = edges
    box = Box(round(x0, 4), round(y0, 4), round(x1, 4), round(y1, 4))
    name = goal.target.phrase if goal.target else "the target"
    return Turn(
        f"A box keeps the tool near the evidence for {name}; with it a positive click at "
        f"({click.x:.2f}, {click.y:.2f}).",
        (box, click),
    )


def _stalled(episode: Episode, wanted: Mask) -> bool:
    """Whether the last steps gained next to nothing, or were taken back again and again."""
    if sum(isinstance(a, Revert) for step in episode.steps[-6:] for a in step.actions) >= 3:
        return True
    if len(episode.steps) < 4:
        return False
    masks = [episode.steps[at].mask for at in (-4, -1)]
    then, now = (0.0 if m is None else dice(m.array(), wanted) for m in masks)
    return now - then < 2 * _GAIN


def _reasoning(goal: _Goal, episode: Episode, mask: Mask, wanted: Mask, click: Click) -> str:
    where = f"({click.x:.2f}, {click.y:.2f})"
    name = goal.target.phrase if goal.target else "the target"
    if not episode.steps:
        lead = f"{goal.how}. Evidence for {name}: {'; '.join(goal.facts)}."
        return f"{lead} I click into the middle of it, at {where}."
    agreement = dice(mask, wanted)
    if episode.steps[-1].verdict is Verdict.REJECTED and episode.steps[-1].reason:
        lead = f'The user refused the last click: "{episode.steps[-1].reason}". I try elsewhere. '
    else:
        lead = ""
    size = int(np.count_nonzero((wanted & ~mask) if click.positive else (mask & ~wanted)))
    share = 100 * size / max(int(np.count_nonzero(wanted)), 1)
    what = "misses" if click.positive else "spills over"
    sign = "positive" if click.positive else "negative"
    return (
        f"{lead}The mask agrees with the evidence to {agreement:.2f}; it {what} {share:.0f} % of {name}. "
        f"A {sign} click at {where}."
    )


def _closing(goal: _Goal, agreement: float, has_mask: bool) -> Turn:
    name = goal.target.phrase if goal.target else "the target"
    stop: tuple[Action, ...] = (Terminate(),)
    if not has_mask or agreement < _POOR:
        phrase = goal.target.phrase if goal.target else "the target"
        reason = f"The tool's mask agrees with the evidence for {phrase} to {agreement:.2f} only."
        return Turn(f"{reason} I don't offer it as an answer.", stop, f"not found: {reason}")
    if agreement < _DOUBTFUL:
        return Turn(
            f"The mask agrees with the evidence to {agreement:.2f}, and no further click helps.",
            stop,
            f"unsure of {name}: the mask agrees with the evidence to {agreement:.2f} only. Check it.",
        )
    return Turn(
        f"The mask agrees with the evidence to {agreement:.2f}; nothing is left that a click would mend.",
        stop,
        f"{name}: the mask agrees with the evidence to {agreement:.2f}",
    )
