"""Click simulation: where a click does most against the difference of a mask and a goal (DESIGN section 6); boxes.

The oracle policy uses it with the truth as the goal, the embedded policy with its own evidence.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_ibisagent.core.actions import Box, Click
from napari_ibisagent.core.distance import deepest, inner_distance
from napari_ibisagent.core.masks import Mask, bounding_box, error_regions

# So many parts at most are clicked on in one turn; none below this share of the largest, nor one covered so far.
AT_ONCE, _SMALL, _TOUCHED = 12, 0.2, 0.1


def next_click(mask: Mask, goal: Mask) -> Click | None:
    """The centre of the larger error (H, W): positive where the mask misses, negative where it spills.

    "Larger" is the one that reaches deeper, by the distance transform with the border as outside. None when
    the two masks are equal. Coordinates are rounded to four decimals, as the dialect writes them.
    """
    missed, spilled = (inner_distance(region) for region in error_regions(mask, goal))
    deepest_miss, deepest_spill = float(missed.max()), float(spilled.max())
    if max(deepest_miss, deepest_spill) <= 0:
        return None
    positive = deepest_miss >= deepest_spill
    distance = missed if positive else spilled
    row, column = np.unravel_index(int(np.argmax(distance)), distance.shape)
    height, width = mask.shape
    return Click(round((float(column) + 0.5) / width, 4), round((float(row) + 0.5) / height, 4), positive)


def clicks_into_missed(mask: Mask, parts: NDArray[np.integer[Any]]) -> tuple[Click, ...]:
    """A positive click into the middle of each part that a mask (H, W) misses, the largest first; none for one alone.

    ``parts`` (H, W): what is wanted, its separate parts numbered from 1. Small ones beside the largest are left out.
    """
    sizes = np.bincount(parts.reshape(-1))
    sizes[0] = 0
    covered = np.bincount(parts[mask], minlength=sizes.size)
    missed = np.flatnonzero((sizes >= _SMALL * sizes.max(initial=1)) & (covered < _TOUCHED * sizes))
    height, width = mask.shape
    clicks = []
    for number in sorted(missed, key=lambda number: -sizes[number])[:AT_ONCE]:
        spot = deepest(parts == number)
        if spot is not None:
            clicks.append(Click(round((spot[1] + 0.5) / width, 4), round((spot[0] + 0.5) / height, 4), True))
    return tuple(clicks) if len(clicks) > 1 else ()


def box_round(mask: Mask, spare: float = 0.1) -> Box:
    """A box round a mask (H, W), with ``spare`` of its size and a pixel more on each side.

    Raises ValueError where the mask is empty.
    """
    bounds = bounding_box(mask)
    if bounds is None:
        raise ValueError("There is no mask to draw a box round.")
    edges = []
    for at, size in zip(bounds, mask.shape, strict=True):
        margin = spare * (at.stop - at.start) + 1
        edges.append((max(0.0, (at.start - margin) / size), min(1.0, (at.stop + margin) / size)))
    (y0, y1), (x0, x1) = edges
    return Box(round(x0, 4), round(y0, 4), round(x1, 4), round(y1, 4))
