"""What the manifest contributes besides the writer: reader, sample data, settings, and the window with the dock."""

from __future__ import annotations

import os
import socket
import sys
from pathlib import Path

import numpy as np
import pytest

from napari_ibisagent.core.errors import BackendError, IbisError, InputError, ScanError
from napari_ibisagent.core.volume import Volume
from napari_ibisagent.evaluation.phantom import make_phantom
from napari_ibisagent.io.labels import write_volume
from napari_ibisagent.ui import samples
from napari_ibisagent.ui.contributions import contrast_range, get_reader, image_layer
from napari_ibisagent.ui.scan import NAMES, scan_of
from napari_ibisagent.ui.settings import Autosave, Settings, StartMode, read_settings, settings_of

pytest.importorskip("napari", reason="the extra gui is not installed")
import npe2

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")


@pytest.fixture(scope="module")
def manifest():
    return npe2.PluginManifest.from_distribution("napari-ibisagent")


def read(path: Path):
    return get_reader(str(path))(str(path))


def test_every_command_of_the_manifest_exists(manifest):
    assert manifest.name == "napari-ibisagent"
    pytest.importorskip("napari_ibisagent.ui.widget", reason="the dock isn't there yet")
    manifest.validate_imports()


def test_the_dock_is_the_only_widget_and_in_the_segment_menu(manifest):
    (widget,) = manifest.contributions.widgets  # one: napari -w napari-ibisagent needs no name
    (item,) = manifest.contributions.menus["napari/layers/segment"]
    assert widget.command == item.command == "napari-ibisagent.dock"
    assert widget.display_name == "IBIS Agent"


def test_the_readers_patterns_leave_ordinary_pictures_alone(manifest):
    (reader,) = manifest.contributions.readers
    assert reader.accepts_directories
    assert {"*.nii.gz", "*.nrrd", "*.mha", "*.dcm", "*.zip"} <= set(reader.filename_patterns)
    assert not {"*", "*.png", "*.jpg", "*.tif", "*.tiff"} & set(reader.filename_patterns)


def test_the_reader_opens_a_scan(tmp_path):
    made = make_phantom(0, (6.0, 4.0, 4.0))
    path = tmp_path / "ct.nii.gz"
    write_volume(made.volume, path)
    ((data, attributes, kind),) = read(path)
    assert kind == "image"
    np.testing.assert_array_equal(data, made.volume.data)
    assert attributes["scale"] == pytest.approx((6.0, 4.0, 4.0))
    assert attributes["contrast_limits"] == (-160, 240)
    scan = scan_of(attributes["metadata"])
    assert scan.path == path and scan.volume.data is data
    assert get_reader([str(path)]) is None


def test_what_is_wrong_with_a_file_is_said_in_napari(tmp_path):
    from napari.utils.notifications import notification_manager

    (tmp_path / "no.nii.gz").write_bytes(b"")
    with pytest.raises(ScanError) as caught:
        read(tmp_path / "no.nii.gz")
    assert notification_manager.records[-1].message == str(caught.value)
    assert "empty" in str(caught.value)


def test_several_series_name_the_command_that_opens_one(tmp_path, monkeypatch):
    from napari_ibisagent.core.errors import SeriesChoiceError

    def several(path):
        raise SeriesChoiceError(path, [("2", "axial"), ("3", "coronal")])

    folder = tmp_path / "two of them"
    monkeypatch.setattr("napari_ibisagent.io.read.read_scan", several)
    with pytest.raises(ScanError, match=r"2: axial; 3: coronal.*ibisagent gui '.*two of them' --series 2"):
        read(folder)


def volume_of(data: np.ndarray, modality: str = "") -> Volume:
    return Volume.from_source(data, np.diag([-1.0, -1, -1, 1]), modality=modality)


class OneSliceOnly(np.ndarray):
    """An array that may be looked at one slice at a time only."""

    def min(self, *args, **kwargs):
        assert self.ndim < 3, "a pass over the whole volume"
        return super().min(*args, **kwargs)

    def max(self, *args, **kwargs):
        assert self.ndim < 3, "a pass over the whole volume"
        return super().max(*args, **kwargs)


@pytest.mark.parametrize(
    ("data", "modality", "limits", "span"),
    [
        (np.zeros((4, 4, 4), np.int16), "CT", (-160, 240), (-1024, 3071)),
        (np.full((4, 4, 4), 9, np.uint8), "", (0, 255), (0, 255)),
        (np.linspace(0, 1, 64, dtype=np.float32).reshape(4, 4, 4), "MR", None, None),
        (np.full((4, 4, 4), np.nan, np.float32), "MR", (0, 1), (0, 1)),
    ],
)
def test_contrast_comes_from_the_middle_slice(data, modality, limits, span):
    volume = volume_of(data.view(OneSliceOnly), modality)
    _, attributes, _ = image_layer(volume, None)
    low, high = attributes["contrast_limits"]
    least, most = contrast_range(volume)
    assert least <= low < high <= most
    assert limits is None or (low, high) == limits
    assert span is None or (least, most) == span


def test_napari_makes_no_pass_and_no_copy_of_its_own(monkeypatch):
    from napari.layers import Image
    from napari.layers.image import image as module

    def never(*args, **kwargs):
        raise AssertionError("napari looks for the range itself")

    monkeypatch.setattr(Image, "_calc_data_range", never)
    monkeypatch.setattr(module, "calc_data_range", never, raising=False)
    volume = volume_of(np.zeros((40, 41, 42), np.int16), "CT")
    data, attributes, _ = image_layer(volume, None)
    layer = Image(data, **attributes)
    assert np.shares_memory(layer.data, volume.data)
    layer.contrast_limits_range = contrast_range(volume)
    assert layer.contrast_limits == [-160, 240]
    assert layer.contrast_limits_range == [-1024, 3071]


def test_colour_is_shown_as_colour():
    from napari.layers import Image

    volume = Volume.from_picture(np.zeros((5, 6, 3), np.uint8))
    data, attributes, _ = image_layer(volume, None)
    layer = Image(data, **attributes)
    assert layer.rgb and layer.ndim == 3 and layer.data.shape == (1, 5, 6, 3)


def test_the_phantom_comes_with_its_truth():
    (image, attributes, first), (labels, truth, second) = samples.phantom()
    assert (first, second) == ("image", "labels")
    assert image.shape == labels.shape
    assert attributes["scale"] == truth["scale"] == pytest.approx((3.0, 1.5, 1.5))
    assert scan_of(attributes["metadata"]) is scan_of(truth["metadata"])
    assert scan_of(attributes["metadata"]).path is None
    assert "liver" in truth["metadata"][NAMES].values()


def test_every_sample_opens_without_a_network(manifest, monkeypatch):
    def no_network(*args, **kwargs):
        raise AssertionError("a sample wants the network")

    monkeypatch.setattr(socket.socket, "connect", no_network)
    commands = {command.id: command.python_name for command in manifest.contributions.commands}
    keys = [sample.key for sample in manifest.contributions.sample_data]
    assert keys == ["phantom", "brain_mr", "head_ct", "spine_ct", "retina"]
    for sample in manifest.contributions.sample_data:
        assert commands[sample.command] == f"napari_ibisagent.ui.samples:{sample.key}"
        data, attributes, kind = getattr(samples, sample.key)()[0]
        scan = scan_of(attributes["metadata"])
        assert kind == "image" and scan.volume.data is data and scan.path is None
        assert data.ndim == (4 if sample.key == "retina" else 3)


def test_samples_say_what_they_show():
    (_, attributes, _) = samples.brain_mr()[0]
    volume = scan_of(attributes["metadata"]).volume
    assert volume.modality == "MR" and volume.shape == (24, 96, 128) and attributes["name"] == "brain MR"
    (_, attributes, _) = samples.head_ct()[0]
    assert scan_of(attributes["metadata"]).volume.modality == "CT"


@pytest.mark.parametrize("package", ["nibabel", "no_such_package_1"])
def test_a_missing_sample_ends_with_a_sentence(package):
    with pytest.raises(InputError, match=r"sample .*missing") as caught:
        samples._packaged(package, "data/no.dcm", "nothing")
    assert isinstance(caught.value, IbisError)


@pytest.fixture
def page(npe2pm, plugin_settings, manifest):
    """The plugin's settings as napari makes them of the manifest, in a file of this test."""
    from napari.settings import get_plugin_settings

    npe2pm.register(manifest)
    return get_plugin_settings("napari-ibisagent").ibisagent


def test_the_settings_page_and_the_program_have_the_same_defaults(page):
    assert read_settings() == settings_of({}) == Settings() == settings_of(page.model_dump())
    assert set(page.model_dump()) == set(Settings.__dataclass_fields__)


def test_the_settings_page_offers_what_the_program_knows(manifest):
    properties = manifest.contributions.configurations["ibisagent"].properties
    assert properties["autosave"].enum == list(Autosave)
    assert properties["mode"].enum == list(StartMode)


def test_what_the_user_sets_is_read_and_kept_in_a_file(page):
    from napari.settings import get_plugin_settings

    page.autosave, page.mode, page.steps, page.mask_opacity = "beside the scan", "run", 7, 0.5
    assert read_settings() == Settings(Autosave.BESIDE_SCAN, StartMode.RUN, 7, 0.5)
    assert "steps: 7" in get_plugin_settings("napari-ibisagent").config_path.read_text()
    with pytest.raises(ValueError, match="allowed enum"):
        page.mode = "sideways"


def test_a_plugin_that_is_switched_off_has_the_defaults(npe2pm, plugin_settings):
    assert read_settings() == Settings()


def test_without_napari_the_defaults_hold(monkeypatch):
    monkeypatch.setitem(sys.modules, "napari.settings", None)
    assert read_settings() == Settings()


@pytest.mark.parametrize(
    "values",
    [{"mode": "sideways"}, {"autosave": None}, {"steps": 0}, {"steps": "many"}, {"mask_opacity": 1.5}],
)
def test_a_setting_that_makes_no_sense_is_a_sentence(values):
    (name,) = values
    with pytest.raises(InputError, match=f"The setting {name} is .*preferences"):
        settings_of(values)


needs_screen = pytest.mark.skipif(
    sys.platform.startswith("linux") and not os.environ.get("DISPLAY"), reason="no screen: run under xvfb-run"
)


@needs_screen
def test_a_dock_that_is_switched_off_is_a_sentence(request, monkeypatch):
    from napari_ibisagent.ui.window import PLUGIN, fill_window

    viewer = request.getfixturevalue("make_napari_viewer")(strict_qt="raise")
    monkeypatch.setattr("npe2.PluginManager.iter_manifests", lambda *_, **__: iter(()))
    with pytest.raises(BackendError, match=f"{PLUGIN} is switched off"):
        fill_window(viewer, None, None)


@needs_screen
def test_the_window_has_the_scan_and_one_dock(request):
    dock = pytest.importorskip("napari_ibisagent.ui.widget", reason="the dock isn't there yet")
    from napari_ibisagent.ui.window import PLUGIN, fill_window

    viewer = request.getfixturevalue("make_napari_viewer")(strict_qt="raise", show=True)
    volume = volume_of(np.zeros((4, 5, 6), np.int16), "CT")
    fill_window(viewer, volume, Path("scan.nii"))
    image = next(layer for layer in viewer.layers if scan_of(layer.metadata) is not None)
    assert scan_of(image.metadata).path == Path("scan.nii").absolute()
    assert image.contrast_limits_range == [-1024, 3071]
    main = viewer.window._qt_window
    viewer.window.add_plugin_dock_widget(PLUGIN)  # what napari -w napari-ibisagent and the menus do
    assert len(main.findChildren(dock.IbisWidget)) == 1
