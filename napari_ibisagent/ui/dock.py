"""The dock: state, mode, conversation, gate, composer, objects. Shows state and emits intents; decides nothing."""

from __future__ import annotations

import numpy as np
from qtpy.QtCore import Signal
from qtpy.QtWidgets import (
    QComboBox,
    QGridLayout,
    QHBoxLayout,
    QHeaderView,
    QLabel,
    QPushButton,
    QSpinBox,
    QTableWidget,
    QTableWidgetItem,
    QVBoxLayout,
    QWidget,
)

from napari_ibisagent.agent.stop import MAX_STEPS
from napari_ibisagent.core.session import Patch, Session
from napari_ibisagent.core.volume import Volume
from napari_ibisagent.ui.composer import Composer
from napari_ibisagent.ui.conversation import Conversation


class Dock(QWidget):  # type: ignore[misc]
    """The widgets; ``show_state`` fills them, the signals say what the user wants."""

    accepted, flipped, refused, cancelled, kept, undone, redone = (Signal() for _ in range(7))
    review_changed = Signal(bool)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("ibisagent-dock")
        self.setMinimumWidth(320)
        self.scan = QLabel("Open a scan to begin.")
        self.scan.setWordWrap(True)
        self.mode = QComboBox()
        self.mode.addItems(["Review each step", "Run"])
        self.budget = QSpinBox()
        self.budget.setRange(1, 100)
        self.budget.setValue(MAX_STEPS)
        self.budget.setSuffix(" steps at most")
        self.conversation = Conversation()
        self.composer = Composer()
        self.buttons = {
            "accept": QPushButton("Accept (A)"),
            "flip": QPushButton("Flip (T)"),
            "refuse": QPushButton("Reject (X)"),
            "undo": QPushButton("Undo (Ctrl+Z)"),
            "redo": QPushButton("Redo (Ctrl+Shift+Z)"),
            "keep": QPushButton("Keep as object (C)"),
            "cancel": QPushButton("Cancel (Esc)"),
        }
        self.objects = QTableWidget(0, 4)
        self.objects.setHorizontalHeaderLabels(["", "Name", "Label", "mL"])
        self.objects.horizontalHeader().setSectionResizeMode(1, QHeaderView.ResizeMode.Stretch)
        self.objects.verticalHeader().hide()
        self.objects.setMaximumHeight(140)
        self._lay_out()
        self._connect()

    def show_state(self, session: Session, volume: Volume, running: bool, undo: bool, redo: bool) -> None:
        """Enables what can be done now and fills the object table."""
        episode = session.episode
        waiting = episode is not None and episode.pending is not None and episode.pending.verdict is None
        gate = waiting and running and self.mode.currentIndex() == 0
        for name in ("accept", "flip", "refuse"):
            self.buttons[name].setEnabled(gate)
        self.buttons["cancel"].setEnabled(running)
        self.buttons["undo"].setEnabled(undo and not running)
        self.buttons["redo"].setEnabled(redo and not running)
        has_mask = episode is not None and bool(episode.mask) and not running
        self.buttons["keep"].setEnabled(has_mask)
        self._fill_objects(session, volume)

    def _fill_objects(self, session: Session, volume: Volume) -> None:
        self.objects.setRowCount(len(session.objects))
        for row, found in enumerate(session.objects):
            patches = [p for p in session.patches if isinstance(p, Patch) and p.value == found.value]
            voxels = sum(int(np.count_nonzero(patch.mask.array())) for patch in patches)
            ml = "" if volume.voxel_ml is None else f"{voxels * volume.voxel_ml:.1f}"
            for column, text in enumerate(("■", found.name, str(found.value), ml)):
                item = QTableWidgetItem(text)
                if column == 0:
                    from qtpy.QtGui import QColor

                    item.setForeground(QColor(found.colour))
                self.objects.setItem(row, column, item)
        self.objects.resizeColumnToContents(0)

    def _lay_out(self) -> None:
        modes = QHBoxLayout()
        modes.addWidget(self.mode, 1)
        modes.addWidget(self.budget)
        grid = QGridLayout()
        for at, name in enumerate(("accept", "flip", "refuse")):
            grid.addWidget(self.buttons[name], 0, 2 * at, 1, 2)
        for at, name in enumerate(("undo", "redo")):
            grid.addWidget(self.buttons[name], 1, 3 * at, 1, 3)
        for at, name in enumerate(("keep", "cancel")):
            grid.addWidget(self.buttons[name], 2, 3 * at, 1, 3)
        column = QVBoxLayout(self)
        column.setContentsMargins(8, 8, 8, 8)
        column.setSpacing(6)
        column.addWidget(self.scan)
        column.addLayout(modes)
        column.addWidget(self.conversation, 1)
        column.addLayout(grid)
        column.addWidget(self.composer)
        column.addWidget(self.objects)

    def _connect(self) -> None:
        for name, signal in (
            ("accept", self.accepted),
            ("flip", self.flipped),
            ("refuse", self.refused),
            ("undo", self.undone),
            ("redo", self.redone),
            ("keep", self.kept),
            ("cancel", self.cancelled),
        ):
            self.buttons[name].clicked.connect(signal)
        self.mode.currentIndexChanged.connect(lambda at: self.review_changed.emit(at == 0))
