"""Exact Euclidean distance to the background, with numpy alone (core imports nothing heavier).

Column distances first, then the minimum over row offsets; offsets beyond the deepest distance found so far
can't matter, so a mask of inner radius r costs about 2 r passes over what of its bounding box is deeper than that.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from napari_ibisagent.core.masks import Mask, bounding_box

# After so many row offsets the passes are narrowed to what is still deeper.
_NARROWED = 8


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
    width = padded.shape[1]
    rows, columns = slice(0, padded.shape[0]), slice(0, width)
    for offset in range(1, width):
        step = np.float32(offset**2)
        if best[rows, columns].max() <= step:
            break
        if offset % _NARROWED == 0:  # what is nearer to the background than the offset is done
            rows, columns = bounding_box(best > step) or (rows, columns)
        left, right = max(columns.start, offset), min(columns.stop, width - offset)
        if left < columns.stop:
            near = squared[rows, left - offset : columns.stop - offset] + step
            np.minimum(best[rows, left : columns.stop], near, out=best[rows, left : columns.stop])
        if right > columns.start:
            near = squared[rows, columns.start + offset : right + offset] + step
            np.minimum(best[rows, columns.start : right], near, out=best[rows, columns.start : right])
    result[box] = np.sqrt(best[1:-1, 1:-1])
    return result


def _column_distance(mask: Mask) -> NDArray[np.float32]:
    """Distance to the nearest false pixel of the same column; every column has one, as the mask is padded."""
    rows = np.arange(mask.shape[0], dtype=np.int32)[:, np.newaxis]
    above = np.maximum.accumulate(np.where(mask, np.int32(-1), rows), axis=0)
    below = np.minimum.accumulate(np.where(mask, np.int32(mask.shape[0]), rows)[::-1], axis=0)[::-1]
    return np.minimum(rows - above, below - rows).astype(np.float32)


def deepest(mask: Mask) -> tuple[int, int, float] | None:
    """(row, column, distance) of the pixel farthest from the mask's border, or None for an empty mask."""
    if not mask.any():
        return None
    distance = inner_distance(mask)
    row, column = np.unravel_index(int(np.argmax(distance)), distance.shape)
    return int(row), int(column), float(distance[row, column])
