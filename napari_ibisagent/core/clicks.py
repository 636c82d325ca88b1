"""Click simulation: where a click does most against the difference of a mask and a goal (DESIGN section 6); boxes.

The oracle policy uses it with the truth as the goal, the embedded policy with its own evidence.
"""

from __future__ import annotations

import numpy as np

from napari_ibisagent.core.actions import Box, Click
from napari_ibisagent.core.distance import inner_distance
from napari_ibisagent.core.masks import Mask, bounding_box, error_regions


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
