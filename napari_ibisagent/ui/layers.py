"""What the store holds, as napari layers: clicks, the working mask, the committed labels. Shows state and keeps none.

The layers are made when they are first needed and again when a person has deleted them.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from napari.components import ViewerModel
from napari.layers import Labels, Points
from numpy.typing import NDArray

from napari_ibisagent.core.actions import Click
from napari_ibisagent.core.episode import Author, Episode
from napari_ibisagent.core.overlay import NEGATIVE, POSITIVE
from napari_ibisagent.core.session import Session, draw_patch, labels_of
from napari_ibisagent.core.view import View, slice_of
from napari_ibisagent.core.volume import Volume

_CLICK_SIZE = 0.5
_WORKING_COLOUR = "#22c322"


class Layers:
    """The three layers of a scan in a viewer."""

    def __init__(self, viewer: ViewerModel, volume: Volume) -> None:
        self._viewer = viewer
        self._volume = volume
        self._clicks: Points | None = None
        self._working: Labels | None = None
        self._committed: Labels | None = None
        self._drawn: tuple[View, NDArray[Any]] | None = None
        viewer.layers.events.removing.connect(self._emptied)

    def _emptied(self, event: Any) -> None:
        """napari 0.9.2 crashes in the next draw when a Points layer with text is removed while it has points."""
        if self._clicks is not None and self._viewer.layers[event.index] is self._clicks:
            self._clicks.data = np.empty((0, 3))

    def close(self) -> None:
        """Lets go of the viewer; the layers stay."""
        self._viewer.layers.events.removing.disconnect(self._emptied)

    def show(self, old: Session, new: Session, view: View | None) -> None:
        """Draws what changed."""
        episode = new.episode
        if view is not None and episode is not None and episode != old.episode:
            self._show_mask(episode, view)
            self._show_clicks(episode, view)
        if new.patches != old.patches or new.objects != old.objects:
            self._show_objects(old, new)

    def go_to(self, view: View) -> None:
        """Moves the viewer to a slice."""
        axis = {"axial": 0, "coronal": 1, "sagittal": 2}[view.plane.value]
        self._viewer.dims.set_current_step(axis, view.index)

    def _show_mask(self, episode: Episode, view: View) -> None:
        layer = self._working
        if layer is None or layer not in self._viewer.layers:
            layer = self._working = self._add_labels("working mask", 0.35)
            layer.colormap = {0: "transparent", 1: _WORKING_COLOUR, None: _WORKING_COLOUR}
            self._drawn = None
        if self._drawn is not None and self._drawn[0] is not view:
            before, _ = self._drawn
            slice_of(layer.data, before.plane, before.index)[...] = 0
        mask = view.to_native(episode.mask_array()) if episode.mask else np.zeros(view.native, bool)
        slice_of(layer.data, view.plane, view.index)[...] = mask
        self._drawn = (view, mask)
        layer.refresh()

    def _show_clicks(self, episode: Episode, view: View) -> None:
        rows = clicks_of(episode)
        data = np.array([view.voxel_of(click.x, click.y) for click, *_ in rows]).reshape(-1, 3)
        layer = self._clicks
        if layer is None or layer not in self._viewer.layers:
            if not rows:
                return
            layer = self._clicks = self._add_clicks()
        layer.data = data
        if not rows:
            return
        colours = [_rgba(POSITIVE if click.positive else NEGATIVE) for click, *_ in rows]
        layer.face_color = [
            colour if done else (0, 0, 0, 0) for colour, (_, _, done, _) in zip(colours, rows, strict=True)
        ]
        layer.border_color = colours
        layer.symbol = ["disc" if author is Author.AGENT else "cross" for _, author, _, _ in rows]
        layer.size = _CLICK_SIZE
        layer.features = {"step": [str(number) for *_, number in rows]}
        layer.text = {"string": "{step}", "color": "yellow", "anchor": "upper_left"}

    def _show_objects(self, old: Session, new: Session) -> None:
        layer = self._committed
        if layer is None or layer not in self._viewer.layers:
            layer = self._committed = self._add_labels(f"{self._volume.name} labels", 0.5)
            layer.data = labels_of(new, self._volume.shape)
        elif new.patches[: len(old.patches)] == old.patches:
            for patch in new.patches[len(old.patches) :]:
                draw_patch(layer.data, patch)
        else:
            layer.data = labels_of(new, self._volume.shape)
        colours: dict[int | None, str] = {row.value: row.colour for row in new.objects}
        layer.colormap = {0: "transparent", None: "gray"} | colours
        layer.refresh()

    def _add_clicks(self) -> Points:
        with self._keeping_active():
            layer = self._viewer.add_points(
                ndim=3,
                name="clicks",
                scale=self._volume.spacing_mm,
                # Small in the data, so that the slice slider keeps the scan's own range; 14 pixels on the screen.
                size=_CLICK_SIZE,
                border_width=0.2,
            )
        layer.canvas_size_limits = (14, 14)
        return layer

    def _add_labels(self, name: str, opacity: float) -> Labels:
        empty = np.zeros(self._volume.shape, np.uint8)
        with self._keeping_active():
            return self._viewer.add_labels(empty, name=name, scale=self._volume.spacing_mm, opacity=opacity)

    @contextmanager
    def _keeping_active(self) -> Iterator[None]:
        """A new layer becomes the active one, and its own keys (A selects all points) would hide the gate's."""
        active = self._viewer.layers.selection.active
        try:
            yield
        finally:
            self._viewer.layers.selection.active = active


def clicks_of(episode: Episode) -> list[tuple[Click, Author, bool, int]]:
    """(click, author, whether it was done, step number) of the clicks in force and of the proposal."""
    rows: list[tuple[Click, Author, bool, int]] = []
    for number, step in enumerate(episode.steps, start=1):
        for action in step.actions:
            if isinstance(action, Click) and action in episode.prompts:
                rows.append((action, step.author, True, number))
    if episode.pending is not None:
        pending = episode.pending.actions or episode.pending.turn.actions
        rows += [(a, episode.pending.author, False, len(episode.steps) + 1) for a in pending if isinstance(a, Click)]
    return rows


def _rgba(colour: tuple[int, int, int]) -> tuple[float, float, float, float]:
    red, green, blue = (value / 255 for value in colour)
    return red, green, blue, 1.0
