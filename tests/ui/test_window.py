"""The dock in a real napari window: the gate, undo, cancel, layers. Skipped without napari or a screen."""

from __future__ import annotations

import os
import sys

import numpy as np
import pytest

pytest.importorskip("napari", reason="the extra gui is not installed")
pytest.importorskip("pytestqt", reason="pytest-qt is not installed")
if sys.platform.startswith("linux") and not os.environ.get("DISPLAY"):
    pytest.skip("no screen: run under xvfb-run", allow_module_level=True)

from qtpy.QtCore import Qt

from napari_ibisagent.core.episode import Author, Outcome, Verdict
from napari_ibisagent.core.view import view_of
from napari_ibisagent.evaluation.phantom import make_phantom
from napari_ibisagent.ui.contributions import image_layer
from napari_ibisagent.ui.widget import IbisWidget

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")


@pytest.fixture(scope="module")
def phantom():
    return make_phantom(0, (6.0, 3.0, 3.0))


@pytest.fixture
def window(make_napari_viewer, phantom, tmp_path):
    viewer = make_napari_viewer(show=True)
    widget = IbisWidget(viewer)
    viewer.window.add_dock_widget(widget, name="IBIS Agent", area="right")
    data, attributes, _ = image_layer(phantom.volume, tmp_path / "phantom.nii.gz")
    viewer.add_image(data, **attributes)
    yield viewer, widget
    widget.close_session()


def ask(widget, qtbot, text):
    qtbot.keyClicks(widget.composer, text)
    qtbot.keyClick(widget.composer, Qt.Key.Key_Return)


def proposed(widget, qtbot):
    qtbot.waitUntil(widget.buttons["accept"].isEnabled, timeout=20_000)
    return widget.episode


def finished(widget, qtbot):
    qtbot.waitUntil(lambda: not widget.running, timeout=30_000)
    return widget.episode


def test_in_review_nothing_is_done_before_it_is_accepted(window, qtbot):
    viewer, widget = window
    ask(widget, qtbot, "segment the liver")
    episode = proposed(widget, qtbot)
    assert episode.steps == ()
    assert not viewer.layers["working mask"].data.any()
    clicks = viewer.layers["clicks"]
    assert len(clicks.data) == 1
    assert clicks.face_color[0][3] == 0  # hollow: only proposed
    qtbot.keyClick(viewer.window._qt_viewer.canvas.native, Qt.Key.Key_A)
    qtbot.waitUntil(lambda: len(widget.episode.steps) == 1, timeout=10_000)
    assert widget.episode.steps[0].verdict is Verdict.ACCEPTED
    assert viewer.layers["working mask"].data.any()


def test_the_click_and_the_mask_lie_where_the_view_says(window, qtbot, phantom):
    viewer, widget = window
    widget.mode.setCurrentIndex(1)
    ask(widget, qtbot, "segment the left kidney")
    episode = finished(widget, qtbot)
    assert episode.outcome is Outcome.DONE
    view = view_of(phantom.volume, episode.plane, episode.index)
    working = viewer.layers["working mask"].data
    assert np.array_equal(np.nonzero(working.any(axis=(1, 2)))[0], [episode.index])
    assert np.array_equal(working[episode.index].astype(bool), view.to_native(episode.mask_array()))
    z, y, x = np.rint(viewer.layers["clicks"].data[0]).astype(int)
    assert working[z, y, x]
    assert phantom.mask("left kidney")[z, y, x]
    assert viewer.dims.current_step[0] == episode.index


def test_flip_and_reject_are_told_to_the_agent(window, qtbot):
    _, widget = window
    ask(widget, qtbot, "segment the spleen")
    proposed(widget, qtbot)
    widget.composer.setPlainText("too low")
    widget.buttons["refuse"].click()
    qtbot.waitUntil(lambda: len(widget.episode.steps) == 1, timeout=10_000)
    assert widget.episode.steps[0].reason == "too low"
    proposed(widget, qtbot)
    assert "too low" in widget.episode.pending.turn.thought
    widget.buttons["flip"].click()
    qtbot.waitUntil(lambda: len(widget.episode.steps) == 2, timeout=10_000)
    assert widget.episode.steps[1].author is Author.HUMAN
    widget.buttons["cancel"].click()
    assert finished(widget, qtbot).outcome is Outcome.CANCELLED


def test_keep_undo_redo(window, qtbot):
    viewer, widget = window
    widget.mode.setCurrentIndex(1)
    ask(widget, qtbot, "segment the liver")
    finished(widget, qtbot)
    mask = viewer.layers["working mask"].data.copy()
    widget.buttons["keep"].click()
    labels = viewer.layers["phantom-0 labels"]
    assert np.array_equal(labels.data > 0, mask > 0)
    assert widget.objects.item(0, 1).text() == "liver"
    widget.buttons["undo"].click()
    assert not labels.data.any()
    assert widget.objects.rowCount() == 0
    widget.buttons["redo"].click()
    assert np.array_equal(labels.data > 0, mask > 0)


def test_a_deleted_layer_comes_back_and_nothing_is_lost(window, qtbot):
    viewer, widget = window
    widget.mode.setCurrentIndex(1)
    ask(widget, qtbot, "segment the liver")
    finished(widget, qtbot)
    widget.buttons["keep"].click()
    for name in ("clicks", "working mask", "phantom-0 labels"):
        del viewer.layers[name]
    ask(widget, qtbot, "segment the spleen")
    finished(widget, qtbot)
    widget.buttons["keep"].click()
    assert set(np.unique(viewer.layers["phantom-0 labels"].data)) == {0, 1, 2}


def test_absent_is_said_and_letters_in_the_composer_are_letters(window, qtbot):
    viewer, widget = window
    ask(widget, qtbot, "segment the urinary bladder, at once")
    finished(widget, qtbot)
    ask(widget, qtbot, "segment the urinary bladder")
    assert finished(widget, qtbot).outcome is Outcome.NOT_FOUND
    assert "pelvis" in widget.conversation.texts()[-1]
    qtbot.keyClicks(widget.composer, "axtc")
    assert widget.composer.toPlainText() == "axtc"
    assert viewer.dims.range[0].start == 0
