"""Every odd or broken file of the sample data does what its ``expected`` says."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from sample_data import MISSING, ROOT, cases

from napari_ibisagent.core.errors import (
    InputError,
    NotAnImageError,
    ScanError,
    SeriesChoiceError,
    TruncatedError,
)
from napari_ibisagent.core.geometry import shear_degrees
from napari_ibisagent.core.volume import Volume
from napari_ibisagent.io.dicom_seg import read_dicom_seg
from napari_ibisagent.io.read import read_scan

CASES = cases("robustness")


@dataclass(frozen=True)
class Loads:
    """``shape`` of the source grid; ``words`` all occur in the warnings; without words there are none."""

    shape: tuple[int, int, int]
    words: tuple[str, ...] = ()
    colour: bool = False
    modality: str | None = None
    kind: str | None = None
    frames: int = 1


@dataclass(frozen=True)
class Refuses:
    error: type[InputError]
    words: tuple[str, ...]


SEGMENTATION = Refuses(NotAnImageError, ("segmentation", "Open the scan"))
NO_SIZE = "states no pixel size"

EXPECTED: dict[str, Loads | Refuses] = {
    "gantry_tilt": Loads((512, 512, 4), ("tilted by 14.0 degrees",), modality="CT", kind="i"),
    "uneven_slices": Loads((512, 512, 4), ("uneven", "10.00 mm", "1 slice seems to be missing", "approximate")),
    "two_orientations": Refuses(SeriesChoiceError, ("2 series", "202", "501", "--series")),
    "two_slices_only": Loads((256, 256, 2), modality="MR"),
    "j2k_series": Loads((256, 256, 4), kind="i"),
    "jpeg_lossless_series": Loads((256, 256, 4), kind="i"),
    "rle_series": Loads((256, 256, 4), kind="i"),
    "anisotropic_inplane": Loads((64, 28, 4), kind="f"),
    "rgb_mr_series": Loads((52, 77, 4), colour=True),
    "single_slice": Loads((256, 256, 1), ("no thickness",)),
    "ge_fmri_4d": Loads((64, 64, 4), ("2 frames", "--frame"), frames=2),
    "philips_enhanced_multiframe": Loads((256, 256, 8), kind="f"),
    "hitachi_oblique": Loads((64, 64, 4), kind="i"),
    "odd_eCT_Supplemental": Loads((512, 512, 2), modality="CT", kind="i"),
    "odd_emri_small_jpeg_2k_lossless": Loads((64, 64, 10), (NO_SIZE, "where they lie")),
    "odd_liver": SEGMENTATION,
    "odd_liver_nonbyte_aligned": SEGMENTATION,
    "odd_693_J2KR": Loads((512, 512, 1), modality="CT", kind="i"),
    "odd_RG3_J2KI": Loads((1760, 1760, 1), ("inverted", NO_SIZE), modality="CR"),
    "odd_OBXXXX1A_rle": Loads((600, 800, 1), (NO_SIZE,), colour=True, modality="US"),
    "odd_SC_rgb_16bit": Loads((100, 100, 1), colour=True),
    "odd_parametric_map_float": Loads((128, 128, 1), kind="f"),
    "odd_bad_sequence": Loads((512, 512, 1), modality="CT", kind="i"),
    "odd_emri_small_jpeg_2k_lossless_too_short": Refuses(TruncatedError, ("no pixels",)),
    "odd_JPEG-LL": Loads((1024, 256, 1), modality="NM"),
    "odd_JLSL_16_15_1_1F": Loads((128, 128, 1), (NO_SIZE,), kind="i"),
    "odd_HTJ2K_08_RGB": Refuses(ScanError, ("High-Throughput JPEG 2000", "Convert")),
    "odd_MR_truncated": Refuses(TruncatedError, ("8130", "8192")),
    "odd_no_meta": Refuses(NotAnImageError, ("isn't a DICOM file",)),
    "odd_badVR": Refuses(NotAnImageError, ("RTDOSE",)),
    "odd_rtstruct": Refuses(NotAnImageError, ("RTSTRUCT", "not a picture", "Open the scan")),
    "odd_rtdose": Refuses(NotAnImageError, ("RTDOSE", "not a picture", "Open the scan")),
    "odd_image_dfl": Loads((512, 512, 1), (NO_SIZE,)),
    "odd_MR_small_padded": Loads((64, 64, 1), modality="MR"),
    "odd_MR_small_bigendian": Loads((64, 64, 1), modality="MR", kind="i"),
    "odd_CT_small": Loads((128, 128, 1), modality="CT", kind="i"),
    "odd_examples_ybr_color": Loads((240, 320, 1), ("30 frames", "--frame", NO_SIZE), colour=True, frames=30),
    "odd_SC_rgb_small_odd": Loads((3, 3, 1), colour=True),
    "odd_seg_image_ct_binary_overlap": SEGMENTATION,
    "odd_seg_image_ct_true_fractional": SEGMENTATION,
    "odd_seg_image_sm_control_labelmap": SEGMENTATION,
    "odd_sm_image": Refuses(NotAnImageError, ("whole-slide", "TIFF")),
    "odd_dx_image": Loads((169, 211, 1), ("inverted",), modality="DX"),
    "odd_not_dicom": Refuses(NotAnImageError, ("isn't a DICOM file",)),
    "odd_empty_nifti": Refuses(TruncatedError, ("empty",)),
}


@pytest.mark.skipif(not CASES, reason=MISSING)
@pytest.mark.parametrize("case", CASES or [{"id": "none"}], ids=lambda case: case["id"])
def test_odd_file(case: dict[str, Any]) -> None:
    path = ROOT / case["image"]
    expected = EXPECTED[case["id"]]
    if isinstance(expected, Refuses):
        with pytest.raises(expected.error) as caught:
            read_scan(path)
        text = str(caught.value)
        assert path.name in text and text.endswith(".") and all(word in text for word in expected.words)
    else:
        _check_loaded(path, read_scan(path), expected)
    _DETAILS.get(case["id"], lambda _: None)(path)


def _check_loaded(path: Path, volume: Volume, expected: Loads) -> None:
    assert volume.grid.shape == expected.shape
    assert sorted(volume.shape) == sorted(expected.shape)
    assert volume.is_colour == expected.colour
    if expected.colour:
        assert volume.data.dtype == np.uint8 and volume.data.shape[3] == 3
    said = " ".join(volume.warnings)
    assert all(word in said for word in expected.words) and bool(said) == bool(expected.words), said
    assert expected.modality in (None, volume.modality)
    assert expected.kind in (None, volume.data.dtype.kind)
    assert volume.name == (path.name if path.is_dir() else path.stem)
    if expected.frames > 1:
        last = read_scan(path, frame=expected.frames - 1)
        assert last.shape == volume.shape and not np.array_equal(last.data, volume.data)
        with pytest.raises(ScanError, match=f"{expected.frames} frames"):
            read_scan(path, frame=expected.frames)


def _tilt(path: Path) -> None:
    volume = read_scan(path)
    assert shear_degrees(volume.affine) == pytest.approx(14.0, abs=0.01)
    corners = [volume.grid.affine @ [0, 0, k, 1] for k in range(4)]
    true = [[106.791015625, 256.61886606561, z, 1] for z in (-61.951915, -56.951915, -51.951915, -46.951915)]
    assert np.allclose(corners, true, atol=1e-4)


def _series(path: Path) -> None:
    first, second = read_scan(path, series="1"), read_scan(path, series="501")
    assert first.grid.shape == second.grid.shape == (288, 288, 2)
    assert not np.allclose(first.affine, second.affine)


def _in_plane(path: Path) -> None:
    steps = np.linalg.norm(read_scan(path).grid.affine[:3, :3], axis=0)
    assert steps == pytest.approx([6.4, 4.0, 0.5], abs=1e-3)  # columns lie 6.4 mm apart, rows 4 mm


def _upright(path: Path) -> None:
    stored = pydicom.dcmread(path)
    highest = 2**stored.BitsStored - 1
    assert np.array_equal(read_scan(path).data[0], highest - stored.pixel_array.astype(int))


def _padding(path: Path) -> None:
    assert read_scan(path).data.min() == -1024  # the padding of -2000 would be -3024 HU


def _nonbyte(path: Path) -> None:
    seg = read_dicom_seg(path)
    assert (seg.frame_shape, seg.frame_count) == ((510, 510), 3)
    aligned = read_dicom_seg(path.with_name("liver.dcm"))
    assert np.array_equal(seg.masks[1], aligned.masks[1][:, :510, :510])


def _overlap(path: Path) -> None:
    seg = read_dicom_seg(path)
    assert [segment.number for segment in seg.segments] == [1, 2]
    assert all(mask.shape == (4, 16, 16) and mask.any() for mask in seg.masks.values())
    assert (seg.masks[1] & seg.masks[2]).any()


def _fractional(path: Path) -> None:
    seg = read_dicom_seg(path)
    assert seg.frame_shape == (16, 16) and seg.masks[1].shape == (3, 16, 16)
    assert 0 < seg.masks[1].mean() < 1


def _label_map(path: Path) -> None:
    seg = read_dicom_seg(path)
    assert seg.frame_count == 20 and len(seg.segments) == 20
    assert all(mask.shape[1:] == (10, 10) for mask in seg.masks.values())


_DETAILS = {
    "gantry_tilt": _tilt,
    "two_orientations": _series,
    "anisotropic_inplane": _in_plane,
    "odd_693_J2KR": _padding,
    "odd_RG3_J2KI": _upright,
    "odd_dx_image": _upright,
    "odd_liver_nonbyte_aligned": _nonbyte,
    "odd_seg_image_ct_binary_overlap": _overlap,
    "odd_seg_image_ct_true_fractional": _fractional,
    "odd_seg_image_sm_control_labelmap": _label_map,
}
