"""``View``: one slice of a volume in one plane, as square pixels, with its way back to voxels.

Rows run down and columns to the right of the picture as a radiologist sees it: axial rows are y, columns x;
coronal rows z, columns x; sagittal rows z, columns y. Where the voxel spacing is anisotropic the coarser
axis is resampled to the finer one, so that a distance on the picture is a distance in the patient.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_ibisagent.core.errors import InputError
from napari_ibisagent.core.volume import Volume

Mask = NDArray[np.bool_]

# A view never grows beyond this many pixels a side by squaring its pixels (a 1 x 20 mm slice would).
_MAX_SIDE = 2048


class Plane(StrEnum):
    """The three standard planes."""

    AXIAL = "axial"
    CORONAL = "coronal"
    SAGITTAL = "sagittal"


# For each plane: (sliced axis, row axis, column axis) of the (z, y, x) array.
AXES: dict[Plane, tuple[int, int, int]] = {
    Plane.AXIAL: (0, 1, 2),
    Plane.CORONAL: (1, 0, 2),
    Plane.SAGITTAL: (2, 0, 1),
}


@dataclass(frozen=True, eq=False, slots=True)
class View:
    """One slice as square pixels.

    image: (H, W) or (H, W, 3), stored values; a float32 copy only where it had to be resampled.
    plane, index: which slice of the volume.
    native: (rows, columns) of the slice in voxels, before its pixels were made square.
    pixel_mm: side of a pixel in mm, or None where the scan states no size.
    modality: as in ``Volume``.
    """

    image: NDArray[Any]
    plane: Plane
    index: int
    native: tuple[int, int]
    pixel_mm: float | None
    modality: str = ""

    @property
    def shape(self) -> tuple[int, int]:
        """(H, W) in pixels."""
        return int(self.image.shape[0]), int(self.image.shape[1])

    @property
    def pixel_mm2(self) -> float | None:
        """Area of a pixel in square mm, or None where the scan states no size."""
        return None if self.pixel_mm is None else self.pixel_mm**2

    def pixel_of(self, x: float, y: float) -> tuple[int, int]:
        """(row, column) of the pixel under the normalised point (x, y)."""
        height, width = self.shape
        return min(int(y * height), height - 1), min(int(x * width), width - 1)

    def point_of(self, row: float, column: float) -> tuple[float, float]:
        """Normalised (x, y) of the centre of a pixel."""
        height, width = self.shape
        return (column + 0.5) / width, (row + 0.5) / height

    def voxel_of(self, x: float, y: float) -> tuple[float, float, float]:
        """(z, y, x) voxel index, with fractions, of the normalised point (x, y)."""
        sliced, row_axis, column_axis = AXES[self.plane]
        voxel = [0.0, 0.0, 0.0]
        voxel[sliced] = float(self.index)
        voxel[row_axis] = y * self.native[0] - 0.5
        voxel[column_axis] = x * self.native[1] - 0.5
        return voxel[0], voxel[1], voxel[2]

    def point_of_voxel(self, voxel: tuple[float, float, float]) -> tuple[float, float]:
        """Normalised (x, y) of a voxel index (z, y, x) on this slice."""
        _, row_axis, column_axis = AXES[self.plane]
        return (voxel[column_axis] + 0.5) / self.native[1], (voxel[row_axis] + 0.5) / self.native[0]

    def to_native(self, mask: Mask) -> Mask:
        """A mask (H, W) of this view on the slice's own voxels (rows, columns)."""
        return _nearest(mask, self.native)

    def from_native(self, mask: Mask) -> Mask:
        """A mask (rows, columns) on the slice's voxels, as pixels (H, W) of this view."""
        return _nearest(mask, self.shape)


def view_of(volume: Volume, plane: Plane, index: int) -> View:
    """The slice ``index`` (0-based, along the canonical axis) of a volume as a ``View``.

    Raises InputError when the slice doesn't exist.
    """
    sliced, row_axis, column_axis = AXES[plane]
    count = volume.shape[sliced]
    if not 0 <= index < count:
        raise InputError(f"{volume.name} has no {plane} slice {index}. Choose one from 0 to {count - 1}.")
    image = slice_of(volume.data, plane, index)
    spacing = volume.spacing_mm
    native = (volume.shape[row_axis], volume.shape[column_axis])
    shape, pixel = _square(native, (spacing[row_axis], spacing[column_axis]))
    if shape != native:
        image = _bilinear(image, shape)
    return View(image, plane, index, native, pixel if volume.has_spacing else None, volume.modality)


def pixel_mm_of(volume: Volume, plane: Plane) -> float | None:
    """The side of a pixel of that plane's views in mm, None where the scan states no size."""
    _, row_axis, column_axis = AXES[plane]
    spacing = volume.spacing_mm
    native = (volume.shape[row_axis], volume.shape[column_axis])
    return _square(native, (spacing[row_axis], spacing[column_axis]))[1] if volume.has_spacing else None


def slice_of(array: NDArray[Any], plane: Plane, index: int) -> NDArray[Any]:
    """The slice (rows, columns[, 3]) of a (Z, Y, X[, 3]) array, without a copy; writing to it writes there."""
    if plane is Plane.AXIAL:
        return np.asarray(array[index])
    return np.asarray(array[:, index] if plane is Plane.CORONAL else array[:, :, index])


def _square(native: tuple[int, int], spacing: tuple[float, float]) -> tuple[tuple[int, int], float]:
    """(H, W) with square pixels, and the side of a pixel in mm."""
    extent = (native[0] * spacing[0], native[1] * spacing[1])
    pixel = min(spacing)
    if abs(spacing[0] - spacing[1]) < 0.01 * pixel:
        return native, pixel
    pixel = max(pixel, extent[0] / _MAX_SIDE, extent[1] / _MAX_SIDE)
    return (max(1, round(extent[0] / pixel)), max(1, round(extent[1] / pixel))), pixel


def _nearest(mask: NDArray[Any], shape: tuple[int, int]) -> NDArray[Any]:
    """Nearest neighbour by pixel centres."""
    if mask.shape == shape:
        return mask
    rows, columns = (
        np.minimum(((np.arange(new) + 0.5) * old / new).astype(np.intp), old - 1)
        for new, old in zip(shape, mask.shape[:2], strict=True)
    )
    return np.asarray(mask[rows[:, np.newaxis], columns])


def _bilinear(image: NDArray[Any], shape: tuple[int, int]) -> NDArray[Any]:
    """Separable linear interpolation by pixel centres; keeps uint8 colour as uint8."""
    result = image.astype(np.float32)
    for axis, new in enumerate(shape):
        old = result.shape[axis]
        if new == old:
            continue
        at = np.clip((np.arange(new) + 0.5) * old / new - 0.5, 0, old - 1)
        low = np.floor(at).astype(np.intp)
        high = np.minimum(low + 1, old - 1)
        weight = (at - low).astype(np.float32).reshape((-1,) + (1,) * (result.ndim - 1 - axis))
        result = np.take(result, low, axis) * (1 - weight) + np.take(result, high, axis) * weight
    return np.rint(result).astype(np.uint8) if image.dtype == np.uint8 else result
