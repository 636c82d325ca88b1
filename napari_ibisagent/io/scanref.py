"""Finding a scan again, and knowing it again: a checksum of its voxels and its grid, quick even for a large one."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np

from napari_ibisagent.core.errors import InputError
from napari_ibisagent.core.session import ScanRef
from napari_ibisagent.core.volume import Volume
from napari_ibisagent.io.read import read_scan

# Whole slices that are read for the checksum; all of them in a scan of up to this many.
_SLICES = 64


def scan_ref(volume: Volume, path: Path, series: str | None = None, frame: int | None = None) -> ScanRef:
    """The reference that a journal keeps of a scan."""
    return ScanRef(str(path.resolve()), volume.name, volume.shape, digest_of(volume), series, frame, volume.modality)


def read_scan_of(
    reference: ScanRef, journal: Path, place: Path | None = None, remedy: str = "Put the right one beside the journal."
) -> tuple[Volume, Path]:
    """The scan that a journal is about, and where it lies: at ``place``, where it lay then, or beside the journal.

    Raises ScanError where it can't be read, InputError with the ``remedy`` where another scan lies there.
    """
    path = place or Path(reference.path)
    if not path.exists() and (journal.parent / path.name).exists():
        path = journal.parent / path.name
    volume = read_scan(path, series=reference.series, frame=reference.frame, modality=reference.modality or None)
    if digest_of(volume) != reference.digest:
        raise InputError(f"{path.name} isn't the scan that {journal.name} is about: its voxels differ. {remedy}")
    return volume, path


def digest_of(volume: Volume) -> str:
    """A BLAKE2 checksum of the shape, the type, the affine and up to 64 slices spread over the volume."""
    digest = hashlib.blake2b(digest_size=16)
    digest.update(repr((volume.data.shape, str(volume.data.dtype))).encode())
    digest.update(np.round(volume.affine, 4).tobytes())
    for z in np.unique(np.linspace(0, volume.shape[0] - 1, min(_SLICES, volume.shape[0])).astype(int)):
        digest.update(np.ascontiguousarray(volume.data[z]).tobytes())
    return digest.hexdigest()
