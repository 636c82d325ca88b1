"""Makes the pictures of the window in docs/images. Needs the extra "gui" and a screen (or a virtual one).

    sh .ci/screen run .venv/bin/python docs/make_screenshots.py

Every picture is the real window after real intents; nothing is drawn by hand.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import napari
import numpy as np
from qtpy.QtWidgets import QApplication, QDockWidget

from napari_ibisagent.core.volume import Volume
from napari_ibisagent.evaluation.phantom import make_phantom
from napari_ibisagent.ui.contributions import image_layer
from napari_ibisagent.ui.widget import IbisWidget

FOLDER = Path(__file__).parent / "images"


class Studio:
    """A window with the dock, driven as a user would and looked at."""

    def __init__(self, theme: str = "dark", width: int | None = None) -> None:
        self._sessions = tempfile.TemporaryDirectory()
        self.viewer = napari.Viewer(show=True)
        self.viewer.theme = theme
        self.viewer.window.resize(1280, 860)
        self.widget = IbisWidget(self.viewer, Path(self._sessions.name))
        dock: QDockWidget = self.viewer.window.add_dock_widget(self.widget, name="IBIS Agent", area="right")
        self.wait(0.8)
        self.viewer.window._qt_window.resizeDocks([dock], [width or 440], _horizontal())
        self.wait(0.4)

    def open(self, volume: Volume) -> None:
        """Puts a scan into the window and waits until its session is open."""
        data, attributes, _ = image_layer(volume, None)
        self.viewer.add_image(data, **attributes)
        self.until(lambda: self.widget.desk is not None and self.widget.desk.ready)
        self.viewer.reset_view()

    def ask(self, sentence: str) -> None:
        """Asks, and waits until the agent waits or has ended."""
        self.widget.ask(sentence)
        self.rest()

    def press(self, intent: str) -> None:
        """A key or a button."""
        self.widget.press(intent)
        self.rest()

    def rest(self) -> None:
        """Waits until nothing runs any more."""
        self.until(lambda: self.widget.desk is not None and not self.widget.desk.running)

    def picture(self, name: str) -> None:
        """Saves the window as docs/images/window_NAME.png."""
        self.wait(0.6)
        self.viewer.window.screenshot(str(FOLDER / f"window_{name}.png"), canvas_only=False, flash=False)

    def until(self, condition: Callable[[], bool]) -> None:
        """Runs the event loop until the condition holds, at most 30 s."""
        end = time.monotonic() + 30
        while not condition():
            if time.monotonic() > end:
                raise TimeoutError("The window didn't get where the picture needs it.")
            QApplication.processEvents()
            time.sleep(0.005)

    def wait(self, seconds: float) -> None:
        """Runs the event loop for a while."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            QApplication.processEvents()
            time.sleep(0.005)

    def close(self) -> None:
        """Closes the window."""
        self.widget.close_session()
        self.viewer.close()
        self.wait(0.3)
        self._sessions.cleanup()


def _horizontal() -> object:
    from qtpy.QtCore import Qt

    return Qt.Orientation.Horizontal


def first_steps(volume: Volume) -> None:
    """The tutorial "Your first segmentation in two minutes", and the states of the gate."""
    studio = Studio()
    studio.picture("empty")
    studio.open(volume)
    studio.ask("segment the left kidney")
    studio.picture("proposing")
    studio.press("accept")
    studio.picture("refined")
    studio.press("go_on")
    studio.press("keep")
    studio.ask("segment the urinary bladder")
    studio.picture("not_found")
    studio.ask("segment the kidney")
    studio.picture("choices")
    studio.close()


def many_objects(volume: Volume) -> None:
    """A full object table, in the light theme and as narrow as the dock gets."""
    studio = Studio("light", width=320)
    studio.open(volume)
    studio.widget.run.click()
    for sentence in ("liver", "spleen", "left kidney", "right kidney", "aorta", "spine"):
        studio.ask(f"segment the {sentence}")
        studio.press("keep")
    studio.picture("objects")
    studio.close()


def wrong_side(volume: Volume) -> None:
    """The warning where a sided target lies on the other side: a person clicks the other kidney."""
    studio = Studio()
    studio.open(volume)
    studio.ask("segment the left kidney")
    episode = studio.widget.episode
    if episode is None or studio.widget.desk is None or episode.pending is None:
        raise RuntimeError("The agent proposed nothing.")
    click = next(a for a in episode.pending.actions if hasattr(a, "x"))
    mirrored = replace(click, x=1.0 - click.x)
    studio.widget.desk.act((mirrored,))
    studio.rest()
    studio.picture("warning")
    studio.close()


def main() -> None:
    """All pictures."""
    FOLDER.mkdir(exist_ok=True)
    volume = make_phantom(0, (3.0, 1.5, 1.5)).volume
    if not np.isfinite(volume.data).all():
        raise ValueError("The phantom is broken.")
    for make in (first_steps, many_objects, wrong_side):
        make(volume)


if __name__ == "__main__":
    main()
