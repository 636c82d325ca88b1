"""A mask carried from its slice through the volume: the events, and the state that they fold to. Pure.

In order: ``CarryBegun``, any number of ``Carried`` (slice by slice, outwards), ``CarryEnded``. Each slice keeps what it
was made from, so that the tool can make it again: its clicks, the slice whose mask was the prior, and the room that
the evidence left. What ends early, by a person or by a fault, keeps the slices done so far.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum

from napari_ibisagent.core.actions import PromptAction
from napari_ibisagent.core.errors import StateError
from napari_ibisagent.core.packed import PackedMask


class Extent(StrEnum):
    """How far an answer reaches: one slice, or all slices that show the target."""

    SLICE = "slice"
    VOLUME = "volume"


class End(StrEnum):
    """How the carrying ended."""

    COMPLETE = "complete"
    CANCELLED = "cancelled"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class CarryBegun:
    """The mask on the table is carried on, through the slices from ``first`` to ``last`` at most.

    ``note`` says what guards it: the policy's evidence, or nothing but the neighbour's mask, and why.
    """

    propagator: str
    first: int
    last: int
    note: str = ""


@dataclass(frozen=True, slots=True)
class Carried:
    """The mask of one further slice.

    confidence: in [0, 1], the tool's score times the agreement with what was expected there.
    note: why a person should look at this slice; empty where nothing stands out.
    prior: the slice whose mask the tool began with; None: with nothing.
    prompts: the clicks and boxes; where there are none, and no prior, the mask can't be made again.
    room: where the mask may lie; the prior is cut to it before, the tool's answer after.
    """

    index: int
    mask: PackedMask
    confidence: float
    note: str = ""
    prior: int | None = None
    prompts: tuple[PromptAction, ...] = ()
    room: PackedMask | None = None


@dataclass(frozen=True, slots=True)
class CarryEnded:
    """The carrying is over; ``reason`` says where and why it stopped."""

    reason: str = ""
    how: End = End.COMPLETE


@dataclass(frozen=True, slots=True)
class Carrying:
    """The slices that a mask was carried to, in the order in which they were done.

    ``end`` None: it is still under way, or was interrupted. ``into`` is the label value of the object that the mask
    of the key slice was kept as before, if it was.
    """

    propagator: str
    first: int
    last: int
    note: str = ""
    slices: tuple[Carried, ...] = ()
    end: End | None = None
    reason: str = ""
    into: int | None = None

    @property
    def doubtful(self) -> tuple[Carried, ...]:
        """The slices that a person should look at, from the first to the last."""
        return tuple(sorted((s for s in self.slices if s.note), key=lambda s: s.index))

    def on(self, index: int) -> Carried | None:
        """What was carried to a slice, or None."""
        return next((found for found in self.slices if found.index == index), None)


def begun(event: CarryBegun, index: int, into: int | None) -> Carrying:
    """The carrying that begins at the slice ``index``. Raises StateError where its bounds don't hold that slice."""
    if not 0 <= event.first <= index <= event.last:
        raise StateError(f"A mask of slice {index} can't be carried through the slices {event.first} to {event.last}.")
    return Carrying(event.propagator, event.first, event.last, event.note, into=into)


def further(carrying: Carrying | None, event: Carried | CarryEnded, index: int, shape: tuple[int, int]) -> Carrying:
    """The carrying after its next event. ``index`` and ``shape`` are the key slice's.

    Raises StateError where nothing is under way, or the slice or its mask doesn't fit.
    """
    if carrying is None or carrying.end is not None:
        raise StateError("No mask is being carried through the volume.")
    if isinstance(event, CarryEnded):
        return replace(carrying, end=event.how, reason=event.reason)
    known = {index, *(done.index for done in carrying.slices)}
    if event.index in known or not carrying.first <= event.index <= carrying.last:
        raise StateError(f"The mask can't be carried to slice {event.index}: it is done already, or out of bounds.")
    if event.prior is not None and event.prior not in known:
        raise StateError(f"Slice {event.index} was made from slice {event.prior}, which has no mask.")
    for mask in (event.mask, event.room):
        if mask is not None and mask.shape != shape:
            raise StateError(f"The mask of slice {event.index} has the shape {mask.shape}, the view {shape}.")
    return replace(carrying, slices=(*carrying.slices, event))
