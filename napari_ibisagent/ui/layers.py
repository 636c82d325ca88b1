"""The layers of a scan: clicks, boxes, the working mask, the committed labels. They show state and keep none.

What a person paints is told as an intent and then drawn anew from the state. The mask and the clicks are made when
the session opens and hidden until they are needed: napari needs some 0.1 s for each, which a run must not wait for.
A layer that a person has deleted is made again when there is something to show.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from napari.components import ViewerModel
from napari.layers import Image, Layer
from qtpy.QtCore import QObject, QTimer, Signal

from napari_ibisagent.core.actions import Box, Click
from napari_ibisagent.core.episode import Author
from napari_ibisagent.core.packed import PackedMask
from napari_ibisagent.core.session import Session, labels_of
from napari_ibisagent.core.view import AXES, Plane, View, slice_of, view_of
from napari_ibisagent.ui import drawing
from napari_ibisagent.ui.exhibit import Exhibit, Mark
from napari_ibisagent.ui.scan import NAMES, SCAN, Scan, scan_of

# Where a layer's metadata say which of the scan's layers it is; from the bottom to the top.
_ROLE = "ibisagent_layer"
_LABELS, _WORKING, _BOXES, _CLICKS = _ORDER = ("labels", "mask", "boxes", "clicks")


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
        # The other slices that are drawn, each with its mask; None: something else lies there, to be drawn over.
        self._carried: dict[tuple[Plane, int], PackedMask | None] = {}
        self._exhibit: Exhibit | None = None
        self._hidden: set[str] = set()
        self._busy = 0
        self._stroking = self._behind = False
        self._in_back = False
        self._seen: dict[Layer, bool] = {}
        self._waiting: Exhibit | None = None
        self.opacity = 0.35
        for event in self._turns():
            event.connect(self._follow)

    @property
    def own(self) -> tuple[Layer, ...]:
        """The layers that are in the viewer now."""
        return tuple(layer for layer in self._layers.values() if layer in self._viewer.layers)

    @property
    def prepared(self) -> bool:
        """Whether the mask and the clicks are made, so that a run needn't wait for them."""
        return {_WORKING, _CLICKS} <= self._there().keys() and self._busy == 0

    @property
    def passing(self) -> tuple[Layer, ...]:
        """The layers that say nothing without a session: mask, clicks and boxes."""
        return tuple(layer for key, layer in self._there().items() if key != _LABELS)

    def close(self) -> None:
        """Hears nothing more of the layers; they stay in the viewer."""
        for key, layer in self._layers.items():
            if key == _WORKING:
                layer.events.paint.disconnect(self._was_painted)
                layer.mouse_drag_callbacks.remove(self._stroke)
            elif key == _CLICKS:
                layer.events.data.disconnect(self._points_changed)
        self._layers.clear()
        for event in self._turns():
            event.disconnect(self._follow)

    def prepare(self) -> None:
        """Makes the mask and the clicks and draws them once, empty and hidden; in several turns of the event loop."""
        self._find_left()
        wanted = [key for key in (_WORKING, _CLICKS) if key not in self._there()]
        self._busy = len(wanted)
        for turn, key in enumerate(wanted):
            QTimer.singleShot(40 * turn, self, lambda key=key: self._prepare(key))

    def _prepare(self, key: str) -> None:
        if self._image not in self._viewer.layers or key in self._there():
            self._busy -= 1
            return
        with self._own_hand():
            layer = self._make(key)
            if key == _CLICKS:
                drawing.warm_up(layer, self._viewer.dims.point[-3:])
        # The first drawing compiles what the graphics card needs; then the layer can go out of sight.
        QTimer.singleShot(40, self, lambda: self._hide(key))

    def _hide(self, key: str) -> None:
        self._busy -= 1
        layer, exhibit = self._there().get(key), self._exhibit
        if layer is not None and key == _CLICKS:
            drawing.warmed_up(layer)
        if layer is None or (exhibit is not None and (exhibit.mask is not None or exhibit.marks)):
            return
        with self._own_hand():
            if key == _CLICKS:
                drawing.put_points(layer, np.empty((0, 3)))
            layer.visible = False
        self._seen.pop(layer, None)
        self._hidden.add(key)

    # -- drawing -----------------------------------------------------------------------------------------

    def show_exhibit(self, exhibit: Exhibit | None) -> None:
        """Draws a slice's mask, clicks and boxes; costs the same whatever the number of slices."""
        if self._stroking:
            self._behind = True  # the user's stroke would be lost under it
            self._waiting = exhibit
            return
        old, self._exhibit = self._exhibit, exhibit
        if exhibit is None:
            self._clear()
        if exhibit is None or (old == exhibit and self._complete(exhibit)):
            return
        view = view_of(self._scan.volume, exhibit.plane, exhibit.index)
        with self._own_hand():
            if _WORKING not in self._there() or old is None or not _same_mask(old, exhibit):
                self._draw_mask(exhibit, view)
            self._draw_marks(exhibit, view)

    def preview(self, click: Click, x: float, y: float) -> None:
        """Shows a proposed click elsewhere while it is dragged."""
        layer, exhibit = self._there().get(_CLICKS), self._exhibit
        at = self._row_of(click)
        if layer is None or exhibit is None or at is None:
            return
        data = layer.data.copy()
        data[at] = view_of(self._scan.volume, exhibit.plane, exhibit.index).voxel_of(x, y)
        with self._own_hand():
            drawing.put_points(layer, data)

    def rubber_band(self, box: Box | None) -> None:
        """Shows a box while it is being drawn."""
        place = self.place()
        if box is None or place is None:
            return
        band = Mark(box, Author.HUMAN, False, 0)
        with self._own_hand():
            drawing.draw_boxes(
                self._need(_BOXES), [*_boxes_of(self._exhibit), band], view_of(self._scan.volume, *place)
            )

    def world_of(self, click: Click, exhibit: Exhibit) -> Any:
        """The world position of a click, one number for each axis of the viewer."""
        voxel = view_of(self._scan.volume, exhibit.plane, exhibit.index).voxel_of(click.x, click.y)
        world = np.array(self._viewer.dims.point, float)
        world[-self._image.ndim :] = self._image.data_to_world(voxel[-self._image.ndim :])
        return world

    def put_back(self) -> None:
        """Another scan comes to the front: everything of this one goes out of sight, as it was seen until now."""
        if self._in_back:
            return
        self.rest()
        self._in_back = True
        for layer in (self._image, *self.own):
            self._seen[layer] = layer.visible
            layer.visible = False

    def bring_front(self) -> None:
        """Brings back to sight what ``put_back`` has taken out of it."""
        self._in_back = False
        for layer, visible in self._seen.items():
            if layer in self._viewer.layers:
                layer.visible = visible
        self._seen.clear()
        self.rest()

    def redraw(self) -> None:
        """Draws the same again, over what a person has painted."""
        exhibit, self._exhibit = self._exhibit, None
        self._carried = dict.fromkeys(self._carried)
        self._stroking = False
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
                layer = self._make(_LABELS)
                layer.data = labels_of(new, self._scan.volume.shape)
                layer.editable = False  # a stroke here would not be in the session, and would be lost
            elif new.patches != old.patches:
                drawing.draw_labels(layer, old, new)
            drawing.colour_labels(layer, new)
            layer.metadata = layer.metadata | {NAMES: {row.value: row.name for row in new.objects}}
            layer.refresh()

    def go_to(self, plane: Plane, index: int) -> None:
        """Moves the viewer to a slice; turns to its plane where another one is shown."""
        self._viewer.dims.ndisplay = 2
        offset = self._viewer.dims.ndim - 3
        sliced, row_axis, column_axis = (axis + offset for axis in AXES[plane])
        if set(self._viewer.dims.displayed) != {row_axis, column_axis}:
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
            layer = self._need(_WORKING)
        drawing.drop_corners(layer)
        self._viewer.layers.selection.active = layer
        layer.mode = mode

    def rest(self) -> None:
        """Leaves brush and eraser: the scan is the active layer again."""
        working = self._there().get(_WORKING)
        if working is not None:
            drawing.drop_corners(working)
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

    def _clear(self) -> None:
        """Nothing was asked (any more): nothing of a slice is left on the canvas."""
        there = self._there()
        with self._own_hand():
            if _WORKING in there and self._drawn is not None:
                for place in (self._drawn, *self._carried):
                    slice_of(there[_WORKING].data, *place)[...] = 0
                there[_WORKING].refresh(thumbnail=False, extent=False)
            if _CLICKS in there:
                drawing.put_points(there[_CLICKS], np.empty((0, 3)))
            if _BOXES in there:
                there[_BOXES].data = []
        self._drawn = None
        self._carried = {}

    def _draw_mask(self, exhibit: Exhibit, view: View) -> None:
        if exhibit.mask is None and _WORKING not in self._there():
            return
        layer = self._need(_WORKING, show=exhibit.mask is not None)
        if self._drawn is not None and self._drawn != (exhibit.plane, exhibit.index):
            slice_of(layer.data, *self._drawn)[...] = 0
            self._carried.pop(self._drawn, None)
        self._draw_carried(layer, exhibit)
        native = view.to_native(exhibit.mask.array()) if exhibit.mask else np.zeros(view.native, bool)
        slice_of(layer.data, exhibit.plane, exhibit.index)[...] = native
        self._drawn = (exhibit.plane, exhibit.index)
        layer.refresh(thumbnail=False, extent=False)

    def _draw_carried(self, layer: Any, exhibit: Exhibit) -> None:
        """The slices that the mask was carried to; only those that differ from what is drawn."""
        wanted = {(exhibit.plane, done.index): done.mask for done in exhibit.carried}
        for place in self._carried.keys() - wanted.keys():
            slice_of(layer.data, *place)[...] = 0
        for place, mask in wanted.items():
            if self._carried.get(place) != mask:
                view = view_of(self._scan.volume, *place)
                slice_of(layer.data, *place)[...] = view.to_native(mask.array())
        self._carried = dict(wanted)

    def _draw_marks(self, exhibit: Exhibit, view: View) -> None:
        clicks = _clicks_of(exhibit)
        if clicks or _CLICKS in self._there():
            drawing.draw_clicks(self._need(_CLICKS, show=bool(clicks)), clicks, view)
        boxes = _boxes_of(exhibit)
        if boxes or _BOXES in self._there():
            drawing.draw_boxes(self._need(_BOXES), boxes, view)

    # -- making layers -----------------------------------------------------------------------------------

    def _need(self, key: str, *, show: bool = True) -> Any:
        """The layer of that role, made where it is missing; ``show``: what was hidden since it was empty appears."""
        layer = self._there().get(key)
        if layer is None:
            layer = self._make(key)
        if show and key in self._hidden:
            self._hidden.discard(key)
            self._show(layer)
        return layer

    def _show(self, layer: Layer) -> None:
        """Brings a layer to sight, once its scan is in front."""
        if self._in_back:
            self._seen[layer] = True
        layer.visible = not self._in_back

    def _make(self, key: str) -> Any:
        attributes = {
            "name": f"{self._scan.volume.name} {key}",
            "metadata": {SCAN: self._scan, _ROLE: key},
            **drawing.grid_of(self._image),
        }
        shape = self._scan.volume.shape
        make: dict[str, Callable[[], Layer]] = {
            _LABELS: lambda: drawing.labels_layer(shape, opacity=0.5, **attributes),
            _WORKING: lambda: drawing.mask_layer(shape, opacity=self.opacity, **attributes),
            _BOXES: lambda: drawing.boxes_layer(**attributes),
            _CLICKS: lambda: drawing.clicks_layer(**attributes),
        }
        layer = make[key]()
        if key == _WORKING:
            self._drawn, self._carried = None, {}
        # A new layer becomes the active one; its own keys (A selects all points) would hide the gate's.
        active = self._viewer.layers.selection.active
        self._viewer.layers.insert(self._place_of(key), layer)
        self._viewer.layers.selection.active = active
        self._take(key, layer)
        self._show(layer)
        return layer

    def _place_of(self, key: str) -> int:
        """Where a new layer goes: the labels right over the scan, then mask, boxes, clicks."""
        there = self._there()
        under = [self._image, *(there[name] for name in _ORDER[: _ORDER.index(key)] if name in there)]
        places = [self._viewer.layers.index(one) for one in under if one in self._viewer.layers]
        return max(places, default=len(self._viewer.layers) - 1) + 1

    def _take(self, key: str, layer: Layer) -> None:
        """Begins to hear of a layer."""
        self._layers[key] = layer
        if key == _WORKING:
            layer.events.paint.connect(self._was_painted)
            layer.mouse_drag_callbacks.append(self._stroke)
        elif key == _CLICKS:
            layer.events.data.connect(self._points_changed)
        self.made.emit(layer)

    def _turns(self) -> tuple[Any, ...]:
        events = self._image.events
        return events.scale, events.translate, events.rotate, events.shear, events.affine

    def _follow(self, _: Any) -> None:
        """The user has moved, flipped or stretched the scan: what is drawn on it goes along."""
        for layer in self.own:
            for name, value in drawing.grid_of(self._image).items():
                setattr(layer, name, value)

    def _find_left(self) -> None:
        """Takes the layers that an earlier dock has left in the viewer, empty: the session says what is on them."""
        for layer in tuple(self._viewer.layers):
            scan, key = scan_of(layer.metadata), layer.metadata.get(_ROLE)
            if key in _ORDER and key not in self._layers and scan is not None and scan.volume is self._scan.volume:
                self._empty(key, layer)
                self._take(key, layer)

    def _empty(self, key: str, layer: Any) -> None:
        if key in (_LABELS, _WORKING):
            layer.data = np.zeros(self._scan.volume.shape, np.uint8)
            self._carried = {} if key == _WORKING else self._carried
        else:
            layer.data = np.empty((0, 3)) if key == _CLICKS else []
        self._show(layer)

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

    def _stroke(self, layer: Any, event: Any) -> Iterator[None]:
        """From press to release on the mask: a step that comes in between is drawn afterwards."""
        self._stroking = layer.mode in ("paint", "erase", "fill")
        yield
        while event.type == "mouse_move":
            yield
        QTimer.singleShot(0, self, self._stroke_over)

    def _stroke_over(self) -> None:
        """What the stroke made was told by now."""
        self._stroking = False
        if self._behind:
            self._behind = False
            self.show_exhibit(self._waiting)

    def _was_painted(self, _: Any) -> None:
        """A stroke of the user's has ended. A lasso tells so before it is drawn."""
        layer = self._there().get(_WORKING)
        if self._drawing or layer is None:
            return
        if layer.mode == "polygon":
            QTimer.singleShot(0, self, self._read_stroke)
        else:
            self._read_stroke()

    def _read_stroke(self) -> None:
        place, layer = self.place(), self._there().get(_WORKING)
        if layer is None:
            return
        if place is None:
            layer.data[...] = 0
            self.redraw()
            return
        if place in self._carried:
            self._carried[place] = None
        plane, index = place
        native = np.array(slice_of(layer.data, plane, index)) != 0
        if layer.n_edit_dimensions > 2:
            layer.data[...] = 0  # a ball reaches into other slices, which a step can't hold
        elif self._drawn is not None and self._drawn != place:
            slice_of(layer.data, *self._drawn)[...] = 0
        self._drawn = place
        self.painted.emit(plane, index, native)


def _clicks_of(exhibit: Exhibit | None) -> list[Mark]:
    return [] if exhibit is None else [mark for mark in exhibit.marks if isinstance(mark.action, Click)]


def _boxes_of(exhibit: Exhibit | None) -> list[Mark]:
    return [] if exhibit is None else [mark for mark in exhibit.marks if isinstance(mark.action, Box)]


def _same_mask(one: Exhibit, other: Exhibit) -> bool:
    mine, others = (one.plane, one.index, one.mask), (other.plane, other.index, other.mask)
    return mine == others and one.carried == other.carried
