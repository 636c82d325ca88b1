"""What a policy can do: click, draw a box, revert its last step, discard a given mask, terminate.

A ``Turn`` is thought + actions.

Coordinates are normalised to [0, 1] of the view, x to the right, y down, as DESIGN's *Click* says; every
dialect converts to this form and nothing else in the package converts it back.
"""

from __future__ import annotations

import math
from dataclasses import dataclass


def _in_unit(name: str, *values: float) -> None:
    for value in values:
        if not (math.isfinite(value) and 0.0 <= value <= 1.0):
            raise ValueError(f"{name} has the coordinate {value}, outside of the view (0 to 1).")


@dataclass(frozen=True, slots=True)
class Click:
    """A point prompt at (x, y), each in [0, 1]; ``positive`` says inside the target. Raises ValueError."""

    x: float
    y: float
    positive: bool

    def __post_init__(self) -> None:
        _in_unit("A click", self.x, self.y)


@dataclass(frozen=True, slots=True)
class Box:
    """A box prompt from (x0, y0) to (x1, y1), each in [0, 1], x0 < x1 and y0 < y1. Raises ValueError."""

    x0: float
    y0: float
    x1: float
    y1: float

    def __post_init__(self) -> None:
        _in_unit("A box", self.x0, self.y0, self.x1, self.y1)
        if not (self.x0 < self.x1 and self.y0 < self.y1):
            raise ValueError("A box needs its first corner above and left of its second one.")


@dataclass(frozen=True, slots=True)
class Revert:
    """Take back the last step: its mask and its prompts. Self-correction that stays visible as a step."""


@dataclass(frozen=True, slots=True)
class Discard:
    """Set aside the mask that was given or painted, with all prompts so far: begin from nothing."""


@dataclass(frozen=True, slots=True)
class Terminate:
    """The agent says that it is done."""


PromptAction = Click | Box
Action = Click | Box | Revert | Discard | Terminate


@dataclass(frozen=True, slots=True)
class Turn:
    """What a policy answers: its thought, its actions in order, and its closing answer (or none)."""

    thought: str
    actions: tuple[Action, ...]
    answer: str | None = None

    @property
    def prompts(self) -> tuple[PromptAction, ...]:
        """The clicks and boxes among the actions."""
        return tuple(a for a in self.actions if isinstance(a, Click | Box))

    @property
    def terminates(self) -> bool:
        """Whether the agent says that it is done."""
        return any(isinstance(a, Terminate) for a in self.actions)

    @property
    def reverts(self) -> bool:
        """Whether the agent takes back its last step."""
        return any(isinstance(a, Revert) for a in self.actions)

    @property
    def discards(self) -> bool:
        """Whether the agent sets a given mask aside."""
        return any(isinstance(a, Discard) for a in self.actions)

    @property
    def says_absent(self) -> bool:
        """Whether the closing answer says that the target isn't there."""
        words = (self.answer or "").strip().lower().replace("_", " ")
        return words.startswith(("not found", "not present", "absent", "no target"))
