"""The colours, sizes, style sheet and icons of the dock.

``look_of`` is pure: it mixes a whole set of colours from a theme's background and text, and moves each text colour
until it can be read on what lies behind it (WCAG 2.2, contrast ratio of at least 4.5).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from qtpy.QtCore import QByteArray, QRectF, Qt
from qtpy.QtGui import QIcon, QPainter, QPixmap
from qtpy.QtSvg import QSvgRenderer

from napari_ibisagent.io.resources import resource
from napari_ibisagent.ui.cards import Tone

# Distances in pixels: around and between cards, inside of a card, between things in a line, and the mark's column.
GAP, PAD, SPACE, GUTTER = 8, 10, 6, 30
BADGE, RADIUS, ICON = 22, 8, 16
# WCAG 2.2, 1.4.3 (text) and 1.4.11 (marks).
READABLE, VISIBLE = 4.5, 3.0
# The colours of clicks, as in the IBISAgent paper: positive and negative.
POSITIVE, NEGATIVE = "#00b10c", "#d30700"
_BLUE, _GREEN, _AMBER, _RED = "#3b82f6", "#22a06b", "#e0a100", "#e5484d"
# Above this contrast of text and background the theme is a high-contrast one: edges are then drawn at full strength.
_HIGH_CONTRAST = 18.0


@dataclass(frozen=True, slots=True)
class Look:
    """Colours as "#rrggbb". ``background``, ``card``, ``raised``, ``care_card`` and ``bubble`` lie behind ``text``."""

    background: str
    card: str
    raised: str
    bubble: str
    edge: str
    text: str
    muted: str
    accent: str
    good: str
    care: str
    bad: str
    care_card: str
    button: str
    button_hover: str
    button_text: str
    primary: str
    primary_hover: str
    primary_text: str

    def tone(self, tone: Tone) -> str:
        """The colour of a tone's edge and icon."""
        return {Tone.GOOD: self.good, Tone.CARE: self.care, Tone.BAD: self.bad, Tone.USER: self.accent}.get(
            tone, self.muted
        )


def colours(theme_is_dark: bool) -> Look:
    """The look for napari's dark or light theme."""
    return look_of("#262930", "#f0f1f2") if theme_is_dark else look_of("#efebe9", "#3b3a39")


def look_of(background: str, text: str) -> Look:
    """The look for any theme, from its two main colours."""
    dark = luminance(background) < luminance(text)
    strong = contrast(background, text) >= _HIGH_CONTRAST
    card = mix(background, "#ffffff", 0.055 if dark else 0.6)
    raised = mix(background, "#ffffff", 0.1 if dark else 0.85)
    bubble = mix(background, _BLUE, 0.3 if dark else 0.2)
    care_card = mix(background, _AMBER, 0.16)
    behind = (background, card, raised, care_card)
    button = mix(background, text, 0.16 if dark else 0.09)
    primary = "#2563c9" if dark else "#1f5fbf"
    words = readable(text, (*behind, bubble))
    return Look(
        background=background,
        card=background if strong else card,
        raised=background if strong else raised,
        bubble=bubble,
        edge=text if strong else mix(background, text, 0.2),
        text=words,
        muted=readable(mix(text, background, 0.3), (*behind, bubble)),
        accent=readable(_BLUE, behind),
        good=readable(_GREEN, behind),
        care=readable(_AMBER, behind),
        bad=readable(_RED, behind),
        care_card=care_card,
        button=button,
        button_hover=mix(button, text, 0.12),
        button_text=readable(text, (button, mix(button, text, 0.12))),
        primary=primary,
        primary_hover=mix(primary, "#000000", 0.15),
        primary_text="#ffffff",
    )


def mix(first: str, second: str, share: float) -> str:
    """A colour between two: ``share`` 0 is the first, 1 the second."""
    pairs = zip(_channels(first), _channels(second), strict=True)
    return "#" + "".join(f"{round(a + (b - a) * share):02x}" for a, b in pairs)


def luminance(colour: str) -> float:
    """Relative luminance from 0 (black) to 1 (white), WCAG 2.2."""
    parts = [c / 255 for c in _channels(colour)]
    red, green, blue = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(first: str, second: str) -> float:
    """The contrast ratio of two colours, from 1 to 21, WCAG 2.2."""
    low, high = sorted((luminance(first), luminance(second)))
    return (high + 0.05) / (low + 0.05)


def readable(colour: str, behind: tuple[str, ...], least: float = READABLE) -> str:
    """The colour, moved towards white or black until its contrast with each colour behind it is at least ``least``.

    Where no colour reaches it (black and white both lie behind), it is the end that comes nearest.
    """
    end = max(("#ffffff", "#000000"), key=lambda c: min(contrast(c, b) for b in behind))
    steps = (mix(colour, end, n / 20) for n in range(21))
    return next((c for c in steps if min(contrast(c, b) for b in behind) >= least), end)


def _channels(colour: str) -> tuple[int, int, int]:
    return int(colour[1:3], 16), int(colour[3:5], 16), int(colour[5:7], 16)


@lru_cache(maxsize=256)
def icon(name: str, colour: str, room: float = 0.0) -> QIcon:
    """The icon ``resources/icons/{name}.svg`` in one colour, sharp on screens of simple and double density.

    room: empty space at its right, as a share of its side: some distance to a button's text.
    """
    drawing = resource(f"icons/{name}.svg").read_text(encoding="utf-8").replace("currentColor", colour)
    renderer = QSvgRenderer(QByteArray(drawing.encode()))
    made = QIcon()
    for side in (ICON, 2 * ICON, 4 * ICON, 6 * ICON):
        pixmap = QPixmap(round(side * (1 + room)), side)
        pixmap.fill(Qt.GlobalColor.transparent)
        painter = QPainter(pixmap)
        renderer.render(painter, QRectF(0, 0, side, side))
        painter.end()
        made.addPixmap(pixmap)
    return made


def sheet(look: Look) -> str:
    """The style sheet of the conversation. It must say all that napari's own sheet says about these widgets."""
    return f"""
    Conversation, Conversation > QWidget, Column {{ background: {look.background}; border: none; padding: 0px; }}
    CardView, StartPage, ButtonRow {{ background: transparent; border: none; padding: 0px; }}
    Prose, Prose > QWidget {{
        background: transparent; border: none; padding: 0px; margin: 0px; color: {look.text};
        selection-background-color: {look.primary}; selection-color: {look.primary_text};
    }}
    StartPage QLabel {{ background: transparent; color: {look.text}; padding: 0px; }}
    StartPage QLabel[role="muted"] {{ color: {look.muted}; }}
    QPushButton {{
        background: {look.button}; color: {look.button_text}; border: 1px solid {look.edge};
        border-radius: 6px; padding: 4px 4px; margin: 0px; min-height: 0px;
    }}
    QPushButton:hover, QPushButton:pressed {{ background: {look.button_hover}; }}
    QPushButton:focus {{ border: 2px solid {look.accent}; padding: 3px 3px; }}
    QPushButton[role="primary"] {{
        background: {look.primary}; color: {look.primary_text}; border-color: {look.primary};
    }}
    QPushButton[role="primary"]:hover, QPushButton[role="primary"]:pressed {{ background: {look.primary_hover}; }}
    QPushButton[role="primary"]:focus {{ border: 2px solid {look.text}; }}
    QPushButton[role="example"] {{ text-align: left; padding: 8px 10px; background: {look.card}; color: {look.text}; }}
    QPushButton[role="example"]:hover {{ background: {look.bubble}; border-color: {look.accent}; }}
    QPushButton[role="example"]:focus {{ border: 2px solid {look.accent}; padding: 7px 9px; }}
    QPushButton[role="new"] {{
        background: {look.primary}; color: {look.primary_text}; border: 1px solid {look.primary};
        border-radius: 12px; padding: 3px 10px;
    }}
    QToolButton {{
        background: transparent; color: {look.accent}; border: 1px solid transparent; border-radius: 5px;
        padding: 1px 3px; margin: 0px;
    }}
    QToolButton:hover, QToolButton:pressed {{ background: {look.button_hover}; color: {look.button_text}; }}
    QToolButton:focus {{ border: 1px solid {look.accent}; }}
    QToolButton::menu-indicator {{ image: none; }}
    QMenu {{ background: {look.raised}; color: {look.text}; border: 1px solid {look.edge}; padding: 4px; }}
    QMenu::item {{ background: transparent; padding: 5px 22px 5px 12px; border-radius: 4px; }}
    QMenu::icon {{ padding-left: 8px; }}
    QMenu::item:selected {{ background: {look.primary}; color: {look.primary_text}; }}
    """
