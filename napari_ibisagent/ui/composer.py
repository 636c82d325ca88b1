"""Where the user types: one to five lines, earlier sentences, and completions from the knowledge base.

Enter sends, Shift+Enter breaks the line. Up and Down recall earlier sentences from the first and last line; nothing
that was typed is lost on the way. While the list of completions is open the arrow keys move in it, Tab takes the
marked entry (or the first), Enter takes the marked one (or sends), and Escape closes the list.
"""

from __future__ import annotations

from qtpy.QtCore import QEvent, QStringListModel, Qt, Signal
from qtpy.QtGui import (
    QFocusEvent,
    QInputMethodEvent,
    QKeyEvent,
    QPalette,
    QResizeEvent,
    QTextCursor,
)
from qtpy.QtWidgets import QAbstractItemView, QCompleter, QPlainTextEdit, QSizePolicy, QWidget

from napari_ibisagent.core.completion import complete
from napari_ibisagent.core.knowledge import Structure

LINES = 5
# Without these pixels below the last line Qt would scroll a text that fits.
_SPARE = 2
# napari's own texts are a little larger than the system's font.
_LARGER = 1.1
_HINT = "What should be segmented? Enter sends."
_ENTER = (Qt.Key.Key_Return, Qt.Key.Key_Enter)
# Keys that a shortcut of the window must not take while this field has the focus; letters are safe by themselves.
_OWN = (*_ENTER, Qt.Key.Key_Up, Qt.Key.Key_Down, Qt.Key.Key_Escape, Qt.Key.Key_Tab)
# napari's theme leaves a plain text field without an edge; this grey is seen on its dark and on its light one.
_STYLE = """
Composer { border: 1px solid #808080; border-radius: 4px; padding: 2px; }
Composer:focus { border-color: palette(highlight); }
"""
_POPUP_STYLE = """
QListView {{ background: {back}; color: {text}; border: 1px solid #808080; }}
QListView::item {{ padding: 3px 4px; }}
QListView::item:selected {{ background: {marked}; color: {marked_text}; }}
"""


class Composer(QPlainTextEdit):  # type: ignore[misc]
    """A text field that emits ``sent`` with a sentence, and ``escaped`` where Escape has nothing to close."""

    sent = Signal(str)
    escaped = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._knowledge: tuple[Structure, ...] = ()
        self._sentences: list[str] = []
        # Where in the sentences the user is (their number: at the new one), and what was typed at each place.
        self._at = 0
        self._typed: dict[int, str] = {}
        self._hint = ""
        self._completer = _completer(self)
        self._completer.activated.connect(self._insert)
        font = self.font()
        font.setPointSizeF(font.pointSizeF() * _LARGER)
        self.setFont(font)
        self.setTabChangesFocus(True)
        self.setStyleSheet(_STYLE)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setVerticalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setAccessibleName("Message to the agent")
        self.setAccessibleDescription("Enter sends. Shift and Enter break the line. Up recalls earlier sentences.")
        self.document().documentLayout().documentSizeChanged.connect(self._grow)
        self.set_hint(_HINT)

    # For others

    def set_knowledge(self, structures: tuple[Structure, ...]) -> None:
        """What completions are made from; none without it."""
        self._knowledge = structures

    def set_hint(self, text: str) -> None:
        """The text that the empty field shows."""
        self._hint = text
        self._fit_hint()

    def take(self) -> str:
        """The text without spaces around it; leaves the field empty and remembers the text for Up."""
        text = str(self.toPlainText()).strip()
        if text and text != (self._sentences[-1] if self._sentences else ""):
            self._sentences.append(text)
        self._at = len(self._sentences)
        self._typed.clear()
        self.close_completions()
        self.clear()
        return text

    def send(self) -> None:
        """Sends what was written; nothing where nothing was."""
        if self.toPlainText().strip():
            self.sent.emit(self.take())

    def completions(self) -> tuple[str, ...]:
        """What the open list offers; nothing when it is closed."""
        popup = self._completer.popup()
        return tuple(self._completer.model().stringList()) if popup.isVisible() else ()

    def close_completions(self) -> None:
        """Closes the list of completions."""
        self._completer.popup().hide()

    # Keys

    def event(self, event: QEvent) -> bool:
        """Keeps the field's own keys from shortcuts, and Tab from moving on while the list is open."""
        if event.type() == QEvent.Type.ShortcutOverride and event.key() in _OWN:
            event.accept()
            return True
        tab = event.type() == QEvent.Type.KeyPress and event.key() == Qt.Key.Key_Tab
        if tab and self._completer.popup().isVisible():
            self._insert(self._marked() or self.completions()[0])
            event.accept()
            return True
        return bool(super().event(event))

    def keyPressEvent(self, event: QKeyEvent) -> None:  # noqa: N802
        """The keys of this field; every other one as usual."""
        if self._is_composing() or not self._handle(event):
            before = self.toPlainText()
            super().keyPressEvent(event)
            if self.toPlainText() != before:
                self._offer()
            elif event.key() not in (Qt.Key.Key_Shift, Qt.Key.Key_Control, Qt.Key.Key_Alt, Qt.Key.Key_Meta):
                self.close_completions()

    def inputMethodEvent(self, event: QInputMethodEvent) -> None:  # noqa: N802
        """Text from an input method: completions follow what was committed, not what is being composed."""
        super().inputMethodEvent(event)
        if event.commitString():
            self._offer()

    def _handle(self, event: QKeyEvent) -> bool:
        """Whether the key was one of this field's own."""
        key = event.key()
        plain = event.modifiers() & ~Qt.KeyboardModifier.KeypadModifier == Qt.KeyboardModifier.NoModifier
        if key in _ENTER and event.modifiers() & Qt.KeyboardModifier.ShiftModifier:
            # Qt's own line separator would be no line break to others.
            self.insertPlainText("\n")
            self.close_completions()
            return True
        if not plain:
            return False
        if key in _ENTER:
            self._enter()
        elif key == Qt.Key.Key_Escape:
            self._escape()
        elif key in (Qt.Key.Key_Up, Qt.Key.Key_Down):
            return self._move(-1 if key == Qt.Key.Key_Up else 1)
        else:
            return False
        return True

    def _enter(self) -> None:
        marked = self._marked()
        if marked:
            self._insert(marked)
        else:
            self.send()

    def _escape(self) -> None:
        if self._completer.popup().isVisible():
            self.close_completions()
        else:
            self.escaped.emit()

    def _move(self, by: int) -> bool:
        """Up or Down: in the open list, else in the sentences, else not ours."""
        popup = self._completer.popup()
        if popup.isVisible():
            rows = popup.model().rowCount()
            row = popup.currentIndex().row() + by
            popup.setCurrentIndex(popup.model().index(row if row >= -1 else rows - 1, 0))
            return True
        if not self._is_at_edge(by):
            return False
        self._recall(self._at + by)
        return True

    def _is_at_edge(self, by: int) -> bool:
        """Whether the cursor is on the first (by -1) or last (by 1) line, as it is shown."""
        edge = QTextCursor(self.document())
        edge.movePosition(QTextCursor.MoveOperation.Start if by < 0 else QTextCursor.MoveOperation.End)
        return bool(self.cursorRect(edge).top() == self.cursorRect().top())

    # Earlier sentences

    def _recall(self, at: int) -> None:
        if not 0 <= at <= len(self._sentences):
            return
        self._typed[self._at] = self.toPlainText()
        self._at = at
        known = self._sentences[at] if at < len(self._sentences) else ""
        self._replace(0, len(self.toPlainText()), self._typed.get(at, known))

    def _replace(self, start: int, end: int, text: str) -> None:
        """Puts text in the place of another as one step that Ctrl+Z takes back; the cursor goes to its end."""
        cursor = self.textCursor()
        cursor.setPosition(start)
        cursor.setPosition(end, QTextCursor.MoveMode.KeepAnchor)
        cursor.insertText(text)
        self.setTextCursor(cursor)

    # Completions

    def _marked(self) -> str:
        """The entry that is marked in the open list, or nothing."""
        popup = self._completer.popup()
        return str(popup.currentIndex().data() or "") if popup.isVisible() else ""

    def _insert(self, candidate: str) -> None:
        self.close_completions()
        self._replace(0, self.textCursor().position(), candidate)

    def _offer(self) -> None:
        """Opens the list with what fits the text now, or closes it."""
        found = complete(self.toPlainText(), self.textCursor().position(), self._knowledge)
        if not found or not self.hasFocus():
            self.close_completions()
            return
        self._completer.model().setStringList(list(found))
        self._dress_popup()
        area = self.rect()
        line = self.cursorRect()
        area.setTop(line.top())
        area.setBottom(line.bottom() + 4)
        self._completer.complete(area)
        self._completer.popup().setCurrentIndex(self._completer.model().index(-1, 0))

    def _dress_popup(self) -> None:
        """Gives the list the field's colours: it is a window of its own, which napari's theme doesn't reach."""
        colours = self.palette()
        style = _POPUP_STYLE.format(
            back=colours.color(QPalette.ColorRole.Window).name(),
            text=colours.color(QPalette.ColorRole.WindowText).name(),
            marked=colours.color(QPalette.ColorRole.Highlight).name(),
            marked_text=colours.color(QPalette.ColorRole.HighlightedText).name(),
        )
        popup = self._completer.popup()
        popup.setFont(self.font())
        if style != popup.styleSheet():
            popup.setStyleSheet(style)

    def _is_composing(self) -> bool:
        return bool(self.textCursor().block().layout().preeditAreaText())

    # Size

    def focusOutEvent(self, event: QFocusEvent) -> None:  # noqa: N802
        """The list goes with the focus, unless it is the list itself that took it."""
        super().focusOutEvent(event)
        if event.reason() != Qt.FocusReason.PopupFocusReason:
            self.close_completions()

    def resizeEvent(self, event: QResizeEvent) -> None:  # noqa: N802
        """A new width means other line breaks and another hint."""
        super().resizeEvent(event)
        self._grow()
        self._fit_hint()

    def changeEvent(self, event: QEvent) -> None:  # noqa: N802
        """A new font or style means another height."""
        super().changeEvent(event)
        if event.type() in (QEvent.Type.FontChange, QEvent.Type.StyleChange):
            self._grow()
            self._fit_hint()

    def _grow(self) -> None:
        """As high as the text, from one line to five; a scroll bar only beyond that."""
        # Qt counts a plain text document's height in lines.
        lines = int(self.document().documentLayout().documentSize().height())
        edge = self.height() - self.viewport().height()
        shown = min(max(lines, 1), LINES)
        # The cursor is as high as a line; the font's own line spacing is up to a pixel less than what Qt uses.
        height = shown * self.cursorRect().height() + 2 * int(self.document().documentMargin()) + _SPARE + edge
        bar = Qt.ScrollBarPolicy.ScrollBarAsNeeded if lines > LINES else Qt.ScrollBarPolicy.ScrollBarAlwaysOff
        self.setVerticalScrollBarPolicy(bar)
        if height != self.height() or height != self.maximumHeight():
            self.setFixedHeight(height)

    def _fit_hint(self) -> None:
        room = self.viewport().width() - 2 * int(self.document().documentMargin()) - 4
        shown = self.fontMetrics().elidedText(self._hint, Qt.TextElideMode.ElideRight, room)
        self.setPlaceholderText(shown)
        self.setToolTip(self._hint if shown != self._hint else "")
        self.viewport().update()  # an empty field isn't drawn again by itself


def _completer(field: Composer) -> QCompleter:
    """A list that shows what it is given; the field decides what that is."""
    completer = QCompleter(field)
    completer.setModel(QStringListModel(completer))
    completer.setCompletionMode(QCompleter.CompletionMode.UnfilteredPopupCompletion)
    completer.setWidget(field)
    completer.setMaxVisibleItems(8)
    popup: QAbstractItemView = completer.popup()
    # What is added stands at the end of the sentence.
    popup.setTextElideMode(Qt.TextElideMode.ElideLeft)
    popup.setAccessibleName("Completions")
    return completer
