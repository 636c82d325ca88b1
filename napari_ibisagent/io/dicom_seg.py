"""DICOM SEG: segmentations in frames, as boolean masks of each segment, and laid onto a scan.

Binary, fractional and label-map segmentations; segments may overlap. Leaves out surfaces and slide tiles as
masks of a scan, and writing. Source: DICOM PS3.3 C.8.20.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset

from napari_ibisagent.core.errors import (
    GridError,
    NotAnImageError,
    ScanError,
    TruncatedError,
    UnknownNameError,
)
from napari_ibisagent.core.geometry import Affine, Array
from napari_ibisagent.core.volume import Volume
from napari_ibisagent.io.dicom_geometry import plane_affine
from napari_ibisagent.io.dicom_headers import describe
from napari_ibisagent.io.dicom_kinds import is_segmentation
from napari_ibisagent.io.dicom_pixels import check_length, stored_frames
from napari_ibisagent.io.dicom_source import Source, dicom_faults, not_dicom, read_header
from napari_ibisagent.io.grids import CORNER_TOLERANCE, other_place

_IDENTITY = "SegmentIdentificationSequence"
_HALF = 0.5  # of the largest fractional value: from here on a voxel belongs to the segment


@dataclass(frozen=True, slots=True)
class Segment:
    """A segment's number (from 1) and what it shows."""

    number: int
    label: str


@dataclass(frozen=True, eq=False, slots=True)
class DicomSeg:
    """A segmentation as stored.

    frame_shape: (rows, columns). masks: segment number -> bool (frames of this segment, rows, columns), in
    the file's order; segments may overlap. affines: segment number -> for each of these frames the affine
    (4, 4) from (column, row, 0, 1) to RAS+ mm, or None where the file states no place.
    """

    frame_shape: tuple[int, int]
    frame_count: int
    segments: tuple[Segment, ...]
    masks: Mapping[int, NDArray[np.bool_]]
    affines: Mapping[int, tuple[Affine | None, ...]]


def is_dicom_seg(path: Path) -> bool:
    """Whether a file is a DICOM SEG."""
    header = read_header(Source(path))
    with dicom_faults(path):
        return header is not None and is_segmentation(header)


def read_dicom_seg(path: str | Path) -> DicomSeg:
    """The segments of a DICOM SEG file. Raises NotAnImageError when it is none, TruncatedError, ScanError."""
    path = Path(path)
    source = Source(path)
    header = read_header(source)
    if header is None:
        raise not_dicom(path)
    with dicom_faults(path):
        if not is_segmentation(header):
            raise NotAnImageError(path, "isn't a segmentation (DICOM SEG)", "Open it as a scan.")
        if "Rows" not in header:
            raise NotAnImageError(path, "holds surfaces, not masks", "Export it as a DICOM SEG of voxels.")
        dataset = source.read(pixels=True)
        check_length(path.name, dataset)
    frames = describe(source, dataset)
    with dicom_faults(path):
        stored = np.stack(list(stored_frames(path.name, dataset, range(len(frames)))))
        segments = tuple(
            Segment(int(item.SegmentNumber), str(item.get("SegmentLabel") or "").strip())
            for item in dataset.get("SegmentSequence") or []
            if int(item.SegmentNumber) > 0  # label maps list their background as segment 0
        )
        members = _members(path, dataset, stored, segments)
    places = [plane_affine(frame) for frame in frames]
    return DicomSeg(
        frame_shape=(frames[0].file.rows, frames[0].file.columns),
        frame_count=len(frames),
        segments=segments,
        masks={number: mask for number, (mask, _) in members.items()},
        affines={number: tuple(places[n] for n in which) for number, (_, which) in members.items()},
    )


def _members(
    path: Path, dataset: Dataset, stored: Array, segments: tuple[Segment, ...]
) -> dict[int, tuple[NDArray[np.bool_], list[int]]]:
    """Segment number -> (its masks (n, rows, columns), the numbers of their frames)."""
    kind = str(dataset.get("SegmentationType") or "BINARY").strip().upper()
    if kind == "LABELMAP":
        found = {}
        for segment in segments:
            mask = stored == segment.number
            which = [int(n) for n in np.flatnonzero(mask.any(axis=(1, 2)))]
            found[segment.number] = (mask[which], which)
        return found
    if kind == "FRACTIONAL":
        mask = stored >= _HALF * int(dataset.get("MaximumFractionalValue") or 255)
    else:
        mask = stored != 0
    numbers = _segment_numbers(path, dataset, len(stored))
    result = {}
    for number in sorted({segment.number for segment in segments} | set(numbers)):
        which = [n for n, owner in enumerate(numbers) if owner == number]
        result[number] = (mask[which], which)
    return result


def _segment_numbers(path: Path, dataset: Dataset, count: int) -> list[int]:
    """The segment that each frame belongs to."""
    own = list(dataset.get("PerFrameFunctionalGroupsSequence") or [])
    shared = list(dataset.get("SharedFunctionalGroupsSequence") or [])[:1]
    if own and len(own) < count:
        raise TruncatedError(path, f"describes {len(own)} of its {count} frames", "Export it again.")
    numbers = []
    for n in range(count):
        groups = (own[n : n + 1] if own else []) + shared
        items = [group.SegmentIdentificationSequence[0] for group in groups if _IDENTITY in group]
        if not items:
            raise ScanError(path, f"doesn't say which segment frame {n + 1} belongs to", "Export it again.")
        numbers.append(int(items[0].ReferencedSegmentNumber))
    return numbers


def read_seg_mask(path: Path, volume: Volume, value: int | Literal["nonzero"]) -> NDArray[np.bool_]:
    """Segment ``value``, or all of them, on the grid of ``volume``, bool (Z, Y, X).

    Frames may cover a part of the scan. Raises GridError when a frame lies between the scan's slices or
    outside, UnknownNameError when there is no such segment.
    """
    seg = read_dicom_seg(path)
    if value != "nonzero" and value not in seg.masks:
        names = ", ".join(f"{segment.number} ({segment.label})" for segment in seg.segments)
        raise UnknownNameError(f"{path.name} has no segment {value}. It has {names}.")
    mask = np.zeros(volume.shape, dtype=np.bool_)
    for number in seg.masks if value == "nonzero" else [value]:
        for frame, affine in zip(seg.masks[number], seg.affines[number], strict=True):
            if affine is None:
                raise GridError(f"{path.name} doesn't state where its frames lie. Export it again with its scan.")
            _lay(path, frame, affine, mask, volume)
    return mask


def _lay(path: Path, frame: NDArray[np.bool_], affine: Affine, mask: NDArray[np.bool_], volume: Volume) -> None:
    """Set the voxels of ``mask`` that a frame (rows, columns) covers."""
    to_volume = np.linalg.inv(volume.affine) @ affine
    rows, columns = frame.shape
    ends = np.array([[i, j, 0.0, 1.0] for i in (0, columns - 1) for j in (0, rows - 1)])
    corners = (ends @ to_volume.T)[:, :3]
    j, i = np.nonzero(frame)
    points = (np.stack([i, j, np.zeros_like(i), np.ones_like(i)], axis=1) @ to_volume.T)[:, :3]
    index = np.rint(points).astype(np.intp)
    limits = np.array(volume.shape[::-1])
    steps = np.abs(to_volume[:3, :2])
    aligned = np.abs(corners - np.rint(corners)).max() <= CORNER_TOLERANCE and np.allclose(
        np.sort(steps, axis=0), [[0, 0], [0, 0], [1, 1]], atol=CORNER_TOLERANCE
    )
    if not aligned or (index < 0).any() or (index >= limits).any():
        place = Volume.from_source(frame.T[:, :, np.newaxis], affine, name=path.name)
        raise other_place(path, place, volume)
    mask[index[:, 2], index[:, 1], index[:, 0]] = True
