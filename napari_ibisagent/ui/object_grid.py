"""The grid of the object table: how its cells are drawn, and what its keys and clicks ask for."""

from __future__ import annotations

from dataclasses import dataclass

from qtpy.QtCore import QEvent, QModelIndex, QPersistentModelIndex, QRect, QRectF, Qt, Signal
from qtpy.QtGui import QColor, QKeyEvent, QPainter, QPen
from qtpy.QtWidgets import (
    QAbstractItemView,
    QHeaderView,
    QStyledItemDelegate,
    QStyleOptionViewItem,
    QTableView,
    QWidget,
)

from napari_ibisagent.ui.look import Look, colours, icon
from napari_ibisagent.ui.object_rows import NUMBERS, Column, ObjectModel

# In pixels: the side of a cell with an icon, of the icon, of a colour; around a number.
_CELL, _ICON, _SWATCH, _MARGIN = 26, 16, 14, 16
_INTENTS = {Column.COLOUR: "recolour", Column.LOCK: "lock", Column.EYE: "show"}


@dataclass(frozen=True, slots=True)
class Key:
    """A key of the grid, what it asks for, and its name in menus."""

    key: Qt.Key
    control: bool
    intent: str
    text: str


KEYS = (
    Key(Qt.Key.Key_Return, False, "go_to", "Enter"),
    Key(Qt.Key.Key_Enter, False, "go_to", "Enter"),
    Key(Qt.Key.Key_F2, False, "rename", "F2"),
    Key(Qt.Key.Key_Space, False, "show", "Space"),
    Key(Qt.Key.Key_L, True, "lock", "Ctrl+L"),
    Key(Qt.Key.Key_C, True, "copy", "Ctrl+C"),
    Key(Qt.Key.Key_Delete, False, "remove", "Delete"),
    Key(Qt.Key.Key_Backspace, False, "remove", "Delete"),
)


class ObjectGrid(QTableView):  # type: ignore[misc]
    """Emits ``asked`` with what the user wants of the marked row: an intent such as "lock"."""

    asked = Signal(str)

    def __init__(self, model: ObjectModel, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._cells = _Cells(model, self)
        self._model = model
        self.setModel(model)
        self.setItemDelegate(self._cells)
        self.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
        self.setEditTriggers(QAbstractItemView.EditTrigger.DoubleClicked)
        self.setContextMenuPolicy(Qt.ContextMenuPolicy.CustomContextMenu)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setVerticalScrollMode(QAbstractItemView.ScrollMode.ScrollPerPixel)
        self.setAccessibleName("Objects")
        # Tab goes on to the buttons; the arrow keys move in the table.
        self.setTabKeyNavigation(False)
        self.setShowGrid(False)
        self.setWordWrap(False)
        self.clicked.connect(self._click)
        self.doubleClicked.connect(self._click)
        self._set_up_heads()

    def set_look(self, look: Look) -> None:
        """The colours of icons and edges."""
        self._cells.look = look
        self.viewport().update()

    def select(self, place: int) -> None:
        """Marks the row at a place from 0; -1 marks none."""
        column = max(self.currentIndex().column(), Column.NAME)
        if place < 0:
            self.clearSelection()
            self.setCurrentIndex(QModelIndex())
        elif place != self.currentIndex().row() or not self.selectionModel().hasSelection():
            self.setCurrentIndex(self._model.index(place, column))

    def edit_name(self, place: int) -> None:
        """Opens the name for editing."""
        self.edit(self._model.index(place, Column.NAME))

    def fit_columns(self) -> None:
        """The columns of numbers as wide as their texts need; the name takes what is left."""
        texts = self.fontMetrics()
        heads = self.horizontalHeader().fontMetrics()
        for column in NUMBERS:
            cells = (self._model.index(at, column) for at in range(self._model.rowCount()))
            widest = max((texts.horizontalAdvance(str(cell.data())) for cell in cells), default=0)
            head = str(self._model.headerData(column, Qt.Orientation.Horizontal))
            width = max(widest, heads.horizontalAdvance(head)) + _MARGIN
            if width != self.columnWidth(column):
                self.setColumnWidth(column, width)

    def event(self, event: QEvent) -> bool:
        """Keeps the grid's own keys from shortcuts of the window."""
        if event.type() == QEvent.Type.ShortcutOverride and _intent(event):
            event.accept()
            return True
        return bool(super().event(event))

    def keyPressEvent(self, event: QKeyEvent) -> None:  # noqa: N802
        """The keys of the grid. Other letters are left to the window, whose shortcuts they may be."""
        if self.state() == QAbstractItemView.State.EditingState:
            # What a name's editor leaves over (its Enter, above all) is meant for nobody else.
            event.accept()
            return
        intent = _intent(event)
        if intent:
            self.asked.emit(intent)
        elif event.text().strip():
            event.ignore()
        else:
            super().keyPressEvent(event)

    def _set_up_heads(self) -> None:
        heads = self.horizontalHeader()
        heads.setMinimumSectionSize(_CELL)
        heads.setHighlightSections(False)
        heads.setSectionsClickable(False)
        heads.setSectionResizeMode(QHeaderView.ResizeMode.Fixed)
        heads.setSectionResizeMode(Column.NAME, QHeaderView.ResizeMode.Stretch)
        heads.setDefaultAlignment(Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter)
        for column in _INTENTS:
            self.setColumnWidth(column, _CELL)
        rows = self.verticalHeader()
        rows.hide()
        rows.setSectionResizeMode(QHeaderView.ResizeMode.Fixed)
        rows.setDefaultSectionSize(_CELL)

    def _click(self, index: QModelIndex) -> None:
        # The second click of two quick ones comes as a double click alone; it counts as much as the first.
        intent = _INTENTS.get(Column(index.column()))
        if intent:
            self.asked.emit(intent)


class _Cells(QStyledItemDelegate):  # type: ignore[misc]
    """Draws colours, locks and eyes; everything else as Qt does."""

    def __init__(self, model: ObjectModel, parent: QWidget) -> None:
        super().__init__(parent)
        self._model = model
        self.look = colours(True)

    def paint(
        self, painter: QPainter, option: QStyleOptionViewItem, index: QModelIndex | QPersistentModelIndex
    ) -> None:
        """One cell."""
        super().paint(painter, option, index)
        row, column = self._model.row_at(index.row()), Column(index.column())
        if row is None or column not in _INTENTS:
            return
        if column is Column.COLOUR:
            self._draw_colour(painter, option.rect, row.shown.colour)
        elif column is Column.LOCK:
            self._draw_icon(painter, option.rect, "obj-locked" if row.shown.locked else "obj-open", row.shown.locked)
        else:
            self._draw_icon(painter, option.rect, "obj-visible" if row.shown.visible else "obj-hidden", True)

    def _draw_colour(self, painter: QPainter, cell: QRect, colour: str) -> None:
        square = QRectF(0, 0, _SWATCH, _SWATCH)
        square.moveCenter(QRectF(cell).center())
        painter.save()
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setPen(QPen(QColor(self.look.muted), 1))
        painter.setBrush(QColor(colour))
        painter.drawRoundedRect(square, 3, 3)
        painter.restore()

    def _draw_icon(self, painter: QPainter, cell: QRect, name: str, strong: bool) -> None:
        place = QRect(0, 0, _ICON, _ICON)
        place.moveCenter(cell.center())
        icon(name, self.look.text if strong else self.look.muted).paint(painter, place)


def _intent(event: QKeyEvent) -> str:
    """What a key asks for, or nothing."""
    modifiers = event.modifiers() & ~Qt.KeyboardModifier.KeypadModifier
    control = modifiers == Qt.KeyboardModifier.ControlModifier
    if modifiers != Qt.KeyboardModifier.NoModifier and not control:
        return ""
    return next((key.intent for key in KEYS if key.key == event.key() and key.control == control), "")


def grid_sheet(look: Look) -> str:
    """The style sheet of the grid. It says all that napari's own says about these widgets."""
    return f"""
    ObjectGrid {{
        background: {look.card}; color: {look.text}; border: 1px solid {look.edge}; border-radius: 4px; padding: 0px;
        selection-background-color: {look.bubble}; selection-color: {look.text};
    }}
    ObjectGrid:focus {{ border-color: {look.accent}; }}
    ObjectGrid::item {{ border: none; padding: 0px 3px; }}
    ObjectGrid::item:selected {{ background: {look.bubble}; color: {look.text}; }}
    ObjectGrid QHeaderView {{ background: transparent; padding: 0px; }}
    ObjectGrid QHeaderView::section {{
        background: {look.background}; color: {look.muted}; border: none; border-bottom: 1px solid {look.edge};
        padding: 3px;
    }}
    ObjectGrid QLineEdit {{
        background: {look.raised}; color: {look.text}; border: 1px solid {look.accent}; padding: 0px;
        selection-background-color: {look.primary}; selection-color: {look.primary_text};
    }}
    """
