"""What the nano agent is asked: made-up slices with a structure that they show or don't, in words of many kinds."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.random import Generator

from napari_ibisagent.core.errors import UnknownNameError
from napari_ibisagent.core.knowledge import Structure
from napari_ibisagent.core.packed import PackedMask
from napari_ibisagent.core.target import Side
from napari_ibisagent.core.view import Plane, View
from napari_ibisagent.core.window import Window
from napari_ibisagent.evaluation.runner import Skipped
from napari_ibisagent.io.knowledge import load_knowledge
from napari_ibisagent.training.nano.anatomy import NAMES, SIDE, MadeUp, make_slice
from napari_ibisagent.training.trajectories.exercises import Exercise
from napari_ibisagent.training.trajectories.form import Source
from napari_ibisagent.training.words.questions import reasoning, referring

# Shares of what is asked for: something that isn't there, and by its description instead of its name.
_ABSENT, _REASONING = 0.14, 0.25
# The largest organ of a slice is no likelier to be asked for than the smallest lesion; sides are worth learning most.
_WEIGHT = {"liver lesion": 2.0, "lung nodule": 2.0, "left kidney": 1.5, "right kidney": 1.5, "gallbladder": 1.5}


@dataclass(frozen=True, slots=True)
class Invented:
    """So many exercises from number ``first`` on, of ``seed``. wrongly_given: the share that begins with the mask of
    something else. only: slices that show one of these, which is asked for. prone: the patient lies on the
    belly, so that the picture is turned half round; the agent never practises on such slices. Raises UnknownNameError
    for a structure that no slice shows.
    """

    first: int
    count: int
    seed: int = 0
    wrongly_given: float = 0.0
    only: tuple[str, ...] = ()
    prone: bool = False

    def __post_init__(self) -> None:
        for name in self.only:
            if name not in NAMES:
                raise UnknownNameError(f"No made-up slice shows {name!r}. Known are: {', '.join(NAMES)}.")

    @property
    def name(self) -> str:
        """Its numbers."""
        return f"made-up-{self.seed}-{self.first}"

    def exercises(self) -> Iterator[Exercise | Skipped]:
        """The exercises, each from its own number alone."""
        for number in range(self.first, self.first + self.count):
            yield self.exercise(number)

    def exercise(self, number: int) -> Exercise:
        """The exercise of that number."""
        rng = np.random.default_rng([self.seed, number])
        made = make_slice(rng)
        while self.only and made.structures.keys().isdisjoint(self.only):
            made = make_slice(rng)
        made = _half_round(made) if self.prone else made
        target = _target(made, self.only, rng)
        truth = made.structures.get(target, np.zeros((SIDE, SIDE), bool))
        kind, prompt = _prompt(target, rng)
        wrong = {name: mask for name, mask in made.structures.items() if name != target}
        given = None
        if rng.random() < self.wrongly_given and wrong and truth.any():
            given = PackedMask.of(wrong[sorted(wrong)[int(rng.integers(len(wrong)))]])
        return Exercise(
            name=f"made-up/{self.seed}/{number}",
            view=View(made.image, Plane.AXIAL, 0, (SIDE, SIDE), None),
            truth=truth,
            target=target,
            prompt=prompt,
            window=Window(127.5, 255.0),
            source=Source(window=(127.5, 255.0)),
            kind=kind if truth.any() else "absent",
            wrong=wrong,
            given=given,
        )


def units(count: int, seed: int, each: int = 50) -> list[Invented]:
    """``count`` exercises in portions."""
    return [Invented(first, min(each, count - first), seed) for first in range(0, count, each)]


def _half_round(made: MadeUp) -> MadeUp:
    turned = {name: np.ascontiguousarray(mask[::-1, ::-1]) for name, mask in made.structures.items()}
    return MadeUp(np.ascontiguousarray(made.image[::-1, ::-1]), turned)


def _target(made: MadeUp, only: tuple[str, ...], rng: Generator) -> str:
    """What is asked for: mostly something that the slice shows."""
    shown = [name for name in made.structures if not only or name in only]
    hidden = [name for name in (only or NAMES) if name not in made.structures]
    if hidden and (not shown or rng.random() < _ABSENT):
        return hidden[int(rng.integers(len(hidden)))]
    weights = np.array([_WEIGHT.get(name, 1.0) for name in shown])
    return str(rng.choice(shown, p=weights / weights.sum()))


def _prompt(target: str, rng: Generator) -> tuple[str, str]:
    """(kind, sentence)."""
    first, _, rest = target.partition(" ")
    side = Side(first) if first in (Side.LEFT, Side.RIGHT) else Side.NONE
    structure = _structures().get(rest if side is not Side.NONE else target)
    if structure is not None and rng.random() < _REASONING:
        question = reasoning(structure, side, load_knowledge(), rng)
        if question is not None:
            return "reasoning", question
    return "referring", referring(target, rng)


@cache
def _structures() -> dict[str, Structure]:
    return {structure.name: structure for structure in load_knowledge()}
