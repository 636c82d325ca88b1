"""A shrunk copy of a view, on which the rules for pictures work: grey, colour and the field that shows something.

Block means to at most 256 pixels a side, so that a picture of 2048 costs no more than one of 256 and speckle and
noise are averaged alike. It leaves out what the rules look for.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage as ndi

from napari_ibisagent.core.masks import Mask
from napari_ibisagent.core.view import View

SIDE = 256
Grey = NDArray[np.float32]
# Darker than this share of the range, and joined to the edge of the picture: the frame, not what is shown.
_FRAME = 0.06
# A pixel is coloured when its strongest and weakest channel differ by this share of the range.
_COLOURED = 0.12


@dataclass(frozen=True, eq=False, slots=True)
class Small:
    """A shrunk view.

    grey: (h, w) in [0, 1], from the 0.5th to the 99.5th percentile. colour: (h, w, 3) in [0, 1] as stored, or
    None for a grey picture (or a colour one with coloured writing only). field: (h, w), False in a dark frame that
    reaches the edge. full: (H, W) of the view. pixel_mm: side of a shrunk pixel, None where no size is stated.
    """

    grey: Grey
    colour: Grey | None
    field: Mask
    full: tuple[int, int]
    pixel_mm: float | None

    @property
    def shape(self) -> tuple[int, int]:
        """(h, w) of the shrunk copy."""
        return int(self.grey.shape[0]), int(self.grey.shape[1])

    def on_view(self, mask: Mask) -> Mask:
        """A mask (h, w) as one of the view (H, W), with a smooth border."""
        if mask.shape == self.full:
            return mask
        soft = mask.astype(np.float32)
        for axis, new in enumerate(self.full):
            soft = _stretched(soft, axis, new)
        return np.asarray(soft > 0.5)


def small_of(view: View, side: int = SIDE) -> Small:
    """The shrunk copy of a view, at most ``side`` pixels wide and high; smaller views keep their size."""
    picture = _shrunk(np.nan_to_num(view.image.astype(np.float32), posinf=0.0, neginf=0.0), side)
    factor = max(1.0, max(view.shape) / side)
    colour = None
    if picture.ndim == 3:
        colour = picture / 255.0
        picture = picture.mean(axis=2)
    low, high = (float(v) for v in np.percentile(picture, (0.5, 99.5)))
    if high <= low:
        low, high = float(picture.min()), float(picture.max())
    grey = np.clip((picture - low) / (high - low), 0, 1) if high > low else np.zeros_like(picture)
    field = ~joined_to_edge(grey < _FRAME)
    if colour is not None and not _is_coloured(colour, field):
        colour = None
    pixel = None if view.pixel_mm is None else view.pixel_mm * factor
    return Small(np.asarray(grey, np.float32), colour, field, view.shape, pixel)


def joined_to_edge(mask: Mask) -> Mask:
    """The connected parts of a mask (h, w) that touch the picture's edge."""
    parts, _ = ndi.label(mask)
    edge = np.concatenate([parts[0], parts[-1], parts[:, 0], parts[:, -1]])
    keep = np.zeros(int(parts.max()) + 1, bool)
    keep[edge] = True
    keep[0] = False
    return np.asarray(keep[parts])


def _is_coloured(colour: Grey, field: Mask) -> bool:
    """Whether most of what is shown has a colour; a grey scan with coloured marks hasn't."""
    chroma = colour.max(axis=2) - colour.min(axis=2)
    lit = field & (colour.max(axis=2) > 0.15)
    return bool(lit.any() and np.mean(chroma[lit] > _COLOURED) > 0.5)


def _shrunk(picture: NDArray[Any], side: int) -> Grey:
    factor = max(picture.shape[:2]) / side
    if factor <= 1:
        return np.asarray(picture, np.float32)
    block = int(np.ceil(factor))
    blurred = ndi.uniform_filter(picture, (block, block) + (1,) * (picture.ndim - 2))
    rows, columns = (
        np.minimum(((np.arange(max(1, round(n / factor))) + 0.5) * factor).astype(np.intp), n - 1)
        for n in picture.shape[:2]
    )
    return np.asarray(blurred[rows[:, np.newaxis], columns], np.float32)


def _stretched(picture: Grey, axis: int, new: int) -> Grey:
    """Linear interpolation along an axis by pixel centres."""
    old = picture.shape[axis]
    at = np.clip((np.arange(new) + 0.5) * old / new - 0.5, 0, old - 1)
    low = np.floor(at).astype(np.intp)
    high = np.minimum(low + 1, old - 1)
    weight = (at - low).astype(np.float32)
    weight = weight[:, np.newaxis] if axis == 0 else weight
    return np.asarray(np.take(picture, low, axis) * (1 - weight) + np.take(picture, high, axis) * weight, np.float32)
