"""``Exercise``: a picture, what is asked of it, and the truth; ``Unit``: some that one process makes and plays."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from napari_ibisagent.core.masks import Mask
from napari_ibisagent.core.packed import PackedMask
from napari_ibisagent.core.view import View
from napari_ibisagent.core.window import Window
from napari_ibisagent.evaluation.runner import Skipped
from napari_ibisagent.training.trajectories.form import Source

_NO_SOURCE = Source()


@dataclass(frozen=True, eq=False, slots=True)
class Exercise:
    """What is played once.

    truth: (H, W) of the view; empty: what is asked for isn't there. wrong: masks (H, W) of other things on the picture,
    which a wrong turn may take for the target. answer: for a plain question, what is said without segmenting. given:
    the mask that an agent finds on the picture.
    """

    name: str
    view: View
    truth: Mask
    target: str
    prompt: str
    window: Window | None = None
    source: Source = _NO_SOURCE
    kind: str = "referring"
    wrong: Mapping[str, Mask] = field(default_factory=dict)
    answer: str = ""
    given: PackedMask | None = None


@dataclass(frozen=True, slots=True)
class LeftOut:
    """An exercise that isn't worth playing, and why."""

    name: str
    reason: str


Item = Exercise | LeftOut | Skipped


class Unit(Protocol):
    """Some exercises that one process makes and plays; it travels to the process, its pictures don't."""

    @property
    def name(self) -> str:
        """Its name, the same in every run."""
        ...

    def exercises(self) -> Iterator[Item]:
        """The exercises, in the same order in every run; those of one view follow each other.

        Among them what can't be read (``Skipped``), and what is left out.
        """
        ...
