"""The command line on real CTs, where they are at hand: the right organ, on the scan's own grid."""

from __future__ import annotations

import os
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from commands import segment_json

_ROOT = Path(os.environ.get("IBISAGENT_TEST_DATA") or Path(__file__).resolve().parents[3] / "shared" / "data")
_CT = _ROOT / "ct_abdomen" / "totalseg_example_ct"
_SLAB = _ROOT / "ct_dicom" / "dcmqi_3slice"

pytestmark = pytest.mark.skipif(not _CT.is_dir(), reason=f"no sample data at {_ROOT} (set IBISAGENT_TEST_DATA)")

_RIGHT = "which organ filters blood and lies on the right? outline it"


@pytest.mark.parametrize(
    ("prompt", "value", "least"),
    [
        ("segment the liver", 5, 0.85),
        ("segment the left kidney", 3, 0.75),
        (_RIGHT, 2, 0.7),
        ("segment the spleen", 1, 0.85),
    ],
)
def test_an_organ_of_a_real_ct(tmp_path, prompt, value, least):
    output = tmp_path / "labels.nii.gz"
    assert segment_json(_CT / "image.nii.gz", "-p", prompt, "-o", output)[0] == 0
    original, saved = nib.load(_CT / "image.nii.gz"), nib.load(output)
    assert saved.shape == original.shape
    np.testing.assert_array_equal(saved.affine, original.affine)
    mask = np.asarray(saved.dataobj) == 1
    truth = np.asarray(nib.load(_CT / "labels.nii.gz").dataobj) == value
    truth &= mask.any(axis=(0, 1))
    assert 2 * np.count_nonzero(mask & truth) / (mask.sum() + truth.sum()) >= least


def test_the_liver_of_a_dicom_series_of_three_slices(tmp_path):
    output = tmp_path / "liver.nii.gz"
    assert segment_json(_SLAB / "series", "-p", "segment the liver", "-o", output)[0] == 0
    mask, truth = (
        nib.as_closest_canonical(nib.load(output)),
        nib.as_closest_canonical(nib.load(_SLAB / "mask_liver.nii.gz")),
    )
    np.testing.assert_allclose(mask.affine, truth.affine, atol=1e-3)
    a, b = np.asarray(mask.dataobj) > 0, np.asarray(truth.dataobj) > 0
    b &= a.any(axis=(0, 1))
    assert 2 * np.count_nonzero(a & b) / (a.sum() + b.sum()) >= 0.85


@pytest.mark.parametrize(
    ("scan", "prompt"),
    [
        ("ct_dicom/sts001_ct/series", "segment the liver"),
        ("ct_dicom/sts001_ct/series", "segment the left kidney"),
        ("ct_chest/totalseg_aorta/image.nii.gz", "segment the urinary bladder"),
        ("ct_chest/ibsi_lung/image.nii.gz", "segment the left kidney"),
        ("ct_abdomen/crlm_1004/image.nii.gz", "segment the urinary bladder"),
        ("ct_abdomen/totalseg_example_ct/image.nii.gz", "segment the brain"),
        ("mr_brain/voxelmorph_t1/image.nii.gz", "segment the liver"),
        ("xray/imlab_cxr_1/image.jpg", "segment the left kidney"),
    ],
)
def test_an_organ_that_is_absent_ends_as_not_found(tmp_path, scan, prompt):
    code, result = segment_json(_ROOT / scan, "-p", prompt, "-o", tmp_path / "none.nii.gz")
    assert code == 3
    assert result["outcome"] == "not_found"
    assert result["reason"]
    assert not (tmp_path / "none.nii.gz").exists()
