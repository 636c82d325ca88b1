"""The one place that converts between axis conventions. Everything else trusts it.

The canonical array runs ``(z, y, x)`` = Superior->Inferior, Anterior->Posterior, Right->Left, so an axial
slice drawn with row 0 on top is the radiological view (the patient's left is on the right of the picture).
A *source* array is in the order of its file's library as ``(i, j, k)`` with an affine to RAS+ mm.
Going to canonical and back swaps and flips axes and never resamples (DESIGN section 5).
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import permutations
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Affine = NDArray[np.float64]

# Direction in RAS+ of the canonical axes z, y, x: inferior, posterior, left.
_CANONICAL_DIRECTIONS = np.array([[0.0, 0.0, -1.0], [0.0, -1.0, 0.0], [-1.0, 0.0, 0.0]])

LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])


@dataclass(frozen=True, slots=True)
class Reorientation:
    """How a source array (i, j, k) becomes canonical (z, y, x).

    ``axes[n]`` is the source axis that becomes canonical axis n; ``flips[n]`` says whether it is reversed.
    """

    axes: tuple[int, int, int]
    flips: tuple[bool, bool, bool]

    def apply(self, source: Array) -> Array:
        """A view (no copy) of ``source`` (i, j, k[, c]) as canonical (z, y, x[, c])."""
        turned = np.transpose(source, self.axes + tuple(range(3, source.ndim)))
        return turned[tuple(slice(None, None, -1 if flip else 1) for flip in self.flips)]

    def invert(self, canonical: Array) -> Array:
        """A view (no copy) of ``canonical`` (z, y, x[, c]) in the source's own order (i, j, k[, c])."""
        unflipped = canonical[tuple(slice(None, None, -1 if flip else 1) for flip in self.flips)]
        back = np.argsort(self.axes)
        return np.transpose(unflipped, tuple(int(a) for a in back) + tuple(range(3, canonical.ndim)))

    def affine(self, source_affine: Affine, source_shape: tuple[int, ...]) -> Affine:
        """The affine (4, 4) from (x, y, z, 1) of the canonical array to RAS+ mm."""
        to_source = np.zeros((4, 4))
        to_source[3, 3] = 1.0
        for canonical_axis, (axis, flip) in enumerate(zip(self.axes, self.flips, strict=True)):
            column = 2 - canonical_axis  # z, y, x are the columns 2, 1, 0 of an (x, y, z, 1) vector
            to_source[axis, column] = -1.0 if flip else 1.0
            if flip:
                to_source[axis, 3] = source_shape[axis] - 1
        return np.asarray(source_affine, dtype=np.float64) @ to_source


def reorientation(source_affine: Affine) -> Reorientation:
    """The axis swaps and flips that bring a source grid closest to the canonical one.

    For an oblique grid the assignment with the largest total alignment is taken, so that no two canonical
    axes claim the same source axis. Raises ValueError where the affine has no extent along an axis.
    """
    directions = np.asarray(source_affine, dtype=np.float64)[:3, :3]
    lengths = np.linalg.norm(directions, axis=0)
    if not np.all(np.isfinite(lengths)) or np.any(lengths <= 0):
        raise ValueError("The affine has an axis of no length.")
    cosines = _CANONICAL_DIRECTIONS @ (directions / lengths)  # (canonical axis, source axis)
    best = max(permutations(range(3)), key=lambda p: sum(abs(cosines[n, p[n]]) for n in range(3)))
    flips = tuple(bool(cosines[n, best[n]] < 0) for n in range(3))
    return Reorientation((best[0], best[1], best[2]), (flips[0], flips[1], flips[2]))


def spacing_of(affine: Affine) -> tuple[float, float, float]:
    """Voxel size (x, y, z) in mm of an affine from (x, y, z, 1)."""
    x, y, z = (float(v) for v in np.linalg.norm(np.asarray(affine)[:3, :3], axis=0))
    return x, y, z


def shear_degrees(affine: Affine) -> float:
    """How far, in degrees, the axes of an affine are from being at right angles (0 for a proper grid)."""
    directions = np.asarray(affine, dtype=np.float64)[:3, :3]
    unit = directions / np.linalg.norm(directions, axis=0)
    worst = max(abs(float(unit[:, a] @ unit[:, b])) for a, b in ((0, 1), (0, 2), (1, 2)))
    return float(np.degrees(np.arcsin(min(1.0, worst))))
