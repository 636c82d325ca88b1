"""Positions in words: where a click lies in the picture, where a mask lies, and how the two lie to each other.

All of it can be seen in the picture with the mask drawn over it. Left and right are the picture's, never the patient's:
whoever puts these words into a sentence has to say so.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from scipy import ndimage as ndi

from napari_ibisagent.core.actions import Click
from napari_ibisagent.core.masks import Mask, bounding_box

_NAMES = (("upper left", "top", "upper right"), ("left", "centre", "right"), ("lower left", "bottom", "lower right"))
PLACES = tuple(name for row in _NAMES for name in row)
# So near to the mask's edge, as a share of the picture's shorter side, a click lies beside it or at its edge.
_NEAR = 0.04
# A mask that reaches over more than this share of both sides has no place in the picture: it is the picture.
_MOST = 2 / 3
# Up to which share of the picture a mask is called so, and from which ratio of its sides it is tall or wide.
_SIZES = ((0.006, "tiny"), (0.03, "small"), (0.12, "middle-sized"), (1.0, "large"))
_STRETCHED = 2.0


class Lie(StrEnum):
    """How a click lies to a mask: on it, at its edge (inside), in a hole of it, beside it, or apart from it."""

    ON = "on"
    EDGE = "edge"
    HOLE = "hole"
    BESIDE = "beside"
    APART = "apart"


@dataclass(frozen=True, slots=True)
class Relation:
    """How a click lies to a mask, and on which side of it (a word of ``PLACES``, "centre" for its middle)."""

    lie: Lie
    side: str


def place(x: float, y: float) -> str:
    """The third of the picture in which a point (x, y), each in [0, 1], lies: "upper left", "top", "centre", ..."""
    return _NAMES[_third(y)][_third(x)]


def is_on(click: Click, mask: Mask) -> bool:
    """Whether a click lies on a mask (H, W)."""
    return bool(mask[_pixel(click, mask)])


def relation(click: Click, mask: Mask) -> Relation:
    """How a click lies to a mask (H, W) that isn't empty."""
    row, column = _pixel(click, mask)
    rows, columns = _box(mask)
    side = place(_within(column, columns), _within(row, rows))
    on = is_on(click, mask)
    near = _is_near(not on, mask, row, column)
    if on:
        return Relation(Lie.EDGE if near else Lie.ON, side)
    if _in_hole(mask, row, column):
        return Relation(Lie.HOLE, side)
    return Relation(Lie.BESIDE if near else Lie.APART, side)


def mask_place(mask: Mask) -> str:
    """Where a mask (H, W) that isn't empty lies in the picture; "" where it reaches over most of it."""
    height, width = mask.shape
    rows, columns = _box(mask)
    if rows.stop - rows.start > _MOST * height and columns.stop - columns.start > _MOST * width:
        return ""
    return place((columns.start + columns.stop) / 2 / width, (rows.start + rows.stop) / 2 / height)


def extent(mask: Mask) -> str:
    """How large a mask (H, W) that isn't empty is to the eye, and how it is stretched: "small", "large and wide"."""
    share = np.count_nonzero(mask) / mask.size
    size = next(word for limit, word in _SIZES if share <= limit)
    rows, columns = _box(mask)
    tall, wide = rows.stop - rows.start, columns.stop - columns.start
    form = " and tall" if tall >= _STRETCHED * wide else " and wide" if wide >= _STRETCHED * tall else ""
    return size + form


def _is_near(value: bool, mask: Mask, row: int, column: int) -> bool:
    """Whether a pixel of a mask (H, W) that is ``value`` lies near to a place. Looks no further than that."""
    reach = max(_NEAR * min(mask.shape), 2.0)
    top, left = max(0, row - int(reach)), max(0, column - int(reach))
    rows, columns = np.nonzero(mask[top : row + int(reach) + 1, left : column + int(reach) + 1] == value)
    return bool((np.hypot(rows + top - row, columns + left - column) <= reach).any())


def _in_hole(mask: Mask, row: int, column: int) -> bool:
    """Whether a mask (H, W) that isn't empty closes round a place beside it."""
    rows, columns = _box(mask)
    if not (rows.start <= row < rows.stop and columns.start <= column < columns.stop):
        return False
    free, _ = ndi.label(~np.pad(mask[rows, columns], 1))
    return bool(free[row - rows.start + 1, column - columns.start + 1] != free[0, 0])


def _pixel(click: Click, mask: Mask) -> tuple[int, int]:
    """The row and the column that a click is in."""
    height, width = mask.shape
    return min(int(click.y * height), height - 1), min(int(click.x * width), width - 1)


def _third(value: float) -> int:
    return min(int(3 * value), 2)


def _within(at: int, span: slice) -> float:
    """A position as a share of a span, 0 before it and 1 behind it."""
    return min(max((at + 0.5 - float(span.start)) / float(span.stop - span.start), 0.0), 1.0)


def _box(mask: Mask) -> tuple[slice, slice]:
    """The rows and columns of a mask. Raises ValueError where it is empty."""
    found = bounding_box(mask)
    if found is None:
        raise ValueError("An empty mask has no place.")
    return found[0], found[1]
