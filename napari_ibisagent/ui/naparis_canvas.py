"""napari's canvas as a widget, and taking layers away without ending the process.

napari frees the graphics buffers of a layer as soon as it is removed, in whichever OpenGL context is current just then.
Where that isn't the canvas' own one, the canvas goes on pointing at what was freed, and the next drawing may read it:
two layers removed in quick succession have ended the process (napari 0.9.2 with vispy 0.16, Mesa).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from qtpy.compat import isalive
from qtpy.QtWidgets import QMainWindow, QWidget


def canvas_of(window: QMainWindow) -> Any:
    """The widget that napari draws the slices in, a QOpenGLWidget.

    napari has no public name for it. It is the one OpenGL widget of the window's centre; docks may hold others.
    """
    found = [child for child in window.centralWidget().findChildren(QWidget) if child.inherits("QOpenGLWidget")]
    if len(found) != 1:
        raise RuntimeError(
            f"napari's window holds {len(found)} canvases where one is expected. "
            "Install a release of napari that this plugin was tested with (see its installation notes)."
        )
    return found[0]


def free_in_its_own_context(viewer: Any, canvas: Any) -> Callable[[], None]:
    """From now on what a removed layer held is freed in the canvas' own context. Returns what ends that."""

    def before_removal(_: Any) -> None:
        if isalive(canvas):
            canvas.makeCurrent()

    viewer.layers.events.removing.connect(before_removal)
    return lambda: viewer.layers.events.removing.disconnect(before_removal)
