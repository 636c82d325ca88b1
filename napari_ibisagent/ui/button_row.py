"""The buttons of a card: in one row, with icons where there's room, or one below the other."""

from __future__ import annotations

from qtpy.QtCore import QSize, Qt, Signal
from qtpy.QtGui import QFontMetrics, QIcon
from qtpy.QtWidgets import QPushButton, QWidget

from napari_ibisagent.ui.cards import Button
from napari_ibisagent.ui.look import SPACE, Look, icon

# The intents that have an icon of their own name.
ICONS = frozenset(("accept", "flip", "reject", "keep", "undo", "redo", "branch", "delete", "cancel"))
# Between buttons that stand below each other; what a button needs around its text. Pixels.
_BELOW, _FRAME = 4, 16


class ButtonRow(QWidget):  # type: ignore[misc]
    """Shows buttons; the first one stands out. ``pressed``: an intent's name."""

    pressed = Signal(str)

    def __init__(self, parent: QWidget) -> None:
        super().__init__(parent)
        self.buttons: list[QPushButton] = []
        self._shown: tuple[Button, ...] = ()

    def show_buttons(self, wanted: tuple[Button, ...]) -> None:
        """Makes the buttons anew where they differ from those that are there."""
        if wanted == self._shown:
            return
        self._shown = wanted
        for button in self.buttons:
            button.hide()
            button.deleteLater()
        self.buttons = [self._make(number, entry) for number, entry in enumerate(wanted)]

    def lay_out(self, width: int, look: Look) -> int:
        """Places the buttons for a width and returns the height that they need, both in pixels; 0 for none."""
        if not self.buttons:
            return 0
        for icons in (True, False):
            for button in self.buttons:
                self._dress(button, look, icons=icons)
            widths = shares([button.sizeHint().width() for button in self.buttons], width, SPACE)
            if widths:
                break
        for button in [] if widths else self.buttons:
            if button.sizeHint().width() > width:
                button.setText("\n".join(wrapped(button.text(), width - _FRAME, QFontMetrics(button.font()))))
        tall: int = max(button.sizeHint().height() for button in self.buttons)
        left = top = 0
        for number, button in enumerate(self.buttons):
            button.setGeometry(left, top, widths[number] if widths else width, tall)
            left += widths[number] + SPACE if widths else 0
            top += 0 if widths else tall + _BELOW
        return tall if widths else top - _BELOW

    def _make(self, number: int, entry: Button) -> QPushButton:
        button = QPushButton(entry.text.replace("&", "&&"), self)
        button.setProperty("role", "plain" if number or entry.equal else "primary")
        button.setProperty("intent", entry.intent)
        button.setProperty("words", button.text())
        button.setToolTip(entry.tip)
        button.setFocusPolicy(Qt.FocusPolicy.ClickFocus)
        button.setCursor(Qt.CursorShape.PointingHandCursor)
        button.setIconSize(QSize(18, 14))
        button.clicked.connect(lambda: self.pressed.emit(entry.intent))
        button.show()
        return button

    def _dress(self, button: QPushButton, look: Look, *, icons: bool) -> None:
        name = str(button.property("intent"))
        button.setText(str(button.property("words")))
        colour = look.primary_text if button.property("role") == "primary" else look.button_text
        button.setIcon(icon(name, colour, 0.3) if icons and name in ICONS else QIcon())


def shares(needed: list[int], width: int, gap: int) -> list[int]:
    """The widths of buttons in a row: equal ones if that is enough for each, else what each needs and an equal part of
    the rest; none where they don't fit. In pixels.
    """
    room, count = width - gap * (len(needed) - 1), len(needed)
    if max(needed) * count <= room:
        return [room // count] * count
    spare = room - sum(needed)
    return [] if spare < 0 else [each + spare // count for each in needed]


def wrapped(text: str, width: int, metrics: QFontMetrics) -> list[str]:
    """The text in lines of at most ``width`` pixels; a single word that is wider is shortened with "…"."""
    lines: list[str] = []
    for word in text.split():
        joined = f"{lines[-1]} {word}" if lines else word
        if lines and metrics.horizontalAdvance(joined) <= width:
            lines[-1] = joined
        else:
            lines.append(metrics.elidedText(word, Qt.TextElideMode.ElideRight, width))
    return lines
