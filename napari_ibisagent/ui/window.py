"""A napari window with the dock, and a scan where one is named."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path

import napari
import napari.qt  # napari itself imports Qt late; where that is missing, this module should say so at once
from npe2 import PluginManager
from qtpy.QtCore import QTimer
from qtpy.QtGui import QGuiApplication

from napari_ibisagent.core.errors import BackendError
from napari_ibisagent.core.volume import Volume
from napari_ibisagent.ui.contributions import contrast_range, image_layer

PLUGIN = "napari-ibisagent"
_SIZE = (1400, 900)


def open_window(scan: Path | None, *, series: str | None = None, modality: str | None = None) -> None:
    """Opens napari with a scan, where one is named, and the dock; returns when the window is closed.

    ``series`` and ``modality`` as in ``read_scan``. Raises its errors, and BackendError where there is no
    screen, before anything is shown.
    """
    from napari_ibisagent.io.read import read_scan

    volume = None if scan is None else read_scan(scan, series=series, modality=modality)
    check_screen(sys.platform, os.environ)
    viewer = napari.Viewer(title="IBIS Agent")
    try:
        fill_window(viewer, volume, scan, series)
    except BaseException:
        viewer.close()  # a window left open would crash Qt when the program ends
        raise
    napari.run()


def fill_window(viewer: napari.Viewer, volume: Volume | None, path: Path | None, series: str | None = None) -> None:
    """Puts the scan and the dock into a window. Raises BackendError where the plugin is switched off."""
    if volume is not None:
        data, attributes, _ = image_layer(volume, path, series)
        layer = viewer.add_image(data, **attributes)
        if not volume.is_colour:
            layer.contrast_limits_range = contrast_range(volume)
    if PLUGIN not in {manifest.name for manifest in PluginManager.instance().iter_manifests(disabled=False)}:
        raise BackendError(
            f"napari doesn't offer the dock: {PLUGIN} is switched off. Switch it on under Plugins, "
            "Install/Uninstall Plugins, or install it again."
        )
    # As the menu does it: so the menu's tick is right, and a second dock is never made.
    viewer.window.add_plugin_dock_widget(PLUGIN)
    _fit(viewer)


def _fit(viewer: napari.Viewer) -> None:
    """Room for the scan beside the dock, and the whole scan in it once the dock has its place."""
    screen = QGuiApplication.primaryScreen().availableGeometry()
    viewer.window.resize(min(_SIZE[0], screen.width()), min(_SIZE[1], screen.height()))
    QTimer.singleShot(0, viewer.reset_view)


def check_screen(platform: str, environment: Mapping[str, str]) -> None:
    """Raises BackendError on a Linux without a screen: Qt would end the program there without a word to mend it."""
    named = any(environment.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY", "QT_QPA_PLATFORM"))
    if platform.startswith("linux") and not named:
        raise BackendError(
            "There is no screen to open a window on (DISPLAY isn't set). Call it from a desktop, or use "
            "ibisagent segment, which needs no screen."
        )
