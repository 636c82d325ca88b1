"""Opening a scan or a mask, whatever its format: decides by content, then by ending, which reader to use.

Leaves out the formats themselves (``nifti``, ``dicom``, ``itk``, ``pictures``), which are imported only
when a file of their kind is opened, and writing (``labels``).
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from napari_ibisagent.core.errors import (
    GridError,
    NotAnImageError,
    ScanError,
    TruncatedError,
    UnknownNameError,
)
from napari_ibisagent.core.volume import Volume
from napari_ibisagent.io.frames import says_several
from napari_ibisagent.io.grids import align_mask, other_shape
from napari_ibisagent.io.names import DICOM, ITK, NIFTI, PICTURES, ending_of

Kind = Literal["dicom", "nifti", "itk", "picture"]
Value = int | Literal["nonzero"]

_READABLE = "DICOM files, folders and zips, .nii, .nii.gz, .nrrd, .mha, .png, .jpg, .tif and .bmp"
_HEAD_BYTES = 352


def read_scan(
    path: str | Path, *, series: str | None = None, frame: int | None = None, modality: str | None = None
) -> Volume:
    """The scan in a file, a DICOM folder or a zip of DICOM files.

    ``series`` names one of several DICOM series (a key of SeriesChoiceError, a series number or UID);
    ``frame`` chooses a time point, channel or movie frame, from 0; ``modality`` ("CT", "MR", ...) stands above
    what the file says, since some formats don't keep it.
    Raises ScanError (SeriesChoiceError, NotAnImageError, TruncatedError), and UnknownNameError for a series
    that isn't there.
    """
    path = Path(path)
    kind = _kind(path)
    if series is not None and kind != "dicom":
        raise UnknownNameError(f"{path.name} has no series to choose from. Leave --series out.")
    volume = _read(path, kind, series, frame)
    return volume if modality is None else replace(volume, modality=modality.strip().upper())


def read_mask(path: str | Path, volume: Volume, value: Value = "nonzero") -> NDArray[np.bool_]:
    """A mask file on the grid of ``volume``, as bool (Z, Y, X): where it is ``value``, or isn't zero.

    The file is read in its own orientation and turned by axis swaps and flips only. For pictures only the
    shape is compared. Raises GridError when the shape or the place is another, ScanError when unreadable.
    """
    path = Path(path)
    kind = _kind(path)
    if kind == "picture":
        from napari_ibisagent.io.pictures import read_picture_mask

        return _place_picture(path, read_picture_mask(path, value), volume)
    if kind == "dicom" and path.is_file():
        from napari_ibisagent.io.dicom_seg import is_dicom_seg, read_seg_mask

        if is_dicom_seg(path):
            return read_seg_mask(path, volume, value)
    mask = _read(path, kind, None, None)
    if says_several(mask.warnings):
        raise GridError(f"The mask {path.name} holds several frames. Save the one of {volume.name} alone.")
    if not volume.grid.squeeze:
        return _selected(align_mask(path, mask, volume), value, mask.is_colour)
    if mask.grid.shape[2] != 1:
        raise other_shape(path, mask.shape, volume)
    flat = mask.grid.turn.invert(mask.data)[:, :, 0]
    return _place_picture(path, _selected(flat, value, mask.is_colour), volume)


def _place_picture(path: Path, flat: NDArray[np.bool_], volume: Volume) -> NDArray[np.bool_]:
    """A mask (rows, columns) or (pages, rows, columns) on the volume's grid; only shapes are compared."""
    if flat.ndim == 3 and flat.shape[0] > 1:
        if volume.has_orientation or flat.shape != volume.shape:
            raise other_shape(path, flat.shape, volume)
        return flat
    flat = flat.reshape(flat.shape[-2:])
    source = flat if volume.grid.squeeze else flat.T  # other grids run (column, row, slice)
    if list(volume.grid.shape) != [*source.shape, 1]:
        raise other_shape(path, (1, *flat.shape), volume)
    return np.ascontiguousarray(volume.grid.turn.apply(source[:, :, np.newaxis]))


def _selected(data: NDArray[Any], value: Value, is_colour: bool) -> NDArray[np.bool_]:
    if value == "nonzero":
        chosen = (data != 0).any(axis=-1) if is_colour else data != 0
    else:
        chosen = (data == value).all(axis=-1) if is_colour else data == value
    return np.ascontiguousarray(chosen, dtype=np.bool_)


def _read(path: Path, kind: Kind, series: str | None, frame: int | None) -> Volume:
    try:
        if kind == "dicom":
            from napari_ibisagent.io.dicom import read_dicom

            return read_dicom(path, series=series, frame=frame)
        if kind == "nifti":
            from napari_ibisagent.io.nifti import read_nifti

            return read_nifti(path, frame=frame)
        if kind == "itk":
            from napari_ibisagent.io.itk import read_itk

            return read_itk(path, frame=frame)
        from napari_ibisagent.io.pictures import read_picture

        return read_picture(path, frame=frame)
    except MemoryError as error:
        raise ScanError(
            path, "needs more memory than is free on this computer", "Close other programs, or crop the scan."
        ) from error


def _kind(path: Path) -> Kind:
    """Which reader opens ``path``. Raises ScanError when it is missing, empty or of no known kind."""
    try:
        if path.is_dir():
            return "dicom"
        if not path.exists():
            raise ScanError(path, f"doesn't exist ({path})", "Check the path.")
    except OSError as error:
        raise _unopened(path, error) from error
    head = _head(path)
    ending = ending_of(path)
    if not head:
        raise TruncatedError(path, "is empty (0 bytes)", "Copy or download it again.")
    kind = _kind_of_content(head) or _kind_of_ending(ending)
    if kind == "dicom" and not ending and path.suffix[1:].isalpha() and head[1:2] != b"\0":
        kind = None  # a text, a document, ...: not even the start of a bare DICOM dataset
    if kind is None:
        raise NotAnImageError(path, "isn't a kind of file that can be opened", f"These can: {_READABLE}.")
    return kind


def _head(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(_HEAD_BYTES)
    except OSError as error:
        raise _unopened(path, error) from error


def _unopened(path: Path, error: OSError) -> ScanError:
    return ScanError(path, f"can't be opened ({error.strerror or error})", "Check that you may read it.")


def _kind_of_content(head: bytes) -> Kind | None:
    """Only marks long enough not to occur by chance; everything else goes by the ending."""
    if head[128:132] == b"DICM" or head.startswith(b"PK\x03\x04"):
        return "dicom"
    if head[344:348] in (b"n+1\0", b"ni1\0") or head[4:8] == b"n+2\0":
        return "nifti"
    if head.startswith(b"NRRD000"):
        return "itk"
    if head.startswith((b"\x89PNG\r\n", b"\xff\xd8\xff", b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")):
        return "picture"
    return None


def _kind_of_ending(ending: str) -> Kind | None:
    if ending in NIFTI:
        return "nifti"
    if ending in ITK:
        return "itk"
    if ending in PICTURES:
        return "picture"
    # DICOM files often have no ending, or a number; ``dicom`` says so when the file isn't one.
    return "dicom" if ending in ("", *DICOM) else None
