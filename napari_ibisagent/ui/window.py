"""A napari window with the dock, and a scan where one is named."""

from __future__ import annotations

from pathlib import Path

import napari

from napari_ibisagent.io.read import read_scan
from napari_ibisagent.ui.contributions import image_layer
from napari_ibisagent.ui.widget import IbisWidget


def open_window(scan: Path | None) -> None:
    """Opens the window and returns when it is closed. Raises ScanError before anything is shown."""
    volume = None if scan is None else read_scan(scan)
    viewer = napari.Viewer(title="IBIS Agent")
    viewer.window.add_dock_widget(IbisWidget(viewer), name="IBIS Agent", area="right")
    if volume is not None and scan is not None:
        data, attributes, _ = image_layer(volume, scan)
        viewer.add_image(data, **attributes)
    napari.run()
