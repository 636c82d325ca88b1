"""The card of what the agent is thinking right now: three calm dots, and the words as they come in."""

from __future__ import annotations

from qtpy.QtCore import QEvent, QTimer
from qtpy.QtGui import QPainter
from qtpy.QtWidgets import QWidget

from napari_ibisagent.ui.card_view import CardView
from napari_ibisagent.ui.cards import Card, Kind
from napari_ibisagent.ui.look import BADGE, PAD, Look
from napari_ibisagent.ui.marks import draw_dots

# How long words are gathered before they are drawn, and how long a dot is lit, in ms.
_GATHER, _DOT = 40, 450


class Thinking(CardView):
    """Gathers pieces of a thought. ``resized`` says that more words came in and wait to be laid out."""

    def __init__(self, look: Look, parent: QWidget | None = None) -> None:
        super().__init__(Card("thinking", Kind.NOTE, text="…"), look, parent)
        self.setAccessibleName("the agent is thinking")
        self.words = ""
        self._lit = 0
        self._gather = QTimer(self)
        self._gather.setSingleShot(True)
        self._gather.setInterval(_GATHER)
        self._gather.timeout.connect(self._show_words)
        self._dots = QTimer(self)
        self._dots.setInterval(_DOT)
        self._dots.timeout.connect(self._step)

    def add(self, piece: str) -> None:
        """Adds a piece; many in a short time are drawn at once."""
        self.words += piece
        if not self._gather.isActive():
            self._gather.start()

    def _show_words(self) -> None:
        self.show_card(Card("thinking", Kind.NOTE, text=self.words.strip() or "…"))
        self.setAccessibleName("the agent is thinking")
        self.resized.emit()

    def _step(self) -> None:
        self._lit = (self._lit + 1) % 3
        self.update(0, 0, 2 * PAD + BADGE, 2 * PAD + BADGE)

    def showEvent(self, event: QEvent) -> None:  # noqa: N802
        """The dots move only while they can be seen."""
        self._dots.start()

    def hideEvent(self, event: QEvent) -> None:  # noqa: N802
        """Stops the dots."""
        self._dots.stop()

    def _paint_marks(self, painter: QPainter) -> None:
        draw_dots(painter, PAD + 1, PAD + BADGE // 2 - 1, self._lit, self._look)
