"""The three shades of a brain in T1: fluid, grey matter, white matter.

White matter is the brightest and lies deep to the cortex; that is how T1 is told from other weightings.
"""

from __future__ import annotations

import numpy as np
from scipy import ndimage as ndi

from napari_ibisagent.core.masks import Mask
from napari_ibisagent.core.view import Plane, view_of
from napari_ibisagent.core.volume import Volume
from napari_ibisagent.policies.embedded.pictures.heads import Head, head_of
from napari_ibisagent.policies.embedded.pictures.shades import three_shades
from napari_ibisagent.policies.embedded.pictures.small import Grey, Small, small_of

Shades = tuple[Mask, Mask, Mask]


def shades_of(small: Small, head: Head, volume: Volume) -> Shades | None:
    """(fluid, grey matter, white matter), each (h, w), or None where the picture isn't a T1 of the brain.

    In a stack three slices above the deep grey matter decide; a single picture decides for itself.
    """
    shades = _three_shades(small.grey, head.brain)
    if shades is None:
        return None
    if _white_is_deep(shades, head.brain):
        return shades
    count = volume.shape[0]
    if count < 20 or not volume.has_orientation:
        return None
    for at in (0.5, 0.4, 0.3):
        other = small_of(view_of(volume, Plane.AXIAL, int(at * count)), 128)
        found = head_of(other)
        seen = None if found is None else _three_shades(other.grey, found.brain)
        if found is not None and seen is not None and _white_is_deep(seen, found.brain):
            return shades
    return None


def _white_is_deep(shades: Shades, brain: Mask) -> bool:
    depth = ndi.distance_transform_edt(brain)
    return float(np.mean(depth[shades[2]])) > 1.15 * float(np.mean(depth[shades[1]]))


def _three_shades(grey: Grey, brain: Mask) -> Shades | None:
    """The shades by Otsu's two thresholds, or None where their shares aren't those of a brain."""
    inside = ndi.binary_erosion(brain)
    if np.count_nonzero(inside) < 400:
        return None
    values = grey[inside]
    if np.unique(np.round(values, 3)).size < 8:
        return None
    low, high = three_shades(values)
    fluid, white = inside & (grey < low), inside & (grey > high)
    middle = inside & ~fluid & ~white
    shares = [np.count_nonzero(part) / values.size for part in (fluid, middle, white)]
    # White and grey matter each take a fifth to two thirds of a slice; fluid at most a third, or a little more.
    if min(shares[1:]) < 0.2 or not 0 < shares[0] < 0.4:
        return None
    return np.asarray(fluid), np.asarray(middle), np.asarray(white)
