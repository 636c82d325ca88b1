"""Where the user types: Enter sends, Shift+Enter breaks the line, Up recalls what was sent before."""

from __future__ import annotations

from qtpy.QtCore import Qt, Signal
from qtpy.QtGui import QKeyEvent
from qtpy.QtWidgets import QPlainTextEdit, QWidget


class Composer(QPlainTextEdit):  # type: ignore[misc]
    """A small text field that emits ``sent`` with a sentence."""

    sent = Signal(str)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setPlaceholderText("What should be segmented? Enter sends.")
        self.setTabChangesFocus(True)
        self.setMaximumHeight(64)
        self._sent: list[str] = []
        self._recalled = 0

    def keyPressEvent(self, event: QKeyEvent) -> None:  # noqa: N802 (Qt's name)
        """Enter, Shift+Enter and Up; everything else as usual."""
        enter = event.key() in (Qt.Key.Key_Return, Qt.Key.Key_Enter)
        if enter and not event.modifiers() & Qt.KeyboardModifier.ShiftModifier:
            self._send()
        elif event.key() == Qt.Key.Key_Up and self._sent and not self.textCursor().blockNumber():
            self._recalled = min(self._recalled + 1, len(self._sent))
            self.setPlainText(self._sent[-self._recalled])
            self.moveCursor(self.textCursor().MoveOperation.End)
        else:
            super().keyPressEvent(event)

    def take(self) -> str:
        """The text, and leaves the field empty."""
        text = str(self.toPlainText()).strip()
        self.clear()
        return text

    def _send(self) -> None:
        text = self.take()
        if text:
            self._sent.append(text)
            self._recalled = 0
            self.sent.emit(text)
