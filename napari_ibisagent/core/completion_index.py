"""``NameIndex``: all that may be typed for the structures of a knowledge base, sorted so that a beginning finds it.

It is built once for a base and holds no state. It says what fits; ``completion`` decides what of that is offered.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from napari_ibisagent.core.knowledge import Structure
from napari_ibisagent.core.knowledge.lexicon import Lexicon, lexicon_of
from napari_ibisagent.core.knowledge.resolution import sided_names
from napari_ibisagent.core.knowledge.words import EMPTY, SIDES, WITHIN, spelled
from napari_ibisagent.core.target import Side, plural

# The fewest letters that are completed: a single one begins nearly everything.
LEAST = 2
_SIDED = ("left", "right")
# How a key was come by, the likeliest to be meant first.
_NAME, _SYNONYM, _WITHIN_NAME, _WITHIN_SYNONYM = range(4)
_SMALL = (EMPTY | WITHIN | {"segment"}) - SIDES
# Sorts behind every letter.
_LAST = "\U0010ffff"


class Way(NamedTuple):
    """``key``: what may be typed, in small letters. ``phrase``: the name that it becomes.

    ``order`` sorts the likeliest first. ``whole``: who typed all of the key has said all that the phrase says.
    ``inner``: the key is words within a name, not its beginning. ``covered``: with no more letters of the key than
    these another name is meant (6 for "kidney stone").
    """

    key: str
    phrase: str
    order: tuple[int, int]
    whole: bool
    inner: bool
    covered: int


class NameIndex:
    """See the module. ``longest`` is the most words that a key has."""

    def __init__(self, knowledge: tuple[Structure, ...]) -> None:
        lexicon = lexicon_of(knowledge)
        found = dict.fromkeys(entry for structure in knowledge for entry in _entries(structure, lexicon))
        named: dict[str, set[str]] = {}
        for entry in found:
            if entry.rank <= _SYNONYM:
                named.setdefault(entry.key, set()).add(entry.structure)
        ways: list[Way] = []
        for at, entry in enumerate(found):
            covered = _covered(entry, named)
            # "Kidney" is no way to the upper pole of the kidney: that is another thing, not a kind of kidney.
            if not (entry.owner and (covered or entry.key in named)):
                order = entry.rank, at
                ways.append(Way(entry.key, entry.phrase, order, entry.whole, entry.rank > _SYNONYM, covered))
        self._ways = sorted(ways, key=lambda way: way.key)
        self._keys = [way.key for way in self._ways]
        self.longest = max((key.count(" ") + 1 for key in self._keys), default=0)

    def beginning(self, typed: str) -> list[Way]:
        """The ways whose key begins with what was typed (small letters, single spaces)."""
        return self._ways[bisect_left(self._keys, typed) : bisect_left(self._keys, typed + _LAST)]


class _Entry(NamedTuple):
    """A way while the names of the whole base aren't known yet.

    ``structure``: its key in the base. ``owner``: it stood behind an "of". ``single``: for a plural, the singular;
    ``shared``: how many letters both have in common, where the singular is enough for these.
    """

    structure: str
    rank: int
    key: str
    phrase: str
    whole: bool = True
    owner: bool = False
    single: str = ""
    shared: int = 0


def _covered(entry: _Entry, named: Mapping[str, set[str]]) -> int:
    """How many letters of a key are its longest beginning, up to a space, that names another structure, or more."""
    key = entry.single or entry.key
    end = key.rfind(" ")
    while end > 0 and not named.get(key[:end], set()) - {entry.structure}:
        end = key.rfind(" ", 0, end)
    return max(end, entry.shared)


def _shared(one: str, other: str) -> int:
    """How many letters two words have in common at their beginning."""
    return next((at for at, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))


def _entries(structure: Structure, lexicon: Lexicon) -> Iterator[_Entry]:
    """What may be typed for a structure, in both spellings."""
    ranked = [(_NAME, structure.name), *((_SYNONYM, name) for name in structure.synonyms)]
    # Shorter ones are typed sooner than they are read in a list.
    ranked += [(_SYNONYM, short) for short in structure.abbreviations if len(short) > LEAST]
    finding = lexicon.is_finding(structure)
    for rank, name in ranked:
        for key in _spellings(name):
            if structure.members:
                yield from _members(structure, key, rank, lexicon)
            else:
                yield from _sided(structure, key, rank, finding)
                yield from _within(structure, key, rank, finding)
    for name in structure.collectives if not structure.members else ():
        yield from (_Entry(structure.key, _SYNONYM, key, _plural(structure)) for key in _spellings(name))


def _spellings(name: str) -> tuple[str, ...]:
    """A name in small letters, as it is written and in the spelling that ``knowledge`` folds all others to."""
    small = " ".join(name.lower().split())
    return tuple(dict.fromkeys((small, " ".join(map(spelled, small.split())))))


def _members(structure: Structure, key: str, rank: int, lexicon: Lexicon) -> Iterator[_Entry]:
    """A name that fits several things leads to what it is asked back with."""
    members = tuple(lexicon.by_key[member] for member in structure.members)
    for name in sided_names(members, Side.NONE):
        yield _Entry(structure.key, rank, key, name, whole=False)


def _within(structure: Structure, key: str, rank: int, finding: bool) -> Iterator[_Entry]:
    """The entries for the words within a name."""
    words = key.split()
    inner = _WITHIN_NAME if rank == _NAME else _WITHIN_SYNONYM
    for at in range(1, len(words)):
        if words[at] not in _SMALL:
            owner = words[at - 1] in _SMALL
            for entry in _sided(structure, " ".join(words[at:]), inner, finding):
                yield entry._replace(owner=owner)


def _sided(structure: Structure, key: str, rank: int, finding: bool) -> Iterator[_Entry]:
    """The entries for a name with its sides: left, right, both. A finding may lie on a side and be no pair."""
    many = _plural(structure)
    if not structure.paired:
        yield _Entry(structure.key, rank, key, structure.name)
        shared = _shared(key, plural(key))
        if structure.many and rank == _NAME and shared < len(key):
            # "Teeth" and "metastases", as soon as it can be no longer the singular that is typed.
            yield _Entry(structure.key, rank, plural(key), many, single=key, shared=shared)
        if structure.many and rank == _NAME:
            yield _Entry(structure.key, rank, f"all {plural(key)}", f"all {many}")
        for side in _SIDED if finding else ():
            yield _Entry(structure.key, max(rank, _WITHIN_NAME), f"{side} {key}", f"{side} {structure.name}")
        return
    one = many if structure.many else structure.name
    for side in _SIDED:
        yield _Entry(structure.key, rank, key, f"{side} {one}", whole=False)
    yield _Entry(structure.key, rank, key if structure.mass else plural(key), many, single=key)
    for side in _SIDED:
        yield _Entry(structure.key, rank, f"{side} {key}", f"{side} {one}")
    if rank <= _SYNONYM and not structure.mass:
        for count in ("both", "all") if structure.many else ("both",):
            yield _Entry(structure.key, rank, f"{count} {plural(key)}", f"{count} {many}")


def _plural(structure: Structure) -> str:
    """All of a structure: "kidneys", "teeth", but "cerebral cortex"."""
    several = (structure.paired or structure.many) and not structure.mass
    return plural(structure.name) if several else structure.name
