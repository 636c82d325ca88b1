"""``Structure``: an entry of the knowledge base, and the reader of its files.

The files are TOML; ``resources/knowledge/anatomy.toml`` says at its head what every field means. A ``[[series]]``
stands for many like entries (the vertebrae, the ribs). What an entry leaves out about where and by what it is seen
comes from what it is, or from what it is part of.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from napari_ibisagent.core.target import Side

_ORDINALS = "first second third fourth fifth sixth seventh eighth ninth tenth eleventh twelfth".split()
_ROMAN = "I II III IV V VI VII VIII IX X XI XII".split()
_ENDINGS = {"1": "st", "2": "nd", "3": "rd"}


@dataclass(frozen=True, slots=True)
class Structure:
    """An entry of the knowledge base: a structure, a finding, or a class of them.

    ``hu`` and ``volume_ml`` are plausible ranges in CT, None where no rule finds the structure. ``many``: there are
    several, and ``collectives`` name all of them together. ``mass``: without a side, both sides are meant (cortex).
    ``members``: what a name that fits several things can mean. ``looks`` are (kind of picture, words); ``seen_in`` the
    kinds of picture that can show it.
    """

    key: str
    name: str
    synonyms: tuple[str, ...] = ()
    paired: bool = False
    side: Side = Side.NONE
    code: tuple[str, str, str] | None = None
    relations: tuple[str, ...] = ()
    hu: tuple[float, float] | None = None
    volume_ml: tuple[float, float] | None = None
    abbreviations: tuple[str, ...] = ()
    adjectives: tuple[str, ...] = ()
    collectives: tuple[str, ...] = ()
    many: bool = False
    mass: bool = False
    is_a: tuple[str, ...] = ()
    part_of: tuple[str, ...] = ()
    neighbours: tuple[str, ...] = ()
    members: tuple[str, ...] = ()
    regions: tuple[str, ...] = ()
    seen_in: tuple[str, ...] = ()
    shape: str = ""
    looks: tuple[tuple[str, str], ...] = ()

    def __hash__(self) -> int:
        """By the key alone: a base of hundreds of entries is hashed at every key that is typed."""
        return hash(self.key)


def read_knowledge(*texts: str) -> tuple[Structure, ...]:
    """The structures of a knowledge base in TOML, from one text or several. ValueError where it isn't in order."""
    try:
        found = [structure for text in texts for structure in _structures(tomllib.loads(text))]
    except (KeyError, IndexError, TypeError, AttributeError) as error:
        raise ValueError(
            f"A structure of the knowledge base lacks something or has it in another form: {error}."
        ) from error
    by_key = {structure.key: structure for structure in found}
    if len(by_key) != len(found):
        raise ValueError("Two structures of the knowledge base have the same key.")
    return tuple(_completed(structure, by_key) for structure in found)


def _structures(document: dict[str, Any]) -> Iterator[Structure]:
    for entry in document.get("structure", []):
        yield _structure(entry)
    for series in document.get("series", []):
        codes = series.get("codes", ())
        for at, value in enumerate(series["values"]):
            filled = {key: _filled(content, value) for key, content in series.items() if key != "codes"}
            yield _structure({**filled, "code": codes[at]} if codes else filled)


def _filled(content: Any, value: str) -> Any:
    """A field of a series with its placeholders replaced: {} value, {lower}, {number}, {nth}, {ordinal}, {roman}."""
    if isinstance(content, list):
        return [_filled(item, value) for item in content]
    if not isinstance(content, str) or "{" not in content:
        return content
    number = int("".join(letter for letter in value if letter.isdigit()))
    nth = f"{number}{'th' if 10 < number < 14 else _ENDINGS.get(str(number)[-1], 'th')}"
    ordinal, roman = _ORDINALS[number - 1], _ROMAN[number - 1]
    return content.format(value, lower=value.lower(), number=number, nth=nth, ordinal=ordinal, roman=roman)


def _structure(entry: dict[str, Any]) -> Structure:
    ct, code = entry.get("ct"), entry.get("code")
    return Structure(
        key=entry["key"],
        name=entry["name"],
        paired=bool(entry.get("paired", False)),
        many=bool(entry.get("many", False)),
        mass=bool(entry.get("mass", False)),
        side=Side(entry.get("side", "")),
        code=(code[0], code[1], code[2]) if code else None,
        hu=(ct["hu"][0], ct["hu"][1]) if ct else None,
        volume_ml=(ct["volume_ml"][0], ct["volume_ml"][1]) if ct else None,
        synonyms=tuple(entry.get("synonyms", ())),
        abbreviations=tuple(entry.get("abbreviations", ())),
        adjectives=tuple(entry.get("adjectives", ())),
        collectives=tuple(entry.get("collectives", ())),
        is_a=tuple(entry.get("is_a", ())),
        part_of=tuple(entry.get("part_of", ())),
        neighbours=tuple(entry.get("neighbours", ())),
        members=tuple(entry.get("members", ())),
        regions=tuple(entry.get("regions", ())),
        seen_in=tuple(entry.get("seen_in", ())),
        relations=tuple(entry.get("relations", ())),
        shape=entry.get("shape", ""),
        looks=tuple(entry.get("looks", {}).items()),
    )


def _completed(structure: Structure, by_key: dict[str, Structure]) -> Structure:
    """The structure with its regions and kinds of picture taken over from what it is part of, or is."""
    regions, seen_in = structure.regions, structure.seen_in
    if regions and seen_in:
        return structure
    for parent in _upwards((*structure.part_of, *structure.is_a), by_key):
        regions, seen_in = regions or parent.regions, seen_in or parent.seen_in
    return replace(structure, regions=regions, seen_in=seen_in)


def _upwards(keys: tuple[str, ...], by_key: dict[str, Structure]) -> Iterator[Structure]:
    """The structures above these, the nearest first, each once."""
    seen: set[str] = set()
    waiting = list(keys)
    while waiting:
        key = waiting.pop(0)
        if key in seen or key not in by_key:
            continue
        seen.add(key)
        yield by_key[key]
        waiting += [*by_key[key].part_of, *by_key[key].is_a]


def closure(structure: Structure, by_key: dict[str, Structure], field: str) -> frozenset[str]:
    """All keys above a structure by ``field`` ("is_a" or "part_of"), itself not among them."""
    seen: set[str] = set()
    waiting = list(getattr(structure, field))
    while waiting:
        key = waiting.pop()
        if key not in seen:
            seen.add(key)
            waiting += list(getattr(by_key[key], field)) if key in by_key else []
    return frozenset(seen)
