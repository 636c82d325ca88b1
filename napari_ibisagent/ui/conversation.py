"""The conversation: a column of cards that scrolls and that the keyboard walks through.

What was in sight stays in sight: at the end it follows what is new, elsewhere the first card in sight keeps its place.
"""

from __future__ import annotations

from qtpy.QtCore import QEvent, Qt, Signal
from qtpy.QtGui import QFocusEvent, QGuiApplication, QKeyEvent, QKeySequence, QResizeEvent, QShowEvent
from qtpy.QtWidgets import QFrame, QPushButton, QScrollArea, QWidget

from napari_ibisagent.ui.card_view import CardView, plain
from napari_ibisagent.ui.cards import Card
from napari_ibisagent.ui.column import Column, holds_focus
from napari_ibisagent.ui.look import GAP, Look, colours, icon, sheet
from napari_ibisagent.ui.slots import Slot

Anchor = tuple[Slot[CardView], int]

# Nearer to the end than this counts as "at the bottom", in pixels.
_NEAR = 12
# Heights that turn out otherwise than estimated bring other cards into sight; it settles in two or three passes.
_PASSES = 8
_MOVES = {Qt.Key.Key_Up: -1, Qt.Key.Key_Down: 1}
_ENDS = (Qt.Key.Key_Home, Qt.Key.Key_End)
_OWN = (*_MOVES, *_ENDS, Qt.Key.Key_Return, Qt.Key.Key_Enter, Qt.Key.Key_Space, Qt.Key.Key_Menu)


class Conversation(QScrollArea):  # type: ignore[misc]
    """Shows cards. ``intent``: a name and its ``Card``; ("show", card) for a click or Enter; ("example", sentence)."""

    intent = Signal(str, object)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._look: Look = colours(True)
        self._at, self._pinned, self._settling, self._leaving = "", True, False, False
        self.setFrameShape(QFrame.Shape.NoFrame)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setFocusPolicy(Qt.FocusPolicy.TabFocus)
        self.setAccessibleName("Conversation")
        self.verticalScrollBar().setSingleStep(24)
        self._column = Column(self._look)
        self._column.pressed.connect(self.intent)
        self._column.entered.connect(self._entered)
        self._column.resized.connect(self._resized)
        self._column.copied_all.connect(self.copy_all)
        self._column.page.chosen.connect(lambda sentence: self.intent.emit("example", sentence))
        self.setWidget(self._column)
        self._new = self._make_new_button()
        self.verticalScrollBar().valueChanged.connect(self._scrolled)
        self.set_look(self._look)

    def _make_new_button(self) -> QPushButton:
        button = QPushButton("New", self)
        button.setProperty("role", "new")
        button.setToolTip("Scroll to the newest card (End)")
        button.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        button.clicked.connect(self.to_bottom)
        button.hide()
        return button

    # What is shown.

    def show_cards(self, cards: tuple[Card, ...]) -> None:
        """Goes from what is shown to these cards. A card that is equal to the shown one of its key isn't touched."""
        anchor, held = self._anchor(), holds_focus(self)
        had = {slot.card.key for slot in self._column.slots}
        self._column.show_cards(cards)
        self._settle(anchor)
        if any(card.key not in had for card in cards):
            self._tell_new()
        if held and cards and self._column.focused() is None:
            self._focus(len(cards) - 1)

    def stream(self, text: str) -> None:
        """Adds a piece of what the agent is saying right now."""
        if self._column.thinking is None:
            anchor = self._anchor()
            self._column.think()
            self._settle(anchor)
            self._tell_new()
        self._column.think().add(text)

    def end_stream(self) -> None:
        """Takes the card of what is being said away."""
        anchor = self._anchor()
        self._column.end_thought()
        self._settle(anchor)

    def set_examples(self, examples: list[str], hint: str = "") -> None:
        """The sentences of the start page, and a quiet line above them."""
        self._column.page.set_examples(examples, hint)
        self._settle(self._anchor())

    def set_look(self, look: Look) -> None:
        """Takes other colours, such as ``look_of`` a theme's own."""
        self._look = look
        self.setStyleSheet(sheet(look))
        self._new.setIcon(icon("down", look.primary_text))
        self._column.set_look(look)
        self._settle(self._anchor())

    def texts(self) -> list[str]:
        """What is shown, as plain text, from top to bottom."""
        thinking = self._column.thinking
        return [plain(slot.card) for slot in self._column.slots] + ([] if thinking is None else [thinking.words])

    def copy_all(self) -> None:
        """Puts the whole conversation into the clipboard, with an empty line between two cards."""
        QGuiApplication.clipboard().setText("\n\n".join(self.texts()))

    def view_of(self, key: str) -> CardView | None:
        """The widget of a card, up to date; None where there's no such card or it was never near what is in sight."""
        slot = next((slot for slot in self._column.slots if slot.card.key == key), None)
        if slot is None:
            return None
        self._column.bring_up(slot)
        return slot.view

    @property
    def current_key(self) -> str:
        """The key of the card that the keyboard is or was last on; "" for none."""
        return self._at if any(slot.card.key == self._at for slot in self._column.slots) else ""

    def to_bottom(self) -> None:
        """Scrolls to the newest card."""
        self._pinned = True
        self._settle(None)

    # What stays in sight.

    def _anchor(self) -> Anchor | None:
        """The first card in sight and its distance from the upper edge: it shall stay there. None: the end shall."""
        if self._pinned:
            return None
        value = self.verticalScrollBar().value()
        return next(((slot, slot.top - value) for slot in self._column.slots if slot.top + slot.height > value), None)

    def _settle(self, anchor: Anchor | None) -> None:
        """Makes and places what is in sight, until that holds still."""
        if self._settling:
            return
        view, bar = self.viewport(), self.verticalScrollBar()
        self._settling = True
        try:
            for _ in range(_PASSES):
                self._column.place(view.width(), view.height())
                if self._pinned:
                    bar.setValue(bar.maximum())
                elif anchor is not None and any(slot is anchor[0] for slot in self._column.slots):
                    bar.setValue(anchor[0].top - anchor[1])
                if not self._column.measure(view.width(), bar.value(), bar.value() + view.height()):
                    break
        finally:
            self._settling = False
        self._column.trim(bar.value() + view.height() // 2)
        self._place_new_button()

    def _resized(self, slot: Slot[CardView] | None) -> None:
        """A card that was opened or closed keeps its place; a thought that grows keeps what is in sight."""
        if slot is None:
            self._settle(self._anchor())
            return
        self._pinned = False
        self._settle((slot, slot.top - self.verticalScrollBar().value()))
        self._scrolled()

    def _scrolled(self) -> None:
        if self._settling:
            return
        bar = self.verticalScrollBar()
        self._pinned = bar.value() >= bar.maximum() - _NEAR
        self._settle(self._anchor())

    def _tell_new(self) -> None:
        self._new.setVisible(not self._pinned)
        self._place_new_button()

    def _place_new_button(self) -> None:
        if self._pinned:
            self._new.hide()
        elif self._new.isVisibleTo(self):
            area = self.viewport().geometry()
            self._new.adjustSize()
            self._new.move(area.center().x() - self._new.width() // 2, area.bottom() - self._new.height() - 8)
            self._new.raise_()

    def resizeEvent(self, event: QResizeEvent) -> None:  # noqa: N802
        """Lays out for the new width; the first card in sight, or the end, stays where it is."""
        super().resizeEvent(event)
        self._settle(self._anchor())

    def changeEvent(self, event: QEvent) -> None:  # noqa: N802
        """Lays out again when the window's style or font changed."""
        super().changeEvent(event)
        if event.type() in (QEvent.Type.StyleChange, QEvent.Type.FontChange):
            self._column.forget()
            self._settle(self._anchor())

    def showEvent(self, event: QShowEvent) -> None:  # noqa: N802
        """Lays out now that the real sizes and fonts are known."""
        super().showEvent(event)
        self._settle(self._anchor())

    # The keyboard. The conversation is one stop of Tab; inside of it, Up and Down go from card to card and Tab through
    # the parts of the card.

    def _entered(self, key: str) -> None:
        self._at = key

    def _focus(self, index: int, reason: Qt.FocusReason = Qt.FocusReason.OtherFocusReason) -> None:
        """Gives the keyboard to a card and brings it into sight."""
        slot, bar = self._column.slots[index], self.verticalScrollBar()
        for _ in range(2):  # The second time with the height that it really has.
            room = self.viewport().height()
            low, high = slot.top + slot.height + GAP - room, slot.top - GAP
            bar.setValue(high if slot.height + 2 * GAP > room else min(max(bar.value(), low), high))
        self._at = slot.card.key
        if slot.view is not None:
            slot.view.setFocus(reason)

    def _index(self) -> int:
        """Which card the keyboard is on; the last one where it was on none."""
        keys = [slot.card.key for slot in self._column.slots]
        return keys.index(self._at) if self._at in keys else len(keys) - 1

    def keyPressEvent(self, event: QKeyEvent) -> None:  # noqa: N802
        """Up, Down, Home and End go from card to card; with Shift they are the dock's."""
        if event.modifiers() & Qt.KeyboardModifier.ShiftModifier:
            event.ignore()
            return
        key, last = event.key(), len(self._column.slots) - 1
        if last < 0 or (key not in _MOVES and key not in _ENDS):
            super().keyPressEvent(event)
            return
        to = {Qt.Key.Key_Home: 0, Qt.Key.Key_End: last}.get(key, self._index() + _MOVES.get(key, 0))
        self._focus(min(max(to, 0), last), Qt.FocusReason.ShortcutFocusReason)
        if to >= last:
            self.to_bottom()

    def event(self, event: QEvent) -> bool:
        """Claims its own keys before a shortcut of the window does."""
        if event.type() == QEvent.Type.ShortcutOverride:
            bare = event.modifiers() == Qt.KeyboardModifier.NoModifier and event.key() in _OWN
            if bare or event.matches(QKeySequence.StandardKey.Copy):
                event.accept()
                return True
        return bool(super().event(event))

    def focusInEvent(self, event: QFocusEvent) -> None:  # noqa: N802
        """Hands the keyboard on to the card that had it last, or to the start page."""
        super().focusInEvent(event)
        if self._leaving:
            return
        if self._column.slots:
            self._focus(self._index(), event.reason())
        elif self._column.page.stops():
            self._column.page.stops()[0].setFocus(event.reason())

    def focusNextPrevChild(self, forward: bool) -> bool:  # noqa: N802
        """Tab goes through the card's parts and then out of the conversation."""
        inside, slot = self.window().focusWidget(), self._column.focused()
        stops = self._column.page.stops() if slot is None or slot.view is None else slot.view.stops()
        at = next((n for n, stop in enumerate(stops) if stop is inside), None)
        to = None if at is None else at + (1 if forward else -1)
        if to is not None and 0 <= to < len(stops):
            stops[to].setFocus(Qt.FocusReason.TabFocusReason if forward else Qt.FocusReason.BacktabFocusReason)
            return True
        # Qt looks for the next one from where the keyboard is, so it has to be on the conversation itself.
        self._leaving = True
        try:
            self.setFocus()
            return bool(super().focusNextPrevChild(forward))
        finally:
            self._leaving = False
