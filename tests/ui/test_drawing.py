"""Clicks on a real Points layer: what napari is told, and what is drawn. No window."""

from __future__ import annotations

import os
import sys

import numpy as np
import pytest

pytest.importorskip("napari", reason="the extra gui is not installed")
pytest.importorskip("pytestqt", reason="pytest-qt is not installed")
if sys.platform.startswith("linux") and not os.environ.get("DISPLAY"):
    pytest.skip("no screen: run under xvfb-run", allow_module_level=True)

from window import little_scan

from napari_ibisagent.core.actions import Click
from napari_ibisagent.core.episode import Author
from napari_ibisagent.core.view import Plane, view_of
from napari_ibisagent.ui.drawing import clicks_layer, draw_clicks, put_points
from napari_ibisagent.ui.exhibit import Mark

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")


def heard(layer):
    """What the layer tells from now on: the actions of its data, and each part of the look that is set."""
    told = []
    layer.events.data.connect(lambda event: told.append((str(event.action), len(event.value))))
    for name in ("face_color", "border_color", "symbol"):
        getattr(layer.events, name).connect(lambda _, name=name: told.append(name))
    return told


def test_a_new_click_is_told_once_and_comes_with_its_look():
    layer, view = clicks_layer(), view_of(little_scan(), Plane.AXIAL, 5)
    first = Mark(Click(0.3, 0.4, True), Author.AGENT, True, 1)
    second = Mark(Click(0.6, 0.5, False), Author.HUMAN, False, 2)
    draw_clicks(layer, [first], view)
    told = heard(layer)
    draw_clicks(layer, [first, second], view)
    assert told == [("added", 2)]
    np.testing.assert_allclose(layer.data, [view.voxel_of(0.3, 0.4), view.voxel_of(0.6, 0.5)])
    assert [str(symbol) for symbol in layer.symbol] == ["disc", "cross"] and list(layer.features["step"]) == ["1", "2"]
    assert layer.face_color[1, 3] == 0 and layer.face_color[0, 1] > layer.face_color[0, 0]
    assert layer.border_color[1, 0] > layer.border_color[1, 1]
    draw_clicks(layer, [first, second], view)
    assert told == [("added", 2)]


def test_points_that_move_or_go_are_told_once():
    layer = clicks_layer()
    put_points(layer, np.ones((2, 3)))
    told = heard(layer)
    put_points(layer, np.zeros((2, 3)))
    put_points(layer, np.zeros((2, 3)))
    put_points(layer, np.empty((0, 3)))
    assert told == [("changed", 2), ("removed", 0)] and len(layer.data) == 0
