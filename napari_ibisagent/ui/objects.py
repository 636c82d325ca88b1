"""The object table: names, colours, locks, visibility and sizes of what was segmented in a scan.

It shows a session and emits what the user wants. It keeps nothing: what a click changes is seen when the session
comes back through ``show_objects``.
"""

from __future__ import annotations

from collections.abc import Callable

from qtpy.QtCore import QModelIndex, QPoint, QSignalBlocker, QSize, Qt, Signal
from qtpy.QtGui import QColor, QGuiApplication, QIcon, QWheelEvent
from qtpy.QtWidgets import (
    QColorDialog,
    QComboBox,
    QHBoxLayout,
    QLabel,
    QMenu,
    QPushButton,
    QStackedWidget,
    QToolTip,
    QVBoxLayout,
    QWidget,
)

from napari_ibisagent.core.measures import has_hu
from napari_ibisagent.core.session import OverlapRule, Session
from napari_ibisagent.core.volume import Volume
from napari_ibisagent.ui.look import Look, colours, icon, mix
from napari_ibisagent.ui.object_grid import KEYS, ObjectGrid, grid_sheet
from napari_ibisagent.ui.object_rows import Column, ObjectModel, Row, as_text, rows_of

_RULES = {
    OverlapRule.KEEP: ("Masks keep other objects", "A new mask leaves out what belongs to other objects."),
    OverlapRule.OVERWRITE: (
        "Masks overwrite others",
        "A new mask takes voxels from objects without a lock.",
    ),
    OverlapRule.FORBID: ("Refuse overlapping masks", "A mask that would cover another object isn't kept."),
}
_EMPTY = "No objects yet. Keep a mask with M."
_ICON = QSize(16, 16)
_NONE = "Select an object first."


class ObjectTable(QWidget):  # type: ignore[misc]
    """The table with the overlap rule above and its buttons below. Values are label values."""

    renamed = Signal(int, str)
    recoloured = Signal(int, str)
    lock_changed = Signal(int, bool)
    visibility_changed = Signal(int, bool)
    removed = Signal(int)
    go_to = Signal(int)
    correct = Signal(int)
    rule_changed = Signal(object)
    selected = Signal(int)
    save = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._rule = _Rules(self)
        self._save = _button("Save…", self)
        self._model = ObjectModel(self)
        self._grid = ObjectGrid(self._model, self)
        self._empty = QLabel(_EMPTY)
        self._pages = QStackedWidget(self)
        self._go = _button("Go to", self)
        self._correct = _button("Correct", self)
        self._delete = _button("Delete", self)
        self._intents: dict[str, Callable[[Row], None]] = {
            "go_to": self._want_slice,
            "rename": lambda row: self._grid.edit_name(self._model.place_of(row.value)),
            "recolour": self._choose_colour,
            "show": lambda row: self.visibility_changed.emit(row.value, not row.shown.visible),
            "lock": lambda row: self.lock_changed.emit(row.value, not row.shown.locked),
            "correct": self._want_correction,
            "copy": self._copy,
            "remove": self._want_removal,
        }
        self._lay_out()
        self._connect()
        self.set_look(colours(True))
        self._show_buttons()

    # For others

    def show_objects(self, session: Session, volume: Volume, selected: int | None) -> None:
        """Shows the objects of a session about ``volume``; ``selected`` is the label value of the marked row."""
        # Rows that come and go move Qt's own selection: that is nobody's wish.
        with QSignalBlocker(self):
            self._model.show_rows(rows_of(session, volume), has_size=volume.voxel_ml is not None)
            self._grid.setColumnHidden(Column.MEAN, not has_hu(volume))
            self._grid.fit_columns()
            self._grid.select(self._model.place_of(selected))
        self._rule.show_rule(session.rule)
        self._pages.setCurrentWidget(self._grid if session.objects else self._empty)
        self._save.setEnabled(bool(session.objects))
        self._save.setToolTip(
            "Save the labels on the scan's own grid" if session.objects else "There is nothing to save."
        )
        self._show_buttons()

    def current_value(self) -> int | None:
        """The label value of the marked row, or None."""
        row = self._current()
        return None if row is None else row.value

    def set_look(self, look: Look) -> None:
        """Colours and icons."""
        self._grid.set_look(look)
        self.setStyleSheet(_sheet(look))
        for button, name in ((self._go, "target"), (self._correct, "correct"), (self._delete, "delete")):
            made = QIcon(icon(f"obj-{name}", look.button_text))
            made.addPixmap(icon(f"obj-{name}", _dim(look)).pixmap(_ICON), QIcon.Mode.Disabled)
            button.setIcon(made)

    # Building

    def _lay_out(self) -> None:
        self._empty.setAlignment(Qt.AlignmentFlag.AlignCenter)
        self._empty.setWordWrap(True)
        self._empty.setObjectName("empty")
        self._pages.addWidget(self._empty)
        self._pages.addWidget(self._grid)
        buttons = QHBoxLayout()
        buttons.setSpacing(6)
        for button in (self._go, self._correct, self._delete):
            buttons.addWidget(button, 1)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(6)
        top = QHBoxLayout()
        top.setSpacing(6)
        top.addWidget(self._rule, 1)
        top.addWidget(self._save)
        layout.addLayout(top)
        layout.addWidget(self._pages, 1)
        layout.addLayout(buttons)

    def _connect(self) -> None:
        self._rule.activated.connect(lambda at: self.rule_changed.emit(tuple(_RULES)[at]))
        self._model.renamed.connect(self.renamed)
        self._grid.asked.connect(self._ask)
        self._grid.selectionModel().currentRowChanged.connect(self._row_changed)
        self._grid.customContextMenuRequested.connect(self._open_menu)
        self._save.clicked.connect(self.save)
        self._go.clicked.connect(lambda: self._ask("go_to"))
        self._correct.clicked.connect(lambda: self._ask("correct"))
        self._delete.clicked.connect(lambda: self._ask("remove"))

    # What the user wants

    def _ask(self, intent: str) -> None:
        row = self._current()
        if row is not None:
            self._intents[intent](row)

    def _want_slice(self, row: Row) -> None:
        self._unless(_why_no_slice(row), self.go_to, row)

    def _want_correction(self, row: Row) -> None:
        self._unless(_why_no_change(row, "correct"), self.correct, row)

    def _want_removal(self, row: Row) -> None:
        self._unless(_why_no_change(row, "delete"), self.removed, row)

    def _unless(self, reason: str, signal: Signal, row: Row) -> None:
        """Emits the row's value, or says why it can't be."""
        if reason:
            place = self._grid.visualRect(self._grid.currentIndex()).bottomLeft()
            QToolTip.showText(self._grid.viewport().mapToGlobal(place), reason, self._grid)
        else:
            signal.emit(row.value)

    def _choose_colour(self, row: Row) -> None:
        dialog = QColorDialog(QColor(row.shown.colour), self)
        dialog.setWindowTitle(f"Colour of {row.shown.name}")
        dialog.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        dialog.colorSelected.connect(lambda colour: self.recoloured.emit(row.value, colour.name()))
        dialog.open()

    def _copy(self, row: Row) -> None:
        shown = (column for column in Column if not self._grid.isColumnHidden(column))
        QGuiApplication.clipboard().setText(as_text(row, tuple(shown)))

    def _open_menu(self, at: QPoint) -> None:
        row = self._current()
        if row is None:
            return
        menu = QMenu(self)
        menu.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        for intent, text in _menu_texts(row).items():
            key = next((key.text for key in KEYS if key.intent == intent), "")
            action = menu.addAction(f"{text}\t{key}" if key else text)
            action.triggered.connect(lambda _=False, intent=intent: self._ask(intent))
            action.setEnabled(not _why_not(row, intent))
        menu.popup(self._grid.viewport().mapToGlobal(at))

    # What is shown

    def _current(self) -> Row | None:
        index = self._grid.currentIndex()
        return self._model.row_at(index.row()) if index.isValid() else None

    def _row_changed(self, now: QModelIndex) -> None:
        row = self._model.row_at(now.row())
        if row is not None:
            self.selected.emit(row.value)
        self._show_buttons()

    def _show_buttons(self) -> None:
        row = self._current()
        tips = {
            self._go: ("go_to", "Go to the slice where it is largest (Enter)"),
            self._correct: ("correct", "Correct its mask on the slice that is shown, or where it is largest"),
            self._delete: ("remove", "Delete it and its voxels (Delete)"),
        }
        for button, (intent, tip) in tips.items():
            reason = _NONE if row is None else _why_not(row, intent)
            button.setEnabled(not reason)
            button.setToolTip(reason or tip)


class _Rules(QComboBox):  # type: ignore[misc]
    """The overlap rule. It has no heed of the mouse wheel, so that scrolling past it changes nothing."""

    def __init__(self, parent: QWidget) -> None:
        super().__init__(parent)
        for at, (text, tip) in enumerate(_RULES.values()):
            self.addItem(text)
            self.setItemData(at, tip, Qt.ItemDataRole.ToolTipRole)
        self.setAccessibleName("What a new mask does to other objects")
        self.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        self.setMinimumContentsLength(8)

    def show_rule(self, rule: OverlapRule) -> None:
        """Shows a rule."""
        self.setCurrentIndex(tuple(_RULES).index(rule))
        self.setToolTip(f"{_RULES[rule][1]} Locked objects are always kept.")

    def wheelEvent(self, event: QWheelEvent) -> None:  # noqa: N802
        """Leaves the wheel to what lies behind."""
        event.ignore()


def _why_no_slice(row: Row) -> str:
    return "" if row.measure.voxels else f"{row.shown.name} has no voxels yet."


def _why_no_change(row: Row, verb: str) -> str:
    return f"{row.shown.name} is locked. Unlock it (Ctrl+L) to {verb} it." if row.shown.locked else ""


def _why_not(row: Row, intent: str) -> str:
    """Why something can't be done with an object, or nothing."""
    if intent == "go_to":
        return _why_no_slice(row)
    return _why_no_change(row, "delete" if intent == "remove" else intent) if intent in ("remove", "correct") else ""


def _menu_texts(row: Row) -> dict[str, str]:
    return {
        "go_to": "Go to",
        "rename": "Rename",
        "recolour": "Colour…",
        "show": "Hide" if row.shown.visible else "Show",
        "lock": "Unlock" if row.shown.locked else "Lock",
        "correct": "Correct",
        "copy": "Copy",
        "remove": "Delete",
    }


def _button(text: str, parent: QWidget) -> QPushButton:
    button = QPushButton(text, parent)
    button.setIconSize(_ICON)
    return button


def _dim(look: Look) -> str:
    """The colour of what can't be done now."""
    return mix(look.background, look.text, 0.45)


def _sheet(look: Look) -> str:
    """The style sheet of the table and its buttons."""
    return f"""
    {grid_sheet(look)}
    QLabel#empty {{ background: transparent; color: {look.muted}; padding: 12px; }}
    QPushButton {{
        background: {look.button}; color: {look.button_text}; border: 1px solid {look.edge};
        border-radius: 6px; padding: 4px 6px; margin: 0px; min-height: 0px;
    }}
    QPushButton:hover, QPushButton:pressed {{ background: {look.button_hover}; }}
    QPushButton:focus {{ border: 2px solid {look.accent}; padding: 3px 5px; }}
    QPushButton:disabled {{ background: transparent; color: {_dim(look)}; }}
    """
