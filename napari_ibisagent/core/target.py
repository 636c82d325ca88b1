"""``Target``: what is to be segmented, once the sentence is resolved."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

_PLURALS = (
    ("vertebra", "vertebrae"),
    ("phalanx", "phalanges"),
    ("cortex", "cortices"),
    ("tooth", "teeth"),
    ("foot", "feet"),
    ("sinus", "sinuses"),
    ("fetus", "fetuses"),
    ("plexus", "plexuses"),
    ("uterus", "uteruses"),
    ("ganglion", "ganglia"),
    ("bacterium", "bacteria"),
    ("mitochondrion", "mitochondria"),
    ("acetabulum", "acetabula"),
    ("quadratus lumborum", "quadrati lumborum"),
)


def plural(name: str) -> str:
    """The plural of a structure's name: kidneys, arteries, hippocampi, upper lobes of the lung."""
    noun, of, rest = name.partition(" of ")
    for single, several in _PLURALS:
        if noun.endswith(single):
            return noun.removesuffix(single) + several + of + rest
    if noun.endswith("us"):
        noun = f"{noun[:-2]}i"
    elif noun.endswith("is"):
        noun = f"{noun[:-2]}es"
    elif noun.endswith("y") and noun[-2:-1] not in "aeiou":
        noun = f"{noun[:-1]}ies"
    elif not noun.endswith(("ps", "as", "major", "minor", "anterior")):
        noun += "es" if noun.endswith(("s", "x", "ch", "sh")) else "s"
    return noun + of + rest


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
