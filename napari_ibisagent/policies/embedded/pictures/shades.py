"""Thresholds that split grey values into two or three shades (Otsu, IEEE Trans. Syst. Man Cybern. 1979)."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def two_shades(values: NDArray[Any]) -> float:
    """The threshold between two classes with the largest variance between them."""
    centres, share, moment = _sums(values, 256)
    with np.errstate(divide="ignore", invalid="ignore"):
        between = (moment[-1] * share - moment) ** 2 / (share * (1 - share))
    return float(centres[int(np.nanargmax(np.where(np.isfinite(between), between, -1)))])


def three_shades(values: NDArray[Any]) -> tuple[float, float]:
    """The two thresholds between three classes with the largest variance between them."""
    centres, share, moment = _sums(values, 128)
    weight = share[np.newaxis] - share[:, np.newaxis]
    inner = moment[np.newaxis] - moment[:, np.newaxis]
    first, last = share[:, np.newaxis], 1 - share[np.newaxis]
    with np.errstate(divide="ignore", invalid="ignore"):
        between = moment[:, np.newaxis] ** 2 / first + inner**2 / weight + (moment[-1] - moment[np.newaxis]) ** 2 / last
    valid = (weight > 1e-9) & (first > 1e-9) & (last > 1e-9)
    low, high = np.unravel_index(int(np.argmax(np.where(valid, between, -1))), between.shape)
    return float(centres[low]), float(centres[high])


def _sums(values: NDArray[Any], bins: int) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """(upper edges of the bins, cumulated shares, cumulated first moments)."""
    count, edges = np.histogram(values, bins)
    share = count / max(values.size, 1)
    middles = (edges[1:] + edges[:-1]) / 2
    return edges[1:], np.cumsum(share), np.cumsum(share * middles)
