"""The window on a real CT and a real MR, where they are at hand."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("napari", reason="the extra gui is not installed")
pytest.importorskip("pytestqt", reason="pytest-qt is not installed")
if sys.platform.startswith("linux") and not os.environ.get("DISPLAY"):
    pytest.skip("no screen: run under xvfb-run", allow_module_level=True)

from qtpy.QtCore import Qt

from napari_ibisagent.core.episode import Author, Outcome
from napari_ibisagent.io.read import read_scan
from napari_ibisagent.ui.backends import Backends

ROOT = Path(os.environ.get("IBISAGENT_TEST_DATA") or Path(__file__).resolve().parents[3] / "shared" / "data")
CT = ROOT / "ct_abdomen" / "totalseg_example_ct"
MR = ROOT / "mr_dicom" / "breast_06" / "series"

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning"),
    pytest.mark.skipif(
        not CT.is_dir() or not MR.is_dir(), reason=f"no sample data at {ROOT} (set IBISAGENT_TEST_DATA)"
    ),
]
LIVER = 5


def opened_file(opened, path):
    window = opened(known=Backends(), scan=False)
    window.viewer.open(str(path), plugin="napari-ibisagent")
    window.until(lambda: window.desk is not None and window.desk.ready, 20_000)
    window.viewer.reset_view()
    window.qtbot.wait(50)
    return window


def test_the_liver_of_a_real_ct(opened):
    window = opened_file(opened, CT / "image.nii.gz")
    window.press("run")
    window.ask("segment the liver")
    window.until(lambda: window.episode is not None and window.episode.outcome is not None, 60_000)
    window.rests()
    assert window.episode.outcome is Outcome.DONE, window.texts()
    truth = read_scan(CT / "labels.nii.gz").data[window.episode.index] == LIVER
    mask = window.drawn()
    assert 2 * np.count_nonzero(mask & truth) / (mask.sum() + truth.sum()) >= 0.85
    assert np.nonzero(mask)[1].mean() < mask.shape[1] / 2  # the patient's right is on the left of the picture
    assert window.desk.layers.place()[1] == window.episode.index
    assert "Check this" not in window.texts()
    window.key(Qt.Key.Key_M)
    assert [row.name for row in window.store.session.objects] == ["liver"]


def test_a_real_mr_is_honestly_not_known_and_outlined_by_hand(opened):
    window = opened_file(opened, MR)
    window.ask("segment the liver")
    window.until(lambda: window.episode is not None and window.episode.outcome is not None, 60_000)
    window.rests()
    assert window.episode.outcome is Outcome.NOT_FOUND and window.steps == ()
    assert "Not found" in window.texts() and len(window.episode.reason) > 20
    window.key(Qt.Key.Key_P)
    volume = window.desk.scan.volume
    row, column = np.unravel_index(int(np.argmax(volume.data[volume.shape[0] // 2])), volume.shape[1:])
    window.viewer.dims.set_point(0, window.image.data_to_world((volume.shape[0] // 2, 0, 0))[0])
    window.click((column + 0.5) / volume.shape[2], (row + 0.5) / volume.shape[1])
    window.until(lambda: len(window.steps) == 1, 20_000)
    window.rests()
    assert window.steps[0].author is Author.HUMAN
    assert window.drawn()[row, column] and (window.drawn() == window.true_mask()).all()
    window.key(Qt.Key.Key_S)
    window.drag((0.45, 0.4), (0.55, 0.4))
    window.until(lambda: len(window.steps) == 2)
    window.rests()
    assert window.drawn().sum() > 0 and window.steps[1].actions == ()
    window.key(Qt.Key.Key_M)
    assert len(window.store.session.objects) == 1 and window.layer("labels").data.any()
