"""One card, drawn. It places its parts by hand: the height at a width is then exact, and nothing is clipped."""

from __future__ import annotations

from qtpy.QtCore import QPoint, QRectF, Qt, Signal
from qtpy.QtGui import (
    QColor,
    QContextMenuEvent,
    QFocusEvent,
    QGuiApplication,
    QKeyEvent,
    QKeySequence,
    QMouseEvent,
    QPainter,
    QPen,
)
from qtpy.QtWidgets import QAbstractButton, QFrame, QMenu, QToolButton, QWidget

from napari_ibisagent.ui.button_row import ICONS, ButtonRow
from napari_ibisagent.ui.cards import Button, Card, Kind, Tone
from napari_ibisagent.ui.look import BADGE, GUTTER, ICON, PAD, RADIUS, SPACE, Look, icon
from napari_ibisagent.ui.marks import SIGN, draw_badge, draw_icon, draw_sign, sign_words, signs_width
from napari_ibisagent.ui.prose import Passage, Prose

# A thought is shown in this many lines until "more" is pressed; the smallest margin at the left of the user's bubble.
_THOUGHT_LINES, _LEAN = 4, 36
_ACTIVATE = (Qt.Key.Key_Return, Qt.Key.Key_Enter, Qt.Key.Key_Space)
_TONES = {Tone.GOOD: "accept", Tone.CARE: "warning", Tone.BAD: "reject"}
_KINDS = {Kind.WARNING: "warning", Kind.NOTE: "info", Kind.QUESTION: "question"}


class CardView(QFrame):  # type: ignore[misc]
    """Draws a card. ``pressed``: an intent's name and the card; ``entered``: the keyboard is in it;
    ``resized``: it needs another height now; ``copied_all``: the whole conversation shall be copied.
    """

    pressed = Signal(str, object)
    entered = Signal()
    resized = Signal()
    copied_all = Signal()

    def __init__(self, card: Card, look: Look, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.card, self._look, self._long = card, look, False
        self.bubble = QRectF()
        self.prose = Prose(self)
        self._more = QToolButton(self)
        self._menu = QToolButton(self)
        self._row = ButtonRow(self)
        self.setFocusPolicy(Qt.FocusPolicy.ClickFocus)
        self._row.pressed.connect(lambda name: self.pressed.emit(name, self.card))
        self.prose.clicked.connect(lambda: self.pressed.emit("show", self.card))
        self.prose.entered.connect(self.entered)
        self._more.clicked.connect(self._toggle)
        self._menu.clicked.connect(self.open_menu)
        self._menu.setToolTip("More for this card (Shift+F10)")
        self._menu.setAccessibleName("More for this card")
        self._menu.setFixedSize(28, 23)
        for tool in (self._more, self._menu):
            tool.setFocusPolicy(Qt.FocusPolicy.ClickFocus)
            tool.setCursor(Qt.CursorShape.PointingHandCursor)
        self._fill(None)

    def show_card(self, card: Card) -> None:
        """Changes what is shown; ``lay_out`` has to follow."""
        old, self.card = self.card, card
        self._fill(old)

    def set_look(self, look: Look) -> None:
        """Takes other colours; ``lay_out`` has to follow."""
        self._look = look
        self._fill(self.card)

    def stops(self) -> list[QWidget]:
        """Where Tab goes inside of the card, in order."""
        tools = [tool for tool in (self._more, self._menu) if not tool.isHidden()]
        return [self, *self._row.buttons, self.prose, *tools]

    def copy(self) -> None:
        """Puts the selected text, or all of the card's, into the clipboard."""
        selected = self.prose.textCursor().selection().toPlainText()
        QGuiApplication.clipboard().setText(selected or plain(self.card))

    def open_menu(self) -> QMenu:
        """Opens the card's menu below "⋯", or at the card's corner where it has none; an open one stays."""
        # The menu key comes twice under X11: as a key and as an event of its own.
        for menu in self.findChildren(QMenu):
            if menu.isVisible():
                return menu
        menu = QMenu(self)
        menu.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        for entry in self.card.menu:
            self._entry(menu, entry, self.card)
        menu.addSeparator()
        menu.addAction(icon("copy", self._look.text), "Copy the text").triggered.connect(self.copy)
        menu.addAction("Copy the whole conversation").triggered.connect(self.copied_all)
        below = self._menu.geometry().bottomRight() - QPoint(menu.sizeHint().width(), 0)
        at = below if self.card.menu else self.rect().topLeft()
        menu.popup(self.mapToGlobal(at))
        return menu

    def _entry(self, menu: QMenu, entry: Button, card: Card) -> None:
        action = menu.addAction(entry.text)
        action.setToolTip(entry.tip)
        if entry.intent in ICONS:
            action.setIcon(icon(entry.intent, self._look.text))
        action.triggered.connect(lambda: self.pressed.emit(entry.intent, card))

    # What is shown.

    def _fill(self, old: Card | None) -> None:
        card, look = self.card, self._look
        if old is not None and old.buttons != card.buttons and self.window().focusWidget() in self._row.buttons:
            self.setFocus()
        self._row.show_buttons(card.buttons)
        if old is not None and old.text != card.text:
            self._long = False
        self._menu.setVisible(bool(card.menu))
        self._menu.setIcon(icon("menu", look.muted))
        words = (f"step {card.number}" if card.number else "", sign_words(card.signs))
        state = "shown on the canvas" if card.current else ""
        self.setAccessibleName(", ".join(word for word in (card.kind.value, *words, state) if word))
        self.setAccessibleDescription(plain(card))
        self.update()

    def _toggle(self) -> None:
        self._long = not self._long
        self.resized.emit()

    # Where it is shown.

    def lay_out(self, width: int) -> int:
        """Places everything for a width and returns the height that the card needs, both in pixels."""
        if self.card.kind is Kind.USER:
            height = self._lay_out_bubble(width)
        else:
            height = self._lay_out_card(width)
        self.update()
        return height

    def _lay_out_bubble(self, width: int) -> int:
        tools = self._menu.width() if self.card.menu else 0
        room = width - _LEAN - 2 * PAD
        tall = self.prose.lay_out(self._passage(0, 0, 0), room - tools)
        used = min(room - tools, self.prose.ideal_width() + 2)
        tall = self.prose.lay_out(self._passage(0, 0, 0), used)
        left = width - used - tools - PAD
        self.prose.setGeometry(left, PAD - 2, used, tall)
        self._menu.move(width - self._menu.width() - 2, PAD - 5)
        bottom = self._place_buttons(_LEAN, width, PAD - 2 + tall)
        self.bubble = QRectF(left - PAD, 0, width - left + PAD, bottom + PAD - 2)
        return bottom + PAD - 2

    def _lay_out_card(self, width: int) -> int:
        card, left = self.card, PAD + GUTTER
        self.bubble = QRectF()
        signs = signs_width(card.signs)
        for tries in range(2):  # Whether "more" is needed shows once the text lies at its width.
            tools = self._place_tools(width, cut=self.prose.cut or self._long)
            head = bool(not card.title and (card.signs or card.number))
            passage = self._passage(0 if head else signs, 0 if head else tools, 0 if self._long else _THOUGHT_LINES)
            top = PAD + (BADGE + 2 if head else 2)
            tall = self.prose.lay_out(passage, width - left - PAD)
            if tries == 0 and self.prose.cut == self._more.isVisibleTo(self):
                break
        self.prose.setGeometry(left, top, width - left - PAD, tall)
        self.prose.setVisible(bool(card.title or card.text or card.facts))
        bottom: int = max(
            top + tall if self.prose.isVisibleTo(self) else 0, PAD + BADGE + (ICON + 4 if self._low_eye() else 0)
        )
        return self._place_buttons(PAD, width - PAD, bottom) + PAD

    def _passage(self, indent: int, inset: int, lines: int) -> Passage:
        card, look = self.card, self._look
        thought = card.kind in (Kind.STEP, Kind.PROPOSAL)
        return Passage(
            title=card.title,
            text=card.text,
            # A line is broken between two facts only; copied text has simple spaces again.
            facts=" · ".join(fact.replace(" ", "\u00a0") for fact in card.facts),
            colour=look.muted if card.kind is Kind.NOTE and card.tone is Tone.NEUTRAL and not card.title else look.text,
            muted=look.muted,
            indent=indent,
            inset=inset,
            lines=lines if thought else 0,
        )

    def _place_tools(self, width: int, *, cut: bool) -> int:
        """Puts "more" and "⋯" into the upper right corner and returns the room that they take."""
        right = width - 6
        if self.card.menu:
            right -= self._menu.width()
            self._menu.move(right, PAD)
        self._more.setVisible(cut)
        if cut:
            self._more.setText("less" if self._long else "more")
            self._more.setToolTip("Show less of the thought" if self._long else "Show the whole thought")
            self._more.adjustSize()
            right -= self._more.width() + 2
            self._more.move(right, PAD + (BADGE - self._more.height()) // 2 - 1)
        return width - PAD - right

    def _place_buttons(self, left: int, right: int, bottom: int) -> int:
        """Puts the buttons below what ends at ``bottom`` and returns the lower end of it all."""
        tall = self._row.lay_out(right - left, self._look)
        self._row.setVisible(tall > 0)
        self._row.setGeometry(left, bottom + SPACE + 2, right - left, tall)
        return bottom + (SPACE + 2 + tall if tall else 0)

    # How it is drawn.

    def paintEvent(self, event: object) -> None:  # noqa: N802
        """Draws what lies behind the text: the card, its edge by tone, the marks, the ring of the keyboard."""
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        self._paint_body(painter)
        if self.card.kind is not Kind.USER:
            self._paint_marks(painter)
        elif self.card.current:
            draw_icon(painter, int(self.bubble.left()) - ICON - SPACE, PAD - 2, "eye", self._look.accent)
        painter.end()

    def _paint_body(self, painter: QPainter) -> None:
        card, look = self.card, self._look
        area = QRectF(self.bubble if card.kind is Kind.USER else self.rect()).adjusted(0.75, 0.75, -0.75, -0.75)
        painter.setPen(QPen(QColor(look.accent if card.current or card.kind is Kind.PROPOSAL else look.edge), 1))
        painter.setBrush(QColor(self._behind()))
        painter.drawRoundedRect(area, RADIUS, RADIUS)
        if card.kind in (Kind.OUTCOME, Kind.WARNING, Kind.QUESTION) or card.current:
            painter.setPen(Qt.PenStyle.NoPen)
            painter.setBrush(QColor(look.accent if card.current and card.kind is Kind.STEP else self._tone()))
            painter.drawRoundedRect(QRectF(area.left(), area.top() + 4, 4, area.height() - 8), 2, 2)
        if self.hasFocus():
            painter.setBrush(Qt.BrushStyle.NoBrush)
            painter.setPen(QPen(QColor(look.text), 2))
            painter.drawRoundedRect(area.adjusted(0.5, 0.5, -0.5, -0.5), RADIUS, RADIUS)

    def _paint_marks(self, painter: QPainter) -> None:
        card, look, left = self.card, self._look, PAD + 1
        if card.number:
            hollow = card.kind is Kind.PROPOSAL
            draw_badge(painter, left, PAD, card.number, look, hollow=hollow, current=card.current and not hollow)
        else:
            draw_icon(painter, left + 2, PAD + 1, self._icon(), self._tone(), 18)
        for number, sign in enumerate(card.signs):
            draw_sign(painter, PAD + GUTTER + number * (SIGN + 4), PAD + (BADGE - SIGN) // 2, sign, look)
        if self._low_eye():
            draw_icon(painter, left + 3, PAD + BADGE + 4, "eye", look.accent, ICON)
        elif card.current:
            draw_icon(painter, PAD + GUTTER + signs_width(card.signs) + 2, PAD + 3, "eye", look.accent, ICON)

    def _low_eye(self) -> bool:
        """Whether the sign of the current card goes below its mark, since a title stands in the first line."""
        return self.card.current and bool(self.card.title or not (self.card.signs or self.card.number))

    def _behind(self) -> str:
        kinds = {Kind.USER: self._look.bubble, Kind.WARNING: self._look.care_card, Kind.PROPOSAL: self._look.raised}
        kinds |= {Kind.NOTE: self._look.background}
        return kinds.get(self.card.kind, self._look.card)

    def _tone(self) -> str:
        if self.card.kind is Kind.WARNING:
            return self._look.care
        if self.card.kind is Kind.QUESTION and self.card.tone is Tone.NEUTRAL:
            return self._look.accent
        return self._look.tone(self.card.tone)

    def _icon(self) -> str:
        told = self.card.kind is Kind.NOTE and self.card.tone in _TONES
        return _TONES[self.card.tone] if told else _KINDS.get(self.card.kind) or _TONES.get(self.card.tone) or "info"

    # Keys and clicks.

    def mouseReleaseEvent(self, event: QMouseEvent) -> None:  # noqa: N802
        """A click on the card shows its state."""
        if event.button() == Qt.MouseButton.LeftButton and self.rect().contains(event.position().toPoint()):
            self.pressed.emit("show", self.card)

    def mousePressEvent(self, event: QMouseEvent) -> None:  # noqa: N802
        """Keeps the click for this card."""
        event.accept()

    def contextMenuEvent(self, event: QContextMenuEvent) -> None:  # noqa: N802
        """Opens the card's menu."""
        menu = self.open_menu()
        if event.reason() == QContextMenuEvent.Reason.Mouse:
            menu.move(event.globalPos())
        event.accept()

    def keyPressEvent(self, event: QKeyEvent) -> None:  # noqa: N802
        """Enter and Space press or show, the menu keys open the menu, Ctrl+C copies, Esc leaves the card's inside."""
        inside = self.window().focusWidget()
        key, shift = event.key(), event.modifiers() == Qt.KeyboardModifier.ShiftModifier
        if event.matches(QKeySequence.StandardKey.Copy):
            self.copy()
        elif key == Qt.Key.Key_Menu or (key == Qt.Key.Key_F10 and shift):
            self.open_menu()
        elif key in _ACTIVATE and isinstance(inside, QAbstractButton):
            inside.click()
        elif key in _ACTIVATE:
            self.pressed.emit("show", self.card)
        elif key == Qt.Key.Key_Escape and inside is not self:
            self.setFocus()
        else:
            event.ignore()

    def focusInEvent(self, event: QFocusEvent) -> None:  # noqa: N802
        """Draws the ring."""
        self.update()
        self.entered.emit()

    def focusOutEvent(self, event: QFocusEvent) -> None:  # noqa: N802
        """Takes the ring away."""
        self.update()


def plain(card: Card) -> str:
    """A card as plain text: "1 + −", the title, the text, the facts."""
    head = " ".join([str(card.number), *card.signs] if card.number else card.signs)
    first = " ".join(part for part in (head, card.title) if part)
    return "\n".join(part for part in (first, card.text, " · ".join(card.facts)) if part)
