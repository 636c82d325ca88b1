"""The layers of a scan: clicks, boxes, the working mask, the committed labels. They show state and keep none.

A layer is made when it is first needed, and again when a person has deleted it. What a person paints is told as an
intent and then drawn anew from the state. No two layers are ever removed within one turn of the event loop: napari
0.9.2 draws freed buffers then, which ends the process.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from napari.components import ViewerModel
from napari.layers import Image, Labels, Layer, Points, Shapes
from qtpy.QtCore import QObject, QTimer, Signal

from napari_ibisagent.core.actions import Box, Click
from napari_ibisagent.core.episode import Author
from napari_ibisagent.core.overlay import NEGATIVE, POSITIVE
from napari_ibisagent.core.session import Patch, Session, labels_in_slice, labels_of
from napari_ibisagent.core.view import AXES, Plane, View, slice_of, view_of
from napari_ibisagent.ui.exhibit import Exhibit, Mark
from napari_ibisagent.ui.scan import NAMES, SCAN, Scan

# Small in the data, so that the slice slider keeps the scan's own range; the canvas shows this many pixels.
_CLICK_SIZE, _CLICK_PIXELS = 0.5, 14
_WORKING_COLOUR = "#22c322"
# Told apart from black, grey, white and the masks alike.
_NUMBER_COLOUR = "#f03cd6"
_WORKING, _CLICKS, _BOXES, _LABELS = "mask", "clicks", "boxes", "labels"


class ScanLayers(QObject):  # type: ignore[misc]
    """The layers that belong to one scan in a viewer."""

    painted = Signal(object, int, object)  # plane, index, mask (rows, columns) bool
    clicked = Signal(float, float)  # normalised (x, y) on the view that is shown: napari's own adding of points
    moved = Signal(object, float, float)  # a proposed click, and the normalised (x, y) where it was dragged
    made = Signal(object)  # a new layer, whose keys are to be bound

    def __init__(self, viewer: ViewerModel, image: Image, scan: Scan, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._viewer = viewer
        self._image = image
        self._scan = scan
        self._layers: dict[str, Layer] = {}
        self._drawing = False
        self._drawn: tuple[Plane, int] | None = None
        self._exhibit: Exhibit | None = None
        self.opacity = 0.35

    @property
    def own(self) -> tuple[Layer, ...]:
        """The layers that are in the viewer now."""
        return tuple(layer for layer in self._layers.values() if layer in self._viewer.layers)

    # -- drawing -----------------------------------------------------------------------------------------

    def show_exhibit(self, exhibit: Exhibit | None) -> None:
        """Draws a slice's mask, clicks and boxes; costs the same whatever the number of slices."""
        old, self._exhibit = self._exhibit, exhibit
        if exhibit is None or (old == exhibit and self._complete(exhibit)):
            return
        view = view_of(self._scan.volume, exhibit.plane, exhibit.index)
        with self._own_hand():
            if _WORKING not in self._there() or old is None or not _same_mask(old, exhibit):
                self._draw_mask(exhibit, view)
            self._draw_clicks(_clicks_of(exhibit), view)
            self._draw_boxes([m for m in exhibit.marks if isinstance(m.action, Box)], view)

    def preview(self, click: Click, x: float, y: float) -> None:
        """Shows a proposed click elsewhere while it is dragged."""
        layer, exhibit = self._there().get(_CLICKS), self._exhibit
        at = self._row_of(click)
        if layer is None or exhibit is None or at is None:
            return
        data = layer.data.copy()
        data[at] = view_of(self._scan.volume, exhibit.plane, exhibit.index).voxel_of(x, y)
        with self._own_hand():
            layer.data = data

    def rubber_band(self, box: Box | None) -> None:
        """Shows a box while it is being drawn."""
        place = self.place()
        if box is None or place is None:
            return
        marks = [] if self._exhibit is None else [m for m in self._exhibit.marks if isinstance(m.action, Box)]
        with self._own_hand():
            band = Mark(box, Author.HUMAN, False, 0)
            self._draw_boxes([*marks, band], view_of(self._scan.volume, *place))

    def world_of(self, click: Click, exhibit: Exhibit) -> Any:
        """The world position of a click, one number for each axis of the viewer."""
        voxel = view_of(self._scan.volume, exhibit.plane, exhibit.index).voxel_of(click.x, click.y)
        world = np.array(self._viewer.dims.point, float)
        world[-self._image.ndim :] = self._image.data_to_world(voxel[-self._image.ndim :])
        return world

    def redraw(self) -> None:
        """Draws the same again, over what a person has painted."""
        exhibit, self._exhibit = self._exhibit, None
        self.show_exhibit(exhibit)

    def show_objects(self, old: Session, new: Session) -> None:
        """Draws the committed labels: only the slices whose patches differ."""
        if new.patches == old.patches and new.objects == old.objects and _LABELS in self._there():
            return
        with self._own_hand():
            layer = self._there().get(_LABELS)
            if layer is None:
                if not new.patches and not new.objects:
                    return
                layer = self._add_labels(_LABELS, 0.5)
                layer.data = labels_of(new, self._scan.volume.shape)
                layer.editable = False  # a stroke here would not be in the session, and would be lost
            elif new.patches != old.patches:
                self._draw_patches(layer, old, new)
            colours: dict[int | None, str] = {row.value: row.colour for row in new.objects if row.visible}
            layer.colormap = {0: "transparent", None: "transparent"} | colours
            layer.metadata = layer.metadata | {NAMES: {row.value: row.name for row in new.objects}}
            layer.refresh()

    def go_to(self, plane: Plane, index: int) -> None:
        """Moves the viewer to a slice; turns to its plane where another one is shown."""
        offset = self._viewer.dims.ndim - 3
        sliced, row_axis, column_axis = (axis + offset for axis in AXES[plane])
        if self._viewer.dims.ndisplay == 2 and set(self._viewer.dims.displayed) != {row_axis, column_axis}:
            rest = tuple(axis for axis in range(offset))
            self._viewer.dims.order = (*rest, sliced, row_axis, column_axis)
        if sliced < offset + 3 - self._image.ndim:
            return  # a flat picture has no other slice
        voxel = [0.0, 0.0, 0.0]
        voxel[AXES[plane][0]] = float(index)
        world = self._image.data_to_world(voxel[-self._image.ndim :])
        self._viewer.dims.set_point(sliced, float(world[sliced - offset]))

    def brush(self, mode: str) -> None:
        """Makes the working mask the active layer, in one of napari's modes: "paint", "erase", "polygon"."""
        with self._own_hand():
            layer = self._there().get(_WORKING) or self._make_working()
        self._viewer.layers.selection.active = layer
        layer.mode = mode

    def rest(self) -> None:
        """Leaves brush and eraser: the scan is the active layer again."""
        working = self._there().get(_WORKING)
        if working is not None:
            working.mode = "pan_zoom"
        if self._image in self._viewer.layers:
            self._viewer.layers.selection.active = self._image

    # -- what is shown -----------------------------------------------------------------------------------

    def place(self) -> tuple[Plane, int] | None:
        """The plane and slice that the viewer shows, or None in 3D."""
        dims = self._viewer.dims
        if dims.ndisplay != 2:
            return None
        hidden = ({0, 1, 2} - {axis - (dims.ndim - 3) for axis in dims.displayed}) & {0, 1, 2}
        if len(hidden) != 1:
            return None
        axis = hidden.pop()
        plane = next(plane for plane, axes in AXES.items() if axes[0] == axis)
        voxel = self._voxel(dims.point)
        return plane, int(np.clip(np.rint(voxel[axis]), 0, self._scan.volume.shape[axis] - 1))

    def point_at(self, world: Any) -> tuple[View, float, float] | None:
        """The view that is shown and the normalised (x, y) of a world position on it; None outside of the scan."""
        place = self.place()
        if place is None:
            return None
        view = view_of(self._scan.volume, *place)
        x, y = view.point_of_voxel(self._voxel(world))
        return (view, round(x, 4), round(y, 4)) if 0.0 <= x <= 1.0 and 0.0 <= y <= 1.0 else None

    # -- the parts ---------------------------------------------------------------------------------------

    def _voxel(self, world: Any) -> tuple[float, float, float]:
        """The voxel index (z, y, x), with fractions, of a world position; z is 0 in a flat picture."""
        found = [float(v) for v in self._image.world_to_data(world)][-3:]
        z, y, x = [0.0] * (3 - len(found)) + found
        return z, y, x

    def _there(self) -> dict[str, Any]:
        return {key: layer for key, layer in self._layers.items() if layer in self._viewer.layers}

    def _complete(self, exhibit: Exhibit) -> bool:
        there = self._there()
        return _WORKING in there and (_CLICKS in there or not exhibit.marks)

    def _draw_mask(self, exhibit: Exhibit, view: View) -> None:
        layer = self._there().get(_WORKING)
        if layer is None:
            if exhibit.mask is None:
                return
            layer = self._make_working()
        if self._drawn is not None and self._drawn != (exhibit.plane, exhibit.index):
            slice_of(layer.data, *self._drawn)[...] = 0
        native = view.to_native(exhibit.mask.array()) if exhibit.mask else np.zeros(view.native, bool)
        slice_of(layer.data, exhibit.plane, exhibit.index)[...] = native
        self._drawn = (exhibit.plane, exhibit.index)
        layer.refresh(thumbnail=False, extent=False)

    def _draw_clicks(self, marks: list[Mark], view: View) -> None:
        layer = self._there().get(_CLICKS)
        if layer is None:
            if not marks:
                return
            layer = self._make_clicks()
        clicks = [mark.action for mark in marks if isinstance(mark.action, Click)]
        _put(layer, "data", np.array([view.voxel_of(click.x, click.y) for click in clicks]).reshape(-1, 3))
        if not clicks:
            return
        colours = np.array([_rgba(POSITIVE if click.positive else NEGATIVE) for click in clicks])
        filled = np.array([mark.done or mark.author is Author.HUMAN for mark in marks])
        _put(layer, "face_color", colours * filled[:, np.newaxis])
        _put(layer, "border_color", colours)
        _put(layer, "symbol", np.array(["disc" if mark.author is Author.AGENT else "cross" for mark in marks]))
        _put(layer, "size", np.full(len(marks), _CLICK_SIZE))
        numbers = [str(mark.number) for mark in marks]
        if list(layer.features["step"]) != numbers:
            layer.features = {"step": numbers}

    def _draw_boxes(self, marks: list[Mark], view: View) -> None:
        layer = self._there().get(_BOXES)
        if layer is None:
            if not marks:
                return
            layer = self._make_boxes()
        layer.data = []
        for mark in marks:
            colour = _rgba(POSITIVE)
            layer.add_rectangles(
                _corners(mark.action, view),
                edge_color=colour,
                face_color=(0, 0, 0, 0) if mark.done else (*colour[:3], 0.12),
                edge_width=1,
            )

    def _draw_patches(self, layer: Any, old: Session, new: Session) -> None:
        """Draws the slices whose patches differ; the whole volume only where planes are mixed."""
        same = 0
        while same < min(len(old.patches), len(new.patches)) and old.patches[same] is new.patches[same]:
            same += 1
        changed = (*old.patches[same:], *new.patches[same:])
        values = {patch.value for patch in changed if not isinstance(patch, Patch)}
        every = [patch for patch in (*old.patches, *new.patches) if isinstance(patch, Patch)]
        shape = self._scan.volume.shape
        if len({patch.plane for patch in every}) > 1:
            layer.data = labels_of(new, shape)
            return
        places = {(patch.plane, patch.index) for patch in every if patch.value in values or patch in changed}
        for plane, index in places:
            slice_of(layer.data, plane, index)[...] = labels_in_slice(new, shape, plane, index)

    # -- making layers -----------------------------------------------------------------------------------

    def _make_working(self) -> Any:
        layer = self._add_labels(_WORKING, self.opacity)
        layer.colormap = {0: "transparent", 1: _WORKING_COLOUR, None: _WORKING_COLOUR}
        layer.selected_label = 1
        layer.events.paint.connect(self._was_painted)
        self._drawn = None
        return layer

    def _make_clicks(self) -> Any:
        with self._keeping_active():
            layer = Points(
                np.empty((0, 3)),
                name=self._name(_CLICKS),
                size=_CLICK_SIZE,
                border_width=0.2,
                features={"step": np.empty(0, dtype=object)},
                text={"string": "  {step}", "color": _NUMBER_COLOUR, "size": 11, "anchor": "lower_left"},
                **self._grid(),
            )
            self._insert(_CLICKS, layer)
        layer.canvas_size_limits = (_CLICK_PIXELS, _CLICK_PIXELS)
        layer.events.data.connect(self._points_changed)
        return layer

    def _make_boxes(self) -> Any:
        with self._keeping_active():
            layer = Shapes(ndim=3, name=self._name(_BOXES), **self._grid())
            self._insert(_BOXES, layer)
        return layer

    def _add_labels(self, key: str, opacity: float) -> Any:
        with self._keeping_active():
            empty = np.zeros(self._scan.volume.shape, np.uint8)
            layer = Labels(empty, name=self._name(key), opacity=opacity, metadata={SCAN: self._scan}, **self._grid())
            layer.n_edit_dimensions = 2
            self._insert(key, layer)
        return layer

    def _insert(self, key: str, layer: Layer) -> None:
        """Puts a new layer into its place: the labels right over the scan, then mask, boxes, clicks."""
        order = (_LABELS, _WORKING, _BOXES, _CLICKS)
        there, below = self._there(), order[: order.index(key)]
        under = [self._image, *(there[name] for name in below if name in there)]
        places = [self._viewer.layers.index(one) for one in under if one in self._viewer.layers]
        self._layers[key] = layer
        self._viewer.layers.insert(max(places, default=len(self._viewer.layers) - 1) + 1, layer)
        self.made.emit(layer)

    def _name(self, key: str) -> str:
        return f"{self._scan.volume.name} {key}"

    def _grid(self) -> dict[str, Any]:
        """Where the layers lie: as the scan's does. A flat picture gets a first axis of one slice."""
        image = self._image
        if image.ndim == 3:
            return {"scale": image.scale, "translate": image.translate, "affine": image.affine}
        return {"scale": (1.0, *image.scale[-2:]), "translate": (0.0, *image.translate[-2:])}

    @contextmanager
    def _keeping_active(self) -> Iterator[None]:
        """A new layer becomes the active one; its own keys (A selects all points) would hide the gate's."""
        active = self._viewer.layers.selection.active
        try:
            yield
        finally:
            self._viewer.layers.selection.active = active

    @contextmanager
    def _own_hand(self) -> Iterator[None]:
        """What is drawn in here isn't an intent of the user's."""
        before, self._drawing = self._drawing, True
        try:
            yield
        finally:
            self._drawing = before

    def _row_of(self, click: Click) -> int | None:
        """The row of a proposed click in the Points layer."""
        marks = _clicks_of(self._exhibit)
        return next((n for n, mark in enumerate(marks) if not mark.done and mark.action == click), None)

    def _points_changed(self, event: Any) -> None:
        """The user worked on the Points layer with napari's own tools. What isn't an intent is drawn as it was."""
        layer = self._there().get(_CLICKS)
        if self._drawing or layer is None or event.action not in ("added", "changed", "removed"):
            return
        marks = _clicks_of(self._exhibit)
        rows = [int(row) % max(len(layer.data), 1) for row in event.data_indices]
        if event.action == "added" and rows:
            self._tell_place(layer.data_to_world(layer.data[rows[-1]]), None)
        elif event.action == "changed":
            for row in rows:
                if row < len(marks) and not marks[row].done:
                    self._tell_place(layer.data_to_world(layer.data[row]), marks[row].action)
        QTimer.singleShot(0, self.redraw)

    def _tell_place(self, world: Any, click: Any) -> None:
        place = self.point_at(world)
        if place is None:
            return
        _, x, y = place
        if click is None:
            self.clicked.emit(x, y)
        else:
            self.moved.emit(click, x, y)

    def _was_painted(self, _: Any) -> None:
        """A stroke of the user's has ended."""
        place = self.place()
        layer = self._there().get(_WORKING)
        if self._drawing or layer is None:
            return
        if place is None:
            self.redraw()
            return
        plane, index = place
        native = np.array(slice_of(layer.data, plane, index)) != 0
        if self._drawn is not None and self._drawn != place:
            slice_of(layer.data, *self._drawn)[...] = 0
        self._drawn = place
        self.painted.emit(plane, index, native)


def _clicks_of(exhibit: Exhibit | None) -> list[Mark]:
    return [] if exhibit is None else [mark for mark in exhibit.marks if isinstance(mark.action, Click)]


def _put(layer: Any, name: str, value: Any) -> None:
    """Sets an attribute where it differs: napari draws the whole layer again for each one, some ms a time."""
    if not np.array_equal(np.asarray(getattr(layer, name)).astype(value.dtype), value):
        setattr(layer, name, value)


def _same_mask(one: Exhibit, other: Exhibit) -> bool:
    return (one.plane, one.index, one.mask) == (other.plane, other.index, other.mask)


def _rgba(colour: tuple[int, int, int]) -> tuple[float, float, float, float]:
    red, green, blue = (value / 255 for value in colour)
    return red, green, blue, 1.0


def _corners(box: Click | Box, view: View) -> Any:
    """The corners (4, 3) of a box in voxels (z, y, x)."""
    if isinstance(box, Click):
        raise TypeError("A click has no corners.")
    points = ((box.x0, box.y0), (box.x1, box.y0), (box.x1, box.y1), (box.x0, box.y1))
    return np.array([view.voxel_of(x, y) for x, y in points])
