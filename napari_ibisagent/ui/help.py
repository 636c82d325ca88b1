"""The list of keys, in a small window beside the dock."""

from __future__ import annotations

from qtpy.QtCore import QPoint, Qt
from qtpy.QtWidgets import QDialog, QGridLayout, QLabel, QVBoxLayout, QWidget

from napari_ibisagent.ui.keys import help_rows

_WORDS = "On the canvas, or in the dock outside of a text field:"


class HelpPopup(QDialog):  # type: ignore[misc]
    """All keys with what they do; Esc or F1 closes it. The text can be selected and copied."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setWindowTitle("Keys")
        column = QVBoxLayout(self)
        column.setContentsMargins(16, 12, 16, 16)
        column.addWidget(QLabel(_WORDS))
        grid = QGridLayout()
        grid.setHorizontalSpacing(16)
        grid.setVerticalSpacing(3)
        for row, (key, words) in enumerate(help_rows()):
            left, right = QLabel(key), QLabel(words)
            left.setStyleSheet("font-weight: bold;")
            for column_number, label in enumerate((left, right)):
                label.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
                grid.addWidget(label, row, column_number)
        column.addLayout(grid)

    def show_beside(self, widget: QWidget) -> None:
        """Shows the list to the left of a widget, or hides it where it is shown."""
        if self.isVisible():
            self.hide()
            return
        self.adjustSize()
        corner = widget.mapToGlobal(QPoint(0, 0))
        self.move(max(corner.x() - self.width() - 12, 0), corner.y() + 40)
        self.show()

    def keyPressEvent(self, event: object) -> None:  # noqa: N802
        """F1 closes the list again."""
        if getattr(event, "key", lambda: None)() == Qt.Key.Key_F1:
            self.hide()
        else:
            super().keyPressEvent(event)
