"""The numbers of the object table: voxels, volume and mean intensity of each object of a session.

They are asked for after every change, on the thread that draws the window. So what was counted on a slice is kept
until that slice changes, and a slice without objects is never looked at.
"""

from __future__ import annotations

import math
import weakref
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_ibisagent.core.episode import PackedMask
from napari_ibisagent.core.session import Erased, Patch, Session, labels_of
from napari_ibisagent.core.view import AXES, Plane, slice_of
from napari_ibisagent.core.volume import Volume

# What one slice is drawn from, in order: a mask and the label value that it leaves in the end (0: none).
_Strokes = tuple[tuple[PackedMask, int], ...]
# For each label value: voxels, and the sum of their intensities (0 where no mean is asked for).
_Sums = dict[int, tuple[int, float]]


@dataclass(frozen=True, slots=True)
class Measure:
    """An object's size. ``ml`` None: the scan states no voxel size; ``mean_hu`` None: no CT, or no voxels."""

    voxels: int
    ml: float | None
    mean_hu: float | None


@dataclass(slots=True)
class _Counted:
    """What was counted in one volume: of each slice the last strokes, and the totals of the last patches."""

    data: weakref.ref[NDArray[Any]]
    slices: dict[tuple[Plane, int], tuple[_Strokes, _Sums]] = field(default_factory=dict)
    patches: tuple[Patch | Erased, ...] | None = None
    totals: _Sums = field(default_factory=dict)


# By the identity of the array. Held weakly, so that a closed scan's memory is not kept.
_COUNTED: dict[int, _Counted] = {}


def measure_of(value: int, session: Session, volume: Volume) -> Measure:
    """Size and mean intensity of the object with the label ``value`` in ``volume``, which the session is about.

    The first call for a session counts all its objects; calls for others are then only looked up.
    """
    voxels, total = _totals(session, volume).get(value, (0, 0.0))
    mean = total / voxels if voxels and has_hu(volume) else None
    return Measure(
        voxels=voxels,
        ml=None if volume.voxel_ml is None else voxels * volume.voxel_ml,
        mean_hu=mean if mean is not None and math.isfinite(mean) else None,
    )


def has_hu(volume: Volume) -> bool:
    """Whether intensities are Hounsfield units, so that a mean of them says something."""
    return volume.modality == "CT" and not volume.is_colour


def key_slice(value: int, session: Session) -> tuple[Plane, int] | None:
    """Plane and index of the slice where the object's own mask is largest, or None where it has none."""
    latest = {(patch.plane, patch.index): patch.mask for patch in session.patches_of(value)}
    place = max(latest, key=lambda at: _area(latest[at]), default=None)
    return place if place is not None and _area(latest[place]) else None


@lru_cache(maxsize=4096)
def _area(mask: PackedMask) -> int:
    return int(np.count_nonzero(mask.array()))


def _totals(session: Session, volume: Volume) -> _Sums:
    counted = _counted(volume.data)
    if counted.patches is not session.patches:
        planes = {patch.plane for patch in session.patches if isinstance(patch, Patch)}
        parts = _drawn_whole(session, volume) if len(planes) > 1 else _slice_by_slice(session, volume, counted)
        counted.totals = _added_up(parts)
        counted.patches = session.patches
    return counted.totals


def _counted(data: NDArray[Any]) -> _Counted:
    key = id(data)
    known = _COUNTED.get(key)
    if known is None or known.data() is not data:
        known = _COUNTED[key] = _Counted(weakref.ref(data, lambda _: _COUNTED.pop(key, None)))
    return known


def _slice_by_slice(session: Session, volume: Volume, counted: _Counted) -> Iterator[_Sums]:
    """The sums of each slice that has a patch; only those whose strokes changed are counted again."""
    strokes = _strokes(session.patches)
    counted.slices = {place: known for place, known in counted.slices.items() if place in strokes}
    for place, drawn in strokes.items():
        known = counted.slices.get(place)
        if known is None or known[0] != drawn:
            known = counted.slices[place] = (drawn, _sums(drawn, volume, *place))
        yield known[1]


def _strokes(patches: tuple[Patch | Erased, ...]) -> dict[tuple[Plane, int], _Strokes]:
    """What each slice is drawn from, all patches lying in one plane.

    A patch that was replaced or erased later still took voxels from those before it, so it is drawn as background.
    """
    erased: dict[int, int] = {}
    last: dict[tuple[int, int], int] = {}
    for at, patch in enumerate(patches):
        if isinstance(patch, Erased):
            erased[patch.value] = at
        else:
            last[patch.value, patch.index] = at
    drawn: dict[tuple[Plane, int], list[tuple[PackedMask, int]]] = {}
    for at, patch in enumerate(patches):
        if isinstance(patch, Patch):
            stays = last[patch.value, patch.index] == at and at > erased.get(patch.value, -1)
            drawn.setdefault((patch.plane, patch.index), []).append((patch.mask, patch.value if stays else 0))
    return {place: tuple(found) for place, found in drawn.items()}


def _sums(strokes: _Strokes, volume: Volume, plane: Plane, index: int) -> _Sums:
    _, row_axis, column_axis = AXES[plane]
    labels = np.zeros((volume.shape[row_axis], volume.shape[column_axis]), np.uint16)
    for mask, value in strokes:
        labels[mask.array()] = value
    return _sums_in(labels, slice_of(volume.data, plane, index) if has_hu(volume) else None)


def _sums_in(labels: NDArray[Any], image: NDArray[Any] | None) -> _Sums:
    """Sums of one slice: labels (rows, columns), and its intensities of the same shape where they are asked for."""
    rows = np.flatnonzero(labels.any(axis=1))
    if not rows.size:
        return {}
    # Most rows are empty, and looking for voxels in all of them would take most of the time.
    used = slice(int(rows[0]), int(rows[-1]) + 1)
    places = np.nonzero(labels[used])
    return _counts(labels[used][places], None if image is None else image[used][places])


def _counts(values: NDArray[Any], weights: NDArray[Any] | None) -> _Sums:
    """Sums of voxels (N,): their label values, and their intensities where they are asked for. 0 is no label."""
    counts = np.bincount(values)
    sums = np.zeros(counts.size) if weights is None else np.bincount(values, weights=weights)
    return {int(value): (int(counts[value]), float(sums[value])) for value in np.flatnonzero(counts) if value}


def _drawn_whole(session: Session, volume: Volume) -> Iterator[_Sums]:
    """The sums of every patch, where patches of different planes cross each other.

    Each voxel is taken out once it was counted. So only voxels of patches are looked at, never all of the volume.
    """
    labels = labels_of(session, volume.shape)
    for patch in session.patches:
        if isinstance(patch, Patch):
            mask = patch.mask.array()
            image = slice_of(volume.data, patch.plane, patch.index)[mask] if has_hu(volume) else None
            region = slice_of(labels, patch.plane, patch.index)
            yield _counts(region[mask], image)
            region[mask] = 0


def _added_up(parts: Iterator[_Sums]) -> _Sums:
    totals: _Sums = {}
    for part in parts:
        for value, (voxels, total) in part.items():
            before, sum_before = totals.get(value, (0, 0.0))
            totals[value] = (before + voxels, sum_before + total)
    return totals
