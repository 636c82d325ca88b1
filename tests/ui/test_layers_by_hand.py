"""What a person does to the layers with napari's own tools: painting, deleting, renaming, other layers, closing."""

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
from window import CLICKS, CONTROL, LEFT, PLACES, STOP, Teller, add_scan, dabbed, little_scan, open_window

from napari_ibisagent.core.episode import Author, Outcome, Verdict

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")

KEY = Qt.Key


def proposing(opened, *args, **options):
    window = opened(*args, **options)
    window.ask("the thing")
    window.waits()
    return window


def accepted(window, count):
    window.key(KEY.Key_A)
    window.until(lambda: len(window.steps) == count)
    window.rests()


def done(window):
    window.until(lambda: window.episode is not None and window.episode.outcome is Outcome.DONE)
    window.rests()


def test_a_stroke_is_a_step_and_the_agent_goes_on_from_it(opened):
    window = proposing(opened, Teller(*CLICKS, STOP))
    accepted(window, 1)
    window.waits()
    before = window.drawn()
    asked = window.policy.asked
    window.key(KEY.Key_S)
    assert window.viewer.layers.selection.active is window.layer("mask")
    window.drag((0.7, 0.8), (0.9, 0.8))
    window.until(lambda: len(window.steps) == 2)
    window.waits()
    step = window.steps[1]
    assert (step.author, step.actions, step.proposed) == (Author.HUMAN, (), ())
    after = window.drawn()
    assert (after & ~before).any() and (after | ~before).all() and (after == window.true_mask()).all()
    height, width = after.shape
    assert after[int(0.8 * height), int(0.7 * width) : int(0.9 * width)].all()
    assert "Painted" in window.texts() and window.policy.asked == asked + 1
    assert window.policy.heard[-1].mask == step.mask  # the agent's next turn starts from the stroke
    accepted(window, 3)
    window.waits()
    assert (window.drawn() == dabbed(window.episode.shape, window.steps[2].actions, after)).all()
    window.key(KEY.Key_E)
    window.drag((0.7, 0.8), (0.9, 0.8))
    window.until(lambda: len(window.steps) == 4)
    window.rests()
    assert not window.drawn()[int(0.8 * height), int(0.7 * width) : int(0.9 * width)].any()
    assert window.steps[3].author is Author.HUMAN and (window.drawn() == window.true_mask()).all()
    window.key(KEY.Key_Z, CONTROL)  # what the agent proposed since
    assert len(window.steps) == 4 and not window.episode.waits
    window.key(KEY.Key_Z, CONTROL)
    assert (window.drawn() == window.true_mask()).all()
    assert window.drawn()[int(0.8 * height), int(0.7 * width) : int(0.9 * width)].all()


def test_painting_before_anything_was_asked_and_on_another_slice(opened):
    window = opened()
    window.key(KEY.Key_S)
    window.drag((0.3, 0.3), (0.5, 0.3))
    window.until(lambda: len(window.steps) == 1)
    first, index = window.drawn(), window.episode.index
    window.viewer.dims.set_point(0, window.viewer.dims.point[0] - 8.0)
    window.drag((0.3, 0.6), (0.5, 0.6))
    window.until(lambda: len(window.store.session.episodes) == 2)
    window.shown()
    assert window.episode.index == index - 2
    assert (window.drawn() == window.true_mask()).all() and window.drawn().any()
    assert np.count_nonzero(window.layer("mask").data) == np.count_nonzero(window.drawn())
    assert (window.policy.asked, window.tool.asked) == (0, 0)
    window.key(KEY.Key_Z, CONTROL)
    assert (window.drawn() == first).all() and window.episode.index == index
    assert np.count_nonzero(window.layer("mask").data) == np.count_nonzero(first)


def test_a_ball_of_paint_stays_in_the_slice(opened):
    window = proposing(opened)
    accepted(window, 1)
    window.waits()
    mask = window.layer("mask")
    mask.n_edit_dimensions, mask.brush_size = 3, 12
    window.key(KEY.Key_S)
    window.drag((0.7, 0.8), (0.75, 0.8))
    window.until(lambda: len(window.steps) == 2)
    window.waits()
    assert (window.drawn() == window.true_mask()).all()
    assert np.count_nonzero(mask.data) == np.count_nonzero(window.true_mask())


def test_every_layer_deleted_by_hand_comes_back(opened):
    window = proposing(opened)
    accepted(window, 1)
    window.key(KEY.Key_B)
    window.waits()
    window.drag((0.1, 0.1), (0.25, 0.3))
    window.until(lambda: len(window.steps) == 2)
    window.waits()
    mask = window.drawn()
    for key in ("clicks", "mask", "boxes"):
        window.remove(window.layer(key))
    assert window.episode.waits
    accepted(window, 3)
    assert (window.drawn() == window.true_mask()).all() and (window.drawn() & mask).sum() == mask.sum()
    assert len(window.layer("clicks").data) == 2 + window.episode.waits and len(window.layer("boxes").data) == 1
    window.key(KEY.Key_M)
    labels = window.layer("labels").data.copy()
    assert labels.any()
    window.remove(window.layer("labels"))
    window.ask("another thing")
    window.waits()
    accepted(window, 1)
    window.key(KEY.Key_M)
    assert (window.layer("labels").data[labels > 0] == 1).all() and not window.desk.trouble
    window.remove(window.layer("labels"))
    window.key(KEY.Key_Z, CONTROL)
    assert (window.layer("labels").data == labels).all()


def test_all_deleted_at_once(opened):
    window = proposing(opened)
    accepted(window, 1)
    window.key(KEY.Key_M)
    window.ask("another thing")
    window.waits()
    accepted(window, 1)
    mask = window.drawn()
    own = [window.layer(key) for key in ("labels", "mask", "clicks")]
    window.viewer.layers.selection = set(own)
    window.viewer.layers.remove_selected()
    window.waits()
    assert not any(layer in window.viewer.layers for layer in own)
    accepted(window, 2)
    assert (window.drawn() & mask).sum() == mask.sum() and (window.drawn() == window.true_mask()).all()
    assert (window.layer("labels").data == 1).any()


def test_deleted_in_the_middle_of_a_run(opened):
    window = opened(Teller(*CLICKS, STOP, pause=0.02))
    window.press("run")
    window.ask("the thing")
    window.until(lambda: len(window.steps) >= 1)
    window.shown()
    for key in ("mask", "clicks"):
        window.remove(window.layer(key))
    done(window)
    assert len(window.steps) == 4 and (window.drawn() == window.true_mask()).all()
    assert len(window.layer("clicks").data) == 4


def test_renamed_layers_are_still_ours(opened):
    window = proposing(opened)
    layers = {key: window.layer(key) for key in ("clicks",)}
    layers["clicks"].name = "my clicks"
    accepted(window, 1)
    window.waits()
    mask = window.layer("mask")
    mask.name = "my mask"
    window.image.name = "patient"
    window.shown()
    assert window.widget.scan.currentText() == "patient"
    accepted(window, 2)
    assert len([layer for layer in window.viewer.layers if layer.name.endswith(("clicks", "mask"))]) == 2
    assert np.array_equal(mask.data[window.episode.index] != 0, window.true_mask())
    assert len(layers["clicks"].data) >= 2


def test_other_layers_are_left_alone(opened):
    window = proposing(opened)
    own = window.viewer.add_points(np.array([[6.0, 5.0, 5.0]]), name="mine", scale=window.image.scale)
    fourth = window.viewer.add_image(np.zeros((2, 12, 48, 40)), scale=(1, *window.image.scale), name="four axes")
    drawn = window.viewer.add_labels(np.zeros((12, 48, 40), np.uint8), scale=window.image.scale, name="my labels")
    window.viewer.add_shapes(name="my shapes")
    window.shown()
    assert window.desk.scan.volume.name == "little" and window.widget.scan.count() == 1
    window.viewer.layers.selection.active = window.image
    accepted(window, 1)
    window.waits()
    assert (window.drawn() == window.true_mask()).all() and window.true_mask().any()
    window.key(KEY.Key_P)
    window.click(0.8, 0.8)
    window.until(lambda: len(window.steps) == 2)
    window.waits()
    (own_click,) = window.steps[1].actions
    assert (own_click.x, own_click.y) == pytest.approx((0.8, 0.8), abs=0.03)
    assert np.array_equal(own.data, [[6.0, 5.0, 5.0]]) and not drawn.data.any() and len(window.steps) == 2
    drawn.data[6, 3, 3] = 4
    own.add([6.0, 9.0, 9.0])
    window.remove(fourth)
    accepted(window, 3)
    assert len(own.data) == 2 and drawn.data[6, 3, 3] == 4
    assert (window.drawn() == window.true_mask()).all()


@pytest.mark.parametrize("what", ["scan", "dock"])
def test_closed_in_the_middle_of_a_run(opened, what, tmp_path):
    window = opened(Teller(*CLICKS, STOP, pause=0.03))
    window.press("run")
    window.ask("the thing")
    window.until(lambda: len(window.steps) >= 1)
    window.shown()
    if what == "scan":
        window.viewer.layers.remove(window.image)
        assert window.desk is None and window.widget.scan.currentText() == "No scan is open"
    else:
        (dock,) = [d for d in window.viewer.window._wrapped_dock_widgets.values() if d.widget() is window.widget]
        dock.destroyOnClose()
    words = window.policy.words
    window.qtbot.wait(250)
    assert window.policy.words <= words + 1
    (journal,) = (tmp_path / "sessions").glob("*")
    assert "Segmented" in journal.read_text("utf-8")
    bound = [set(map(str, thing.keymap)) for thing in (window.viewer, *window.viewer.layers)]
    assert ("T" in bound[0]) == (what == "scan") and not any("T" in keys for keys in bound[1:])
    if what == "scan":
        window.qtbot.wait(250)
        assert [layer.name for layer in window.viewer.layers if layer.name.endswith(("clicks", "mask"))] == []
        return
    named = {layer.name.split()[-1]: layer for layer in window.viewer.layers}
    clicks, mask = named["clicks"], named["mask"]
    window.viewer.layers.selection.active = mask
    mask.mode = "paint"
    at = window.canvas.rect().center()
    window.qtbot.mouseClick(window.canvas, LEFT, pos=at)  # what is left of it is nobody's any more
    clicks.add([6.0, 8.0, 8.0])
    window.qtbot.wait(30)
    assert len(clicks.data) >= 2


def test_a_dock_that_was_closed_can_be_opened_again(opened, tmp_path):
    window = proposing(opened)
    accepted(window, 1)
    window.waits()
    names = [layer.name for layer in window.viewer.layers]
    (dock,) = [d for d in window.viewer.window._wrapped_dock_widgets.values() if d.widget() is window.widget]
    dock.destroyOnClose()
    window.qtbot.wait(50)
    again = open_window(window.viewer, window.qtbot, tmp_path / "sessions")
    again.until(lambda: "Resume?" in again.texts())
    again.qtbot.mouseClick(again.card("question")._row.buttons[0], LEFT)
    again.ready()
    assert len(again.steps) == 1 and again.waits()
    accepted(again, 2)
    assert [layer.name for layer in window.viewer.layers] == names  # the layers that were left are taken up again
    again.widget.close_session()


def test_two_scans_with_a_session_each(opened):
    window = proposing(opened)
    first = window.desk
    accepted(window, 1)
    second_scan = little_scan("second")
    second_scan.data[0, 0, 0] = 77
    add_scan(window, second_scan)
    assert window.desk is not first and window.widget.scan.currentText() == "second" and window.episode is None
    window.ask("its thing")
    window.waits()
    accepted(window, 1)
    accepted(window, 2)
    window.qtbot.keyClicks(window.widget.scan, "little")
    window.shown()
    assert window.desk is first and window.episode.prompt == "the thing" and len(window.steps) == 1
    assert "its thing" not in window.texts() and "the thing" in window.texts()
    window.waits()
    accepted(window, 2)
    assert len(window.layer("clicks").data) >= 2
    second = next(desk for desk in window.widget._desks if desk is not first)
    assert len(second.store.session.episodes[-1].steps) == 2
    window.remove(first.image)
    assert window.desk is second and window.widget.scan.currentText() == "second"
    window.waits()
    accepted(window, 3)


def test_layers_of_the_scan_in_the_back_dont_take_its_keys(opened):
    window = proposing(opened)
    first = window.desk
    other = little_scan("second")
    other.data[0, 0, 0] = 77
    add_scan(window, other)
    window.key(KEY.Key_A)
    window.qtbot.wait(50)
    assert first.episode.waits  # the desk in front has nothing to accept, and this one isn't in front


@pytest.mark.parametrize("colour", [False, True], ids=["grey", "colour"])
def test_a_flat_picture_of_naparis_own(opened, colour):
    window = opened(scan=False)
    picture = np.zeros((60, 80, 3) if colour else (60, 80), np.uint8)
    picture[20:40, 30:60] = 200
    window.viewer.add_image(picture, rgb=colour, name="flat")
    window.ready()
    window.ask("the thing")
    window.waits()
    accepted(window, 1)
    window.waits()
    assert window.layer("mask").data.shape == (1, 60, 80)
    assert (window.drawn() == dabbed((60, 80), window.steps[0].actions)).all()
    window.key(KEY.Key_P)
    window.click(0.75, 0.25)
    window.until(lambda: len(window.steps) == 2)
    window.waits()
    (own,) = window.steps[1].actions
    assert (own.x, own.y) == pytest.approx((0.75, 0.25), abs=0.02)
    assert window.steps[1].verdict is Verdict.OVERRIDDEN
    window.key(KEY.Key_S)
    window.drag((0.1, 0.9), (0.3, 0.9))
    window.until(lambda: len(window.steps) == 3)
    window.rests()
    assert window.drawn()[54, 10:22].all() and (window.drawn() == window.true_mask()).all()
    window.key(KEY.Key_M)
    assert np.array_equal(window.layer("labels").data[0] != 0, window.true_mask())


def test_naparis_own_tools_on_the_clicks(opened):
    window = proposing(opened)
    clicks = window.layer("clicks")
    window.viewer.layers.selection.active = clicks
    clicks.selected_data = {0}
    clicks.remove_selected()  # no intent of the agent's or the user's: it is drawn again
    window.qtbot.wait(50)
    assert len(clicks.data) == 1 and window.episode.waits and window.steps == ()
    clicks.mode = "add"
    window.click(0.7, 0.3)
    window.until(lambda: len(window.steps) == 1)
    window.waits()
    (own,) = window.steps[0].actions
    assert (own.x, own.y) == pytest.approx((0.7, 0.3), abs=0.02)
    assert len(clicks.data) == 2 and PLACES[0] not in {(own.x, own.y)}
