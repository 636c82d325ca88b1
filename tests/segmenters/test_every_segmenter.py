"""What every registered tool has to keep (DESIGN section 4): one parametrised test over all names."""

from __future__ import annotations

import numpy as np
import pytest
from nninteractive_server import tool_server

from napari_ibisagent import registry
from napari_ibisagent.agent.runner import Stage, run
from napari_ibisagent.core.actions import Box, Click
from napari_ibisagent.core.episode import Outcome, Prompted, advance, begin
from napari_ibisagent.core.errors import GridError, InputError, UnknownNameError
from napari_ibisagent.core.protocols import OpenedView, Segmenter
from napari_ibisagent.core.view import Plane, View, view_of
from napari_ibisagent.core.volume import Volume
from napari_ibisagent.policies import scripted

NAMES = registry.names("segmenters")
HIT = "<think>There.</think><action>Positive Point (0.5000, 0.5200)</action>"
OUT = "<action>Negative Point (0.0500, 0.0500)</action>"
STOP = "<think>Good.</think><action>Terminate</action><answer>it</answer>"


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


@pytest.fixture
def make(request, tmp_path_factory):
    """``make(name)``: a new tool of that name, with what it needs: tiny weights of the real classes, or a server."""

    def made(name):
        if name in ("sam", "sam2"):
            pytest.importorskip("transformers", reason="the extra models is not installed")
            return registry.load("segmenters", name, folder=str(request.getfixturevalue(f"{name}_folder")))
        if name == "nninteractive":
            pytest.importorskip("nnInteractive", reason="the extra nninteractive is not installed")
            return registry.load("segmenters", name, server=request.getfixturevalue("server").url)
        return registry.load("segmenters", name)

    return made


@pytest.fixture(scope="module")
def sam_folder(tmp_path_factory):
    from tiny_sam import write_sam

    folder = tmp_path_factory.mktemp("tiny") / "sam"
    write_sam(folder)
    return folder


@pytest.fixture(scope="module")
def sam2_folder(tmp_path_factory):
    from tiny_sam import write_sam2

    folder = tmp_path_factory.mktemp("tiny") / "sam2"
    write_sam2(folder)
    return folder


@pytest.fixture
def server():
    with tool_server() as found:
        yield found


def played(tool, *turns, cancelled=lambda: False):
    """An episode with these turns."""
    view = views()[0]
    volume = Volume.from_picture(view.image, name="disc")
    episode = begin(Prompted("the disc", Plane.AXIAL, 0, view.shape))
    stage = Stage(volume, view, scripted.build(turns), tool.open(view))
    for event in run(episode, stage, cancelled=cancelled):
        episode = advance(episode, event)
    return episode


def test_there_is_a_tool_without_any_weights():
    assert "embedded" in NAMES and registry.why_not("segmenters", "embedded") is None


def test_an_unknown_tool_lists_the_known_ones():
    with pytest.raises(UnknownNameError, match=r"segmenter.*'scalpel'.*embedded"):
        registry.load("segmenters", "scalpel")


@pytest.mark.parametrize("name", NAMES)
def test_a_tool_keeps_its_promises(name, make):
    tool = make(name)
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


@pytest.mark.parametrize("name", NAMES)
def test_an_episode_ends_in_order_and_the_same_again(name, make):
    first, again = (played(make(name), HIT, OUT, STOP) for _ in range(2))
    assert first.outcome is Outcome.DONE and len(first.steps) == 2
    assert first.mask_array().any() and np.array_equal(first.mask_array(), again.mask_array())


@pytest.mark.parametrize("name", NAMES)
def test_an_episode_that_is_cancelled_keeps_what_it_has(name, make):
    answers = iter([False, True, True, True])
    assert played(make(name), HIT, OUT, STOP, cancelled=lambda: next(answers)).outcome is Outcome.CANCELLED


@pytest.mark.parametrize("name", NAMES)
def test_a_mask_of_another_view_is_refused(name, make):
    opened = make(name).open(views()[0])
    with pytest.raises(GridError, match="very view"):
        opened.segment([Click(0.5, 0.5, True)], np.zeros((3, 3), bool))
    with pytest.raises(InputError, match=f"{name} has no option sharpness"):
        registry.load("segmenters", name, sharpness=3)
