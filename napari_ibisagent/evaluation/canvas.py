"""What a phantom is drawn with: a canvas in the frame of a patient, and implicit solids in mm.

A solid is a signed distance in mm, negative inside. Painting blends it in by coverage, which is what partial
volume is. What it leaves out: anatomy (``phantom``).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from typing import Any

import numpy as np
from numpy.typing import NDArray

Field = NDArray[np.float32]
Point = tuple[float, float, float]
Box = tuple[slice, slice, slice]

NAMES: dict[int, str] = dict(
    enumerate(
        (
            *("liver", "spleen", "left kidney", "right kidney", "aorta", "inferior vena cava", "portal vein"),
            *("gallbladder", "stomach", "pancreas", "duodenum", "small bowel", "colon", "esophagus"),
            *("left adrenal gland", "right adrenal gland", "left lung", "right lung", "heart", "spine"),
            *("spinal canal", "ribs", "muscle", "fat", "skin"),
        ),
        start=1,
    )
)
LABEL = {name: value for value, name in NAMES.items()}

_HEIGHT_MM = 240.0  # of the scan
_FIELD_MM = 400.0  # a side of the axial picture
FAT = -100.0
_SPLINE_SD = 0.33  # of unit noise after cubic B-spline interpolation along three axes


class Canvas:
    """The picture being drawn: HU, labels, the patient's frame, and the spaces that organs are cut to."""

    def __init__(self, rng: np.random.Generator, spacing_mm: Point) -> None:
        self.rng = rng
        stretch = rng.uniform((0.97, 0.96, 0.95), (1.03, 1.05, 1.05))
        extents = (_HEIGHT_MM, _FIELD_MM, _FIELD_MM)
        shape = tuple(max(1, round(e / s)) for e, s in zip(extents, spacing_mm, strict=True))
        starts = (0.0, (1 - shape[1]) / 2 * spacing_mm[1], (1 - shape[2]) / 2 * spacing_mm[2])
        self.axes = [
            ((start + np.arange(n) * step) / size).astype(np.float32)
            for start, n, step, size in zip(starts, shape, spacing_mm, stretch, strict=True)
        ]
        self.hu: Field = np.full(shape, -1000, dtype=np.float32)
        self.labels = np.zeros(shape, dtype=np.uint8)
        self.edge = 1.2 * max(spacing_mm[1:])  # mm over which one tissue gives way to the next
        self.phase = float(rng.uniform(0.94, 1.06))  # early or late in the portal venous phase
        self.cavity: Field = self.hu  # within the wall of chest and abdomen
        self.abdomen: Field = self.hu  # the cavity below the diaphragm
        self.dome: Field = self.hu  # the diaphragm alone

    def box(self, low: Point, high: Point) -> Box:
        """The voxels from ``low`` to ``high``, at least one along each axis."""
        edges = []
        for axis, a, b in zip(self.axes, low, high, strict=True):
            first = min(int(np.searchsorted(axis, a)), axis.size - 1)
            edges.append(slice(first, max(first + 1, int(np.searchsorted(axis, b)))))
        return edges[0], edges[1], edges[2]

    def around(self, centre: Point, reach: float | Point) -> Box:
        """The voxels within ``reach`` of a point."""
        r = np.broadcast_to(reach, 3)
        low, high = np.subtract(centre, r), np.add(centre, r)
        return self.box((low[0], low[1], low[2]), (high[0], high[1], high[2]))

    def frame(self, box: Box) -> tuple[Field, Field, Field]:
        """z (n, 1, 1), y (1, n, 1) and x (1, 1, n) of the voxels of a box."""
        z, y, x = (axis[part] for axis, part in zip(self.axes, box, strict=True))
        return z[:, None, None], y[None, :, None], x[None, None, :]

    def whole(self, box: Box, inside: Field) -> Field:
        """A distance over the whole grid that is 'far outside' but for a box."""
        result = np.full(self.hu.shape, 99, dtype=np.float32)
        result[box] = inside
        return result

    def near(self, centre: Point, spread: float = 3.0) -> Point:
        """A point beside ``centre``: no two patients are alike."""
        z, y, x = self.rng.uniform(-spread, spread, 3) + centre
        return float(z), float(y), float(x)

    def bumps(self, box: Box, wave: float, size: float = 1.0) -> Field:
        """Smooth noise over a box: features of about ``wave`` mm, standard deviation ``size``."""
        weights = [spline(axis[part], wave) for axis, part in zip(self.axes, box, strict=True)]
        lattice = self.rng.standard_normal([w.shape[1] for w in weights], dtype=np.float32)
        lattice *= size / _SPLINE_SD
        slabs = np.tensordot(weights[0], lattice, 1)
        return np.asarray(np.matmul(np.matmul(weights[1], slabs), weights[2].T), dtype=np.float32)

    def paint(self, box: Box, inside: Field, hu: float | Field, name: str = "", rim: float = 0.0) -> None:
        """Lay a solid over what is there; ``rim`` mm of fat part it from its neighbours in the abdomen."""
        if rim:
            self.paint(box, np.maximum(inside - rim, self.abdomen[box]), FAT, "fat")
        cover = np.clip(0.5 - inside / self.edge, 0, 1)
        here = self.hu[box]
        here += cover * (hu - here)
        if name:
            self.labels[box][cover >= 0.5] = LABEL[name]

    def tube(self, points: Sequence[Point], radii: Sequence[float], margin: float = 6.0) -> tuple[Box, Field]:
        """A pipe through ``points`` with a radius at each; far from it the distance is only 'large'."""
        reach = max(radii) + margin
        low, high = np.min(points, axis=0) - reach, np.max(points, axis=0) + reach
        box = self.box((low[0], low[1], low[2]), (high[0], high[1], high[2]))
        result = np.full([part.stop - part.start for part in box], 99.0, dtype=np.float32)
        for a, b, ra, rb in zip(points[:-1], points[1:], radii[:-1], radii[1:], strict=True):
            low, high = np.minimum(a, b) - reach, np.maximum(a, b) + reach
            part = self.box((low[0], low[1], low[2]), (high[0], high[1], high[2]))
            local = tuple(
                slice(p.start - whole.start, p.stop - whole.start) for p, whole in zip(part, box, strict=True)
            )
            result[local] = np.minimum(result[local], capsule(self.frame(part), a, b, ra, rb))
        return box, result


def spline(at: Field, wave: float) -> Field:
    """Weights (points, knots) of a uniform cubic B-spline with a knot every ``wave`` mm."""
    position = (at - at[0]) / wave + 1
    d = np.abs(position[:, None] - np.arange(int(position[-1]) + 3, dtype=np.float32))
    near, far = 2 / 3 - d**2 + d**3 / 2, np.clip(2 - d, 0, None) ** 3 / 6
    return np.asarray(np.where(d < 1, near, far), dtype=np.float32)


def capsule(frame: tuple[Field, Field, Field], a: Point, b: Point, ra: float, rb: float) -> Field:
    """A round-ended cone from ``a`` (radius ``ra``) to ``b`` (radius ``rb``)."""
    along = np.subtract(b, a)
    offsets = [p - np.float32(c) for p, c in zip(frame, a, strict=True)]
    length2 = max(float(along @ along), 1e-6)
    t = sum(o * np.float32(v / length2) for o, v in zip(offsets, along, strict=True))
    t = np.clip(np.asarray(t, dtype=np.float32), 0, 1)
    square = sum((o - t * np.float32(v)) ** 2 for o, v in zip(offsets, along, strict=True))
    return np.asarray(np.sqrt(square) - (ra + t * np.float32(rb - ra)), dtype=np.float32)


def ellipsoid(
    frame: tuple[Field, Field, Field], centre: Point, radii: Point, tilt: float = 0.0, roll: float = 0.0
) -> Field:
    """``tilt`` radians lean its long axis in the coronal plane, ``roll`` turns it in the axial plane."""
    z, y, x = (p - np.float32(c) for p, c in zip(frame, centre, strict=True))
    if roll:
        y, x = (
            y * np.float32(np.cos(roll)) - x * np.float32(np.sin(roll)),
            (y * np.float32(np.sin(roll)) + x * np.float32(np.cos(roll))),
        )
    if tilt:
        z, x = (
            z * np.float32(np.cos(tilt)) - x * np.float32(np.sin(tilt)),
            (z * np.float32(np.sin(tilt)) + x * np.float32(np.cos(tilt))),
        )
    parts = [(p / np.float32(r)) ** 2 for p, r in zip((z, y, x), radii, strict=True)]
    level = np.sqrt(parts[0] + parts[1] + parts[2])
    slope = np.sqrt(sum(p / np.float32(r * r) for p, r in zip(parts, radii, strict=True)))
    # First-order distance: exact on the surface, and of the right size near it.
    return np.asarray(level * (level - 1) / (slope + np.float32(1e-6)), dtype=np.float32)


def join(a: Field, b: Field, blend: float) -> Field:
    """The union of two solids with a fillet of about ``blend`` mm."""
    h = np.clip(1 - np.abs(a - b) / np.float32(blend), 0, None)
    return np.asarray(np.minimum(a, b) - h * h * np.float32(blend / 4), dtype=np.float32)


def cut(*solids: Field) -> Field:
    """What all solids have in common."""
    return np.asarray(reduce(np.maximum, solids), dtype=np.float32)


def point(values: Any) -> Point:
    """(z, y, x) as plain floats."""
    return float(values[0]), float(values[1]), float(values[2])
