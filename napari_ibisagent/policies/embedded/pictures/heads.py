"""A head seen in a transverse slice: one oval on a dark ground, alike on both sides of its long axis.

Used to recognise a picture of a brain and to find the brain in it, with or without its skull.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np
from scipy import ndimage as ndi

from napari_ibisagent.core.masks import Mask
from napari_ibisagent.policies.embedded.morphology import largest_part
from napari_ibisagent.policies.embedded.pictures.shapes import ellipse_of, ovalness, symmetry_axis
from napari_ibisagent.policies.embedded.pictures.small import Grey, Small

# A head is 120 to 175 mm wide and 160 to 220 mm long in adults (a brain about 15 % less, a child's head less):
# its axes differ by a factor of 1.05 to 1.6. Slices near the vertex are smaller.
_ASPECT = 1.65
_LONG_MM = (60.0, 260.0)


@dataclass(frozen=True, eq=False, slots=True)
class Head:
    """outline (h, w): the whole head. brain (h, w): what lies inside the skull (all of it where none is seen).

    middle: (y, x, angle) of the line between the hemispheres. alike: correlation of the two halves. skull: whether
    a dark ring separates brain and scalp.
    """

    outline: Mask
    brain: Mask
    middle: tuple[float, float, float]
    alike: float
    skull: bool


@functools.lru_cache(maxsize=2)
def head_of(small: Small) -> Head | None:
    """The head in a shrunk picture, or None where there is none that is whole and alike on both sides."""
    outline = _outline(small)
    if outline is None:
        return None
    smooth = np.asarray(ndi.gaussian_filter(small.grey, 1.0), np.float32)
    brain, skull = _brain(smooth, outline)
    inside = smooth[brain]
    middle = float(np.median(inside))
    # Brain is soft and even: little of it is far darker than its median, and its grey varies by less than half of its
    # mean. A trunk has bones, fat and gas.
    uneven = float(inside.std()) > 0.45 * float(inside.mean()) or np.mean(inside < 0.3 * middle) > 0.1
    if middle <= 0.05 or uneven or _is_disc(outline):
        return None
    alike, axis = symmetry_axis(smooth, outline)
    if alike < 0.6:
        return None
    return Head(outline, brain, axis, alike, skull)


def _is_disc(outline: Mask) -> bool:
    """Whether the outline is a perfect circle: the round field of a machine, no head."""
    ellipse = ellipse_of(outline)
    return ellipse.long < 1.04 * ellipse.short and ovalness(outline) > 0.98


def _outline(small: Small) -> Mask | None:
    """The one oval part that isn't background."""
    ground = float(np.percentile(small.grey, 99)) * 0.12
    smooth = ndi.gaussian_filter(small.grey, 1.0)
    lit = largest_part(np.asarray(ndi.binary_fill_holes(ndi.binary_opening(smooth > ground, iterations=2))))
    share = np.count_nonzero(lit) / lit.size
    if not 0.06 < share < 0.85:
        return None
    ellipse = ellipse_of(lit)
    if ellipse.long > _ASPECT * ellipse.short or ovalness(lit) < 0.87:
        return None
    # Of a head at most one side is cut off by the picture.
    touched = [side.mean() > 0.15 for side in (lit[0], lit[-1], lit[:, 0], lit[:, -1])]
    if sum(touched) > 1:
        return None
    if small.pixel_mm is not None and not _LONG_MM[0] < 2 * ellipse.long * small.pixel_mm < _LONG_MM[1]:
        return None
    return np.asarray(lit)


def _brain(smooth: Grey, outline: Mask) -> tuple[Mask, bool]:
    """(brain, whether a dark skull surrounds it): the largest core that a dark ring cuts off from the scalp."""
    depth = ndi.distance_transform_edt(outline)
    deepest = float(depth.max())
    core = depth > 0.4 * deepest
    typical = float(np.median(smooth[core]))
    reach = max(1, round(0.03 * deepest))
    rim = outline & (depth < 0.1 * deepest)
    for level in (0.5, 0.6, 0.7, 0.8):
        parts, count = ndi.label(ndi.binary_erosion((smooth > level * typical) & outline, iterations=reach))
        if count == 0:
            break
        inside = np.bincount(parts[core & (parts > 0)], minlength=count + 1)
        grown = ndi.binary_dilation(parts == int(inside.argmax()), iterations=reach + 1) & outline
        brain = ndi.binary_fill_holes(ndi.binary_closing(np.pad(grown, 12), iterations=8))[12:-12, 12:-12] & outline
        share = np.count_nonzero(brain) / np.count_nonzero(outline)
        if np.mean(brain[rim]) < 0.5 and share > 0.4 and ovalness(brain) > 0.85:
            return np.asarray(brain), True
    return outline, False
