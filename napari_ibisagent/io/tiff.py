"""TIFF pages to arrays: stacks, channels, palettes, 16 bit and float; through tifffile, else through Pillow.

Leaves out whole-slide pyramids beyond their first level, and the sizes in mm that some programs store.
"""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import tifffile
from PIL import Image, ImageOps, ImageSequence

from napari_ibisagent.core.errors import NotAnImageError, ScanError, TruncatedError
from napari_ibisagent.core.geometry import Array
from napari_ibisagent.io.frames import choose_frame
from napari_ibisagent.io.pictures import grey_if_equal, picture_faults, pixels_of

# Without this, tifffile logs oddities of broken files on stderr; what matters of them is raised.
logging.getLogger("tifffile").addHandler(logging.NullHandler())

# A picture and its masks are held in memory several times; above this, a region has to be cut out first.
_LARGEST_BYTES = 4 * 1024**3
_AGAIN = "Copy or download it again, or save it again without compression."
_SLICES = "ZIQRT"  # the first of these axes that a file has are its slices; all others are frames
_PLAIN = (tifffile.PHOTOMETRIC.MINISBLACK, tifffile.PHOTOMETRIC.MINISWHITE, tifffile.PHOTOMETRIC.RGB)
# TIFF orientation tag -> (swap rows and columns, flip rows, flip columns), in this order.
_TURNS = {
    2: (False, False, True),
    3: (False, True, True),
    4: (False, True, False),
    5: (True, False, False),
    6: (True, False, True),
    7: (True, True, True),
    8: (True, True, False),
}


def read_tiff(path: Path, frame: int | None, *, palette: bool = True) -> tuple[Array, tuple[str, ...]]:
    """Pages (n, rows, columns[, 3]) of the first series of a TIFF, and warnings.

    Pages of one series are slices; channels, or time beside slices, are frames to choose from. With
    ``palette`` False the numbers of a palette are kept as they are. Raises ScanError.
    """
    try:
        with picture_faults(path), tifffile.TiffFile(path) as file:
            series = file.series[0]
            _check_size(path, file, series)
            page = series.keyframe
            plain = page.photometric in _PLAIN or (page.photometric == tifffile.PHOTOMETRIC.PALETTE and not palette)
            array = _decoded(series) if plain else None
            if array is None:
                return _through_pillow(path), ()
            array, axes = _with_colour_last(array, series.axes)
            array, warnings = _slices(path, array, axes, frame)
            if page.photometric == tifffile.PHOTOMETRIC.MINISWHITE:
                array = _inverted(array)
            array = _turned(array, page)
            if len(file.series) > 1:
                warnings += (f"The file holds {len(file.series) - 1} more pictures of other sizes, left out.",)
    except tifffile.TiffFileError as error:
        raise NotAnImageError(path, "isn't a TIFF that can be read", _AGAIN) from error
    return array, warnings


def _check_size(path: Path, file: tifffile.TiffFile, series: tifffile.TiffPageSeries) -> None:
    if series.nbytes > _LARGEST_BYTES:
        raise ScanError(
            path,
            f"is too large to open at once ({series.nbytes / 1e9:.0f} GB)",
            "Export a region of it as TIFF.",
        )
    end = max(
        (o + n for o, n in zip(series.keyframe.dataoffsets, series.keyframe.databytecounts, strict=False)),
        default=0,
    )
    if end > path.stat().st_size:
        raise TruncatedError(path, "ends before its header says", "Copy or download it again.")


def _decoded(series: tifffile.TiffPageSeries) -> Array | None:
    """The pixels, or None where they are compressed in a way that only Pillow can undo."""
    try:
        return np.asarray(series.asarray())
    except ValueError as error:
        if "imagecodecs" not in str(error):
            raise
        return None


def _through_pillow(path: Path) -> Array:
    """All pages of the first page's size, (n, rows, columns[, 3])."""
    with Image.open(path) as image:
        pages = [pixels_of(ImageOps.exif_transpose(page)) for page in ImageSequence.Iterator(image)]
    return np.stack([page for page in pages if page.shape == pages[0].shape])


def _with_colour_last(array: Array, axes: str) -> tuple[Array, str]:
    """Samples (axis S) to the end as uint8 RGB without alpha, or dropped where only one carries a picture."""
    if "S" not in axes:
        return array, axes
    array = np.moveaxis(array, axes.index("S"), -1)
    axes = axes.replace("S", "")
    if array.shape[-1] < 3:  # grey and alpha
        return array[..., 0], axes
    array = array[..., :3]
    if array.dtype == np.uint16:
        array = (array >> 8).astype(np.uint8) if array.max() > 255 else array.astype(np.uint8)
    elif array.dtype != np.uint8:
        low, high = float(array.min()), float(array.max())
        array = np.clip((array - low) * (255.0 / ((high - low) or 1.0)), 0, 255).astype(np.uint8)
    grey = grey_if_equal(array)
    return grey, axes + ("S" if grey.ndim == array.ndim else "")


def _slices(path: Path, array: Array, axes: str, frame: int | None) -> tuple[Array, tuple[str, ...]]:
    """(slices, rows, columns[, 3]) of the chosen frame."""
    others = [axis for axis in axes if axis not in "YXS"]
    stacked = next((axis for axis in _SLICES if axis in others), None)
    order = [n for n, axis in enumerate(axes) if axis in others and axis != stacked]
    order += [axes.index(axis) for axis in (stacked, "Y", "X", "S") if axis and axis in axes]
    array = np.transpose(array, order)
    inner = 2 + int("S" in axes) + int(stacked is not None)
    lead = array.shape[: array.ndim - inner]
    chosen, warnings = choose_frame(path, int(np.prod(lead, dtype=int)), frame)
    one = array.reshape(-1, *array.shape[array.ndim - inner :])[chosen]
    return (one if stacked else one[np.newaxis]), warnings


def _inverted(array: Array) -> Array:
    """Pages stored with zero as white, turned so that higher is brighter."""
    if array.dtype.kind == "b":
        return ~array
    return np.iinfo(array.dtype).max - array if array.dtype.kind == "u" else -array


def _turned(array: Array, page: tifffile.TiffPage) -> Array:
    """Pages (n, rows, columns[, 3]) upright, by the orientation tag."""
    tag = page.tags.get("Orientation")
    swap, rows, columns = _TURNS.get(int(tag.value) if tag else 1, (False, False, False))
    array = np.swapaxes(array, 1, 2) if swap else array
    return array[:, :: -1 if rows else 1, :: -1 if columns else 1]
