"""The composer, by real key presses: sending, line breaks, recall, completions, size."""

from __future__ import annotations

import os
import sys

import pytest

pytest.importorskip("napari", reason="the extra gui is not installed")
pytest.importorskip("pytestqt", reason="pytest-qt is not installed")
if sys.platform == "linux" and not os.environ.get("DISPLAY"):
    pytest.skip("no screen: run under xvfb-run", allow_module_level=True)

from qtpy.QtCore import Qt
from qtpy.QtGui import QInputMethodEvent, QKeySequence, QPalette, QShortcut
from qtpy.QtWidgets import QApplication, QLineEdit, QVBoxLayout, QWidget

from napari_ibisagent.io.knowledge import load_knowledge
from napari_ibisagent.ui.composer import LINES, Composer

KNOWLEDGE = load_knowledge()
KEY, SHIFT = Qt.Key, Qt.KeyboardModifier.ShiftModifier


class Typist:
    """Types where a person's keys would go: into the open list, else into what has the focus."""

    def __init__(self, qtbot):
        self.bot = qtbot
        self.window = QWidget()
        qtbot.addWidget(self.window)
        layout = QVBoxLayout(self.window)
        self.other = QLineEdit()
        self.field = Composer()
        layout.addWidget(self.field)
        layout.addWidget(self.other)
        self.window.resize(320, 500)
        self.sent, self.escaped = [], []
        self.field.sent.connect(self.sent.append)
        self.field.escaped.connect(lambda: self.escaped.append(True))
        self.window.show()
        self.window.activateWindow()
        self.field.setFocus()
        qtbot.waitUntil(self.field.hasFocus)

    @property
    def text(self):
        return self.field.toPlainText()

    def type(self, text):
        for letter in text:
            self.bot.keyClicks(self.target(), letter)

    def press(self, key, modifiers=Qt.KeyboardModifier.NoModifier):
        self.bot.keyClick(self.target(), key, modifiers)

    def target(self):
        return QApplication.activePopupWidget() or QApplication.focusWidget()


@pytest.fixture
def typist(qtbot):
    made = Typist(qtbot)
    yield made
    made.field.close_completions()


@pytest.fixture
def knowing(typist):
    typist.field.set_knowledge(KNOWLEDGE)
    return typist


@pytest.mark.parametrize("key", [KEY.Key_Return, KEY.Key_Enter])
def test_enter_sends_and_empties_the_field(typist, key):
    typist.type("  segment the liver ")
    typist.press(key)
    assert typist.sent == ["segment the liver"]
    assert typist.text == ""


def test_nothing_is_not_sent(typist):
    typist.press(KEY.Key_Return)
    typist.type("  ")
    typist.press(KEY.Key_Return)
    assert typist.sent == []


def test_shift_and_enter_break_the_line(typist):
    typist.type("one")
    typist.press(KEY.Key_Return, SHIFT)
    typist.type("two")
    assert typist.text == "one\ntwo"
    typist.press(KEY.Key_Return)
    assert typist.sent == ["one\ntwo"]


def send(typist, *sentences):
    for sentence in sentences:
        typist.type(sentence)
        typist.press(KEY.Key_Return)


def test_up_recalls_and_down_comes_back_to_the_draft(typist):
    send(typist, "first", "second")
    typist.type("draft")
    texts = []
    for key in (KEY.Key_Up, KEY.Key_Up, KEY.Key_Up, KEY.Key_Down, KEY.Key_Down, KEY.Key_Down):
        typist.press(key)
        texts.append(typist.text)
    assert texts == ["second", "first", "first", "second", "draft", "draft"]


def test_a_changed_earlier_sentence_is_not_lost_on_the_way(typist):
    send(typist, "first", "second")
    typist.press(KEY.Key_Up)
    typist.type(" changed")
    typist.press(KEY.Key_Up)
    typist.press(KEY.Key_Down)
    assert typist.text == "second changed"
    typist.press(KEY.Key_Return)
    assert typist.sent[-1] == "second changed"
    # What was sent stays as it was sent.
    typist.press(KEY.Key_Up)
    typist.press(KEY.Key_Up)
    assert typist.text == "second"


def test_up_and_down_move_within_several_lines_first(typist):
    send(typist, "earlier")
    typist.type("one")
    typist.press(KEY.Key_Return, SHIFT)
    typist.type("two")
    typist.press(KEY.Key_Up)
    assert typist.text == "one\ntwo"
    typist.press(KEY.Key_Up)
    assert typist.text == "earlier"
    typist.press(KEY.Key_Down)
    assert typist.text == "one\ntwo"


def test_a_long_line_that_is_broken_by_the_width_counts_as_several(typist):
    send(typist, "earlier")
    typist.type("word " * 30)
    typist.press(KEY.Key_Up)
    assert typist.text.startswith("word")


def test_a_recall_can_be_undone(typist):
    send(typist, "earlier")
    typist.type("draft")
    typist.press(KEY.Key_Up)
    typist.press(KEY.Key_Z, Qt.KeyboardModifier.ControlModifier)
    assert typist.text == "draft"


def test_take_empties_and_remembers(typist):
    typist.type(" too far left ")
    assert typist.field.take() == "too far left"
    assert typist.text == ""
    assert typist.sent == []
    typist.press(KEY.Key_Up)
    assert typist.text == "too far left"


def test_the_list_opens_and_tab_takes_the_first(knowing):
    knowing.type("segment the le")
    assert knowing.field.completions()[:2] == ("segment the left kidney", "segment the left lung")
    knowing.press(KEY.Key_Tab)
    assert knowing.text == "segment the left kidney"
    assert knowing.field.completions() == ()
    assert knowing.field.hasFocus()


@pytest.mark.parametrize("key", [KEY.Key_Tab, KEY.Key_Return])
def test_the_marked_entry_is_taken_and_not_sent(knowing, key):
    knowing.type("segment the le")
    knowing.press(KEY.Key_Down)
    knowing.press(KEY.Key_Down)
    knowing.press(key)
    assert knowing.text == "segment the left lung"
    assert knowing.sent == []
    knowing.press(KEY.Key_Return)
    assert knowing.sent == ["segment the left lung"]


def test_enter_with_nothing_marked_sends_what_was_typed(knowing):
    knowing.type("segment the le")
    assert knowing.field.completions()
    knowing.press(KEY.Key_Return)
    assert knowing.sent == ["segment the le"]
    assert knowing.field.completions() == ()


def test_the_arrows_go_round_in_the_list(knowing):
    knowing.type("segment the kid")
    for key, expected in [
        (KEY.Key_Up, "segment the kidneys"),
        (KEY.Key_Down, ""),
        (KEY.Key_Down, "segment the left kidney"),
        (KEY.Key_Up, ""),
    ]:
        knowing.press(key)
        assert knowing.field._marked() == expected
    assert knowing.text == "segment the kid"


def test_a_click_takes_an_entry(knowing):
    knowing.type("segment the kid")
    popup = knowing.target()
    place = popup.visualRect(popup.model().index(1, 0)).center()
    knowing.bot.mouseClick(popup.viewport(), Qt.MouseButton.LeftButton, pos=place)
    assert knowing.text == "segment the right kidney"


def test_escape_closes_the_list_and_then_is_the_parents(knowing):
    knowing.type("segment the le")
    knowing.press(KEY.Key_Escape)
    assert knowing.field.completions() == ()
    assert knowing.escaped == []
    knowing.press(KEY.Key_Escape)
    assert knowing.escaped == [True]
    assert knowing.text == "segment the le"


def test_a_completion_keeps_what_stands_behind_the_cursor(knowing):
    knowing.type(" please")
    for _ in " please":
        knowing.press(KEY.Key_Left)
    knowing.type("segment the spl")
    knowing.press(KEY.Key_Tab)
    assert knowing.text == "segment the spleen please"
    knowing.type("!")
    assert knowing.text == "segment the spleen! please"


def test_the_list_follows_the_text_and_closes(knowing):
    knowing.type("segment the li")
    assert "segment the liver" in knowing.field.completions()
    knowing.press(KEY.Key_Backspace)
    assert knowing.field.completions() == ()
    knowing.type("iver")
    assert knowing.field.completions() == ()


def test_moving_the_cursor_and_recall_open_no_list(knowing):
    send(knowing, "segment the spl")
    knowing.press(KEY.Key_Up)
    assert knowing.field.completions() == ()
    knowing.press(KEY.Key_Left)
    assert knowing.field.completions() == ()


def test_tab_leaves_the_field_when_the_list_is_closed(typist):
    typist.type("text")
    typist.press(KEY.Key_Tab)
    assert typist.other.hasFocus()
    assert typist.text == "text"


def test_letters_and_the_fields_keys_are_no_shortcuts_of_the_window(typist):
    fired = []
    for key in ("A", "M", "Return", "Up", "Down", "Escape", "Space"):
        shortcut = QShortcut(QKeySequence(key), typist.window)
        shortcut.activated.connect(lambda key=key: fired.append(key))
    typist.type("am ")
    for key in (KEY.Key_Up, KEY.Key_Down, KEY.Key_Escape, KEY.Key_Return):
        typist.press(key)
    assert fired == []
    assert typist.sent == ["am"]


def test_enter_while_text_is_being_composed_does_not_send(typist):
    typist.type("a")
    QApplication.sendEvent(typist.field, QInputMethodEvent("か", []))
    typist.press(KEY.Key_Return)
    assert typist.sent == []


def test_composed_text_is_completed_once_it_is_committed(knowing):
    event = QInputMethodEvent()
    event.setCommitString("spl")
    QApplication.sendEvent(knowing.field, event)
    assert "spleen" in knowing.field.completions()


def test_it_grows_with_its_lines_up_to_five(typist):
    heights = [typist.field.height()]
    for _ in range(LINES + 2):
        typist.press(KEY.Key_Return, SHIFT)
        heights.append(typist.field.height())
    line = heights[1] - heights[0]
    assert line > 8
    assert heights == [heights[0] + line * min(n, LINES - 1) for n in range(LINES + 3)]
    typist.field.take()
    assert typist.field.height() == heights[0]


def test_it_grows_with_long_text_and_nothing_is_scrolled_before_five_lines(typist):
    typist.type("word " * 25)
    lines = typist.field.document().documentLayout().documentSize().height()
    assert 1 < lines <= LINES
    assert typist.field.verticalScrollBar().maximum() == 0


def test_a_long_hint_is_cut_with_its_whole_text_as_the_tool_tip(typist):
    typist.field.set_hint("short")
    assert typist.field.placeholderText() == "short"
    assert typist.field.toolTip() == ""
    typist.field.set_hint("very long " * 20)
    assert typist.field.placeholderText().endswith("…")
    assert typist.field.toolTip() == "very long " * 20


def test_the_list_has_the_fields_colours(knowing):
    palette = knowing.field.palette()
    palette.setColor(QPalette.ColorRole.Window, Qt.GlobalColor.black)
    palette.setColor(QPalette.ColorRole.WindowText, Qt.GlobalColor.white)
    knowing.field.setPalette(palette)
    knowing.type("segment the le")
    assert "#000000" in knowing.target().styleSheet()


def test_it_has_a_name_for_screen_readers(typist):
    assert typist.field.accessibleName()
