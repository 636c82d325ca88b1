"""Erosion, dilation and connected parts of coarse masks, each in no larger a window than it needs.

The scan's own border never erodes: organs may be cut by the field of view.
"""

from __future__ import annotations

import numpy as np
from scipy import ndimage as ndi

from napari_ibisagent.core.masks import Mask, bounding_box


def eroded(mask: Mask, footprint: Mask) -> Mask:
    """Binary erosion in which the scan's own border doesn't erode."""
    window = _window(mask, (1,) * mask.ndim)
    result = np.zeros_like(mask)
    if window is not None:
        result[window] = ndi.binary_erosion(mask[window], footprint, border_value=1)
    return result


def dilated(mask: Mask, footprint: Mask) -> Mask:
    """Binary dilation."""
    window = _window(mask, tuple(n // 2 for n in footprint.shape))
    result = np.zeros_like(mask)
    if window is not None:
        result[window] = ndi.binary_dilation(mask[window], footprint)
    return result


def opened(mask: Mask, footprint: Mask) -> Mask:
    """Binary opening in which the scan's own border doesn't erode."""
    return dilated(eroded(mask, footprint), footprint)


def closed(mask: Mask, footprint: Mask) -> Mask:
    """Binary closing in which the scan's own border doesn't erode."""
    return eroded(dilated(mask, footprint), footprint)


def largest_part(mask: Mask) -> Mask:
    """The largest connected part of a mask of any number of axes."""
    parts, count = ndi.label(mask)
    if count < 2:
        return mask
    sizes = np.bincount(parts.ravel())
    sizes[0] = 0
    return np.asarray(parts == int(sizes.argmax()))


def large_parts(mask: Mask, voxels: float) -> Mask:
    """The connected parts of at least that many voxels."""
    parts, _ = ndi.label(mask)
    sizes = np.bincount(parts.ravel())
    keep = sizes >= voxels
    keep[0] = False
    return np.asarray(keep[parts])


def _window(mask: Mask, margin: tuple[int, ...]) -> tuple[slice, ...] | None:
    """The mask's bounding box with a margin, within the array; None where it is empty."""
    box = bounding_box(mask)
    if box is None:
        return None
    return tuple(slice(max(b.start - m, 0), b.stop + m) for b, m in zip(box, margin, strict=True))
