"""Every sample scan opens in the shape of the manifest, and every mask lies on it with its voxels."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK
from sample_data import MISSING, ROOT, cases

from napari_ibisagent.core.volume import Volume
from napari_ibisagent.io.dicom_seg import read_dicom_seg
from napari_ibisagent.io.labels import write_labels
from napari_ibisagent.io.read import read_mask, read_scan

CASES = [case for case in cases("segmentation", "unlabelled") if case["image"]]
LABEL_MAPS = cases("label_map_only")
needs_data = pytest.mark.skipif(not CASES, reason=MISSING)


@needs_data
@pytest.mark.parametrize("case", CASES or [{"id": "none"}], ids=lambda case: case["id"])
def test_scan_and_masks(case: dict[str, Any]) -> None:
    volume = read_scan(ROOT / case["image"])
    assert list(volume.grid.shape[: len(case["shape"])]) == case["shape"]
    if case["spacing_mm"]:
        steps = np.linalg.norm(volume.grid.affine[:3, :3], axis=0)
        assert steps == pytest.approx(case["spacing_mm"], abs=1e-3)
    assert not volume.warnings
    _check_masks(case, volume)


def _check_masks(case: dict[str, Any], volume: Volume) -> None:
    for label in case["labels"]:
        mask = read_mask(ROOT / label["mask"], volume, label["value"])
        assert mask.shape == volume.shape and mask.dtype == np.bool_
        assert int(mask.sum()) == label["voxels"], label["name"]


@needs_data
@pytest.mark.parametrize("case", LABEL_MAPS or [{"id": "none"}], ids=lambda case: case["id"])
def test_label_maps_open(case: dict[str, Any]) -> None:
    path = ROOT / case["labels"][0]["mask"]
    volume = read_scan(path)
    assert list(volume.grid.shape) == case["shape"]
    assert np.array_equal(volume.data, np.rint(volume.data))
    for label in case["labels"][:3]:
        assert int((volume.data == label["value"]).sum()) == label["voxels"]


@needs_data
def test_nrrd_and_nifti_of_a_scan_agree() -> None:
    folder = ROOT / "mr_brain/pyradiomics_brain1"
    nifti, nrrd = read_scan(folder / "image.nii.gz"), read_scan(folder / "image.nrrd")
    assert np.array_equal(nifti.data, nrrd.data) and np.allclose(nifti.affine, nrrd.affine, atol=1e-3)
    mask = read_mask(folder / "mask.nii.gz", nrrd)
    assert mask.sum() == read_mask(folder / "mask.nii.gz", nifti).sum()


@needs_data
def test_dicom_seg_lies_on_its_series() -> None:
    folder = ROOT / "ct_dicom/dcmqi_3slice"
    volume = read_scan(folder / "series")
    drawn = read_mask(folder / "seg/liver_seg.dcm", volume)
    assert np.array_equal(drawn, read_mask(folder / "mask_liver.nii.gz", volume))
    overlapping = read_dicom_seg(folder / "seg/partial_overlaps_seg.dcm")
    assert len(overlapping.segments) == len(overlapping.masks) == 5


@needs_data
def test_labels_of_a_dicom_series_go_back_onto_it(tmp_path: Path) -> None:
    volume = read_scan(ROOT / "mr_dicom/breast_06/series")
    labels = read_mask(ROOT / "mr_dicom/breast_06/mask.nii.gz", volume).astype(np.uint8)
    for name in ("labels.nii.gz", "labels.nrrd"):
        saved = write_labels(labels, volume, tmp_path / name)
        assert np.array_equal(read_mask(saved.path, volume), labels > 0)


@needs_data
@pytest.mark.parametrize(
    "folder",
    [
        "dicom_odd/hitachi_oblique",
        "dicom_odd/j2k_series",
        "ct_dicom/sts001_ct/series",
        "mr_dicom/breast_06/series",
    ],
)
def test_dicom_voxels_lie_where_itk_puts_them(folder: str) -> None:
    """ITK's own DICOM reader as an independent witness of values and places."""
    volume = read_scan(ROOT / folder)
    reader = SimpleITK.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(ROOT / folder)))
    image = reader.Execute()
    for index in np.random.default_rng(1).integers(0, image.GetSize(), (20, 3)).tolist():
        x, y, z = image.TransformIndexToPhysicalPoint(index)
        place = np.linalg.solve(volume.affine, [-x, -y, z, 1.0])[:3]
        assert np.allclose(place, np.rint(place), atol=0.01)
        column, row, slice_ = np.rint(place).astype(int)
        assert volume.data[slice_, row, column] == image[index]
