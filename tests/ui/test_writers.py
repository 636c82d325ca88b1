"""Labels layers to files on the scan's own grid, the way napari saves them."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

pytest.importorskip("napari", reason="the extra gui is not installed")
pytest.importorskip("pytestqt", reason="pytest-qt is not installed")
if sys.platform.startswith("linux") and not os.environ.get("DISPLAY"):
    pytest.skip("no screen: run under xvfb-run", allow_module_level=True)

import npe2
from napari.components import ViewerModel

from napari_ibisagent.core.errors import GridError, OutputError
from napari_ibisagent.core.volume import Volume
from napari_ibisagent.io.read import read_mask, read_scan
from napari_ibisagent.ui.contributions import read_layers
from napari_ibisagent.ui.scan import NAMES, SCAN, Scan
from napari_ibisagent.ui.writers import matching_scan, write_labels_layer

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")

SHAPE = (7, 9, 11)  # (i, j, k) of the file


@pytest.fixture(scope="module", autouse=True)
def plugins():
    """The installed plugins, as a window finds them when it starts."""
    npe2.PluginManager.instance().discover()


def oblique() -> np.ndarray:
    """An affine that is anisotropic, turned by 20 degrees about one axis, with flipped and swapped axes."""
    c, s = np.cos(np.radians(20)), np.sin(np.radians(20))
    turn = np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]])
    swapped = np.array([[0, 0, -1], [1, 0, 0], [0, 1, 0]])
    affine = np.eye(4)
    affine[:3, :3] = turn @ swapped @ np.diag([0.7, 1.3, 3.0])
    affine[:3, 3] = (-31, 12, 405)
    return affine


@pytest.fixture
def scan_path(tmp_path) -> Path:
    data = np.arange(np.prod(SHAPE), dtype=np.int16).reshape(SHAPE)
    path = tmp_path / "scan.nii.gz"
    nib.save(nib.Nifti1Image(data, oblique()), path)
    return path


@pytest.fixture
def model(scan_path) -> ViewerModel:
    """A viewer's layers without its window, holding the scan and labels that are unlike in every direction."""
    viewer = ViewerModel()
    ((data, attributes, _),) = read_layers(str(scan_path))
    viewer.add_image(data, **attributes)
    labels = np.zeros(data.shape, np.int32)
    labels[1, 2:4, 3:8] = 1
    labels[5:, 1, 0] = 300
    metadata = {**attributes["metadata"], NAMES: {1: "liver", 300: "vein"}}
    viewer.add_labels(labels, name="organs", scale=attributes["scale"], metadata=metadata)
    return viewer


@pytest.mark.parametrize("ending", [".nii.gz", ".nii", ".nrrd", ".seg.nrrd", ".mha"])
def test_layer_save_writes_the_scans_own_grid(model, scan_path, tmp_path, ending):
    target = tmp_path / f"out{ending}"
    layer = model.layers["organs"]
    assert layer.save(str(target)) == [str(target)]
    scan = read_scan(scan_path)
    for value in (1, 300):
        np.testing.assert_array_equal(read_mask(target, scan, value), layer.data == value)
    if ending.startswith(".nii"):
        written, original = nib.load(target), nib.load(scan_path)
        assert written.shape == original.shape == SHAPE
        np.testing.assert_array_equal(written.affine, original.affine)
        np.testing.assert_array_equal(np.asanyarray(written.dataobj), scan.to_source(layer.data))


def test_layers_save_takes_the_same_way(model, tmp_path):
    model.layers.selection = {model.layers["organs"]}
    target = tmp_path / "out.nii.gz"
    assert model.layers.save(str(target), selected=True) == [str(target)]
    assert nib.load(target).shape == SHAPE


def test_names_go_into_nrrd(model, tmp_path):
    target = tmp_path / "out.seg.nrrd"
    model.layers["organs"].save(str(target))
    header = target.read_bytes()[:2000]
    assert b"Segment0_Name:=liver" in header and b"Segment1_Name:=vein" in header


def test_pictures_stay_with_naparis_own_writer(model, tmp_path):
    import tifffile

    target = tmp_path / "out.tif"
    model.layers["organs"].save(str(target))
    np.testing.assert_array_equal(tifffile.imread(target), model.layers["organs"].data)


def test_the_scan_is_never_overwritten(model, scan_path):
    before = scan_path.read_bytes()
    with pytest.raises(OutputError, match="original file"):
        model.layers["organs"].save(str(scan_path))
    assert scan_path.read_bytes() == before


def test_an_earlier_file_is_kept_and_that_is_said(model, tmp_path):
    from napari.utils.notifications import notification_manager

    target = tmp_path / "out.nii.gz"
    target.write_bytes(b"earlier")
    model.layers["organs"].save(str(target))
    (kept,) = [path for path in tmp_path.iterdir() if path.is_file() and path.read_bytes() == b"earlier"]
    assert kept.name in notification_manager.records[-1].message


def test_a_path_without_an_ending_gets_one(model, tmp_path):
    data, meta, _ = model.layers["organs"].as_layer_data_tuple()
    assert write_labels_layer(str(tmp_path / "out"), data, meta) == [str(tmp_path / "out.nii.gz")]


def test_other_shapes_are_refused(model, tmp_path):
    _, meta, _ = model.layers["organs"].as_layer_data_tuple()
    with pytest.raises(GridError):
        write_labels_layer(str(tmp_path / "out.nii.gz"), np.zeros((2, 2, 2), int), meta)


def test_labels_drawn_on_a_flat_picture(tmp_path):
    picture = Volume.from_picture(np.zeros((5, 6), np.uint8))
    drawn = np.zeros((5, 6), np.uint8)
    drawn[1, 4] = 2
    target = tmp_path / "out.nii.gz"
    write_labels_layer(str(target), drawn, {"metadata": {SCAN: Scan(picture)}})
    np.testing.assert_array_equal(read_mask(target, picture, 2), (drawn == 2)[np.newaxis])


def scan(name: str, shape: tuple[int, int, int]) -> Scan:
    return Scan(Volume.from_source(np.zeros(shape, np.int16), np.diag([-1.0, -1, -1, 1]), name=name))


def test_labels_of_a_person_find_the_one_scan_of_their_shape():
    one, other, same = scan("one", (2, 3, 4)), scan("other", (5, 5, 5)), scan("same", (2, 3, 4))
    flat = scan("flat", (3, 4, 1))
    shape = one.volume.shape
    assert matching_scan("mine", shape, [one, other]) is one
    assert matching_scan("mine", shape, [one, Scan(one.volume), other]).volume is one.volume
    assert matching_scan("mine", flat.volume.shape[1:], [one, flat]) is flat
    with pytest.raises(OutputError, match="no open scan"):
        matching_scan("mine", shape, [other])
    with pytest.raises(OutputError, match="one, same"):
        matching_scan("mine", shape, [one, same])


def test_file_save_selected_layers(make_napari_viewer, scan_path, tmp_path, monkeypatch):
    """The menu's own way, with labels that a person added by hand and no metadata."""
    from qtpy.QtWidgets import QFileDialog

    viewer = make_napari_viewer(strict_qt="raise", show=True)
    (image,) = viewer.open(str(scan_path), plugin="napari-ibisagent")
    viewer._new_labels()
    (labels,) = [layer for layer in viewer.layers if layer is not image]
    assert labels.data.shape == image.data.shape
    labels.data[1, 2:4, 3:8] = 1
    viewer.layers.selection = {labels}
    target = tmp_path / "drawn.nii.gz"
    offered = []

    def choose(*_, **options):
        offered.append(options["filter"])
        ours = next(entry for entry in offered[0].split(";;") if "scan's grid" in entry)
        return str(target), ours

    monkeypatch.setattr(QFileDialog, "getSaveFileName", choose)
    viewer.window._qt_viewer._save_layers_dialog(selected=True)
    assert "*.nii.gz *.nii *.nrrd" in offered[0]
    np.testing.assert_array_equal(read_mask(target, read_scan(scan_path), 1), labels.data == 1)
    viewer.layers.remove(image)
    with pytest.raises(OutputError, match="no open scan"):
        labels.save(str(tmp_path / "again.nii.gz"))
