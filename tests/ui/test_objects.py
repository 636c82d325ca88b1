"""The object table, by real keys and clicks: it emits what the user wants and shows only what comes back."""

from __future__ import annotations

import os
import sys
from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("napari", reason="the extra gui is not installed")
pytest.importorskip("pytestqt", reason="pytest-qt is not installed")
if sys.platform == "linux" and not os.environ.get("DISPLAY"):
    pytest.skip("no screen: run under xvfb-run", allow_module_level=True)

from qtpy.QtCore import Qt
from qtpy.QtGui import QColor, QGuiApplication, QKeySequence, QShortcut
from qtpy.QtWidgets import QApplication, QColorDialog, QLineEdit, QMenu, QPushButton, QToolTip

from napari_ibisagent.core.episode import PackedMask
from napari_ibisagent.core.session import OverlapRule, Patch, SegmentedObject, Session
from napari_ibisagent.core.view import Plane
from napari_ibisagent.core.volume import Volume
from napari_ibisagent.ui.look import colours
from napari_ibisagent.ui.object_rows import Column, rounded
from napari_ibisagent.ui.objects import ObjectTable

KEY, CONTROL = Qt.Key, Qt.KeyboardModifier.ControlModifier
SIGNALS = (
    "renamed",
    "recoloured",
    "lock_changed",
    "visibility_changed",
    "removed",
    "go_to",
    "correct",
    "rule_changed",
    "selected",
)


def scan(modality="CT", **others):
    data = np.full((20, 20, 10), 40, np.int16)
    return Volume.from_source(data, np.diag((-2.0, -2.0, -5.0, 1.0)), modality=modality, **others)


def session(*rows, voxels=100):
    mask = np.zeros((20, 20), bool)
    mask.flat[:voxels] = True
    patches = tuple(Patch(row.value, Plane.AXIAL, at % 10, PackedMask.of(mask)) for at, row in enumerate(rows))
    return Session(objects=rows, patches=patches)


LIVER = SegmentedObject(1, "liver", "#e69f00")
KIDNEY = SegmentedObject(2, "left kidney", "#56b4e9", locked=True)
SPLEEN = SegmentedObject(5, "spleen", "#009e73", visible=False)


class Shown:
    def __init__(self, qtbot):
        self.bot = qtbot
        self.table = ObjectTable()
        qtbot.addWidget(self.table)
        self.grid = self.table._grid
        self.events = []
        for name in SIGNALS:
            getattr(self.table, name).connect(lambda *args, name=name: self.events.append((name, *args)))
        self.table.resize(320, 320)
        self.table.show_objects(session(LIVER, KIDNEY, SPLEEN), scan(), 1)
        self.table.show()
        self.table.activateWindow()
        self.grid.setFocus()
        qtbot.waitUntil(self.grid.hasFocus)
        self.events.clear()

    def press(self, key, modifiers=Qt.KeyboardModifier.NoModifier):
        self.bot.keyClick(QApplication.focusWidget(), key, modifiers)

    def commit(self):
        """Enter in a name's editor; Qt takes the text a moment later and gives the focus back."""
        self.press(KEY.Key_Return)
        self.bot.waitUntil(self.grid.hasFocus)

    def place(self, row, column):
        return self.grid.visualRect(self.grid.model().index(row, column)).center()

    def click(self, row, column):
        self.bot.mouseClick(self.grid.viewport(), Qt.MouseButton.LeftButton, pos=self.place(row, column))

    def text(self, row, column):
        return self.grid.model().index(row, column).data()

    def button(self, text):
        return next(button for button in self.table.findChildren(QPushButton) if button.text() == text)

    def change(self, *rows, selected=1, **others):
        self.table.show_objects(session(*rows, **others), scan(), selected)


@pytest.fixture
def shown(qtbot):
    made = Shown(qtbot)
    yield made
    QToolTip.hideText()


def test_it_shows_the_objects(shown):
    assert [shown.text(row, Column.NAME) for row in range(3)] == ["liver", "left kidney", "spleen"]
    assert [shown.text(row, Column.VALUE) for row in range(3)] == ["1", "2", "5"]
    assert shown.text(0, Column.SIZE) == "2.00"
    assert shown.text(0, Column.MEAN) == "40"
    assert shown.table.current_value() == 1
    assert shown.events == []


def test_volumes_have_three_digits():
    assert [rounded(ml) for ml in (0.424, 9.999, 12.34, 1234.5)] == ["0.42", "10.00", "12.3", "1234"]


def test_no_mean_without_ct_and_voxels_without_a_size(shown):
    shown.table.show_objects(session(LIVER), scan("MR", has_spacing=False), 1)
    assert shown.grid.isColumnHidden(Column.MEAN)
    assert shown.text(0, Column.SIZE) == "100"
    assert shown.grid.model().headerData(Column.SIZE, Qt.Orientation.Horizontal) == "Voxels"
    shown.table.show_objects(session(LIVER), scan(), 1)
    assert not shown.grid.isColumnHidden(Column.MEAN)
    assert shown.grid.model().headerData(Column.SIZE, Qt.Orientation.Horizontal) == "mL"


def test_an_empty_table_says_how_to_fill_it(shown):
    shown.change(selected=None)
    assert shown.table._empty.isVisible()
    assert "M" in shown.table._empty.text()
    assert not any(shown.button(text).isEnabled() for text in ("Go to", "Correct", "Delete"))
    shown.change(LIVER)
    assert not shown.table._empty.isVisible()


def test_arrow_keys_select(shown):
    shown.press(KEY.Key_Down)
    shown.press(KEY.Key_Down)
    shown.press(KEY.Key_Up)
    assert shown.events == [("selected", 2), ("selected", 5), ("selected", 2)]


def test_a_click_selects(shown):
    shown.click(2, Column.NAME)
    assert shown.events == [("selected", 5)]


def test_showing_never_emits(shown):
    shown.change(LIVER, KIDNEY, SPLEEN, selected=5)
    shown.change(LIVER, selected=None)
    assert shown.table.current_value() is None
    shown.change(KIDNEY, SPLEEN, LIVER, selected=2)
    shown.change(SPLEEN, selected=5)
    assert shown.table.current_value() == 5
    assert shown.events == []


def test_f2_renames_in_place(shown):
    shown.press(KEY.Key_F2)
    editor = QApplication.focusWidget()
    assert isinstance(editor, QLineEdit)
    shown.bot.keyClicks(editor, "hepar al")
    shown.commit()
    assert shown.events == [("renamed", 1, "hepar al")]
    # The table keeps nothing of its own.
    assert shown.text(0, Column.NAME) == "liver"
    shown.change(replace(LIVER, name="hepar al"))
    assert shown.text(0, Column.NAME) == "hepar al"


def test_a_double_click_renames_and_an_empty_name_does_not(shown):
    shown.click(0, Column.NAME)
    shown.bot.mouseDClick(shown.grid.viewport(), Qt.MouseButton.LeftButton, pos=shown.place(0, Column.NAME))
    editor = QApplication.focusWidget()
    assert isinstance(editor, QLineEdit)
    editor.selectAll()
    shown.press(KEY.Key_Delete)
    shown.commit()
    assert shown.events == []
    assert shown.text(0, Column.NAME) == "liver"


def test_escape_leaves_the_name(shown):
    shown.press(KEY.Key_F2)
    shown.bot.keyClicks(QApplication.focusWidget(), "other")
    shown.press(KEY.Key_Escape)
    assert shown.events == []


def test_space_shows_and_hides(shown):
    shown.press(KEY.Key_Space)
    shown.press(KEY.Key_Down)
    shown.press(KEY.Key_Down)
    shown.press(KEY.Key_Space)
    assert [event for event in shown.events if event[0] != "selected"] == [
        ("visibility_changed", 1, False),
        ("visibility_changed", 5, True),
    ]


def test_control_and_l_lock(shown):
    shown.press(KEY.Key_L, CONTROL)
    shown.press(KEY.Key_Down)
    shown.press(KEY.Key_L, CONTROL)
    assert [event for event in shown.events if event[0] != "selected"] == [
        ("lock_changed", 1, True),
        ("lock_changed", 2, False),
    ]


def test_clicks_on_lock_and_eye(shown):
    shown.click(0, Column.LOCK)
    shown.click(0, Column.EYE)
    shown.click(2, Column.EYE)
    assert shown.events == [
        ("lock_changed", 1, True),
        ("visibility_changed", 1, False),
        ("selected", 5),
        ("visibility_changed", 5, True),
    ]


def test_two_quick_clicks_are_two(shown):
    shown.click(0, Column.EYE)
    shown.bot.mouseDClick(shown.grid.viewport(), Qt.MouseButton.LeftButton, pos=shown.place(0, Column.EYE))
    assert shown.events == [("visibility_changed", 1, False)] * 2


@pytest.mark.parametrize("key", [KEY.Key_Return, KEY.Key_Enter])
def test_enter_goes_to_the_slice(shown, key):
    shown.press(key)
    assert shown.events == [("go_to", 1)]


def test_an_object_without_voxels_has_no_slice(shown):
    shown.change(LIVER, voxels=0)
    shown.press(KEY.Key_Return)
    assert shown.events == []
    assert "no voxels" in QToolTip.text()
    assert not shown.button("Go to").isEnabled()


def test_delete_deletes_only_from_the_table(shown):
    shown.press(KEY.Key_Delete)
    assert shown.events == [("removed", 1)]
    shown.button("Correct").setFocus()
    shown.press(KEY.Key_Delete)
    assert shown.events == [("removed", 1)]


def test_a_locked_object_cannot_be_deleted_or_corrected(shown):
    shown.press(KEY.Key_Down)
    shown.press(KEY.Key_Delete)
    assert shown.events == [("selected", 2)]
    assert QToolTip.text() == "left kidney is locked. Unlock it (Ctrl+L) to delete it."
    for text in ("Delete", "Correct"):
        assert not shown.button(text).isEnabled()
        assert "is locked" in shown.button(text).toolTip()
    assert shown.button("Go to").isEnabled()
    shown.change(LIVER, replace(KIDNEY, locked=False), SPLEEN, selected=2)
    assert shown.button("Delete").isEnabled()


def test_the_buttons(shown):
    for text in ("Go to", "Correct", "Delete"):
        shown.bot.mouseClick(shown.button(text), Qt.MouseButton.LeftButton)
    assert shown.events == [("go_to", 1), ("correct", 1), ("removed", 1)]


def test_tab_leaves_the_table_for_the_buttons(shown):
    shown.press(KEY.Key_Tab)
    assert QApplication.focusWidget() is shown.button("Go to")


def test_the_colour_button(shown):
    shown.click(0, Column.COLOUR)
    (dialog,) = shown.table.findChildren(QColorDialog)
    assert dialog.currentColor().name() == LIVER.colour
    dialog.setCurrentColor(QColor("#123456"))
    dialog.accept()
    assert shown.events == [("recoloured", 1, "#123456")]
    shown.bot.waitUntil(lambda: not shown.table.findChildren(QColorDialog))


def test_a_colour_that_is_not_chosen(shown):
    shown.click(0, Column.COLOUR)
    (dialog,) = shown.table.findChildren(QColorDialog)
    shown.bot.keyClick(dialog, KEY.Key_Escape)
    assert shown.events == []
    shown.bot.waitUntil(lambda: not shown.table.findChildren(QColorDialog))


def test_the_overlap_rule(shown):
    rules = shown.table._rule
    assert "keep" in rules.currentText()
    rules.setFocus()
    shown.press(KEY.Key_Down)
    assert shown.events == [("rule_changed", OverlapRule.OVERWRITE)]
    assert isinstance(shown.events[0][1], OverlapRule)
    shown.table.show_objects(replace(session(LIVER), rule=OverlapRule.FORBID), scan(), 1)
    assert "Refuse" in rules.currentText()
    assert len(shown.events) == 1


def test_control_and_c_copy_the_row(shown):
    shown.press(KEY.Key_C, CONTROL)
    assert QGuiApplication.clipboard().text() == "#e69f00\tliver\t1\tnot locked\tvisible\t2.00\t40"


def test_the_menu_has_it_all(shown):
    shown.press(KEY.Key_Down)
    shown.events.clear()
    shown.grid.customContextMenuRequested.emit(shown.place(1, Column.NAME))
    (menu,) = shown.table.findChildren(QMenu)
    actions = {action.text().split("\t")[0]: action for action in menu.actions()}
    assert list(actions) == ["Go to", "Rename", "Colour…", "Hide", "Unlock", "Correct", "Copy", "Delete"]
    assert not actions["Delete"].isEnabled()
    actions["Unlock"].trigger()
    assert shown.events == [("lock_changed", 2, False)]
    menu.close()


def test_other_letters_are_left_to_the_window_and_its_own_keys_are_not(shown):
    fired = []
    for text in ("A", "Delete", "Space", "F2", "Return"):
        shortcut = QShortcut(QKeySequence(text), shown.table)
        shortcut.activated.connect(lambda text=text: fired.append(text))
    shown.press(KEY.Key_A)
    shown.press(KEY.Key_Space)
    assert fired == ["A"]
    assert shown.events == [("visibility_changed", 1, False)]


def test_only_cells_that_differ_are_drawn_again(shown):
    changed = []
    model = shown.grid.model()
    model.dataChanged.connect(lambda first, last: changed.append((first.row(), first.column(), last.column())))
    for signal in (model.rowsInserted, model.rowsRemoved, model.modelReset):
        signal.connect(lambda *_: changed.append("rows"))
    shown.change(LIVER, KIDNEY, SPLEEN)
    assert changed == []
    shown.change(LIVER, replace(KIDNEY, name="kidney", visible=False), SPLEEN)
    assert changed == [(1, Column.NAME, Column.NAME), (1, Column.EYE, Column.EYE)]


def test_a_name_that_is_being_edited_survives_other_changes(shown):
    shown.press(KEY.Key_F2)
    shown.bot.keyClicks(QApplication.focusWidget(), "hep")
    shown.change(LIVER, replace(KIDNEY, locked=False), SPLEEN, voxels=50)
    shown.bot.keyClicks(QApplication.focusWidget(), "ar")
    shown.commit()
    assert shown.events == [("renamed", 1, "hepar")]


def test_rows_come_go_and_move(shown):
    orders = [(SPLEEN, LIVER, KIDNEY), (KIDNEY,), (LIVER, KIDNEY, SPLEEN), (), (SPLEEN, KIDNEY)]
    for rows in orders:
        shown.change(*rows, selected=None)
        assert [shown.text(at, Column.NAME) for at in range(shown.grid.model().rowCount())] == [r.name for r in rows]


def test_everything_fits_320_pixels(shown):
    shown.change(*(replace(LIVER, value=at, name="a long name of an object " * 3) for at in range(1, 200)))
    shown.table.resize(320, 400)
    shown.bot.wait(10)
    assert shown.table.width() == 320
    used = sum(shown.grid.columnWidth(column) for column in Column)
    assert used <= shown.grid.viewport().width()
    assert shown.grid.columnWidth(Column.NAME) >= 60
    for button in shown.table.findChildren(QPushButton):
        assert button.width() >= button.sizeHint().width()
    assert "a long name" in shown.grid.model().index(0, Column.NAME).data(Qt.ItemDataRole.ToolTipRole)


@pytest.mark.parametrize("dark", [True, False])
def test_themes(shown, dark):
    shown.table.set_look(colours(dark))
    picture = shown.grid.viewport().grab().toImage()
    place = shown.place(1, Column.COLOUR)
    assert picture.pixelColor(place).name() == KIDNEY.colour
