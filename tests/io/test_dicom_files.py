"""DICOM made on the spot: sorting, gaps, tilt, series, time points, rescaling, colour, zips, broken files."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import pytest
from dicom_maker import AXIAL, add_pixels, header, save, save_enhanced, save_series, save_slice
from pydicom.uid import CTImageStorage, SecondaryCaptureImageStorage, UltrasoundMultiFrameImageStorage

from napari_ibisagent.core.errors import (
    NotAnImageError,
    ScanError,
    SeriesChoiceError,
    TruncatedError,
    UnknownNameError,
)
from napari_ibisagent.core.geometry import shear_degrees
from napari_ibisagent.io.read import read_scan

GRADIENT = np.arange(54, dtype=np.int16).reshape(6, 9)


def stack(*depths: float) -> list[tuple[float, float, float]]:
    return [(-10.0, 20.0, z) for z in depths]


def test_slices_are_sorted_by_position_and_rescaled(tmp_path: Path) -> None:
    pixels = save_series(tmp_path, stack(15, 0, 10, 5), spacing=(2.0, 0.5), RescaleSlope=1, RescaleIntercept=-1024)
    volume = read_scan(tmp_path)
    assert volume.grid.shape == (9, 6, 4) and volume.data.dtype == np.int16 and volume.modality == "CT"
    in_order = pixels[[1, 3, 2, 0]] - 1024  # from the feet up
    assert np.array_equal(volume.grid.turn.invert(volume.data), in_order.transpose(2, 1, 0))
    assert volume.spacing_mm == pytest.approx((5.0, 2.0, 0.5))
    assert volume.grid.affine[:3, 3] == pytest.approx([10.0, -20.0, 0.0])  # LPS to RAS
    assert volume.warnings == () and volume.name == tmp_path.name


def test_nothing_of_the_patient_is_kept(tmp_path: Path) -> None:
    save_series(tmp_path / "scan", stack(0, 1, 2), SeriesDescription="T1")
    assert "Doe" not in repr(read_scan(tmp_path / "scan")) and "4711" not in repr(read_scan(tmp_path / "scan"))


def test_voxels_of_an_oblique_series_keep_their_place(tmp_path: Path) -> None:
    row = np.array([0.8, 0.6, 0.0])
    column = np.array([0.0, 0.0, -1.0])
    normal = np.cross(row, column)
    positions = [np.array([3.0, -4.0, 5.0]) + 2.5 * n * normal for n in range(3)]
    pixels = save_series(tmp_path, positions, orientation=(*row, *column), spacing=(0.7, 1.3))
    volume = read_scan(tmp_path)
    for slice_, place in enumerate(positions):
        lps = place + 4 * 1.3 * row + 2 * 0.7 * column
        x, y, z = np.rint(np.linalg.solve(volume.affine, [-lps[0], -lps[1], lps[2], 1.0]))[:3].astype(int)
        assert volume.data[z, y, x] == pixels[slice_][2, 4]


@pytest.mark.parametrize(
    ("depths", "words"),
    [
        ((0, 5, 10, 20, 25), ("10.00 mm between slices 3 and 4", "1 slice seems to be missing")),
        ((0, 5, 10, 25, 30), ("15.00 mm", "2 slices seem to be missing")),
        ((0, 5, 12), ("7.00 mm",)),
        ((0, 2, 4, 5.5, 7.5), ("1.50 mm",)),
    ],
)
def test_gaps_are_named(tmp_path: Path, depths: tuple[float, ...], words: tuple[str, ...]) -> None:
    save_series(tmp_path, stack(*depths))
    volume = read_scan(tmp_path)
    said = " ".join(volume.warnings)
    assert "uneven" in said and "approximate" in said and all(word in said for word in words)
    mean = (depths[-1] - depths[0]) / (len(depths) - 1)
    assert volume.spacing_mm[0] == pytest.approx(mean)


def test_rounded_positions_are_no_gap(tmp_path: Path) -> None:
    save_series(tmp_path, stack(*(round(0.625 * n, 2) for n in range(8))))
    assert read_scan(tmp_path).warnings == ()


@pytest.mark.parametrize("degrees", [3.0, 20.0])
def test_a_tilted_gantry_gives_a_sheared_grid(tmp_path: Path, degrees: float) -> None:
    angle = np.radians(degrees)
    orientation = (1.0, 0.0, 0.0, 0.0, np.cos(angle), -np.sin(angle))
    pixels = save_series(tmp_path, stack(0, 5, 10), orientation=orientation)
    volume = read_scan(tmp_path)
    assert f"{degrees:.1f} degrees" in " ".join(volume.warnings)
    assert shear_degrees(volume.affine) == pytest.approx(degrees, abs=1e-3)
    # Column 3, row 5 of the second slice, from the header alone.
    lps = np.array([-10.0 + 3, 20.0 + 5 * np.cos(angle), 5.0 - 5 * np.sin(angle)])
    index = np.linalg.solve(volume.grid.affine, [-lps[0], -lps[1], lps[2], 1.0])[:3]
    assert index == pytest.approx([3, 5, 1], abs=1e-4)
    assert volume.grid.turn.invert(volume.data)[3, 5, 1] == pixels[1][5, 3]


def test_two_series_have_to_be_chosen_from(tmp_path: Path) -> None:
    first = save_series(tmp_path / "a", stack(0, 1), SeriesNumber=12, SeriesInstanceUID="1.2.12", modality="MR")
    save_series(tmp_path / "b", stack(0, 1, 2), SeriesNumber=7, SeriesInstanceUID="1.2.7", modality="MR")
    with pytest.raises(SeriesChoiceError) as caught:
        read_scan(tmp_path)
    assert [key for key, _ in caught.value.choices] == ["1", "2"]
    assert "series 7, MR, 3 images" in caught.value.choices[0][1]
    for key in ("2", "12", "1.2.12"):
        assert np.array_equal(read_scan(tmp_path, series=key).data[::-1], first)
    with pytest.raises(UnknownNameError, match="no series 9"):
        read_scan(tmp_path, series="9")


def test_localizers_are_left_out(tmp_path: Path) -> None:
    save_series(tmp_path / "scan", stack(0, 1, 2))
    scout = ["ORIGINAL", "PRIMARY", "LOCALIZER"]
    save_slice(tmp_path / "s1.dcm", GRADIENT, SeriesInstanceUID="1.9", SeriesNumber=1, ImageType=scout)
    volume = read_scan(tmp_path)
    assert volume.shape == (3, 6, 9) and "Localizer" in volume.warnings[0]
    assert read_scan(tmp_path, series="1").shape == (1, 6, 9)
    assert "localizer" in read_scan(tmp_path / "s1.dcm").warnings[0]


def test_localizers_only_are_refused(tmp_path: Path) -> None:
    scout = {"ImageType": ["ORIGINAL", "PRIMARY", "LOCALIZER"], "modality": "MR"}
    save_slice(tmp_path / "a.dcm", GRADIENT, **scout)
    save_slice(tmp_path / "b.dcm", GRADIENT, orientation=(0, 1, 0, 0, 0, -1), **scout)
    with pytest.raises(ScanError, match="holds only localizer"):
        read_scan(tmp_path)
    assert read_scan(tmp_path, series="2").shape


@pytest.mark.parametrize("tag", ["TemporalPositionIdentifier", "AcquisitionNumber", "EchoTime", None])
def test_time_points_are_not_stacked(tmp_path: Path, tag: str | None) -> None:
    pixels = [
        save_series(
            tmp_path / str(t),
            stack(0, 2, 4),
            GRADIENT[None].repeat(3, 0) + 100 * t,
            **({tag: t} if tag else {}),
        )
        for t in (2, 1, 3)
    ]
    volume = read_scan(tmp_path)
    assert volume.shape == (3, 6, 9) and "3 frames" in volume.warnings[0]
    if tag:
        assert np.array_equal(volume.data, pixels[1])
        assert np.array_equal(read_scan(tmp_path, frame=2).data, pixels[2])


def test_the_same_file_twice_is_used_once(tmp_path: Path) -> None:
    save_series(tmp_path, stack(0, 1, 2))
    (tmp_path / "copy of 001.dcm").write_bytes((tmp_path / "001.dcm").read_bytes())
    volume = read_scan(tmp_path)
    assert volume.shape == (3, 6, 9) and "twice" in volume.warnings[0]


def test_a_zip_is_read_in_memory(tmp_path: Path) -> None:
    pixels = save_series(tmp_path / "scan", stack(0, 1, 2))
    archive = tmp_path / "scan.zip"
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as made:
        for file in (tmp_path / "scan").iterdir():
            made.write(file, f"../../outside/{file.name}")
        made.writestr("notes.txt", "hello")
    before = sorted(tmp_path.rglob("*"))
    volume = read_scan(archive)
    assert np.array_equal(volume.data[::-1], pixels) and volume.name == "scan"
    assert sorted(tmp_path.rglob("*")) == before


def test_zips_that_cannot_be_used(tmp_path: Path) -> None:
    save_series(tmp_path / "scan", stack(0, 1, 2))
    archive = tmp_path / "scan.zip"
    with zipfile.ZipFile(archive, "w") as made:
        for file in (tmp_path / "scan").iterdir():
            made.write(file, file.name)
    data = archive.read_bytes()
    (tmp_path / "cut.zip").write_bytes(data[: len(data) // 2])
    with pytest.raises(ScanError, match="damaged zip"):
        read_scan(tmp_path / "cut.zip")
    locked = bytearray(data)
    for mark, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        start = -1
        while (start := locked.find(mark, start + 1)) >= 0:
            locked[start + offset] |= 1
    (tmp_path / "locked.zip").write_bytes(locked)
    with pytest.raises(ScanError, match="password"):
        read_scan(tmp_path / "locked.zip")
    (tmp_path / "rotten.zip").write_bytes(data.replace(b"Doe^Jane", b"Doe^Jana"))  # no longer fits its checksum
    with pytest.raises(ScanError):
        read_scan(tmp_path / "rotten.zip")
    with zipfile.ZipFile(tmp_path / "empty.zip", "w") as made:
        made.writestr("notes.txt", "hello")
    with pytest.raises(NotAnImageError, match="no DICOM pictures"):
        read_scan(tmp_path / "empty.zip")


def test_an_enhanced_file_is_sorted_and_scaled_by_frame(tmp_path: Path) -> None:
    pixels = np.stack([GRADIENT + n for n in range(3)]).astype(np.uint16)
    path = save_enhanced(tmp_path / "e.dcm", pixels, stack(8, 0, 4), slopes=[1, 2.5, 3])
    volume = read_scan(path)
    scaled = np.stack([pixels[1] * 2.5, pixels[2] * 3.0, pixels[0] * 1.0])
    assert np.allclose(volume.data[::-1], scaled) and volume.spacing_mm == pytest.approx((4.0, 2.0, 0.5))


def test_repeated_positions_of_an_enhanced_file_are_frames(tmp_path: Path) -> None:
    pixels = np.stack([GRADIENT + 10 * n for n in range(4)]).astype(np.uint16)
    path = save_enhanced(tmp_path / "e.dcm", pixels, stack(0, 4, 0, 4), temporal=[2, 2, 1, 1])
    volume = read_scan(path)
    assert "2 frames" in volume.warnings[0] and np.array_equal(volume.data[::-1], pixels[2:])


def test_an_enhanced_file_without_positions_is_a_stack(tmp_path: Path) -> None:
    pixels = np.stack([GRADIENT + n for n in range(3)]).astype(np.uint16)
    volume = read_scan(save_enhanced(tmp_path / "e.dcm", pixels, None))
    assert np.array_equal(volume.data, pixels) and not volume.has_orientation
    assert volume.spacing_mm == pytest.approx((3.0, 2.0, 0.5)) and "where they lie" in " ".join(volume.warnings)


def test_a_movie_shows_one_frame(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 255, (5, 6, 9, 3)).astype(np.uint8)
    made = header(UltrasoundMultiFrameImageStorage, "US")
    add_pixels(made, pixels, "RGB")
    path = save(made, tmp_path / "cine.dcm")
    volume = read_scan(path)
    assert volume.data.shape == (1, 6, 9, 3) and "5 frames" in volume.warnings[0] and not volume.has_spacing
    assert np.array_equal(read_scan(path, frame=4).data[0], pixels[4])
    with pytest.raises(ScanError, match="no frame 5"):
        read_scan(path, frame=5)


@pytest.mark.parametrize(("modality", "turned"), [("CR", True), ("CT", False), ("PT", False)])
def test_inverted_pictures_are_turned_unless_measured(tmp_path: Path, modality: str, turned: bool) -> None:
    pixels = GRADIENT.astype(np.uint16)
    path = save_slice(
        tmp_path / "x.dcm",
        pixels,
        None,
        modality=modality,
        photometric="MONOCHROME1",
        bits={"BitsStored": 12, "HighBit": 11},
    )
    volume = read_scan(path)
    assert np.array_equal(volume.data[0], 4095 - pixels if turned else pixels)
    assert ("inverted" in " ".join(volume.warnings)) == turned


@pytest.mark.parametrize("vr", [b"SS", b"US"])
def test_ct_padding_looks_like_air(tmp_path: Path, vr: bytes) -> None:
    pixels = GRADIENT + 500
    pixels[0] = -2000
    path = save_slice(tmp_path / "x.dcm", pixels, RescaleIntercept=-1024, RescaleSlope=1, PixelPaddingValue=-2000)
    path.write_bytes(path.read_bytes().replace(b"\x28\x00\x20\x01SS", b"\x28\x00\x20\x01" + vr))
    data = read_scan(path).data[0]
    assert np.all(data[0] == pixels[1:].min() - 1024) and np.array_equal(data[1:], pixels[1:] - 1024)


def test_values_beyond_16_bits_are_kept(tmp_path: Path) -> None:
    pixels = np.stack([GRADIENT.astype(np.uint16), np.full((6, 9), 65000, np.uint16)])
    save_series(tmp_path, stack(0, 1), pixels, RescaleIntercept=-1024, RescaleSlope=1)
    volume = read_scan(tmp_path)
    assert volume.data.dtype == np.int32 and volume.data.max() == 65000 - 1024 and volume.data.min() == -1024


def test_slopes_of_each_slice_count(tmp_path: Path) -> None:
    for n, slope in enumerate((1, 0.5)):
        save_slice(tmp_path / f"{n}.dcm", GRADIENT, (0, 0, n), RescaleSlope=slope, RescaleIntercept=0)
    data = read_scan(tmp_path).data
    assert data.dtype == np.float32 and np.allclose(data[1], GRADIENT) and np.allclose(data[0], GRADIENT / 2)


def test_missing_geometry(tmp_path: Path) -> None:
    path = save_slice(tmp_path / "a.dcm", GRADIENT, None, orientation=None, spacing=(0.3, 0.2), modality="DX")
    volume = read_scan(path)
    assert volume.grid.squeeze and volume.spacing_mm[1:] == pytest.approx((0.3, 0.2)) and not volume.has_orientation
    path = save_slice(tmp_path / "b.dcm", GRADIENT, spacing=None)
    volume = read_scan(path)
    assert not volume.has_spacing and volume.has_orientation and "no pixel size" in " ".join(volume.warnings)
    path = save_slice(tmp_path / "c.dcm", GRADIENT, None, spacing=None, modality="CR", ImagerPixelSpacing=[0.2, 0.1])
    volume = read_scan(path)
    assert volume.spacing_mm[1:] == pytest.approx((0.2, 0.1)) and "detector" in " ".join(volume.warnings)
    path = save_slice(tmp_path / "d.dcm", GRADIENT, orientation=(1, 0, 0, 1, 0, 0))
    assert not read_scan(path).has_orientation


def test_ct_slices_without_positions_are_stacked_by_number(tmp_path: Path) -> None:
    for n in range(3):
        save_slice(
            tmp_path / f"{9 - n}.dcm",
            GRADIENT + n,
            None,
            orientation=None,
            InstanceNumber=n + 1,
            SliceThickness=3,
        )
    volume = read_scan(tmp_path)
    assert np.array_equal(volume.data[:, 0, 0], [0, 1, 2]) and volume.spacing_mm == pytest.approx((3, 1, 1))
    assert not volume.has_orientation and "approximate" in " ".join(volume.warnings)


def test_stills_without_positions_are_separate(tmp_path: Path) -> None:
    for n in range(2):
        save_slice(tmp_path / f"{n}.dcm", GRADIENT + n, None, orientation=None, modality="US", InstanceNumber=n)
    with pytest.raises(SeriesChoiceError):
        read_scan(tmp_path)
    assert read_scan(tmp_path, series="2").data[0, 0, 0] == 1


def test_other_objects_beside_a_scan_are_mentioned(tmp_path: Path) -> None:
    save_series(tmp_path, stack(0, 1))
    save(header(modality="SR", sop_class=SecondaryCaptureImageStorage), tmp_path / "report.dcm")
    (tmp_path / "readme.txt").write_text("hello")
    (tmp_path / "damaged.dcm").write_bytes((tmp_path / "001.dcm").read_bytes()[:400])
    said = " ".join(read_scan(tmp_path).warnings)
    assert "structured report" in said and "damaged.dcm" in said and "readme" not in said


@pytest.mark.parametrize("keep", [0.2, 0.5, 0.9])
def test_a_file_that_ends_early(tmp_path: Path, keep: float) -> None:
    path = save_slice(tmp_path / "a.dcm", np.zeros((64, 64), np.int16))
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * keep)])
    with pytest.raises(TruncatedError, match=r"a\.dcm"):
        read_scan(path)
    with pytest.raises(TruncatedError):
        read_scan(tmp_path)


@pytest.mark.parametrize("keyword", ["NumberOfFrames", "RescaleSlope", "ImagePositionPatient", "PixelSpacing"])
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_values_that_make_no_sense(tmp_path: Path, keyword: str) -> None:
    path = save_slice(tmp_path / "a.dcm", GRADIENT, RescaleSlope=1, RescaleIntercept=0, NumberOfFrames=1)
    data = path.read_bytes()
    value = {
        "NumberOfFrames": b"1 ",
        "RescaleSlope": b"1 ",
        "ImagePositionPatient": b"0.0\\0.0\\0.0 ",
        "PixelSpacing": b"1.0\\1.0 ",
    }
    code = {
        "NumberOfFrames": (0x28, 8, b"IS"),
        "RescaleSlope": (0x28, 0x1053, b"DS"),
        "ImagePositionPatient": (0x20, 0x32, b"DS"),
        "PixelSpacing": (0x28, 0x30, b"DS"),
    }
    group, element, vr = code[keyword]
    mark = group.to_bytes(2, "little") + element.to_bytes(2, "little") + vr
    start = data.index(mark) + 8
    assert data[start : start + 1] == value[keyword][:1]
    path.write_bytes(data[:start] + b"x" + data[start + 1 :])
    with pytest.raises(ScanError, match=r"a\.dcm"):
        read_scan(path)


def test_a_folder_without_dicom(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("hello")
    with pytest.raises(NotAnImageError, match="no DICOM pictures"):
        read_scan(tmp_path)


def test_files_without_preamble_or_meta(tmp_path: Path) -> None:
    path = save_slice(tmp_path / "a.dcm", GRADIENT)
    whole = path.read_bytes()
    dataset_start = whole.index(b"\x08\x00\x16\x00UI")
    bare = tmp_path / "IM0001"
    bare.write_bytes(whole[dataset_start:])
    assert np.array_equal(read_scan(bare).data, read_scan(path).data) and read_scan(bare).name == "IM0001"


def test_sixteen_bit_colour_keeps_its_upper_bits(tmp_path: Path) -> None:
    made = header(CTImageStorage, "OT")
    pixels = (np.arange(162, dtype=np.uint16) * 400).reshape(6, 9, 3)
    add_pixels(made, pixels, "RGB")
    data = read_scan(save(made, tmp_path / "a.dcm")).data
    assert data.dtype == np.uint8 and np.array_equal(data[0], pixels >> 8)


def test_the_orientation_of_slices_splits_a_series(tmp_path: Path) -> None:
    save_series(tmp_path / "a", stack(0, 1))
    save_series(tmp_path / "b", [(0, 0, 0), (2, 0, 0)], orientation=(0, 1, 0, 0, 0, -1))
    with pytest.raises(SeriesChoiceError) as caught:
        read_scan(tmp_path)
    assert len(caught.value.choices) == 2
    assert AXIAL == (1, 0, 0, 0, 1, 0)
