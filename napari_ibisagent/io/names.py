"""File names: endings of two parts such as ``.nii.gz``, and what a person calls a scan.

Leaves out what is inside a file; ``read`` decides that.
"""

from __future__ import annotations

from pathlib import Path

NIFTI = (".nii.gz", ".nii")
ITK = (".seg.nrrd", ".nrrd", ".nhdr", ".mha", ".mhd")
PICTURES = (".png", ".jpg", ".jpeg", ".ome.tiff", ".ome.tif", ".tiff", ".tif", ".bmp")
DICOM = (".dcm", ".dicom", ".ima", ".zip")

# Longer endings come before the endings that they contain.
_KNOWN = NIFTI + ITK + PICTURES + DICOM


def split_name(path: Path) -> tuple[str, str]:
    """(stem, ending) of a file name; ``a.nii.gz`` is ("a", ".nii.gz").

    Only endings of files that can be opened are taken off: DICOM files are often named after a UID, whose
    last number isn't an ending.
    """
    lower = path.name.lower()
    for ending in _KNOWN:
        if lower.endswith(ending) and len(lower) > len(ending):
            return path.name[: -len(ending)], path.name[-len(ending) :]
    return path.name, ""


def ending_of(path: Path) -> str:
    """The ending in lower case, or "" where it isn't a known one."""
    return split_name(path)[1].lower()


def scan_name(path: Path) -> str:
    """What a person calls the scan: the folder's name, or the file's without its ending."""
    named = path if path.name else path.resolve()
    if named.is_dir():
        return named.name or "scan"
    return split_name(named)[0] or "scan"
