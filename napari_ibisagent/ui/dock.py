"""The dock, from top to bottom: scan and backends, mode, conversation, state, tools, composer, objects.

Shows what it is given and emits intents; decides nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

from qtpy.QtCore import QSize, Qt, Signal
from qtpy.QtGui import QIcon, QKeyEvent
from qtpy.QtWidgets import (
    QButtonGroup,
    QComboBox,
    QGridLayout,
    QHBoxLayout,
    QLabel,
    QProgressBar,
    QPushButton,
    QSizePolicy,
    QSpinBox,
    QSplitter,
    QToolButton,
    QVBoxLayout,
    QWidget,
)

from napari_ibisagent.ui.canvas import Tool
from napari_ibisagent.ui.composer import Composer
from napari_ibisagent.ui.conversation import Conversation
from napari_ibisagent.ui.keys import intent_of, label, short
from napari_ibisagent.ui.look import NEGATIVE, POSITIVE, Look, icon, look_of, mix
from napari_ibisagent.ui.objects import ObjectTable
from napari_ibisagent.ui.session_menu import SessionMenu

_TOOLS = (
    ("point", "point", "Point"),
    ("box", "box", "Box"),
    ("brush", "brush", "Brush"),
    ("erase", "erase", "Erase"),
    ("lasso", "lasso", "Lasso: click its corners, double-click to close it"),
)
_DEEDS = (
    ("undo", "undo", "Undo"),
    ("redo", "redo", "Redo"),
    ("reset", "reset", "Clear the mask"),
    ("keep", "keep", "Keep as object"),
    ("help", "help", "Keys"),
)


_ICON = 18


@dataclass(frozen=True, slots=True)
class Backend:
    """A policy or a tool in its choice; ``reason`` says in words why it can't run here, or is empty."""

    name: str
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Front:
    """What the dock shows besides conversation and objects.

    scans: names of the open scans; scan: which one is worked on, -1: none. done, limit: steps of the run.
    whole: the next request is about the whole volume. can: the intents that can be done now. consent: whether the
    session may be used for training.
    """

    scans: tuple[str, ...] = ()
    scan: int = -1
    policies: tuple[Backend, ...] = ()
    policy: str = ""
    segmenters: tuple[Backend, ...] = ()
    segmenter: str = ""
    review: bool = True
    steps: int = 20
    running: bool = False
    done: int = 0
    limit: int = 0
    status: str = ""
    trouble: str = ""
    ready: bool = False
    hint: str = "Open a scan first."
    tool: Tool = Tool.NONE
    positive: bool = True
    whole: bool = False
    can: frozenset[str] = frozenset()
    consent: bool | None = None


class Dock(QWidget):  # type: ignore[misc]
    """The widgets; ``show_front`` fills them, the signals say what the user wants."""

    wanted = Signal(str)  # an intent, named as in ``keys``
    scan_chosen = Signal(int)
    policy_chosen = Signal(str)
    segmenter_chosen = Signal(str)
    review_chosen = Signal(bool)
    steps_chosen = Signal(int)
    extent_chosen = Signal(bool)  # whether a request is about the whole volume

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("ibisagent-dock")
        self.setMinimumWidth(320)
        self._front = Front()
        self._look = look_of("#262930", "#f0f1f2")
        self.conversation = Conversation()
        self.composer = Composer()
        self.objects = ObjectTable()
        self.scan = _choice("Scan")
        self.more = SessionMenu()
        self.policy, self.segmenter = _choice("Agent"), _choice("Click tool")
        self._dots = {"policy": QLabel("●"), "segmenter": QLabel("●")}
        self.reason = _small_label()
        self.status = _small_label()
        self.review = _segment("Review each step", "Each click waits for your word.")
        self.run = _segment("Run", "The agent goes on until it stops; you can halt it at any time.")
        self.steps = QSpinBox()
        self.steps.setRange(1, 100)
        self.steps.setSuffix(" steps")
        self.steps.setToolTip("At most so many steps in a run; also how many Go on (G) takes.")
        self.steps.setAccessibleName("Step budget")
        self.progress = QProgressBar()
        self.progress.setTextVisible(False)
        self.progress.setFixedHeight(4)
        self.buttons: dict[str, QPushButton | QToolButton] = {
            "go_on": QPushButton(label("go_on", "Go on")),
            "pause": QPushButton(label("pause", "Halt")),
            "cancel": QPushButton(label("cancel", "Cancel")),
            "send": _icon_button("Send (Enter)"),
            "whole": _icon_button("Whole volume: the slice that shows most, then all others, slice by slice"),
            **{name: _icon_button(label(name, words), short(name)) for name, _, words in (*_TOOLS, *_DEEDS)},
            "sign": _icon_button(label("flip", "Your next click"), short("flip")),
        }
        for name, *_ in _TOOLS:
            self.buttons[name].setCheckable(True)
        self.buttons["whole"].setCheckable(True)
        self._lay_out()
        self._connect()
        self.set_look(self._look)
        self.show_front(self._front)

    # -- showing -----------------------------------------------------------------------------------------

    def show_front(self, front: Front) -> None:
        """Shows a state; widgets whose part is the same stay untouched."""
        old, self._front = self._front, front
        _fill(self.scan, front.scans or ("No scan is open",), max(front.scan, 0))
        self.more.show_session(front.consent, front.ready)
        for box, known, name in (
            (self.policy, front.policies, front.policy),
            (self.segmenter, front.segmenters, front.segmenter),
        ):
            names = tuple(backend.name for backend in known)
            _fill(box, names, names.index(name) if name in names else 0)
        if (old.policies, old.policy, old.segmenters, old.segmenter) != (
            front.policies,
            front.policy,
            front.segmenters,
            front.segmenter,
        ):
            self._show_reasons()
        for button, checked in ((self.review, front.review), (self.run, not front.review)):
            button.setChecked(checked)
        if self.steps.value() != front.steps:
            self.steps.blockSignals(True)
            self.steps.setValue(front.steps)
            self.steps.blockSignals(False)
        self._show_run(front)
        for name, button in self.buttons.items():
            if name not in ("send", "whole", "sign", "help"):
                button.setEnabled(name in front.can)
        for name, *_ in _TOOLS:
            self.buttons[name].setChecked(front.tool == name)
        if old.positive != front.positive:
            self._show_sign()
        self.composer.setEnabled(front.ready)
        self.buttons["send"].setEnabled(front.ready)
        self.buttons["sign"].setEnabled(front.ready)
        self.buttons["whole"].setChecked(front.whole)
        self.composer.set_hint(front.hint)

    def set_look(self, look: Look) -> None:
        """Takes the colours of a theme."""
        self._look = look
        self.conversation.set_look(look)
        self.objects.set_look(look)
        self.more.set_look(look)
        for name, picture, _ in (*_TOOLS, *_DEEDS, ("whole", "volume", "")):
            made = icon(picture, look.text)
            dim = icon(picture, mix(look.background, look.text, 0.3))
            made.addPixmap(dim.pixmap(_ICON, _ICON), QIcon.Mode.Disabled)
            self.buttons[name].setIcon(made)
            self.buttons[name].setStyleSheet(
                "QToolButton { font-size: 9px; padding: 0px; border-radius: 4px; }"
                f"QToolButton:checked {{ background: {look.bubble}; border: 1px solid {look.accent}; }}"
                f"QToolButton:hover {{ background: {look.raised}; }}"
            )
        self.buttons["send"].setIcon(icon("send", look.text))
        self._show_sign()
        self._show_reasons()
        self._show_status()

    def keyPressEvent(self, event: QKeyEvent) -> None:  # noqa: N802
        """A key that no widget of the dock wanted works as on the canvas; text fields keep their letters."""
        intent = intent_of(event)
        if intent is None:
            super().keyPressEvent(event)
        else:
            self.wanted.emit(intent)

    # -- parts -------------------------------------------------------------------------------------------

    def _show_run(self, front: Front) -> None:
        self.progress.setVisible(front.running)
        self.progress.setRange(0, front.limit)
        self.progress.setValue(front.done)
        self.buttons["go_on"].setVisible(not front.running)
        self.buttons["pause"].setVisible(front.running)
        self._show_status()

    def _show_status(self) -> None:
        front = self._front
        self.status.setText(front.trouble or front.status)
        colour = self._look.bad if front.trouble else self._look.muted
        style = f"color: {colour};"
        if self.status.styleSheet() != style:  # setting one costs some ms
            self.status.setStyleSheet(style)

    def _show_sign(self) -> None:
        positive = self._front.positive
        button = self.buttons["sign"]
        button.setText(f"{'+' if positive else '−'}\n{short('flip')}")
        button.setToolTip(label("flip", f"Your next click is {'positive' if positive else 'negative'}: flip it"))
        button.setAccessibleName(f"Next click is {'positive' if positive else 'negative'}")
        colour = POSITIVE if positive else NEGATIVE
        style = f"color: white; background: {colour}; font-weight: bold; font-size: 12px; border-radius: 4px;"
        button.setStyleSheet(f"QToolButton {{ {style} }}")

    def _show_reasons(self) -> None:
        front, reasons = self._front, []
        chosen = {"policy": (front.policies, front.policy), "segmenter": (front.segmenters, front.segmenter)}
        for part, (known, name) in chosen.items():
            reason = next((backend.reason for backend in known if backend.name == name), "")
            dot = self._dots[part]
            dot.setStyleSheet(f"color: {self._look.bad if reason else self._look.good};")
            dot.setToolTip(reason or "Ready.")
            dot.setAccessibleName(reason or "ready")
            if reason:
                reasons.append(reason)
        self.reason.setText("\n".join(reasons))
        self.reason.setStyleSheet(f"color: {self._look.bad};")
        self.reason.setVisible(bool(reasons))

    def _lay_out(self) -> None:
        backends = QGridLayout()
        backends.setHorizontalSpacing(4)
        backends.setVerticalSpacing(2)
        for column, (part, box, words) in enumerate(
            (("policy", self.policy, "Agent"), ("segmenter", self.segmenter, "Click tool"))
        ):
            caption = _small_label()
            caption.setText(words)
            backends.addWidget(self._dots[part], 1, 3 * column)
            backends.addWidget(caption, 0, 3 * column, 1, 2)
            backends.addWidget(box, 1, 3 * column + 1)
            backends.setColumnStretch(3 * column + 1, 1)
        backends.setColumnMinimumWidth(2, 8)
        modes = _row(self.review, self.run, self.steps, spacing=0)
        modes.insertSpacing(2, 8)
        modes.setStretch(0, 1)
        state = _row(self.status, self.buttons["go_on"], self.buttons["pause"], self.buttons["cancel"])
        state.setStretch(0, 1)
        tools = _row(*(self.buttons[name] for name, *_ in _TOOLS), self.buttons["sign"], spacing=2)
        tools.addStretch(1)
        for name, *_ in _DEEDS:
            tools.addWidget(self.buttons[name])
        writing = _row(self.composer, self.buttons["whole"], self.buttons["send"])
        for name in ("whole", "send"):
            writing.setAlignment(self.buttons[name], Qt.AlignmentFlag.AlignBottom)
        upper = QWidget()
        column = _column(upper)
        scan = _row(self.scan, self.more)
        scan.setStretch(0, 1)
        for part in (scan, backends, self.reason, modes):
            column.addLayout(part) if isinstance(part, QGridLayout | QHBoxLayout) else column.addWidget(part)
        column.addWidget(self.conversation, 1)
        column.addWidget(self.progress)
        for row in (state, tools, writing):
            column.addLayout(row)
        parts = QSplitter(Qt.Orientation.Vertical)
        parts.setChildrenCollapsible(False)
        parts.addWidget(upper)
        parts.addWidget(self.objects)
        parts.setStretchFactor(0, 3)
        parts.setStretchFactor(1, 1)
        parts.setSizes([640, 190])
        whole = QVBoxLayout(self)
        whole.setContentsMargins(8, 6, 8, 6)
        whole.addWidget(parts)

    def _connect(self) -> None:
        for name, button in self.buttons.items():
            if name == "send":
                button.clicked.connect(self.composer.send)
            elif name == "whole":
                button.clicked.connect(self.extent_chosen)
            else:
                intent = "flip" if name == "sign" else name
                button.clicked.connect(lambda _=False, intent=intent: self.wanted.emit(intent))
        modes = QButtonGroup(self)
        for button in (self.review, self.run):
            modes.addButton(button)
        self.review.clicked.connect(lambda: self.review_chosen.emit(True))
        self.run.clicked.connect(lambda: self.review_chosen.emit(False))
        self.steps.valueChanged.connect(self.steps_chosen)
        self.scan.activated.connect(self.scan_chosen)
        self.policy.textActivated.connect(self.policy_chosen)
        self.segmenter.textActivated.connect(self.segmenter_chosen)


def _fill(box: QComboBox, texts: tuple[str, ...], current: int) -> None:
    if tuple(box.itemText(n) for n in range(box.count())) != texts:
        box.clear()
        box.addItems(list(texts))
    if box.currentIndex() != current:
        box.setCurrentIndex(current)
    box.setEnabled(bool(texts))
    box.setToolTip(box.currentText())


def _choice(name: str) -> QComboBox:
    box = QComboBox()
    box.setAccessibleName(name)
    box.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
    box.setMinimumContentsLength(6)
    return box


def _small_label() -> QLabel:
    small = QLabel()
    small.setWordWrap(True)
    small.setTextFormat(Qt.TextFormat.PlainText)
    flags = Qt.TextInteractionFlag
    small.setTextInteractionFlags(flags.TextSelectableByMouse | flags.TextSelectableByKeyboard)
    small.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Preferred)
    return small


def _segment(text: str, tip: str) -> QPushButton:
    button = QPushButton(text)
    button.setCheckable(True)
    button.setToolTip(tip)
    return button


def _icon_button(tip: str, key: str = "") -> QToolButton:
    """A button with an icon, and the key that does the same under it."""
    button = QToolButton()
    button.setToolTip(tip)
    button.setAccessibleName(tip)
    button.setIconSize(QSize(_ICON, _ICON))
    button.setFixedSize(27, 38 if key else 27)
    if key:
        button.setText(key)
        button.setToolButtonStyle(Qt.ToolButtonStyle.ToolButtonTextUnderIcon)
    return button


def _row(*widgets: QWidget, spacing: int = 4) -> QHBoxLayout:
    row = QHBoxLayout()
    row.setSpacing(spacing)
    for widget in widgets:
        row.addWidget(widget)
    return row


def _column(parent: QWidget) -> QVBoxLayout:
    column = QVBoxLayout(parent)
    column.setContentsMargins(0, 0, 0, 0)
    column.setSpacing(6)
    return column
