"""The column of cards that scrolls: it makes the cards' widgets, lays them out and puts them where they belong.

A card gets its widgets when it first comes into sight, and is laid out again only when it is in sight and its content
or the width changed. So a change costs the same in a conversation of five cards and of five hundred.
"""

from __future__ import annotations

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QWidget

from napari_ibisagent.ui.card_view import CardView
from napari_ibisagent.ui.cards import Card
from napari_ibisagent.ui.look import GAP, Look
from napari_ibisagent.ui.slots import Slot, in_sight, merge, place
from napari_ibisagent.ui.start_page import StartPage
from napari_ibisagent.ui.thinking import Thinking

# More cards than twice this lose their widgets again, the farthest first; cards so many pixels outside are made ready.
_KEPT, _AHEAD = 100, 60


class Column(QWidget):  # type: ignore[misc]
    """Cards from top to bottom, then what is being thought; or the start page. ``resized``: a slot that grew or shrank,
    None for the thought."""

    pressed = Signal(str, object)
    entered = Signal(str)
    resized = Signal(object)
    copied_all = Signal()

    def __init__(self, look: Look) -> None:
        super().__init__()
        self._look = look
        self.slots: list[Slot[CardView]] = []
        self.thinking: Thinking | None = None
        self.page = StartPage(look, self)

    def show_cards(self, cards: tuple[Card, ...]) -> None:
        """Takes these cards; ``place`` and ``measure`` have to follow."""
        self.slots, gone = merge(self.slots, cards)
        for slot in gone:
            _drop(slot.view)
        focused = self.focused()
        if focused is not None:
            self.bring_up(focused)

    def bring_up(self, slot: Slot[CardView]) -> None:
        """Gives a card's widget its newest content: one out of sight, or under the keyboard there, may be behind."""
        if slot.view is not None and slot.view.card != slot.card:
            slot.view.show_card(slot.card)
            slot.width = 0  # to be laid out again

    def think(self) -> Thinking:
        """The card of what is being thought, made if need be."""
        if self.thinking is None:
            self.thinking = Thinking(self._look, self)
            self.thinking.resized.connect(lambda: self.resized.emit(None))
            self.thinking.copied_all.connect(self.copied_all)
            self.thinking.show()
        return self.thinking

    def end_thought(self) -> None:
        """Takes the card of what is being thought away."""
        _drop(self.thinking)
        self.thinking = None

    def set_look(self, look: Look) -> None:
        """Takes other colours."""
        self._look = look
        self.page.set_look(look)
        if self.thinking is not None:
            self.thinking.set_look(look)
        for slot in self.slots:
            if slot.view is not None:
                slot.view.set_look(look)
        self.forget()

    def forget(self) -> None:
        """All heights are out of date: the cards have to be measured again."""
        for slot in self.slots:
            slot.width = 0

    def place(self, width: int, room: int) -> None:
        """Puts everything where it belongs, as far as it is known, and takes the height of it all."""
        end = place(self.slots, GAP)
        for slot in self.slots:
            if slot.view is not None and slot.view.y() != slot.top:
                slot.view.move(GAP, slot.top)
        if self.thinking is not None:
            tall = self.thinking.lay_out(width - 2 * GAP)
            self.thinking.setGeometry(GAP, end, width - 2 * GAP, tall)
            end += tall + GAP
        empty = not self.slots and self.thinking is None
        self.page.setVisible(empty)
        if empty:
            end = self.page.lay_out(width, room)
            self.page.setGeometry(0, 0, width, end)
        self.resize(width, end)

    def measure(self, width: int, low: int, high: int) -> bool:
        """Makes and lays out the cards between two heights that aren't up to date; True where a height changed."""
        inner, changed = width - 2 * GAP, False
        for slot in in_sight(self.slots, low - _AHEAD, high + _AHEAD):
            if slot.width == inner:
                continue
            view = slot.view = slot.view or self._make(slot)
            self.bring_up(slot)
            tall = view.lay_out(inner)
            changed = changed or tall != slot.height
            slot.height, slot.width = tall, inner
            view.setGeometry(GAP, slot.top, inner, tall)
            view.show()
        return changed

    def trim(self, middle: int) -> None:
        """Takes the widgets of the farthest cards back, so that memory doesn't grow with the conversation."""
        made = [slot for slot in self.slots if slot.view is not None and not holds_focus(slot.view)]
        if len(made) > 2 * _KEPT:
            for slot in sorted(made, key=lambda slot: abs(slot.top - middle))[_KEPT:]:
                _drop(slot.view)
                slot.view, slot.width = None, 0

    def focused(self) -> Slot[CardView] | None:
        """The slot that the keyboard is in right now."""
        return next((slot for slot in self.slots if holds_focus(slot.view)), None)

    def _make(self, slot: Slot[CardView]) -> CardView:
        view = CardView(slot.card, self._look, self)
        view.pressed.connect(self.pressed)
        view.copied_all.connect(self.copied_all)
        view.entered.connect(lambda: self.entered.emit(slot.card.key))
        view.resized.connect(lambda: self._grown(slot))
        return view

    def _grown(self, slot: Slot[CardView]) -> None:
        slot.width = 0
        self.resized.emit(slot)


def holds_focus(view: QWidget | None) -> bool:
    """Whether the keyboard is in a widget or in a part of it."""
    focus = None if view is None else view.window().focusWidget()
    return view is not None and focus is not None and (focus is view or bool(view.isAncestorOf(focus)))


def _drop(view: QWidget | None) -> None:
    if view is not None:
        view.hide()
        view.deleteLater()
