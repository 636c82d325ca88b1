"""NRRD and MetaImage made on the spot."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import SimpleITK

from napari_ibisagent.core.errors import NotAnImageError, ScanError, TruncatedError
from napari_ibisagent.io.read import read_scan

sitk = SimpleITK
VALUES = np.arange(60, dtype=np.int16).reshape(3, 4, 5)  # (k, j, i)
DIRECTION = (0.0, 0.0, 1.0, 0.8, -0.6, 0.0, 0.6, 0.8, 0.0)


def save(path: Path, array: np.ndarray = VALUES, *, vector: bool = False) -> Path:
    image = sitk.GetImageFromArray(array, isVector=vector)
    if image.GetDimension() == 3:
        image.SetSpacing((0.5, 1.5, 2.5))
        image.SetOrigin((1, 2, 3))
        image.SetDirection(DIRECTION)
    elif image.GetDimension() == 2:
        image.SetSpacing((0.5, 1.5))
    sitk.WriteImage(image, str(path))
    return path


@pytest.mark.parametrize("name", ["a.nrrd", "a.nhdr", "a.mha", "a.mhd"])
def test_voxels_keep_type_and_place(tmp_path: Path, name: str) -> None:
    volume = read_scan(save(tmp_path / name))
    image = sitk.ReadImage(str(tmp_path / name))
    assert volume.grid.shape == (5, 4, 3) and volume.data.dtype == np.int16 and volume.warnings == ()
    assert volume.name == "a" and volume.has_spacing and volume.has_orientation
    for index in ((0, 0, 0), (4, 1, 2), (2, 3, 0)):
        x, y, z = image.TransformIndexToPhysicalPoint(index)
        back = np.linalg.solve(volume.affine, [-x, -y, z, 1])[:3]
        assert np.allclose(back, np.rint(back), atol=1e-5)
        bx, by, bz = np.rint(back).astype(int)
        assert volume.data[bz, by, bx] == image[index]


def test_pictures(tmp_path: Path) -> None:
    volume = read_scan(save(tmp_path / "a.mha", VALUES[0]))
    assert np.array_equal(volume.data[0], VALUES[0]) and volume.spacing_mm[1:] == pytest.approx((1.5, 0.5))
    assert not volume.has_orientation and volume.grid.squeeze


def test_frames_and_colour(tmp_path: Path) -> None:
    colour = read_scan(
        save(
            tmp_path / "a.nrrd",
            np.random.default_rng(0).integers(0, 255, (3, 4, 5, 3)).astype("u1"),
            vector=True,
        )
    )
    assert colour.is_colour and colour.warnings == ()
    path = save(tmp_path / "b.mha", np.stack([VALUES, VALUES + 100], axis=-1), vector=True)
    assert "2 frames" in read_scan(path).warnings[0]
    assert read_scan(path, frame=1).data.min() == 100
    path = save(tmp_path / "c.nrrd", np.stack([VALUES, VALUES + 100]))
    assert "2 frames" in read_scan(path).warnings[0] and read_scan(path, frame=1).data.min() == 100


def test_what_the_header_leaves_out_is_said(tmp_path: Path) -> None:
    bare = b"NRRD0004\ntype: uchar\ndimension: 3\nsizes: 2 2 2\nencoding: raw\n\n" + bytes(8)
    (tmp_path / "a.nrrd").write_bytes(bare)
    volume = read_scan(tmp_path / "a.nrrd")
    assert not volume.has_spacing and not volume.has_orientation and len(volume.warnings) == 2


@pytest.mark.parametrize("name", ["a.nrrd", "a.mha"])
def test_broken_files(tmp_path: Path, name: str, capfd: pytest.CaptureFixture[str]) -> None:
    path = save(tmp_path / name, np.random.default_rng(0).integers(0, 999, (20, 20, 20)).astype(np.int16))
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    with pytest.raises(TruncatedError, match=name):
        read_scan(path)
    path.write_bytes(b"hello " * 100)
    with pytest.raises(NotAnImageError, match=name):
        read_scan(path)
    path.write_bytes(data[:20])
    with pytest.raises(ScanError, match=name):
        read_scan(path)
    assert capfd.readouterr().err == ""


def test_missing_voxel_file(tmp_path: Path) -> None:
    path = save(tmp_path / "a.mhd")
    (tmp_path / "a.raw").unlink()
    with pytest.raises(ScanError, match=r"a\.mhd"):
        read_scan(path)


@pytest.mark.parametrize("name", ["a.nrrd", "a.mha"])
def test_what_looks_like_ct_is_taken_for_ct_unless_the_user_knows_better(tmp_path: Path, name: str) -> None:
    assert read_scan(save(tmp_path / name)).modality == ""
    hounsfield = np.linspace(-1000, 900, 60).astype(np.int16).reshape(3, 4, 5)
    assert read_scan(save(tmp_path / name, hounsfield)).modality == "CT"
    assert read_scan(tmp_path / name, modality=" mr").modality == "MR"


def test_an_absurd_pixel_size_is_refused(tmp_path: Path) -> None:
    for dimensions in (2, 3):
        image = sitk.GetImageFromArray(VALUES[0] if dimensions == 2 else VALUES)
        image.SetSpacing((0.5, 1e-4, 1.0)[:dimensions])
        sitk.WriteImage(image, str(tmp_path / "a.mha"))
        with pytest.raises(ScanError, match="voxel size"):
            read_scan(tmp_path / "a.mha")
