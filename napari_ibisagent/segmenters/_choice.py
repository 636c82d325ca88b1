"""Which of several looks at a first click, from wide to close, shows what is meant. Pure functions.

One click doesn't say how large the thing is, and each look answers for its own size: a wide one takes in neighbours, a
close one a part. No single measure tells the right one; these six together do, in the mean. Their weights are fitted on
generated pictures (``tests/benchmarks/first_look.py``).
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage as ndi

from napari_ibisagent.core.masks import Mask

Values = NDArray[np.float64]

# Of the six measures below, in their order.
WEIGHTS: Values = np.array((1.0, 0.3, 0.5, 1.0, 0.1, 0.06))


def measures(
    masks: Sequence[Mask],
    probabilities: Sequence[NDArray[np.float32]],
    places: Sequence[tuple[int, int]],
    scores: Sequence[float],
    shares: Sequence[float],
) -> Values:
    """(n, 6) of n looks; the larger the better.

    masks: each look's answer on the view (H, W); probabilities: the same in the network's pixels (h, w); places: the
    click in these; scores: the foretold IoUs; shares: how much of the view's side each look takes in.

    The measures: mean IoU with all answers; how near the click lies to the answer's middle (people click into the
    middle); that times the score; how sure the network is inside; logarithms of the look's width and the answer's size.
    """
    centred = np.array([_centred(p > 0.5, place) for p, place in zip(probabilities, places, strict=True)])
    sure = np.array([float(p[p > 0.5].mean()) if (p > 0.5).any() else 0.0 for p in probabilities])
    size = np.array([float(mask.mean()) for mask in masks])
    return np.stack(
        (_agreement(masks), centred, centred * np.array(scores), sure, np.log(np.array(shares)), np.log(size + 1e-5)),
        axis=1,
    )


def best(found: Values) -> int:
    """The look with the best sum of its weighted measures (n, 6)."""
    return int((found @ WEIGHTS).argmax())


def _agreement(masks: Sequence[Mask]) -> Values:
    """(n,) the mean IoU of each mask with all of them."""
    areas = [int(np.count_nonzero(mask)) for mask in masks]
    together = np.eye(len(masks))
    for one, other in combinations(range(len(masks)), 2):
        both = int(np.count_nonzero(masks[one] & masks[other]))
        together[one, other] = together[other, one] = both / max(areas[one] + areas[other] - both, 1)
    return np.asarray(together.mean(axis=1))


def _centred(mask: Mask, place: tuple[int, int]) -> float:
    """The depth of a place in a mask (h, w), over that of its deepest place; the edge of the picture is a border."""
    depth = ndi.distance_transform_cdt(np.pad(mask, 1))[1:-1, 1:-1]
    return float(depth[place]) / max(float(depth.max()), 1.0)
