"""A napari window with the dock, worked by real keys and a real mouse; backends that tell how they are used."""

from __future__ import annotations

import hashlib
import json
import re
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from qtpy.QtCore import QPoint, Qt, QTimer
from qtpy.QtWidgets import QApplication

from napari_ibisagent import registry
from napari_ibisagent.core.actions import Box
from napari_ibisagent.core.protocols import Location, Segmentation
from napari_ibisagent.core.view import AXES, view_of
from napari_ibisagent.core.volume import Volume
from napari_ibisagent.evaluation.phantom import make_phantom
from napari_ibisagent.ui.backends import Backends
from napari_ibisagent.ui.contributions import image_layer, read_layers
from napari_ibisagent.ui.widget import IbisWidget

SHIFT, CONTROL = Qt.KeyboardModifier.ShiftModifier, Qt.KeyboardModifier.ControlModifier
NO_KEY = Qt.KeyboardModifier.NoModifier
LEFT = Qt.MouseButton.LeftButton
RADIUS = 0.08


def click_at(x, y, positive=True, thought="Here it is, in the middle of it."):
    """A turn of the agent's: one click."""
    sign = "Positive" if positive else "Negative"
    return f"<think>{thought}</think><action>{sign} Point ({x:.4f}, {y:.4f})</action>"


STOP = "<think>That fits well.</think><action>Terminate</action><answer>the thing</answer>"
# Far from each other, so that one click never covers another.
PLACES = ((0.35, 0.40), (0.65, 0.40), (0.50, 0.65), (0.25, 0.70))
CLICKS = tuple(click_at(x, y) for x, y in PLACES)


class Teller:
    """A policy that says the turn which fits the number of steps done, a word at a time. Counts how often it is asked.

    ``pause``: seconds before each word. ``slice_``: where it finds what is asked for; None: in the middle.
    ``target``: as what it understands the sentence. ``locate_pause``: seconds that it looks for the slice.
    """

    name, dialect = "teller", "ibis"

    def __init__(self, *turns, pause=0.0, slice_=None):
        self.turns = turns or (*CLICKS[:3], STOP)
        self.target, self.locate_pause = None, 0.0
        self.pause, self.slice, self.asked, self.located, self.words, self.heard = pause, slice_, 0, 0, 0, []

    def locate(self, volume, prompt, plane):
        self.located += 1
        index = volume.shape[AXES[plane][0]] // 2 if self.slice is None else self.slice
        time.sleep(self.locate_pause)
        return Location(index, "There it is.", self.target)

    def act(self, situation):
        self.asked += 1
        self.heard.append(situation.episode)
        turn = self.turns[min(len(situation.episode.steps), len(self.turns) - 1)]
        for word in re.findall(r"\S+\s*", turn):
            time.sleep(self.pause)
            self.words += 1
            yield word


class Dabber:
    """A tool that puts a disc where each click is and fills each box, on top of the prior mask. Counts its work."""

    name = "dabber"

    def __init__(self, pause=0.0):
        self.pause, self.opened, self.asked = pause, 0, 0

    def open(self, view):
        self.opened += 1
        return _Opened(self, view.shape)


@dataclass
class _Opened:
    tool: Dabber
    shape: tuple[int, int]

    def segment(self, prompts, prior):
        self.tool.asked += 1
        time.sleep(self.tool.pause)
        return Segmentation(dabbed(self.shape, prompts, prior), 0.9)


def dabbed(shape, prompts, prior=None):
    """The mask (H, W) that the tool makes."""
    mask = np.zeros(shape, bool) if prior is None else np.array(prior, bool)
    rows, columns = ((np.arange(n) + 0.5) / n for n in shape)
    for prompt in prompts:
        if isinstance(prompt, Box):
            inside = np.outer(
                (rows >= prompt.y0) & (rows <= prompt.y1), (columns >= prompt.x0) & (columns <= prompt.x1)
            )
            mask |= inside
        else:
            near = (rows[:, None] - prompt.y) ** 2 + (columns[None] - prompt.x) ** 2 <= RADIUS**2
            mask = mask | near if prompt.positive else mask & ~near
    return mask


def little_scan(name="little"):
    """A CT of 12 slices without anything in it but a gradient: quick to draw, on an anisotropic grid."""
    data = np.broadcast_to(np.linspace(-200, 200, 40, dtype=np.int16)[:, None, None], (40, 48, 12)).copy()
    return Volume.from_source(data, np.diag([-2.0, -2.0, 4.0, 1.0]), modality="CT", name=name)


def small_phantom():
    """The phantom with the organs that the embedded policy finds, in some seconds."""
    return make_phantom(0, (6.0, 3.0, 3.0))


def backends(policy=None, tool=None):
    """The teller and the dabber in the places of the embedded ones, so that they are in use from the start."""
    made = Backends()
    made.put("policies", "embedded", policy or Teller())
    made.put("segmenters", registry.DEFAULT_SEGMENTER, tool or Dabber())
    return made


@dataclass
class Window:
    """A viewer with the dock."""

    viewer: object
    widget: IbisWidget
    qtbot: object
    policy: object = None
    tool: object = None

    # -- what there is -----------------------------------------------------------------------------------

    @property
    def desk(self):
        return self.widget.desk

    @property
    def store(self):
        return self.widget.desk.store

    @property
    def episode(self):
        return self.widget.episode

    @property
    def steps(self):
        return () if self.episode is None else self.episode.steps

    @property
    def canvas(self):
        return self.viewer.window._qt_viewer.canvas.native

    @property
    def image(self):
        return self.desk.image

    def layer(self, key):
        """The plugin's layer of a kind: "mask", "clicks", "boxes", "labels"."""
        return self.viewer.layers[f"{self.image.name} {key}"]

    def has(self, key):
        return f"{self.image.name} {key}" in self.viewer.layers

    def drawn(self):
        """The working mask of the episode's slice, (rows, columns) bool, as it lies in the layer."""
        axis = ("axial", "coronal", "sagittal").index(self.episode.plane)
        return np.take(self.layer("mask").data, self.episode.index, axis) != 0

    def true_mask(self):
        """The same from the session."""
        view = view_of(self.desk.scan.volume, self.episode.plane, self.episode.index)
        return view.to_native(self.episode.mask_array())

    def texts(self):
        return "\n".join(self.widget.conversation.texts())

    # -- waiting -----------------------------------------------------------------------------------------

    def until(self, condition, timeout=30_000):
        self.qtbot.waitUntil(condition, timeout=timeout)

    def shown(self):
        """Until everything that was decided is drawn."""
        self.until(lambda: self.widget._turns.over)
        QApplication.processEvents()

    def ready(self):
        self.until(lambda: self.desk is not None and self.desk.ready)
        self.shown()

    def waits(self, timeout=20_000):
        """Until a click waits for a verdict."""
        self.until(lambda: self.episode is not None and self.episode.waits and not self.desk.running, timeout)
        self.shown()
        return self.episode

    def rests(self, timeout=20_000):
        """Until nothing runs any more."""
        self.until(lambda: not self.desk.running, timeout)
        self.shown()
        return self.episode

    # -- hands -------------------------------------------------------------------------------------------

    def key(self, key, modifier=NO_KEY, on=None):
        """A key on the canvas, or on another widget that gets the keyboard first."""
        target = self.canvas if on is None else on
        target.setFocus()
        self.qtbot.keyClick(target, key, modifier)
        self.shown()

    def ask(self, sentence):
        self.qtbot.keyClicks(self.widget.composer, sentence)
        self.widget.composer.close_completions()
        self.qtbot.keyClick(self.widget.composer, Qt.Key.Key_Return)

    def press(self, button):
        """A click of the mouse on one of the dock's buttons."""
        widget = getattr(self.widget, button, None) or self.widget.buttons[button]
        self.qtbot.mouseClick(widget, LEFT)
        self.shown()

    def card(self, key):
        """The widget of a card."""
        found = self.widget.conversation.view_of(key)
        assert found is not None, (key, [s.card.key for s in self.widget.conversation._column.slots])
        return found

    def card_key(self):
        """The key of the card of the proposal that waits."""
        return f"{len(self.store.session.episodes) - 1}-{len(self.steps) + 1}"

    def choose(self, card, words):
        """An entry of a card's menu, by its text."""
        menu = self.card(card).open_menu()
        action = next(a for a in menu.actions() if a.text() == words)
        action.trigger()
        menu.close()
        self.shown()

    def entries(self, card):
        menu = self.card(card).open_menu()
        found = [action.text() for action in menu.actions() if action.text()]
        menu.close()
        return found

    # -- the mouse ---------------------------------------------------------------------------------------

    def pixel(self, world):
        """The pixel (x, y) of the canvas where a point of napari's world is drawn, from the camera alone."""
        camera, canvas = self.viewer.scene.camera, self.canvas
        vertical, horizontal = (str(way) for way in camera.orientation2d)
        rows, columns = (world[axis] for axis in self.viewer.dims.displayed)
        x = (columns - camera.center[-1]) * camera.zoom * (1 if horizontal == "right" else -1)
        y = (rows - camera.center[-2]) * camera.zoom * (1 if vertical == "down" else -1)
        return canvas.width() / 2 + x, canvas.height() / 2 + y

    def spot(self, x, y):
        """The pixel of the canvas of the normalised point (x, y) of the slice that is shown, as a QPoint."""
        image, dims = self.image, self.viewer.dims
        rows, columns = (axis - (dims.ndim - image.ndim) for axis in dims.displayed)
        voxel = [0.0] * image.ndim
        voxel[rows], voxel[columns] = y * image.data.shape[rows] - 0.5, x * image.data.shape[columns] - 0.5
        world = np.array(dims.point, float)
        world[-image.ndim :] = image.data_to_world(voxel)
        across, down = self.pixel(world)
        return QPoint(round(across), round(down))

    def click(self, x, y):
        at = settled(lambda: self.spot(x, y), self.qtbot)
        self.qtbot.mouseMove(self.canvas, at)
        self.qtbot.mouseClick(self.canvas, LEFT, NO_KEY, at)
        self.shown()

    def drag(self, start, end, steps=5):
        """Press at a point, move, release at another; both normalised (x, y)."""
        a, b = settled(lambda: (self.spot(*start), self.spot(*end)), self.qtbot)
        self.qtbot.mouseMove(self.canvas, a)
        self.qtbot.mousePress(self.canvas, LEFT, NO_KEY, a)
        for n in range(1, steps + 1):
            self.qtbot.mouseMove(self.canvas, a + (b - a) * n / steps)
            QApplication.processEvents()
        self.qtbot.mouseRelease(self.canvas, LEFT, NO_KEY, b)
        self.shown()

    def remove(self, layer):
        """Takes a layer away."""
        self.viewer.layers.remove(layer)


def settled(place, qtbot):
    """A place on the canvas once it stays where it is: sliders and hints come and go, and the canvas with them."""
    now, same = place(), 0
    for _ in range(100):
        qtbot.wait(15)
        before, now = now, place()
        same = same + 1 if now == before else 0
        if same == 3:
            return now
    raise AssertionError("The canvas doesn't come to rest.")


def open_window(viewer, qtbot, folder, policy=None, tool=None, known=None, size=(1150, 640)):
    """The dock in a viewer, its journals in ``folder``."""
    policy, tool = policy or Teller(), tool or Dabber()
    widget = IbisWidget(viewer, sessions=folder, backends=known or backends(policy, tool))
    viewer.window.add_dock_widget(widget, name="IBIS Agent", area="right")
    viewer.window._qt_window.resize(*size)
    return Window(viewer, widget, qtbot, policy, tool)


def add_scan(window, volume, path=None):
    """Opens a volume as the plugin's reader does; returns the layer."""
    data, attributes, _ = image_layer(volume, path)
    layer = window.viewer.add_image(data, **attributes)
    window.ready()
    window.viewer.reset_view()
    window.qtbot.wait(50)
    return layer


# -- a window of another process, that is killed -----------------------------------------------------------


def digest(session):
    """What tells two sessions apart, down to the last voxel."""
    return hashlib.sha256(repr(session).encode()).hexdigest()


def work_until_killed(scan, sessions):
    """Opens a scan, does one request to the end, keeps its object, begins another. Says each event once it is saved."""
    import napari

    viewer = napari.Viewer(show=True)
    window = open_window(viewer, None, Path(sessions), Teller(*CLICKS, STOP, pause=0.03), Dabber())
    (layer,) = read_layers(scan)
    viewer.add_image(layer[0], **layer[1])

    def tell(_, session):
        store = window.store
        if session.episode is not None and len(session.episodes) == 1 and session.episode.outcome is not None:
            if session.episode.kept_as is None:
                QTimer.singleShot(0, window.desk.keep)
            else:
                QTimer.singleShot(0, lambda: window.widget.ask("another thing"))
        said = [card.text for card in window.desk.cards() if card.kind in ("user", "step")]
        words = {"nodes": len(store.history.nodes), "digest": digest(session), "texts": said}
        words |= {
            "episodes": len(session.episodes),
            "steps": 0 if session.episode is None else len(session.episode.steps),
        }
        sys.stdout.write(json.dumps(words) + "\n")
        sys.stdout.flush()

    def begin():
        if window.desk is None or not window.desk.ready:
            QTimer.singleShot(20, begin)
            return
        window.store.subscribe(tell)
        window.widget.review_chosen.emit(False)
        window.widget.ask("the thing")

    begin()
    napari.run()
