"""The letters at the canvas edges and the cursor's place, in a real napari window, against the volume's own affine."""

from __future__ import annotations

import os
import sys

import numpy as np
import pytest

pytest.importorskip("napari", reason="the extra gui is not installed")
pytest.importorskip("pytestqt", reason="pytest-qt is not installed")
if sys.platform.startswith("linux") and not os.environ.get("DISPLAY"):
    pytest.skip("no screen: run under xvfb-run", allow_module_level=True)

from qtpy.QtCore import QEvent, QPoint, QPointF, Qt
from qtpy.QtGui import QEnterEvent
from qtpy.QtWidgets import QApplication, QLabel, QMainWindow, QWidget
from window import settled

from napari_ibisagent.core.orientation import patient_point, point_text
from napari_ibisagent.core.volume import Volume
from napari_ibisagent.ui.orientation import Compass
from napari_ibisagent.ui.scan import SCAN, Scan

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")

AXIAL, CORONAL, SAGITTAL = (0, 1, 2), (1, 0, 2), (2, 0, 1)
NOWHERE = dict.fromkeys(("top", "bottom", "left", "right"), "")


def oblique():
    """A file's grid that runs back to front, head to feet and right to left, anisotropic, tilted by some degrees."""
    affine = np.array([[0.0, 0.0, -0.7, 31.0], [1.4, 0.0, 0.0, -80.0], [0.0, -4.0, 0.0, 55.0], [0.0, 0.0, 0.0, 1.0]])
    tilt = np.eye(4)
    for (a, b), degrees in (((0, 1), 6.0), ((1, 2), -9.0)):
        step = np.eye(4)
        step[a, a] = step[b, b] = np.cos(np.radians(degrees))
        step[a, b], step[b, a] = -np.sin(np.radians(degrees)), np.sin(np.radians(degrees))
        tilt = step @ tilt
    return tilt @ affine


def patient_colours(affine, shape):
    """A volume (Z, Y, X, 3) whose red grows to the patient's right, green to the front, blue to the head."""
    ijk = np.stack(np.meshgrid(*[np.arange(n) for n in shape], indexing="ij"), axis=-1)
    points = ijk @ affine[:3, :3].T + affine[:3, 3]
    low, high = points.min(axis=(0, 1, 2)), points.max(axis=(0, 1, 2))
    return Volume.from_source(np.rint((points - low) / (high - low) * 255).astype(np.uint8), affine, name="colours")


@pytest.fixture
def opened(make_napari_viewer, request):
    """A viewer, its compass, and the layer of a volume; the volume comes from the parameter, or is the oblique one."""
    viewer = make_napari_viewer(strict_qt="raise", show=True)
    window = viewer.window._qt_window
    compass = Compass(viewer, window)
    volume = getattr(request, "param", None) or patient_colours(oblique(), (40, 12, 60))
    layer = add(viewer, volume)
    compass.set_scan(layer)
    yield viewer, compass, layer
    compass.close()


def add(viewer, volume, **attributes):
    attributes = {"scale": volume.spacing_mm, "rgb": volume.is_colour} | attributes
    return viewer.add_image(volume.data, metadata={SCAN: Scan(volume)}, **attributes)


def canvas_of(viewer):
    (found,) = [
        w for w in viewer.window._qt_window.centralWidget().findChildren(QWidget) if w.inherits("QOpenGLWidget")
    ]
    return found


def labels(viewer):
    return {
        edge: canvas_of(viewer).findChild(QLabel, f"ibisagent-orientation-{edge}")
        for edge in ("top", "bottom", "left", "right")
    }


def letters(viewer):
    """What a person can read at the four edges."""
    return {edge: label.text() if label.isVisible() else "" for edge, label in labels(viewer).items()}


def point(viewer):
    label = viewer.window._qt_window.statusBar().findChild(QLabel, "ibisagent-patient-point")
    return label.text() if label.isVisible() else ""


def pixel_of(viewer, world):
    """The canvas pixel (x, y) of a point of napari's world, from the camera alone."""
    camera, canvas = viewer.scene.camera, canvas_of(viewer)
    vertical, horizontal = (str(way) for way in camera.orientation2d)
    rows, columns = (world[axis] for axis in viewer.dims.displayed)
    x = (columns - camera.center[-1]) * camera.zoom * (1 if horizontal == "right" else -1)
    y = (rows - camera.center[-2]) * camera.zoom * (1 if vertical == "down" else -1)
    return canvas.width() / 2 + x, canvas.height() / 2 + y


def colours_at_the_edges(viewer, layer, qtbot):
    """The drawn colour near each edge of the slice, by the edge of the canvas that it is nearest to."""
    qtbot.wait(50)
    picture = viewer.screenshot(canvas_only=True, flash=False).astype(float)
    size = np.array(layer.data.shape[:3])
    found = {}
    for axis in viewer.dims.displayed:
        for end in (0.1, 0.9):
            voxel = (size - 1) / 2
            voxel[axis] = end * (size[axis] - 1)
            world = np.array(layer.data_to_world(voxel))
            for hidden in viewer.dims.not_displayed:
                world[hidden] = viewer.dims.point[hidden]
            x, y = pixel_of(viewer, world)
            across, down = x - picture.shape[1] / 2, y - picture.shape[0] / 2
            edge = ("left" if across < 0 else "right") if abs(across) > abs(down) else ("top" if down < 0 else "bottom")
            found[edge] = picture[round(y), round(x), :3]
    assert len(found) == 4
    return found


def assert_true(viewer, layer, qtbot):
    """Each letter's colour grows from the opposite edge to its own."""
    colours, shown = colours_at_the_edges(viewer, layer, qtbot), letters(viewer)
    for edge, opposite in (("top", "bottom"), ("bottom", "top"), ("left", "right"), ("right", "left")):
        change = colours[edge] - colours[opposite]
        (letter,) = shown[edge]
        channel = max(range(3), key=lambda n: abs(change[n]))
        assert letter == ("RAS" if change[channel] > 0 else "LPI")[channel], f"{letter} is drawn at the {edge} edge"


def point_at(viewer, world, qtbot):
    """Moves the mouse onto a point of the world."""
    canvas = canvas_of(viewer)
    x, y = settled(lambda: pixel_of(viewer, world), qtbot)
    at = QPointF(x, y)
    QApplication.sendEvent(canvas, QEnterEvent(at, at, QPointF(canvas.mapToGlobal(at.toPoint()))))
    qtbot.mouseMove(canvas, QPoint(5, 5))
    qtbot.wait(20)
    qtbot.mouseMove(canvas, at.toPoint())
    qtbot.wait(20)


def leave(viewer):
    """Moves the mouse off the canvas."""
    QApplication.sendEvent(canvas_of(viewer), QEvent(QEvent.Type.Leave))


def test_the_letters_are_true_in_every_plane(opened, qtbot):
    viewer, _, layer = opened
    wanted = {
        AXIAL: ("A", "P", "R", "L"),
        CORONAL: ("S", "I", "R", "L"),
        SAGITTAL: ("S", "I", "A", "P"),
        (0, 2, 1): ("R", "L", "A", "P"),
        (1, 2, 0): ("R", "L", "S", "I"),
    }
    for order, edges in wanted.items():
        viewer.dims.order = order
        assert tuple(letters(viewer).values()) == edges
        assert_true(viewer, layer, qtbot)
    viewer.dims.order = AXIAL
    viewer.dims.transpose()
    assert tuple(letters(viewer).values()) == ("R", "L", "A", "P")
    viewer.dims.roll()
    assert_true(viewer, layer, qtbot)


def test_the_letters_follow_flips_and_the_camera(opened, qtbot):
    viewer, _, layer = opened
    z, y, x = layer.scale
    layer.scale = (z, y, -x)
    viewer.reset_view()
    assert tuple(letters(viewer).values()) == ("A", "P", "L", "R")
    assert_true(viewer, layer, qtbot)
    layer.scale = (z, -y, -x)
    viewer.reset_view()
    viewer.scene.camera.orientation2d = ("up", "right")
    assert tuple(letters(viewer).values()) == ("A", "P", "L", "R")
    assert_true(viewer, layer, qtbot)
    viewer.scene.camera.orientation2d = ("up", "left")
    viewer.dims.order = CORONAL
    viewer.reset_view()
    assert tuple(letters(viewer).values()) == ("I", "S", "R", "L")
    assert_true(viewer, layer, qtbot)


def test_a_layer_turned_by_hand_is_followed(opened):
    viewer, _, layer = opened
    layer.rotate = 90  # axial: rows and columns change places
    turned = letters(viewer)
    assert {turned["top"], turned["bottom"]} == {"R", "L"}
    assert {turned["left"], turned["right"]} == {"A", "P"}
    # napari turns (row, column) by the matrix ((0, -1), (1, 0)): what lay on the right comes to the top.
    assert turned == {"top": "L", "bottom": "R", "left": "A", "right": "P"}
    layer.rotate = 45
    # Half way, what lay in the upper right corner is on top; the tilt decides which of its two sides is named first.
    assert {edge: "".join(sorted(text)) for edge, text in letters(viewer).items()} == {
        "top": "AL",
        "bottom": "PR",
        "left": "AR",
        "right": "LP",
    }


def test_a_steep_grid_names_two_sides(make_napari_viewer):
    viewer = make_napari_viewer(strict_qt="raise", show=True)
    compass = Compass(viewer, viewer.window._qt_window)
    c, s = np.cos(np.radians(30)), np.sin(np.radians(30))
    turned = np.array([[-c, -s, 0, 0], [s, -c, 0, 0], [0, 0, -2, 0], [0, 0, 0, 1]], float)
    compass.set_scan(add(viewer, Volume.from_source(np.zeros((8, 7, 6), np.int16), turned)))
    assert letters(viewer) == {"top": "AR", "bottom": "PL", "left": "RP", "right": "LA"}
    compass.close()


def test_what_is_unknown_is_not_shown(opened):
    viewer, compass, layer = opened
    viewer.dims.ndisplay = 3
    assert letters(viewer) == NOWHERE
    viewer.dims.ndisplay = 2
    assert "" not in letters(viewer).values()
    compass.set_scan(None)
    assert letters(viewer) == NOWHERE
    picture = add(viewer, Volume.from_picture(np.zeros((20, 30), np.uint8), spacing_mm=(0.5, 0.5)))
    compass.set_scan(picture)
    assert letters(viewer) == NOWHERE
    compass.set_scan(viewer.add_image(np.zeros((4, 4, 4))))
    assert letters(viewer) == NOWHERE
    compass.set_scan(layer)
    layer.data = layer.data[:, :, :-3]  # no longer the scan's own voxels
    assert letters(viewer) == NOWHERE


def test_a_removed_layer_takes_its_letters_along(opened):
    viewer, _, layer = opened
    other = viewer.add_labels(np.zeros(layer.data.shape[:3], np.uint8), scale=layer.scale)
    viewer.layers.remove(other)
    assert "" not in letters(viewer).values()
    viewer.layers.remove(layer)
    assert letters(viewer) == NOWHERE


def test_a_layer_with_an_axis_more_shifts_nothing(opened):
    viewer, _, layer = opened
    viewer.add_image(np.zeros((3, 12, 40, 60)), scale=(1, *layer.scale))
    assert tuple(letters(viewer).values()) == ("A", "P", "R", "L")
    viewer.dims.order = (0, 2, 1, 3)
    assert tuple(letters(viewer).values()) == ("S", "I", "R", "L")
    viewer.dims.order = (3, 2, 0, 1)  # along the first axis the scan doesn't extend
    assert letters(viewer) == NOWHERE


def test_the_letters_stay_at_the_edges(opened, qtbot):
    viewer, _, _ = opened
    window, canvas = viewer.window._qt_window, canvas_of(viewer)
    for size in ((1100, 800), (640, 480)):
        window.resize(*size)
        qtbot.wait(100)
        middle = canvas.rect().center()
        found = {edge: label.geometry() for edge, label in labels(viewer).items()}
        assert all(canvas.rect().contains(frame) for frame in found.values())
        assert found["top"].top() == found["left"].left() == 8
        assert canvas.height() - found["bottom"].bottom() == canvas.width() - found["right"].right() == 9
        assert all(abs(found[edge].center().x() - middle.x()) <= 1 for edge in ("top", "bottom"))
        assert all(abs(found[edge].center().y() - middle.y()) <= 1 for edge in ("left", "right"))
    assert all(
        label.testAttribute(Qt.WidgetAttribute.WA_TransparentForMouseEvents) for label in labels(viewer).values()
    )


@pytest.mark.parametrize("ink", [0, 255], ids=["black", "white"])
@pytest.mark.parametrize("theme", ["dark", "light"])
def test_the_letters_are_readable(opened, qtbot, ink, theme):
    viewer, compass, layer = opened
    viewer.theme = theme
    compass.set_scan(layer)
    layer.data[...] = ink
    layer.refresh()
    viewer.scene.camera.zoom = 100
    qtbot.wait(100)
    label = labels(viewer)["top"]
    picture = viewer.window._qt_window.grab().toImage()
    corner = label.mapTo(viewer.window._qt_window, QPoint(0, 0))
    grey = np.array(
        [
            [picture.pixelColor(corner.x() + x, corner.y() + y).lightnessF() for x in range(label.width())]
            for y in range(label.height())
        ]
    )
    assert grey.max() > 0.95
    assert np.median(grey) < 0.45  # 4.5 to 1 against white


@pytest.mark.parametrize("order", [AXIAL, CORONAL, SAGITTAL], ids=["axial", "coronal", "sagittal"])
def test_the_cursor_has_its_place_in_the_patient(opened, qtbot, order):
    viewer, _, layer = opened
    volume = layer.metadata[SCAN].volume
    z, y, x = layer.scale
    layer.scale = (z, -y, x)
    viewer.dims.order = order
    viewer.reset_view()
    for voxel in ((3, 10, 44), (8, 33, 20), (0, 0, 0)):
        world = np.array(layer.data_to_world(voxel))
        viewer.dims.set_point(range(3), world)
        point_at(viewer, world, qtbot)
        # The mouse stands on whole pixels: half of one may lie between it and the voxel's centre.
        found = np.array(
            [float(word.split()[1]) * (-1 if word[0] in "LPI" else 1) for word in point(viewer)[:-3].split("  ")]
        )
        wanted = (volume.affine @ (voxel[2], voxel[1], voxel[0], 1.0))[:3]
        assert np.abs(found - wanted).max() <= 0.75 / viewer.scene.camera.zoom + 0.06
        under = layer.world_to_data(viewer.cursor.position)
        assert point(viewer) == point_text(patient_point(volume.affine, under))


def test_the_place_follows_the_slice_under_a_resting_mouse(opened, qtbot):
    viewer, _, layer = opened
    world = np.array(layer.data_to_world((3, 10, 44)))
    viewer.dims.set_point(0, world[0])
    point_at(viewer, world, qtbot)
    before = point(viewer)
    viewer.dims.set_point(0, world[0] + layer.scale[0])
    after = point(viewer)
    assert before and after and before != after
    volume = layer.metadata[SCAN].volume
    assert after == point_text(patient_point(volume.affine, layer.world_to_data(viewer.cursor.position)))
    assert layer.world_to_data(viewer.cursor.position)[0] == pytest.approx(4)


def test_no_place_is_shown_where_it_is_not_known(opened, qtbot):
    viewer, compass, layer = opened
    inside = np.array(layer.data_to_world((3, 10, 44)))
    point_at(viewer, inside, qtbot)
    assert point(viewer)
    leave(viewer)
    assert point(viewer) == ""
    point_at(viewer, layer.data_to_world((3, 10, -0.9)), qtbot)
    assert point(viewer) == ""
    point_at(viewer, inside, qtbot)
    assert point(viewer)
    viewer.dims.order = CORONAL  # other voxels lie under the mouse, which napari learns only when it moves
    assert point(viewer) == ""
    point_at(viewer, layer.data_to_world((3, 10, 44)), qtbot)
    assert point(viewer)
    viewer.dims.ndisplay = 3
    assert point(viewer) == ""
    viewer.dims.ndisplay = 2
    viewer.dims.order = AXIAL
    picture = add(viewer, Volume.from_picture(np.zeros((200, 300), np.uint8), spacing_mm=(0.5, 0.5)))
    compass.set_scan(picture)
    point_at(viewer, inside, qtbot)
    assert point(viewer) == ""
    unsized = Volume.from_source(np.zeros((20, 20, 20)), np.eye(4), has_spacing=False)
    compass.set_scan(add(viewer, unsized))
    point_at(viewer, (5, 5, 5), qtbot)
    assert point(viewer) == "" and "" not in letters(viewer).values()


def test_closing_leaves_nothing_behind(opened, qtbot):
    viewer, compass, layer = opened
    window = viewer.window._qt_window
    compass.close()
    compass.close()
    qtbot.wait(20)
    assert not [w for w in window.findChildren(QLabel) if w.objectName().startswith("ibisagent-")]
    assert compass._on_mouse_move not in viewer.mouse_move_callbacks
    late = []
    # napari looks its callbacks up by name when it calls them.
    for name in ("_on_turned", "_refresh", "_refresh_point", "_on_layer_removed"):
        setattr(compass, name, late.append)
    viewer.dims.order = CORONAL
    layer.scale = (1, 1, 1)
    viewer.dims.ndisplay = 3
    viewer.dims.set_point(0, 3)
    viewer.scene.camera.orientation2d = ("up", "left")
    viewer.mouse_over_canvas = not viewer.mouse_over_canvas
    window.resize(700, 500)
    qtbot.wait(50)
    viewer.layers.clear()
    assert late == []


def test_a_window_closed_first_is_no_fault(make_napari_viewer, qtbot):
    viewer = make_napari_viewer(strict_qt="raise", show=True)
    compass = Compass(viewer, viewer.window._qt_window)
    compass.set_scan(add(viewer, patient_colours(oblique(), (8, 9, 10))))
    viewer.close()
    qtbot.wait(50)
    compass.close()


def test_a_window_without_a_canvas_is_refused(qtbot):
    window = QMainWindow()
    qtbot.addWidget(window)
    window.setCentralWidget(QWidget())
    with pytest.raises(RuntimeError, match="holds 0 canvases"):
        Compass(None, window)
