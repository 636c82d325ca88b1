"""A small made-up scan with its masks as files, and manifests of it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import nibabel as nib
import numpy as np

from napari_ibisagent.evaluation.phantom import Phantom, make_phantom

TARGETS = ("liver", "left kidney", "spleen")


@cache
def small_phantom() -> Phantom:
    """40 x 100 x 100 voxels of 6 x 4 x 4 mm: thicker than wide, so that two planes have to be resampled."""
    return make_phantom(0, (6.0, 4.0, 4.0))


def write_scan(folder: Path) -> tuple[Path, dict[str, Path]]:
    """The scan, and the mask of each of ``TARGETS``, named after it."""
    folder.mkdir(parents=True, exist_ok=True)
    made = small_phantom()
    scan = folder / "scan.nii.gz"
    _save(np.asarray(made.volume.data, np.int16), scan)
    masks = {}
    for name in TARGETS:
        masks[name] = folder / f"{name.replace(' ', '_')}.nii.gz"
        _save(made.mask(name).astype(np.uint8), masks[name])
    return scan, masks


def write_manifest(folder: Path, cases: int = 1, targets: Sequence[str] = TARGETS) -> Path:
    """A manifest with so many cases of the same scan and these targets, each under its own name."""
    scan, masks = write_scan(folder)
    labels = [
        {"name": name, "mask": mask.name, "value": "nonzero", "prompt": f"segment the {name}"}
        for name, mask in masks.items()
        if name in targets
    ]
    content = [
        {"id": f"case-{n}", "image": scan.name, "task": "segmentation", "modality": "CT", "labels": labels}
        for n in range(cases)
    ]
    path = folder / "manifest.json"
    path.write_text(json.dumps({"cases": content}), "utf-8")
    return path


def _save(array, path: Path) -> None:
    nib.save(nib.Nifti1Image(array.transpose(2, 1, 0), small_phantom().volume.affine), path)
