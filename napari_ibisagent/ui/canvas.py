"""The mouse on the canvas: placing a click, drawing a box, dragging a proposed click. Emits intents, keeps no state.

Works whichever layer is active, through the viewer's drag callbacks. With no tool chosen the mouse is napari's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from enum import StrEnum
from typing import Any

import numpy as np
from napari.components import ViewerModel
from qtpy.QtCore import QObject, Signal

from napari_ibisagent.core.actions import Box, Click
from napari_ibisagent.ui.exhibit import Exhibit
from napari_ibisagent.ui.layers import ScanLayers

# A proposed click is grabbed within so many pixels; a press that moves less is a click.
_GRAB_PIXELS, _STILL_PIXELS = 12.0, 4.0


class Tool(StrEnum):
    """What the mouse does on the canvas. The last three are modes of napari's own on the working mask."""

    NONE = ""
    POINT = "point"
    BOX = "box"
    BRUSH = "brush"
    ERASE = "erase"
    LASSO = "lasso"


class Mouse(QObject):  # type: ignore[misc]
    """Turns presses, drags and releases on the canvas into intents."""

    clicked = Signal(float, float)  # normalised (x, y) on the view that is shown
    boxed = Signal(object)  # a Box
    moved = Signal(object, float, float)  # a proposed click, and where it was dragged

    def __init__(
        self,
        viewer: ViewerModel,
        layers: Callable[[], ScanLayers | None],
        exhibit: Callable[[], Exhibit | None],
        parent: QObject | None = None,
    ) -> None:
        super().__init__(parent)
        self.tool = Tool.NONE
        self._viewer = viewer
        self._layers = layers
        self._exhibit = exhibit
        viewer.mouse_drag_callbacks.append(self._dragged)

    def close(self) -> None:
        """Lets go of the viewer."""
        if self._dragged in self._viewer.mouse_drag_callbacks:
            self._viewer.mouse_drag_callbacks.remove(self._dragged)

    def _dragged(self, viewer: Any, event: Any) -> Iterator[None]:
        """From press to release, as napari's drag callbacks are written."""
        layers = self._layers()
        start = None if layers is None else layers.point_at(event.position)
        if event.button != 1 or event.modifiers or layers is None or start is None:
            return
        grabbed, place = self._grabbed(layers, event.position), layers.place()
        if grabbed is None and self.tool not in (Tool.POINT, Tool.BOX):
            return
        pressed, panning = np.array(event.pos, float), viewer.scene.camera.mouse_pan
        if grabbed is not None or self.tool is Tool.BOX:
            viewer.scene.camera.mouse_pan = False
        end, still = start, True
        try:
            yield
            while event.type == "mouse_move":
                end = layers.point_at(event.position) or end
                still = still and float(np.linalg.norm(np.array(event.pos, float) - pressed)) <= _STILL_PIXELS
                if grabbed is not None:
                    layers.preview(grabbed, *end[1:])
                elif self.tool is Tool.BOX and not still:
                    layers.rubber_band(_box(start[1:], end[1:]))
                yield
        finally:
            viewer.scene.camera.mouse_pan = panning
        if layers.place() == place:  # else the slice was changed under the pressed button
            self._released(layers, grabbed, start[1:], end[1:], still)
        else:
            layers.redraw()

    def _released(
        self,
        layers: ScanLayers,
        grabbed: Click | None,
        start: tuple[float, float],
        end: tuple[float, float],
        still: bool,
    ) -> None:
        if grabbed is not None:
            if not still:
                self.moved.emit(grabbed, *end)
        elif self.tool is Tool.BOX:
            box = None if still else _box(start, end)
            layers.redraw()
            if box is not None:
                self.boxed.emit(box)
        elif still:
            self.clicked.emit(*start)

    def _grabbed(self, layers: ScanLayers, world: Any) -> Click | None:
        """The proposed click under the mouse."""
        exhibit = self._exhibit()
        if exhibit is None or layers.place() != (exhibit.plane, exhibit.index):
            return None
        reach = _GRAB_PIXELS / max(float(self._viewer.scene.camera.zoom), 1e-9)
        shown = list(self._viewer.dims.displayed)
        for mark in exhibit.proposed:
            if isinstance(mark.action, Click):
                at = layers.world_of(mark.action, exhibit)
                if float(np.linalg.norm((np.asarray(world) - at)[shown])) <= reach:
                    return mark.action
        return None


def _box(start: tuple[float, float], end: tuple[float, float]) -> Box | None:
    """The box between two corners, in whatever order they were drawn; None where it is empty."""
    (x0, x1), (y0, y1) = sorted((start[0], end[0])), sorted((start[1], end[1]))
    return Box(x0, y0, x1, y1) if x0 < x1 and y0 < y1 else None
