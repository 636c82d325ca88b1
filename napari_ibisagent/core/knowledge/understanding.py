"""``resolve``: what a sentence asks for, said back in words. It never guesses: what is unclear has no target.

In this order: what the sentence names; the same with typing errors mended; what it describes. Whatever remains is
answered with the nearest terms, or with choices where a name fits several things.
"""

from __future__ import annotations

import re
from dataclasses import replace

from napari_ibisagent.core.knowledge.descriptions import descriptions_of
from napari_ibisagent.core.knowledge.lexicon import Lexicon, lexicon_of, without_exclusion
from napari_ibisagent.core.knowledge.meaning import meaning
from napari_ibisagent.core.knowledge.phrase import Phrase, composite, read_phrase
from napari_ibisagent.core.knowledge.resolution import SIDE_TEXT, Resolution, choice, quoted, refused, sides_of
from napari_ibisagent.core.knowledge.structure import Structure
from napari_ibisagent.core.knowledge.words import EMPTY, NEGATIONS, QUESTIONS, SIDES, bare, words
from napari_ibisagent.core.target import Side, Target

# "on the left of the image", "the picture's right side": not the patient's.
_PICTURE_SIDE = re.compile(
    r"\b(left|right)(\s+(hand\s+)?(side|half|part))?\s+(of|in|on)\s+(the|this)\s+"
    r"(image|picture|view|viewer|screen|display)\b"
    r"|\b(image|picture|view|viewer|screen|display)(['’]s)?\s+(left|right)\b"
)
_AND = re.compile(r"\s*(?:,|\band\b|\bor\b)(?:\s*(?:and|or)\b)?\s*")
# "right after the stomach" says nothing of a side.
_NO_SIDE = re.compile(r"\b(left|right)\s+(after|before|behind|above|below|next|beside|under|away|now|here)\b")
_ASKS = QUESTIONS | {"that"}
_EITHER = re.compile(r"\b(left or right|right or left) ")


def resolve(prompt: str, knowledge: tuple[Structure, ...]) -> Resolution:
    """What the prompt asks for. Never guesses: an unclear sentence resolves to no target, with the reason."""
    if _PICTURE_SIDE.search(prompt.lower()):
        return refused(prompt, "names a side of the picture. Say which side of the patient is meant.")
    lexicon = lexicon_of(knowledge)
    text = lexicon.folded(prompt)
    found = _understood(text, prompt, lexicon)
    if found is None:
        mended, changes = _mended(text, lexicon)
        found = _understood(mended, prompt, lexicon) if changes else None
        found = replace(found, how=_with(found.how, changes)) if found else None
    if found is None and NEGATIONS & set(_request(text).split()):
        return refused(prompt, "says what it is not. Say what should be segmented.")
    return found or _unknown(prompt, _request(text), lexicon)


def _understood(text: str, prompt: str, lexicon: Lexicon) -> Resolution | None:
    """What a folded text names or describes; None where neither."""
    found = _named(_request(text), prompt, lexicon)
    if found is None or (found.target is None and found.structure is None and _ASKS & set(text.split())):
        # "Which gland sits on the kidney?" names a gland only, but describes one.
        described = _asked(text, prompt, lexicon.knowledge)
        found = described if found is None or (described and described.target) else found
    return found


def _request(text: str) -> str:
    """What is left of a folded text without punctuation and the words that frame a request."""
    return " ".join(filter(None, map(bare, re.split(r"[.?!;:\n]", text))))


# -- typing errors -----------------------------------------------------------------------------------------


def _mended(text: str, lexicon: Lexicon) -> tuple[str, dict[str, str]]:
    """A text with its misspelt words put right, and what was changed; several guesses at once are one too many."""
    changes = {word: right for word in text.split() if (right := lexicon.speller.mended(word)) is not None}
    if len(changes) > 2:
        return text, {}
    return " ".join(changes.get(word, word) for word in text.split()), changes


def _with(how: str, changes: dict[str, str]) -> str:
    said = " and ".join(f'"{typed}" as {right}' for typed, right in changes.items())
    return f"{how.removesuffix('.')} (I read {said})" + ("." if how.endswith(".") else "")


# -- what is named -----------------------------------------------------------------------------------------


def _named(text: str, prompt: str, lexicon: Lexicon) -> Resolution | None:
    """What a sentence names, with what it leaves out; None where its words aren't all understood."""
    main, left_out = without_exclusion(text)
    phrase = None if NEGATIONS & set(main.split()) else read_phrase(main, lexicon)
    if phrase is None:
        return None if left_out else _several(text, prompt, lexicon)
    if not left_out:
        return meaning(phrase, prompt, lexicon)
    if phrase.head is None:
        return refused(prompt, "says what to leave out, but of nothing that I know.")
    found = meaning(phrase, prompt, lexicon)
    without = _left_out(left_out, phrase.head, lexicon)
    if isinstance(without, str):
        return refused(prompt, without)
    names = " and ".join(structure.name for structure in without)
    if found.target is None:
        return replace(found, choices=tuple(f"{one} without the {names}" for one in found.choices))
    return replace(found, without=without, how=f"{found.how}, without the {names}")


def _left_out(text: str, target: Structure, lexicon: Lexicon) -> tuple[Structure, ...] | str:
    """The structures that a sentence leaves out, or why it can't be done."""
    found: list[Structure] = []
    for part in _AND.split(text):
        phrase = read_phrase(part, lexicon) if part else None
        if phrase is None or not phrase.heads or phrase.near or phrase.pick or phrase.look:
            return f"leaves out something that I don't know ({part})."
        heads = composite(target, tuple(phrase.noun.split()), phrase.heads, lexicon) or phrase.heads
        if phrase.within is not None and phrase.within.head is not target:
            return f"leaves out something that I can't tell apart ({part})."
        if len(heads) > 1 or (heads[0].members and not heads[0].many):
            return f"leaves out the {phrase.noun}, which can mean several things."
        if phrase.side is not Side.NONE or (phrase.within is not None and phrase.within.side is not Side.NONE):
            return f"leaves out one side only: I can leave out the {heads[0].name} as a whole."
        if heads[0] is target or heads[0].key in lexicon.wholes[target.key] | lexicon.kinds[target.key]:
            return f"asks for the {target.name} and leaves it out."
        found.append(heads[0])
    return tuple(found)


def _several(text: str, prompt: str, lexicon: Lexicon) -> Resolution | None:
    """A sentence that names several things is answered with a choice among them."""
    either = _EITHER.search(text)
    if either is not None:
        phrase = read_phrase(_EITHER.sub("left ", text), lexicon)
        if phrase is not None and phrase.head is not None and phrase.head.paired:
            return choice(prompt, phrase.noun, sides_of(phrase.head)[:2])
    parts = [part for part in _AND.split(text) if part]
    phrases = [read_phrase(part, lexicon) for part in parts]
    if len(parts) < 2 or any(phrase is None or not phrase.heads for phrase in phrases):
        return None
    names = sorted({_full_name(phrase, lexicon) for phrase in phrases if phrase is not None})
    reason = f"names more than one thing ({' and '.join(names)}). Ask for one at a time."
    return replace(refused(prompt, reason), choices=tuple(names))


def _full_name(phrase: Phrase, lexicon: Lexicon) -> str:
    target = meaning(phrase, "", lexicon).target
    return target.full_name if target is not None else phrase.noun


# -- what is described -------------------------------------------------------------------------------------


def _asked(text: str, prompt: str, knowledge: tuple[Structure, ...]) -> Resolution | None:
    """The structure that a question (folded) describes; None where nothing fits clearly best."""
    if not _ASKS & set(text.split()) and not prompt.strip().endswith("?"):
        return None
    sides = SIDES & set(words(_NO_SIDE.sub(" ", text)))
    side = Side.NONE if len(sides) != 1 else Side(next(iter(sides)))
    found = descriptions_of(knowledge).best(text, side)
    if not found.structures:
        return None
    if len(found.structures) > 1:
        names = tuple(structure.name for structure in found.structures)
        return choice(prompt, "the description", names) if len(names) <= 4 else None
    structure = found.structures[0]
    side = found.side
    if not structure.paired:
        side = Side.NONE
    elif side is Side.NONE:
        side = Side.BOTH
    how = f"{quoted(prompt)} describes the {structure.name}" + (f", {SIDE_TEXT[side]}" if side else "")
    return Resolution(Target(structure.name, structure.key, side, structure.code), how, structure)


def _unknown(prompt: str, text: str, lexicon: Lexicon) -> Resolution:
    """Why a sentence isn't understood, with the nearest terms."""
    sentence = text.split()
    mentions, at = [], 0
    while at < len(sentence):
        mention = lexicon.mention(sentence, at)
        mentions += [mention.structures[0].name] if mention else []
        at = mention.end if mention else at + 1
    content = " ".join(word for word in sentence if word not in EMPTY)
    nearest = lexicon.speller.nearest(content) or tuple(
        dict.fromkeys(name for word in content.split() if len(word) > 3 for name in lexicon.speller.nearest(word)[:2])
    )
    lead = f"No structure that I know is named or described in {quoted(prompt)}"
    if mentions:
        names = " and ".join(dict.fromkeys(mentions))
        lead = f"{quoted(prompt)} mentions the {names}, but asks for something about it that I don't know"
    offer = f"; the nearest terms that I know are {', '.join(nearest)}" if nearest else ""
    return Resolution(None, f"{lead}{offer}.", nearest=nearest[:4])
