"""What a sentence that is being typed could go on to: names and sides of structures, and questions.

Pure, and quick enough to be asked at every key. It offers only what ``knowledge.resolve`` understands.
"""

from __future__ import annotations

import re
from functools import lru_cache

from napari_ibisagent.core.knowledge import Structure
from napari_ibisagent.core.target import plural

# How many candidates are offered: what a glance takes in.
MOST = 8
_STARTERS = ("segment the ", "outline the ", "which organ ")
_QUESTION = "which organ "
_SIDED = ("left ", "right ")
# A name is looked for in the last words: no known one has more, with its side.
_LONGEST = 6
# Everyday words that happen to begin a name ("in" the inferior vena cava); alone they ask for no completion.
_COMMON = frozenset(("all", "an", "everything", "in", "it", "of", "or", "the", "to", "whole"))
# Endings in s that make no verb in "gas exchange".
_NO_VERB = ("ss", "us", "is", "gas")


def complete(text: str, cursor: int, knowledge: tuple[Structure, ...]) -> tuple[str, ...]:
    """What the text before the cursor could become, the likeliest first; at most ``MOST``.

    Each candidate takes the place of ``text[:cursor]`` as a whole: "segment the le" can become "segment the left
    kidney". There is none within a word, for an empty text, and where nothing is left to add. Structures that a rule
    can find come before others. A synonym leads to the name that the knowledge base uses.
    """
    before = text[:cursor]
    if not before.strip() or text[cursor : cursor + 1].isalnum():
        return ()
    line = before.rpartition("\n")[2]
    kept = before[: len(before) - len(line)]
    found = _starters(line) or _questions(line, knowledge) or _names(line, knowledge)
    return tuple(dict.fromkeys(kept + candidate for candidate in found))[:MOST]


def _starters(line: str) -> tuple[str, ...]:
    typed = _plain(line)
    if len(typed.strip()) < 2:
        return ()
    return tuple(starter for starter in _STARTERS if starter.startswith(typed) and starter.strip() != typed.strip())


def _questions(line: str, knowledge: tuple[Structure, ...]) -> tuple[str, ...]:
    typed = _plain(line)
    if not typed.startswith(_QUESTION) or len(typed) < len(_QUESTION) + 2:
        return ()
    return tuple(question for question in _all_questions(knowledge) if question.startswith(typed) and question != typed)


def _names(line: str, knowledge: tuple[Structure, ...]) -> tuple[str, ...]:
    """The line with its last words made into a name: the most words that begin one are taken."""
    starts = [match.start() for match in re.finditer(r"[^\s,.;:]+", line)][-_LONGEST:]
    for start in starts:
        typed = _plain(line[start:])
        if len(typed.strip()) < 2 or typed.strip() in _COMMON:
            continue
        article = re.search(r"\b(the|a|an)\s+$", line[:start].lower()) is not None
        entries = [entry for entry in _all_names(knowledge) if entry[1].startswith(typed)]
        if not entries:
            continue
        # What is whole already needs no other word for it ("the tumour" can stay).
        whole = {
            phrase for rank, key, phrase in entries if rank == 0 and key == typed and not _is_choice(phrase, typed)
        }
        left = [entry for entry in entries if entry[2] not in whole and not (article and entry[2].startswith("both "))]
        return tuple(line[:start] + phrase for _, _, phrase in sorted(left, key=lambda entry: entry[0]))
    return ()


def _is_choice(phrase: str, typed: str) -> bool:
    """Whether a phrase says of the typed name which side is meant: "left kidney" of "kidney"."""
    return phrase.startswith(("left ", "right ")) and not typed.startswith(("left ", "right "))


def _plain(text: str) -> str:
    return re.sub(r"\s+", " ", text.lstrip()).lower()


@lru_cache(maxsize=4)
def _all_questions(knowledge: tuple[Structure, ...]) -> tuple[str, ...]:
    """Questions from the descriptions that begin with a verb: "which organ stores bile?"."""
    told = [relation for structure in _likeliest_first(knowledge) for relation in structure.relations]
    verbs = [
        relation for relation in told if (word := relation.split()[0]).endswith("s") and not word.endswith(_NO_VERB)
    ]
    return tuple(f"{_QUESTION}{relation}?" for relation in verbs)


@lru_cache(maxsize=4)
def _all_names(knowledge: tuple[Structure, ...]) -> tuple[tuple[int, str, str], ...]:
    """(rank, what may be typed, what it becomes); rank 0 is the beginning of a name, 1 a word within it."""
    found: list[tuple[int, str, str]] = []
    for structure in _likeliest_first(knowledge):
        for name in (structure.name, *structure.synonyms):
            found += [(0, typed, phrase) for typed, phrase in _typed(name.lower(), structure)]
            words = name.lower().split()
            sided = _SIDED if structure.paired else ("",)
            found += [(1, " ".join(words[at:]), side + structure.name) for at in range(1, len(words)) for side in sided]
    return tuple(dict.fromkeys(found))


def _typed(name: str, structure: Structure) -> list[tuple[str, str]]:
    """(what may be typed, what it becomes) for one name of a structure."""
    if not structure.paired:
        return [(name, structure.name)]
    many = plural(structure.name)
    one = [(name, side + structure.name) for side in _SIDED]
    pair = [(side + name, side + structure.name) for side in _SIDED]
    return [*one, (plural(name), many), *pair, (f"both {plural(name)}", f"both {many}")]


def _likeliest_first(knowledge: tuple[Structure, ...]) -> list[Structure]:
    return sorted(knowledge, key=lambda structure: structure.hu is None)
