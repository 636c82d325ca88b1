"""Where DICOM files lie: one file, a folder with its subfolders, or the members of a zip, read in memory.

The one boundary where faults of pydicom and its decoders become errors of this package. Leaves out what the
files hold.
"""

from __future__ import annotations

import io
import logging
import os
import struct
import warnings
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pydicom
from pydicom.dataset import FileMetaDataset
from pydicom.errors import BytesLengthException, InvalidDicomError
from pydicom.uid import UID, ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from napari_ibisagent.core.errors import NotAnImageError, ScanError

# What is wrong with a file is raised as a sentence; without this, pydicom logs it on stderr as well.
logging.getLogger("pydicom").addHandler(logging.NullHandler())

# What pydicom raises about broken files: it converts values lazily, so that nearly any of these can come up
# wherever an element is touched. IbisError isn't among their subclasses.
_FAULTS = (
    InvalidDicomError,
    BytesLengthException,
    EOFError,
    ArithmeticError,
    AssertionError,
    AttributeError,
    LookupError,
    NotImplementedError,
    OSError,
    RecursionError,
    RuntimeError,
    TypeError,
    ValueError,
    struct.error,
    zlib.error,
    zipfile.BadZipFile,
)
# A member that unpacks to more than this must at least not shrink beyond what pictures do.
_SUSPECT_BYTES, _SUSPECT_RATIO = 256 * 1024**2, 500


@dataclass(frozen=True, slots=True)
class Source:
    """One DICOM file: ``path`` on disk, or the member ``member`` of the open zip ``archive`` at ``path``."""

    path: Path
    member: str = ""
    archive: zipfile.ZipFile | None = None

    @property
    def name(self) -> str:
        """The file's name, for sentences."""
        return self.member or self.path.name

    def head(self) -> bytes:
        """The first 132 bytes."""
        if self.archive is None:
            with self.path.open("rb") as file:
                return file.read(132)
        with self.archive.open(self.member) as member:
            return member.read(132)

    def size(self) -> int:
        """The file's length in bytes."""
        return self.path.stat().st_size if self.archive is None else self.archive.getinfo(self.member).file_size

    def read(self, *, pixels: bool) -> pydicom.Dataset:
        """The dataset, with or without pixels. Raises what pydicom raises: use within ``dicom_faults``."""
        file: Path | io.BytesIO = self.path if self.archive is None else io.BytesIO(self.archive.read(self.member))
        dataset = pydicom.dcmread(file, force=True, stop_before_pixels=not pixels)
        if not getattr(dataset, "file_meta", None) or "TransferSyntaxUID" not in dataset.file_meta:
            dataset.file_meta = dataset.file_meta if hasattr(dataset, "file_meta") else FileMetaDataset()
            dataset.file_meta.TransferSyntaxUID = _syntax(dataset)
        return dataset


def _syntax(dataset: pydicom.Dataset) -> UID:
    """The transfer syntax of a file without meta header, by the way that pydicom could read it."""
    implicit, little = dataset.original_encoding
    if implicit:
        return ImplicitVRLittleEndian
    return ExplicitVRBigEndian if little is False else ExplicitVRLittleEndian


@contextmanager
def dicom_faults(name: str | Path) -> Iterator[None]:
    """Silence pydicom's warnings about odd values; turn its exceptions into ScanError."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except _FAULTS as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise ScanError(name, f"can't be opened ({error.strerror})", "Check that you may read it.") from error
        text = str(error).strip().partition("\n")[0][:120] or type(error).__name__
        raise ScanError(
            name,
            f"is a DICOM file with a value that makes no sense ({text.rstrip('.')})",
            "Export it again from the PACS or the program that wrote it.",
        ) from error


@contextmanager
def open_sources(path: Path) -> Iterator[list[Source]]:
    """All files at ``path``, sorted by name; a zip stays open while they are used. Raises ScanError."""
    if path.is_dir():
        yield _files_in(path)
        return
    with dicom_faults(path), path.open("rb") as file:
        is_zip = file.read(4) in (b"PK\x03\x04", b"PK\x05\x06")
    if not is_zip:
        yield [Source(path)]
        return
    try:
        archive = zipfile.ZipFile(path)
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
        raise ScanError(path, "is a damaged zip file", "Copy or download it again.") from error
    with archive:
        yield _members_of(path, archive)


def _files_in(folder: Path) -> list[Source]:
    found = [
        Source(Path(root) / name)
        for root, _, names in os.walk(folder)
        for name in names
        if not name.startswith("._")  # the shadows that macOS leaves on other file systems
    ]
    return sorted(found, key=lambda source: str(source.path))


def _members_of(path: Path, archive: zipfile.ZipFile) -> list[Source]:
    members = [info for info in archive.infolist() if not info.is_dir() and "__MACOSX/" not in info.filename]
    for info in members:
        if info.flag_bits & 1:
            raise ScanError(path, "is protected by a password", "Unpack it first, then open the folder.")
        if info.file_size > _SUSPECT_BYTES and info.file_size > _SUSPECT_RATIO * info.compress_size:
            raise ScanError(
                path,
                f"unpacks to an implausible size ({info.filename})",
                "Unpack it first, then open the folder.",
            )
    return [Source(path, info.filename, archive) for info in sorted(members, key=lambda info: info.filename)]


def looks_like_dicom(head: bytes) -> bool:
    """Whether a file starts like DICOM: the mark at byte 128, or without it an element of group 2 or 8."""
    if head[128:132] == b"DICM":
        return True
    little = head[:1] in (b"\x02", b"\x08") and head[1:2] == b"\0" and head[3:4] == b"\0"
    big = head[:1] == b"\0" and head[1:2] in (b"\x02", b"\x08") and head[2:3] == b"\0"
    return len(head) >= 132 and (little or big)


def read_header(source: Source) -> pydicom.Dataset | None:
    """The dataset without its pixels, or None when the file isn't DICOM. Raises ScanError when broken."""
    with dicom_faults(source.name):
        if not looks_like_dicom(source.head()):
            return None
        return source.read(pixels=False)


def not_dicom(path: Path) -> NotAnImageError:
    """The refusal of a file that isn't DICOM."""
    return NotAnImageError(
        path,
        "isn't a DICOM file, or its start is damaged",
        "Open a scan, or export this one again from the PACS.",
    )
