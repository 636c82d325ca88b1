"""NIfTI (.nii, .nii.gz) to ``Volume``, through nibabel.

Leaves out pairs of .hdr and .img, Analyze and MGH. Complex numbers are refused.
"""

from __future__ import annotations

import gzip
import math
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, cast

import nibabel
import numpy as np
from nibabel.filebasedimages import ImageFileError
from nibabel.spatialimages import HeaderDataError

from napari_ibisagent.core.errors import NotAnImageError, ScanError, TruncatedError
from napari_ibisagent.core.geometry import Affine, Array
from napari_ibisagent.core.volume import Volume
from napari_ibisagent.io.frames import choose_frame
from napari_ibisagent.io.grids import check_affine, looks_like_ct, mend_values, small_integers
from napari_ibisagent.io.names import scan_name

nib: Any = nibabel  # its functions carry no types

_AGAIN = "Copy or download it again."
_CONVERT = "Convert it again from its source, for example with dcm2niix."
_MM_PER_UNIT = {"meter": 1000.0, "micron": 0.001}
# No deflate stream can shrink further, so a header that asks for more is wrong (zlib's own limit is 1032).
_LARGEST_RATIO = 1100
_HEADER_BYTES = 348
_CHUNK_BYTES = 1 << 20


def read_nifti(path: Path, *, frame: int | None = None) -> Volume:
    """The volume in a NIfTI file; of a 4D file the frame ``frame`` (default 0, with a warning).

    Integers stay integers where the header scales nothing, else float32. Raises ScanError.
    """
    with _nifti_faults(path), _opened(path) as (stream, compressed):
        holder = nib.FileHolder(filename=str(path), fileobj=stream)
        image = _kind(path, stream).from_file_map({"header": holder, "image": holder}, mmap=False)
        _check_size(path, image, compressed)
        data, frame_warnings = _values(path, image, frame)
        while stream.read(_CHUNK_BYTES):  # the checksum stands at the end of a gzip stream
            pass
    data, value_warnings = mend_values(path, data)
    affine, has_spacing = _affine(path, image)
    has_orientation = int(image.header["sform_code"]) > 0 or int(image.header["qform_code"]) > 0
    warnings = frame_warnings + value_warnings + _place_warnings(has_spacing, has_orientation)
    return Volume.from_source(
        data,
        affine,
        modality="CT" if looks_like_ct(data) else "",
        name=scan_name(path),
        has_spacing=has_spacing,
        has_orientation=has_orientation,
        warnings=warnings,
    )


@contextmanager
def _nifti_faults(path: Path) -> Iterator[None]:
    """Translate what nibabel and its streams raise; its remarks on headers are silenced."""
    try:
        with np.errstate(all="ignore"), nib.imageglobals.LoggingOutputSuppressor():
            yield
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise TruncatedError(path, "is damaged: its compressed data end early or are broken", _AGAIN) from error
    except ImageFileError as error:
        raise NotAnImageError(path, "isn't a NIfTI file, although its name says so", _CONVERT) from error
    except OSError as error:
        if error.errno is not None:
            raise ScanError(path, f"can't be opened ({error.strerror})", "Check that you may read it.") from error
        raise TruncatedError(path, "ends before its header says", _AGAIN) from error
    except (HeaderDataError, ValueError, TypeError, KeyError, OverflowError) as error:
        raise ScanError(path, "has a NIfTI header that makes no sense", _CONVERT) from error


@contextmanager
def _opened(path: Path) -> Iterator[tuple[IO[bytes], bool]]:
    """The file, unpacked where it is compressed (whatever its name says), and whether it is."""
    with path.open("rb") as file:
        compressed = file.read(2) == b"\x1f\x8b"
        file.seek(0)
        if not compressed:
            yield file, False
            return
        with _Unpacked(fileobj=file) as unpacked:
            yield cast(IO[bytes], unpacked), True


class _Unpacked(gzip.GzipFile):
    """A gzip stream that fills a buffer piece by piece; Python's own unpacks all of it into a second one first."""

    def readinto(self, buffer: Any) -> int:
        """Fills ``buffer`` as far as the stream goes; returns the number of bytes."""
        room, done = memoryview(buffer).cast("B"), 0
        while piece := self.read(min(_CHUNK_BYTES, len(room) - done)):
            room[done : done + len(piece)] = piece
            done += len(piece)
        return done


def _kind(path: Path, stream: IO[bytes]) -> Any:
    """The nibabel class for the header at the start of ``stream``, which is rewound."""
    head = stream.read(_HEADER_BYTES)
    stream.seek(0)
    if head[4:8] == b"n+2\0":
        return nib.Nifti2Image
    if head[344:348] == b"n+1\0":
        return nib.Nifti1Image
    if head[344:348] == b"ni1\0":
        raise NotAnImageError(path, "is half of a pair of .hdr and .img", "Convert the pair to a .nii.gz file.")
    if len(head) < _HEADER_BYTES:
        raise TruncatedError(path, "ends before a NIfTI header could", _AGAIN)
    raise NotAnImageError(path, "isn't a NIfTI file, although its name says so", _CONVERT)


def _check_size(path: Path, image: Any, compressed: bool) -> None:
    """Raises TruncatedError when the file is too small for its header, before memory is asked for."""
    shape = image.shape
    if len(shape) < 2 or min(shape) < 1:
        raise ScanError(path, f"has the shape {tuple(shape)}, which isn't that of an image", _CONVERT)
    needed = math.prod(shape) * image.get_data_dtype().itemsize
    if needed > path.stat().st_size * (_LARGEST_RATIO if compressed else 1):
        raise TruncatedError(path, "ends before its header says", _AGAIN)


def _values(path: Path, image: Any, frame: int | None) -> tuple[Array, tuple[str, ...]]:
    """The voxels (i, j, k[, 3]) of one frame after scaling, and warnings."""
    dtype = image.get_data_dtype()
    if dtype.kind == "c":
        raise NotAnImageError(path, "holds complex numbers", "Save its magnitude as a scan of its own.")
    spatial = (*image.shape[:3], 1)[:3] if len(image.shape) < 3 else image.shape[:3]
    extra = image.shape[3:]
    count = math.prod(extra)
    chosen, warnings = choose_frame(path, count, frame)
    place = np.unravel_index(chosen, extra, order="F") if extra else ()
    proxy: Any = image.dataobj
    one = proxy[(Ellipsis, *(int(n) for n in place))] if extra else _whole(proxy)
    if dtype.names:
        one = _colour(path, one)
    elif one.dtype.kind == "f":
        one = one.astype(np.float32, copy=False)
    return small_integers(one.reshape(spatial + one.shape[len(image.shape[:3]) :], order="A")), warnings


def _whole(proxy: Any) -> Array:
    """All voxels; scaled ones go straight to float32."""
    scales = (proxy.slope, proxy.inter) != (1, 0)
    return np.asanyarray(proxy, dtype=np.float32) if scales else np.asanyarray(proxy)


def _colour(path: Path, voxels: Array) -> Array:
    """RGB or RGBA records (i, j, k) as uint8 (i, j, k, 3)."""
    names = voxels.dtype.names or ()
    if names[:3] != ("R", "G", "B"):
        raise NotAnImageError(path, f"holds records of an unknown kind ({', '.join(names)})", _CONVERT)
    return np.stack([voxels[name] for name in names[:3]], axis=-1)


def _affine(path: Path, image: Any) -> tuple[Affine, bool]:
    """The affine to RAS+ mm (sform, else qform, else sizes only), and whether sizes are known."""
    header = image.header
    affine = np.array(image.affine, dtype=np.float64)
    zooms = np.array((*header.get_zooms(), 1.0, 1.0)[:3], dtype=np.float64)
    unplaced = int(header["sform_code"]) <= 0 and int(header["qform_code"]) <= 0
    if unplaced and not (np.isfinite(zooms).all() and (zooms > 0).all()):
        return np.diag([-1.0, 1.0, 1.0, 1.0]), False
    with _nifti_faults(path):
        unit = header.get_xyzt_units()[0]
    affine[:3] *= _MM_PER_UNIT.get(unit, 1.0)
    if len(image.shape) == 2 and not affine[:3, 2].any():
        affine[:3, 2] = np.cross(affine[:3, 0], affine[:3, 1]) / np.linalg.norm(affine[:3, 0])
    check_affine(path, affine)
    return affine, True


def _place_warnings(has_spacing: bool, has_orientation: bool) -> tuple[str, ...]:
    warnings = []
    if not has_orientation:
        warnings.append(
            "The file doesn't state how the patient lies (sform and qform codes are 0); left and right may be swapped."
        )
    if not has_spacing:
        warnings.append("The file states no voxel size; areas and volumes are unknown.")
    return tuple(warnings)
