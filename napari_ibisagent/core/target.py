"""``Target``: what is to be segmented, once the sentence is resolved."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


def plural(name: str) -> str:
    """The plural of a structure's name: kidneys, adrenal glands, hippocampi."""
    return f"{name[:-2]}i" if name.endswith("us") else f"{name}s"


class Side(StrEnum):
    """The patient's side, never the picture's."""

    NONE = ""
    LEFT = "left"
    RIGHT = "right"
    BOTH = "both"


@dataclass(frozen=True, slots=True)
class Target:
    """A structure of the knowledge base (``key``), a side, and the coded term where the base has one.

    ``key`` is "" for a thing that is only described ("bright round spot"); ``name`` is then the description.
    ``code`` is (scheme, value, meaning), for example ("SCT", "10200004", "Liver").
    """

    name: str
    key: str = ""
    side: Side = Side.NONE
    code: tuple[str, str, str] | None = None

    @property
    def full_name(self) -> str:
        """The name with its side: "left kidney"."""
        if self.side is Side.NONE:
            return self.name
        if self.side is Side.BOTH:
            return f"both {plural(self.name)}"
        return f"{self.side.value} {self.name}"

    @property
    def phrase(self) -> str:
        """The name as it stands in a sentence: "the left kidney", "both kidneys"."""
        if self.side is Side.BOTH or self.full_name.lower().startswith(("the ", "a ")):
            return self.full_name
        return f"the {self.full_name}"
