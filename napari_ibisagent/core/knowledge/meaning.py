"""From a phrase to an answer: which structure it means, whether it can be meant so, and what else must be heeded.

A structure that is one of a pair is asked back where no side is said; a finding may be on any side, in any place.
"""

from __future__ import annotations

from dataclasses import replace

from napari_ibisagent.core.knowledge.lexicon import Lexicon
from napari_ibisagent.core.knowledge.phrase import Phrase, composite
from napari_ibisagent.core.knowledge.resolution import (
    SIDE_TEXT,
    Resolution,
    choice,
    quoted,
    refused,
    sided_names,
    sides_of,
)
from napari_ibisagent.core.knowledge.structure import Structure
from napari_ibisagent.core.target import Side, Target

# What lies in such a relation to a paired neighbour lies on its side.
_SAME_SIDE = frozenset(("next to", "above", "below", "behind", "in front of", "around"))


def meaning(phrase: Phrase, prompt: str, lexicon: Lexicon) -> Resolution:
    """The answer to a phrase that was read from its first word to its last."""
    if not phrase.heads:
        return _thing(phrase, prompt)
    phrase = _with_owner(phrase, lexicon)
    structure = phrase.head
    if structure is None:
        return choice(prompt, phrase.noun, sided_names(phrase.heads, phrase.side))
    if structure.members and not (structure.many and (phrase.plural or phrase.count)):
        members = [lexicon.by_key[key] for key in structure.members if key in lexicon.by_key]
        if members:
            return choice(prompt, phrase.noun, sided_names(tuple(members), phrase.side))
    reason = _impossible(phrase, structure, lexicon)
    if reason:
        return replace(refused(prompt, reason), structure=structure)
    phrase = _placed(phrase, structure, lexicon)
    if structure.paired and not _says_which(phrase, structure):
        return replace(choice(prompt, structure.name, sides_of(structure)), structure=structure)
    return _answer(phrase, structure, prompt, lexicon)


def _thing(phrase: Phrase, prompt: str) -> Resolution:
    """A thing that is only described: its look and its place, no target."""
    near = (phrase.near[0], phrase.near[1].heads[0]) if phrase.near else None
    within = (phrase.within.heads[0], phrase.within.side) if phrase.within else None
    words_said = [*phrase.look, f"{near[0]} the {near[1].name}" if near else ""]
    words_said += [f"in the {within[0].name}" if within else "", _place(phrase.side)]
    description = ", ".join(filter(None, words_said))
    how = f"{quoted(prompt)} describes a thing" + (f" ({description})" if description else "")
    return Resolution(
        None,
        f"{how}, and names nothing that I know.",
        pick=phrase.pick,
        near=near,
        near_side=phrase.near[1].side if phrase.near else Side.NONE,
        within=within,
        hemisphere=phrase.side,
        look=phrase.look,
        every=phrase.plural or phrase.count == "all",
    )


def _with_owner(phrase: Phrase, lexicon: Lexicon) -> Phrase:
    """ "The mass in the left kidney" as the left kidney tumour, where the base has a name for it."""
    other = phrase.within
    if other is None or other.head is None or (phrase.head is None and not phrase.heads):
        return phrase
    # "Lung lesion" is a name, "lesion in the lung" is the same thing.
    found = composite(other.head, tuple(phrase.noun.split()), phrase.heads, lexicon)
    if found is None or found == other.heads:
        return phrase
    side = phrase.side if phrase.side is not Side.NONE else other.side
    return replace(phrase, heads=found, within=None, side=side)


def _impossible(phrase: Phrase, structure: Structure, lexicon: Lexicon) -> str:
    """Why a phrase can't be meant as it stands; "" where it can."""
    finding = lexicon.is_finding(structure)
    several = structure.many or structure.paired or finding
    if phrase.pick and not several:
        return f"asks for the {phrase.pick} one, but there is one {structure.name} only."
    if phrase.pick and phrase.side is not Side.NONE and structure.paired and not structure.many:
        return f"names both a side and the {phrase.pick} one."
    if phrase.count == "both" and not structure.paired and not phrase.pick:
        return f"asks for both, but the {structure.name} isn't one of a pair."
    wrong_side = _wrong_side(phrase.side, structure, finding or structure.many)
    if wrong_side:
        return wrong_side
    if phrase.near is not None and not (finding or structure.many):
        return _far(phrase, structure, lexicon)
    inside = phrase.within.head if phrase.within else None
    if inside is not None and not finding and not _belongs(structure, inside, lexicon):
        return f"mentions the {structure.name} and the {inside.name}, but asks for something that I don't know."
    return ""


def _wrong_side(side: Side, structure: Structure, anywhere: bool) -> str:
    if side is Side.NONE or structure.paired or (anywhere and side is not Side.BOTH):
        return ""
    if structure.side is Side.NONE:
        said = "two sides" if side is Side.BOTH else f"its {side.value} side"
        return f"names the {structure.name}, which isn't one of a pair: I can't give {said}."
    if side is not structure.side:
        there = "not on both sides" if side is Side.BOTH else f"there is none on the {side.value}"
        return f"names the {structure.name}, which lies on the {structure.side.value}; {there}."
    return ""


def _far(phrase: Phrase, structure: Structure, lexicon: Lexicon) -> str:
    """Why a structure that there is once can't be told by a neighbour; "" where they are known to lie together."""
    if phrase.near is None or phrase.near[0] == "at the level of":
        return ""
    other = phrase.near[1].heads[0]
    if other.key in structure.neighbours or structure.key in other.neighbours:
        return ""
    return f"mentions the {structure.name} and the {other.name}, but asks for something about them that I don't know."


def _belongs(structure: Structure, whole: Structure, lexicon: Lexicon) -> bool:
    """Whether a structure as a whole lies in another one, so that naming it adds nothing."""
    if len(structure.part_of) != 1 and whole.key not in structure.part_of[:1]:
        return False
    return whole.key in lexicon.wholes[structure.key]


def _placed(phrase: Phrase, structure: Structure, lexicon: Lexicon) -> Phrase:
    """The phrase with what its place says: the side of a paired neighbour or whole, no place where it adds nothing."""
    other = phrase.within or (phrase.near[1] if phrase.near and phrase.near[0] in _SAME_SIDE else None)
    side = phrase.side
    if structure.paired and side is Side.NONE and other is not None and other.side in (Side.LEFT, Side.RIGHT):
        side = other.side
    within = phrase.within if lexicon.is_finding(structure) else None
    if within is not None and within.head is not None and within.head.key in lexicon.wholes[structure.key]:
        # "The lung nodule in the right lung": the place says its side and nothing else.
        return replace(phrase, side=side or within.side, within=None)
    if within is not None and within.head is not None and within.head.key in ("cerebral_hemisphere", "body"):
        place = within.side if within.head.key == "cerebral_hemisphere" else Side.NONE
        return replace(phrase, side=place or side, hemisphere=place, within=None)
    return replace(phrase, side=side, within=within)


def _says_which(phrase: Phrase, structure: Structure) -> bool:
    """Whether a phrase says which one of a pair it means."""
    return bool(phrase.side or phrase.count or phrase.plural or phrase.pick or structure.mass)


def _answer(phrase: Phrase, structure: Structure, prompt: str, lexicon: Lexicon) -> Resolution:
    side = phrase.side
    if structure.paired and side is Side.NONE and not phrase.pick:
        side = Side.BOTH
    finding = lexicon.is_finding(structure)
    target_side = side if structure.paired or finding or structure.many else Side.NONE
    near = (phrase.near[0], phrase.near[1].heads[0]) if phrase.near else None
    within = (phrase.within.heads[0], phrase.within.side) if phrase.within else None
    words_said = [f"names the {structure.name}", SIDE_TEXT.get(target_side, "")]
    words_said += [f"the {phrase.pick} one" if phrase.pick else ""]
    words_said += [f"in the {_name(*within)}" if within else "", f"{near[0]} the {near[1].name}" if near else ""]
    words_said += [f"which looks {' and '.join(phrase.look)}" if phrase.look else ""]
    return Resolution(
        Target(structure.name, structure.key, target_side, structure.code),
        f"{quoted(prompt)} {', '.join(filter(None, words_said))}",
        structure,
        pick=phrase.pick,
        near=near,
        near_side=phrase.near[1].side if phrase.near else Side.NONE,
        within=within,
        hemisphere=phrase.hemisphere or (side if finding and side in (Side.LEFT, Side.RIGHT) else Side.NONE),
        look=phrase.look,
        every=not phrase.pick and (phrase.plural or bool(phrase.count)),
    )


def _place(side: Side) -> str:
    return "" if side is Side.NONE else SIDE_TEXT[side]


def _name(structure: Structure, side: Side) -> str:
    return f"{side.value} {structure.name}" if side in (Side.LEFT, Side.RIGHT) else structure.name
