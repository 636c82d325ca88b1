"""``score``: how well a mask meets the truth, by overlap and by surface.

The report and the training reward both call this one function, so that they can't drift apart. Surface
measures are those of Nikolov et al. (J Med Internet Res 2021; arXiv 1809.04430), from the authors' own
package. What it leaves out: which prediction belongs to which truth, and means over cases.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_ibisagent.core.errors import GridError
from napari_ibisagent.core.masks import dice, iou

Mask = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Scores:
    """Agreement of a mask with the truth.

    iou, dice: overlap, 0 to 1; both masks empty is full agreement (1), one empty none (0).
    hd95_mm: the larger of the two directed 95th percentiles of surface distance; None without a spacing, and
        where a mask is empty, for then there is no distance.
    surface_dice_2mm: the share of both surfaces that lies within the tolerance (2 mm unless ``score`` was
        told another) of the other; 1 when both masks are empty, 0 when one is, None without a spacing.
    """

    iou: float
    dice: float
    hd95_mm: float | None
    surface_dice_2mm: float | None

    def as_dict(self) -> dict[str, float | None]:
        """Field name to value, for JSON and tables."""
        return asdict(self)


def score(prediction: Mask, truth: Mask, spacing_mm: Sequence[float] | None, *, tolerance_mm: float = 2.0) -> Scores:
    """Compare two bool masks on the same grid, both (Z, Y, X) or both (H, W).

    ``spacing_mm`` has one size per axis in the same order, or is None where the scan states none. Both masks
    are taken to be empty beyond the array. Raises GridError where shapes or spacing don't fit.
    """
    _check(prediction, truth, spacing_mm)
    prediction, truth = np.asarray(prediction, dtype=bool), np.asarray(truth, dtype=bool)
    overlap = iou(prediction, truth), dice(prediction, truth)
    if spacing_mm is None:
        return Scores(*overlap, None, None)
    if not prediction.any() or not truth.any():
        return Scores(*overlap, None, 0.0 if prediction.any() or truth.any() else 1.0)
    return Scores(*overlap, *_surface(prediction, truth, spacing_mm, tolerance_mm))


def _check(prediction: NDArray[Any], truth: NDArray[Any], spacing_mm: Sequence[float] | None) -> None:
    if prediction.shape != truth.shape:
        raise GridError(
            f"The mask has the shape {prediction.shape}, the truth {truth.shape}. "
            "Bring both onto the scan's own grid before comparing them."
        )
    if prediction.ndim not in (2, 3):
        raise GridError(f"Masks of {prediction.ndim} axes can't be compared. Give (Z, Y, X) or (H, W).")
    if spacing_mm is None:
        return
    if len(spacing_mm) != prediction.ndim or not all(math.isfinite(s) and s > 0 for s in spacing_mm):
        raise GridError(
            f"The spacing {tuple(spacing_mm)} mm doesn't fit a mask of {prediction.ndim} axes. "
            "Give one positive size per axis, or None where the scan states none."
        )


def _surface(prediction: Mask, truth: Mask, spacing_mm: Sequence[float], tolerance_mm: float) -> tuple[float, float]:
    """(hd95 in mm, surface Dice) of two masks that aren't empty."""
    import surface_distance  # type: ignore[import-untyped]  # late: overlap alone needs no SciPy

    with warnings.catch_warnings():
        # surface-distance 0.1 still reaches SciPy's filters by their old names.
        warnings.filterwarnings("ignore", message="Please import", category=DeprecationWarning)
        distances = surface_distance.compute_surface_distances(truth, prediction, tuple(spacing_mm))
    hd95 = surface_distance.compute_robust_hausdorff(distances, 95)
    agreement = surface_distance.compute_surface_dice_at_tolerance(distances, tolerance_mm)
    return float(hd95), float(agreement)
