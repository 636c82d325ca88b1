"""The two lung fields of a chest X-ray: dark, long, side by side, like each other's mirror image.

Used to recognise a chest X-ray and to find the lungs in it. Leaves out what lies behind heart and diaphragm.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage as ndi

from napari_ibisagent.core.masks import Mask, bounding_box, iou
from napari_ibisagent.policies.embedded.pictures.shapes import border_step
from napari_ibisagent.policies.embedded.pictures.small import Grey, Small, joined_to_edge

# Shares of the picture. An upright chest X-ray is collimated to the chest, so each lung takes a tenth to a third of
# it; the smaller one (heart, raised diaphragm) has at least half of the other's area.
_AREA = (0.05, 0.33)
_HEIGHT = 0.3
_LEVELS = 14


@dataclass(frozen=True, eq=False, slots=True)
class LungFields:
    """The fields (h, w) at the picture's left and right; alike: overlap (IoU) of one with the other's mirror image.

    contrast: how much brighter the surroundings are, as a share of the picture's range.
    """

    left: Mask
    right: Mask
    alike: float
    contrast: float


def lung_fields(small: Small) -> LungFields | None:
    """The lung fields of a picture, or None where no two dark parts look like lungs."""
    smooth = np.asarray(ndi.gaussian_filter(small.grey, max(small.shape) / 100), np.float32)
    low, high = (float(v) for v in np.percentile(smooth, (2, 90)))
    best: LungFields | None = None
    for level in np.linspace(low, high, _LEVELS + 1)[1:]:
        found = _pair(smooth, np.asarray(smooth < level))
        if found is not None and (best is None or _rank(found) > _rank(best)):
            best = found
    return best


def _rank(fields: LungFields) -> float:
    """Contrast falls as a field grows beyond its darkest part, so the area counts as well."""
    return fields.contrast * fields.alike * float(np.count_nonzero(fields.left) + np.count_nonzero(fields.right))


def _pair(smooth: Grey, dark: Mask) -> LungFields | None:
    height, width = smooth.shape
    reach = max(1, round(0.015 * max(height, width)))
    inner = ndi.binary_opening(dark & ~joined_to_edge(dark), iterations=reach)
    parts, _ = ndi.label(inner)
    sizes = np.bincount(parts.ravel()) / inner.size
    sides: list[list[Mask]] = [[], []]
    for number in np.nonzero((sizes > _AREA[0]) & (sizes < _AREA[1]))[0]:
        if number == 0:
            continue
        part = np.asarray(parts == number)
        box = bounding_box(part)
        if box is None:
            continue
        tall, wide = (b.stop - b.start for b in box)
        if tall < _HEIGHT * height or wide > 1.1 * tall:
            continue
        sides[int(float(np.nonzero(part)[1].mean()) > width / 2)].append(part)
    if len(sides[0]) != 1 or len(sides[1]) != 1:
        return None
    left, right = (
        ndi.binary_fill_holes(ndi.binary_closing(np.pad(side[0], 4 * reach), iterations=3 * reach)) for side in sides
    )
    left, right = (np.asarray(side[4 * reach : -4 * reach, 4 * reach : -4 * reach]) for side in (left, right))
    return _judged(smooth, left, right)


def _judged(smooth: Grey, left: Mask, right: Mask) -> LungFields | None:
    areas = np.count_nonzero(left), np.count_nonzero(right)
    if min(areas) < 0.45 * max(areas) or (left & right).any():
        return None
    rows = [float(np.nonzero(side)[0].mean()) for side in (left, right)]
    columns = [float(np.nonzero(side)[1].mean()) for side in (left, right)]
    height, width = left.shape
    if abs(rows[0] - rows[1]) > 0.12 * height or abs(sum(columns) / 2 - width / 2) > 0.15 * width:
        return None
    shift = round(sum(columns)) - (width - 1)
    mirror = np.roll(right[:, ::-1], shift, axis=1)
    alike = iou(left, mirror)
    if alike < 0.45:
        return None
    region = np.ones(left.shape, bool)
    step = min(border_step(-smooth, side, region)[0] for side in (left, right))
    spread = float(np.percentile(smooth, 98) - np.percentile(smooth, 2)) or 1.0
    return LungFields(left, right, alike, step / spread)
