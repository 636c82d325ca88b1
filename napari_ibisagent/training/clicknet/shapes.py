"""Random shapes as masks (side, side): blobs, beans, lobes, rings, tubes, trees, bands, halves and flocks of cells."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage as ndi

from napari_ibisagent.core.masks import Mask
from napari_ibisagent.training.clicknet.fields import Field, smooth_field

Random = np.random.Generator


def log_uniform(rng: Random, low: float, high: float) -> float:
    """Between ``low`` and ``high``, each size as likely as its double."""
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))


def grid(side: int) -> tuple[Field, Field]:
    """(y, x) of the pixels' middles in [-1, 1]."""
    at = ((np.arange(side) + 0.5) * 2 / side - 1).astype(np.float32)
    return np.broadcast_to(at[:, np.newaxis], (side, side)), np.broadcast_to(at, (side, side))


def radial(
    rng: Random, side: int, size: float, centre: tuple[float, float], stretch: float = 0.35, wobble: float = 1.0
) -> Field:
    """How far out each pixel is of a random closed curve: below 1 inside. ``size`` is its radius in half sides.

    An ellipse or superellipse whose radius swings with the angle, on a warped plane.
    """
    y, x = grid(side)
    amount = wobble * size * float(rng.choice((0.0, 0.06, 0.14, 0.26)))
    if amount:
        cells = min(side / 6, log_uniform(rng, 0.8, 3.0) / size)
        y = y + np.float32(amount) * smooth_field(rng, side, cells)
        x = x + np.float32(amount) * smooth_field(rng, side, cells)
    angle = rng.uniform(0, np.pi)
    thin = float(rng.uniform(stretch, 1))
    u = ((x - centre[1]) * np.cos(angle) + (y - centre[0]) * np.sin(angle)) * thin**0.5
    v = ((y - centre[0]) * np.cos(angle) - (x - centre[1]) * np.sin(angle)) / thin**0.5
    power = 2.0 if rng.random() < 0.75 else float(rng.uniform(2.5, 6))
    out = (np.abs(u) ** power + np.abs(v) ** power) ** (1 / power) / size
    if rng.random() < 0.6:
        theta = np.arctan2(v, u)
        radius = np.ones_like(out)
        for harmonic in range(2, int(rng.integers(3, 8))):
            swing = wobble * rng.uniform(0, 0.3) / harmonic
            radius += np.float32(swing) * np.cos(harmonic * theta + np.float32(rng.uniform(0, 2 * np.pi)))
        out = out / np.maximum(radius, 0.3)
    return np.asarray(out, np.float32)


def place(rng: Random, reach: float = 0.8) -> tuple[float, float]:
    """A random middle (y, x), up to ``reach`` from the picture's."""
    return float(rng.uniform(-reach, reach)), float(rng.uniform(-reach, reach))


def blob(rng: Random, side: int, size: float, reach: float = 0.8) -> Mask:
    """One closed, mostly round thing."""
    return np.asarray(radial(rng, side, size, place(rng, reach)) < 1)


def bean(rng: Random, side: int, size: float, reach: float = 0.8) -> Mask:
    """A blob with a bay: kidneys, crescents, caudate."""
    y, x = place(rng, reach)
    angle = rng.uniform(0, 2 * np.pi)
    away = size * rng.uniform(0.6, 1.2)
    bay = (y + away * float(np.sin(angle)), x + away * float(np.cos(angle)))
    whole = radial(rng, side, size, (y, x))
    return np.asarray((whole < 1) & (radial(rng, side, size * rng.uniform(0.3, 0.8), bay) >= 1))


def lobes(rng: Random, side: int, size: float, reach: float = 0.8) -> Mask:
    """Several overlapping blobs: lobulated organs, bowel, vertebrae with their processes."""
    y, x = place(rng, reach)
    mask = np.zeros((side, side), bool)
    for _ in range(int(rng.integers(2, 6))):
        part = size * rng.uniform(0.35, 0.75)
        mask |= radial(rng, side, part, (y, x)) < 1
        angle = rng.uniform(0, 2 * np.pi)
        y, x = y + part * float(np.sin(angle)), x + part * float(np.cos(angle))
    return mask


def tube(rng: Random, side: int, size: float, reach: float = 0.8) -> Mask:
    """A bent tube of changing width: vessels, ducts, ribs, gut."""
    return _tubes(rng, side, (_curve(rng, place(rng, reach), size * 2.5),), size * rng.uniform(0.08, 0.4))


def tree(rng: Random, side: int, size: float, reach: float = 0.8) -> Mask:
    """Tubes from one place: branching vessels."""
    start = place(rng, reach)
    curves = tuple(_curve(rng, start, size * 2) for _ in range(int(rng.integers(2, 5))))
    return _tubes(rng, side, curves, size * rng.uniform(0.05, 0.15))


def band(rng: Random, side: int, size: float, reach: float = 0.8) -> Mask:
    """A layer from border to border: skin, fat, retina, muscle."""
    y, x = grid(side)
    angle = rng.uniform(0, np.pi)
    along = y * np.cos(angle) + x * np.sin(angle) + np.float32(rng.uniform(0, 0.3)) * smooth_field(rng, side, 2)
    return np.asarray(np.abs(along - np.float32(rng.uniform(-reach, reach))) < size * rng.uniform(0.15, 0.6))


def corner(rng: Random, side: int, size: float, reach: float = 0.8) -> Mask:
    """All on one side of a bent line: what the picture shows only a part of."""
    y, x = grid(side)
    angle = rng.uniform(0, 2 * np.pi)
    along = y * np.cos(angle) + x * np.sin(angle) + np.float32(rng.uniform(0.02, 0.3)) * smooth_field(rng, side, 2.5)
    return np.asarray(along > 1 + (0.8 - reach) / 2 - 1.2 * size)


def cells(rng: Random, side: int, size: float) -> list[Mask]:
    """Many small alike blobs, each a mask: nuclei, follicles, metastases."""
    small = max(size * 0.25, 0.035)
    count = min(int(rng.integers(4, 40)), int(0.5 / small**2))
    return [
        np.asarray(radial(rng, side, small * rng.uniform(0.7, 1.3), place(rng, 0.95), 0.5, 0.5) < 1)
        for _ in range(max(count, 2))
    ]


ONE_PIECE = (blob, bean, lobes, tube, tree, band, corner)
LIKELY = np.array((0.42, 0.14, 0.17, 0.12, 0.04, 0.05, 0.06))


def _curve(rng: Random, start: tuple[float, float], length: float) -> NDArray[np.float64]:
    """(60, 2) points (y, x) of a path that turns smoothly."""
    turn = np.cumsum(rng.normal(0, rng.uniform(0.02, 0.16), 60)) + rng.uniform(0, 2 * np.pi)
    steps = np.stack([np.sin(turn), np.cos(turn)], axis=1) * length / 60
    return np.asarray(np.cumsum(steps, axis=0) + np.array(start))


def _tubes(rng: Random, side: int, curves: tuple[NDArray[np.float64], ...], radius: float) -> Mask:
    away = np.ones((side, side), bool)
    for curve in curves:
        fine = np.concatenate([curve[:-1] + (curve[1:] - curve[:-1]) * t for t in (0.0, 0.25, 0.5, 0.75)])
        rows, columns = ((fine + 1) * side / 2).astype(int).T
        inside = (rows >= 0) & (rows < side) & (columns >= 0) & (columns < side)
        away[rows[inside], columns[inside]] = False
    if away.all():
        return np.zeros((side, side), bool)
    width = radius * side / 2 * (1 + 0.25 * np.clip(smooth_field(rng, side, 4), -2, 2))
    return np.asarray(ndi.distance_transform_edt(away) < np.maximum(width, 1.0))
