"""The napari manifest, read by npe2 as napari does, without a window."""

from __future__ import annotations

import npe2
import numpy as np
import pytest

from napari_ibisagent.core.errors import ScanError
from napari_ibisagent.evaluation.phantom import make_phantom
from napari_ibisagent.io.labels import write_volume
from napari_ibisagent.ui.contributions import get_reader


def test_the_manifest_is_valid_and_its_commands_exist():
    manifest = npe2.PluginManifest.from_distribution("napari-ibisagent")
    assert manifest.name == "napari-ibisagent"
    manifest.validate_imports()


def test_the_reader_opens_a_scan(tmp_path):
    made = make_phantom(0, (6.0, 4.0, 4.0))
    write_volume(made.volume, tmp_path / "ct.nii.gz")
    ((data, attributes, kind),) = get_reader(str(tmp_path / "ct.nii.gz"))(str(tmp_path / "ct.nii.gz"))
    assert kind == "image"
    np.testing.assert_array_equal(data, made.volume.data)
    assert attributes["scale"] == pytest.approx((6.0, 4.0, 4.0))
    assert attributes["contrast_limits"] == (-160, 240)
    (tmp_path / "no.nii.gz").write_bytes(b"")
    with pytest.raises(ScanError):
        get_reader(str(tmp_path / "no.nii.gz"))(str(tmp_path / "no.nii.gz"))
    assert get_reader([str(tmp_path / "ct.nii.gz")]) is None


def test_the_sample_data_are_the_phantom():
    from napari_ibisagent.ui.contributions import phantom_layers

    (image, _, first), (labels, attributes, second) = phantom_layers()
    assert (first, second) == ("image", "labels")
    assert image.shape == labels.shape
    assert attributes["scale"] == pytest.approx((3.0, 1.5, 1.5))
