"""NIfTI made on the spot: scaling, types, frames, units, orientation codes, broken files."""

from __future__ import annotations

import gzip
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from napari_ibisagent.core.errors import NotAnImageError, ScanError, TruncatedError, UnknownNameError
from napari_ibisagent.io.read import read_scan

AFFINE = np.array([[-0.5, 0, 0, 30], [0, 0, 2, -20], [0, 1.5, 0, 10], [0, 0, 0, 1.0]])
VALUES = np.arange(60, dtype=np.int16).reshape(3, 4, 5)


def save(path: Path, data: np.ndarray, affine: np.ndarray | None = AFFINE, **header: object) -> Path:
    image = nib.Nifti1Image(data, affine)
    for key, value in header.items():
        if key == "unit":
            image.header.set_xyzt_units(value)
        elif key == "scaling":
            image.header.set_slope_inter(*value)
        else:
            image.header[key] = value
    nib.save(image, path)
    return path


@pytest.mark.parametrize("name", ["scan.nii", "scan.nii.gz"])
def test_voxels_keep_type_and_place(tmp_path: Path, name: str) -> None:
    volume = read_scan(save(tmp_path / name, VALUES))
    assert volume.data.dtype == np.int16 and volume.name == "scan" and volume.warnings == ()
    assert volume.grid.shape == (3, 4, 5) and np.allclose(volume.grid.affine, AFFINE)
    assert np.array_equal(volume.grid.turn.invert(volume.data), VALUES)
    for index in ((0, 0, 0), (2, 1, 4)):
        x, y, z = np.rint(np.linalg.solve(volume.affine, AFFINE @ [*index, 1]))[:3].astype(int)
        assert volume.data[z, y, x] == VALUES[index]


@pytest.mark.parametrize(
    ("dtype", "kept"),
    [
        ("u1", "u1"),
        ("i2", "i2"),
        ("u2", "u2"),
        (">i2", "i2"),
        ("i4", "i4"),
        ("u4", "i4"),
        ("f4", "f4"),
        ("f8", "f4"),
        (">f4", "f4"),
    ],
)
def test_types(tmp_path: Path, dtype: str, kept: str) -> None:
    volume = read_scan(save(tmp_path / "a.nii", VALUES.astype(dtype)))
    assert volume.data.dtype == np.dtype(kept) and volume.data.dtype.isnative
    assert np.array_equal(volume.grid.turn.invert(volume.data), VALUES)


def test_wide_integers(tmp_path: Path) -> None:
    for dtype in (np.int64, np.uint64):
        image = nib.Nifti1Image(VALUES.astype(dtype), AFFINE, dtype=dtype)
        nib.save(image, tmp_path / "a.nii")
        assert read_scan(tmp_path / "a.nii").data.dtype == np.int32


def test_scaling_is_applied(tmp_path: Path) -> None:
    path = save(tmp_path / "a.nii.gz", VALUES)
    raw = bytearray(gzip.decompress(path.read_bytes()))
    raw[112:120] = np.array([0.5, -3], "<f4").tobytes()
    path.write_bytes(gzip.compress(bytes(raw)))
    volume = read_scan(path)
    assert volume.data.dtype == np.float32
    assert np.allclose(volume.grid.turn.invert(volume.data), VALUES * 0.5 - 3)


@pytest.mark.parametrize("slope", [0.0, np.nan])
def test_no_scaling_when_the_slope_means_none(tmp_path: Path, slope: float) -> None:
    path = save(tmp_path / "a.nii", VALUES)
    raw = bytearray(path.read_bytes())
    raw[112:120] = np.array([slope, 7], "<f4").tobytes()
    path.write_bytes(bytes(raw))
    assert read_scan(path).data.dtype == np.int16


def test_one_frame_of_a_4d_file(tmp_path: Path) -> None:
    data = np.stack([VALUES, VALUES + 100, VALUES + 200], axis=-1)
    path = save(tmp_path / "a.nii.gz", data)
    first, last = read_scan(path), read_scan(path, frame=2)
    assert "3 frames" in first.warnings[0] and "--frame N" in first.warnings[0]
    assert np.array_equal(first.grid.turn.invert(first.data), VALUES)
    assert np.array_equal(last.grid.turn.invert(last.data), VALUES + 200)
    with pytest.raises(ScanError, match="no frame 3"):
        read_scan(path, frame=3)
    with pytest.raises(UnknownNameError, match="series"):
        read_scan(path, series="1")


@pytest.mark.parametrize("shape", [(3, 4, 5, 1), (3, 4, 5, 1, 1)])
def test_single_frames_need_no_choice(tmp_path: Path, shape: tuple[int, ...]) -> None:
    volume = read_scan(save(tmp_path / "a.nii", VALUES.reshape(shape)))
    assert volume.grid.shape == (3, 4, 5) and volume.warnings == ()


def test_a_2d_file_is_one_slice(tmp_path: Path) -> None:
    volume = read_scan(save(tmp_path / "a.nii", VALUES[:, :, 0], np.diag([2, 3, 4, 1.0])))
    assert volume.grid.shape == (3, 4, 1) and volume.shape == (1, 4, 3)


@pytest.mark.parametrize("letters", ["RGB", "RGBA"])
def test_colour_records(tmp_path: Path, letters: str) -> None:
    colour = np.zeros((3, 4, 5), [(letter, "u1") for letter in letters])
    colour["R"], colour["G"], colour["B"] = VALUES, 2 * VALUES, 255 - VALUES
    volume = read_scan(save(tmp_path / "a.nii", colour))
    assert volume.is_colour and volume.data.dtype == np.uint8
    back = volume.grid.turn.invert(volume.data)
    assert np.array_equal(back[..., 1], 2 * VALUES) and np.array_equal(back[..., 2], 255 - VALUES)


def test_complex_numbers_are_refused(tmp_path: Path) -> None:
    with pytest.raises(NotAnImageError, match="complex"):
        read_scan(save(tmp_path / "a.nii", VALUES.astype(np.complex64)))


@pytest.mark.parametrize(("unit", "factor"), [("meter", 1000.0), ("micron", 0.001), ("mm", 1.0)])
def test_units_become_mm(tmp_path: Path, unit: str, factor: float) -> None:
    stored = np.diag([1 / factor, 1 / factor, 1 / factor, 1.0]) @ AFFINE
    volume = read_scan(save(tmp_path / "a.nii", VALUES, stored, unit=unit))
    assert np.allclose(volume.grid.affine[:3], AFFINE[:3], rtol=1e-5)


@pytest.mark.parametrize("unit", ["meter", "micron"])
def test_an_absurd_voxel_size_is_refused(tmp_path: Path, unit: str) -> None:
    with pytest.raises(ScanError, match=r"a\.nii states a voxel size of .* mm, outside of 0.005 to 100 mm\. Correct"):
        read_scan(save(tmp_path / "a.nii", VALUES, unit=unit))


def test_unknown_orientation_is_said(tmp_path: Path) -> None:
    path = save(tmp_path / "a.nii", VALUES, None)
    volume = read_scan(path)
    assert not volume.has_orientation and "left and right" in volume.warnings[0].replace("\n", " ")
    assert volume.has_spacing


def test_numbers_that_are_none(tmp_path: Path) -> None:
    data = VALUES.astype(np.float32)
    data[0, 0, 0], data[1, 1, 1] = np.nan, np.inf
    volume = read_scan(save(tmp_path / "a.nii", data))
    back = volume.grid.turn.invert(volume.data)
    assert back[0, 0, 0] == back[1, 1, 1] == 1 and "2 voxels" in volume.warnings[0]
    with pytest.raises(ScanError, match="no number"):
        read_scan(save(tmp_path / "b.nii", np.full((2, 2, 2), np.nan, np.float32)))


def test_ct_is_told_by_its_values(tmp_path: Path) -> None:
    ct = np.full((8, 8, 8), -1000, np.int16)
    ct[2:5] = 700
    assert read_scan(save(tmp_path / "a.nii", ct)).modality == "CT"
    assert read_scan(save(tmp_path / "b.nii", ct.astype(np.float32))).modality == "CT"
    assert read_scan(save(tmp_path / "c.nii", ct * np.float32(1.01) + 0.3)).modality == ""
    assert read_scan(save(tmp_path / "d.nii", VALUES)).modality == ""


def test_broken_affines_are_refused(tmp_path: Path) -> None:
    for bad in (
        np.diag([1, 0, 1, 1.0]),
        np.array([[1, 1, 0, 0], [0, 0, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1.0]]),
    ):
        path = save(tmp_path / "a.nii", VALUES)
        raw = bytearray(path.read_bytes())
        raw[280:328] = bad[:3].astype("<f4").tobytes()
        path.write_bytes(bytes(raw))
        with pytest.raises(ScanError, match="orientation"):
            read_scan(path)


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz"])
@pytest.mark.parametrize("keep", [0.02, 0.5, 0.98])
def test_files_that_end_early(tmp_path: Path, name: str, keep: float) -> None:
    path = save(tmp_path / name, np.random.default_rng(0).integers(0, 999, (20, 20, 20)).astype(np.int16))
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * keep)])
    with pytest.raises(TruncatedError, match="again"):
        read_scan(path)


def test_broken_files(tmp_path: Path) -> None:
    for name, content, error in (
        ("empty.nii.gz", b"", TruncatedError),
        ("text.nii", b"hello " * 100, NotAnImageError),
        ("text.nii.gz", gzip.compress(b"hello " * 100), NotAnImageError),
    ):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(error, match=name):
            read_scan(tmp_path / name)
    path = save(tmp_path / "rotten.nii.gz", np.random.default_rng(0).integers(0, 999, (20, 20, 20)).astype(np.int16))
    data = bytearray(path.read_bytes())
    data[3000:3100] = bytes(100)
    path.write_bytes(bytes(data))
    with pytest.raises(ScanError):
        read_scan(path)


def test_compression_is_told_by_content(tmp_path: Path) -> None:
    plain = save(tmp_path / "a.nii", VALUES).read_bytes()
    (tmp_path / "b.nii.gz").write_bytes(plain)
    (tmp_path / "c.nii").write_bytes(gzip.compress(plain))
    for name in ("b.nii.gz", "c.nii"):
        assert np.array_equal(read_scan(tmp_path / name).data, read_scan(tmp_path / "a.nii").data)


def test_nifti_2(tmp_path: Path) -> None:
    nib.save(nib.Nifti2Image(VALUES, AFFINE), tmp_path / "a.nii.gz")
    volume = read_scan(tmp_path / "a.nii.gz")
    assert np.array_equal(volume.grid.turn.invert(volume.data), VALUES)


def test_a_header_that_asks_for_more_than_is_there(tmp_path: Path) -> None:
    path = save(tmp_path / "a.nii.gz", VALUES)
    raw = bytearray(gzip.decompress(path.read_bytes()))
    raw[42:48] = np.array([30000, 30000, 30000], "<i2").tobytes()
    path.write_bytes(gzip.compress(bytes(raw)))
    with pytest.raises(TruncatedError):
        read_scan(path)


def test_files_that_are_missing_or_of_no_known_kind(tmp_path: Path) -> None:
    with pytest.raises(ScanError, match="doesn't exist"):
        read_scan(tmp_path / "none.nii.gz")
    (tmp_path / "a.docx").write_bytes(b"hello")
    with pytest.raises(NotAnImageError, match="can be opened"):
        read_scan(tmp_path / "a.docx")
