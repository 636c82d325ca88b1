"""Placed DICOM frames to a grid: sorting, time points, spacing, gaps, gantry tilt, affine.

Positions count, never file names or image numbers. Leaves out pixels, and frames without a place.
Source: DICOM PS3.3 C.7.6.2.1.1 (pixel spacing is row distance, column distance; LPS axes).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from napari_ibisagent.core.geometry import LPS_TO_RAS, Affine, Array
from napari_ibisagent.io.dicom_headers import Frame

_SAME_PLACE = 0.02  # of a pixel: images nearer along the normal are at one position
_UNEVEN = 0.05  # of the usual gap: scanners round positions, which stays well below this
_TILT_DEGREES = 0.5
_KEYS = 5  # how many entries of ``Frame.order`` may tell time points apart by their value


@dataclass(frozen=True, slots=True)
class Grid:
    """affine (4, 4): (i, j, k) = (column, row, slice) to RAS+ mm; warnings for the user."""

    affine: Affine
    has_spacing: bool
    warnings: tuple[str, ...]


def normal_of(frame: Frame) -> Array:
    """The unit vector (LPS) at right angles to the frame's plane."""
    cosines = np.asarray(frame.orientation, dtype=np.float64)
    normal = np.cross(cosines[:3], cosines[3:])
    return np.asarray(normal / np.linalg.norm(normal))


def time_points(frames: Sequence[Frame]) -> list[list[Frame]]:
    """The frames of each time point (or echo, ...), sorted along the slice normal.

    Where several images lie at one position they belong to different time points: told apart by temporal
    position, acquisition, trigger, echo or diffusion weight if one of these separates them cleanly, else by
    their order at each position.
    """
    depths = np.array([frame.position for frame in frames], dtype=np.float64) @ normal_of(frames[0])
    order = np.argsort(depths, kind="stable")
    pixel = min(frames[0].spacing) if frames[0].spacing else 1.0
    slots: list[list[Frame]] = []
    last = -np.inf
    for n in order:
        if depths[n] - last > _SAME_PLACE * pixel:
            slots.append([])
            last = depths[n]
        slots[-1].append(frames[n])
    most = max(len(slot) for slot in slots)
    if most == 1:
        return [[slot[0] for slot in slots]]
    for key in range(_KEYS):
        values = sorted({frame.order[key] for frame in frames})
        clean = all(len({frame.order[key] for frame in slot}) == len(slot) for slot in slots)
        if len(values) == most and clean:
            return [[f for slot in slots for f in slot if f.order[key] == value] for value in values]
    ranked = [sorted(slot, key=lambda frame: frame.order) for slot in slots]
    return [[slot[rank] for slot in ranked if len(slot) > rank] for rank in range(most)]


def grid_of(frames: Sequence[Frame]) -> Grid:
    """The grid of sorted, placed frames of one orientation.

    Slices step by the mean vector from the first to the last position, so a tilted gantry gives a sheared
    affine and every voxel maps to its true place.
    """
    first = frames[0]
    positions = np.array([frame.position for frame in frames], dtype=np.float64)
    normal = normal_of(first)
    warnings: list[str] = []
    if len(frames) > 1:
        step = (positions[-1] - positions[0]) / (len(frames) - 1)
        warnings += _tilt_warnings(step, normal)
        warnings += _gap_warnings(positions @ normal)
    else:
        step = normal * (first.thickness or 1.0)
        if first.thickness is None:
            warnings.append("The single slice states no thickness; volumes in mL are not reliable.")
    warnings += spacing_warnings(first)
    return Grid(_affine(first, step), first.spacing is not None, tuple(warnings))


def plane_affine(frame: Frame) -> Affine | None:
    """The affine (4, 4) from (column, row, 0, 1) to RAS+ mm of one frame, or None where it has no place."""
    if not frame.is_placed or frame.spacing is None:
        return None
    return _affine(frame, normal_of(frame) * (frame.thickness or 1.0))


def _affine(first: Frame, step: Array) -> Affine:
    """The affine (4, 4) to RAS+ mm of slices that begin with ``first`` and go on by ``step`` (LPS mm)."""
    cosines = np.asarray(first.orientation, dtype=np.float64)
    row_gap, column_gap = first.spacing or (1.0, 1.0)
    lps = np.eye(4)
    lps[:3, 0] = cosines[:3] * column_gap
    lps[:3, 1] = cosines[3:] * row_gap
    lps[:3, 2] = step
    lps[:3, 3] = first.position
    return LPS_TO_RAS @ lps


def spacing_warnings(frame: Frame) -> list[str]:
    """What the user should know about the pixel size."""
    if frame.spacing is None:
        return ["The file states no pixel size; areas and volumes are unknown."]
    if frame.file.spacing_is_at_detector:
        return ["The pixel size is that at the detector; through magnification, true sizes are smaller."]
    return []


def _tilt_warnings(step: Array, normal: Array) -> list[str]:
    tilt = float(np.degrees(np.arccos(np.clip(abs(step @ normal) / np.linalg.norm(step), 0.0, 1.0))))
    if tilt <= _TILT_DEGREES:
        return []
    return [
        f"The slices are tilted by {tilt:.1f} degrees against the stacking direction (gantry tilt). "
        "Voxels keep their true place in the patient; views across the slices look sheared."
    ]


def _gap_warnings(depths: Array) -> list[str]:
    """A sentence about uneven slices, which names the gaps in mm."""
    gaps = np.diff(depths)
    usual = float(np.median(gaps))
    if len(gaps) == 2:  # the median of two gaps is their mean, which neither need be
        usual = float(gaps.min())
    odd = [(n, float(gap)) for n, gap in enumerate(gaps) if abs(gap - usual) > _UNEVEN * usual]
    if not odd:
        return []
    named = ", ".join(f"{gap:.2f} mm between slices {n + 1} and {n + 2}" for n, gap in odd[:5])
    more = f" and {len(odd) - 5} more" if len(odd) > 5 else ""
    missing = sum(
        round(gap / usual) - 1 for _, gap in odd if abs(gap / usual - round(gap / usual)) < 0.1 and gap > usual
    )
    noun = "slice seems" if missing == 1 else "slices seem"
    lost = f" {missing} {noun} to be missing." if missing else ""
    return [
        f"The slice spacing is uneven: most slices lie {usual:.2f} mm apart, but there are gaps of "
        f"{named}{more}.{lost} Volumes in mL are approximate."
    ]
