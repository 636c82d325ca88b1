"""What a sentence that is being typed could go on to: names and sides of structures, and questions.

Pure, and quick enough to be asked at every key. It offers only what ``knowledge.resolve`` understands: a target, or
something to be asked back.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache
from itertools import islice

from napari_ibisagent.core.completion_index import LEAST, NameIndex, Way
from napari_ibisagent.core.knowledge import Structure, resolve
from napari_ibisagent.core.knowledge.words import (
    ARTICLES,
    EMPTY,
    FILLERS,
    LOOKS,
    NEGATIONS,
    PICKS,
    SIDES,
    WITHIN,
    spelled,
)

# How many candidates are offered: what a glance takes in.
MOST = 8
# Candidates refused one after the other, after which it is plainly not the name that makes the sentence unclear.
_PATIENCE = 3
_QUESTION = "which organ "
_STARTERS = ("segment the ", "outline the ", _QUESTION)
_COUNTS = frozenset(("both", "all"))
# What no name ends with: something must follow.
_OPEN = WITHIN | {"the"}
# What may stand between "the" and a name, and is no part of it.
_MODIFIERS = FILLERS | LOOKS | frozenset(PICKS)
# Words that ask, and small words: no name begins with them, even where their letters do ("in" the inferior vena cava).
_COMMON = (
    EMPTY
    | WITHIN
    | NEGATIONS
    | frozenset(
        """
        add also annotate contour delineate detect draw everything exclude extract find get give highlight identify
        include instead it keep label locate mark mask need only or outline please remove segment select show take then
        trace want
        """.split()
    )
) - (SIDES | _COUNTS | {"bilateral"})
# The verbs with which descriptions begin that can follow "which organ". Written out, as nothing in "muscles of the
# buttock" tells a noun in the plural from a verb: a verb that is missing here costs one offer, a noun makes a bad one.
_VERBS = frozenset(
    """
    absorbs balances beats bends bites branches breaks breathes carries churns cleans clears collects concentrates
    conducts connects contains contracts controls coordinates covers curves cushions detoxifies dies digests divides
    drains enlarges exchanges excretes feeds fills filters focuses forms frames gives grows has hears holds inflates
    insulates joins keeps leaves lies loses makes metabolises moves opens processes produces protects pumps receives
    regulates relays releases removes returns runs secretes sees senses separates sheds shrinks sits slips stores
    straightens supplies supports surrounds swells takes thinks turns vibrates warms widens
    """.split()
)
_WORD = re.compile(r"[^\s,.;:]+")


def complete(text: str, cursor: int, knowledge: tuple[Structure, ...]) -> tuple[str, ...]:
    """What the text before the cursor could become, the likeliest first; at most ``MOST``.

    Each candidate takes the place of ``text[:cursor]`` as a whole: "segment the le" can become "segment the left
    kidney". There is none within a word, for an empty text, and where nothing is left to add. Beginnings of names come
    first, in the order of the base (its main organs lead), then synonyms, which lead to the name that the base uses,
    then words within a name. Names that go on from another one wait for it: "kidney stone" is offered for "kidney ".
    """
    before = text[:cursor]
    if not before.strip() or text[cursor : cursor + 1].isalnum():
        return ()
    line = before.rpartition("\n")[2]
    kept = before[: len(before) - len(line)]
    starters = _starters(line)
    if starters:
        return tuple(kept + starter for starter in starters)
    if _plain(line).startswith(_QUESTION):
        return tuple(kept + question for question in _questions(line, knowledge))[:MOST]
    names = _names(line, _index(knowledge))
    return _understood(dict.fromkeys(kept + name for name in names), knowledge)


def _understood(candidates: Iterable[str], knowledge: tuple[Structure, ...]) -> tuple[str, ...]:
    """The first candidates that have a target or are asked back; some words before a name allow no name at all."""
    left: list[str] = []
    refused = 0
    for candidate in islice(candidates, 2 * MOST):
        found = resolve(candidate, knowledge)
        refused = 0 if found.target or found.choices else refused + 1
        left += [] if refused else [candidate]
        if refused == _PATIENCE or len(left) == MOST:
            break
    return tuple(left)


def _starters(line: str) -> tuple[str, ...]:
    typed = _plain(line)
    if len(typed.strip()) < LEAST:
        return ()
    return tuple(starter for starter in _STARTERS if starter.startswith(typed) and starter.strip() != typed.strip())


def _questions(line: str, knowledge: tuple[Structure, ...]) -> tuple[str, ...]:
    typed = _plain(line)
    if len(typed) < len(_QUESTION) + LEAST:
        return ()
    return tuple(question for question in _all_questions(knowledge) if question.startswith(typed) and question != typed)


def _names(line: str, index: NameIndex) -> tuple[str, ...]:
    """The line with its last words made into a name: the most words that begin one are taken."""
    for word in list(_WORD.finditer(line))[-index.longest :]:
        start = word.start()
        typed, before = _plain(line[start:]), _word_before(line[:start])
        if len(typed.strip()) < LEAST or not (before in _COMMON or before == ""):
            # "The left spl" must not become the left spleen, nor "brain ste" the brain sternum.
            continue
        if word.group().lower() in _COMMON and before not in ARTICLES:
            continue
        forms = {typed, " ".join(map(spelled, typed.split(" ")))}
        ways = [way for form in forms for way in index.beginning(form)]
        if " " in typed.strip() and typed.split()[-1] in _OPEN:
            # "The nodule in" need not be the lung nodule that is also called a "nodule in the lung".
            ways = [way for way in ways if typed in way.phrase.lower()]
        if ways:
            return tuple(line[:start] + phrase for phrase in _ordered(ways, forms, before in ARTICLES))
    return ()


def _ordered(ways: list[Way], forms: set[str], article: bool) -> tuple[str, ...]:
    """The phrases to offer, the likeliest first, without what is typed already or must wait for a shorter name."""
    typed = min(map(len, forms))
    # What is whole already needs no other word for it ("the tumour" can stay), nor a narrower one ("liver tumour").
    exact = [way for way in ways if way.key in forms and not way.inner]
    whole = {way.phrase for way in exact if way.whole}
    left = [
        way
        for way in ways
        if way.phrase not in whole
        and way.covered < typed
        and not (exact and way.inner)
        # "The both kidneys" is no English.
        and not (article and way.key.partition(" ")[0] in _COUNTS)
    ]
    return tuple(way.phrase for way in sorted(left, key=lambda way: way.order))


def _word_before(text: str) -> str:
    """The last word of a text in lower case, leaving out "whole" and "bright"; "" where a mark or nothing is there."""
    end = re.split(r"[,.;:]", text.lower())[-1]
    return next((word for word in reversed(end.split()) if word not in _MODIFIERS), "")


def _plain(text: str) -> str:
    return re.sub(r"\s+", " ", text.lstrip()).lower()


@lru_cache(maxsize=4)
def _all_questions(knowledge: tuple[Structure, ...]) -> tuple[str, ...]:
    """Questions from the descriptions that begin with a verb: "which organ stores bile?"."""
    told = [relation for structure in knowledge for relation in structure.relations]
    return tuple(f"{_QUESTION}{relation}?" for relation in told if relation.split()[0] in _VERBS)


@lru_cache(maxsize=4)
def _index(knowledge: tuple[Structure, ...]) -> NameIndex:
    return NameIndex(knowledge)
