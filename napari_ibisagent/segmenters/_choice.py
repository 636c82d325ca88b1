"""Which of several looks at a first click, from wide to close, shows what is meant. Pure functions.

One click doesn't say how large the thing is, and each look answers for its own size: a wide one takes in neighbours, a
close one a part. No single measure tells the right one; these together do, in the mean. None of them is a size: how
large things are differs from one kind of picture to the next.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage as ndi

from napari_ibisagent.core.masks import Mask

Values = NDArray[np.float64]

# Of the measures below, in their order; tried on generated and on real pictures (docs/training-clicknet.md).
WEIGHTS: Values = np.array((1.0, 0.3, 0.25, 0.5))


def measures(
    masks: Sequence[Mask],
    probabilities: Sequence[NDArray[np.float32]],
    places: Sequence[tuple[int, int]],
    scores: Sequence[float],
) -> Values:
    """(n, 4) of n looks; the larger the better.

    masks: each look's answer on the view (H, W); probabilities: the same in the network's pixels (h, w); places: the
    click in these; scores: the foretold IoUs.

    The measures: mean IoU with all answers; how near the click lies to the answer's middle (people click into the
    middle); that times the score; how sure the network is inside.
    """
    centred = np.array([_centred(p > 0.5, place) for p, place in zip(probabilities, places, strict=True)])
    sure = np.array([float(p[p > 0.5].mean()) if (p > 0.5).any() else 0.0 for p in probabilities])
    return np.stack((_agreement(masks), centred, centred * np.array(scores), sure), axis=1)


def best(found: Values) -> int:
    """The look with the best sum of its weighted measures (n, 4)."""
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
