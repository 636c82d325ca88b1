"""What every registered tool has to keep (DESIGN section 4): one parametrised test over all names."""

from __future__ import annotations

import numpy as np
import pytest
from nninteractive_server import tool_server

from napari_ibisagent import registry
from napari_ibisagent.core.actions import Box, Click
from napari_ibisagent.core.errors import BackendError, InputError, UnknownNameError
from napari_ibisagent.core.protocols import OpenedView, Segmenter
from napari_ibisagent.core.view import Plane, View, view_of
from napari_ibisagent.core.volume import Volume

NAMES = registry.names("segmenters")


def views():
    """Grey, colour, CT, not square, and not at all like a picture."""
    rows, columns = np.ogrid[:96, :80]
    disc = (rows - 50) ** 2 + (columns - 40) ** 2 <= 18**2
    grey = (60 + 120 * disc + np.random.default_rng(0).normal(0, 8, disc.shape)).clip(0, 255)
    volume = Volume.from_picture(grey.astype(np.uint16), spacing_mm=(1.0, 1.5))
    return [
        view_of(volume, Plane.AXIAL, 0),
        View(np.repeat(grey[..., np.newaxis], 3, axis=2).astype(np.uint8), Plane.AXIAL, 0, (96, 80), None),
        View((grey * 5 - 500).astype(np.int16), Plane.CORONAL, 3, (96, 80), 1.0, "CT"),
        View(np.zeros((33, 70), np.float32), Plane.AXIAL, 0, (33, 70), None),
    ]


@pytest.fixture(autouse=True)
def a_server(monkeypatch):
    """For the tool that asks one."""
    with tool_server() as server:
        monkeypatch.setenv("IBISAGENT_NNINTERACTIVE_SERVER", server.url)
        yield


def loaded(name):
    try:
        return registry.load("segmenters", name)
    except (BackendError, InputError) as error:
        pytest.skip(f"{name} can't run here: {error}")


def test_there_is_a_tool_without_any_weights():
    assert "embedded" in NAMES and registry.why_not("segmenters", "embedded") is None


def test_an_unknown_tool_lists_the_known_ones():
    with pytest.raises(UnknownNameError, match=r"segmenter.*'scalpel'.*embedded"):
        registry.load("segmenters", "scalpel")


def test_an_option_that_a_tool_does_not_take_is_refused():
    with pytest.raises(InputError, match="embedded has no option sharpness"):
        registry.load("segmenters", "embedded", sharpness=3)


@pytest.mark.parametrize("name", NAMES)
def test_a_tool_keeps_its_promises(name):
    tool = loaded(name)
    assert isinstance(tool, Segmenter) and tool.name == name
    prompts = [Click(0.5, 0.52, True), Click(0.05, 0.05, False), Click(0.9, 0.9, True), Click(0.9, 0.9, False)]
    for view in views():
        image = view.image.copy()
        opened = tool.open(view)
        assert isinstance(opened, OpenedView)
        prior = np.zeros(view.shape, bool)
        prior[-8:, :8] = True
        for count, start in ((1, None), (2, None), (4, None), (4, prior)):
            kept = None if start is None else start.copy()
            found = opened.segment(prompts[:count], start)
            assert found.mask.shape == view.shape and found.mask.dtype == bool
            assert 0 <= found.score <= 1
            last = {view.pixel_of(c.x, c.y): c.positive for c in prompts[:count]}
            assert all(found.mask[pixel] == positive for pixel, positive in last.items())
            again = tool.open(view).segment(prompts[:count], start)
            assert np.array_equal(again.mask, found.mask) and again.score == found.score
            assert start is None or np.array_equal(start, kept)
        boxed = opened.segment([Box(0.2, 0.2, 0.8, 0.8)], None)
        assert boxed.mask.shape == view.shape and boxed.mask.any()
        assert np.array_equal(view.image, image)
