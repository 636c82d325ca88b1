"""A noun phrase: "the larger of the two kidneys", "the round dark thing next to the liver".

Every word must have its place in the phrase, or it isn't read at all: "the T12 vertebra" never becomes the spine
because of a word that was passed over. Sides are the patient's.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from napari_ibisagent.core.knowledge.lexicon import Lexicon, Mention
from napari_ibisagent.core.knowledge.structure import Structure
from napari_ibisagent.core.knowledge.words import (
    ARTICLES,
    FILLERS,
    LOOKS,
    NEAR,
    PICKS,
    SIDES,
    THINGS,
    WITHIN,
)
from napari_ibisagent.core.target import Side

_LONGEST_NEAR = max(len(phrase.split()) for phrase in NEAR)
_DEEPEST = 2
_COUNTS = {"both": "both", "bilateral": "both", "all": "all", "every": "all", "each": "all"}
_LINKS = frozenset("that which is are lies lie sits located situated lying seen found very and".split())
_HALVES = frozenset("side half hemisphere hand".split())


@dataclass(frozen=True, slots=True)
class Phrase:
    """What a noun phrase says. ``heads``: what its noun can mean, () for a mere thing.

    ``count``: "", "both" or "all". ``hemisphere``: a side that was said as a place ("in the left half").
    """

    heads: tuple[Structure, ...] = ()
    noun: str = ""
    plural: bool = False
    side: Side = Side.NONE
    count: str = ""
    pick: str = ""
    look: tuple[str, ...] = ()
    hemisphere: Side = Side.NONE
    within: Phrase | None = None
    near: tuple[str, Phrase] | None = None

    @property
    def head(self) -> Structure | None:
        """The one structure that is meant, None where there is none or a choice."""
        return self.heads[0] if len(self.heads) == 1 else None


def read_phrase(text: str, lexicon: Lexicon) -> Phrase | None:
    """The phrase that a folded text is from its first word to its last, or None."""
    sentence = text.replace(",", " ").split()
    return _Reader(sentence, lexicon).phrase() if sentence else None


class _Reader:
    """Reads one phrase from left to right; ``at`` is the next word."""

    def __init__(self, sentence: list[str], lexicon: Lexicon, depth: int = 0) -> None:
        self._words = sentence
        self._lexicon = lexicon
        self._depth = depth
        self._at = 0
        self._read = Phrase()
        self._owner: Structure | None = None

    def phrase(self) -> Phrase | None:
        while self._modifier():
            pass
        if not self._head():
            return None
        while self._at < len(self._words):
            if not self._tail():
                return None
        return self._read

    def _next(self, ahead: int = 0) -> str:
        at = self._at + ahead
        return self._words[at] if at < len(self._words) else ""

    def _mention(self) -> Mention | None:
        return self._lexicon.mention(self._words, self._at)

    # -- before the noun ---------------------------------------------------------------------------------

    def _modifier(self) -> bool:
        """Takes one word before the noun; False where the noun begins, or nothing that is understood."""
        word = self._next()
        if not word or self._mention() is not None:
            return False
        if word in ARTICLES or word in FILLERS or (word == "of" and self._read.count) or self._is_apposition(word):
            self._at += 1
        elif word in SIDES:
            return self._take_side()
        elif word in _COUNTS or word == "two":
            self._read = replace(self._read, count=_COUNTS.get(word, "both"))
            self._at += 1
        elif word in PICKS and not self._read.pick and not self._read.count:
            self._read = replace(self._read, pick=PICKS[word])
            self._at += 3 if (self._next(1), self._next(2)) == ("one", "of") else 1
            self._at += self._next() == "of"
        elif word in LOOKS or (word == "and" and self._read.look and self._next(1) in LOOKS):
            self._look(word)
        elif word in self._lexicon.adjectives and self._owner is None and self._at + 1 < len(self._words):
            self._owner = self._lexicon.adjectives[word]
            self._at += 1
        else:
            return False
        return True

    def _is_apposition(self, word: str) -> bool:
        """Whether "organ" stands before a name: "the organ liver", "which structure left kidney"."""
        starts = (self._at + 1, self._at + 2) if self._next(1) in SIDES else (self._at + 1,)
        return word in ("organ", "structure") and any(self._lexicon.mention(self._words, at) for at in starts)

    def _look(self, word: str) -> None:
        if word != "and":
            self._read = replace(self._read, look=(*self._read.look, word))
        self._at += 1

    def _take_side(self) -> bool:
        """A side before the noun: "left", "left-sided", "left and right"."""
        if self._next(1) in ("and", "or") and self._next(2) in SIDES:
            if self._next(1) == "or":
                return False
            self._at += 3
            return self._set_side(Side.BOTH)
        side = Side(self._next())
        self._at += 2 if self._next(1) == "sided" or (self._next(1), self._next(2)) == ("hand", "side") else 1
        return self._set_side(side)

    def _set_side(self, side: Side) -> bool:
        if self._read.side not in (Side.NONE, side):
            return False
        self._read = replace(self._read, side=side)
        return True

    # -- the noun ----------------------------------------------------------------------------------------

    def _head(self) -> bool:
        mention = self._mention()
        if mention is None:
            thing = self._next().removesuffix("s")
            if thing not in THINGS or self._owner is not None:
                return False
            self._read = replace(self._read, noun=thing, plural=thing != self._next())
            self._at += 1
            return True
        self._at = mention.end
        if not all(self._set_side(Side(side)) for side in mention.sides):
            return False
        if self._owner is not None:
            return self._composed(self._owner, mention)
        following = self._mention()
        while following is not None and following.structures == mention.structures:
            self._at = following.end
            following = self._mention()
        if following is not None and len(mention.structures) == 1 and not following.sides:
            self._at = following.end
            return self._composed(mention.structures[0], following)
        noun = " ".join(mention.words)
        self._read = replace(self._read, heads=mention.structures, noun=noun, plural=mention.plural)
        return True

    def _composed(self, owner: Structure, mention: Mention) -> bool:
        """An organ and what is wrong with it, or a part of it: "liver tumour", "hepatic cyst"."""
        known = composite(owner, mention.words, mention.structures, self._lexicon)
        if known is None and not all(self._lexicon.is_finding(head) for head in mention.structures):
            return False
        noun = " ".join(mention.words)
        self._read = replace(self._read, heads=known or mention.structures, noun=noun, plural=mention.plural)
        if known is None:
            self._read = replace(self._read, within=Phrase((owner,), owner.name, side=self._read.side))
        return True

    # -- after the noun ----------------------------------------------------------------------------------

    def _tail(self) -> bool:
        """Takes one piece after the noun: a place, a side, a look; False where it isn't understood."""
        word = self._next()
        if word in _LINKS and self._at + 1 < len(self._words):
            self._at += 1
            return True
        if word in LOOKS and self._words[self._at - 1] in _LINKS | LOOKS | {"something"}:
            self._look(word)
            return True
        for length in range(_LONGEST_NEAR, 0, -1):
            relation = NEAR.get(" ".join(self._words[self._at : self._at + length]))
            if relation is not None and self._at + length < len(self._words):
                return self._near(relation, self._at + length)
        if self._side_after():
            return True
        if word in WITHIN and self._read.within is None:
            return self._within()
        return False

    def _rest(self, start: int) -> Phrase | None:
        """The phrase that the words from ``start`` on are; None where they go too deep ("in the x in the y in ...")."""
        return _Reader(self._words[start:], self._lexicon, self._depth + 1).phrase() if self._depth < _DEEPEST else None

    def _near(self, relation: str, start: int) -> bool:
        other = self._rest(start)
        if other is None or other.head is None or other.near or other.within or self._read.near:
            return False
        self._at = len(self._words)
        self._read = replace(self._read, near=(relation, other))
        return True

    def _side_after(self) -> bool:
        """ "on the left", "on the patient's right side", "in the left hemisphere", or "left" as the last word."""
        at = self._at
        prepared = self._words[at] in ("on", "at", "in", "to", "of")
        at += prepared
        while at < len(self._words) and self._words[at] in ARTICLES:
            at += 1
        if at >= len(self._words) or self._words[at] not in SIDES:
            return False
        side, at = Side(self._words[at]), at + 1
        place = ""
        while at < len(self._words) and self._words[at] in _HALVES:
            place, at = self._words[at], at + 1
        ends = at >= len(self._words)
        if not ends and (self._words[at] not in WITHIN | _LINKS or not (prepared and place)):
            return False
        self._at = at
        if place in ("half", "hemisphere"):
            self._read = replace(self._read, hemisphere=side)
        return self._set_side(side)

    def _within(self) -> bool:
        """ "in the liver", "of the left kidney", "at L2"."""
        other = self._rest(self._at + 1)
        if other is None or other.head is None or other.pick or (other.near and self._read.near):
            return False
        if self._next() == "at" or self._is_level(other.head):
            return self._near("at the level of", self._at + 1) if self._is_level(other.head) else False
        self._at = len(self._words)
        # "The cyst in the liver next to the gallbladder": what lies beside it is said of the cyst.
        near = other.near or self._read.near
        self._read = replace(self._read, within=replace(other, near=None), near=near)
        return True

    def _is_level(self, structure: Structure) -> bool:
        return "vertebra" in structure.part_of and self._next() == "at"


def composite(
    owner: Structure, noun: tuple[str, ...], heads: tuple[Structure, ...], lexicon: Lexicon
) -> tuple[Structure, ...] | None:
    """What goes by the name of an organ and a noun together: liver + mass is the liver tumour. None: no such name."""
    owners = (owner.name, *owner.adjectives, *owner.synonyms)
    nouns = (noun, *(lexicon.parts(head.name) for head in heads))
    for second in nouns:
        for first in owners:
            found = lexicon.exactly((*lexicon.parts(first), *second))
            if found:
                return found
    return None
