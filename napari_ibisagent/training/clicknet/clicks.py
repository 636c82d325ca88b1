"""Simulated clicks against the difference of a mask and its target."""

from __future__ import annotations

import numpy as np
from scipy import ndimage as ndi

from napari_ibisagent.core.masks import Mask


def next_click(rng: np.random.Generator, mask: Mask, target: Mask) -> tuple[int, int, bool] | None:
    """(row, column, positive) in the deeper error of masks (H, W); None where there is none.

    Six of ten lie at the error's middle, the others anywhere in its inner part: people aren't oracles.
    """
    missed, spilled = (_depth(error) for error in (target & ~mask, mask & ~target))
    positive = bool(missed.max() >= spilled.max())
    chosen = missed if positive else spilled
    deepest = int(chosen.max())
    if deepest == 0:
        return None
    share = max(0.0, 1 - 2.5 * rng.random())  # 0 in six of ten, else uniform
    places = np.flatnonzero(chosen.reshape(-1) >= max(1.0, (1 - share) * deepest))
    row, column = divmod(int(places[int(rng.integers(places.size))]), mask.shape[1])
    return row, column, positive


def _depth(mask: Mask) -> np.ndarray[tuple[int, ...], np.dtype[np.int32]]:
    """How many pixels each one of a mask lies from its border; the picture's border counts as one."""
    return np.asarray(ndi.distance_transform_cdt(np.pad(mask, 1)), np.int32)[1:-1, 1:-1]
