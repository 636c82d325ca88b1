"""The whole volume in a real window: asked for, carried, watched, cancelled, looked through, corrected, kept."""

from __future__ import annotations

import os
import sys
import time
from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("napari", reason="the extra gui is not installed")
pytest.importorskip("pytestqt", reason="pytest-qt is not installed")
if sys.platform.startswith("linux") and not os.environ.get("DISPLAY"):
    pytest.skip("no screen: run under xvfb-run", allow_module_level=True)

from qtpy.QtCore import Qt, QTimer
from window import CLICKS, CONTROL, LEFT, PLACES, STOP, Dabber, Teller, add_scan, click_at, dabbed, little_scan

from napari_ibisagent.core.carrying import End, Extent
from napari_ibisagent.core.episode import Outcome
from napari_ibisagent.core.session import labels_of
from napari_ibisagent.core.view import view_of

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")

KEY = Qt.Key
FIRST, LAST, SLICE, GAP = 2, 9, 6, 4
OTHERS = [n for n in range(FIRST, LAST + 1) if n != SLICE]


class Seer(Teller):
    """A teller that sees a disc from slice 2 to 9, but not on slice 4; it clicks into it once."""

    name = "seer"

    def __init__(self, pause=0.0):
        super().__init__(click_at(*PLACES[0]), STOP, pause=pause, slice_=SLICE)

    def evidence(self, volume, prompt, plane, index):
        shape = view_of(volume, plane, index).shape
        seen = FIRST <= index <= LAST and index != GAP
        return dabbed(shape, disc()) if seen else np.zeros(shape, bool)


def disc():
    from napari_ibisagent.core.actions import Click

    return (Click(*PLACES[0], True),)


def running(opened, *args, **options):
    window = opened(*args, **options)
    window.press("run")
    return window


def over(window):
    window.until(lambda: window.episode is not None and window.episode.carrying is not None)
    window.until(lambda: window.episode.carrying.end is not None and not window.desk.running)
    window.shown()
    return window.episode.carrying


def done(window):
    window.until(lambda: window.episode is not None and window.episode.outcome is Outcome.DONE)
    window.rests()


def button(window, card, words):
    """A click on a button of a card."""
    found = [b for b in window.card(card)._row.buttons if words in b.text()]
    assert found, (words, [b.text() for b in window.card(card)._row.buttons])
    window.qtbot.mouseClick(found[0], LEFT)
    window.shown()


def drawn_slices(window, key="mask"):
    return np.flatnonzero(window.layer(key).data.any(axis=(1, 2))).tolist()


def all_slices(window):
    """The masks of all slices as the session has them, (Z, Y, X)."""
    from napari_ibisagent.agent.carry import whole_mask

    return whole_mask(window.episode, window.desk.scan.volume)


def test_the_button_on_a_finished_slice_carries_it_through_the_volume(opened):
    window = running(opened, Seer())
    window.ask("the thing")
    done(window)
    assert drawn_slices(window) == [SLICE] and window.episode.extent is Extent.SLICE
    button(window, "0-end", "Carry through the volume")
    carrying = over(window)
    assert carrying.end is End.COMPLETE and sorted(done.index for done in carrying.slices) == OTHERS
    np.testing.assert_array_equal(window.layer("mask").data != 0, all_slices(window))
    texts = window.texts()
    for words in ("Whole volume", "axial slices 2 to 9", "8 slices", "Confidence 0.", "Check slice 4.", "guards each"):
        assert words in texts, texts
    window.key(KEY.Key_M)
    assert drawn_slices(window, "labels") == [FIRST, *OTHERS[1:4], SLICE, *OTHERS[4:]] and drawn_slices(window) == []
    assert len(window.store.session.objects) == 1 and "kept as the thing (1)" in window.texts()
    window.key(KEY.Key_Z, CONTROL)  # the object
    assert window.store.session.objects == () and drawn_slices(window) == list(range(FIRST, LAST + 1))
    window.key(KEY.Key_Z, CONTROL)  # all slices at once
    assert window.episode.carrying is None and drawn_slices(window) == [SLICE]
    window.key(KEY.Key_Z, CONTROL | Qt.KeyboardModifier.ShiftModifier)
    assert drawn_slices(window) == list(range(FIRST, LAST + 1))


def test_the_choice_beside_the_composer_asks_for_the_volume(opened):
    window = running(opened, Seer())
    window.press("whole")
    assert window.widget.buttons["whole"].isChecked()
    window.ask("the thing")
    over(window)
    assert window.episode.extent is Extent.VOLUME and "then the whole volume" in window.texts()
    window.press("whole")
    window.ask("another thing")
    done(window)
    assert (window.episode.extent, window.episode.carrying) == (Extent.SLICE, None)


def test_words_in_the_sentence_ask_for_the_volume(opened):
    window = running(opened, Seer())
    window.ask("the thing in all slices")
    over(window)
    assert (window.episode.prompt, window.episode.extent) == ("the thing", Extent.VOLUME)
    window.choose("0", "Ask again")
    assert window.widget.composer.toPlainText() == "the thing in the whole volume"


def test_nothing_is_carried_before_the_person_has_let_the_click_through(opened):
    window = opened(Seer())
    window.press("whole")
    window.ask("the thing")
    window.waits()
    assert window.episode.carrying is None and window.tool.asked == 0
    window.key(KEY.Key_A)
    assert over(window).end is End.COMPLETE


def test_it_can_be_watched_and_cancelled_and_the_window_stays_alive(opened):
    window = running(opened, Seer(), Dabber(pause=0.15))
    window.press("whole")
    beats = []
    timer = QTimer()
    timer.timeout.connect(lambda: beats.append(time.monotonic()))
    window.ask("the thing")
    window.until(lambda: window.episode is not None and window.episode.under_way)
    timer.start(10)
    window.until(lambda: len(window.episode.carrying.slices) >= 3)
    window.shown()
    assert "slice 3 of at most 7" in window.widget.status.text() or "slice 4 of" in window.widget.status.text()
    assert window.widget.progress.isVisible() and window.widget.progress.maximum() == 7
    assert window.widget.progress.value() >= 3 and "Carrying through the volume" in window.texts()
    so_far = len(window.episode.carrying.slices)
    button(window, "0-through", "Cancel")
    timer.stop()
    carrying = window.episode.carrying
    assert carrying.end is End.CANCELLED and so_far <= len(carrying.slices) <= so_far + 1 and not window.desk.running
    assert max(np.diff(beats)) < 0.3
    window.qtbot.wait(400)  # what the worker still does is heard no more
    assert window.episode.carrying == carrying
    assert "Stopped in the volume" in window.texts() and "were done and kept" in window.texts()
    assert len(drawn_slices(window)) == len(carrying.slices) + 1
    window.key(KEY.Key_M)
    assert len(drawn_slices(window, "labels")) == len(carrying.slices) + 1


def test_doubtful_slices_are_shown_by_a_button_each(opened):
    window = running(opened, Seer())
    window.ask("the thing in 3D")
    over(window)
    assert window.desk.layers.place()[1] == SLICE
    button(window, "0-through", f"Go to {GAP}")
    assert window.desk.layers.place()[1] == GAP
    assert f"Go to {GAP}" in window.entries("0-through")
    window.widget.conversation.intent.emit("show", window.desk.cards()[-1])
    assert window.desk.layers.place()[1] == SLICE


@pytest.mark.parametrize("kept_before", [False, True])
def test_a_stroke_on_a_carried_slice_corrects_that_slice_of_the_object(opened, kept_before):
    window = running(opened, Seer())
    window.ask("the thing in the whole volume")
    over(window)
    before = all_slices(window)
    if kept_before:
        window.key(KEY.Key_M)
    window.viewer.dims.set_point(0, window.viewer.dims.point[0] + 4.0 * (GAP - SLICE))
    assert window.desk.layers.place()[1] == GAP
    window.key(KEY.Key_S)
    window.drag((0.7, 0.8), (0.9, 0.8))
    window.until(lambda: len(window.store.session.episodes) == 2 and len(window.steps) == 1)
    window.rests()
    (row,) = window.store.session.objects
    assert window.episode.index == GAP and window.episode.prompt == row.name == "the thing"
    assert "so that you can correct slice 4" in window.texts()
    labels = labels_of(window.store.session, window.desk.scan.volume.shape)
    np.testing.assert_array_equal(labels == 1, before)  # nothing of the others was lost
    corrected = window.true_mask()
    height, width = corrected.shape
    assert corrected[int(0.8 * height), int(0.7 * width) : int(0.9 * width)].all()
    if not kept_before:
        assert corrected[before[GAP]].all()  # the stroke was added to what was carried there
    window.key(KEY.Key_M)
    labels = labels_of(window.store.session, window.desk.scan.volume.shape)
    np.testing.assert_array_equal(labels[GAP] == 1, corrected)
    before[GAP] = corrected
    np.testing.assert_array_equal(labels == 1, before)


def test_a_click_on_a_carried_slice_corrects_it_too(opened):
    window = running(opened, Seer())
    window.ask("the thing in the whole volume")
    over(window)
    before = all_slices(window)
    window.desk.layers.go_to(window.episode.plane, 8)
    window.key(KEY.Key_P)
    window.click(0.7, 0.8)
    window.until(lambda: len(window.store.session.episodes) == 2 and len(window.steps) == 1)
    window.rests()
    assert window.episode.index == 8 and window.true_mask()[before[8]].all()
    assert np.count_nonzero(window.true_mask()) > np.count_nonzero(before[8])


def test_another_mask_on_the_key_slice_takes_the_carried_ones_away_until_undo(opened):
    window = running(opened, Seer())
    window.ask("the thing in the whole volume")
    over(window)
    window.key(KEY.Key_S)
    window.drag((0.7, 0.8), (0.9, 0.8))
    window.until(lambda: len(window.steps) == 2)
    window.rests()
    assert window.episode.carrying is None and drawn_slices(window) == [SLICE]
    window.key(KEY.Key_Z, CONTROL)
    assert drawn_slices(window) == list(range(FIRST, LAST + 1))
    np.testing.assert_array_equal(window.layer("mask").data != 0, all_slices(window))


def test_undo_in_the_middle_stops_it_and_redo_brings_the_slices_back(opened):
    window = running(opened, Seer(), Dabber(pause=0.1))
    window.ask("the thing in the whole volume")
    window.until(lambda: window.episode is not None and window.episode.carrying is not None)
    window.until(lambda: len(window.episode.carrying.slices) >= 2)
    window.key(KEY.Key_Z, CONTROL)
    assert not window.desk.running and window.episode.carrying is None
    window.key(KEY.Key_Z, CONTROL | Qt.KeyboardModifier.ShiftModifier)
    assert len(window.episode.carrying.slices) >= 2 and window.episode.carrying.end is End.CANCELLED


def test_a_session_that_ended_in_the_middle_comes_back_with_its_slices(opened):
    window = running(opened, Seer(), Dabber(pause=0.1))
    window.ask("the thing in the whole volume")
    window.until(lambda: window.episode is not None and window.episode.carrying is not None)
    window.until(lambda: len(window.episode.carrying.slices) >= 2)
    window.remove(window.image)
    window.qtbot.wait(300)
    from napari_ibisagent.ui.contributions import image_layer

    data, attributes, _ = image_layer(little_scan(), None)
    window.viewer.add_image(data, **attributes)
    window.until(lambda: "Resume?" in window.texts())
    window.qtbot.mouseClick(window.card("question")._row.buttons[0], LEFT)
    window.ready()
    carrying = window.episode.carrying
    assert carrying.end is End.CANCELLED and len(carrying.slices) >= 2 and not window.desk.running
    assert "was ended in the middle" in window.texts()
    window.key(KEY.Key_M)
    assert len(drawn_slices(window, "labels")) == len(carrying.slices) + 1


def test_without_evidence_a_mask_of_ones_own_is_carried(opened):
    window = opened(Teller(*CLICKS, STOP))
    window.key(KEY.Key_S)
    window.drag((0.3, 0.3), (0.5, 0.3))
    window.until(lambda: len(window.steps) == 1)
    button(window, "0-end", "Carry through the volume")
    carrying = over(window)
    assert "no evidence" in carrying.note and carrying.slices
    assert window.policy.asked == 0
    window.key(KEY.Key_M)
    assert len(drawn_slices(window, "labels")) == len(carrying.slices) + 1


def test_two_scans_do_not_get_into_each_others_way(opened):
    window = running(opened, Seer(), Dabber(pause=0.05))
    window.ask("the thing in the whole volume")
    window.until(lambda: window.episode is not None and window.episode.carrying is not None)
    first = window.desk
    second = little_scan("second")
    add_scan(window, replace(second, data=second.data + 1))  # the same voxels would be an earlier session's
    assert window.desk is not first
    window.until(lambda: first.episode.carrying.end is not None)
    window.qtbot.wait(100)
    assert len(first.episode.carrying.slices) == len(OTHERS) and window.store.session.episodes == ()
