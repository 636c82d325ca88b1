"""The small marks of a card, drawn: a step's number in a circle, the signs of its clicks, an icon."""

from __future__ import annotations

from qtpy.QtCore import QPointF, QRectF, Qt
from qtpy.QtGui import QColor, QFont, QPainter, QPen

from napari_ibisagent.ui.look import BADGE, ICON, NEGATIVE, POSITIVE, Look, icon

SIGN = 16
_ICONS = {"▭": "box", "↶": "undo", "✎": "brush"}
_WORDS = {"+": "positive click", "−": "negative click", "▭": "box", "↶": "takes back a step", "✎": "painted by hand"}


def sign_words(signs: tuple[str, ...]) -> str:
    """The signs in words, for screen readers and tool tips."""
    return ", ".join(_WORDS.get(sign, sign) for sign in signs)


def signs_width(signs: tuple[str, ...]) -> int:
    """How wide a row of signs is, in pixels."""
    return len(signs) * (SIGN + 4)


def draw_badge(painter: QPainter, left: int, top: int, number: int, look: Look, *, hollow: bool, current: bool) -> None:
    """A step's number: dashed while it is proposed, filled with the accent colour where the canvas shows it."""
    ring = QRectF(left + 1, top + 1, BADGE - 2, BADGE - 2)
    fill = look.primary if current else look.button
    pen = QPen(QColor(look.accent if hollow or current else look.edge), 1.5)
    if hollow:
        pen.setStyle(Qt.PenStyle.DashLine)
        pen.setDashPattern([2.2, 1.8])
    painter.setPen(pen)
    painter.setBrush(Qt.BrushStyle.NoBrush if hollow else QColor(fill))
    painter.drawEllipse(ring)
    words = look.text if hollow else look.primary_text if current else look.button_text
    painter.setPen(QColor(words))
    font = QFont(painter.font())
    font.setPixelSize(11 if number < 100 else 9)
    font.setBold(True)
    painter.setFont(font)
    painter.drawText(ring, Qt.AlignmentFlag.AlignCenter, str(number))


def draw_sign(painter: QPainter, left: int, top: int, sign: str, look: Look) -> None:
    """A sign: "+" is a green disc, "−" a red square with round corners; the others are icons."""
    area = QRectF(left, top, SIGN, SIGN)
    if sign in _ICONS:
        draw_icon(painter, left, top, _ICONS[sign], look.text)
        return
    positive = sign == "+"
    painter.setPen(Qt.PenStyle.NoPen)
    painter.setBrush(QColor(POSITIVE if positive else NEGATIVE))
    painter.drawRoundedRect(area, *((SIGN / 2, SIGN / 2) if positive else (4, 4)))
    # Black on the green and white on the red: 7.4 and 5.5 to 1; white on this green would be 2.8.
    pen = QPen(QColor("#000000" if positive else "#ffffff"), 2.2)
    pen.setCapStyle(Qt.PenCapStyle.RoundCap)
    painter.setPen(pen)
    middle, arm = area.center(), SIGN * 0.25
    painter.drawLine(middle - QPointF(arm, 0), middle + QPointF(arm, 0))
    if positive:
        painter.drawLine(middle - QPointF(0, arm), middle + QPointF(0, arm))


def draw_icon(painter: QPainter, left: int, top: int, name: str, colour: str, side: int = ICON) -> None:
    """An icon of ``resources/icons`` in a colour."""
    icon(name, colour).paint(painter, left, top, side, side)


def draw_dots(painter: QPainter, left: int, top: int, lit: int, look: Look) -> None:
    """Three dots, of which one is lit: something is being thought."""
    painter.setPen(Qt.PenStyle.NoPen)
    for n in range(3):
        painter.setBrush(QColor(look.accent if n == lit else look.edge))
        painter.drawEllipse(QPointF(left + 4 + 7 * n, top), 2.5, 2.5)
