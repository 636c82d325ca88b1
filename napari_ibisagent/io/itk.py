"""NRRD (.nrrd, .nhdr) and MetaImage (.mha, .mhd) to ``Volume``, through SimpleITK.

Leaves out the other formats that ITK knows, and the names that Slicer keeps in a .seg.nrrd.
"""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK

from napari_ibisagent.core.errors import NotAnImageError, ScanError, TruncatedError
from napari_ibisagent.core.geometry import LPS_TO_RAS, Affine, Array
from napari_ibisagent.core.volume import Volume
from napari_ibisagent.io.frames import choose_frame
from napari_ibisagent.io.grids import check_affine, check_spacing, looks_like_ct, mend_values, small_integers
from napari_ibisagent.io.names import ending_of, scan_name

sitk: Any = SimpleITK  # its functions carry no types
# ITK prints warnings of its C++ readers on stderr; what matters of them is raised as well.
sitk.ProcessObject.SetGlobalWarningDisplay(False)

_AGAIN = "Copy it again, or save it again from the program that wrote it."
_LARGEST_RATIO = 1100  # see nifti


def read_itk(path: Path, *, frame: int | None = None) -> Volume:
    """The volume in a NRRD or MetaImage file; frame ``frame`` of a 4D or vector file (default 0).

    A vector of three 8-bit numbers is read as colour. Raises ScanError.
    """
    header = _header_text(path)
    image = _image(path, header)
    has_spacing, has_orientation = _stated(path, header)
    data, frame_warnings = _values(path, image, frame)
    data, value_warnings = mend_values(path, data)
    warnings = frame_warnings + value_warnings
    if not has_spacing:
        warnings += ("The file states no voxel size; areas and volumes are unknown.",)
    name = scan_name(path)
    if image.GetDimension() == 2:
        dx, dy = image.GetSpacing()
        spacing = (float(dy), float(dx)) if has_spacing else None
        check_spacing(path, spacing or ())
        return Volume.from_picture(data, name=name, spacing_mm=spacing, warnings=warnings)
    if not has_orientation:
        warnings += ("The file doesn't state how the patient lies; left and right may be swapped.",)
    affine = _affine(image)
    check_affine(path, affine, has_spacing=has_spacing)
    return Volume.from_source(
        np.swapaxes(data, 0, 2),
        affine,
        modality="CT" if looks_like_ct(data) else "",
        name=name,
        has_spacing=has_spacing,
        has_orientation=has_orientation,
        warnings=warnings,
    )


def _image(path: Path, header: str) -> Any:
    reader = sitk.ImageFileReader()
    reader.SetFileName(str(path))
    try:
        reader.ReadImageInformation()
        _check_size(path, reader, header)
        image = reader.Execute()
    except RuntimeError as error:
        raise _translated(path, error) from error
    if "complex" in image.GetPixelIDTypeAsString():
        raise NotAnImageError(path, "holds complex numbers", "Save its magnitude as a scan of its own.")
    return image


def _header_text(path: Path) -> str:
    """The start of the file; raises ScanError when it isn't a header of its kind."""
    try:
        with path.open("rb") as file:
            text = file.read(4096).decode("latin-1")
    except OSError as error:
        raise ScanError(path, f"can't be opened ({error.strerror})", "Check that you may read it.") from error
    nrrd = ending_of(path) in (".nrrd", ".seg.nrrd", ".nhdr")
    if not (text.startswith("NRRD") if nrrd else "ElementType" in text or "NDims" in text):
        kind = "NRRD" if nrrd else "MetaImage"
        raise NotAnImageError(path, f"isn't a {kind} file, although its name says so", _AGAIN)
    return text


def _stated(path: Path, header: str) -> tuple[bool, bool]:
    """Whether the header states (a voxel size, how the patient lies); ITK fills in defaults for both."""
    if header.startswith("NRRD"):
        return "\nspacings:" in header or "\nspace directions:" in header, "\nspace:" in header
    size = any(word in header for word in ("ElementSpacing", "ElementSize"))
    return size, any(word in header for word in ("TransformMatrix", "Rotation", "Orientation"))


def _check_size(path: Path, reader: Any, header: str) -> None:
    """Raises TruncatedError when the file is too small for its header, before memory is asked for."""
    if ending_of(path) in (".nhdr", ".mhd"):
        return  # the voxels lie in another file
    bits = re.search(r"(\d+)-bit", sitk.GetPixelIDValueAsString(reader.GetPixelID()))
    count = math.prod(reader.GetSize()) * reader.GetNumberOfComponents()
    needed = count * (int(bits.group(1)) if bits else 8) // 8
    plain = "\nencoding: raw" in header if header.startswith("NRRD") else "CompressedData = True" not in header
    if needed > path.stat().st_size * (1 if plain else _LARGEST_RATIO):
        raise TruncatedError(path, "ends before its header says", _AGAIN)


def _translated(path: Path, error: RuntimeError) -> ScanError:
    text = str(error).lower()
    if any(word in text for word in ("end of file", "premature", "truncated", "not be read", "got only", "bytes")):
        return TruncatedError(path, "ends before its header says, or its voxels are missing", _AGAIN)
    return ScanError(path, "can't be read: its header makes no sense or its voxels are missing", _AGAIN)


def _values(path: Path, image: Any, frame: int | None) -> tuple[Array, tuple[str, ...]]:
    """The voxels (k, j, i[, 3]), or (rows, columns[, 3]) of a 2D image, of one frame; and warnings."""
    array = sitk.GetArrayFromImage(image)  # a copy: a view of it would outlive the image
    channels = image.GetNumberOfComponentsPerPixel()
    times = array.shape[0] if image.GetDimension() == 4 else 1
    if image.GetDimension() > 4:
        raise NotAnImageError(path, f"has {image.GetDimension()} dimensions", "Save a 3D part of it.")
    colour = channels in (3, 4) and array.dtype == np.uint8
    chosen, warnings = choose_frame(path, times * (1 if colour else channels), frame)
    time, channel = (chosen, 0) if colour else divmod(chosen, channels)
    if image.GetDimension() == 4:
        array = array[time]
    if channels > 1:
        array = array[..., :3] if colour else array[..., channel]
    return small_integers(array), warnings


def _affine(image: Any) -> Affine:
    """The affine of the first three axes to RAS+ mm."""
    dimension = image.GetDimension()
    direction = np.array(image.GetDirection()).reshape(dimension, dimension)[:3, :3]
    affine = np.eye(4)
    affine[:3, :3] = direction * np.array(image.GetSpacing()[:3])
    affine[:3, 3] = image.GetOrigin()[:3]
    return LPS_TO_RAS @ affine
