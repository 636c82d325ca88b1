"""2D pictures (PNG, JPEG, BMP) and TIFF stacks to ``Volume``, through Pillow and tifffile.

Leaves out sizes in mm: the resolution that pictures state is that of a printer or screen.
"""

from __future__ import annotations

import warnings as python_warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from napari_ibisagent.core.errors import NotAnImageError, ScanError, TruncatedError
from napari_ibisagent.core.geometry import Array
from napari_ibisagent.core.volume import Volume
from napari_ibisagent.io.frames import choose_frame
from napari_ibisagent.io.grids import mend_values, small_integers, stack_volume
from napari_ibisagent.io.names import scan_name

_AGAIN = "Copy or download it again, or save it again as PNG."
_GREY_MODES = ("L", "I", "F", "I;16", "I;16L", "I;16B", "I;16N")


def read_picture(path: Path, *, frame: int | None = None) -> Volume:
    """A picture as a volume of one slice, a TIFF of several pages as a stack; neither has a size in mm.

    Grey values are kept (8, 16, 32 bit, float); colour becomes uint8 RGB, without alpha. Raises ScanError.
    """
    pages, warnings = _pages(path, frame)
    pages, more = mend_values(path, small_integers(pages))
    warnings += more
    name = scan_name(path)
    if pages.shape[0] == 1:
        return Volume.from_picture(pages[0], name=name, warnings=warnings)
    return stack_volume(pages, name=name, warnings=warnings)


def read_picture_mask(path: Path, value: int | Literal["nonzero"]) -> NDArray[np.bool_]:
    """A mask (rows, columns), or (pages, rows, columns) of a TIFF: where it is ``value``, or isn't zero.

    Alpha is left out. The numbers of a palette are its labels. A JPEG blurs values, so it counts as a mask
    above 127 and can't hold numbered labels. Raises ScanError.
    """
    if _is_tiff(path):
        from napari_ibisagent.io.tiff import read_tiff

        pages, _ = read_tiff(path, None, palette=value == "nonzero")
        return _chosen(path, pages if pages.shape[0] > 1 else pages[0], value, pages.ndim == 4)
    with picture_faults(path), Image.open(path) as opened:
        image = ImageOps.exif_transpose(opened)
        if opened.format == "JPEG":
            if value not in ("nonzero", 255):
                raise ScanError(path, "is a JPEG, which can't hold numbered labels", "Save the labels as PNG.")
            return np.array(np.array(image.convert("L")) > 127, dtype=np.bool_)
        if image.mode == "P" and value != "nonzero":
            return np.array(np.array(image) == value, dtype=np.bool_)
        pixels = pixels_of(image)
    return _chosen(path, pixels, value, pixels.ndim == 3)


def _chosen(path: Path, pixels: Array, value: int | Literal["nonzero"], colour: bool) -> NDArray[np.bool_]:
    """Pixels (..., rows, columns[, 3]) to a mask; a grey picture stored as RGB has been made grey before."""
    if value == "nonzero":
        return np.asarray((pixels != 0).any(axis=-1) if colour else pixels != 0)
    if colour:
        raise ScanError(path, "is a colour picture, which holds no numbered labels", "Save the labels as grey PNG.")
    return np.asarray(pixels == value)


@contextmanager
def picture_faults(path: Path) -> Iterator[None]:
    """Translate what Pillow and tifffile raise."""
    try:
        with python_warnings.catch_warnings():
            python_warnings.simplefilter("ignore")
            yield
    except Image.DecompressionBombError as error:
        raise ScanError(
            path,
            "is larger than any picture should be, once unpacked",
            "Crop it, or save it at a lower resolution.",
        ) from error
    except UnidentifiedImageError as error:
        raise NotAnImageError(path, "isn't a picture, although its name says so", _AGAIN) from error
    except (OSError, SyntaxError, EOFError, ValueError, LookupError, TypeError, ArithmeticError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise ScanError(path, f"can't be opened ({error.strerror})", "Check that you may read it.") from error
        raise TruncatedError(path, "ends early or is damaged", _AGAIN) from error


def _is_tiff(path: Path) -> bool:
    with picture_faults(path), path.open("rb") as file:
        return file.read(4) in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")


def _pages(path: Path, frame: int | None) -> tuple[Array, tuple[str, ...]]:
    """Pages (n, rows, columns[, 3]) and warnings."""
    if _is_tiff(path):
        from napari_ibisagent.io.tiff import read_tiff

        return read_tiff(path, frame)
    choose_frame(path, 1, frame)
    with picture_faults(path), Image.open(path) as image:
        pixels = pixels_of(ImageOps.exif_transpose(image))
    return pixels[np.newaxis], ()


def pixels_of(image: Image.Image) -> Array:
    """(rows, columns) grey or (rows, columns, 3) uint8; three equal channels are grey."""
    if image.mode in _GREY_MODES:
        return np.array(image)
    if image.mode == "1":
        return np.array(image.convert("L"))
    if image.mode in ("LA", "La"):
        return np.array(image.getchannel(0))
    return grey_if_equal(np.array(image.convert("RGB")))


def grey_if_equal(pixels: Array) -> Array:
    """(..., 3) without its last axis where all three channels are the same."""
    red = pixels[..., 0]
    if np.array_equal(red, pixels[..., 1]) and np.array_equal(red, pixels[..., 2]):
        return np.ascontiguousarray(red)
    return pixels
