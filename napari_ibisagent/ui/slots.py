"""Where the cards of a column lie: pure arithmetic on slots, without Qt.

A slot outlives changes of its card, so that what was made for it is kept. Its height is exact once it was in sight and
an estimate before that.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Generic, TypeVar

from napari_ibisagent.ui.cards import Card

# For an estimate: pixels of a line, of a card around its text, and characters in a line.
_LINE, _AROUND, _CHARACTERS = 17, 56, 40

V = TypeVar("V")


@dataclass(eq=False, slots=True)
class Slot(Generic[V]):
    """A card's place. ``width``: the width that ``height`` was measured at; 0 when it is an estimate or out of date."""

    card: Card
    height: int
    top: int = 0
    width: int = 0
    view: V | None = None


def merge(slots: list[Slot[V]], cards: tuple[Card, ...]) -> tuple[list[Slot[V]], list[Slot[V]]]:
    """The slots for these cards, with what is known of each key kept, and the slots that are gone."""
    old = {slot.card.key: slot for slot in slots}
    merged: list[Slot[V]] = []
    for card in cards:
        slot = old.pop(card.key, None) or Slot(card, estimate(card))
        if slot.card != card:
            slot.card, slot.width = card, 0
        merged.append(slot)
    if len({card.key for card in cards}) < len(cards):
        raise ValueError("Two cards of the conversation have the same key. Give each its own, so that it can be found.")
    return merged, list(old.values())


def estimate(card: Card) -> int:
    """About how tall a card is, in pixels, before it was laid out."""
    lines = sum(1 + len(line) // _CHARACTERS for line in card.text.split("\n"))
    return _AROUND + _LINE * (lines + bool(card.facts)) + (2 * _LINE if card.buttons else 0)


def place(slots: list[Slot[V]], gap: int) -> int:
    """Puts each slot below the one before it and returns where the next one would begin."""
    top = gap
    for slot in slots:
        slot.top = top
        top += slot.height + gap
    return top


def in_sight(slots: list[Slot[V]], low: int, high: int) -> Iterator[Slot[V]]:
    """The slots that lie between two heights of the column, at least in part."""
    return (slot for slot in slots if slot.top < high and slot.top + slot.height > low)
