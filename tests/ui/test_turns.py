"""What is shown, and when, by a real event loop."""

from __future__ import annotations

import os
import sys
import time

import pytest

pytest.importorskip("qtpy", reason="the extra gui is not installed")
pytest.importorskip("pytestqt", reason="pytest-qt is not installed")
if sys.platform.startswith("linux") and not os.environ.get("DISPLAY"):
    pytest.skip("no screen: run under xvfb-run", allow_module_level=True)

from qtpy.QtCore import QTimer

from napari_ibisagent.ui.turns import Turns


def test_each_is_called_once_however_often_it_was_asked(qtbot):
    called = []
    turns = Turns((lambda: called.append("dock"), lambda: called.append("canvas")))
    for _ in range(5):
        turns.call()
    assert not called and not turns.over
    qtbot.waitUntil(lambda: turns.over)
    qtbot.wait(50)
    assert called == ["dock", "canvas"]


def test_what_is_asked_during_a_call_is_called_again_and_nothing_starves(qtbot):
    called = []

    def dock():
        called.append("dock")
        if called.count("dock") < 10:
            called.append("asked")
            turns.call()

    turns = Turns((dock, lambda: called.append("canvas")))
    turns.call()
    qtbot.waitUntil(lambda: called.count("dock") == 10 and turns.over)
    parts = [name for name in called if name != "asked"]
    assert all("canvas" in parts[n : n + 3] for n in range(len(parts) - 2)), parts
    last = len(called) - called[::-1].index("asked")
    assert {"dock", "canvas"} == set(called[last:])


def test_between_two_calls_the_window_hears_its_user(qtbot):
    """A timer stands for the user: whatever comes between, it fires after each call, however long that was."""
    order = []

    def slow(name):
        QTimer.singleShot(0, lambda: order.append("user"))
        time.sleep(0.03)
        order.append(name)

    turns = Turns((lambda: slow("dock"), lambda: slow("canvas")))
    turns.call()
    turns.call()
    qtbot.waitUntil(lambda: turns.over)
    turns.call()  # right after the last one: its painting is still to come
    qtbot.waitUntil(lambda: order.count("user") == 4)
    assert order == ["dock", "user", "canvas", "user"] * 2


def test_one_that_fails_holds_up_no_other(qtbot):
    called = []

    def broken():
        raise RuntimeError("the layer is gone")

    turns = Turns((broken, lambda: called.append("canvas")))
    with qtbot.captureExceptions() as raised:
        turns.call()
        qtbot.waitUntil(lambda: turns.over)
    assert called == ["canvas"] and [str(error) for _, error, _ in raised] == ["the layer is gone"]
