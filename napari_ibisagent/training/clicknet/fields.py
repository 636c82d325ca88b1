"""Smooth random fields: what regions, warps, textures and shading are made of."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

Field = NDArray[np.float32]


def smooth_field(rng: np.random.Generator, side: int, cells: float) -> Field:
    """(side, side) of unit spread, about ``cells`` independent values a side: a cubic B-spline of random ones."""
    count = max(1, round(cells))
    weights = _spline(side, count)
    values = rng.standard_normal((count + 3, count + 3)).astype(np.float32)
    return np.asarray(weights @ values @ weights.T / np.float32(0.48), np.float32)


def fractal_field(rng: np.random.Generator, side: int, cells: float, roughness: float) -> Field:
    """Several octaves from ``cells`` up to the pixel, each ``roughness`` times the one before; unit spread."""
    total = np.zeros((side, side), np.float32)
    weight, power = 1.0, 0.0
    while cells < side / 2:
        total += np.float32(weight) * smooth_field(rng, side, cells)
        power += weight * weight
        weight *= roughness
        cells *= 2
    return np.asarray(total / np.float32(max(power, 1e-6) ** 0.5), np.float32)


@lru_cache(maxsize=256)
def _spline(side: int, cells: int) -> Field:
    """(side, cells + 3): the weights of a uniform cubic B-spline at the pixels' middles."""
    at = (np.arange(side) + 0.5) * cells / side
    first = np.minimum(at.astype(int), cells - 1)
    t = at - first
    parts = ((1 - t) ** 3, 3 * t**3 - 6 * t**2 + 4, -3 * t**3 + 3 * t**2 + 3 * t + 1, t**3)
    weights = np.zeros((side, cells + 3), np.float32)
    for offset, part in enumerate(parts):
        weights[np.arange(side), first + offset] = part / 6
    return weights
