"""``Truth``: where a target lies in a volume, kept as what its bounding box holds; and which slices show it well."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from napari_ibisagent.core.masks import Mask, bounding_box
from napari_ibisagent.core.view import AXES, Plane, slice_of

# A slice shows enough of a target from this share of the slice with most of it.
_ENOUGH = 0.25


@dataclass(frozen=True, eq=False, slots=True)
class Truth:
    """A truth (Z, Y, X) of this shape, empty outside of ``bounds``: a case may have a hundred of them."""

    shape: tuple[int, ...]
    bounds: tuple[slice, ...]
    part: Mask

    @staticmethod
    def of(truth: Mask) -> Truth:
        """The truth of a mask (Z, Y, X) that isn't empty. Raises ValueError."""
        bounds = bounding_box(truth)
        if bounds is None:
            raise ValueError("An empty mask is the truth of nothing.")
        return Truth(truth.shape, bounds, truth[bounds].copy())

    def slice(self, plane: Plane, index: int) -> Mask | None:
        """(rows, columns) of one slice; None where it shows nothing."""
        sliced, rows, columns = AXES[plane]
        at = self.bounds[sliced]
        part = slice_of(self.part, plane, index - at.start) if at.start <= index < at.stop else None
        if part is None or not part.any():
            return None
        found = np.zeros((self.shape[rows], self.shape[columns]), bool)
        found[self.bounds[rows], self.bounds[columns]] = part
        return found

    def areas(self, plane: Plane) -> NDArray[np.int64]:
        """How many voxels each slice shows."""
        axis = AXES[plane][0]
        found = np.zeros(self.shape[axis], np.int64)
        found[self.bounds[axis]] = self.part.sum(axis=tuple(a for a in range(3) if a != axis))
        return found


def chosen_slices(areas: NDArray[np.int64], count: int) -> tuple[int, ...]:
    """At most ``count`` slices that show enough of a target, spread evenly, the fullest among them.

    areas: how many voxels of it each slice shows.
    """
    if not areas.any():
        return ()
    enough = np.flatnonzero(areas >= max(1, _ENOUGH * areas.max()))
    fullest = int(areas.argmax())
    if len(enough) <= count:
        return tuple(int(n) for n in enough)
    # The middles of equal parts; the one nearest to the fullest slice gives way to it.
    places = ((np.arange(count) + 0.5) * len(enough) / count).astype(int)
    picked = enough[places]
    picked[int(np.abs(picked - fullest).argmin())] = fullest
    return tuple(sorted({int(n) for n in picked}))


def planes_shown(shape: tuple[int, ...], wanted: tuple[Plane, ...]) -> tuple[Plane, ...]:
    """The planes that slices are taken from, of those that are wanted; a single slice (Z, Y, X) has its own alone."""
    single = [plane for plane in Plane if shape[AXES[plane][0]] == 1]
    return tuple(single[:1]) or wanted
