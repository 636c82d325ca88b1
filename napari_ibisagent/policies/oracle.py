"""The oracle: clicks from the truth, by the click simulation of DESIGN section 6. For tests and benchmarks.

What it measures is the tool alone: how good a mask a perfect clicker reaches with so many clicks.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from napari_ibisagent.core.actions import Terminate, Turn
from napari_ibisagent.core.clicks import next_click
from napari_ibisagent.core.dialects.ibis import render
from napari_ibisagent.core.errors import GridError, InputError
from napari_ibisagent.core.masks import Mask, iou
from napari_ibisagent.core.protocols import Location, Situation
from napari_ibisagent.core.view import AXES, Plane, slice_of
from napari_ibisagent.core.volume import Volume


class OraclePolicy:
    """Knows the truth (Z, Y, X) bool; stops at an IoU of ``goal`` or after ``clicks`` clicks."""

    name = "oracle"
    dialect = "ibis"

    def __init__(self, truth: Mask, clicks: int, goal: float) -> None:
        self._truth = truth
        self._clicks = clicks
        self._goal = goal

    def locate(self, volume: Volume, prompt: str, plane: Plane) -> Location:
        """The slice with the most of the truth."""
        if self._truth.shape != volume.shape:
            raise GridError(f"The truth has the shape {self._truth.shape}, the scan {volume.shape}.")
        axis = AXES[plane][0]
        areas = self._truth.sum(axis=tuple(a for a in range(3) if a != axis))
        if not areas.any():
            return Location(None, "The truth is empty.")
        return Location(int(areas.argmax()), "The slice with the most of the truth.")

    def act(self, situation: Situation) -> Iterator[str]:
        """One click at the centre of the larger error, or the end."""
        view, episode = situation.view, situation.episode
        truth = view.from_native(np.ascontiguousarray(slice_of(self._truth, view.plane, view.index)))
        if not truth.any():
            yield render(Turn("The truth is empty in this slice.", (Terminate(),), "not found"))
            return
        mask = episode.mask_array()
        overlap = iou(mask, truth)
        click = next_click(mask, truth)
        if click is None or overlap >= self._goal or len(episode.steps) >= self._clicks:
            yield render(Turn(f"IoU with the truth {overlap:.3f}.", (Terminate(),), "done"))
            return
        kind = "missed" if click.positive else "spilled"
        yield render(Turn(f"IoU with the truth {overlap:.3f}; the largest error is {kind}.", (click,)))


def build(truth: Mask | None = None, clicks: int = 20, goal: float = 0.95) -> OraclePolicy:
    """The oracle for a truth (Z, Y, X) bool on the scan's canonical grid."""
    if truth is None:
        raise InputError("The oracle needs the truth: pass a mask file with --truth.")
    return OraclePolicy(truth, clicks, goal)
