"""Fixtures for the tests of windows. Nothing of napari or Qt is imported before a test asks for it."""

from __future__ import annotations

import pytest


@pytest.fixture
def opened(make_napari_viewer, qtbot, tmp_path):
    """``opened(policy, tool, volume=...)``: a window with the dock and one small scan; closed after the test."""
    from window import add_scan, little_scan, open_window

    windows = []

    def make(policy=None, tool=None, *, volume=None, scan=True, folder=None, path=None, **options):
        viewer = make_napari_viewer(strict_qt="raise", show=True)
        window = open_window(viewer, qtbot, folder or tmp_path / "sessions", policy, tool, **options)
        windows.append(window)
        if scan:
            add_scan(window, volume or little_scan(), path)
        return window

    yield make
    for window in windows:
        window.widget.close_session()
