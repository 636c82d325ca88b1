"""Masks: overlap measures, error regions, and the text form in which they are kept.

The text form is run lengths, row-major, starting with the zeros, joined by spaces, then zlib and base64:
the form of the published trajectory files (DESIGN section 6), and small: a slice's organ takes some 300
bytes. It serves masks of any number of axes.
"""

from __future__ import annotations

import base64
import binascii
import zlib

import numpy as np
from numpy.typing import NDArray

Mask = NDArray[np.bool_]


def iou(a: Mask, b: Mask) -> float:
    """Intersection over union; 1 when both are empty."""
    union = int(np.count_nonzero(a | b))
    return int(np.count_nonzero(a & b)) / union if union else 1.0


def dice(a: Mask, b: Mask) -> float:
    """Dice coefficient; 1 when both are empty."""
    total = int(np.count_nonzero(a)) + int(np.count_nonzero(b))
    return 2 * int(np.count_nonzero(a & b)) / total if total else 1.0


def error_regions(mask: Mask, truth: Mask) -> tuple[Mask, Mask]:
    """(false negatives, false positives): what the mask misses and what it spills."""
    return truth & ~mask, mask & ~truth


def bounding_box(mask: Mask) -> tuple[slice, ...] | None:
    """The smallest slices that hold every true element, or None for an empty mask."""
    slices = []
    for axis in range(mask.ndim):
        others = tuple(a for a in range(mask.ndim) if a != axis)
        (found,) = np.nonzero(mask.any(axis=others))
        if found.size == 0:
            return None
        slices.append(slice(int(found[0]), int(found[-1]) + 1))
    return tuple(slices)


def encode(mask: Mask) -> str:
    """The text form of a mask of any shape. ``decode`` needs the shape."""
    flat = np.ascontiguousarray(mask, dtype=bool).reshape(-1)
    changes = np.flatnonzero(flat[1:] != flat[:-1]) + 1
    edges = np.concatenate(([0], changes, [flat.size]))
    runs = np.diff(edges)
    if flat.size and flat[0]:
        runs = np.concatenate(([0], runs))
    return base64.b64encode(zlib.compress(" ".join(map(str, runs.tolist())).encode())).decode("ascii")


def decode(text: str, shape: tuple[int, ...]) -> Mask:
    """The mask (``shape``) of a text form. Raises ValueError where the text is broken or of another size."""
    try:
        runs = np.array(zlib.decompress(base64.b64decode(text, validate=True)).split(), dtype=np.int64)
    except (binascii.Error, zlib.error, ValueError, OverflowError) as error:
        raise ValueError(f"A stored mask can't be read: {error}.") from error
    size = int(np.prod(shape))
    # The sum of runs that are each too long could wrap round to the right size.
    if np.any((runs < 0) | (runs > size)) or int(runs.sum()) != size:
        raise ValueError(f"A stored mask doesn't hold the {size} elements that its shape {shape} needs.")
    values = np.arange(runs.size) % 2 == 1
    return np.repeat(values, runs).reshape(shape)
