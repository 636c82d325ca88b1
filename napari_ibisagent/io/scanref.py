"""Knowing a scan again: a checksum of its voxels and its grid, quick even for a large one."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np

from napari_ibisagent.core.session import ScanRef
from napari_ibisagent.core.volume import Volume

# Whole slices that are read for the checksum; all of them in a scan of up to this many.
_SLICES = 64


def scan_ref(volume: Volume, path: Path, series: str | None = None, frame: int | None = None) -> ScanRef:
    """The reference that a journal keeps of a scan."""
    return ScanRef(str(path.resolve()), volume.name, volume.shape, digest_of(volume), series, frame, volume.modality)


def digest_of(volume: Volume) -> str:
    """A BLAKE2 checksum of the shape, the type, the affine and up to 64 slices spread over the volume."""
    digest = hashlib.blake2b(digest_size=16)
    digest.update(repr((volume.data.shape, str(volume.data.dtype))).encode())
    digest.update(np.round(volume.affine, 4).tobytes())
    for z in np.unique(np.linspace(0, volume.shape[0] - 1, min(_SLICES, volume.shape[0])).astype(int)):
        digest.update(np.ascontiguousarray(volume.data[z]).tobytes())
    return digest.hexdigest()
