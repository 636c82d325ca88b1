"""``Lexicon``: all names of a knowledge base, ready to be found in a sentence; and what stands above what.

It is built once for a base and holds no state. Names are found word by word, in either spelling and number; articles
and sides may stand within one ("lower lobe of the left lung").
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

from napari_ibisagent.core.knowledge.spelling import Speller
from napari_ibisagent.core.knowledge.structure import Structure, closure
from napari_ibisagent.core.knowledge.words import (
    ARTICLES,
    EMPTY,
    EXCLUDING,
    FILLERS,
    FRAME_WORDS,
    LOOKS,
    NEAR,
    NEGATIONS,
    PICKS,
    SIDES,
    THINGS,
    WITHIN,
    plurals,
    spelled,
    stem,
    words,
)
from napari_ibisagent.core.target import plural

# "L kidney", "rt. lung", "left-sided": only right before or after a name, or with a point.
_SHORT_SIDES = {"l": "left", "lt": "left", "lft": "left", "r": "right", "rt": "right", "rgt": "right"}
_NOT = re.compile(r"n't\b", re.IGNORECASE)
_PIECES = re.compile(r"[^\W_]+(?:'[sS]\b)?|[,.;:?!\n]")
_GRAMMAR = frozenset(
    "both two all every each everything bilateral sided half hemisphere side hand and or is lies located segment level"
    " scan image picture slice outline patient".split()
) | {word for phrase in (*NEAR, *PICKS) for word in phrase.split()}


@dataclass(frozen=True, slots=True)
class Mention:
    """A name in a sentence: words ``start`` to ``end``, what it can mean, the sides that stood within it."""

    start: int
    end: int
    structures: tuple[Structure, ...]
    sides: frozenset[str]
    plural: bool
    words: tuple[str, ...]


class Lexicon:
    """See the module."""

    def __init__(self, knowledge: tuple[Structure, ...]) -> None:
        self.knowledge = knowledge
        self.by_key = {structure.key: structure for structure in knowledge}
        self.kinds = {s.key: closure(s, self.by_key, "is_a") | {s.key} for s in knowledge}
        self.wholes = {s.key: closure(s, self.by_key, "part_of") for s in knowledge}
        self.adjectives = {spelled(word): s for s in knowledge for word in s.adjectives}
        self._names: dict[Any, Any] = {}
        self._exact: dict[tuple[str, ...], tuple[Structure, ...]] = {}
        self._short: set[str] = set()
        self._singular: dict[str, tuple[str, ...]] = {}
        self._vocabulary: set[str] = set()
        for structure in knowledge:
            for short in structure.abbreviations:
                self._add((f"@{short.lower()}",), structure)
        for structure in knowledge:
            for name in (structure.name, *structure.synonyms, *structure.collectives):
                self._add(self.parts(name), structure)
        self._collective = {self.parts(name) for s in knowledge for name in s.collectives}
        self._add_plurals()

    # -- building ----------------------------------------------------------------------------------------

    def parts(self, name: str) -> tuple[str, ...]:
        """The words of a name, as they are looked up: without articles, abbreviations marked with "@"."""
        found = (word for word in words(name) if word not in ARTICLES)
        return tuple(f"@{word}" if word in self._short and _is_plain(word) else word for word in found)

    def _add(self, parts: tuple[str, ...], structure: Structure) -> None:
        node = self._names
        for word in parts:
            node = node.setdefault(word, {})
        if structure not in node.get(None, ()):
            node[None] = self._exact[parts] = (*node.get(None, ()), structure)
        for word in parts:
            if word.startswith("@"):
                self._short.add(word[1:])
            else:
                self._vocabulary.add(word)

    def _add_plurals(self) -> None:
        """How every word of a name may look in the plural; a word that is a name itself stays what it is."""
        for word in sorted(self._vocabulary):
            for several in plurals(word):
                if len(word) > 2:
                    self._singular[several] = (*self._singular.get(several, ()), word)
        for structure in self.knowledge:
            for word, single in zip(words(plural(structure.name)), words(structure.name), strict=False):
                if word != single and single not in self._singular.get(word, ()):
                    self._singular[word] = (*self._singular.get(word, ()), single)

    def _known(self) -> Iterator[str]:
        """Words that are right as they stand."""
        yield from self._vocabulary
        yield from self._singular
        yield from self.adjectives
        yield from FRAME_WORDS
        yield from (EMPTY | LOOKS | THINGS | NEGATIONS | FILLERS | SIDES | WITHIN | _GRAMMAR)
        for structure in self.knowledge:
            for relation in structure.relations:
                yield from words(relation)

    def _terms(self) -> Iterator[tuple[str, str]]:
        for structure in self.knowledge:
            for name in (structure.name, *structure.synonyms):
                yield " ".join(words(name)), structure.name

    # -- asking ------------------------------------------------------------------------------------------

    @cached_property
    def speller(self) -> Speller:
        """Mends typing errors and offers near terms."""
        return Speller(self._known(), {word: singles[0] for word, singles in self._singular.items()}, self._terms())

    def knows(self, word: str) -> bool:
        """Whether a word in lower case and one spelling is one that names or requests are made of."""
        return word in self._short or self.speller.knows(word)

    def is_finding(self, structure: Structure) -> bool:
        """Whether it is a thing that need not be there, and may be anywhere: a tumour, a clot, a stone."""
        return "finding" in self.kinds[structure.key]

    def exactly(self, parts: tuple[str, ...]) -> tuple[Structure, ...]:
        """What goes by exactly these words, whatever their number."""
        return self._exact.get(parts) or self._exact.get(tuple(self.single(word) for word in parts), ())

    def single(self, word: str) -> str:
        """A word in the singular, where it is one of a known name."""
        return word if word in self._vocabulary else self._singular.get(word, (word,))[0]

    def mention(self, sentence: list[str], start: int) -> Mention | None:
        """The longest name that begins at a word of a sentence; as it stands rather than in the singular."""
        found = list(self._walk(sentence, start, start, self._names, (), frozenset(), False))
        return max(found, key=lambda m: (len(m.words), not m.plural, -m.end), default=None)

    def _walk(
        self,
        sentence: list[str],
        start: int,
        at: int,
        node: dict[Any, Any],
        used: tuple[str, ...],
        sides: frozenset[str],
        several: bool,
    ) -> Iterator[Mention]:
        if used and None in node:
            yield Mention(start, at, node[None], sides, several or used in self._collective, used)
        if at >= len(sentence):
            return
        word = sentence[at]
        for form in dict.fromkeys((word, *self._singular.get(word, ()))):
            if form in node:
                yield from self._walk(
                    sentence, start, at + 1, node[form], (*used, form), sides, several or form != word
                )
        if used and (word in ARTICLES or word in SIDES):
            side = sides | {word} if word in SIDES else sides
            yield from self._walk(sentence, start, at + 1, node, used, side, several)

    def folded(self, text: str) -> str:
        """A text in lower case and one spelling, abbreviations marked, short sides written out, commas kept."""
        raw = _PIECES.findall(_NOT.sub(" not", text[:2000].replace("’", "'")))
        shouted = text.upper() == text and sum(piece.isalnum() for piece in raw) > 2
        found: list[str] = []
        for at, piece in enumerate(raw):
            found += self._word(re.sub("'[sS]$", "", piece), raw[at - 1 : at], raw[at + 1 : at + 2], shouted)
        return " ".join(found)

    def _word(self, word: str, before: list[str], after: list[str], shouted: bool) -> list[str]:
        small = word.lower()
        if small in _SHORT_SIDES and self._is_side(word, before, after):
            return [_SHORT_SIDES[small]]
        if word == "." and before and before[0].lower() in _SHORT_SIDES:
            return []
        if small in self._short and self._is_short(word, shouted):
            return [f"@{small}"]
        return [spelled(small)]

    def _is_side(self, word: str, before: list[str], after: list[str]) -> bool:
        """Whether "L" or "rt." is a side here: written large or with a point, and beside a name."""
        marked = word.isupper() or len(word) > 1 or (bool(after) and after[0] == ".")
        follows = bool(after) and (self._begins(after[0]) or after[0] == ".")
        return marked and (follows or (not after and bool(before) and self._begins(before[0])))

    def _begins(self, word: str) -> bool:
        small = spelled(word.lower())
        return small in self._vocabulary or small in self._singular or small in self._short

    def _is_short(self, word: str, shouted: bool) -> bool:
        """Whether this is an abbreviation: as it is written, or in small letters where no ordinary word is meant."""
        return _is_plain(word) or (word.isupper() and not shouted)


def _is_plain(abbreviation: str) -> bool:
    """Whether an abbreviation may be written in small letters: "ivc" and "l5", but not "la" or "pa"."""
    return len(abbreviation) > 2 or any(letter.isdigit() for letter in abbreviation)


@lru_cache(maxsize=4)
def lexicon_of(knowledge: tuple[Structure, ...]) -> Lexicon:
    """The lexicon of a base; those of the last few bases are kept."""
    return Lexicon(knowledge)


def contents(text: str) -> list[str]:
    """The stems of the words of a text that carry content."""
    return [stem(word) for word in words(text) if word not in EMPTY]


def without_exclusion(text: str) -> tuple[str, str]:
    """A folded text as what is asked for, and what is left out of it ("" where nothing is)."""
    main, *rest = EXCLUDING.split(text, maxsplit=1)
    return main, rest[0] if rest else ""
