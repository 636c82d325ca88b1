"""The rows of the object table: what each cell says, and a Qt model that changes only the cells that differ."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

from qtpy.QtCore import QAbstractTableModel, QModelIndex, QObject, QPersistentModelIndex, Qt, Signal

from napari_ibisagent.core.measures import Measure, measure_of
from napari_ibisagent.core.session import SegmentedObject, Session
from napari_ibisagent.core.volume import Volume


class Column(IntEnum):
    """The columns from left to right."""

    COLOUR = 0
    NAME = 1
    VALUE = 2
    LOCK = 3
    EYE = 4
    SIZE = 5
    MEAN = 6


NUMBERS = (Column.VALUE, Column.SIZE, Column.MEAN)
_HEADS = {Column.NAME: "Name", Column.VALUE: "#", Column.MEAN: "HU"}
_HEAD_TIPS = {
    Column.COLOUR: "Colour",
    Column.VALUE: "Label value in the saved file",
    Column.LOCK: "Lock: a locked object can't be changed or painted over",
    Column.EYE: "Show or hide",
    Column.MEAN: "Mean intensity in Hounsfield units",
}


@dataclass(frozen=True, slots=True)
class Row:
    """An object and its numbers."""

    shown: SegmentedObject
    measure: Measure

    @property
    def value(self) -> int:
        """The label value: what the row is known by."""
        return self.shown.value

    def text(self, column: Column) -> str:
        """The text of a cell; for colour, lock and eye what a screen reader says."""
        match column:
            case Column.COLOUR:
                return self.shown.colour
            case Column.NAME:
                return self.shown.name
            case Column.VALUE:
                return str(self.shown.value)
            case Column.LOCK:
                return "locked" if self.shown.locked else "not locked"
            case Column.EYE:
                return "visible" if self.shown.visible else "hidden"
            case Column.SIZE:
                return str(self.measure.voxels) if self.measure.ml is None else rounded(self.measure.ml)
            case Column.MEAN:
                return "–" if self.measure.mean_hu is None else f"{self.measure.mean_hu:.0f}".replace("-", "−")

    def tip(self, column: Column) -> str:
        """The tool tip of a cell."""
        match column:
            case Column.COLOUR:
                return f"Change the colour ({self.shown.colour})"
            case Column.LOCK:
                return "Locked. Unlock (Ctrl+L)" if self.shown.locked else "Lock (Ctrl+L)"
            case Column.EYE:
                return "Hide (Space)" if self.shown.visible else "Hidden. Show (Space)"
            case Column.SIZE:
                unknown = ". The scan states no voxel size." if self.measure.ml is None else ""
                return f"{self.measure.voxels:,} voxels{unknown}"
            case _:
                return self.text(column) if column is not Column.NAME else f"{self.shown.name}\nF2 renames"


def rounded(ml: float) -> str:
    """A volume with about three digits: "0.42", "12.3", "1234"."""
    if ml >= 100:
        return f"{ml:.0f}"
    return f"{ml:.1f}" if ml >= 10 else f"{ml:.2f}"


def rows_of(session: Session, volume: Volume) -> tuple[Row, ...]:
    """The rows for a session, in the order of its objects."""
    return tuple(Row(shown, measure_of(shown.value, session, volume)) for shown in session.objects)


def as_text(row: Row, columns: tuple[Column, ...]) -> str:
    """A row for the clipboard, its cells parted by tabs."""
    return "\t".join(row.text(column) for column in columns)


class ObjectModel(QAbstractTableModel):  # type: ignore[misc]
    """The rows for Qt. An edited name is emitted and not kept: what is shown comes from ``show_rows`` alone."""

    renamed = Signal(int, str)

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._rows: list[Row] = []
        self._has_size = True

    def show_rows(self, rows: tuple[Row, ...], *, has_size: bool) -> None:
        """Shows the rows; only what differs from what is shown is told to the view. ``has_size``: mL, not voxels."""
        if has_size != self._has_size:
            self._has_size = has_size
            self.headerDataChanged.emit(Qt.Orientation.Horizontal, Column.SIZE, Column.SIZE)
        self._remove_others({row.value for row in rows})
        for at, row in enumerate(rows):
            if at < len(self._rows) and self._rows[at].value == row.value:
                self._change(at, row)
            else:
                # Rows keep their order, so a value that isn't here is new. One that comes again later was moved.
                self._remove_others({known.value for known in self._rows} - {row.value})
                self.beginInsertRows(QModelIndex(), at, at)
                self._rows.insert(at, row)
                self.endInsertRows()

    def row_at(self, at: int) -> Row | None:
        """The row at a place from 0, or None."""
        return self._rows[at] if 0 <= at < len(self._rows) else None

    def place_of(self, value: int | None) -> int:
        """The place of a label value from 0, or -1."""
        return next((at for at, row in enumerate(self._rows) if row.value == value), -1)

    def rowCount(self, parent: QModelIndex | QPersistentModelIndex | None = None) -> int:  # noqa: N802
        """How many objects there are."""
        return 0 if parent is not None and parent.isValid() else len(self._rows)

    def columnCount(self, parent: QModelIndex | QPersistentModelIndex | None = None) -> int:  # noqa: N802
        """How many columns there are, hidden ones too."""
        return 0 if parent is not None and parent.isValid() else len(Column)

    def flags(self, index: QModelIndex | QPersistentModelIndex) -> Qt.ItemFlag:
        """Names can be edited."""
        flags = Qt.ItemFlag.ItemIsEnabled | Qt.ItemFlag.ItemIsSelectable
        return flags | Qt.ItemFlag.ItemIsEditable if index.column() == Column.NAME else flags

    def data(self, index: QModelIndex | QPersistentModelIndex, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        """Text, tool tip and alignment of a cell; colour, lock and eye have no text to draw."""
        row, column = self._rows[index.row()], Column(index.column())
        if role == Qt.ItemDataRole.AccessibleTextRole:
            return row.text(column)
        if role in (Qt.ItemDataRole.DisplayRole, Qt.ItemDataRole.EditRole):
            return row.text(column) if column in (Column.NAME, *NUMBERS) else None
        if role == Qt.ItemDataRole.ToolTipRole:
            return row.tip(column)
        if role == Qt.ItemDataRole.TextAlignmentRole:
            side = Qt.AlignmentFlag.AlignRight if column in NUMBERS else Qt.AlignmentFlag.AlignLeft
            return side | Qt.AlignmentFlag.AlignVCenter
        return None

    def headerData(  # noqa: N802
        self, section: int, orientation: Qt.Orientation, role: int = Qt.ItemDataRole.DisplayRole
    ) -> Any:
        """The heads of the columns."""
        if orientation != Qt.Orientation.Horizontal:
            return None
        column = Column(section)
        if role == Qt.ItemDataRole.DisplayRole:
            return ("mL" if self._has_size else "Voxels") if column is Column.SIZE else _HEADS.get(column, "")
        if role == Qt.ItemDataRole.ToolTipRole:
            return _HEAD_TIPS.get(column)
        if role == Qt.ItemDataRole.TextAlignmentRole and column in NUMBERS:
            return Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter
        return None

    def setData(  # noqa: N802
        self, index: QModelIndex | QPersistentModelIndex, value: Any, role: int = Qt.ItemDataRole.EditRole
    ) -> bool:
        """Emits a new name; an empty one leaves the old one."""
        name = " ".join(str(value).split())
        row = self._rows[index.row()]
        if role == Qt.ItemDataRole.EditRole and name and name != row.shown.name:
            self.renamed.emit(row.value, name)
        return False

    def _change(self, at: int, row: Row) -> None:
        before, self._rows[at] = self._rows[at], row
        for column in _differing(before, row):
            self.dataChanged.emit(self.index(at, column), self.index(at, column))

    def _remove_others(self, values: set[int]) -> None:
        for at in reversed(range(len(self._rows))):
            if self._rows[at].value not in values:
                self.beginRemoveRows(QModelIndex(), at, at)
                del self._rows[at]
                self.endRemoveRows()


def _differing(before: Row, after: Row) -> Iterator[Column]:
    """The columns in which two rows of one object look different."""
    if before == after:
        return
    for column in Column:
        if before.text(column) != after.text(column) or before.tip(column) != after.tip(column):
            yield column
