"""Slices of label maps: real anatomy's shapes, never its pictures."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage as ndi

from napari_ibisagent.core.errors import InputError
from napari_ibisagent.training.clicknet.fields import smooth_field

# Slices with fewer labelled pixels than this have nothing to show.
_LEAST = 60


@dataclass(frozen=True, eq=False, slots=True)
class LabelMap:
    """A volume of labels (any axes) with the size of its voxels in mm."""

    labels: NDArray[np.int16]
    spacing: tuple[float, float, float]

    def slice(self, rng: np.random.Generator, side: int) -> NDArray[np.int16] | None:
        """(side, side) labels of a random slice, turned, mirrored, zoomed and warped; None where it shows nothing."""
        axis = int(rng.integers(3))
        plane = np.moveaxis(self.labels, axis, 0)[int(rng.integers(self.labels.shape[axis]))]
        rows, columns = np.nonzero(plane)
        if rows.size < _LEAST:
            return None
        scale = [self.spacing[a] for a in range(3) if a != axis]
        # A window of the slice in mm, round a labelled place.
        chosen = int(rng.integers(rows.size))
        middle = np.array((rows[chosen] * scale[0], columns[chosen] * scale[1]))
        whole = max(plane.shape[0] * scale[0], plane.shape[1] * scale[1])
        width = whole * float(np.exp(rng.uniform(np.log(0.15), np.log(1.1))))
        centre = np.array(plane.shape) * scale / 2
        near = min(1.0, width / whole)
        middle = middle + (centre - middle) * near + rng.uniform(-0.25, 0.25, 2) * width
        angle = rng.uniform(0, 2 * np.pi)
        at = (np.arange(side) + 0.5) / side - 0.5
        y, x = np.meshgrid(at, at, indexing="ij")
        amount, cells = rng.uniform(0, 0.06), rng.uniform(2, 6)
        y = y + amount * smooth_field(rng, side, cells)
        x = (x + amount * smooth_field(rng, side, cells)) * rng.choice((-1, 1)) * rng.uniform(0.8, 1.25)
        down = (middle[0] + width * (np.cos(angle) * y - np.sin(angle) * x)) / scale[0]
        right = (middle[1] + width * (np.sin(angle) * y + np.cos(angle) * x)) / scale[1]
        drawn = ndi.map_coordinates(plane, (down, right), order=0, mode="constant")
        return drawn if np.count_nonzero(drawn) >= _LEAST else None


def read_label_maps(folder: Path) -> tuple[LabelMap, ...]:
    """Every NIfTI below a folder. Raises InputError where there is none or one can't be read."""
    found = sorted(folder.rglob("*.nii.gz")) + sorted(folder.rglob("*.nii"))
    if not found:
        raise InputError(f"{folder} holds no label maps (.nii or .nii.gz).")
    maps = []
    for path in found:
        try:
            image: Any = nib.load(path)
            labels = np.asanyarray(image.dataobj).astype(np.int16)
        except (OSError, ValueError, EOFError, nib.filebasedimages.ImageFileError) as error:
            raise InputError(f"The label map {path} can't be read: {error}.") from error
        spacing = tuple(float(size) for size in image.header.get_zooms()[:3])
        maps.append(LabelMap(labels, (spacing[0], spacing[1], spacing[2])))
    return tuple(maps)
