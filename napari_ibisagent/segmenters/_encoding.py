"""What the click network sees: a picture of any scale as channels, and prompts as maps. numpy and nothing else.

Training and inference share this module, so that the network meets the same numbers in both.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage as ndi

Field = NDArray[np.float32]

# A click is a disc of this radius, in the network's pixels.
DISC = 3
# Picture channels: linear, equalised, and two colour differences (0 in grey pictures).
PICTURE_CHANNELS = 4
# Beside them: prior mask, positive and negative discs, box, and how unlike the clicked places each pixel looks.
CHANNELS = PICTURE_CHANNELS + 6
_BINS = 256


def picture_channels(image: Field) -> Field:
    """(4, H, W) in about [-1, 1] of a finite picture (H, W) or (H, W, 3) of any scale.

    The equalised channel gives every grey the room that its number of pixels earns, so that soft tissue is told
    apart though air and bone take most of the scale.
    """
    grey = image if image.ndim == 2 else image.mean(axis=2)
    result = np.zeros((PICTURE_CHANNELS, *grey.shape), np.float32)
    low, high = np.percentile(grey, (0.5, 99.5))
    if high <= low:
        low, high = float(grey.min()), float(grey.max())
    scale = np.float32(high - low if high > low else 1.0)
    linear = np.clip((grey - np.float32(low)) / scale, 0, 1)
    result[0] = 2 * linear - 1
    result[1] = _equalised(linear)
    if image.ndim == 3:
        red, green, blue = (image[..., n] / scale for n in range(3))
        result[2] = np.clip(1.4 * (red - blue), -1, 1)
        result[3] = np.clip(1.0 * (2 * green - red - blue), -1, 1)
    return result


def _equalised(linear: Field) -> Field:
    """(H, W) in [-1, 1]: the share of pixels that are darker."""
    index = np.minimum((linear * _BINS).astype(np.intp), _BINS - 1)
    counts = np.bincount(index.reshape(-1), minlength=_BINS)
    below = np.cumsum(counts)
    edges = np.concatenate(([0], below)) / below[-1]
    within = linear * _BINS - index
    share = edges[index] + within * (edges[index + 1] - edges[index])
    return np.asarray(2 * share - 1, np.float32)


def likeness_base(picture: Field) -> Field:
    """(4, H, W): what two places are compared by; smoothed a little, so that a click in noise says what's meant."""
    return np.stack([ndi.uniform_filter(channel, 3) for channel in picture])


def unlikeness(base: Field, places: Sequence[tuple[int, int]]) -> Field:
    """(H, W) in [0, 1]: how far each pixel's look is from the nearest-looking of some places (row, column)."""
    result = np.ones(base.shape[1:], np.float32)
    for row, column in places:
        away = np.abs(base - base[:, row, column][:, np.newaxis, np.newaxis]).sum(axis=0)
        np.minimum(result, away, out=result)
    return result


def discs(shape: tuple[int, int], places: Sequence[tuple[int, int]]) -> Field:
    """(H, W) with 1 within ``DISC`` pixels of a place (row, column)."""
    result = np.zeros(shape, np.float32)
    at = np.arange(-DISC, DISC + 1)
    near = np.hypot(at[:, np.newaxis], at) <= DISC + 0.3
    for row, column in places:
        top, left = max(0, row - DISC), max(0, column - DISC)
        bottom, right = min(shape[0], row + DISC + 1), min(shape[1], column + DISC + 1)
        part = near[top - row + DISC : bottom - row + DISC, left - column + DISC : right - column + DISC]
        np.maximum(result[top:bottom, left:right], part, out=result[top:bottom, left:right])
    return result
