"""Sessions in a real window: resumed, not writable, open in two windows, undone; labels saved on the scan's grid."""

from __future__ import annotations

import os
import sys

import numpy as np
import pytest

pytest.importorskip("napari", reason="the extra gui is not installed")
pytest.importorskip("pytestqt", reason="pytest-qt is not installed")
if sys.platform.startswith("linux") and not os.environ.get("DISPLAY"):
    pytest.skip("no screen: run under xvfb-run", allow_module_level=True)

from qtpy.QtCore import Qt, QTimer
from qtpy.QtWidgets import QTableView
from window import CONTROL, LEFT, Teller, add_scan, digest, little_scan

from napari_ibisagent.core.volume import Volume
from napari_ibisagent.io.journal import read_journal
from napari_ibisagent.io.read import read_scan
from napari_ibisagent.ui.contributions import image_layer

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")

KEY = Qt.Key


def kept(window, sentence="the thing"):
    """One click accepted and kept as an object."""
    window.ask(sentence)
    window.waits()
    window.key(KEY.Key_A)
    window.until(lambda: len(window.steps) == 1)
    window.waits()
    window.key(KEY.Key_M)
    window.qtbot.wait(20)


def answer(window, words):
    row = window.card("question")._row
    (button,) = [b for b in row.buttons if words in b.text()]
    window.qtbot.mouseClick(button, LEFT)
    window.ready()
    window.qtbot.wait(30)


def asks(window):
    window.until(lambda: "Resume?" in window.texts())
    assert window.texts().count("Resume?") == 1


def test_a_closed_session_is_offered_once_and_goes_on(opened, tmp_path):
    window = opened()
    kept(window)
    before, labels = digest(window.store.session), window.layer("labels").data.copy()
    window.remove(window.image)
    data, attributes, _ = image_layer(little_scan(), None)
    window.viewer.add_image(data, **attributes)
    asks(window)
    assert not window.widget.buttons["point"].isEnabled()
    window.key(KEY.Key_P)
    window.key(KEY.Key_G)  # nothing can be done before the answer
    answer(window, "Resume")
    assert "Resume?" not in window.texts()
    assert digest(window.store.session) == before
    assert any(np.array_equal(layer.data, labels) for layer in window.desk.layers.own)
    assert window.policy.asked == 2 and window.tool.asked == 1
    (journal,) = (tmp_path / "sessions").glob("*")
    size = journal.stat().st_size
    window.key(KEY.Key_Z, CONTROL)
    assert journal.stat().st_size > size and window.store.session.objects == ()


def test_a_session_that_is_open_elsewhere_is_left_to_the_other_window(opened, tmp_path):
    window = opened()
    kept(window)
    before = digest(window.store.session)
    other = opened(scan=False)
    data, attributes, _ = image_layer(little_scan(), None)
    other.viewer.add_image(data, **attributes)
    asks(other)
    answer(other, "Resume")
    assert "can't be gone on with" in other.texts() and other.store.session.episodes == ()
    kept(other)
    assert digest(window.store.session) == before
    assert len(list((tmp_path / "sessions").glob("*"))) == 2


def test_what_cannot_be_saved_is_said_and_saved_later(opened, tmp_path):
    folder = tmp_path / "sessions"
    folder.write_text("a file where the folder should be")
    window = opened()
    window.ask("the thing")
    window.waits()
    assert "Not saved" in window.widget.status.text() and str(folder) in window.widget.status.text()
    folder.unlink()
    window.key(KEY.Key_A)
    window.until(lambda: len(window.steps) == 1)
    window.waits()
    assert "Not saved" not in window.widget.status.text()
    (journal,) = folder.glob("*")
    text = journal.read_text("utf-8")
    assert text.count('"Prompted"') == 1 and text.count('"Segmented"') == 1


def test_kept_listed_and_saved_on_the_scans_own_grid(opened, tmp_path):
    import nibabel

    affine = np.array([[0.0, 0.0, -0.9, 31.0], [1.5, 0.2, 0.0, -80.0], [0.0, -4.0, 0.1, 55.0], [0.0, 0.0, 0.0, 1.0]])
    path = tmp_path / "scan.nii.gz"
    rng = np.random.default_rng(0)
    nibabel.save(nibabel.Nifti1Image(rng.integers(-100, 100, (44, 14, 70), dtype=np.int16), affine), path)
    window = opened(Teller(), scan=False)
    window.viewer.open(str(path), plugin="napari-ibisagent")
    window.ready()
    kept(window, "the big thing")
    table = window.widget.objects.findChild(QTableView)
    model = table.model()
    shown = [str(model.data(model.index(0, column)) or "") for column in range(model.columnCount())]
    assert model.rowCount() == 1 and "big thing" in " ".join(shown)
    layer = window.layer("labels")
    saved = layer.save(str(tmp_path / "labels.nii.gz"), plugin="napari-ibisagent")
    assert saved
    original, labels = nibabel.load(path), nibabel.load(tmp_path / "labels.nii.gz")
    assert labels.shape == original.shape
    np.testing.assert_array_equal(labels.affine, original.affine)
    again = read_scan(tmp_path / "labels.nii.gz")
    assert isinstance(again, Volume) and again.data.any()
    np.testing.assert_array_equal(again.data, layer.data)
    assert path.read_bytes() and not list(tmp_path.glob("*.ibis.jsonl"))


def test_undo_and_branches_bring_masks_back_bit_for_bit(opened):
    window = opened()
    window.ask("the thing")
    window.waits()
    masks = []
    for count in (1, 2, 3):
        window.key(KEY.Key_A)
        window.until(lambda count=count: len(window.steps) == count)
        window.rests()
        masks.append(window.drawn())
    asked = window.policy.asked, window.tool.asked, window.tool.opened
    seen = [digest(window.store.session)]
    while "undo" in window.desk.can() and len(seen) < 30:
        window.key(KEY.Key_Z, CONTROL)
        seen.append(digest(window.store.session))
        if window.episode is not None and window.steps:
            assert np.array_equal(window.drawn(), masks[len(window.steps) - 1])
    assert window.episode is None and 6 < len(seen) < 30
    for wanted in reversed(seen[:-1]):
        window.key(KEY.Key_Z, CONTROL | Qt.KeyboardModifier.ShiftModifier)
        assert digest(window.store.session) == wanted
    assert np.array_equal(window.drawn(), masks[2])

    window.choose("0-1", "Branch from here")
    assert len(window.steps) == 1 and np.array_equal(window.drawn(), masks[0])
    assert (window.policy.asked, window.tool.asked, window.tool.opened) == asked
    window.key(KEY.Key_P)
    window.click(0.8, 0.8)
    window.until(lambda: len(window.steps) == 2)
    window.rests()
    other = window.drawn()
    assert not np.array_equal(other, masks[1])
    asked = window.policy.asked, window.tool.asked
    window.choose("0-1", "Go to the other branch")
    assert len(window.steps) == 3 and np.array_equal(window.drawn(), masks[2])
    window.choose("0-1", "Go to the other branch")
    assert len(window.steps) == 2 and np.array_equal(window.drawn(), other)
    assert (window.policy.asked, window.tool.asked) == asked


def test_a_step_deleted_through_its_menu_and_brought_back(opened):
    window = opened()
    window.ask("the thing")
    window.waits()
    for count in (1, 2, 3):
        window.key(KEY.Key_A)
        window.until(lambda count=count: len(window.steps) == count)
        window.rests()
    mask, steps, asked = window.drawn(), window.steps, window.policy.asked
    window.choose("0-2", "Delete step")
    window.until(lambda: len(window.steps) == 2)
    window.rests()
    assert [step.actions for step in window.steps] == [steps[0].actions, steps[2].actions]
    assert not np.array_equal(window.drawn(), mask) and (mask >= window.drawn()).all()
    assert window.policy.asked == asked
    tools = window.tool.asked
    window.key(KEY.Key_Z, CONTROL)
    assert window.steps == steps and np.array_equal(window.drawn(), mask) and window.tool.asked == tools


def test_a_card_shows_its_step_and_objects_are_changed_and_undone(opened):
    window = opened(Teller(slice_=4))
    window.ask("the thing")
    window.waits()
    for count in (1, 2):
        window.key(KEY.Key_A)
        window.until(lambda count=count: len(window.steps) == count)
        window.waits()
    latest = window.drawn()
    window.viewer.dims.set_point(0, 0.0)
    window.qtbot.mouseClick(window.card("0-1"), LEFT)
    window.shown()
    assert window.desk.layers.place()[1] == 4
    assert window.drawn().sum() < latest.sum() and len(window.layer("clicks").data) == 1
    window.qtbot.mouseClick(window.card(window.card_key()), LEFT)
    window.shown()
    assert np.array_equal(window.drawn(), latest)
    window.key(KEY.Key_M)
    before = window.store.session
    window.widget.objects.renamed.emit(1, "spleen")
    window.widget.objects.lock_changed.emit(1, True)
    window.shown()
    window.widget.objects.removed.emit(1)
    window.qtbot.wait(20)
    assert "locked" in window.texts() and window.store.session.objects[0].name == "spleen"
    for _ in range(2):
        window.key(KEY.Key_Z, CONTROL)
    assert window.store.session == before


def test_reopened_scan_of_another_name_is_another_layer(opened):
    window = opened()
    twin = add_scan(window, Volume.from_source(np.zeros((20, 20, 5)), np.eye(4), name="little"))
    assert twin.name != "little" and window.image is twin
    window.ask("the thing")
    window.waits()
    assert len(window.desk.layers.own) >= 1


def consent(window, checked):
    """The entry of the menu beside the scan's name, by a real click on it."""
    button = window.widget.more
    menu = button.menu()
    QTimer.singleShot(50, lambda: window.qtbot.mouseClick(menu, LEFT, pos=menu.actionGeometry(button.consent).center()))
    window.qtbot.mouseClick(button, LEFT)  # the menu holds the event loop until it closes
    window.shown()
    assert button.consent.text() == "May be used for training" and button.consent.isChecked() is checked


def test_consent_is_said_in_the_menu_of_the_session_and_stays_through_undo_and_a_restart(opened, tmp_path):
    window = opened(scan=False)
    assert not window.widget.more.isEnabled()
    add_scan(window, little_scan())
    assert window.store.session.consent is None and not window.widget.more.consent.isChecked()
    kept(window)
    consent(window, True)
    assert window.store.session.consent is True
    (journal,) = (tmp_path / "sessions").glob("*")
    assert read_journal(journal).session.consent is True
    window.key(KEY.Key_Z, CONTROL)
    assert window.store.session.objects == () and window.store.session.consent is True
    other = add_scan(window, Volume.from_source(np.zeros((20, 20, 5)), np.eye(4), name="second"))
    assert not window.widget.more.consent.isChecked()
    window.remove(other)
    window.shown()
    assert window.widget.more.consent.isChecked()
    window.remove(window.image)
    data, attributes, _ = image_layer(little_scan(), None)
    window.viewer.add_image(data, **attributes)
    asks(window)
    assert not window.widget.more.isEnabled()  # whose session, is still to be said
    answer(window, "Resume")
    assert window.store.session.consent is True and window.widget.more.consent.isChecked()
    consent(window, False)
    assert read_journal(journal).session.consent is False
