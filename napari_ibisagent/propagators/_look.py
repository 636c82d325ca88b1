"""Where a thing is expected on the next slice when nobody has evidence: near its neighbour's mask, and looking like it.

All from the picture at hand: the range of intensities inside of the key slice's mask, how deep the neighbour's mask
is, and how far apart the slices lie. What it leaves out: anatomy. Two things that look alike and touch broadly can't
be told apart by it; the room round the neighbour's mask limits what that does on one slice.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage as ndi

from napari_ibisagent.core.masks import Mask, bounding_box
from napari_ibisagent.core.view import View

# The range of the key slice's intensities goes so many of its half-widths beyond the 5th and 95th percentiles: slices
# of one organ differ less among each other than an organ differs inside of itself.
_SPARE = 0.25
# A passage narrower than this share of the neighbour's depth is a bridge to something else, and is cut.
_BRIDGE = 1 / 3


@dataclass(frozen=True, eq=False, slots=True)
class Look:
    """The intensities of a thing: low and high for each channel, (C,)."""

    low: NDArray[np.float32]
    high: NDArray[np.float32]

    @staticmethod
    def of(view: View, mask: Mask) -> Look:
        """The look of what ``mask`` (H, W) covers; it must not be empty."""
        inner = ndi.binary_erosion(mask)
        values = _smooth(view.image)[inner if inner.any() else mask]
        low, high = np.percentile(values, (5, 95), axis=0)
        spare = _SPARE * (high - low)
        return Look(np.asarray(low - spare, np.float32), np.asarray(high + spare, np.float32))

    def alike(self, view: View) -> Mask:
        """(H, W), the pixels that look like it."""
        smooth = _smooth(view.image)
        return np.asarray(((smooth >= self.low) & (smooth <= self.high)).all(axis=-1))


def expected(alike: Mask, prior: Mask, reach: float) -> Mask:
    """Where a thing goes on: pixels (H, W) that look like it, at most ``reach`` pixels from the neighbour's mask,
    joined to what the two have in common by more than a narrow bridge. Empty where it ends."""
    goal = np.zeros_like(prior)
    box = bounding_box(prior)
    if box is None:
        return goal
    spare = int(reach) + 2
    window = tuple(slice(max(part.start - spare, 0), part.stop + spare) for part in box)
    near, before = alike[window], prior[window]
    deep = ndi.distance_transform_edt(np.pad(before, 1))[1:-1, 1:-1]
    near = near & (ndi.distance_transform_edt(~before) <= reach)
    near = _filled(ndi.binary_opening(near) if deep.max() > 2 else near, before)
    radius = _BRIDGE * float(deep.max())
    wide = ndi.distance_transform_edt(np.pad(near, 1))[1:-1, 1:-1] > radius
    parts, count = ndi.label(wide)
    kept = np.unique(parts[wide & before])
    wide = np.isin(parts, kept[kept > 0]) if count else wide
    if wide.any():
        goal[window] = near & (ndi.distance_transform_edt(~wide) <= radius + 1)
    return goal


def _filled(mask: Mask, before: Mask) -> Mask:
    """A mask with its holes closed where the neighbour's mask has none: single voxels of noise, small vessels."""
    return np.asarray(mask | (ndi.binary_fill_holes(mask) & before))


def grown(mask: Mask, pixels: float) -> Mask:
    """A mask (H, W) grown by a distance."""
    result = mask.copy()
    box = bounding_box(mask)
    if box is not None:
        spare = int(pixels) + 1
        window = tuple(slice(max(part.start - spare, 0), part.stop + spare) for part in box)
        result[window] = ndi.distance_transform_edt(~mask[window]) <= pixels
    return result


def _smooth(image: NDArray[Any]) -> NDArray[np.float32]:
    """(H, W, C) with single-pixel noise averaged away."""
    channels = image.astype(np.float32)
    if channels.ndim == 2:
        channels = channels[..., np.newaxis]
    return np.asarray(ndi.uniform_filter(np.nan_to_num(channels), size=(3, 3, 1)))
