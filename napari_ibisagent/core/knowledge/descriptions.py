"""What is only described: "which organ stores bile?". The description that fits clearly best, or none.

Words are weighed by how rare they are among the descriptions. The whole entry may explain what is asked (what it is,
where, what lies beside it), but one of its descriptions must carry it. "From" and "to" the same thing contradict each
other, and a question for a vein is never answered with an artery.
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass
from functools import lru_cache

from napari_ibisagent.core.knowledge.lexicon import Lexicon, contents, lexicon_of
from napari_ibisagent.core.knowledge.structure import Structure
from napari_ibisagent.core.knowledge.words import EMPTY, NEGATIONS, stem, words
from napari_ibisagent.core.target import Side

# What a word that no description has weighs against all of them (a rare known word weighs about 5).
_UNKNOWN_WEIGHT = 2.5
# A description answers when it fits this well, and this much better than the next (F-measure, 0 to 1).
_FITS = 0.62
_CLEARLY = 0.08
# Words that mean the same in a description.
_SAME = (
    "make produce secrete create generate release",
    "store hold keep collect gather contain reserve accumulate",
    "carry bring transport convey return deliver take lead conduct",
    "filter clean purify cleanse",
    "absorb uptake",
    "clear remove eliminate",
    "tube pipe channel duct passage canal",
    "sac pouch bag",
    "large big great huge",
    "small little tiny",
    "baby fetus child infant unborn",
    "spot dot patch",
    "growth mass lump",
    "middle centre center central",
    "front anterior",
    "back posterior",
    "gut bowel intestine",
    "belly abdomen",
    "need require necessary essential",
    "form build",
    "pump push eject",
    "receive get collect",
    "old worn aged",
    "cell erythrocyte",
    "waste stool feces",
    "throat pharynx",
    "memory memories remember",
    "connect join link",
    "protect shield guard",
    "surround enclose encircle",
    "dead necrotic",
    "swollen swelling swell",
    "half side",
    "lie locate situate sit",
    "swallow eat",
    "nutrient food",
)
# What is done: where a description and a question both say so, it must be the same.
_ACTIONS = frozenset(
    """
    mak stor carri filter absorb clear break pump receiv form digest regulat protect connect suppli drain surround
    separat control coordinat exchang collect fight process relay contract mov focus clos chew bend straighten turn
    swell grow feed sens feel hear see tast smell burst block contain excret tak absorb
    """.split()
)
_CONCEPTS = {stem(word): stem(group.split()[0]) for group in _SAME for word in group.split()}
# What a question asks for, and of what kind the answer must then be.
_KINDS = {
    **{word: (word,) for word in ("vessel", "artery", "vein", "bone", "muscle", "nerve", "joint", "cell", "gyrus")},
    **dict.fromkeys(("growth", "tumor", "mass", "lump", "lesion", "cancer"), ("finding",)),
    "gland": ("gland",),
    "chamber": ("chamber",),
    "ventricle": ("chamber", "space"),
    "atrium": ("chamber",),
    "lobe": ("lobe", "brain_lobe", "lung"),
    "ligament": ("ligament",),
    "valve": ("valve",),
    "vertebra": ("bone",),
    "nucleus": ("nucleus", "region"),
}


_NEUTRAL = frozenset("organ structure part area region thing tissue space side object place carry make".split())


@dataclass(frozen=True, slots=True)
class _Told:
    """A description: its structure and side, its words, what stands behind "from" and "to", whether it says "not"."""

    structure: Structure
    side: Side
    words: frozenset[str]
    ways: frozenset[tuple[str, str]]
    negative: bool


@dataclass(frozen=True, slots=True)
class Described:
    """What a description fits: one structure (and side), or several as well as each other, or none."""

    structures: tuple[Structure, ...]
    side: Side


class Descriptions:
    """The descriptions of a base, weighed. See the module."""

    def __init__(self, lexicon: Lexicon) -> None:
        self._lexicon = lexicon
        self._told = [_told(s, relation) for s in lexicon.knowledge for relation in s.relations]
        keys: dict[str, set[str]] = {}
        for told in self._told:
            keys.setdefault(told.structure.key, set()).update(told.words)
        counts = Counter(word for found in keys.values() for word in found)
        self._weights = {word: math.log(1 + len(lexicon.knowledge) / count) for word, count in counts.items()}
        self._ways = {key: frozenset[tuple[str, str]]() for key in keys}
        for told in self._told:
            self._ways[told.structure.key] |= told.ways
        self._context = {key: frozenset(found | self._around(lexicon.by_key[key])) for key, found in keys.items()}

    def _around(self, structure: Structure) -> set[str]:
        """Words that fit a structure without telling it from others: its kind, place, shape and neighbours."""
        by_key = self._lexicon.by_key
        near = [by_key[key].name for key in (*structure.neighbours, *structure.part_of) if key in by_key]
        texts = [*near, *structure.regions, structure.shape, *(key.replace("_", " ") for key in structure.is_a)]
        texts += [word for _, word in structure.looks]
        texts += ["paired two"] if structure.paired else []
        return {_concept(word) for text in texts for word in contents(text)} | {"organ", "structur", "body"}

    def best(self, question: str, side: Side) -> Described:
        """What a question describes; ``side`` is the one it names."""
        asked = frozenset(_concept(word) for word in contents(question) if word != "organ")
        ways, negative, (kind, kinds) = _ways(question), _is_negative(question), _kinds(question)
        asked -= {_concept(stem(kind))}
        if not asked:
            return Described((), side)
        scores: dict[tuple[str, Side], float] = {}
        for told in self._told:
            if told.negative is not negative or self._is_out(told, side, kinds):
                continue
            if _contradicts(ways, self._ways[told.structure.key]):
                continue
            fit = self._fit(asked, told, told.words - {_concept(stem(kind))})
            place = (told.structure.key, told.side)
            scores[place] = max(scores.get(place, 0.0), fit)
        ranked = sorted(scores.items(), key=lambda item: -item[1])
        if not ranked or ranked[0][1] < _FITS:
            return Described((), side)
        top = ranked[0][1]
        tied = [place for place, score in ranked if top - score <= _CLEARLY]
        found = self._parts_first(asked, tuple(dict.fromkeys(self._lexicon.by_key[key] for key, _ in tied)))
        return Described(found, tied[0][1] if tied[0][1] is not Side.NONE and len(found) == 1 else side)

    def _parts_first(self, asked: frozenset[str], found: tuple[Structure, ...]) -> tuple[Structure, ...]:
        """Without those of which a part is among them that explains what they explain, and more."""
        wholes, words_of = self._lexicon.wholes, self._context

        def has_better_part(one: Structure) -> bool:
            parts = (part.key for part in found if one.key in wholes[part.key])
            return any((asked & words_of[part]) - words_of[one.key] for part in parts)

        return tuple(one for one in found if not has_better_part(one))

    def _is_out(self, told: _Told, side: Side, kinds: tuple[str, ...]) -> bool:
        structure = told.structure
        fixed = told.side if told.side is not Side.NONE else structure.side
        if not structure.paired and Side.NONE not in (side, fixed) and side is not fixed:
            return True
        return bool(kinds) and not self._lexicon.kinds[structure.key] & set(kinds)

    def _fit(self, asked: frozenset[str], told: _Told, said: frozenset[str]) -> float:
        """How well a question and a description (``said``: its words that count here) share what they say."""
        shared = asked & said
        if not shared or not _says_enough(asked, said):
            return 0.0
        recall = sum(self._weights[word] for word in shared) / sum(self._weights[word] for word in said)
        context = self._context[told.structure.key]
        weight = {word: self._weights.get(word, _UNKNOWN_WEIGHT) for word in asked}
        # What only its surroundings explain speaks neither for it nor against it.
        total = sum(weight[word] for word in asked if word in said or word not in context)
        precision = sum(weight[word] for word in shared) / total
        return 2 * recall * precision / (recall + precision)


def _says_enough(asked: frozenset[str], told: frozenset[str]) -> bool:
    """Whether what they share tells anything: the same action, and to the same thing; more than one chance word."""
    shared, done, said = asked & told, asked & _ACTIONS, told & _ACTIONS
    if done and said and not done & said:
        return False
    return told <= asked or (len(shared) > 1 and bool(shared - _ACTIONS))


def _told(structure: Structure, relation: str) -> _Told:
    side, colon, text = relation.partition(":")
    fixed, told = (Side(side), text) if colon else (Side.NONE, relation)
    found = frozenset(map(_concept, contents(told))) - {"organ"}
    return _Told(structure, fixed, found, _ways(told), _is_negative(told))


def _concept(word: str) -> str:
    return _CONCEPTS.get(word, word)


def _ways(text: str) -> frozenset[tuple[str, str]]:
    """("from" or "to", thing) of every thing that something comes from or goes to."""
    found: set[tuple[str, str]] = set()
    way = ""
    for word in words(text):
        if word in ("from", "leaves", "drain", "drains"):
            way = "from"
        elif word in ("to", "into", "towards", "reaches", "supply", "supplies", "feeds"):
            way = "to"
        elif word not in EMPTY and way:
            found.add((way, _concept(stem(word))))
            way = ""
    return frozenset(found)


def _contradicts(asked: frozenset[tuple[str, str]], told: frozenset[tuple[str, str]]) -> bool:
    turned = {("to" if way == "from" else "from", thing) for way, thing in told}
    return bool(asked & turned) and not asked & told


def _kinds(question: str) -> tuple[str, tuple[str, ...]]:
    """The noun right after "which", where it names a kind, and of what kinds the answer must then be."""
    found = words(question)
    if "which" not in found:
        return "", ()
    at = found.index("which") + 1
    for word in found[at : at + 3]:
        single = "artery" if word == "arteries" else "nucleus" if word == "nuclei" else word.removesuffix("s")
        if single in _KINDS:
            return single, _KINDS[single]
        if single in _NEUTRAL or (single != word and stem(word) != single):
            break
    return "", ()


def _is_negative(text: str) -> bool:
    return bool(NEGATIONS & set(words(text)))


@lru_cache(maxsize=4)
def descriptions_of(knowledge: tuple[Structure, ...]) -> Descriptions:
    """The descriptions of a base; those of the last few bases are kept."""
    return Descriptions(lexicon_of(knowledge))
