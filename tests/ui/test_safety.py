"""What must never happen in the window: an unseen click, a step past the gate, one thing's mask in another's place."""

from __future__ import annotations

import os
import sys
from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("napari", reason="the extra gui is not installed")
pytest.importorskip("pytestqt", reason="pytest-qt is not installed")
if sys.platform.startswith("linux") and not os.environ.get("DISPLAY"):
    pytest.skip("no screen: run under xvfb-run", allow_module_level=True)

from qtpy.QtCore import Qt
from window import CLICKS, CONTROL, LEFT, STOP, Dabber, Teller, add_scan, click_at, little_scan, small_phantom

from napari_ibisagent.core.actions import Click
from napari_ibisagent.core.episode import Author, Outcome, Verdict
from napari_ibisagent.core.protocols import Manner
from napari_ibisagent.core.target import Side, Target
from napari_ibisagent.core.view import Plane, view_of

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")

KEY, NONE = Qt.Key, Qt.KeyboardModifier.NoModifier


def done(window, sentence):
    """Asks, lets the agent run to its end, and goes back to review."""
    window.press("run")
    window.ask(sentence)
    window.until(lambda: window.episode is not None and window.episode.outcome is Outcome.DONE)
    window.rests()
    window.press("review")


def thinking(window):
    window.until(lambda: window.desk.running and window.episode is not None and window.episode.located)


def native(window, episode):
    view = view_of(window.store.volume, episode.plane, episode.index)
    return view.to_native(episode.mask_array())


def test_a_click_that_was_cancelled_lets_no_later_step_pass_the_gate(opened):
    window = opened(Teller(*CLICKS, STOP, pause=0.1), Dabber(pause=0.4))
    window.ask("the thing")
    thinking(window)
    window.desk.act((Click(0.5, 0.5, True),))  # in the middle of the agent's thought: it would go on afterwards
    window.key(KEY.Key_Escape)
    window.policy.pause = 0.0
    window.ask("another thing")
    window.waits()
    window.qtbot.wait(600)
    assert window.steps == () and window.episode.waits


def test_run_keeps_to_the_budget_when_it_is_chosen_in_the_middle(opened):
    window = opened(Teller(*(click_at(0.1 + 0.02 * n, 0.5) for n in range(30)), pause=0.03), Dabber())
    window.widget.steps.setValue(4)
    window.ask("the thing")
    thinking(window)
    window.press("run")
    window.policy.pause = 0.0
    window.until(lambda: len(window.steps) >= 4)
    window.rests()
    assert len(window.steps) == 4


def test_run_releases_no_proposal_of_a_scan_in_the_back(opened):
    window = opened(Teller(*CLICKS, STOP))
    window.ask("the thing")
    window.waits()
    back = window.desk
    add_scan(window, small_phantom().volume)
    assert window.desk is not back
    window.press("run")
    window.qtbot.wait(400)
    assert back.episode.waits and back.episode.steps == ()


def test_what_is_not_seen_is_shown_before_it_is_accepted(opened):
    window = opened(Teller(*CLICKS, STOP))
    window.ask("the thing")
    place = window.waits().index
    window.viewer.dims.set_current_step(0, 0 if place else 1)
    window.key(KEY.Key_A)
    window.qtbot.wait(200)
    assert window.episode.waits and window.steps == ()
    assert window.desk.layers.place() == (Plane.AXIAL, place)
    window.key(KEY.Key_A)
    window.until(lambda: len(window.steps) == 1)
    assert window.steps[0].verdict is Verdict.ACCEPTED


def test_painting_on_an_earlier_step_begins_from_what_is_seen(opened):
    window = opened(Teller(*CLICKS, STOP))
    done(window, "the liver")
    window.policy.turns = (CLICKS[3], STOP)
    done(window, "the kidney")
    liver, kidney = window.store.session.episodes
    card = next(card for card in window.desk.cards() if card.episode == 0 and card.kind == "step" and card.step == 3)
    window.desk.show(card)
    window.shown()
    window.key(KEY.Key_S)
    window.drag((0.5, 0.85), (0.6, 0.85))
    window.rests()
    first, second, third = window.store.session.episodes
    assert (first, second.mask) == (liver, kidney.mask)
    assert third.prompt == "the liver" and third.given == liver.steps[2].mask
    assert third.steps[-1].author is Author.HUMAN and (third.mask_array() & third.given.array()).any()


def test_a_stroke_is_whole_though_a_step_comes_in_between(opened, qtbot):
    window = opened(Teller(*CLICKS, STOP, pause=0.02), Dabber())
    window.press("run")
    window.ask("the thing")
    thinking(window)
    window.desk.layers.brush("paint")
    start, end = window.spot(0.1, 0.9), window.spot(0.9, 0.9)
    qtbot.mouseMove(window.canvas, start)
    qtbot.mousePress(window.canvas, LEFT, NONE, start)
    for part in range(1, 11):
        qtbot.mouseMove(window.canvas, start + (end - start) * part / 20)
    half = window.layer("mask").data[window.episode.index] != 0
    steps = len(window.steps)
    window.until(lambda: len(window.steps) > steps or window.episode.outcome is not None)
    for part in range(11, 21):
        qtbot.mouseMove(window.canvas, start + (end - start) * part / 20)
    qtbot.mouseRelease(window.canvas, LEFT, NONE, end)
    window.until(lambda: any(not step.proposed for step in window.steps))
    painted = next(step for step in window.steps if not step.proposed)
    view = view_of(window.store.volume, window.episode.plane, window.episode.index)
    assert half.any() and not (half & ~view.to_native(painted.mask.array())).any()


def test_a_lasso_is_kept_as_it_is_seen(opened, qtbot):
    window = opened()
    window.key(KEY.Key_L)
    for x, y in ((0.2, 0.2), (0.7, 0.2), (0.7, 0.7)):
        qtbot.mouseMove(window.canvas, window.spot(x, y))
        qtbot.mouseClick(window.canvas, LEFT, NONE, window.spot(x, y))
    qtbot.mouseDClick(window.canvas, LEFT, NONE, window.spot(0.2, 0.7))
    window.until(lambda: window.episode is not None and window.episode.mask is not None)
    window.rests()
    window.qtbot.wait(50)
    drawn = window.layer("mask").data[window.episode.index] != 0
    assert np.count_nonzero(drawn) > 100 and np.array_equal(drawn, native(window, window.episode))


def test_a_lasso_that_was_not_closed_is_dropped(opened, qtbot):
    window = opened()
    window.key(KEY.Key_L)
    for x, y in ((0.2, 0.2), (0.7, 0.2), (0.7, 0.7)):
        qtbot.mouseClick(window.canvas, LEFT, NONE, window.spot(x, y))
    mask = window.layer("mask")
    assert len(mask._overlays["polygon"].points) > 0
    window.viewer.dims.ndisplay = 3
    window.qtbot.wait(50)
    assert len(mask._overlays["polygon"].points) == 0
    window.key(KEY.Key_L)  # there is no slice to paint on
    assert mask.mode == "pan_zoom" and not window.widget.buttons["lasso"].isChecked()
    assert window.store.session.episodes == ()


def test_undo_leaves_nothing_on_the_canvas(opened):
    window = opened()
    window.key(KEY.Key_S)
    window.drag((0.3, 0.3), (0.6, 0.3))
    window.rests()
    assert window.layer("mask").data.any()
    window.key(KEY.Key_Z, CONTROL)
    window.qtbot.wait(100)
    assert window.store.session.episodes == () and not window.layer("mask").data.any()


def test_the_earlier_mask_is_safe_while_the_slice_is_looked_for(opened):
    window = opened(Teller(*CLICKS, STOP))
    done(window, "the thing")
    before = window.store.session.episodes[0]
    window.policy.locate_pause = 0.4
    window.ask("another thing")
    window.key(KEY.Key_R)
    window.key(KEY.Key_X)
    window.qtbot.wait(50)
    assert window.store.session.episodes[0] == before


def test_a_sentence_is_not_lost_when_there_is_nothing_to_reject(opened):
    window = opened()
    window.widget.composer.setPlainText("segment the")
    window.key(KEY.Key_X)
    assert window.widget.composer.toPlainText() == "segment the"


def test_the_wrong_side_is_told_after_a_cancel_and_in_a_correction(opened):
    window = opened(Teller(click_at(0.2, 0.5), click_at(0.25, 0.5), STOP))
    window.policy.target = Target("kidney", "kidney", Side.LEFT)  # the patient's right is on the left of the picture
    window.ask("the left kidney")
    window.waits()
    window.key(KEY.Key_A)
    window.until(lambda: len(window.steps) == 1)
    window.waits()
    assert "right side" in window.texts()
    window.key(KEY.Key_Escape)
    window.until(lambda: window.episode.outcome is Outcome.CANCELLED)
    window.qtbot.wait(50)
    assert "right side" in window.texts()
    window.key(KEY.Key_M)
    window.until(lambda: len(window.store.session.objects) == 1)
    window.desk.correct(1)
    window.qtbot.wait(50)
    assert window.episode.target.side is Side.LEFT, window.texts()
    assert "right side" in window.texts()


def test_the_scan_in_front_is_the_one_that_is_seen(opened):
    window = opened()
    first = window.image
    add_scan(window, little_scan("second"))
    window.qtbot.wait(200)
    assert not first.visible and window.image.visible
    window.key(KEY.Key_S)
    window.widget.scan.setCurrentIndex(0)
    window.widget.scan.activated.emit(0)
    window.qtbot.wait(200)
    assert window.image is first and first.visible and window.viewer.layers.selection.active is first
    assert [layer.visible for layer in window.viewer.layers if layer.name.startswith("second")] == [False] * 3
    assert not window.widget.buttons["brush"].isChecked()


def test_a_copy_of_the_scans_layer_is_no_second_session(opened):
    window = opened()
    window.viewer.add_image(window.image.data, name="copy", metadata=dict(window.image.metadata))
    window.qtbot.wait(50)
    assert window.widget.scan.count() == 1


def test_keys_that_others_have_bound_meanwhile_stay(opened):
    window = opened()
    window.viewer.bind_key("Q", lambda _: None)
    window.widget.close_session()
    bound = set(map(str, window.viewer.keymap))
    assert "Q" in bound and "T" not in bound


def test_another_policy_is_no_undo_and_is_written_down(opened):
    window = opened()
    window.key(KEY.Key_S)
    window.drag((0.3, 0.3), (0.6, 0.3))
    window.rests()
    window.desk.use("other", window.desk.player.segmenter)
    window.key(KEY.Key_Z, CONTROL)
    assert window.store.session.episodes == ()


def test_an_object_that_was_renamed_keeps_its_lock(opened):
    window = opened()
    window.key(KEY.Key_S)
    window.drag((0.3, 0.3), (0.6, 0.3))
    window.rests()
    window.key(KEY.Key_M)
    (row,) = window.store.session.objects
    window.desk.with_store(lambda store: store.change_object(replace(row, name="lesion", locked=True)))
    episodes = window.store.session.episodes
    window.desk.correct(row.value)
    assert window.store.session.episodes == episodes
    window.qtbot.wait(50)
    assert "locked" in window.texts(), window.texts()


def test_that_pictures_leave_the_machine_is_said_as_long_as_they_do(opened):
    afar = Teller(*CLICKS, STOP)
    afar.manner = Manner(notice="The scan's pictures are sent to example.org.")
    window = opened(afar)
    window.ask("the thing")
    window.waits()
    assert window.texts().count("sent to example.org") == 1
    window.widget._backends.put("policies", "here", Teller(*CLICKS, STOP))
    window.widget._choose_backend("policy", "here")
    window.ask("another thing")
    window.waits()
    assert "example.org" not in window.texts()
