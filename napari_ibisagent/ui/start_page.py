"""What an empty conversation shows: the ibis, what this is, and sentences to try."""

from __future__ import annotations

from qtpy.QtCore import Qt, Signal
from qtpy.QtGui import QFont, QFontMetrics
from qtpy.QtWidgets import QFrame, QLabel, QPushButton, QWidget

from napari_ibisagent.ui.button_row import wrapped
from napari_ibisagent.ui.look import SPACE, Look, icon

_LOGO, _MARGIN, _WIDEST = 72, 12, 420
_TITLE = "IBIS Agent"
_ABOUT = "Say what to segment. You see each click before it is made, and you decide."


class StartPage(QFrame):  # type: ignore[misc]
    """A friendly start. ``chosen``: an example was pressed."""

    chosen = Signal(str)

    def __init__(self, look: Look, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._look = look
        self._examples: list[str] = []
        self._buttons: list[QPushButton] = []
        self._logo, self._title = QLabel(self), QLabel(_TITLE, self)
        self._about, self._hint = QLabel(_ABOUT, self), QLabel(self)
        flags = Qt.TextInteractionFlag
        for label in (self._title, self._about, self._hint):
            label.setWordWrap(True)
            label.setAlignment(Qt.AlignmentFlag.AlignHCenter)
            label.setTextFormat(Qt.TextFormat.PlainText)
            label.setTextInteractionFlags(flags.TextSelectableByMouse)
        self._hint.setProperty("role", "muted")
        self._logo.setAlignment(Qt.AlignmentFlag.AlignCenter)
        self.set_look(look)

    def set_examples(self, examples: list[str], hint: str) -> None:
        """The sentences to try, and a quiet line above them."""
        self._examples = list(examples)
        self._hint.setText(hint)
        for button in self._buttons:
            button.hide()
            button.deleteLater()
        self._buttons = [self._button(sentence) for sentence in examples]

    def set_look(self, look: Look) -> None:
        """Takes other colours."""
        self._look = look
        self._logo.setPixmap(icon("ibis", look.accent).pixmap(_LOGO, _LOGO))

    def stops(self) -> list[QWidget]:
        """Where Tab goes, in order."""
        return list(self._buttons) if self.isVisible() else []

    def lay_out(self, width: int, room: int) -> int:
        """Places everything in the middle of ``room`` pixels and returns the height that is used."""
        self._title.ensurePolished()
        font = QFont(self.font())
        font.setBold(True)
        font.setPixelSize(round(QFontMetrics(self.font()).height() * 1.25))
        self._title.setFont(font)
        inner = min(_WIDEST, width - 2 * _MARGIN)
        parts: list[tuple[QWidget, int, int]] = [(self._logo, _LOGO, 4)]
        parts += [(self._title, self._title.heightForWidth(inner), SPACE)]
        parts += [(self._about, self._about.heightForWidth(inner), 2 * SPACE)]
        if self._hint.text():
            parts.append((self._hint, self._hint.heightForWidth(inner), SPACE))
        for button, sentence in zip(self._buttons, self._examples, strict=True):
            button.ensurePolished()
            lines = wrapped(sentence, inner - 26, QFontMetrics(button.font()))
            button.setText("\n".join(lines).replace("&", "&&"))
            parts.append((button, button.sizeHint().height(), SPACE))
        needed = sum(tall + gap for _, tall, gap in parts) + 2 * _MARGIN
        top = _MARGIN + max(0, (room - needed) // 3)
        for widget, tall, gap in parts:
            widget.setGeometry((width - inner) // 2, top, inner, tall)
            top += tall + gap
        return max(needed, room)

    def _button(self, sentence: str) -> QPushButton:
        button = QPushButton(sentence, self)
        button.setProperty("role", "example")
        button.setAccessibleName(sentence)
        button.setFocusPolicy(Qt.FocusPolicy.ClickFocus)
        button.setCursor(Qt.CursorShape.PointingHandCursor)
        button.clicked.connect(lambda: self.chosen.emit(sentence))
        button.show()
        return button
