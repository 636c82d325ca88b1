"""A sentence from a pattern: "(a|b)" is one of several wordings, "{name}" a field. Seeded, and nothing else.

A field that is written with a capital in the pattern ("{The}") has a capital in the sentence.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from numpy.random import Generator

_CHOICE = re.compile(r"\(([^()]*\|[^()]*)\)")
# Names that stand in a sentence as they are.
_BEGUN = ("the ", "a ", "an ", "both ", "all ", "every ", "each ", "any ")


def worded(patterns: Sequence[str], rng: Generator, fields: Mapping[str, str]) -> str:
    """A sentence by one of the patterns, with its fields filled in. Raises KeyError for a field that isn't given."""
    chosen = _CHOICE.sub(lambda found: pick(found.group(1).split("|"), rng), pick(patterns, rng))
    named = {**fields, **{name.capitalize(): capital(text) for name, text in fields.items()}}
    return capital(" ".join(chosen.format_map(named).split()))


def pick(options: Sequence[str], rng: Generator) -> str:
    """One of several texts."""
    return options[int(rng.integers(len(options)))]


def capital(text: str) -> str:
    """A text with its first letter written large."""
    return text[:1].upper() + text[1:]


def with_article(name: str) -> str:
    """A name as it stands in a sentence: "the left kidney", "both kidneys"."""
    name = " ".join(name.split())
    return name if name.lower().startswith(_BEGUN) else f"the {name}"


def bare(name: str) -> str:
    """A name without its article: "left kidney"."""
    name = " ".join(name.split())
    first, _, rest = name.partition(" ")
    return rest if rest and first.lower() in ("the", "a", "an") else name
