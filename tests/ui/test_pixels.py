"""Where the canvas shows a click and a mask: against a bright voxel, whose place in the patient is known."""

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
from window import RADIUS, STOP, Teller, add_scan, click_at

from napari_ibisagent.core.view import AXES, Plane
from napari_ibisagent.core.volume import Volume

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")

ORDERS = {Plane.AXIAL: (0, 1, 2), Plane.CORONAL: (1, 0, 2), Plane.SAGITTAL: (2, 0, 1)}
GREEN, RED = np.array([0, 177, 12]), np.array([211, 7, 0])
MASK, OPACITY = np.array([0x22, 0xC3, 0x22]), 0.35
GREY = 60


def tilted(*degrees):
    """A rotation (4, 4) about x, y and z."""
    whole = np.eye(4)
    for (a, b), angle in zip(((1, 2), (0, 2), (0, 1)), np.radians(degrees), strict=True):
        step = np.eye(4)
        step[a, a] = step[b, b] = np.cos(angle)
        step[a, b], step[b, a] = -np.sin(angle), np.sin(angle)
        whole = step @ whole
    return whole


def marked():
    """A grey scan with one bright block, and the block's middle as a patient's point (RAS+, mm).

    The file's axes run back to front, head to feet and right to left; its voxels are anisotropic and tilted.
    """
    affine = np.array([[0.0, 0.0, -0.9, 31.0], [1.5, 0.0, 0.0, -80.0], [0.0, -4.0, 0.0, 55.0], [0.0, 0.0, 0.0, 1.0]])
    affine = tilted(7.0, -5.0, 9.0) @ affine
    data = np.full((44, 14, 70), GREY, np.uint8)
    data[29:32, 4, 20:23] = 255
    volume = Volume.from_source(data, affine, name="oblique")
    return volume, (affine @ (30.0, 4.0, 21.0, 1.0))[:3]


def voxel_of(volume, point):
    """The voxel (z, y, x) of a patient's point, from the scan's affine."""
    x, y, z = (np.linalg.inv(volume.affine) @ (*point, 1.0))[:3]
    return np.array([z, y, x])


def picture(window):
    window.qtbot.wait(80)
    return window.viewer.screenshot(canvas_only=True, flash=False)[..., :3].astype(float)


def brightest(shown):
    """The middle (x, y) of what is white."""
    rows, columns = np.nonzero(shown.min(axis=2) > 220)
    assert rows.size > 0
    return np.array([columns.mean(), rows.mean()])


@pytest.mark.parametrize("flipped", [False, True], ids=["", "flipped by hand"])
@pytest.mark.parametrize("plane", list(Plane))
def test_the_click_and_the_mask_are_drawn_where_the_scan_says(opened, plane, flipped):
    volume, point = marked()
    sliced, row, column = AXES[plane]
    voxel = voxel_of(volume, point)
    y, x = ((voxel[axis] + 0.5) / volume.shape[axis] for axis in (row, column))
    turns = click_at(x, y), click_at(x, turns_y(y), positive=False), STOP
    window = opened(Teller(*turns, slice_=round(voxel[sliced])), scan=False)
    layer = add_scan(window, volume)
    layer.contrast_limits = (0, 255)
    if flipped:
        layer.scale = tuple(-size if axis == column else size for axis, size in enumerate(layer.scale))
    window.viewer.dims.order = ORDERS[plane]
    window.viewer.dims.set_point(sliced, layer.data_to_world(voxel)[sliced])
    window.viewer.reset_view()
    before = picture(window)
    white = brightest(before)
    computed = np.array(window.pixel(layer.data_to_world(voxel)))
    assert np.abs(white - computed).max() <= 2.0

    window.ask("the bright thing")
    assert window.waits().plane is plane
    shown = picture(window)
    ring = np.abs(shown - GREEN).max(axis=2) < 40
    rows, columns = np.nonzero(ring)
    assert np.abs(np.array([columns.mean(), rows.mean()]) - white).max() <= 2.0
    at, far = tuple(np.rint(white[::-1]).astype(int)), (4, 4)
    assert shown[at].min() > 200  # hollow: the scan is seen in its middle

    window.key(Qt.Key.Key_A)
    window.until(lambda: len(window.steps) == 1)
    window.waits()
    shown = picture(window)
    assert np.abs(shown[at] - GREEN).max() < 30 and np.abs(shown[far] - before[far]).max() < 5
    compared = 0
    blended = (1 - OPACITY) * GREY + OPACITY * MASK
    for across, down in ((1, 0), (-1, 0), (0, 1), (0, -1)):
        inside, outside = voxel.copy(), voxel.copy()
        for place, share in ((inside, 0.75), (outside, 1.35)):
            place[column] += across * share * RADIUS * volume.shape[column]
            place[row] += down * share * RADIUS * volume.shape[row]
        for place, wanted in ((inside, blended), (outside, np.full(3, GREY))):
            u, v = window.pixel(layer.data_to_world(np.rint(place)))
            found = shown[round(v), round(u)]
            if far_from_marks((u, v), white):
                compared += 1
                assert np.abs(found - wanted).max() < 14, (across, down, found, wanted)

    assert compared >= 6
    window.key(Qt.Key.Key_A)
    window.until(lambda: len(window.steps) == 2)
    window.rests()
    shown = picture(window)
    second = voxel.copy()
    second[row] = turns_y(y) * volume.shape[row] - 0.5
    u, v = window.pixel(layer.data_to_world(second))
    assert np.abs(shown[round(v), round(u)] - RED).max() < 30


def turns_y(y):
    """Where the second click goes."""
    return y - 0.2 if y > 0.5 else y + 0.2


def far_from_marks(pixel, white):
    """Whether neither the click's disc nor its number or the bright block lie over a pixel."""
    return float(np.linalg.norm(np.array(pixel) - white)) > 12
