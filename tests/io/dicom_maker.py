"""Small DICOM files for tests: a slice, a series, an enhanced file, a movie. All values are made up."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.sequence import Sequence as Items
from pydicom.uid import UID, CTImageStorage, EnhancedMRImageStorage, ExplicitVRLittleEndian, generate_uid

AXIAL = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)


def header(sop_class: UID = CTImageStorage, modality: str = "CT", **tags: Any) -> FileDataset:
    """A dataset with a file meta header; tags by keyword, None removes."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = sop_class
    meta.MediaStorageSOPInstanceUID = generate_uid()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    made = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    made.SOPClassUID = sop_class
    made.SOPInstanceUID = meta.MediaStorageSOPInstanceUID
    made.Modality = modality
    made.PatientName = "Doe^Jane"
    made.PatientID = "SECRET-4711"
    made.SeriesInstanceUID = "1.2.3.4"
    made.SeriesNumber = 3
    for keyword, value in tags.items():
        if value is None:
            made.pop(keyword, None)
        else:
            setattr(made, keyword, value)
    return made


def add_pixels(made: Dataset, pixels: np.ndarray, photometric: str = "MONOCHROME2", **tags: Any) -> None:
    """Pixels (rows, columns), (frames, rows, columns), with a last axis of 3 for RGB."""
    colour = photometric == "RGB"
    made.SamplesPerPixel = 3 if colour else 1
    made.PhotometricInterpretation = photometric
    if colour:
        made.PlanarConfiguration = 0
    shape = pixels.shape[:-1] if colour else pixels.shape
    made.Rows, made.Columns = shape[-2:]
    if len(shape) == 3:
        made.NumberOfFrames = shape[0]
    made.BitsAllocated = made.BitsStored = 8 * pixels.dtype.itemsize
    made.HighBit = made.BitsStored - 1
    made.PixelRepresentation = int(pixels.dtype.kind == "i")
    for keyword, value in tags.items():
        setattr(made, keyword, value)
    data = pixels.tobytes()
    made.PixelData = data + b"\0" * (len(data) % 2)
    made["PixelData"].VR = "OW" if made.BitsAllocated == 16 else "OB"


def save(made: Dataset, path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    made.save_as(path, enforce_file_format=True)
    return path


def save_slice(
    path: Path,
    pixels: np.ndarray,
    position: Sequence[float] | None = (0.0, 0.0, 0.0),
    *,
    orientation: Sequence[float] | None = AXIAL,
    spacing: Sequence[float] | None = (1.0, 1.0),
    photometric: str = "MONOCHROME2",
    bits: dict[str, Any] | None = None,
    **tags: Any,
) -> Path:
    """One classic slice; ``position`` LPS mm, ``spacing`` (row, column) mm."""
    made = header(**tags)
    if position is not None:
        made.ImagePositionPatient = [float(f"{v:.6f}") for v in position]
    if orientation is not None:
        made.ImageOrientationPatient = [float(f"{v:.8f}") for v in orientation]
    if spacing is not None:
        made.PixelSpacing = list(spacing)
    add_pixels(made, pixels, photometric, **(bits or {}))
    return save(made, path)


def save_series(
    folder: Path,
    positions: Sequence[Sequence[float]],
    pixels: np.ndarray | None = None,
    **tags: Any,
) -> np.ndarray:
    """One file for each position, named against their order; returns the pixels (n, rows, columns)."""
    if pixels is None:
        pixels = np.random.default_rng(5).integers(0, 2000, (len(positions), 6, 9)).astype(np.int16)
    for n, position in enumerate(positions):
        name = f"{len(positions) - n:03d}.dcm"
        number = tags.pop("InstanceNumber", None)
        save_slice(folder / name, pixels[n], position, InstanceNumber=number or 900 - n, **tags)
    return pixels


def save_enhanced(
    path: Path,
    pixels: np.ndarray,
    positions: Sequence[Sequence[float]] | None,
    slopes: Sequence[float] | None = None,
    temporal: Sequence[int] | None = None,
) -> Path:
    """An enhanced MR file; per-frame position and slope, shared orientation and spacing (2.0, 0.5)."""
    made = header(EnhancedMRImageStorage, "MR")
    shared = Dataset()
    orientation, measures = Dataset(), Dataset()
    orientation.ImageOrientationPatient = list(AXIAL)
    measures.PixelSpacing = [2.0, 0.5]
    measures.SliceThickness = 3.0
    shared.PlaneOrientationSequence = Items([orientation])
    shared.PixelMeasuresSequence = Items([measures])
    made.SharedFunctionalGroupsSequence = Items([shared])
    frames = []
    for n in range(len(pixels)):
        frame = Dataset()
        if positions is not None:
            place = Dataset()
            place.ImagePositionPatient = list(positions[n])
            frame.PlanePositionSequence = Items([place])
        if slopes is not None:
            value = Dataset()
            value.RescaleSlope, value.RescaleIntercept = slopes[n], 0
            frame.PixelValueTransformationSequence = Items([value])
        if temporal is not None:
            content = Dataset()
            content.TemporalPositionIndex = temporal[n]
            frame.FrameContentSequence = Items([content])
        frames.append(frame)
    made.PerFrameFunctionalGroupsSequence = Items(frames)
    add_pixels(made, pixels)
    return save(made, path)
