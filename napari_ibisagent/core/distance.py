"""Exact Euclidean distance to the background, with numpy alone (core imports nothing heavier).

Column distances first, then the minimum over row offsets; offsets beyond the deepest distance found so far
can't matter, so a mask of inner radius r costs about 2 r passes over its bounding box.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from napari_ibisagent.core.masks import Mask, bounding_box


def inner_distance(mask: Mask) -> NDArray[np.float32]:
    """Distance (H, W), in pixels, from each true pixel of ``mask`` to the nearest false one.

    The picture's border counts as false, so that a click never lies on the rim of the view.
    """
    result = np.zeros(mask.shape, np.float32)
    box = bounding_box(mask)
    if box is None:
        return result
    padded = np.pad(mask[box], 1)
    squared = _column_distance(padded) ** 2
    best = squared.copy()
    offset = 1
    while offset < padded.shape[1] and offset**2 < best.max():
        step = np.float32(offset**2)
        np.minimum(best[:, offset:], squared[:, :-offset] + step, out=best[:, offset:])
        np.minimum(best[:, :-offset], squared[:, offset:] + step, out=best[:, :-offset])
        offset += 1
    result[box] = np.sqrt(best[1:-1, 1:-1])
    return result


def _column_distance(mask: Mask) -> NDArray[np.float32]:
    """Distance to the nearest false pixel of the same column; every column has one, as the mask is padded."""
    rows = np.arange(mask.shape[0])[:, np.newaxis]
    above = np.maximum.accumulate(np.where(mask, -1, rows), axis=0)
    below = np.minimum.accumulate(np.where(mask, mask.shape[0], rows)[::-1], axis=0)[::-1]
    return np.minimum(rows - above, below - rows).astype(np.float32)


def deepest(mask: Mask) -> tuple[int, int, float] | None:
    """(row, column, distance) of the pixel farthest from the mask's border, or None for an empty mask."""
    if not mask.any():
        return None
    distance = inner_distance(mask)
    row, column = np.unravel_index(int(np.argmax(distance)), distance.shape)
    return int(row), int(column), float(distance[row, column])
