"""The rules for pictures on real ones, where they are at hand: what is there, and what isn't."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from napari_ibisagent.core.masks import iou
from napari_ibisagent.core.target import Side
from napari_ibisagent.core.view import Plane, view_of
from napari_ibisagent.core.volume import Volume
from napari_ibisagent.io.read import read_mask, read_scan
from napari_ibisagent.policies.embedded.absent import Absent
from napari_ibisagent.policies.embedded.pictures.kinds import Sort, kind_of
from napari_ibisagent.policies.embedded.pictures.rules import Sighting, sees

_ROOT = Path(os.environ.get("IBISAGENT_TEST_DATA") or Path(__file__).resolve().parents[3] / "shared" / "data")

pytestmark = pytest.mark.skipif(
    not (_ROOT / "manifest.json").is_file(), reason=f"no sample data at {_ROOT} (set IBISAGENT_TEST_DATA)"
)

PICTURES = {
    Sort.ULTRASOUND: "ultrasound/hc18_222/image.png",
    Sort.DERMOSCOPY: "dermoscopy/ham_ISIC_0024311/image.jpg",
    Sort.CHEST: "xray/biomedparse_15/image.png",
    Sort.FUNDUS: "fundus/biomedparse_23/image.png",
    Sort.OCT: "oct/biomedparse_26/image.png",
    Sort.ENDOSCOPY: "endoscopy/kvasir_cju2zkpdl9/image.jpg",
    Sort.HISTOLOGY: "pathology/biomedparse_19/image.png",
    Sort.FLUORESCENCE: "pathology/stardist_nuclei/image.tif",
    Sort.BRAIN: "mr_brain/biomedparse_09/image.png",
}


@pytest.mark.parametrize("sort", PICTURES)
def test_the_kind_of_a_picture_without_a_header_is_recognised(sort: Sort) -> None:
    volume = read_scan(_ROOT / PICTURES[sort])
    assert kind_of(view_of(volume, Plane.AXIAL, 0), volume).sort is sort


def fullest(volume: Volume, mask: Path, value: int | str) -> tuple[int, np.ndarray]:
    truth = read_mask(mask, volume, "nonzero" if value == "nonzero" else int(value))
    index = int(truth.sum(axis=(1, 2)).argmax())
    return index, truth[index]


@pytest.mark.parametrize(
    ("key", "image", "mask", "least"),
    [
        ("fetal_head", "ultrasound/hc18_222/image.png", "mask*", 0.8),
        ("skin_lesion", "dermoscopy/ham_ISIC_0024311/image.jpg", "mask*", 0.7),
        ("breast_tumor", "ultrasound/biomedparse_20/image.png", "mask*", 0.7),
        ("brain_tumor", "mr_brain/biomedparse_09/image.png", "mask*", 0.7),
        ("retinal_fluid", "oct/biomedparse_26/image.png", "mask*", 0.7),
        ("nucleus", "pathology/stardist_nuclei/image.tif", "mask*", 0.6),
    ],
)
def test_the_thing_is_where_an_expert_drew_it(key: str, image: str, mask: str, least: float) -> None:
    path = _ROOT / image
    volume = read_scan(path)
    index, truth = fullest(volume, next(path.parent.glob(mask)), "nonzero")
    view = view_of(volume, Plane.AXIAL, index)
    found = sees(key, Side.NONE, view, volume)
    assert isinstance(found, Sighting), found
    assert iou(found.mask, view.from_native(truth)) >= least


@pytest.mark.parametrize("key", ["polyp", "fetal_head", "optic_disc", "skin_lesion", "brain_tumor", "nucleus"])
@pytest.mark.parametrize("sort", [Sort.CHEST, Sort.OCT, Sort.FUNDUS, Sort.ULTRASOUND])
def test_a_wrong_kind_of_picture_is_refused(key: str, sort: Sort) -> None:
    if (key, sort) in {("optic_disc", Sort.FUNDUS), ("fetal_head", Sort.ULTRASOUND)}:
        pytest.skip("the picture shows it")
    volume = read_scan(_ROOT / PICTURES[sort])
    found = sees(key, Side.NONE, view_of(volume, Plane.AXIAL, 0), volume)
    assert isinstance(found, Absent)
    assert sort.value in found.reason
