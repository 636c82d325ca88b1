"""Small helpers for grids that all readers share: stacks without a place, voxel sizes, broken values, what
looks like CT, aligning masks.

Leaves out the canonical turn itself, which ``core.geometry`` owns.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import product
from pathlib import Path

import numpy as np

from napari_ibisagent.core.errors import GridError, ScanError
from napari_ibisagent.core.geometry import Affine, Array
from napari_ibisagent.core.volume import Volume

# How far, in voxels, a corner of a mask may lie from the scan's before it counts as another place. Files
# round their positions (NIfTI to float32, DICOM to 16 characters), which stays far below this; the smallest
# true mismatch, a half-voxel shift between conventions, lies far above.
CORNER_TOLERANCE = 0.1
# A voxel size outside of these is a wrong unit or a broken header, never a patient.
_SMALLEST_MM, _LARGEST_MM = 0.005, 100.0


def stack_volume(
    pages: Array,
    *,
    name: str,
    modality: str = "",
    spacing_mm: tuple[float, float, float] | None = None,
    warnings: tuple[str, ...] = (),
) -> Volume:
    """A volume from pages (n, rows, columns[, 3]) whose place in the patient is unknown, shown as stored.

    ``spacing_mm`` is (page, row, column). The source grid runs (column, row, page).
    """
    dz, dy, dx = spacing_mm or (1.0, 1.0, 1.0)
    return Volume.from_source(
        np.swapaxes(pages, 0, 2),
        np.diag([-dx, -dy, -dz, 1.0]),
        modality=modality,
        name=name,
        has_spacing=spacing_mm is not None,
        has_orientation=False,
        warnings=warnings,
    )


def check_affine(path: Path, affine: Affine, *, has_spacing: bool = True) -> None:
    """Raises ScanError when an affine (4, 4) isn't finite, flattens the grid, or states an absurd voxel size."""
    axes = affine[:3, :3]
    lengths = np.linalg.norm(axes, axis=0) if np.isfinite(affine).all() else np.zeros(3)
    if not lengths.all() or abs(np.linalg.det(axes / np.where(lengths > 0, lengths, 1.0))) < 1e-3:
        raise ScanError(
            path,
            "has a broken orientation matrix",
            "Convert it again from its source, for example with dcm2niix.",
        )
    if has_spacing:
        check_spacing(path, lengths.tolist())


def check_spacing(path: Path, spacing_mm: Iterable[float]) -> None:
    """Raises ScanError when a stated voxel size can't be that of a medical image: areas in mm would be nonsense."""
    sizes = [float(size) for size in spacing_mm]
    if not all(_SMALLEST_MM <= size <= _LARGEST_MM for size in sizes):
        stated = " x ".join(f"{size:.3g}" for size in sizes)
        raise ScanError(
            path,
            f"states a voxel size of {stated} mm, outside of {_SMALLEST_MM} to {_LARGEST_MM:.0f} mm",
            "Correct the size or its unit in the program that wrote the file.",
        )


def looks_like_ct(data: Array) -> bool:
    """CT air is about -1000 HU and bone above 200: whole numbers that span both are hardly anything else."""
    if data.ndim != 3 or data.min() > -900 or data.max() <= 200:
        return False
    if data.dtype.kind != "f":
        return True
    sample = data[::4, ::4, ::2]
    return bool(np.array_equal(sample, np.rint(sample)))


def mend_values(path: Path, data: Array) -> tuple[Array, tuple[str, ...]]:
    """``data`` with non-finite values set to the lowest finite one (in place where possible), and warnings.

    Raises ScanError when no value is finite.
    """
    if data.dtype.kind != "f":
        return data, ()
    finite = np.isfinite(data)
    bad = data.size - int(np.count_nonzero(finite))
    if not bad:
        return data, ()
    if bad == data.size:
        raise ScanError(path, "holds no number at all, only NaN or infinity", "Export or convert the scan again.")
    lowest = data[finite].min()
    mended = data if data.flags.writeable else data.copy()
    mended[~finite] = lowest
    noun = "voxel is" if bad == 1 else "voxels are"
    return mended, (f"{bad} {noun} not a finite number; the lowest value of the scan ({lowest:g}) is shown there.",)


def small_integers(data: Array) -> Array:
    """``data`` in native byte order and at most 32 bits wide: float32, or integers that hold all values."""
    native = data.astype(data.dtype.newbyteorder("="), copy=False)
    if native.dtype.kind == "b":
        return native.view(np.uint8)
    if native.dtype.kind == "f":
        return native.astype(np.float32, copy=False)
    if native.dtype.itemsize <= 4 and native.dtype != np.uint32:
        return native
    low, high = (int(native.min()), int(native.max())) if native.size else (0, 0)
    fits = np.iinfo(np.int32).min <= low and high <= np.iinfo(np.int32).max
    return native.astype(np.int32 if fits else np.float32)


def align_mask(path: Path, mask: Volume, volume: Volume) -> Array:
    """The data of ``mask`` (Z, Y, X[, 3]) on the grid of ``volume``, turned by axis swaps and flips only.

    Raises GridError when its shape or its place is another.
    """
    if sorted(mask.shape) != sorted(volume.shape):
        raise other_shape(path, mask.shape, volume)
    to_volume = np.linalg.inv(volume.affine) @ mask.affine  # (x, y, z, 1) of the mask -> of the volume
    turn = np.rint(to_volume[:3, :3])
    if not np.array_equal(np.abs(turn).sum(axis=0), np.ones(3)) or not np.array_equal(
        np.abs(turn).sum(axis=1), np.ones(3)
    ):
        raise other_place(path, mask, volume)
    # Axis n (x, y, z) of the volume is axis source[n] of the mask.
    source = [int(np.argmax(np.abs(turn[n]))) for n in range(3)]
    order = [2 - source[2 - axis] for axis in range(3)] + list(range(3, mask.data.ndim))
    turned = np.transpose(mask.data, order)
    turned = turned[tuple(slice(None, None, int(turn[2 - axis].sum())) for axis in range(3))]
    if turned.shape[:3] != volume.shape:
        raise other_shape(path, mask.shape, volume)
    ends = [(0.0, float(mask.shape[2 - axis] - 1)) for axis in range(3)]
    for corner in product(*ends):
        index = to_volume @ np.array([*corner, 1.0])
        flipped = [volume.shape[2 - n] - 1 if turn[n].sum() < 0 else 0 for n in range(3)]
        expected = turn @ np.array(corner) + np.array(flipped)
        if np.abs(index[:3] - expected).max() > CORNER_TOLERANCE:
            raise other_place(path, mask, volume)
    return turned


def other_shape(path: Path, shape: tuple[int, ...], volume: Volume) -> GridError:
    """The refusal of a mask of another shape (slices, rows, columns)."""
    return GridError(
        f"The mask {path.name} has the shape {shape}, the scan {volume.name} has {volume.shape} "
        "(slices, rows, columns). Choose the mask that was drawn on this scan, or resample it to its grid."
    )


def other_place(path: Path, mask: Volume, volume: Volume) -> GridError:
    """The refusal of a mask that lies elsewhere."""

    def corner(which: Volume) -> str:
        x, y, z = which.affine[:3, 3]
        dz, dy, dx = which.spacing_mm
        return f"corner at ({x:.1f}, {y:.1f}, {z:.1f}) mm, voxels of {dx:.3g} x {dy:.3g} x {dz:.3g} mm"

    return GridError(
        f"The mask {path.name} lies in another place than the scan {volume.name}: the mask has its "
        f"{corner(mask)}, the scan its {corner(volume)}. Choose the mask that was drawn on this scan, or "
        "resample it to the scan's grid."
    )
