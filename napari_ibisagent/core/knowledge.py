"""From the user's sentence to a ``Target``: names, synonyms, sides, and what a structure does.

A *referring* prompt names its target ("segment the left kidney"), a *reasoning* one describes it ("which organ
stores bile?"). Precision comes first: "the liver tumour" or "the T12 vertebra" must not become the liver or the
spine, so a name counts only as the head of its phrase and only with words about it that are understood.
"""

from __future__ import annotations

import math
import re
import tomllib
from collections import Counter
from dataclasses import dataclass
from typing import Any

from napari_ibisagent.core.target import Side, Target

# Words that say nothing about what the target is.
_STOP = frozenset(
    """
    a an and any are as at be by can could do does each every everything find for from give goe goes has have
    here how i in into is it its label let lie like located mark me most my of on one or organ out outline part
    patient picture please point region scan segment select show side slice structure take that the their them
    there these they thing this to us view visible want we what where which who whose will with you your image
    trace draw contour delineate annotate right left both bilateral now then just again carefully precisely
    exactly accurately hello hi thank ct mr mri xray axial coronal sagittal volume using mask segmentation all
    complete entire full healthy human normal whole
    """.split()
)
_FILLERS = frozenset(
    """
    all complete entire full healthy human its normal the whole a an this that my our of patient any
    """.split()
)
_QUESTIONS = frozenset(("which", "what", "where", "who", "whose"))
_CONTEXT = frozenset(
    """
    above around behind below beneath beside besides between but except following from in inside into near next
    not of on onto outside over through to touching towards under within without
    """.split()
)
_NEGATIONS = frozenset(("not", "no", "never", "except", "excluding", "without", "neither", "nor"))
_AFTER = frozenset(("after", "before", "behind", "above", "below", "next", "beside", "under", "away", "now", "here"))
# "on the left of the image", "the picture's right side": not the patient's.
_PICTURE_SIDE = re.compile(
    r"\b(left|right)(\s+(side|half|part))?\s+(of|in|on)\s+(the|this)\s+(image|picture|view|viewer|screen|display)\b"
    r"|\b(image|picture|view|viewer|screen|display)(['’]s)?\s+(left|right)\b"
)
# What a word that no description has weighs against all of them (a rare known word weighs about 3.8).
_UNKNOWN_WEIGHT = 2.0
# Nouns that make a name before them a mere modifier, though they are ordinary verbs or fillers elsewhere.
_PARTS = frozenset(("segment", "part", "region", "point", "contour", "outline"))
_SIDES = {"left": Side.LEFT, "right": Side.RIGHT, "both": Side.BOTH, "bilateral": Side.BOTH}


@dataclass(frozen=True, slots=True)
class Structure:
    """An entry of the knowledge base; see the head of ``resources/knowledge/anatomy.toml``.

    ``hu`` and ``volume_ml`` are plausible ranges in CT, None where no rule finds the structure yet.
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


@dataclass(frozen=True, slots=True)
class Resolution:
    """How a sentence was understood. ``target`` None: it wasn't; ``how`` says so in words either way."""

    target: Target | None
    how: str
    structure: Structure | None = None


def read_knowledge(text: str) -> tuple[Structure, ...]:
    """The structures of a knowledge base in TOML. Raises ValueError where it isn't in order."""
    try:
        found = [_structure(entry) for entry in tomllib.loads(text).get("structure", [])]
    except (KeyError, IndexError, TypeError, AttributeError) as error:
        raise ValueError(
            f"A structure of the knowledge base lacks something or has it in another form: {error}."
        ) from error
    if len({s.key for s in found}) != len(found):
        raise ValueError("Two structures of the knowledge base have the same key.")
    return tuple(found)


def _structure(entry: dict[str, Any]) -> Structure:
    ct, code = entry.get("ct"), entry.get("code")
    return Structure(
        key=entry["key"],
        name=entry["name"],
        synonyms=tuple(entry.get("synonyms", ())),
        paired=bool(entry.get("paired", False)),
        side=Side(entry.get("side", "")),
        code=(code[0], code[1], code[2]) if code else None,
        relations=tuple(entry.get("relations", ())),
        hu=(ct["hu"][0], ct["hu"][1]) if ct else None,
        volume_ml=(ct["volume_ml"][0], ct["volume_ml"][1]) if ct else None,
    )


def resolve(prompt: str, knowledge: tuple[Structure, ...]) -> Resolution:
    """What the prompt asks for. Never guesses: an unclear sentence resolves to no target, with the reason."""
    words = _words(prompt)
    refusal = _refusal(prompt, words)
    if refusal is not None:
        return Resolution(None, refusal)
    if _QUESTIONS & set(words):
        found = _by_relation(words, knowledge)
        if found is not None:
            return _sided(found, words, f"{_quoted(prompt)} describes the {found.name}")
    mentions = _mentions(words, knowledge)
    if not mentions:
        return Resolution(None, f"No structure that I know is named or described in {_quoted(prompt)}.")
    heads = [m for m in mentions if _is_head(m, words)]
    if len(heads) < len(mentions) or _unknown(words, mentions):
        names = " and ".join(dict.fromkeys(m[2].name for m in mentions))
        return Resolution(
            None,
            f"{_quoted(prompt)} mentions the {names}, but asks for something about it that I don't know.",
        )
    others = {m[2].key for m in heads}
    if len(others) > 1:
        listing = " and ".join(sorted(m[2].name for m in heads))
        return Resolution(None, f"{_quoted(prompt)} names more than one thing ({listing}). Ask for one at a time.")
    structure = heads[0][2]
    named = {at for start, end, _ in heads for at in range(start, end)}
    # "left" of "left atrium" is no side. Its place stays: "the left kidney now" isn't "left now".
    words = ["" if at in named else word for at, word in enumerate(words)]
    return _sided(
        structure,
        words,
        f"{_quoted(prompt)} names the {structure.name}",
        strict=True,
        plural=_is_plural(prompt, structure),
    )


def _refusal(prompt: str, words: list[str]) -> str | None:
    """Why a sentence isn't answered although its words are known, or None."""
    if _NEGATIONS & set(words) or re.search(r"n['’]t\b", prompt.lower()):
        return f"{_quoted(prompt)} says what it is not. Say what should be segmented."
    if _PICTURE_SIDE.search(prompt.lower()):
        return f"{_quoted(prompt)} names a side of the picture. Say which side of the patient is meant."
    return None


def _quoted(prompt: str) -> str:
    return '"' + " ".join(prompt.split())[:200] + '"'


def _words(text: str) -> list[str]:
    """Lower-case words; possessives and plurals of the regular kind are folded."""
    return [_singular(word) for word in re.findall(r"[a-z0-9]+(?:'s)?", text.lower().replace("’", "'"))]


def _singular(word: str) -> str:
    word = word.removesuffix("'s")
    if len(word) > 3 and word.endswith("s") and not word.endswith(("ss", "us", "is")):
        return word[:-3] + "y" if word.endswith("ies") else word[:-1]
    return word


def _stem(word: str) -> str:
    """A rough stem, the same for "store", "stores", "stored" and "storing"."""
    for ending in ("ing", "ed", "e"):
        if word.endswith(ending) and len(word) - len(ending) >= 3:
            return word[: -len(ending)]
    return word


def _mentions(words: list[str], knowledge: tuple[Structure, ...]) -> list[tuple[int, int, Structure]]:
    """(start, end, structure) of every name in the sentence, the longest where they overlap."""
    found: list[tuple[int, int, Structure]] = []
    for structure in knowledge:
        for name in (structure.name, *structure.synonyms):
            parts = _words(name)
            for start in range(len(words) - len(parts) + 1):
                if words[start : start + len(parts)] == parts:
                    found.append((start, start + len(parts), structure))
    found.sort(key=lambda m: (m[0] - m[1], m[0]))
    kept: list[tuple[int, int, Structure]] = []
    for mention in found:
        if all(mention[1] <= other[0] or mention[0] >= other[1] for other in kept):
            kept.append(mention)
    return sorted(kept, key=lambda m: m[0])


def _is_head(mention: tuple[int, int, Structure], words: list[str]) -> bool:
    """Whether a name is what the sentence asks for: not "in the liver", "liver tumour", "T12 vertebra"."""
    start, end, _ = mention
    if end < len(words) and (words[end] in _PARTS or words[end] not in _STOP | _CONTEXT):
        return False  # "the liver tumour", "a liver segment"
    at = start - 1
    while at >= 0 and (words[at] in _FILLERS - {"of"} or words[at] in _SIDES):
        at -= 1
    if at < 0:
        return True
    if words[at] == "of" and at > 0 and words[at - 1] in ("all", "outline", "contour", "mask", "segmentation"):
        return True
    return words[at] not in _CONTEXT and (words[at] in _STOP or at == 0)


def _unknown(words: list[str], mentions: list[tuple[int, int, Structure]]) -> bool:
    """Whether the sentence says something that isn't understood ("at level C2", "but not ...")."""
    named = {at for start, end, _ in mentions for at in range(start, end)}
    return any(word not in _STOP | set(_SIDES) for at, word in enumerate(words) if at not in named)


def _by_relation(words: list[str], knowledge: tuple[Structure, ...]) -> Structure | None:
    """The structure whose description fits a question clearly best, or None."""
    asked = {_stem(word) for word in words if word not in _STOP and word not in _CONTEXT}
    side = _side(words)
    weights = _weights(knowledge)
    scores: list[tuple[float, Structure]] = []
    for structure in knowledge:
        if not structure.paired and Side.NONE not in (side, structure.side) and side is not structure.side:
            continue
        best = max((_fit(asked, relation, weights) for relation in structure.relations), default=0.0)
        scores.append((best, structure))
    scores.sort(key=lambda item: -item[0])
    if not scores or scores[0][0] < 0.6:
        return None
    clear = len(scores) < 2 or scores[0][0] - scores[1][0] > 0.05
    return scores[0][1] if clear else None


def _fit(asked: set[str], relation: str, weights: dict[str, float]) -> float:
    """How well a description and a question share their words, in [0, 1]: rare words weigh more (F-measure)."""
    told = {_stem(word) for word in _words(relation) if word not in _STOP and word not in _CONTEXT}
    shared = sum(weights.get(word, 0.0) for word in asked & told)
    if not shared:
        return 0.0
    recall = shared / sum(weights[word] for word in told)
    precision = shared / sum(weights.get(word, _UNKNOWN_WEIGHT) for word in asked)
    return 2 * recall * precision / (recall + precision)


def _weights(knowledge: tuple[Structure, ...]) -> dict[str, float]:
    counts = Counter(
        word
        for structure in knowledge
        for word in {_stem(w) for r in structure.relations for w in _words(r) if w not in _STOP and w not in _CONTEXT}
    )
    return {word: math.log(1 + len(knowledge) / count) for word, count in counts.items()}


def _side(words: list[str]) -> Side:
    # "right after the stomach" says nothing of a side.
    following = [*words[1:], ""]
    sides = {_SIDES[word] for at, word in enumerate(words) if word in _SIDES and following[at] not in _AFTER}
    if Side.BOTH in sides or len(sides) > 1:
        return Side.BOTH
    return sides.pop() if sides else Side.NONE


def _sided(
    structure: Structure, words: list[str], how: str, *, strict: bool = False, plural: bool = False
) -> Resolution:
    """The target with its side; a side that an unpaired structure doesn't have is not understood."""
    side = _side(words)
    if structure.paired:
        side = Side.BOTH if plural and side is Side.NONE else side
        target = Target(structure.name, structure.key, side, structure.code)
        return Resolution(target, f"{how}, {_SIDE_TEXT[side]}" if side is not Side.NONE else how, structure)
    if structure.side is not Side.NONE and side not in (Side.NONE, structure.side):
        reason = f"{how}, which lies on the {structure.side.value}; there is none on the {side.value}."
        return Resolution(None, reason, structure)
    if strict and side is not Side.NONE and structure.side is Side.NONE:
        return Resolution(None, f"{how}, which isn't one of a pair: I can't give its {side.value} side.", structure)
    return Resolution(Target(structure.name, structure.key, Side.NONE, structure.code), how, structure)


_SIDE_TEXT = {Side.LEFT: "left side", Side.RIGHT: "right side", Side.BOTH: "both sides"}


def _is_plural(prompt: str, structure: Structure) -> bool:
    """Whether the sentence names the structure in the plural: "the kidneys"."""
    raw = set(re.findall(r"[a-z]+", prompt.lower()))
    names = [_words(name)[-1] for name in (structure.name, *structure.synonyms)]
    return any(f"{name}s" in raw or (name.endswith("us") and f"{name[:-2]}i" in raw) for name in names)
