"""Sorting frames into series that can be opened as one scan, and choosing one of them.

A series of the PACS is split further where its pictures have another orientation, size or spacing, or no
place at all. Leaves out how a series becomes a grid (``dicom_geometry``).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from napari_ibisagent.core.errors import ScanError, SeriesChoiceError, UnknownNameError
from napari_ibisagent.io.dicom_headers import Frame

# Pictures of these modalities lie one behind the other even where they don't say where.
SLICED = ("CT", "MR", "PT", "NM", "OPT", "OCT", "IVOCT", "IVUS")
_ENHANCED_ULTRASOUND_VOLUME = "1.2.840.10008.5.1.4.1.1.6.2"
_COSINE_TOLERANCE = 0.01  # about half a degree; headers round their cosines far finer


@dataclass(frozen=True, slots=True)
class Series:
    """Frames that belong together; ``key`` is what ``--series`` takes."""

    key: str
    frames: tuple[Frame, ...]

    @property
    def is_localizer(self) -> bool:
        """Whether all pictures are localizers (scouts)."""
        return all(frame.file.is_localizer for frame in self.frames)

    @property
    def is_movie(self) -> bool:
        """Whether the frames follow each other in time: several frames of a file that state no place."""
        file = self.frames[0].file
        sliced = file.modality in SLICED or file.sop_class == _ENHANCED_ULTRASOUND_VOLUME
        return len(self.frames) > 1 and not self.frames[0].is_placed and not sliced

    def describe(self) -> str:
        """One line for the user: number, description, modality, count; nothing about the patient."""
        file = self.frames[0].file
        number = "" if file.series_number is None else f"series {file.series_number}"
        kind = "localizer" if self.is_localizer else file.description
        count = f"{len(self.frames)} image" + ("s" if len(self.frames) > 1 else "")
        size = f"{file.columns} x {file.rows}"
        return ", ".join(part for part in (number, kind, file.modality, count, size) if part)


def sort_series(frames: Sequence[Frame]) -> list[Series]:
    """All series, in a stable order: by series number, UID, then first appearance; keys "1", "2", ..."""
    groups: list[list[Frame]] = []
    for frame in frames:
        home = next((group for group in groups if _belongs(frame, group[0])), None)
        if home is None:
            groups.append([frame])
        else:
            home.append(frame)
    groups.sort(key=lambda group: _rank(group[0]))
    return [Series(str(number), tuple(group)) for number, group in enumerate(groups, start=1)]


def _rank(frame: Frame) -> tuple[float, str]:
    number = frame.file.series_number
    return (float("inf") if number is None else number, frame.file.series_uid)


def _belongs(frame: Frame, other: Frame) -> bool:
    """Whether two frames may lie in one scan."""
    a, b = frame.file, other.file
    if (a.series_uid, a.rows, a.columns, a.is_colour, a.is_localizer) != (
        b.series_uid,
        b.rows,
        b.columns,
        b.is_colour,
        b.is_localizer,
    ):
        return False
    if frame.is_placed != other.is_placed:
        return False
    if not frame.is_placed:
        single = a.frame_count == 1 and b.frame_count == 1 and a.modality in SLICED
        return a is b or single
    return _near(frame.orientation, other.orientation, _COSINE_TOLERANCE) and _near(
        frame.spacing, other.spacing, 1e-3 * (min(frame.spacing) if frame.spacing else 1.0)
    )


def _near(a: Sequence[float] | None, b: Sequence[float] | None, tolerance: float) -> bool:
    if a is None or b is None:
        return a is b
    return all(abs(x - y) <= tolerance for x, y in zip(a, b, strict=True))


def choose_series(path: Path, found: Sequence[Series], wanted: str | None) -> tuple[Series, tuple[str, ...]]:
    """The series to open and warnings about those left out.

    ``wanted`` is a key, a SeriesInstanceUID or a series number. Without it the only series that isn't a
    localizer is taken. Raises SeriesChoiceError, UnknownNameError, ScanError (only localizers).
    """
    if wanted is not None:
        return _named(path, found, wanted.strip()), ()
    if len(found) == 1:
        text = "This is a localizer (scout), meant for planning: sizes in it may be wrong."
        return found[0], (text,) if found[0].is_localizer else ()
    scans = [series for series in found if not series.is_localizer]
    if not scans:
        raise ScanError(
            path,
            f"holds only localizer (scout) pictures: {_listing(found)}",
            f"Open the scan itself, or name one of these, for example with --series {found[0].key}.",
        )
    if len(scans) > 1:
        raise SeriesChoiceError(path, [(series.key, series.describe()) for series in found])
    left_out = [series for series in found if series.is_localizer]
    return scans[0], (f"Localizer (scout) pictures are left out: {_listing(left_out)}.",)


def _named(path: Path, found: Sequence[Series], wanted: str) -> Series:
    for series in found:
        if series.key == wanted:
            return series
    matches = [
        series
        for series in found
        if wanted and wanted in (series.frames[0].file.series_uid, str(series.frames[0].file.series_number))
    ]
    if len(matches) > 1:
        raise SeriesChoiceError(path, [(series.key, series.describe()) for series in matches])
    if not matches:
        raise UnknownNameError(f"{path.name} has no series {wanted}. It has {_listing(found)}.")
    return matches[0]


def _listing(found: Sequence[Series]) -> str:
    return "; ".join(f"{series.key}: {series.describe()}" for series in found)


def without_copies(frames: Sequence[Frame]) -> tuple[list[Frame], int]:
    """``frames`` without those of files that are there twice (the same SOPInstanceUID), and their number."""
    seen: set[tuple[str, int]] = set()
    kept = []
    for frame in frames:
        identity = (frame.file.sop_uid, frame.index)
        if identity not in seen:
            seen.add(identity)
            kept.append(frame)
    return kept, len(frames) - len(kept)
