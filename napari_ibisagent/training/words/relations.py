"""The relations of the knowledge base as English: what a structure does, what it is, and what can be asked with that.

They are written tersely ("artery supplies the liver", "seahorse shaped"). Here each is told apart by its words alone;
those in which the structure is only an "it" ("the fetus grows in it") or that say a thing and no structure ("gas
exchange") make no sentence and are left out.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum

_VERBS = frozenset(
    """
    absorbs beats belongs bends bites blocks branches breaks breathes carries causes churns cleans clears closes
    collects conducts connects contains contracts controls coordinates covers crosses curves cushions detoxifies
    died dies digests divides drains enlarges exchanges excretes feeds fills filters focuses forms frames gives goes
    grows has holds inflates insulates is joins keeps leaves lies loses makes may metabolises moves opens passes
    presses processes produces protects pumps receives regulates relays releases removes returns runs secretes sees
    separates sheds shrinks sits slips stores straightens supplies surrounds swells takes thinks turns vibrates
    warms widens works
    """.split()
)
# After a noun in the plural.
_PLURAL_VERBS = frozenset("are belong carry control drain hold join move".split())
# These say how a structure is rather than what it does.
_STATES = frozenset(
    """
    belongs branches collects curves dies enlarges grows has is leaves lies loses may opens runs shrinks sits slips
    swells widens
    """.split()
)
_PARTICIPLES = frozenset("blocked formed inflamed made needed used worn".split())
_RELATIVE = frozenset("that which where who whose when".split())
_PREPOSITIONS = _RELATIVE | frozenset(
    """
    above after around at before behind below beside between by for from in inside into just less of on out outside
    over rich round through to together under with without made worn felt
    """.split()
)
# Where the structure isn't the subject.
_OTHERWISE = frozenset("it its there them only".split())
# Nouns that a structure can be called by, as the subject of what it does.
_CALLED = frozenset(
    """
    area artery bone branch cartilage cell chamber clot cortex device disc fluid fold gland growth joint layer lobe
    membrane muscle muscles nerve nuclei organ part pouch ring sac spot station structure tissue tube tubes valve
    vein veins vertebra vessel
    """.split()
)
# A noun phrase round one of these says what happens, and names nothing.
_DEEDS = frozenset("control exchange memory speech".split())
_PLURALS = frozenset(
    """
    arteries blobs bones cells deposits dots fibers glands lines membranes muscles nerves nuclei pallidum pockets
    pyramids spaces structures tubes veins vertebrae vessels
    """.split()
)
_JOINED = re.compile(r"\b(\w+) (shaped|filled|rich|poor)\b(?! (?:in|with)\b)")
_NAMES = {"dna": "DNA", "psa": "PSA", "alzheimer's": "Alzheimer's", "parkinson's": "Parkinson's", "t2": "T2", "u": "U"}


class Form(StrEnum):
    """DOES: "stores bile". WHO_DOES: "artery", "supplies the liver". IS: "used for breathing". NOUN: "largest vein"."""

    DOES = "does"
    WHO_DOES = "who does"
    IS = "is"
    NOUN = "noun"


@dataclass(frozen=True, slots=True)
class Told:
    """A relation, told apart. ``noun``: what the structure is called in it; ``does``: what follows. ``plural``: of the
    noun. ``acts``: whether it says what the structure does, rather than how it is."""

    form: Form
    noun: str = ""
    does: str = ""
    plural: bool = False
    acts: bool = False


def told(relation: str) -> Told | None:
    """A relation (without its "left:") as English, or None where it can't be put into a sentence."""
    words = relation.split()
    if not words or _OTHERWISE & set(words) or words[0] == "one":
        return None
    if words[0] in _VERBS:
        return Told(Form.DOES, does=_written(words), acts=_acts(words))
    if (words[0] in _PARTICIPLES and words[1:2]) or words[-1] == "shaped":
        return Told(Form.IS, does=_written(words))
    at = next((n for n, word in enumerate(words) if _is_verb(word, words[n + 1 :])), None)
    related = next((n for n, word in enumerate(words) if word in _RELATIVE), len(words))
    if at is not None and at < related:
        return _who_does(words, at)
    head = next((n for n, word in enumerate(words) if word in _PREPOSITIONS), len(words))
    if head == 0 or _DEEDS & set(words[:head]):
        return None
    return Told(Form.NOUN, noun=_written(words), plural=words[head - 1] in _PLURALS)


def _acts(does: list[str]) -> bool:
    """Whether something is done: "breaks down toxins", but not "breaks in old people" or "turns cloudy"."""
    return does[0] not in _STATES and does[1:2] not in (["in"], ["cloudy"])


def _is_verb(word: str, after: list[str]) -> bool:
    """Whether a word is a verb here: "the membrane lines the lung", but "red lines of the retina"."""
    return word in _VERBS or word in _PLURAL_VERBS or (word == "lines" and after[:1] == ["the"])


def _who_does(words: list[str], at: int) -> Told | None:
    noun = words[:at]
    if not _CALLED & set(noun):
        return None
    return Told(Form.WHO_DOES, _written(noun), _written(words[at:]), words[at] in _PLURAL_VERBS, _acts(words[at:]))


def _written(words: list[str]) -> str:
    """Words with the hyphens and capitals that the base leaves out."""
    return _JOINED.sub(r"\1-\2", " ".join(_NAMES.get(word, word) for word in words))
