"""Text that can be selected and copied by mouse and keyboard: a title, paragraphs, and a muted line of facts.

It breaks long words too (a QLabel would cut them off), and says what height it needs at a width. It never scrolls.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil

from qtpy.QtCore import QEvent, Qt, Signal
from qtpy.QtGui import (
    QColor,
    QFont,
    QKeyEvent,
    QKeySequence,
    QMouseEvent,
    QTextBlockFormat,
    QTextCharFormat,
    QTextCursor,
    QTextOption,
    QWheelEvent,
)
from qtpy.QtWidgets import QFrame, QTextEdit, QWidget

_NAVIGATION = (Qt.Key.Key_Left, Qt.Key.Key_Right)
_WITH_SHIFT = (*_NAVIGATION, Qt.Key.Key_Up, Qt.Key.Key_Down, Qt.Key.Key_Home, Qt.Key.Key_End)


@dataclass(frozen=True, slots=True)
class Passage:
    """What a ``Prose`` shows. ``indent`` and ``inset`` keep room before and behind the first paragraph, in pixels.

    lines: how many lines of the text are shown before it ends with "…"; 0 for all of them.
    """

    title: str = ""
    text: str = ""
    facts: str = ""
    colour: str = "#ffffff"
    muted: str = "#cccccc"
    indent: int = 0
    inset: int = 0
    lines: int = 0


class Prose(QTextEdit):  # type: ignore[misc]
    """Shows a passage. ``clicked``: a click that selected nothing; ``entered``: it has the keyboard now."""

    clicked = Signal()
    entered = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._shown: tuple[Passage, int, str] | None = None
        self.cut = False
        self.setFrameShape(QFrame.Shape.NoFrame)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setVerticalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        flags = Qt.TextInteractionFlag
        self.setTextInteractionFlags(flags.TextSelectableByMouse | flags.TextSelectableByKeyboard)
        self.setFocusPolicy(Qt.FocusPolicy.ClickFocus)
        self.setContextMenuPolicy(Qt.ContextMenuPolicy.NoContextMenu)
        self.setAcceptDrops(False)
        # Qt would set the text to the widget's width at some later time; it has to be known before.
        self.setLineWrapMode(QTextEdit.LineWrapMode.FixedPixelWidth)
        self.setWordWrapMode(QTextOption.WrapMode.WrapAtWordBoundaryOrAnywhere)
        self.document().setDocumentMargin(0)
        self.document().setUndoRedoEnabled(False)
        self.viewport().setCursor(Qt.CursorShape.IBeamCursor)

    def lay_out(self, passage: Passage, width: int) -> int:
        """Shows the passage at a width and returns the height that it needs, both in pixels."""
        self.ensurePolished()
        wanted = (passage, width, self.font().key())
        if self._shown != wanted:
            self._shown = wanted
            self.document().setDefaultFont(self.font())
            self.cut = False
            self._fill(passage, passage.text, width)
            kept = self._kept(passage)
            if kept is not None:
                self.cut = True
                self._fill(passage, kept, width)
        height: float = self.document().size().height()
        return ceil(height)

    def ideal_width(self) -> int:
        """The width of the longest line, in pixels."""
        width: float = self.document().idealWidth()
        return ceil(width)

    def _fill(self, passage: Passage, text: str, width: int) -> None:
        cursor = QTextCursor(self.document())
        cursor.beginEditBlock()
        cursor.select(QTextCursor.SelectionType.Document)
        cursor.removeSelectedText()
        words, bold, small = _formats(passage, self.font())
        paragraphs = [(passage.title, bold)] if passage.title else []
        paragraphs += [(line, words) for line in text.split("\n")] if text else []
        paragraphs += [(passage.facts, small)] if passage.facts else []
        for number, (line, style) in enumerate(paragraphs):
            block = QTextBlockFormat()
            if number == 0:
                block.setTextIndent(passage.indent)
                block.setRightMargin(passage.inset)
            else:
                block.setTopMargin(4 if style is small else 2)
                cursor.insertBlock()
            cursor.setBlockFormat(block)
            cursor.setBlockCharFormat(style)
            cursor.insertText(line, style)
        cursor.endEditBlock()
        self.setLineWrapColumnOrWidth(width)
        self.moveCursor(QTextCursor.MoveOperation.Start)

    def _kept(self, passage: Passage) -> str | None:
        """The beginning of the text that fits into the lines; None where all of it does, or but for one line."""
        if passage.lines == 0:
            return None
        self.document().documentLayout().documentSize()
        first = 1 if passage.title else 0
        paragraphs = passage.text.split("\n")
        blocks = [self.document().findBlockByNumber(first + n).layout() for n in range(len(paragraphs))]
        if sum(block.lineCount() for block in blocks) <= passage.lines + 1:
            return None
        left = passage.lines
        whole: list[str] = []
        for paragraph, block in zip(paragraphs, blocks, strict=True):
            if block.lineCount() >= left:
                line = block.lineAt(left - 1)
                end = line.textStart() + max(1, line.textLength() - 3)
                return "\n".join([*whole, paragraph[:end].rsplit(" ", 1)[0].rstrip(" ,;:.") + " …"])
            left -= block.lineCount()
            whole.append(paragraph)
        return None

    def keyPressEvent(self, event: QKeyEvent) -> None:  # noqa: N802
        """Keeps what moves or copies a selection; every other key is the card's."""
        shift = bool(event.modifiers() & Qt.KeyboardModifier.ShiftModifier)
        copies = event.matches(QKeySequence.StandardKey.Copy) and self.textCursor().hasSelection()
        moves = event.key() in (_WITH_SHIFT if shift else _NAVIGATION)
        if copies or moves or event.matches(QKeySequence.StandardKey.SelectAll):
            super().keyPressEvent(event)
        else:
            event.ignore()

    def wheelEvent(self, event: QWheelEvent) -> None:  # noqa: N802
        """The wheel scrolls the conversation, not the text."""
        event.ignore()

    def mouseReleaseEvent(self, event: QMouseEvent) -> None:  # noqa: N802
        """A click that leaves no selection is a click on the card."""
        super().mouseReleaseEvent(event)
        if event.button() == Qt.MouseButton.LeftButton and not self.textCursor().hasSelection():
            self.clicked.emit()

    def focusInEvent(self, event: QEvent) -> None:  # noqa: N802
        """Tells the card that the keyboard is in it."""
        super().focusInEvent(event)
        self.entered.emit()


def _formats(passage: Passage, font: QFont) -> tuple[QTextCharFormat, QTextCharFormat, QTextCharFormat]:
    """The formats of the text, the title and the facts."""
    words, bold, small = QTextCharFormat(), QTextCharFormat(), QTextCharFormat()
    for style in (words, bold):
        style.setForeground(QColor(passage.colour))
    bold.setFontWeight(QFont.Weight.Bold)
    small.setForeground(QColor(passage.muted))
    if font.pixelSize() > 0:
        small.setProperty(QTextCharFormat.Property.FontPixelSize, max(9, round(font.pixelSize() * 0.88)))
    else:
        small.setFontPointSize(max(7.0, font.pointSizeF() * 0.88))
    return words, bold, small
