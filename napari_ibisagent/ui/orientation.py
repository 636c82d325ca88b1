"""``Compass``: R/L/A/P/S/I at the edges of napari's canvas, and the cursor's place in the patient in the status bar.

It shows nothing that it doesn't know: no letters in 3D, without a scan, or for a picture that doesn't say where the
patient's sides are. The letters are Qt labels above the canvas, so napari's canvas-only screenshots leave them out.
"""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import numpy as np
from qtpy.compat import isalive
from qtpy.QtCore import QEvent, QObject, QPoint, QRect, Qt
from qtpy.QtWidgets import QLabel, QMainWindow, QWidget

from napari_ibisagent.core.geometry import Affine
from napari_ibisagent.core.orientation import Edges, axis_letters, edge_letters, patient_point, point_text
from napari_ibisagent.core.volume import Volume
from napari_ibisagent.ui.naparis_canvas import canvas_of
from napari_ibisagent.ui.scan import scan_of

# White on translucent black reads above black and above white voxels, and in either theme. The whole font is given
# because napari's own style sheet would otherwise change it with the theme's.
_LETTER_STYLE = """
QLabel {
    color: white; background-color: rgba(0, 0, 0, 150); border: none; border-radius: 4px;
    padding: 1px 6px; margin: 0px; font-size: 14px; font-weight: 700;
}
"""
_MARGIN = 8  # pixels between a letter and its edge of the canvas
_WIDEST_POINT = "R 8888.8  A 8888.8  S 8888.8 mm"  # room for it is kept, so that the status bar doesn't jump

# The layer's events after which its axes may run elsewhere.
_LAYER_EVENTS = ("scale", "translate", "rotate", "shear", "affine", "data", "metadata")


class Compass(QObject):  # type: ignore[misc]
    """The letters and the cursor's patient coordinates for one viewer.

    Args:
        viewer: the napari viewer.
        window: its main window, for the canvas and the status bar.
    """

    def __init__(self, viewer: Any, window: QMainWindow) -> None:
        self._canvas = canvas_of(window)
        super().__init__(self._canvas)
        self._viewer = viewer
        self._layer: Any = None
        self._status_bar = window.statusBar()
        self._letters = {field.name: _letter_label(self._canvas, field.name) for field in fields(Edges)}
        self._point = _point_label()
        self._status_bar.addPermanentWidget(self._point)
        self._point.hide()
        self._closed = False
        # napari keeps the cursor's old place in its world when another plane comes under a resting mouse.
        self._is_stale = False
        for event in self._viewer_events():
            event.connect(self._on_turned)
        viewer.layers.events.removed.connect(self._on_layer_removed)
        # Moves of the mouse alone wouldn't do: the place also changes when the slice does under a resting mouse.
        viewer.cursor.events.position.connect(self._refresh_point)
        viewer.mouse_move_callbacks.append(self._on_mouse_move)
        viewer.events.mouse_over_canvas.connect(self._refresh_point)
        self._canvas.installEventFilter(self)

    def set_scan(self, layer: Any | None) -> None:
        """Shows the sides of the image layer whose metadata hold a ``Scan``; None: there is no scan."""
        self._drop_layer()
        self._layer = layer
        if layer is not None:
            for name in _LAYER_EVENTS:
                getattr(layer.events, name).connect(self._refresh)
        self._refresh()

    def close(self) -> None:
        """Takes the labels, the callbacks and the event filter away. A second call does nothing."""
        if self._closed:
            return
        self._closed = True
        self._drop_layer()
        for event in self._viewer_events():
            event.disconnect(self._on_turned)
        self._viewer.layers.events.removed.disconnect(self._on_layer_removed)
        self._viewer.cursor.events.position.disconnect(self._refresh_point)
        self._viewer.mouse_move_callbacks.remove(self._on_mouse_move)
        self._viewer.events.mouse_over_canvas.disconnect(self._refresh_point)
        # Qt has already deleted what lay in a window that was closed first.
        if isalive(self._canvas):
            self._canvas.removeEventFilter(self)
            self.setParent(None)
        if isalive(self._point):
            self._status_bar.removeWidget(self._point)
        for label in (*self._letters.values(), self._point):
            if isalive(label):
                label.hide()
                label.deleteLater()

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:  # noqa: N802
        """Keeps the letters at the edges when the canvas changes its size; swallows nothing."""
        if event.type() == QEvent.Type.Resize and not self._closed:
            self._place()
        return False

    def _viewer_events(self) -> tuple[Any, ...]:
        """The viewer's events after which the letters may be others, and other voxels lie under the mouse."""
        dims = self._viewer.dims.events
        camera = self._viewer.scene.camera.events
        return dims.order, dims.ndisplay, dims.ndim, camera.orientation, self._viewer.events.reset_view

    def _drop_layer(self) -> None:
        if self._layer is not None:
            for name in _LAYER_EVENTS:
                getattr(self._layer.events, name).disconnect(self._refresh)
        self._layer = None

    def _on_layer_removed(self, event: Any) -> None:
        if event.value is self._layer:
            self.set_scan(None)

    def _on_turned(self, _event: Any = None) -> None:
        self._is_stale = True
        self._refresh()

    def _on_mouse_move(self, _viewer: Any, _event: Any) -> None:
        self._is_stale = False
        self._refresh_point()

    def _volume(self) -> Volume | None:
        """The volume of the layer, or None where its sides are unknown or the layer's voxels aren't the scan's."""
        scan = None if self._layer is None else scan_of(self._layer.metadata)
        if scan is None or not scan.volume.has_orientation or self._layer.data.shape != scan.volume.data.shape:
            return None
        return scan.volume

    def _refresh(self, _event: Any = None) -> None:
        """Brings the letters and the point up to date."""
        edges = self._edges()
        for name, label in self._letters.items():
            text = "" if edges is None else getattr(edges, name)
            if label.text() != text:
                label.setText(text)
                label.adjustSize()
            label.setVisible(bool(text))
        self._place()
        volume = self._volume()
        self._point.setVisible(volume is not None and volume.has_spacing)
        self._refresh_point()

    def _edges(self) -> Edges | None:
        """The letters for what the canvas shows, or None where there are none to show."""
        volume, dims = self._volume(), self._viewer.dims
        if volume is None or dims.ndisplay != 2:
            return None
        # A layer's axes are the last ones of the viewer's; along an earlier one the scan doesn't extend.
        rows, columns = (int(axis) - (dims.ndim - 3) for axis in dims.displayed)
        if rows < 0 or columns < 0:
            return None
        vertical, horizontal = (str(way) for way in self._viewer.scene.camera.orientation2d)
        return edge_letters(
            axis_letters(_world_affine(self._layer, volume)), (rows, columns), (vertical == "up", horizontal == "left")
        )

    def _refresh_point(self, _event: Any = None) -> None:
        text = self._point_text()
        if self._point.text() != text:
            self._point.setText(text)

    def _point_text(self) -> str:
        """The cursor's place in the patient, or "" where it is over no voxel of the scan."""
        volume, viewer = self._volume(), self._viewer
        if self._is_stale or not viewer.mouse_over_canvas or viewer.dims.ndisplay != 2:
            return ""
        if volume is None or not volume.has_spacing:
            return ""
        voxel = self._layer.world_to_data(viewer.cursor.position)
        if not all(-0.5 <= at < size - 0.5 for at, size in zip(voxel, volume.shape, strict=True)):
            return ""
        return point_text(patient_point(volume.affine, voxel))

    def _place(self) -> None:
        """Puts each letter at the middle of its edge."""
        area = self._canvas.rect().adjusted(_MARGIN, _MARGIN, -_MARGIN, -_MARGIN)
        for name, label in self._letters.items():
            frame = QRect(QPoint(0, 0), label.size())
            frame.moveCenter(area.center())
            getattr(frame, f"move{name.capitalize()}")(getattr(area, name)())
            label.move(frame.topLeft())
            label.raise_()


def _letter_label(canvas: QWidget, name: str) -> QLabel:
    label = QLabel(canvas)
    label.setObjectName(f"ibisagent-orientation-{name}")
    label.setTextFormat(Qt.TextFormat.PlainText)
    label.setAttribute(Qt.WidgetAttribute.WA_TransparentForMouseEvents)
    label.setStyleSheet(_LETTER_STYLE)
    label.hide()
    return label


def _point_label() -> QLabel:
    label = QLabel()
    label.setObjectName("ibisagent-patient-point")
    label.setTextFormat(Qt.TextFormat.PlainText)
    label.setAlignment(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
    label.setToolTip(
        "Where the cursor is in the patient, in mm from the scanner's origin: right/left, front/back, up/down"
    )
    label.setMinimumWidth(label.fontMetrics().horizontalAdvance(_WIDEST_POINT) + 8)
    return label


def _world_affine(layer: Any, volume: Volume) -> Affine:
    """The affine (4, 4) from directions (x, y, z, 0) of napari's world to RAS+ mm; it carries no origin.

    Through the layer's own transform, so that a negative scale, a rotation or a shear is followed like any other.
    """
    origin = np.asarray(layer.world_to_data((0.0, 0.0, 0.0)))
    steps = np.stack([np.asarray(layer.world_to_data(unit)) - origin for unit in np.eye(3)], axis=1)
    turn = np.eye(4)
    turn[:3, :3] = steps[::-1, ::-1]  # (z, y, x) to (x, y, z) on both sides
    return np.asarray(volume.affine @ turn, dtype=np.float64)
