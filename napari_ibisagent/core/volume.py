"""``Volume``: an image array on a patient grid. A 2D picture is a volume of one slice.

What it leaves out: reading and writing (``io``), slices as pictures (``view``).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_ibisagent.core.errors import GridError
from napari_ibisagent.core.geometry import Affine, Reorientation, reorientation, spacing_of


@dataclass(frozen=True, eq=False, slots=True)
class SourceGrid:
    """The grid of the file that a volume came from, so that labels can go back onto it.

    ``shape`` (i, j, k) and ``affine`` (4, 4) to RAS+ mm are the file's own. ``squeeze`` says that the file
    was a 2D picture of (rows, columns) = (i, j), so labels go back as (rows, columns).
    """

    shape: tuple[int, int, int]
    affine: Affine
    turn: Reorientation
    squeeze: bool = False


@dataclass(frozen=True, eq=False, slots=True, weakref_slot=True)
class Volume:
    """An image on a patient grid.

    data: (Z, Y, X) of any real type, or (Z, Y, X, 3) uint8 for colour; Superior->Inferior,
        Anterior->Posterior, Right->Left. Stored values after rescaling (HU for CT).
    affine: (4, 4), (x, y, z, 1) voxel index of ``data`` to RAS+ mm.
    modality: a DICOM modality code ("CT", "MR", "US", "CR", ...), or "" when unknown.
    name: what a person calls the scan: its file name without the ending.
    grid: where labels go back to.
    has_spacing: whether the file states a size in mm; without it areas and volumes stay unknown.
    has_orientation: whether the file states where the patient's sides are.
    warnings: sentences that the user should see.
    """

    data: NDArray[Any]
    affine: Affine
    modality: str
    name: str
    grid: SourceGrid
    has_spacing: bool = True
    has_orientation: bool = True
    warnings: tuple[str, ...] = field(default=())

    @staticmethod
    def from_source(
        data_ijk: NDArray[Any],
        affine_ras: Affine,
        *,
        modality: str = "",
        name: str = "scan",
        has_spacing: bool = True,
        has_orientation: bool = True,
        warnings: tuple[str, ...] = (),
    ) -> Volume:
        """A volume from an array (i, j, k[, 3]) and its affine to RAS+ mm; no voxel is copied.

        Raises GridError when the array isn't three-dimensional or the affine is degenerate.
        """
        if data_ijk.ndim not in (3, 4) or (data_ijk.ndim == 4 and data_ijk.shape[3] != 3):
            raise GridError(f"{name} has the shape {data_ijk.shape}; a volume needs three axes, or three and colour.")
        affine = np.array(affine_ras, dtype=np.float64)
        try:
            turn = reorientation(affine)
        except ValueError as error:
            raise GridError(
                f"{name} has a broken orientation matrix: {error} Convert it again from its source."
            ) from error
        shape = (int(data_ijk.shape[0]), int(data_ijk.shape[1]), int(data_ijk.shape[2]))
        return Volume(
            data=turn.apply(data_ijk),
            affine=turn.affine(affine, shape),
            modality=modality,
            name=name,
            grid=SourceGrid(shape, affine, turn),
            has_spacing=has_spacing,
            has_orientation=has_orientation,
            warnings=warnings,
        )

    @staticmethod
    def from_picture(
        picture: NDArray[Any],
        *,
        modality: str = "",
        name: str = "picture",
        spacing_mm: tuple[float, float] | None = None,
        warnings: tuple[str, ...] = (),
    ) -> Volume:
        """A volume of one slice from a picture (rows, columns[, 3]); rows run down, columns to the right.

        ``spacing_mm`` is (row, column). The picture is shown as stored; its sides are unknown.
        """
        dy, dx = spacing_mm or (1.0, 1.0)
        # Rows and columns are taken as an axial slice, so that the canonical turn leaves them as stored.
        affine = np.array([[0.0, -dx, 0.0, 0.0], [-dy, 0.0, 0.0, 0.0], [0.0, 0.0, -1.0, 0.0], [0.0, 0.0, 0.0, 1.0]])
        volume = Volume.from_source(
            picture[:, :, np.newaxis],
            affine,
            modality=modality,
            name=name,
            has_spacing=spacing_mm is not None,
            has_orientation=False,
            warnings=warnings,
        )
        grid = SourceGrid(volume.grid.shape, affine, volume.grid.turn, squeeze=True)
        return Volume(volume.data, volume.affine, modality, name, grid, volume.has_spacing, False, warnings)

    @property
    def shape(self) -> tuple[int, int, int]:
        """(Z, Y, X)."""
        z, y, x = self.data.shape[:3]
        return int(z), int(y), int(x)

    @property
    def is_colour(self) -> bool:
        """Whether ``data`` is (Z, Y, X, 3)."""
        return self.data.ndim == 4

    @property
    def spacing_mm(self) -> tuple[float, float, float]:
        """Voxel size (z, y, x) in mm; ones where the file states none."""
        x, y, z = spacing_of(self.affine)
        return z, y, x

    @property
    def voxel_ml(self) -> float | None:
        """Volume of a voxel in mL, or None where the file states no size (or is a single picture)."""
        if not self.has_spacing or self.grid.squeeze:
            return None
        return abs(float(np.linalg.det(self.affine[:3, :3]))) / 1000.0

    def to_source(self, labels: NDArray[Any]) -> NDArray[Any]:
        """Labels (Z, Y, X) on the scan's own grid: (i, j, k), or (rows, columns) of a picture.

        Raises GridError when the shape isn't this volume's.
        """
        if labels.shape != self.shape:
            raise GridError(f"The labels have the shape {labels.shape}, the scan {self.name} has {self.shape}.")
        back = self.grid.turn.invert(labels)
        return back[:, :, 0] if self.grid.squeeze else back
