"""Labels on the scan's own grid, all or nothing, with originals kept."""

from __future__ import annotations

import os
from itertools import permutations, product
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import SimpleITK
import tifffile
from dicom_maker import save_series, save_slice
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from napari_ibisagent.core.errors import GridError, OutputError
from napari_ibisagent.core.volume import Volume
from napari_ibisagent.io.atomic import atomic_write_bytes
from napari_ibisagent.io.labels import Saved, write_labels
from napari_ibisagent.io.read import read_mask, read_scan

ORIENTATIONS = [(axes, signs) for axes in permutations(range(3)) for signs in product((1, -1), repeat=3)]


def affine_of(
    axes: tuple[int, ...],
    signs: tuple[int, ...],
    sizes: tuple[float, ...],
    origin: tuple[float, ...] = (0, 0, 0),
) -> np.ndarray:
    affine = np.zeros((4, 4))
    for column, (axis, sign, size) in enumerate(zip(axes, signs, sizes, strict=True)):
        affine[axis, column] = sign * size
    affine[:3, 3], affine[3, 3] = origin, 1
    return affine


def scan_of(folder: Path, affine: np.ndarray, shape: tuple[int, int, int] = (3, 4, 5)) -> tuple[Path, np.ndarray]:
    data = np.arange(np.prod(shape), dtype=np.int16).reshape(shape)
    path = folder / "scan.nii.gz"
    nib.save(nib.Nifti1Image(data, affine), path)
    return path, data


SHEARED = np.array([[1, 0.3, 0, 4], [0, 1.5, 0.2, 5], [0, 0, 2, 6], [0, 0, 0, 1.0]])
OBLIQUE = np.array([[0.8, -0.9, 0, 4], [0.6, 1.2, 0, 5], [0, 0, 2, 6], [0, 0, 0, 1.0]])


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    orientation=st.sampled_from(ORIENTATIONS),
    sizes=st.tuples(*[st.sampled_from([0.25, 0.5, 1.0, 2.5, 7.0])] * 3),
    origin=st.tuples(*[st.integers(-200, 200)] * 3),
    shape=st.tuples(*[st.integers(1, 5)] * 3),
    seed=st.integers(0, 2**16),
)
def test_labels_go_back_onto_any_grid(
    tmp_path: Path,
    orientation: tuple[tuple[int, ...], tuple[int, ...]],
    sizes: tuple[float, ...],
    origin: tuple[float, ...],
    shape: tuple[int, int, int],
    seed: int,
) -> None:
    affine = affine_of(*orientation, sizes, origin)
    path, _ = scan_of(tmp_path, affine, shape)
    volume = read_scan(path)
    on_file = np.random.default_rng(seed).integers(0, 300, shape).astype(np.uint16)
    labels = volume.grid.turn.apply(on_file)
    for name in ("labels.nii", "labels.mha"):
        write_labels(labels, volume, tmp_path / name)
        (value,) = np.unique(labels)[-1:]
        assert np.array_equal(read_mask(tmp_path / name, volume, int(value)), labels == value)
    written = nib.load(tmp_path / "labels.nii", mmap=False)
    assert np.array_equal(np.asanyarray(written.dataobj), on_file)
    assert written.shape == shape and np.array_equal(written.affine, affine)


@pytest.mark.parametrize("affine", [OBLIQUE, SHEARED], ids=["oblique", "sheared"])
def test_nifti_labels_of_turned_grids(tmp_path: Path, affine: np.ndarray) -> None:
    path, data = scan_of(tmp_path, affine)
    volume = read_scan(path)
    labels = (volume.data % 5).astype(np.uint8)
    saved = write_labels(labels, volume, tmp_path / "new folder" / "labels.nii.gz")
    assert saved == Saved(tmp_path / "new folder" / "labels.nii.gz", None)
    written = nib.load(saved.path)
    assert np.array_equal(np.asanyarray(written.dataobj), data % 5) and written.get_data_dtype() == np.uint8
    assert np.array_equal(written.affine, nib.load(path).affine)
    is_sheared = affine is SHEARED
    assert int(written.header["sform_code"]) == 1 and int(written.header["qform_code"]) == (0 if is_sheared else 1)
    assert written.header.get_xyzt_units()[0] == "mm"
    assert np.array_equal(read_mask(saved.path, volume, 3), labels == 3)


def test_itk_labels(tmp_path: Path) -> None:
    volume = read_scan(scan_of(tmp_path, OBLIQUE)[0])
    labels = (volume.data % 3).astype(np.int32)
    for name in ("a.nrrd", "a.mha", "a.seg.nrrd"):
        saved = write_labels(labels, volume, tmp_path / name, names={1: "liver", 2: "tumour"})
        assert np.array_equal(read_mask(saved.path, volume, 2), labels == 2)
    image = SimpleITK.ReadImage(str(tmp_path / "a.nrrd"))
    assert image.GetSize() == (3, 4, 5)
    assert image.GetMetaData("Segment0_Name") == "liver" and image.GetMetaData("Segment1_LabelValue") == "2"
    sheared = read_scan(scan_of(tmp_path, SHEARED)[0])
    with pytest.raises(OutputError, match=r"tilted.*b\.nii\.gz"):
        write_labels(labels, sheared, tmp_path / "b.nrrd")


@pytest.mark.parametrize("name", ["a.png", "a.tif", "a.nii.gz", "a.nrrd", "a.mha"])
@pytest.mark.parametrize("high", [3, 4000])
def test_labels_of_a_picture(tmp_path: Path, name: str, high: int) -> None:
    Image.fromarray(np.zeros((7, 11), np.uint8)).save(tmp_path / "scan.png")
    volume = read_scan(tmp_path / "scan.png")
    labels = np.zeros((1, 7, 11), np.uint16)
    labels[0, 2:4, 5:9], labels[0, 6, 0] = 1, high
    saved = write_labels(labels, volume, tmp_path / name)
    for value in (1, high):
        assert np.array_equal(read_mask(saved.path, volume, value), labels == value)
    if name.endswith("png"):
        assert np.array_equal(np.asarray(Image.open(saved.path)), labels[0])
    if name.endswith("tif"):
        assert np.array_equal(tifffile.imread(saved.path), labels[0])
    if name.endswith("mha"):
        assert SimpleITK.ReadImage(str(saved.path)).GetSize() == (11, 7)


def test_picture_labels_of_one_dicom_slice(tmp_path: Path) -> None:
    path = save_slice(tmp_path / "a.dcm", np.arange(54, dtype=np.int16).reshape(6, 9), orientation=(0, 1, 0, 0, 0, -1))
    volume = read_scan(path)
    labels = (volume.data % 4).astype(np.uint8)
    saved = write_labels(labels, volume, tmp_path / "a.png")
    assert np.array_equal(np.asarray(Image.open(saved.path)), np.arange(54).reshape(6, 9) % 4)
    assert np.array_equal(read_mask(saved.path, volume, 3), labels == 3)


def test_labels_of_a_tilted_dicom_series(tmp_path: Path) -> None:
    orientation = (1.0, 0.0, 0.0, 0.0, np.cos(0.2), -np.sin(0.2))
    save_series(tmp_path / "scan", [(0, 0, z) for z in (0, 3, 6)], orientation=orientation)
    volume = read_scan(tmp_path / "scan")
    labels = (volume.data % 4).astype(np.uint8)
    saved = write_labels(labels, volume, tmp_path / "labels.nii.gz")
    assert np.array_equal(read_mask(saved.path, volume, 3), labels == 3)
    assert np.allclose(nib.load(saved.path).affine, volume.grid.affine, atol=1e-6)


@pytest.fixture
def scan(tmp_path: Path) -> tuple[Volume, np.ndarray, Path]:
    path, _ = scan_of(tmp_path, np.diag([1.0, 2, 3, 1]))
    volume = read_scan(path)
    return volume, np.ones(volume.shape, np.uint8), path


Scan = tuple[Volume, np.ndarray, Path]


def test_an_existing_file_is_kept(tmp_path: Path, scan: Scan) -> None:
    volume, labels, _ = scan
    target = tmp_path / "labels.nii.gz"
    target.write_bytes(b"first")
    assert write_labels(labels, volume, target).kept_as == tmp_path / "labels.1.nii.gz"
    second = target.read_bytes()
    assert write_labels(labels * 2, volume, target).kept_as == tmp_path / "labels.2.nii.gz"
    assert (tmp_path / "labels.1.nii.gz").read_bytes() == b"first"
    assert (tmp_path / "labels.2.nii.gz").read_bytes() == second


def test_a_disk_without_hard_links(tmp_path: Path, scan: Scan, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    target = tmp_path / "labels.nii.gz"
    target.write_bytes(b"first")
    saved = write_labels(scan[1], scan[0], target)
    assert saved.kept_as is not None and saved.kept_as.read_bytes() == b"first"
    monkeypatch.setattr(os, "replace", refuse)
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(OutputError):
        write_labels(scan[1] * 2, scan[0], target)
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


@pytest.mark.parametrize("function", ["replace", "fsync"])
@pytest.mark.parametrize("name", ["labels.nii.gz", "labels.nrrd"])
def test_a_full_disk_changes_nothing(
    tmp_path: Path, scan: Scan, monkeypatch: pytest.MonkeyPatch, function: str, name: str
) -> None:
    (tmp_path / name).write_bytes(b"old")
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, function, full)
    with pytest.raises(OutputError, match=r"No space left.*nothing was changed"):
        write_labels(scan[1], scan[0], tmp_path / name)
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_a_place_that_cannot_hold_a_file(tmp_path: Path, scan: Scan) -> None:
    (tmp_path / "file").write_bytes(b"x")
    with pytest.raises(OutputError, match="nothing was changed"):
        write_labels(scan[1], scan[0], tmp_path / "file" / "labels.nii.gz")
    (tmp_path / "folder.nii.gz").mkdir()
    with pytest.raises(OutputError, match="folder"):
        write_labels(scan[1], scan[0], tmp_path / "folder.nii.gz")


def test_originals_are_protected(tmp_path: Path, scan: Scan) -> None:
    volume, labels, path = scan
    before = path.read_bytes()
    (tmp_path / "link.nii.gz").symlink_to(path)
    os.link(path, tmp_path / "twin.nii.gz")
    (tmp_path / "dicom" / "deep").mkdir(parents=True)
    for target in (
        path,
        tmp_path / "dicom" / ".." / "scan.nii.gz",
        tmp_path / "link.nii.gz",
        tmp_path / "twin.nii.gz",
        tmp_path / "dicom" / "labels.nii.gz",
        tmp_path / "dicom" / "deep" / "labels.nii.gz",
    ):
        with pytest.raises(OutputError, match="original"):
            write_labels(labels, volume, target, protect=[path, tmp_path / "dicom"])
    assert path.read_bytes() == before and not list((tmp_path / "dicom").rglob("*.gz"))
    write_labels(labels, volume, tmp_path / "labels.nii.gz", protect=[path, tmp_path / "dicom"])


def test_what_cannot_be_saved(tmp_path: Path, scan: Scan) -> None:
    volume, labels, _ = scan
    before = sorted(tmp_path.iterdir())
    for name in ("a.txt", "a", "a.dcm", "a.jpg"):
        with pytest.raises(OutputError, match=r"\.nii\.gz.*\.png"):
            write_labels(labels, volume, tmp_path / name)
    with pytest.raises(OutputError, match=r"slices.*a\.nii\.gz"):
        write_labels(labels, volume, tmp_path / "a.png")
    with pytest.raises(OutputError, match="65535"):
        write_labels(labels.astype(np.int32) * 70000, volume, tmp_path / "a.nii.gz")
    with pytest.raises(OutputError, match="65535"):
        write_labels(-labels.astype(np.int32), volume, tmp_path / "a.nii.gz")
    with pytest.raises(GridError):
        write_labels(labels[:1, :1], volume, tmp_path / "a.nii.gz")
    assert sorted(tmp_path.iterdir()) == before


def test_boolean_labels(tmp_path: Path, scan: Scan) -> None:
    saved = write_labels(scan[0].data > 5, scan[0], tmp_path / "a.nii.gz")
    assert np.array_equal(read_mask(saved.path, scan[0], 1), scan[0].data > 5)


def test_masks_of_another_grid(tmp_path: Path, scan: Scan) -> None:
    volume, labels, _ = scan
    raw = volume.grid.turn.invert(labels)
    affine = volume.grid.affine

    def save(data: np.ndarray, place: np.ndarray) -> Path:
        nib.save(nib.Nifti1Image(data, place), tmp_path / "mask.nii.gz")
        return tmp_path / "mask.nii.gz"

    with pytest.raises(GridError, match=r"mask\.nii\.gz has the shape .* scan has"):
        read_mask(save(raw[:-1], affine), volume)
    shifted = affine.copy()
    shifted[0, 3] += 0.5
    with pytest.raises(GridError, match=r"mask\.nii\.gz lies in another place than the scan scan"):
        read_mask(save(raw, shifted), volume)
    with pytest.raises(GridError, match="another place"):
        read_mask(save(raw, affine @ np.diag([1.1, 1, 1, 1])), volume)
    with pytest.raises(GridError, match="frames"):
        read_mask(save(np.stack([raw, raw], -1), affine), volume)
    noisy = affine + np.random.default_rng(0).normal(0, 1e-4, (4, 4)) * np.array([[1], [1], [1], [0]])
    assert read_mask(save(raw, noisy), volume).all()


def test_a_mask_in_another_orientation(tmp_path: Path, scan: Scan) -> None:
    volume, _, path = scan
    labels = (volume.data % 3).astype(np.uint8)
    saved = write_labels(labels, volume, tmp_path / "labels.nii.gz")
    for code in ("LPS", "PIR", "SAL", "IAR"):
        turn = nib.orientations.ornt_transform(
            nib.orientations.axcodes2ornt("RAS"), nib.orientations.axcodes2ornt(code)
        )
        nib.save(nib.load(saved.path).as_reoriented(turn), tmp_path / "turned.nii.gz")
        assert nib.aff2axcodes(nib.load(tmp_path / "turned.nii.gz").affine) == tuple(code)
        assert np.array_equal(read_mask(tmp_path / "turned.nii.gz", volume, 2), labels == 2)
    assert path.exists()


def test_atomic_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "deep" / "record.json"
    atomic_write_bytes(target, b"one")
    atomic_write_bytes(target, b"two")
    assert target.read_bytes() == b"two" and list(target.parent.iterdir()) == [target]

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OutputError, match="nothing was changed"):
        atomic_write_bytes(target, b"three")
    assert target.read_bytes() == b"two" and list(target.parent.iterdir()) == [target]
