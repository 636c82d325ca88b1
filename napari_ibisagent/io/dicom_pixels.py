"""DICOM pixels to values: decompressed, rescaled (HU for CT), colour as 8-bit RGB, higher = brighter.

Uses the decoders of pydicom with GDCM and Pillow. Leaves out windows, overlays and presentation tables.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

import gdcm
import numpy as np
from pydicom import Dataset
from pydicom.encaps import get_frame
from pydicom.pixels.decoders.base import Decoder, get_decoder
from pydicom.pixels.processing import apply_color_lut, apply_modality_lut
from pydicom.pixels.utils import get_expected_length
from pydicom.uid import UID

from napari_ibisagent.core.errors import ScanError, TruncatedError
from napari_ibisagent.core.geometry import Array
from napari_ibisagent.io.dicom_headers import Frame
from napari_ibisagent.io.dicom_source import dicom_faults
from napari_ibisagent.io.dicom_streams import is_sound

# GDCM prints about broken streams on stderr; what matters of it is raised as well.
gdcm.Trace.DebugOff()
gdcm.Trace.WarningOff()
gdcm.Trace.ErrorOff()

_AGAIN = "Copy it again, or export it again from the PACS."
_AIR_HU = -1000.0
# Their values are measurements, which an inversion would falsify.
_MEASURED = ("CT", "PT", "NM")


def values_of(frames: Sequence[Frame]) -> tuple[Array, tuple[str, ...]]:
    """The values of one or more ``frames``, stacked (n, rows, columns[, 3]) in their order, and warnings.

    Integers (as few bits as hold them) where the rescaling is by whole numbers, else float32; colour is
    uint8. The array is allocated once. Raises ScanError, TruncatedError.
    """
    out: Array | None = None
    whole = all(frame.slope.is_integer() and frame.intercept.is_integer() for frame in frames)
    plain = all((frame.slope, frame.intercept) == (1.0, 0.0) for frame in frames)
    inverted = False
    for slot, frame, dataset, stored in _decoded(frames):
        with dicom_faults(frame.file.source.name):
            if frame.file.is_colour:
                values = _colour(stored, dataset)
            else:
                upright, was_inverted = _brighter(_unpadded(stored, dataset, frame), dataset, frame)
                inverted |= was_inverted
                values = _rescaled(upright, dataset, frame, whole)
        if out is None:
            small = values.dtype == np.uint8 and (plain or frame.file.is_colour)
            dtype = values.dtype if small or values.dtype.kind == "f" else np.dtype(np.int16)
            out = np.zeros((len(frames), *values.shape), dtype=dtype)
        out = _widened(out, values)
        out[slot] = values
    text = "The picture is stored inverted (MONOCHROME1); it is turned so that higher values are brighter."
    if out is None:
        raise ValueError("There is no frame to read.")
    return out, (text,) if inverted else ()


def _decoded(frames: Sequence[Frame]) -> Iterator[tuple[int, Frame, Dataset, Array]]:
    """(slot in ``frames``, frame, its file's dataset, stored values), each file read once where it can be."""
    for _, group in groupby(enumerate(frames), key=lambda item: id(item[1].file)):
        members = list(group)
        name = members[0][1].file.source.name
        with dicom_faults(name):
            dataset = members[0][1].file.source.read(pixels=True)
            check_length(name, dataset)
            stored = stored_frames(name, dataset, [frame.index for _, frame in members])
        for slot, frame in members:
            with dicom_faults(name):
                yield slot, frame, dataset, next(stored)


def stored_frames(name: str | Path, dataset: Dataset, indices: Sequence[int]) -> Iterator[Array]:
    """The stored values of some frames, decompressed; YBR as RGB. Raises ScanError."""
    syntax = dataset.file_meta.TransferSyntaxUID
    try:
        decoder = get_decoder(syntax)
    except NotImplementedError as error:
        raise _not_unpacked(name, syntax) from error
    if not decoder.is_available:
        raise _not_unpacked(name, syntax)
    for index in indices:
        try:
            array = _decoded_frame(decoder, dataset, index)
        except (RuntimeError, ValueError, EOFError, IndexError, OSError, StopIteration) as error:
            if not syntax.is_encapsulated:
                raise
            if "not support" in str(error):
                raise _not_unpacked(name, syntax) from error
            text = "has compressed pixels that are damaged or end early"
            raise TruncatedError(name, text, _AGAIN) from error
        yield array.astype(array.dtype.newbyteorder("="), copy=False)


def _decoded_frame(decoder: Decoder, dataset: Dataset, index: int) -> Array:
    """One frame; by Pillow where it can, since GDCM ends the process on some broken streams."""
    if "pillow" in decoder.available_plugins:
        return decoder.as_array(dataset, index=index, raw=False, decoding_plugin="pillow")[0]
    if "gdcm" in decoder.available_plugins:
        count = int(dataset.get("NumberOfFrames") or 1)
        stream = get_frame(dataset.PixelData, index, number_of_frames=count)
        if not is_sound(stream, dataset.Rows, dataset.Columns, dataset.SamplesPerPixel):
            raise ValueError("The compressed picture isn't the one that the header announces.")
    return decoder.as_array(dataset, index=index, raw=False)[0]


def _not_unpacked(name: str | Path, syntax: UID) -> ScanError:
    return ScanError(
        name,
        f"is compressed with {syntax.name}, which can't be unpacked here",
        "Convert it to an uncompressed file, for example with gdcmconv --raw, and open that.",
    )


def check_length(name: str, dataset: Dataset) -> None:
    """Raises TruncatedError when there are no pixels, or fewer than the header says."""
    keywords = [key for key in ("PixelData", "FloatPixelData", "DoubleFloatPixelData") if key in dataset]
    if not keywords or not dataset[keywords[0]].value:
        raise TruncatedError(name, "holds no pixels, although its header announces a picture", _AGAIN)
    if dataset.file_meta.TransferSyntaxUID.is_encapsulated:
        return
    expected, there = get_expected_length(dataset, unit="bytes"), len(dataset[keywords[0]].value)
    if there < expected:
        raise TruncatedError(name, f"holds {there} bytes of pixels where its header says {expected}", _AGAIN)


def _colour(stored: Array, dataset: Dataset) -> Array:
    """(rows, columns, 3) uint8; 16-bit colour keeps its upper 8 bits."""
    bits = int(dataset.BitsStored)
    if str(dataset.PhotometricInterpretation).strip() == "PALETTE COLOR":
        stored = apply_color_lut(stored, dataset)[..., :3]
        # Some tables announce 16 bits and hold 8.
        bits = 8 if stored.dtype == np.uint8 or stored.max() <= 255 else 16
    if bits > 8:
        stored = stored >> (bits - 8)
    return stored[..., :3].astype(np.uint8)


def _unpadded(stored: Array, dataset: Dataset, frame: Frame) -> Array:
    """CT only: padding outside the field of view set to the lowest true value, so that it looks like air."""
    padding = dataset.get("PixelPaddingValue")
    if frame.file.modality != "CT" or padding is None or stored.dtype.kind == "f":
        return stored
    limit = dataset.get("PixelPaddingRangeLimit")
    ends = sorted(_as_stored(int(end), stored.dtype) for end in (padding, padding if limit is None else limit))
    outside = (stored >= ends[0]) & (stored <= ends[1])
    if not outside.any():
        return stored
    if outside.all():
        lowest = round((_AIR_HU - frame.intercept) / frame.slope)
    else:
        lowest = int(stored[~outside].min())
    bounds = np.iinfo(stored.dtype)
    return np.where(outside, np.array(min(max(lowest, bounds.min), bounds.max), stored.dtype), stored)


def _as_stored(value: int, dtype: np.dtype[Any]) -> int:
    """A padding value that was written with the wrong sign, as its bits read in the pixels' own type."""
    bits = 8 * dtype.itemsize
    if dtype.kind == "i" and value >= 1 << (bits - 1):
        return value - (1 << bits)
    return value + (1 << bits) if dtype.kind == "u" and value < 0 else value


def _brighter(stored: Array, dataset: Dataset, frame: Frame) -> tuple[Array, bool]:
    """MONOCHROME1 turned within its range of bits, and whether it was."""
    is_inverted = str(dataset.get("PhotometricInterpretation") or "").strip() == "MONOCHROME1"
    if not is_inverted or stored.dtype.kind == "f" or frame.file.modality in _MEASURED:
        return stored, False
    bits = int(dataset.BitsStored)
    total = -1 if dataset.PixelRepresentation else (1 << bits) - 1  # lowest + highest storable value
    return (total - stored.astype(np.int64)).astype(np.int64 if bits > 16 else np.int32), True


def _rescaled(stored: Array, dataset: Dataset, frame: Frame, whole: bool) -> Array:
    """Stored values times slope plus intercept, or through the file's own table."""
    if (frame.slope, frame.intercept) == (1.0, 0.0):
        if "ModalityLUTSequence" in dataset and stored.dtype.kind != "f":
            return np.asarray(apply_modality_lut(stored, dataset))
        return stored.astype(np.float32, copy=False) if stored.dtype.kind == "f" else stored
    if whole and stored.dtype.kind != "f":
        wide = stored.astype(np.int32 if stored.dtype.itemsize <= 2 else np.int64)
        return wide * int(frame.slope) + int(frame.intercept)
    return (stored * np.float64(frame.slope) + frame.intercept).astype(np.float32)


def _widened(out: Array, values: Array) -> Array:
    """``out`` in the smallest of its own type, int16, int32 and float32 that holds ``values`` as well."""
    if out.dtype.kind == "f" or out.dtype == values.dtype:
        return out
    if values.dtype.kind == "f":
        return out.astype(np.float32)
    low, high = int(values.min()), int(values.max())
    for dtype in (out.dtype, np.dtype(np.int16), np.dtype(np.int32)):
        bounds = np.iinfo(dtype)
        if bounds.min <= low and high <= bounds.max:
            return out.astype(dtype, copy=False) if np.can_cast(out.dtype, dtype) else out
    return out.astype(np.float32)
