"""What a rule for pictures is given and what it answers.

A rule is a function ``Look -> Sighting | Absent``: it sees one view, and either points at evidence on it or says
why the thing isn't there. It leaves out which rule belongs to which name (``rules``).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from napari_ibisagent.core.masks import Mask
from napari_ibisagent.core.target import Side
from napari_ibisagent.core.view import View
from napari_ibisagent.core.volume import Volume
from napari_ibisagent.policies.embedded.absent import Absent
from napari_ibisagent.policies.embedded.pictures.kinds import Kind
from napari_ibisagent.policies.embedded.pictures.small import Small


@dataclass(frozen=True, eq=False, slots=True)
class Sighting:
    """What was seen on a view.

    mask: (H, W) of the view, the evidence. facts: short sentences that speak for it. sure: 0 to 1.
    """

    mask: Mask
    facts: tuple[str, ...]
    sure: float


@dataclass(frozen=True, eq=False, slots=True)
class Look:
    """What is asked (``key`` of the knowledge base, ``side``) of which view; ``small`` is its shrunk copy."""

    key: str
    side: Side
    view: View
    volume: Volume
    kind: Kind
    small: Small

    @property
    def name(self) -> str:
        """The key as words."""
        return self.key.replace("_", " ")


Rule = Callable[[Look], Sighting | Absent]
