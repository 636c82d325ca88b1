"""Drawing on napari's layers: clicks, boxes, masks and labels. Knows no scan's state; ``layers`` says what and when."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from napari.layers import Image, Labels, Points, Shapes
from napari.layers.base import ActionType
from napari.utils.colormaps.standardize_color import transform_color
from numpy.typing import NDArray

from napari_ibisagent.core.actions import Box, Click
from napari_ibisagent.core.episode import Author
from napari_ibisagent.core.overlay import NEGATIVE, POSITIVE
from napari_ibisagent.core.session import Patch, Session, labels_in_slice, labels_of
from napari_ibisagent.core.view import View, slice_of
from napari_ibisagent.ui.exhibit import Mark

# Small in the data, so that the slice slider keeps the scan's own range; the canvas shows this many pixels.
_CLICK_SIZE, _CLICK_PIXELS = 0.5, 14
_MASK_COLOUR = "#22c322"
# Told apart from black, grey, white and the masks alike.
_NUMBER_COLOUR = "#f03cd6"
_NOTHING = (0.0, 0.0, 0.0, 0.0)

Colour = tuple[float, float, float, float]  # red, green, blue, opacity from 0 to 1


def grid_of(image: Image) -> dict[str, Any]:
    """Where layers of three axes lie: as the scan's does. A flat picture gets a first axis of one slice."""
    if image.ndim == 3:
        return {name: getattr(image, name) for name in ("scale", "translate", "rotate", "shear", "affine")}
    origin = np.array(image.data_to_world((0.0, 0.0)))
    affine = np.eye(4)  # of (z, y, x, 1)
    affine[1:3, 3] = origin
    for axis in (0, 1):
        affine[1:3, 1 + axis] = np.array(image.data_to_world(np.eye(2)[axis])) - origin
    return {"affine": affine}


def labels_layer(shape: tuple[int, int, int], **attributes: Any) -> Labels:
    """An empty labels layer (Z, Y, X), whose tools reach one slice only."""
    layer = Labels(np.zeros(shape, np.uint8), **attributes)
    layer.n_edit_dimensions = 2
    return layer


def mask_layer(shape: tuple[int, int, int], **attributes: Any) -> Labels:
    """An empty layer (Z, Y, X) for the working mask, ready for the brush."""
    layer = labels_layer(shape, **attributes)
    layer.colormap = {0: "transparent", 1: _MASK_COLOUR, None: _MASK_COLOUR}
    layer.selected_label = 1
    return layer


def clicks_layer(**attributes: Any) -> Points:
    """An empty layer for clicks, each with the number of its step."""
    layer = Points(
        np.empty((0, 3)),
        size=_CLICK_SIZE,
        border_width=0.2,
        features={"step": np.empty(0, dtype=object)},
        text={"string": "  {step}", "color": _NUMBER_COLOUR, "size": 11, "anchor": "lower_left"},
        **attributes,
    )
    layer.canvas_size_limits = (_CLICK_PIXELS, _CLICK_PIXELS)
    return layer


def boxes_layer(**attributes: Any) -> Shapes:
    """An empty layer for boxes."""
    return Shapes(ndim=3, **attributes)


def draw_clicks(layer: Points, marks: Sequence[Mark], view: View) -> None:
    """Green positive, red negative; the agent's as discs, a person's as crosses; hollow while only proposed."""
    clicks = [mark.action for mark in marks if isinstance(mark.action, Click)]
    places = np.array([view.voxel_of(click.x, click.y) for click in clicks]).reshape(-1, 3)
    if len(places) > len(layer.data):
        _next_look(layer, marks[-1])
    put_points(layer, places)
    if not marks:
        return
    faces, borders, symbols = zip(*map(_look, marks), strict=True)
    _put(layer, "face_color", np.array(faces, np.float32))
    _put(layer, "border_color", np.array(borders, np.float32))
    _put(layer, "symbol", np.array(symbols))
    _put(layer, "size", np.full(len(marks), _CLICK_SIZE))
    numbers = [str(mark.number) for mark in marks]
    if list(layer.features["step"]) != numbers:
        layer.features = {"step": numbers}


def put_points(layer: Points, places: NDArray[np.float64]) -> None:
    """Sets all points (N, 3) in voxels (z, y, x).

    napari tells of it twice, and measures all layers each time: what it says before the change is left out.
    """
    before = len(layer.data)
    if np.array_equal(layer.data, places):
        return
    with layer.events.data.blocker():
        layer.data = places
    action = ActionType.ADDED if len(places) > before else ActionType.CHANGED if len(places) else ActionType.REMOVED
    rows = tuple(range(len(places) or before))
    layer.events.data(value=layer.data, action=action, data_indices=rows, vertex_indices=((),))


def drop_corners(layer: Labels) -> None:
    """Forgets the corners of a lasso that was not closed: napari draws them on, and fails over them in 3D."""
    layer._overlays["polygon"].points = []  # napari has no other way to it than its key Esc


def warm_up(layer: Points, at: Any) -> None:
    """Lets the next drawing make ready what clicks need: markers and the figures of their numbers, unseen."""
    layer.data = np.array([layer.world_to_data(at)])
    layer.face_color = layer.border_color = [_NOTHING]
    layer.features = {"step": ["0123456789"]}
    layer.text.color = _NOTHING


def warmed_up(layer: Points) -> None:
    """Gives the numbers their colour back."""
    layer.text.color = _NUMBER_COLOUR


def draw_boxes(layer: Shapes, marks: Sequence[Mark], view: View) -> None:
    """Outlines; a box that is only proposed is filled a little."""
    if not marks and not layer.data:
        return
    layer.data = []
    colour = _rgba(POSITIVE)
    for mark in marks:
        if isinstance(mark.action, Box):
            face = _NOTHING if mark.done else (*colour[:3], 0.12)
            layer.add_rectangles(_corners(mark.action, view), edge_color=colour, face_color=face, edge_width=1)


def draw_labels(layer: Labels, old: Session, new: Session) -> None:
    """Draws the slices whose patches differ; the whole volume only where planes are mixed."""
    same = 0
    while same < min(len(old.patches), len(new.patches)) and old.patches[same] is new.patches[same]:
        same += 1
    changed = (*old.patches[same:], *new.patches[same:])
    values = {patch.value for patch in changed if not isinstance(patch, Patch)}
    every = [patch for patch in (*old.patches, *new.patches) if isinstance(patch, Patch)]
    shape = (layer.data.shape[0], layer.data.shape[1], layer.data.shape[2])
    too_small = any(patch.value > np.iinfo(layer.data.dtype).max for patch in every)
    if too_small or len({patch.plane for patch in every}) > 1:
        layer.data = labels_of(new, shape)
        return
    places = {(patch.plane, patch.index) for patch in every if patch.value in values or patch in changed}
    for plane, index in places:
        slice_of(layer.data, plane, index)[...] = labels_in_slice(new, shape, plane, index)


def colour_labels(layer: Labels, session: Session) -> None:
    """The colours of the objects that are to be seen."""
    colours: dict[int | None, str] = {row.value: row.colour for row in session.objects if row.visible}
    layer.colormap = {0: "transparent", None: "transparent"} | colours


def _put(layer: Any, name: str, value: Any) -> None:
    """Sets an attribute where it differs: napari draws the whole layer again for each one, some ms a time."""
    if not np.array_equal(np.asarray(getattr(layer, name)).astype(value.dtype), value):
        setattr(layer, name, value)


def _next_look(layer: Points, mark: Mark) -> None:
    """Lets a new point come with its look: napari draws the layer again for each part that is set afterwards."""
    face, border, symbol = _look(mark)
    for name, colour in (("current_face_color", face), ("current_border_color", border)):
        if not np.allclose(transform_color(getattr(layer, name))[0], colour):
            setattr(layer, name, colour)
    if str(layer.current_symbol) != symbol:
        layer.current_symbol = symbol
    layer.feature_defaults = {"step": str(mark.number)}


def _look(mark: Mark) -> tuple[Colour, Colour, str]:
    """Face, border and symbol of a click."""
    colour = _rgba(NEGATIVE if isinstance(mark.action, Click) and not mark.action.positive else POSITIVE)
    return colour if mark.done else _NOTHING, colour, "disc" if mark.author is Author.AGENT else "cross"


def _rgba(colour: tuple[int, int, int]) -> Colour:
    red, green, blue = (value / 255 for value in colour)
    return red, green, blue, 1.0


def _corners(box: Box, view: View) -> Any:
    """The corners (4, 3) of a box in voxels (z, y, x)."""
    points = ((box.x0, box.y0), (box.x1, box.y0), (box.x1, box.y1), (box.x0, box.y1))
    return np.array([view.voxel_of(x, y) for x, y in points])
