"""Label maps to files on the scan's own grid: same shape, same affine, bit for bit.

Leaves out DICOM SEG, and names and colours except in NRRD (Slicer's fields). Nothing of the scan is touched,
and a file that is there already is kept under another name.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_ibisagent.core.errors import OutputError
from napari_ibisagent.core.geometry import LPS_TO_RAS, shear_degrees
from napari_ibisagent.core.volume import Volume
from napari_ibisagent.io.atomic import write_in_place
from napari_ibisagent.io.names import split_name
from napari_ibisagent.io.protect import check_file, check_protected

_FORMATS = ".nii.gz, .nii, .nrrd and .mha, and for a single picture .png and .tif"
# A grid less sheared than this can be stored as a rotation: 0.005 degrees move the far end of 512 voxels by
# less than a twentieth of a voxel.
_RIGHT_ANGLED_DEGREES = 0.005
_LARGEST_NIFTI1_AXIS = 32767

Labels = NDArray[Any]


@dataclass(frozen=True, slots=True)
class Saved:
    """Where labels were written, and where the file that was there before has gone."""

    path: Path
    kept_as: Path | None


def write_labels(
    labels: NDArray[np.integer[Any]] | NDArray[np.bool_],
    volume: Volume,
    path: str | Path,
    *,
    names: Mapping[int, str] | None = None,
    protect: Iterable[str | Path] = (),
) -> Saved:
    """Write labels (Z, Y, X), whole numbers from 0 to 65535, on the grid of the file of ``volume``.

    The ending of ``path`` chooses the format. ``names`` of labels are stored in NRRD only. The files in
    ``protect`` (the scan and other inputs) and everything inside its folders are never written to.
    Raises OutputError when the place or the format won't do, GridError when the shape isn't the scan's; then
    nothing has been changed.
    """
    path = Path(path)
    write = _writer(path, volume, dict(names or {}))
    check_protected(path, protect)
    source = _smallest(volume.to_source(labels), path)
    kept = write_in_place(path, lambda temporary: write(source, temporary), keep=True)
    return Saved(path, kept)


def check_output(path: str | Path, volume: Volume, protect: Iterable[str | Path] = ()) -> None:
    """Raises the OutputError that ``write_labels`` would raise for the place or the format, and writes nothing."""
    _writer(Path(path), volume, {})
    check_file(Path(path), protect)


def write_volume(volume: Volume, path: str | Path) -> Saved:
    """Write the intensities of a grey volume on their own grid, as .nii, .nii.gz, .nrrd or .mha.

    Raises OutputError like ``write_labels``.
    """
    path = Path(path)
    write = _writer(path, volume, {})
    if volume.is_colour:
        raise OutputError(f"{volume.name} is a colour picture; only grey volumes can be written.")
    source = volume.grid.turn.invert(volume.data)
    return Saved(path, write_in_place(path, lambda temporary: write(source, temporary), keep=True))


def _writer(path: Path, volume: Volume, names: dict[int, str]) -> Callable[[Labels, Path], None]:
    """The function that writes an array on the source grid to a file of the ending of ``path``."""
    stem, ending = split_name(path)
    ending = ending.lower()
    if ending in (".nii", ".nii.gz"):
        return lambda source, target: _write_nifti(source, volume, target)
    if ending in (".nrrd", ".seg.nrrd", ".mha"):
        if not volume.grid.squeeze and shear_degrees(volume.grid.affine) > _RIGHT_ANGLED_DEGREES:
            raise OutputError(
                f"{path.name} can't hold a tilted grid such as that of {volume.name}. Save as {stem}.nii.gz instead."
            )
        return lambda source, target: _write_itk(source, volume, target, names)
    if ending in (".png", ".tif", ".tiff"):
        if volume.grid.shape[2] != 1:
            raise OutputError(
                f"{path.name} can hold one picture, and {volume.name} has {volume.grid.shape[2]} slices. "
                f"Save as {stem}.nii.gz instead."
            )
        return _write_picture
    raise OutputError(f"{path.name} has no ending that labels can be saved as. These work: {_FORMATS}.")


def _smallest(source: Labels, path: Path) -> Labels:
    """The labels as uint8, or uint16 where they need it."""
    if source.dtype.kind not in "biu":
        raise TypeError(f"Labels are whole numbers, not {source.dtype}.")
    low, high = (int(source.min()), int(source.max())) if source.size else (0, 0)
    if low < 0 or high > np.iinfo(np.uint16).max:
        raise OutputError(f"{path.name} can hold the labels 0 to 65535; these run from {low} to {high}.")
    return source.astype(np.uint8 if high <= 255 else np.uint16, order="A", copy=False)


def _write_nifti(source: Labels, volume: Volume, path: Path) -> None:
    import nibabel

    nib: Any = nibabel  # its functions carry no types
    kind = nib.Nifti1Image if max(source.shape) <= _LARGEST_NIFTI1_AXIS else nib.Nifti2Image
    affine = volume.grid.affine
    image = kind(source, affine)
    image.set_sform(affine, code=1)
    if shear_degrees(affine) <= _RIGHT_ANGLED_DEGREES:
        image.set_qform(affine, code=1)
    else:
        image.set_qform(None, code=0)  # a quaternion can't hold a shear
    image.header.set_xyzt_units("mm")
    nib.save(image, path)


def _write_itk(source: Labels, volume: Volume, path: Path, names: Mapping[int, str]) -> None:
    import SimpleITK

    sitk: Any = SimpleITK  # its functions carry no types
    lps = LPS_TO_RAS @ volume.grid.affine
    spacing = np.linalg.norm(lps[:3, :3], axis=0)
    if volume.grid.squeeze:
        image = sitk.GetImageFromArray(source)
        image.SetSpacing((float(spacing[1]), float(spacing[0])))
    else:
        image = sitk.GetImageFromArray(np.ascontiguousarray(np.swapaxes(source, 0, 2)))
        image.SetSpacing([float(v) for v in spacing])
        image.SetDirection([float(v) for v in (lps[:3, :3] / spacing).ravel()])
        image.SetOrigin([float(v) for v in lps[:3, 3]])
    if path.name.lower().endswith(".nrrd"):
        for number, (value, name) in enumerate(sorted(names.items())):
            for key, text in (
                ("ID", f"Segment_{value}"),
                ("Name", name),
                ("LabelValue", str(value)),
                ("Layer", "0"),
            ):
                image.SetMetaData(f"Segment{number}_{key}", text)
    try:
        sitk.WriteImage(image, str(path), useCompression=True)
    except RuntimeError as error:
        raise OSError(0, "the library SimpleITK couldn't write it") from error


def _write_picture(source: Labels, path: Path) -> None:
    """(rows, columns), or (columns, rows, 1) of a grid that runs column, row, slice."""
    rows = np.ascontiguousarray(source if source.ndim == 2 else source[:, :, 0].T)
    if path.suffix.lower() == ".png":
        from PIL import Image

        Image.fromarray(rows).save(path, format="PNG", optimize=False)
        return
    import tifffile

    tifffile.imwrite(path, rows, photometric="minisblack", compression="zlib", metadata=None)
