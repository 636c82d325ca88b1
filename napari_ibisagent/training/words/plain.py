"""Plain questions about anatomy, answered in words and without a click, so that a model keeps answering.

No question is one that ``core.knowledge.resolve`` takes for a request to segment something ("where is the liver?" is).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

from numpy.random import Generator

from napari_ibisagent.core.knowledge import Structure, resolve
from napari_ibisagent.core.knowledge.structure import closure
from napari_ibisagent.core.target import Side, plural
from napari_ibisagent.training.words.relations import Form, told
from napari_ibisagent.training.words.wording import with_article, worded

_PARTS = ("head", "neck", "chest", "abdomen", "pelvis")
_PICTURES = {
    "CT": "CT",
    "MR": "MRI",
    "XR": "an X-ray picture",
    "US": "ultrasound",
    "endoscopy": "endoscopy",
    "fundus": "a fundus photograph",
    "dermoscopy": "dermoscopy",
    "OCT": "optical coherence tomography",
}
_SHAPES = frozenset("wedge crescent bean tube pear butterfly bag walnut seahorse spiral dome worm".split())
_DOES = ("What does {the} do?", "What is {the} (good|there) for?", "What is the (task|job|function) of {the}?")
_IS = ("What is {the}?", "What is meant by {the}?", "Explain what {the} is.", "What kind of thing is {the}?")
_SIDE = ("Is {the} on the left or on the right?", "On which side of the body does {the} lie?")
_PART = ("In which part of the body does {the} lie?", "Which part of the body does {the} belong to?")
_BESIDE = ("What lies next to {the}?", "Which (structures|organs) are the neighbours of {the}?")
_SEEN = ("Can {the} be seen in {picture}?", "Does {picture} show {the}?")
_SHAPE = ("What (shape|form) does {the} have?", "What does {the} look like?")
_COUNT = ("How many {names} does a person have?", "Is there more than one {name}?")
_TRIES = 200

_Made = tuple[tuple[str, ...], tuple[str, ...], dict[str, str]]


def plain(knowledge: tuple[Structure, ...], rng: Generator) -> tuple[str, str]:
    """A question about a structure of the base, and its answer in a sentence.

    Raises ValueError where the base holds nothing that a question could be made of.
    """
    by_key, usable = _usable(knowledge)
    for _ in range(_TRIES if usable else 0):
        one = usable[int(rng.integers(len(usable)))]
        made = _MAKERS[int(rng.integers(len(_MAKERS)))](one, by_key, rng)
        if made is None:
            continue
        questions, answers, fields = made
        fields |= {"the": with_article(one.name), "name": one.name}
        question = worded(questions, rng, fields)
        if resolve(question, knowledge).target is None:
            return question, worded(answers, rng, fields)
    raise ValueError("No plain question can be made of this knowledge base.")


@lru_cache(maxsize=4)
def _usable(knowledge: tuple[Structure, ...]) -> tuple[dict[str, Structure], tuple[Structure, ...]]:
    """The structures by their keys, and those that something can be asked about: no findings, no classes."""
    by_key = {one.key: one for one in knowledge}
    known = [one for one in knowledge if one.relations and not one.members]
    return by_key, tuple(one for one in known if "finding" not in closure(one, by_key, "is_a"))


def _does(one: Structure, by_key: dict[str, Structure], rng: Generator) -> _Made | None:
    said = [(found.form, found) for text in one.relations if ":" not in text and (found := told(text)) and found.acts]
    if not said:
        return None
    form, found = said[int(rng.integers(len(said)))]
    if form is Form.WHO_DOES:
        if found.plural:
            return None
        return _DOES, ("{The} is the {noun} that {does}.",), {"noun": found.noun, "does": found.does}
    return _DOES, ("{The} {does}.", "It {does}."), {"does": found.does}


def _is(one: Structure, by_key: dict[str, Structure], rng: Generator) -> _Made | None:
    all_told = [found for text in one.relations if ":" not in text and (found := told(text)) and not found.plural]
    nouns = [found.noun for found in all_told if found.form is Form.NOUN]
    nouns += [f"{found.noun} that {found.does}" for found in all_told if found.form is Form.WHO_DOES]
    if not nouns:
        return None
    return _IS, ("{The} is the {noun}.",), {"noun": nouns[int(rng.integers(len(nouns)))]}


def _side(one: Structure, by_key: dict[str, Structure], rng: Generator) -> _Made | None:
    if one.many:
        return None
    if one.paired:
        return _SIDE, ("On both: there is a left and a right {name}.", "There is one on either side."), {}
    if one.side is Side.NONE:
        return None
    answers = (
        "{The} usually lies on the patient's {side} side.",
        "Usually on the {side}.",
        "It lies on the {side}, as a rule.",
    )
    return _SIDE, answers, {"side": one.side.value}


def _part(one: Structure, by_key: dict[str, Structure], rng: Generator) -> _Made | None:
    if not one.regions or len(one.regions) > 2 or not set(one.regions) <= set(_PARTS):
        return None
    return _PART, ("{The} lies in {parts}.", "It lies in {parts}."), {"parts": _listed(one.regions)}


def _beside(one: Structure, by_key: dict[str, Structure], rng: Generator) -> _Made | None:
    names = [by_key[key].name for key in one.neighbours if key in by_key]
    if len(names) < 2:
        return None
    return _BESIDE, ("{The} lies next to {names}.", "Its neighbours are {names}."), {"names": _listed(names)}


def _seen(one: Structure, by_key: dict[str, Structure], rng: Generator) -> _Made | None:
    kinds = [kind for kind in _PICTURES if kind in one.seen_in]
    if not kinds:
        return None
    answers = ("Yes, {picture} can show {the}.", "Yes, {the} can be seen in {picture}.")
    return _SEEN, answers, {"picture": _PICTURES[kinds[int(rng.integers(len(kinds)))]]}


def _shape(one: Structure, by_key: dict[str, Structure], rng: Generator) -> _Made | None:
    if one.shape not in _SHAPES:
        return None
    return _SHAPE, ("{The} has the shape of a {shape}.", "It is shaped like a {shape}."), {"shape": one.shape}


def _count(one: Structure, by_key: dict[str, Structure], rng: Generator) -> _Made | None:
    if not {"organ", "gland"} & set(one.is_a) or one.many or (not one.paired and set(one.regions) & {"pelvis"}):
        return None  # of the organs of the pelvis a person has the one or the other
    fields = {"names": plural(one.name)}
    if one.paired:
        return _COUNT, ("There are two, a left and a right one.", "Two: the left and the right {name}."), fields
    return _COUNT, ("There is only one {name}.", "Just one {name}."), fields


_MAKERS: tuple[Callable[[Structure, dict[str, Structure], Generator], _Made | None], ...] = (
    *(_does, _does, _does, _is, _is, _side, _part, _beside, _seen, _shape, _count),
)


def _listed(names: tuple[str, ...] | list[str]) -> str:
    """Names with their articles: "the liver, the duodenum and the colon"."""
    *first, last = [f"the {name}" for name in names]
    return f"{', '.join(first)} and {last}" if first else last
