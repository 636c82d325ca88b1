"""The reasoning of a step, written from what can be seen: the picture's side of the story, never the truth's.

A thought is a function of what is asked for, the mask that is drawn over the picture, and the click that the turn
makes. It names the place of that click, how it lies to the mask, and how large the mask is to the eye; no number, no
measure, no place that only the truth knows. The same seed gives the same thought. ``brief`` thoughts are for small
models (see ``brief.py``).
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

from numpy.random import Generator

from napari_ibisagent.core.actions import Click
from napari_ibisagent.core.masks import Mask
from napari_ibisagent.training.words import brief as short
from napari_ibisagent.training.words import sentences as full
from napari_ibisagent.training.words.places import Lie, Relation, extent, is_on, mask_place, place, relation
from napari_ibisagent.training.words.wording import bare, pick, with_article, worded


class Kind(StrEnum):
    """What a turn is about.

    FIRST: a click where there is no mask. MISSED, SPILLED: a positive, a negative click to mend the mask. DONE: it
    fits. REVERT: the last click was wrong. DISCARD: the given mask is of something else. ABSENT: nothing to be found.
    """

    FIRST = "first"
    MISSED = "missed"
    SPILLED = "spilled"
    DONE = "done"
    REVERT = "revert"
    DISCARD = "discard"
    ABSENT = "absent"


_MASKED = frozenset((Kind.DONE, Kind.DISCARD))
_TARGET = "target"


def thought(
    kind: Kind,
    target: str,
    shape: tuple[int, int],
    mask: Mask | None,
    click: Click | None,
    rng: Generator,
    brief: bool = False,
) -> str:
    """What is thought before a turn's action.

    target: the name of what is asked for ("left kidney"). shape: (H, W) of the view. mask (H, W): what is drawn over
    the picture before the turn; None or empty for none. click: the turn's own click; REVERT and DISCARD may do without.
    A first click on a view with a mask is told as MISSED or SPILLED, by its sign.
    Raises ValueError where the turn lacks the click or the mask that it is about, a sign is the wrong one for the kind,
    or the mask is of another shape.
    """
    seen = None if mask is None or not mask.any() else mask
    _check(kind, target, shape, seen, click)
    if kind is Kind.FIRST and seen is not None and click is not None:
        kind = Kind.MISSED if click.positive else Kind.SPILLED
    return _brief(kind, target, seen, click, rng) if brief else _full(kind, target, seen, click, rng)


def _check(kind: Kind, target: str, shape: tuple[int, int], mask: Mask | None, click: Click | None) -> None:
    if not target.strip():
        raise ValueError("A thought needs the name of its target.")
    if mask is not None and mask.shape != tuple(shape):
        raise ValueError(f"The mask has the shape {mask.shape} and the view {tuple(shape)}.")
    if mask is None and kind in _MASKED:
        raise ValueError(f"A turn of the kind {kind.value} is about a mask, but there is none.")
    if kind in (Kind.FIRST, Kind.MISSED, Kind.SPILLED) and click is None:
        raise ValueError(f"A turn of the kind {kind.value} needs its click.")
    wrong = {Kind.FIRST: mask is None, Kind.MISSED: True}.get(kind, False)
    if click is not None and (click.positive if kind is Kind.SPILLED else wrong and not click.positive):
        raise ValueError(f"A click of this sign doesn't fit a turn of the kind {kind.value}.")


def _full(kind: Kind, target: str, mask: Mask | None, click: Click | None, rng: Generator) -> str:
    fields = {"the": with_article(target)}
    if click is not None:
        fields["where"] = pick(full.IN_PLACE, rng).format(place=place(click.x, click.y))
    if mask is not None:
        fields["mask"] = _mask(mask, rng)
    match kind:
        case Kind.MISSED | Kind.SPILLED if click is not None:
            return _mending(kind, mask, click, rng, fields)
        case Kind.REVERT | Kind.DISCARD:
            said = worded(_going_back(kind, mask), rng, fields)
            if click is None:
                return said
            return f"{said} {worded(full.CLICK_TOO if click.positive else full.BAR_TOO, rng, fields)}"
        case Kind.DONE:
            return worded(full.DONE, rng, fields)
        case Kind.ABSENT:
            return worded(full.ABSENT, rng, fields)
        case _:
            return worded(full.FIRST, rng, fields)


def _going_back(kind: Kind, mask: Mask | None) -> tuple[str, ...]:
    if kind is Kind.DISCARD:
        return full.DISCARD
    return full.REVERT_EMPTY if mask is None else full.REVERT


def _mending(kind: Kind, mask: Mask | None, click: Click, rng: Generator, fields: Mapping[str, str]) -> str:
    """A click against a mask: what it adds or takes away, or, where the mask is right there, that it should stay so."""
    if mask is None:  # all clicks so far made nothing
        return worded(full.MISSED_EMPTY if kind is Kind.MISSED else full.KEPT_OUT_EMPTY, rng, fields)
    lies = relation(click, mask)
    inside = lies.lie in (Lie.ON, Lie.EDGE)
    if kind is Kind.MISSED:
        patterns = full.HELD if inside else full.MISSED
    else:
        patterns = full.SPILLED if inside else full.KEPT_OUT
    return worded(patterns, rng, {**fields, "spill" if inside else "gap": _part(lies, rng)})


def _part(lies: Relation, rng: Generator) -> str:
    """The part of the mask, or beside it, that a click is in."""
    inside = lies.lie in (Lie.ON, Lie.EDGE)
    tables: Mapping[Lie, tuple[str, ...]] = full.SPILL if inside else full.GAP
    if lies.side == "centre":
        tables = full.SPILL_IN_THE_MIDDLE if inside else full.GAP_IN_THE_MIDDLE
    found = worded(tables[lies.lie], rng, {"side": lies.side})
    return found[:1].lower() + found[1:]


def _mask(mask: Mask, rng: Generator) -> str:
    """The size and the place of a mask: "small, in the top of the picture"."""
    where = mask_place(mask)
    lies = f"in {pick(full.IN_PLACE, rng).format(place=where)}" if where else "across most of the picture"
    return f"{extent(mask)}, {lies}"


def _brief(kind: Kind, target: str, mask: Mask | None, click: Click | None, rng: Generator) -> str:
    name = bare(target)
    fields = {"name": name if len(name.split()) <= short.MOST_IN_NAME else _TARGET}
    if click is not None:
        fields["place"] = place(click.x, click.y)
    return worded(_short(kind, mask, click), rng, fields)


def _short(kind: Kind, mask: Mask | None, click: Click | None) -> tuple[str, ...]:
    inside = mask is not None and click is not None and is_on(click, mask)
    match kind:
        case Kind.MISSED if mask is not None:
            return short.HELD if inside else short.MISSED
        case Kind.SPILLED:
            return short.SPILLED if inside else short.KEPT_OUT
        case Kind.DONE:
            return short.DONE
        case Kind.ABSENT:
            return short.ABSENT
        case Kind.REVERT | Kind.DISCARD:
            return _short_back(kind, mask, click is not None and click.positive)
        case _:
            return short.FIRST


def _short_back(kind: Kind, mask: Mask | None, clicks: bool) -> tuple[str, ...]:
    """A negative click after going back is not worth a brief thought's words."""
    if kind is Kind.DISCARD:
        return short.DISCARD_TO if clicks else short.DISCARD
    if mask is None:
        return short.REVERT_EMPTY_TO if clicks else short.REVERT_EMPTY
    return short.REVERT_TO if clicks else short.REVERT
