"""Exercises by name: what a row of a data set says, so that any process of a cluster can make the exercise again.

``made-up:SEED:COUNT`` are made-up slices; anything else is a folder of trajectories (``ibisagent trajectories``), of
which the prompt, the picture and the truth are taken and not what the expert did.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

from napari_ibisagent.core.errors import InputError
from napari_ibisagent.training.nano.tasks import Invented
from napari_ibisagent.training.sft.exam import exercise_of
from napari_ibisagent.training.trajectories.exercises import Exercise
from napari_ibisagent.training.trajectories.writing import picture_of, read_folder

_MADE_UP = "made-up"


class NamedExercises(Protocol):
    """Exercises that are made when they are asked for."""

    def names(self) -> Sequence[str]:
        """All names, in the same order in every process."""
        ...

    def exercise(self, name: str) -> Exercise:
        """The exercise of that name. Raises InputError."""
        ...


def named_exercises(where: str) -> NamedExercises:
    """The exercises of a folder, or ``made-up:SEED:COUNT``. Raises InputError."""
    first, *numbers = where.split(":")
    if first != _MADE_UP:
        return Recorded(Path(where))
    if len(numbers) != 2 or not all(number.isdecimal() for number in numbers) or int(numbers[1]) == 0:
        raise InputError(f"{where} names no exercises. Write {_MADE_UP}:SEED:COUNT, for example {_MADE_UP}:0:9000.")
    return MadeUp(int(numbers[0]), int(numbers[1]))


@dataclass(frozen=True, slots=True)
class MadeUp:
    """Made-up slices (``training.nano.tasks``), named by their numbers."""

    seed: int
    count: int

    def names(self) -> Sequence[str]:
        """The numbers."""
        return [str(number) for number in range(self.count)]

    def exercise(self, name: str) -> Exercise:
        """The slice of that number. Raises InputError."""
        if not name.isdecimal() or int(name) >= self.count:
            raise InputError(f"There is no exercise {name!r} among {self.count} made-up ones. Write the rows again.")
        return Invented(0, self.count, self.seed).exercise(int(name))


class Recorded:
    """The exercises of a folder of trajectories: those with a truth that were asked to segment."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._known = {
            one.name: replace(one, steps=())  # what the expert did isn't played again, and takes most of the room
            for one in read_folder(folder)
            if one.truth is not None and one.kind != "plain"
        }
        if not self._known:
            raise InputError(f"{folder} has no trajectory with a truth. Make some with: ibisagent trajectories")

    def names(self) -> Sequence[str]:
        """The names of the trajectories."""
        return list(self._known)

    def exercise(self, name: str) -> Exercise:
        """The exercise that a trajectory was made from, on its picture. Raises InputError."""
        one = self._known.get(name)
        exercise = None if one is None else exercise_of(one, picture_of(one, self._folder))
        if exercise is None:
            raise InputError(f"There is no exercise {name!r} in {self._folder}. Write the rows again.")
        return exercise
