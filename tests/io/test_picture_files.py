"""Pictures and TIFF stacks made on the spot, and masks of pictures."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from napari_ibisagent.core.errors import GridError, NotAnImageError, ScanError, TruncatedError
from napari_ibisagent.io.read import read_mask, read_scan

RANDOM = np.random.default_rng(3)
GREY = RANDOM.integers(0, 255, (7, 11)).astype(np.uint8)
COLOUR = RANDOM.integers(0, 255, (7, 11, 3)).astype(np.uint8)


def save(path: Path, array: np.ndarray, mode: str | None = None, **options: object) -> Path:
    image = Image.fromarray(array)
    (image.convert(mode) if mode else image).save(path, **options)
    return path


@pytest.mark.parametrize("ending", [".png", ".bmp", ".tif", ".TIFF"])
def test_grey_and_colour(tmp_path: Path, ending: str) -> None:
    grey = read_scan(save(tmp_path / f"g{ending}", GREY))
    assert np.array_equal(grey.data[0], GREY) and grey.grid.squeeze and grey.name == "g"
    assert not grey.has_spacing and not grey.has_orientation and grey.voxel_ml is None
    assert np.array_equal(read_scan(save(tmp_path / f"c{ending}", COLOUR)).data[0], COLOUR)


def test_colour_with_equal_channels_is_grey(tmp_path: Path) -> None:
    for name in ("a.png", "a.tif"):
        volume = read_scan(save(tmp_path / name, np.repeat(GREY[..., None], 3, axis=2)))
        assert not volume.is_colour and np.array_equal(volume.data[0], GREY)


@pytest.mark.parametrize("mode", ["RGBA", "P", "CMYK", "1", "LA", "L"])
@pytest.mark.parametrize("ending", [".png", ".tif"])
def test_modes(tmp_path: Path, mode: str, ending: str) -> None:
    if (mode, ending) == ("CMYK", ".png"):
        pytest.skip("PNG holds no CMYK")
    path = save(tmp_path / f"a{ending}", COLOUR, mode)
    volume = read_scan(path)
    with Image.open(path) as image:
        wanted = np.asarray(image.convert("RGB" if mode in ("RGBA", "P", "CMYK") else "L"))
    got = volume.data[0].astype(int) * (255 if volume.data.max() == 1 else 1)
    assert volume.data.dtype == np.uint8 and np.array_equal(got, wanted)


def test_deep_grey_is_kept(tmp_path: Path) -> None:
    deep = RANDOM.integers(0, 65535, (7, 11)).astype(np.uint16)
    for name in ("a.png", "a.tif"):
        volume = read_scan(save(tmp_path / name, deep))
        assert np.array_equal(volume.data[0], deep)
    real = RANDOM.normal(size=(7, 11)).astype(np.float32)
    assert np.array_equal(read_scan(save(tmp_path / "f.tif", real)).data[0], real)


def test_exif_orientation_is_honoured(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    volume = read_scan(save(tmp_path / "a.png", GREY, exif=exif))
    assert np.array_equal(volume.data[0], np.rot90(GREY, -1))
    for code, turned in ((3, GREY[::-1, ::-1]), (6, np.rot90(GREY, -1)), (8, np.rot90(GREY))):
        tifffile.imwrite(tmp_path / "b.tif", GREY, extratags=[(274, "H", 1, code, False)], metadata=None)
        assert np.array_equal(read_scan(tmp_path / "b.tif").data[0], turned), code


@pytest.mark.parametrize("compression", ["tiff_lzw", "tiff_adobe_deflate", "packbits", None])
def test_compressed_tiff(tmp_path: Path, compression: str | None) -> None:
    options = {"compression": compression} if compression else {}
    assert np.array_equal(read_scan(save(tmp_path / "a.tif", COLOUR, **options)).data[0], COLOUR)


def test_tiff_pages_are_slices_and_channels_are_frames(tmp_path: Path) -> None:
    pages = RANDOM.integers(0, 255, (5, 7, 11)).astype(np.uint8)
    tifffile.imwrite(tmp_path / "a.tif", pages, photometric="minisblack")
    volume = read_scan(tmp_path / "a.tif")
    assert np.array_equal(volume.data, pages) and not volume.has_spacing and not volume.grid.squeeze
    both = RANDOM.integers(0, 255, (5, 2, 7, 11)).astype(np.uint8)
    tifffile.imwrite(tmp_path / "b.tif", both, imagej=True, metadata={"axes": "ZCYX"})
    assert "2 frames" in read_scan(tmp_path / "b.tif").warnings[0]
    assert np.array_equal(read_scan(tmp_path / "b.tif", frame=1).data, both[:, 1])
    planar = RANDOM.integers(0, 255, (3, 7, 11)).astype(np.uint8)
    tifffile.imwrite(tmp_path / "c.tif", planar, photometric="rgb", planarconfig="separate")
    assert np.array_equal(read_scan(tmp_path / "c.tif").data[0], np.moveaxis(planar, 0, -1))
    tifffile.imwrite(tmp_path / "d.tif", 255 - GREY, photometric="miniswhite")
    assert np.array_equal(read_scan(tmp_path / "d.tif").data[0], GREY)
    tifffile.imwrite(tmp_path / "e.tif", COLOUR.astype(np.uint16) << 8, photometric="rgb")
    assert np.array_equal(read_scan(tmp_path / "e.tif").data[0], COLOUR)


def test_a_mask_of_a_stack(tmp_path: Path) -> None:
    pages = RANDOM.integers(0, 2, (5, 7, 11)).astype(np.uint8)
    tifffile.imwrite(tmp_path / "a.tif", pages, photometric="minisblack")
    volume = read_scan(tmp_path / "a.tif")
    assert np.array_equal(read_mask(tmp_path / "a.tif", volume), pages > 0)
    tifffile.imwrite(tmp_path / "b.tif", pages[:4], photometric="minisblack")
    with pytest.raises(GridError):
        read_mask(tmp_path / "b.tif", volume)


def test_masks_of_pictures(tmp_path: Path) -> None:
    volume = read_scan(save(tmp_path / "scan.png", COLOUR))
    labels = (GREY % 4).astype(np.uint8)
    assert np.array_equal(read_mask(save(tmp_path / "a.png", labels), volume, 2)[0], labels == 2)
    assert np.array_equal(read_mask(save(tmp_path / "a.png", labels), volume)[0], labels > 0)
    alpha = np.dstack([labels, labels * 0, labels * 0, np.full_like(labels, 255)])
    assert np.array_equal(read_mask(save(tmp_path / "b.png", alpha), volume)[0], labels > 0)
    palette = Image.fromarray(labels)
    palette.putpalette([0, 0, 0, 255, 0, 0, 0, 255, 0, 0, 0, 255])
    palette.save(tmp_path / "c.png")
    assert np.array_equal(read_mask(tmp_path / "c.png", volume, 3)[0], labels == 3)
    assert np.array_equal(read_mask(tmp_path / "c.png", volume)[0], labels > 0)
    big = np.zeros((7, 11), np.uint8)
    big[2:5, 3:8] = 255
    mask = read_mask(save(tmp_path / "d.jpg", big, quality=60), volume)
    assert np.array_equal(mask[0], big > 0)
    with pytest.raises(ScanError, match="JPEG"):
        read_mask(tmp_path / "d.jpg", volume, 2)
    with pytest.raises(ScanError, match="colour"):
        read_mask(save(tmp_path / "e.png", COLOUR), volume, 2)


def test_a_mask_of_another_shape(tmp_path: Path) -> None:
    volume = read_scan(save(tmp_path / "scan.png", COLOUR))
    with pytest.raises(GridError) as caught:
        read_mask(save(tmp_path / "mask.png", GREY.T.copy()), volume)
    text = str(caught.value)
    assert "mask.png" in text and "scan" in text and "(1, 11, 7)" in text and "(1, 7, 11)" in text


@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.tif", "a.bmp"])
def test_broken_pictures(tmp_path: Path, name: str, capfd: pytest.CaptureFixture[str]) -> None:
    path = save(tmp_path / name, np.asarray(RANDOM.integers(0, 255, (64, 64, 3)), np.uint8))
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    with pytest.raises(TruncatedError, match=name):
        read_scan(path)
    path.write_bytes(b"hello " * 30)
    with pytest.raises(NotAnImageError, match=name):
        read_scan(path)
    path.write_bytes(b"")
    with pytest.raises(TruncatedError, match="empty"):
        read_scan(path)
    assert capfd.readouterr().err == ""


def test_pictures_too_large_to_unpack(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 20)
    with pytest.raises(ScanError, match="larger"):
        read_scan(save(tmp_path / "a.png", GREY))


def test_a_picture_under_another_name(tmp_path: Path) -> None:
    save(tmp_path / "a.png", GREY)
    (tmp_path / "a.png").rename(tmp_path / "a.jpg")
    assert np.array_equal(read_scan(tmp_path / "a.jpg").data[0], GREY)
