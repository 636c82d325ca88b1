"""DICOM to ``Volume``: a file, a folder or a zip; one series, one time point, one grid.

Joins the parts: where files lie (``dicom_source``), what they say (``dicom_headers``, ``dicom_kinds``), which
belong together (``dicom_series``), where they lie in the patient (``dicom_geometry``) and their values
(``dicom_pixels``). Leaves out segmentations (``dicom_seg``), and everything that names the patient.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from napari_ibisagent.core.errors import NotAnImageError, ScanError
from napari_ibisagent.core.volume import Volume
from napari_ibisagent.io.dicom_geometry import grid_of, spacing_warnings, time_points
from napari_ibisagent.io.dicom_headers import Frame, describe
from napari_ibisagent.io.dicom_kinds import refusal
from napari_ibisagent.io.dicom_pixels import values_of
from napari_ibisagent.io.dicom_series import Series, choose_series, sort_series, without_copies
from napari_ibisagent.io.dicom_source import Source, dicom_faults, not_dicom, open_sources, read_header
from napari_ibisagent.io.frames import choose_frame
from napari_ibisagent.io.grids import check_affine, check_spacing, mend_values, stack_volume
from napari_ibisagent.io.names import scan_name


def read_dicom(path: Path, *, series: str | None = None, frame: int | None = None) -> Volume:
    """The scan in a DICOM file, a folder (with subfolders) or a zip.

    The source grid runs (column, row, slice), slices sorted along their normal. Raises ScanError
    (SeriesChoiceError, NotAnImageError, TruncatedError) and UnknownNameError.
    """
    with open_sources(path) as sources:
        single = len(sources) == 1 and sources[0].path == path and not sources[0].member
        frames, left_out = _collect(path, sources, single)
        frames, copies = without_copies(frames)
        chosen, more = choose_series(path, sort_series(frames), series)
        warnings = left_out + more
        if copies:
            warnings += (f"{copies} images are there twice; each is used once.",)
        if chosen.frames[0].is_placed:
            return _placed(path, chosen, frame, warnings)
        return _unplaced(path, chosen, frame, warnings)


def _collect(path: Path, sources: Sequence[Source], single: bool) -> tuple[list[Frame], tuple[str, ...]]:
    """The frames of all pictures, and what was left out. A single file that is no picture is refused."""
    frames: list[Frame] = []
    others: Counter[str] = Counter()
    broken: list[ScanError] = []
    for source in sources:
        try:
            header = read_header(source)
            if header is None:
                if single:
                    raise not_dicom(path)
                continue
            with dicom_faults(source.name):
                refused = refusal(header)
            if refused and single:
                raise NotAnImageError(path, f"is {refused[0]}, not a picture of anatomy", refused[1])
            if refused:
                others[refused[0]] += 1
                continue
            frames += describe(source, header)
        except ScanError as error:
            if single:
                raise
            broken.append(error)
    if not frames:
        raise _nothing(path, others, broken)
    return frames, _left_out(others, broken)


def _nothing(path: Path, others: Counter[str], broken: Sequence[ScanError]) -> ScanError:
    if broken:
        return broken[0]
    if others:
        return NotAnImageError(
            path, f"holds no pictures, only {_counted(others)}", "Open the scan that they belong to."
        )
    return NotAnImageError(
        path,
        "holds no DICOM pictures",
        "Choose the folder that the DICOM files lie in, or another file itself.",
    )


def _counted(others: Counter[str]) -> str:
    return ", ".join(kind if count == 1 else f"{count} times {kind}" for kind, count in sorted(others.items()))


def _left_out(others: Counter[str], broken: Sequence[ScanError]) -> tuple[str, ...]:
    others = Counter({kind: count for kind, count in others.items() if "DICOMDIR" not in kind})
    warnings = []
    if others:
        warnings.append(f"These files beside the scan are no pictures and are left out: {_counted(others)}.")
    if broken:
        names = ", ".join(error.path.name for error in broken[:5]) + (", ..." if len(broken) > 5 else "")
        warnings.append(f"{len(broken)} damaged DICOM files are left out: {names}.")
    return tuple(warnings)


def _placed(path: Path, series: Series, frame: int | None, warnings: tuple[str, ...]) -> Volume:
    """A volume whose slices state their place."""
    points = time_points(series.frames)
    chosen, frame_warnings = choose_frame(path, len(points), frame)
    slices = points[chosen]
    if len(slices) < max(len(point) for point in points):
        frame_warnings += ("This frame has fewer slices than others.",)
    grid = grid_of(slices)
    check_affine(path, grid.affine, has_spacing=grid.has_spacing)
    values, value_warnings = values_of(slices)
    values, mend_warnings = mend_values(path, values)
    return Volume.from_source(
        np.swapaxes(values, 0, 2),
        grid.affine,
        modality=slices[0].file.modality,
        name=scan_name(path),
        has_spacing=grid.has_spacing,
        has_orientation=True,
        warnings=warnings + frame_warnings + grid.warnings + value_warnings + mend_warnings,
    )


def _unplaced(path: Path, series: Series, frame: int | None, warnings: tuple[str, ...]) -> Volume:
    """A single picture, a frame of a movie, or slices that don't say where they lie."""
    if series.is_movie:
        chosen, more = choose_frame(path, len(series.frames), frame)
        frames: Sequence[Frame] = [series.frames[chosen]]
        warnings += more
    else:
        choose_frame(path, 1, frame)
        frames = _in_order(series.frames)
    first = frames[0]
    check_spacing(path, first.spacing or ())
    values, value_warnings = values_of(frames)
    values, mend_warnings = mend_values(path, values)
    warnings += tuple(spacing_warnings(first)) + value_warnings + mend_warnings
    if len(frames) == 1:
        return Volume.from_picture(
            values[0],
            modality=first.file.modality,
            name=scan_name(path),
            spacing_mm=first.spacing,
            warnings=warnings,
        )
    spacing = (first.thickness, *first.spacing) if first.thickness and first.spacing else None
    unknown = "The slices don't state where they lie; they are stacked in the order of their numbers"
    warnings += (f"{unknown}, the patient's sides are unknown and volumes in mL are approximate.",)
    return stack_volume(
        values, name=scan_name(path), modality=first.file.modality, spacing_mm=spacing, warnings=warnings
    )


def _in_order(frames: Sequence[Frame]) -> list[Frame]:
    """By slice location from the head down where every slice states its own, else by image number."""
    locations = {frame.location for frame in frames}
    if None not in locations and len(locations) == len(frames):
        return sorted(frames, key=lambda frame: -(frame.location or 0.0))
    return sorted(frames, key=lambda frame: frame.order[-2:])
