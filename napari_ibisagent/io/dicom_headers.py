"""A DICOM header to ``Frame`` values: where each frame lies, its scaling, and what orders it.

Reads classic files (one frame), enhanced files (functional groups for all frames and for each) and movies
alike. Leaves out pixels and everything that could name the patient.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from pydicom import Dataset
from pydicom.uid import UID

from napari_ibisagent.core.errors import NotAnImageError, TruncatedError
from napari_ibisagent.io.dicom_source import Source, dicom_faults

Vector = tuple[float, ...]

_AGAIN = "Copy or export it again."


@dataclass(frozen=True, slots=True)
class File:
    """What all frames of a file share."""

    source: Source
    sop_uid: str
    series_uid: str
    series_number: int | None
    description: str
    modality: str
    sop_class: str
    rows: int
    columns: int
    is_colour: bool
    is_localizer: bool
    frame_count: int
    spacing_is_at_detector: bool


@dataclass(frozen=True, slots=True)
class Frame:
    """One frame of a file, numbered from 0.

    position (x, y, z) in LPS mm of the first pixel's centre; orientation: the unit vectors along a row and
    down a column; spacing (row, column) in mm; thickness: distance to the next slice, as far as stated.
    order: what tells frames at one position apart, most telling first (see ``_order``).
    """

    file: File
    index: int
    position: Vector | None
    orientation: Vector | None
    spacing: tuple[float, float] | None
    thickness: float | None
    slope: float
    intercept: float
    location: float | None
    order: Vector

    @property
    def is_placed(self) -> bool:
        """Whether the frame states its place in the patient."""
        return self.position is not None and self.orientation is not None


def describe(source: Source, dataset: Dataset) -> list[Frame]:
    """The frames of a file. Raises ScanError when a value can't be read."""
    with dicom_faults(source.name):
        file = _file(source, dataset)
        shared = _first(dataset, "SharedFunctionalGroupsSequence")
        own = dataset.get("PerFrameFunctionalGroupsSequence") or []
        return [_frame(file, dataset, [own[n]] if n < len(own) else [], shared, n) for n in range(file.frame_count)]


def _file(source: Source, dataset: Dataset) -> File:
    rows, columns = _whole(dataset, "Rows"), _whole(dataset, "Columns")
    if not rows or not columns:
        if "Image Storage" in UID(_sop_class(dataset)).name:
            raise TruncatedError(source.name, "ends within its header", _AGAIN)
        raise NotAnImageError(source.name, "holds no picture", "Open a scan.")
    count = max(1, _whole(dataset, "NumberOfFrames") or 1)
    if count > source.size():
        raise TruncatedError(source.name, f"has far less data than the {count} frames that it states", _AGAIN)
    colour = str(dataset.get("PhotometricInterpretation") or "").strip()
    return File(
        source=source,
        sop_uid=str(dataset.get("SOPInstanceUID") or source.path / source.member),
        series_uid=str(dataset.get("SeriesInstanceUID") or ""),
        series_number=_whole(dataset, "SeriesNumber"),
        description=str(dataset.get("SeriesDescription") or "").strip(),
        modality=str(dataset.get("Modality") or "").strip().upper(),
        sop_class=_sop_class(dataset),
        rows=rows,
        columns=columns,
        is_colour=(_whole(dataset, "SamplesPerPixel") or 1) >= 3 or colour == "PALETTE COLOR",
        is_localizer=any("LOCALIZER" in str(part).upper() for part in _many(dataset, "ImageType")),
        frame_count=count,
        spacing_is_at_detector="PixelSpacing" not in dataset and "ImagerPixelSpacing" in dataset,
    )


def _sop_class(dataset: Dataset) -> str:
    return str(dataset.get("SOPClassUID") or dataset.file_meta.get("MediaStorageSOPClassUID") or "")


def _frame(file: File, dataset: Dataset, own: list[Dataset], shared: list[Dataset], index: int) -> Frame:
    """One frame; its own functional groups count before the shared ones, these before the file's header."""
    groups = own + shared

    def look(sequence: str, keyword: str) -> Any:
        places = [found for group in groups for found in _first(group, sequence)]
        return next((place for place in [*places, dataset] if place.get(keyword) is not None), Dataset()).get(keyword)

    spacing = _numbers(look("PixelMeasuresSequence", "PixelSpacing"), 2) or _numbers(
        dataset.get("ImagerPixelSpacing"), 2
    )
    between = _number(look("PixelMeasuresSequence", "SpacingBetweenSlices"))
    thick = _number(look("PixelMeasuresSequence", "SliceThickness"))
    slope = _number(look("PixelValueTransformationSequence", "RescaleSlope"))
    intercept = _number(look("PixelValueTransformationSequence", "RescaleIntercept"))
    # A position in the main header of a movie is that of its first frame only.
    classic = file.frame_count == 1 or bool(own)
    return Frame(
        file=file,
        index=index,
        position=_numbers(look("PlanePositionSequence", "ImagePositionPatient"), 3) if classic else None,
        orientation=_orientation(look("PlaneOrientationSequence", "ImageOrientationPatient")),
        spacing=(spacing[0], spacing[1]) if spacing and min(spacing) > 0 else None,
        thickness=next((abs(v) for v in (between, thick) if v), None),
        slope=slope or 1.0,
        intercept=intercept or 0.0,
        location=_number(dataset.get("SliceLocation")),
        order=_order(dataset, own, index),
    )


def _order(dataset: Dataset, own: list[Dataset], index: int) -> Vector:
    """Temporal position, acquisition, trigger, echo, diffusion weight, time, image number, frame number."""
    content = [found for group in own for found in _first(group, "FrameContentSequence")]
    echo = [found for group in own for found in _first(group, "MREchoSequence")]
    diffusion = [found for group in own for found in _first(group, "MRDiffusionSequence")]

    def first(*candidates: tuple[list[Dataset], str]) -> float:
        values = (_number(place.get(keyword)) for places, keyword in candidates for place in places)
        return next((value for value in values if value is not None), -1.0)

    return (
        first((content, "TemporalPositionIndex"), ([dataset], "TemporalPositionIdentifier")),
        first((content, "FrameAcquisitionNumber"), ([dataset], "AcquisitionNumber")),
        first(([dataset], "TriggerTime")),
        first((echo, "EffectiveEchoTime"), ([dataset], "EchoTime")),
        first((diffusion, "DiffusionBValue"), ([dataset], "DiffusionBValue")),
        first(([dataset], "AcquisitionTime"), ([dataset], "ContentTime")),
        first(([dataset], "InstanceNumber")),
        float(index),
    )


def _orientation(value: Any) -> Vector | None:
    """Two unit vectors (6 numbers), or None where they are missing or don't span a plane."""
    cosines = _numbers(value, 6)
    if cosines is None:
        return None
    row, column = cosines[:3], cosines[3:]
    lengths = math.hypot(*row), math.hypot(*column)
    if min(lengths) < 1e-3:
        return None
    unit = tuple(v / lengths[0] for v in row) + tuple(v / lengths[1] for v in column)
    slant = abs(sum(a * b for a, b in zip(unit[:3], unit[3:], strict=True)))
    return unit if slant < 0.1 else None


def _first(dataset: Dataset, keyword: str) -> list[Dataset]:
    """The first item of a sequence as a list of one, or an empty list."""
    items = dataset.get(keyword) or []
    return [items[0]] if len(items) else []


def _many(dataset: Dataset, keyword: str) -> Iterator[Any]:
    value = dataset.get(keyword)
    if value is not None:
        yield from [value] if isinstance(value, str) else value


def _number(value: Any) -> float | None:
    """A finite number or None. Raises ValueError when it is no number."""
    if value is None or value == "" or (isinstance(value, str) and not value.strip()):
        return None
    number = float(value if isinstance(value, str | int | float) else value[0] if hasattr(value, "__len__") else value)
    return number if math.isfinite(number) else None


def _numbers(value: Any, count: int) -> Vector | None:
    """``count`` finite numbers, or None where there are fewer. Raises ValueError when they are no numbers."""
    if value is None or isinstance(value, str) or not hasattr(value, "__len__") or len(value) < count:
        return None
    numbers = tuple(float(v) for v in list(value)[:count])
    return numbers if all(math.isfinite(v) for v in numbers) else None


def _whole(dataset: Dataset, keyword: str) -> int | None:
    """A whole number or None. Raises ValueError, naming the field, when it is something else."""
    value = dataset.get(keyword)
    try:
        number = _number(value)
    except (ValueError, TypeError) as error:
        raise ValueError(f"{keyword} = {value!s:.40}") from error
    return None if number is None else int(number)
