"""Which of the patient's sides lies where: letters for the edges of a picture, and points in patient coordinates.

Letters name the patient's side (R, L, A, P, S, I). An oblique axis gets several, the largest component first, as in
DICOM's Patient Orientation (PS3.3, C.7.6.1.1.1). Drawing them is ``ui.orientation``'s part.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from napari_ibisagent.core.geometry import Affine

# Letters towards the positive and the negative end of the RAS+ axes.
_SIDES = (("R", "L"), ("A", "P"), ("S", "I"))

# A further letter is named where its axis has a direction cosine above this: a tilt of more than 17 degrees.
# Below it, the letter would suggest an oblique slice for what is hardly more than an uneven head.
_NOTABLE = 0.3

Letters = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Edges:
    """The letters at the four edges of a picture."""

    top: str
    bottom: str
    left: str
    right: str


def axis_letters(affine: Affine) -> Letters:
    """For each array axis z, y, x the letters at its low end and at its high end.

    ``affine`` (4, 4) maps (x, y, z, 1) to RAS+ mm. The standard volume gives (S, I), (A, P), (R, L).
    Raises ValueError where the affine has no extent along an axis.
    """
    directions = np.asarray(affine, dtype=np.float64)[:3, :3]
    lengths = np.linalg.norm(directions, axis=0)
    if not np.all(np.isfinite(lengths)) or np.any(lengths <= 0):
        raise ValueError("The affine has an axis of no length.")
    cosines = directions / lengths
    return tuple((_letters(-cosines[:, column]), _letters(cosines[:, column])) for column in (2, 1, 0))


def edge_letters(letters: Letters, displayed: tuple[int, int], flipped: tuple[bool, bool] = (False, False)) -> Edges:
    """The letters at the edges of a picture whose rows and columns run along two of the axes of ``axis_letters``.

    displayed: (row axis, column axis), 0 to 2 for z, y, x; rows run down and columns to the right.
    flipped: whether the rows run up, and whether the columns run to the left.
    """
    top, bottom = letters[displayed[0]][:: -1 if flipped[0] else 1]
    left, right = letters[displayed[1]][:: -1 if flipped[1] else 1]
    return Edges(top, bottom, left, right)


def patient_point(affine: Affine, voxel_zyx: Sequence[float]) -> tuple[float, float, float]:
    """The point (x, y, z) in RAS+ mm of a voxel index (z, y, x), with fractions; ``affine`` as in ``axis_letters``."""
    z, y, x = voxel_zyx
    point = np.asarray(affine, dtype=np.float64) @ (x, y, z, 1.0)
    return float(point[0]), float(point[1]), float(point[2])


def point_text(point: tuple[float, float, float]) -> str:
    """A point (x, y, z) in RAS+ mm as "R 12.3  A 40.1  S 77.0 mm"; the letters carry the signs."""
    # Rounded before the letter is chosen, so that a hair below zero isn't written as the left.
    rounded = [round(value, 1) for value in point]
    words = [f"{sides[value < 0]} {abs(value):.1f}" for sides, value in zip(_SIDES, rounded, strict=True)]
    return "  ".join(words) + " mm"


def _letters(direction: NDArray[np.float64]) -> str:
    """The letters of a unit vector (x, y, z) in RAS+, the largest component first."""
    order = np.argsort(-np.abs(direction), kind="stable")
    named = [int(axis) for rank, axis in enumerate(order) if rank == 0 or abs(direction[axis]) > _NOTABLE]
    return "".join(_SIDES[axis][int(direction[axis] < 0)] for axis in named)
