"""Sample data: a phantom whose truth is known, and real pictures that lie inside packages installed anyway.

Nothing is downloaded: a picture that the installed version of a package doesn't hold ends with a sentence.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from napari_ibisagent.core.errors import InputError
from napari_ibisagent.ui.contributions import LayerData, image_layer
from napari_ibisagent.ui.scan import NAMES


def phantom() -> list[LayerData]:
    """The abdominal CT phantom with its true labels."""
    from napari_ibisagent.evaluation.phantom import make_phantom

    made = make_phantom()
    image = image_layer(made.volume, None)
    attributes = {
        "name": "phantom truth",
        "scale": made.volume.spacing_mm,
        "opacity": 0.35,
        "metadata": {**image[1]["metadata"], NAMES: dict(made.names)},
    }
    return [image, (made.labels, attributes, "labels")]


def brain_mr() -> list[LayerData]:
    """An MR of a brain, 24 slices, from nibabel's test data."""
    return _packaged("nibabel", "tests/data/example4d.nii.gz", "brain MR", "MR")


def head_ct() -> list[LayerData]:
    """A CT slice through a head, from pydicom's test data."""
    return _packaged("pydicom", "data/test_files/J2K_pixelrep_mismatch.dcm", "head CT")


def spine_ct() -> list[LayerData]:
    """A small CT slice through a thoracic vertebra, from pydicom's test data."""
    return _packaged("pydicom", "data/test_files/CT_small.dcm", "spine CT")


def retina() -> list[LayerData]:
    """A colour photograph of the back of an eye, from scikit-image."""
    return _packaged("skimage", "data/retina.jpg", "retina")


def _packaged(package: str, inside: str, name: str, modality: str | None = None) -> list[LayerData]:
    """A picture inside of an installed package, as a layer called ``name``. Raises InputError where it is missing.

    The scan keeps no path, so that nothing is ever saved in the package's folder.
    """
    from dataclasses import replace

    from napari_ibisagent.io.read import read_scan

    path = _folder(package) / inside
    if not path.is_file():
        raise InputError(
            f"The sample {name} isn't part of the installed {package} ({path.name} is missing). "
            "Open another sample, or a scan of your own."
        )
    # Its warnings are for scans of one's own: here they only say that one of several frames is shown.
    return [image_layer(replace(read_scan(path, modality=modality), name=name, warnings=()), None)]


def _folder(package: str) -> Path:
    """Where an installed package lies; found without importing it."""
    found = find_spec(package)
    if found is None or found.origin is None:
        raise InputError(f"{package} isn't installed, so its sample is missing. Install napari-ibisagent again.")
    return Path(found.origin).parent
