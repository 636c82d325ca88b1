"""What an agent is asked: requests that name a target, and requests that describe it. Seeded.

A *reasoning* request is one that ``core.knowledge.resolve`` leads back to the very same structure and side; all others
are dropped, so that what a model learns and what the program understands never part.
"""

from __future__ import annotations

from collections.abc import Iterator

from numpy.random import Generator

from napari_ibisagent.core.knowledge import Structure, resolve
from napari_ibisagent.core.target import Side
from napari_ibisagent.training.words.relations import Form, Told, told
from napari_ibisagent.training.words.wording import pick, with_article, worded

_REFERRING = (
    "(segment|outline|mark|delineate|contour|trace|highlight|annotate|find) {the}",
    "(segment|outline|mark|delineate|contour|trace|highlight|annotate|find) {the}",
    "please (segment|outline|mark|delineate|contour|trace|highlight) {the}",
    "(segment|outline|mark|trace) {the}, please",
    "(can|could|would) you (segment|outline|mark|trace|delineate|show me) {the}?",
    "(can|could) you (segment|outline|mark|trace) {the} for me?",
    "(segment|outline|mark|find|highlight) {the} in this (image|scan|slice|picture)",
    "(show|give) me {the}",
    "show me {the} in this (image|scan|slice|picture)",
    "I (need|want) (the outline|a mask|the contour) of {the}",
    "I would like you to (segment|outline|mark) {the}",
    "(draw|give me) (the outline|the contour|a mask) of {the}",
    "(draw|give me) (the outline|the contour|a mask) of {the}, please",
    "(segment|outline|mark) all of {the}",
    "carefully (segment|outline|trace) {the}",
    "help me (segment|outline|mark) {the}",
    "{name}",
    "{name}, please",
    "now (segment|outline|mark|find) {the}",
)

# Of what a description may be called, by what it is; whatever it is, it is a structure.
_CALLED = {
    **{kind: (kind,) for kind in ("organ", "bone", "muscle", "nerve", "joint", "valve", "tissue", "cell", "tumor")},
    "gland": ("gland", "organ"),
    "artery": ("artery", "vessel"),
    "vein": ("vein", "vessel"),
    "chamber": ("chamber of the heart",),
    "lobe": ("lobe",),
}
_ON_A_SIDE = ("on the {side}", "on the {side} side", "on the patient's {side} side")
_OUTLINE_IT = (
    "(Outline|Segment|Mark) it.",
    "(Outline|Segment|Mark) it, please.",
    "Please (outline|segment|mark) it.",
    "(Show me|Draw) its outline.",
)
_ORDERS = "(Segment|Outline|Mark|Find|Show me|Please outline|Please segment|Delineate)"
_ASKS = "(Can|Could) you (segment|outline|mark|show me)"
_QUESTIONS = {
    Form.DOES: (
        "Which {called} {side} {does}? {tail}",
        "Which {called} {side} {does}? {tail}",
        f"{_ORDERS} the {{called}} {{side}} that {{does}}.",
        f"{_ASKS} the {{called}} {{side}} that {{does}}?",
    ),
    Form.WHO_DOES: (
        "Which {noun} {side} {does}? {tail}",
        "Which {noun} {side} {does}? {tail}",
        f"{_ORDERS} the {{noun}} {{side}} that {{does}}.",
        f"{_ASKS} the {{noun}} {{side}} that {{does}}?",
    ),
    Form.IS: (
        "Which {called} {side} is {does}? {tail}",
        f"{_ORDERS} the {{called}} {{side}} that is {{does}}.",
        f"{_ASKS} the {{called}} {{side}} that is {{does}}?",
    ),
    Form.NOUN: (
        "Which {called} {side} is {the}? {tail}",
        f"{_ASKS} {{the}} {{side}}?",
        f"{_ORDERS} {{the}} {{side}}.",
        "What is {the} {side}? {order}",
    ),
}
_MANY = (f"{_ASKS} {{the}} {{side}}?", f"{_ORDERS} {{the}} {{side}}.")
# So many sentences are tried before there is none.
_TRIES = 24


def referring(name: str, rng: Generator) -> str:
    """A request that names its target: "please outline the left kidney". ``name``: "left kidney", "both kidneys"."""
    request = worded(_REFERRING, rng, {"the": with_article(name), "name": name})
    if rng.random() < 0.4 and request[1:2].islower():  # neither "I need" nor "T12 vertebra"
        request = request[:1].lower() + request[1:]
    return request if request.endswith("?") or rng.random() < 0.5 else f"{request}."


def reasoning(structure: Structure, side: Side, knowledge: tuple[Structure, ...], rng: Generator) -> str | None:
    """A request that describes a structure by what it does or is; None where no sentence leads back to it.

    side: of one of a pair; BOTH where no side is asked for. A structure that is no pair has NONE.
    """
    for _, text in zip(range(_TRIES), _described(structure, side, rng), strict=False):
        target = resolve(text, knowledge).target
        if target is not None and (target.key, target.side) == (structure.key, side):
            return text
    return None


def _described(structure: Structure, side: Side, rng: Generator) -> Iterator[str]:
    """Endless sentences that describe a structure, or none at all."""
    usable = [(fixed, one) for fixed, one in _relations(structure) if fixed in (Side.NONE, side)]
    while usable:
        fixed, one = usable[int(rng.integers(len(usable)))]
        yield _question(structure, one, side if fixed is Side.NONE else Side.NONE, rng)


def _relations(structure: Structure) -> Iterator[tuple[Side, Told]]:
    """What is told of a structure, and of which side of it."""
    for relation in structure.relations:
        fixed, colon, text = relation.partition(":")
        one = told(text.strip() if colon else relation)
        if one is not None:
            yield Side(fixed) if colon else Side.NONE, one


def _question(structure: Structure, one: Told, side: Side, rng: Generator) -> str:
    called = [name for kind in structure.is_a for name in _CALLED.get(kind, ()) if name not in one.noun]
    order = worded(_OUTLINE_IT, rng, {})
    fields = {
        "called": pick((*called, *called, "structure"), rng),
        "side": pick(_ON_A_SIDE, rng).format(side=side.value) if side in (Side.LEFT, Side.RIGHT) else "",
        "noun": one.noun,
        "the": with_article(one.noun),
        "does": one.does,
        "order": order,
        "tail": pick(("", order), rng),
    }
    patterns = _MANY if one.form is Form.NOUN and one.plural else _QUESTIONS[one.form]
    return worded(patterns, rng, fields).replace(" ?", "?").replace(" .", ".")
