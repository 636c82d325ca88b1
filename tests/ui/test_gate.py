"""The gate, in a real window: every way from a proposed click to a step, by keys, by mouse and by buttons."""

from __future__ import annotations

import os
import sys
import time

import pytest

pytest.importorskip("napari", reason="the extra gui is not installed")
pytest.importorskip("pytestqt", reason="pytest-qt is not installed")
if sys.platform.startswith("linux") and not os.environ.get("DISPLAY"):
    pytest.skip("no screen: run under xvfb-run", allow_module_level=True)

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QLineEdit
from window import CLICKS, LEFT, PLACES, SHIFT, STOP, Dabber, Teller, add_scan, backends, dabbed, small_phantom

from napari_ibisagent.core.actions import Box, Click
from napari_ibisagent.core.episode import Author, Outcome, Verdict
from napari_ibisagent.ui.backends import Backends

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")

KEY = Qt.Key
HELD = pytest.mark.parametrize("on_card", [False, True], ids=["on the canvas", "on a card"])


def proposing(opened, *args, **options):
    """A window in which the first click waits."""
    window = opened(*args, **options)
    window.ask("the thing")
    window.waits()
    return window


def focus(window, on_card):
    """Where the keyboard is: on the canvas or on the card of the proposal."""
    return window.card(window.card_key()) if on_card else window.canvas


def next_step(window, count=1):
    """Until so many steps are done and the next click waits; returns the last step."""
    window.until(lambda: len(window.steps) >= count)
    window.waits()
    return window.steps[count - 1]


def own_step(window, count):
    window.until(lambda: len(window.steps) == count)
    window.rests()


def done(window):
    window.until(lambda: window.episode is not None and window.episode.outcome is Outcome.DONE)
    window.rests()


@HELD
def test_every_verdict_by_key(opened, on_card):
    window = proposing(opened, Teller(*CLICKS, STOP))
    window.qtbot.wait(100)
    assert window.tool.asked == 0 and window.steps == ()
    assert not window.has("mask") or not window.layer("mask").data.any()
    clicks = window.layer("clicks")
    assert len(clicks.data) == 1
    assert clicks.face_color[0][3] == 0  # hollow: only proposed
    window.key(KEY.Key_A, on=focus(window, on_card))
    step = next_step(window)
    assert (step.verdict, step.author, window.tool.asked) == (Verdict.ACCEPTED, Author.AGENT, 1)
    assert (window.drawn() == window.true_mask()).all() and window.drawn().any()
    assert window.layer("clicks").face_color[0][3] == 1

    window.key(KEY.Key_T, on=focus(window, on_card))
    assert window.episode.pending.actions == (Click(*PLACES[1], False),) and window.tool.asked == 1
    window.key(KEY.Key_A, on=focus(window, on_card))
    step = next_step(window, 2)
    assert step.actions == (Click(*PLACES[1], False),) and step.proposed == (Click(*PLACES[1], True),)
    assert (step.verdict, step.author) == (Verdict.OVERRIDDEN, Author.HUMAN)

    for count, reason in ((3, ""), (4, "too far to the left")):
        window.qtbot.keyClicks(window.widget.composer, reason)
        window.key(KEY.Key_X, on=focus(window, on_card))
        window.until(lambda count=count: len(window.steps) == count)
        step = window.steps[-1]
        assert (step.verdict, step.reason, step.actions, window.tool.asked) == (Verdict.REJECTED, reason, (), 2)
        window.rests()
        assert window.policy.heard[-1].steps[-1].reason == reason  # the agent's next turn knows it
        assert window.widget.composer.toPlainText() == ""
    assert window.episode.outcome is Outcome.DONE and window.policy.asked == 5


def test_the_buttons_of_the_card_do_the_same(opened):
    window = proposing(opened)

    def press(words):
        row = window.card(window.card_key())._row
        (button,) = [b for b in row.buttons if words in b.text()]
        window.qtbot.mouseClick(button, LEFT)
        window.shown()

    press("Flip")
    assert window.episode.pending.actions == (Click(*PLACES[0], False),)
    press("Reject")
    next_step(window)
    press("Accept")
    next_step(window, 2)
    assert [step.verdict for step in window.steps] == [Verdict.REJECTED, Verdict.ACCEPTED]


def test_a_dragged_click_is_accepted_where_it_was_dropped(opened):
    window = proposing(opened)
    centre = window.viewer.scene.camera.center
    window.drag(PLACES[0], (0.7, 0.75))
    window.until(lambda: window.episode.pending.amended)
    assert window.viewer.scene.camera.center == centre and window.viewer.scene.camera.mouse_pan
    (moved,) = window.episode.pending.actions
    assert abs(moved.x - 0.7) < 0.02 and abs(moved.y - 0.75) < 0.02 and window.steps == ()
    window.drag((0.3, 0.3), (0.2, 0.2))  # beside the click: napari's own panning
    assert window.viewer.scene.camera.center != centre and window.episode.pending.actions == (moved,)
    window.key(KEY.Key_A)
    assert next_step(window).actions == (moved,) and window.steps[0].author is Author.HUMAN
    assert (window.drawn() == dabbed(window.episode.shape, (moved,))).all()


@HELD
def test_a_click_by_the_keyboard_alone(opened, on_card):
    window = proposing(opened)
    for key, times in ((KEY.Key_Right, 3), (KEY.Key_Down, 2), (KEY.Key_Left, 1), (KEY.Key_Up, 1)):
        for _ in range(times):
            window.key(key, SHIFT, on=focus(window, on_card))
    (moved,) = window.episode.pending.actions
    assert (moved.x, moved.y) == (0.37, 0.41)
    window.key(KEY.Key_A, on=focus(window, on_card))
    assert next_step(window).actions == (moved,)
    window.key(KEY.Key_Escape, on=focus(window, on_card))
    assert window.episode.outcome is Outcome.CANCELLED
    asked = window.policy.asked, window.tool.asked
    window.key(KEY.Key_P, SHIFT)
    assert window.episode.waits and window.episode.pending.author is Author.HUMAN
    window.key(KEY.Key_Left, SHIFT, on=focus(window, on_card))
    window.key(KEY.Key_A, on=focus(window, on_card))
    window.until(lambda: len(window.steps) == 2)
    window.rests()
    assert window.steps[1].actions == (Click(0.49, 0.5, True),) and window.steps[1].author is Author.HUMAN
    assert (window.policy.asked, window.tool.asked) == (asked[0], asked[1] + 1)


def test_ones_own_click_or_box_takes_the_proposals_place(opened):
    window = proposing(opened)
    window.key(KEY.Key_P)
    window.drag((0.8, 0.8), (0.6, 0.9))  # no click: the mouse moved
    window.qtbot.wait(50)
    assert window.steps == () and window.episode.waits and not window.episode.pending.amended
    window.viewer.reset_view()
    window.click(0.8, 0.25)
    step = next_step(window)
    (own,) = step.actions
    assert abs(own.x - 0.8) < 0.02 and abs(own.y - 0.25) < 0.02
    assert (step.verdict, step.author, step.proposed) == (Verdict.OVERRIDDEN, Author.HUMAN, (Click(*PLACES[0], True),))
    assert window.policy.asked == 2 and window.tool.asked == 1
    window.key(KEY.Key_B)
    window.drag((0.6, 0.55), (0.9, 0.8))
    step = next_step(window, 2)
    assert isinstance(step.actions[0], Box) and step.verdict is Verdict.OVERRIDDEN


def test_ones_own_clicks_and_boxes_need_no_agent(opened):
    window = opened()
    window.key(KEY.Key_P)
    window.click(0.3, 0.3)
    own_step(window, 1)
    window.key(KEY.Key_T)
    assert not window.desk.positive
    window.click(0.35, 0.3)
    own_step(window, 2)
    assert [step.actions[0].positive for step in window.steps] == [True, False]
    window.key(KEY.Key_P)  # the tool is laid down: the mouse is napari's again
    window.click(0.6, 0.6)
    window.qtbot.wait(50)
    assert len(window.steps) == 2 and not window.episode.waits
    window.key(KEY.Key_B)
    window.drag((0.7, 0.8), (0.3, 0.45))
    own_step(window, 3)
    (box,) = window.steps[2].actions
    assert (box.x0, box.y0, box.x1, box.y1) == pytest.approx((0.3, 0.45, 0.7, 0.8), abs=0.02)
    assert (window.drawn() == dabbed(window.episode.shape, window.episode.prompts)).all()
    assert len(window.layer("boxes").data) == 1
    assert (window.policy.asked, window.policy.located, window.tool.asked) == (0, 0, 3)


def test_run_goes_to_the_end(opened):
    window = opened()
    window.press("run")
    window.ask("the thing")
    done(window)
    assert len(window.steps) == 3 and {step.verdict for step in window.steps} == {Verdict.UNREVIEWED}
    assert "Done" in window.texts()
    window.press("review")
    window.ask("another")
    window.waits()
    window.press("run")  # from a click that waits
    done(window)
    assert len(window.steps) == 3


def test_the_mode_changed_in_the_middle(opened):
    window = opened(Teller(*CLICKS, STOP, pause=0.02))
    window.press("run")
    window.ask("the thing")
    window.until(lambda: len(window.steps) >= 1)
    window.key(KEY.Key_H)
    halted = len(window.waits().steps)
    assert 1 <= halted <= 3 and window.widget.review.isChecked()
    window.qtbot.wait(100)
    assert len(window.steps) == halted
    window.press("run")
    window.until(lambda: len(window.steps) > halted)
    window.press("review")
    window.waits()
    window.key(KEY.Key_A)
    assert window.desk.running
    window.press("run")  # while the agent thinks
    done(window)
    assert len(window.steps) == 4 and Verdict.ACCEPTED in {step.verdict for step in window.steps}


def test_go_on_for_so_many_steps_and_the_budget_of_a_run(opened):
    window = opened(Teller(*CLICKS, STOP))
    window.widget.steps.setValue(2)
    window.ask("the thing")
    window.waits()
    window.key(KEY.Key_G)
    next_step(window, 2)
    assert len(window.steps) == 2 and window.tool.asked == 2
    window.press("go_on")
    done(window)
    assert len(window.steps) == 4
    window.press("run")
    window.ask("another")
    window.until(lambda: window.episode.outcome is Outcome.STEP_LIMIT)
    window.rests()
    assert len(window.steps) == 2
    window.widget.steps.setValue(3)
    window.key(KEY.Key_G)
    done(window)


def test_cancel_between_two_words(opened):
    known = backends()
    slow = Teller(pause=0.15)
    known.put("policies", "slow", slow)
    window = opened(known=known)
    window.until(lambda: window.widget.policy.findText("slow") >= 0)
    window.qtbot.keyClicks(window.widget.policy, "slow")
    assert window.desk.player.policy == "slow"
    for way in ("canvas", "composer", "button"):
        heard = slow.words
        window.ask(f"the thing by {way}")
        window.until(lambda heard=heard: slow.words >= heard + 2)
        window.qtbot.wait(20)
        assert window.widget.conversation.texts()[-1].startswith("Here")  # the thought is read while it comes
        started = time.perf_counter()
        if way == "button":
            window.press("cancel")
        else:
            window.key(KEY.Key_Escape, on=window.widget.composer if way == "composer" else None)
        spent, said = time.perf_counter() - started, slow.words
        assert spent < 0.2
        assert window.episode.outcome is Outcome.CANCELLED and not window.desk.running
        assert "Cancelled" in window.widget.conversation.texts()[-1]
        window.qtbot.wait(350)
        assert slow.words <= said + 1 and window.steps == () and window.episode.outcome is Outcome.CANCELLED
    slow.pause = 0.0
    window.key(KEY.Key_G)  # and on from there
    done(window)


def test_cancel_while_the_tool_works(opened):
    window = proposing(opened, tool=Dabber(pause=0.4))
    window.key(KEY.Key_A)
    window.until(lambda: window.tool.asked == 1)
    started = time.perf_counter()
    window.key(KEY.Key_Escape)
    assert time.perf_counter() - started < 0.2
    assert window.episode.outcome is Outcome.CANCELLED and window.steps == ()
    window.qtbot.wait(500)
    assert window.episode.outcome is Outcome.CANCELLED and window.steps == ()


def test_letters_in_a_text_field_stay_letters(opened):
    window = proposing(opened)
    before = window.store.history.head
    window.widget.composer.setFocus()
    window.qtbot.keyClicks(window.widget.composer, "axtghpbselmr /AXTRM")
    assert window.widget.composer.toPlainText() == "axtghpbselmr /AXTRM"
    field = QLineEdit()
    window.viewer.window.add_dock_widget(field, name="notes", area="bottom")
    field.setFocus()
    window.qtbot.keyClicks(field, "axtr")
    assert field.text() == "axtr"
    assert window.store.history.head == before and window.episode.waits


def test_the_keys_work_whichever_of_our_layers_is_active(opened):
    window = proposing(opened)
    window.key(KEY.Key_A)
    next_step(window)
    for count, name in ((2, "clicks"), (3, "mask")):
        window.viewer.layers.selection.active = window.layer(name)
        window.key(KEY.Key_T)
        assert window.episode.pending.amended
        window.key(KEY.Key_A)
        window.until(lambda count=count: len(window.steps) == count)
        window.rests()


def test_help_and_the_way_to_the_composer(opened):
    window = opened()
    window.key(KEY.Key_F1)
    popup = window.widget._help
    assert popup.isVisible()
    window.qtbot.keyClick(popup, KEY.Key_F1)
    assert not popup.isVisible()
    window.press("help")
    assert popup.isVisible()
    window.qtbot.keyClick(popup, KEY.Key_Escape)
    assert not popup.isVisible()
    window.key(KEY.Key_Slash)
    assert window.viewer.window._qt_window.focusWidget() is window.widget.composer
    assert window.widget.composer.toPlainText() == ""


def test_cleared_and_kept_by_keys_and_by_buttons(opened):
    window = proposing(opened)
    for by_key in (True, False):
        window.key(KEY.Key_A)
        next_step(window)
        window.key(KEY.Key_R) if by_key else window.press("reset")
        assert not window.drawn().any() and window.episode.prompts == ()
        window.key(KEY.Key_P) if by_key else window.press("point")
        window.click(0.5 if by_key else 0.25, 0.5)
        window.until(lambda: window.drawn().any())
        window.rests()
        window.key(KEY.Key_M) if by_key else window.press("keep")
        assert window.episode.kept_as is not None
        if by_key:
            window.ask("another thing")
            window.waits()
    assert [row.value for row in window.store.session.objects] == [1, 2]
    assert set(window.layer("labels").data.ravel()) == {0, 1, 2}
    assert not window.drawn().any()  # from then on the objects show it


def test_an_ambiguous_sentence_is_asked_back_and_a_button_answers(opened):
    window = opened(known=Backends(), scan=False)
    add_scan(window, small_phantom().volume)
    window.press("run")
    window.ask("segment the kidney")
    window.until(lambda: window.episode is not None and window.episode.outcome is Outcome.NOT_FOUND, 30_000)
    window.rests()
    row = window.card("0-end")._row
    (button,) = [b for b in row.buttons if b.text() == "Right kidney"]
    assert {b.property("role") for b in row.buttons} == {"plain"}
    window.qtbot.mouseClick(button, LEFT)
    window.until(lambda: len(window.store.session.episodes) == 2 and window.episode.outcome is Outcome.DONE, 30_000)
    window.rests()
    assert window.episode.target.full_name == "right kidney" and window.drawn().any()
    # The question is answered: its buttons are gone.
    assert not any(b.text() == "Right kidney" for b in window.card("0-end")._row.buttons)
