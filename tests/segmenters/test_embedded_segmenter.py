"""The tools that need no download: every click is honoured on any picture, and each question has one answer."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_ibisagent.core.actions import Box, Click
from napari_ibisagent.core.clicks import next_click
from napari_ibisagent.core.masks import dice
from napari_ibisagent.core.view import Plane, View
from napari_ibisagent.segmenters import embedded, geodesic

EMBEDDED = embedded.build()
TOOLS = pytest.mark.parametrize("tool", [EMBEDDED, geodesic.build()], ids=lambda tool: tool.name)
COORDINATE = st.integers(0, 10_000).map(lambda n: n / 10_000)
CLICK = st.builds(Click, COORDINATE, COORDINATE, st.booleans())
EDGES = st.lists(COORDINATE, min_size=2, max_size=2, unique=True).map(sorted)
BOX = st.builds(lambda x, y: Box(x[0], y[0], x[1], y[1]), EDGES, EDGES)
SHAPES = st.one_of(
    st.tuples(st.integers(1, 40), st.integers(1, 40)),
    st.sampled_from([(1, 1), (1, 60), (60, 1), (2, 2), (300, 20), (3, 700), (257, 256)]),
)
KINDS = ("uint8", "uint16", "int16", "int32", "float32", "float64", "colour", "constant", "nan", "inf", "ct", "bool")


def view_on(image, modality=""):
    height, width = image.shape[:2]
    return View(image, Plane.AXIAL, 0, (height, width), None, modality)


def picture(kind, shape, seed):
    """A picture of that kind: blocks and noise."""
    rng = np.random.default_rng(seed)
    height, width = shape
    base = np.repeat(np.repeat(rng.random((max(1, height // 5 + 1), max(1, width // 5 + 1))), 5, 0), 5, 1)
    base = base[:height, :width] + rng.normal(0, 0.05, shape)
    match kind:
        case "colour":
            return rng.integers(0, 256, (*shape, 3), np.uint8)
        case "constant":
            return np.full(shape, 7, np.int16)
        case "nan":
            values = base.astype(np.float32)
            values[rng.random(shape) < 0.1] = np.nan
            return values
        case "inf":
            values = base.astype(np.float32)
            values[0, 0] = np.inf
            return values
        case "ct":
            return (base * 1500 - 1000).astype(np.int16)
        case "bool":
            return base > 0.5
        case "float32" | "float64":
            return (base * 1e4).astype(kind)
        case _:
            return np.clip(base * 250, 0, 255).astype(kind)


def honoured(view, mask, prompts):
    """Whether each click's pixel has its sign; on the same pixel the last word counts."""
    wanted = {view.pixel_of(p.x, p.y): p.positive for p in prompts if isinstance(p, Click)}
    return all(mask[pixel] == positive for pixel, positive in wanted.items())


@TOOLS
@settings(max_examples=20, deadline=None, derandomize=True)
@given(
    st.sampled_from(KINDS),
    SHAPES,
    st.integers(0, 2**32),
    st.lists(st.one_of(CLICK, CLICK, CLICK, BOX), min_size=1, max_size=5),
    st.sampled_from(["none", "none", "random", "full", "empty"]),
)
def test_clicks_are_honoured_on_any_picture(tool, kind, shape, seed, prompts, start):
    image = picture(kind, shape, seed)
    rng = np.random.default_rng(seed)
    prior = {
        "none": None,
        "random": rng.random(shape) < 0.5,
        "full": np.ones(shape, bool),
        "empty": np.zeros(shape, bool),
    }[start]
    before = image.copy(), None if prior is None else prior.copy()
    view = view_on(image, "CT" if kind == "ct" else "")
    found = tool.open(view).segment(prompts, prior)
    assert found.mask.shape == shape and found.mask.dtype == bool
    assert 0 <= found.score <= 1
    assert honoured(view, found.mask, prompts)
    assert np.array_equal(image, before[0], equal_nan=image.dtype.kind == "f")
    assert prior is None or (np.array_equal(prior, before[1]) and not np.shares_memory(found.mask, prior))
    again = tool.open(view).segment(list(prompts), prior)
    assert np.array_equal(again.mask, found.mask) and again.score == found.score


@TOOLS
@settings(max_examples=10, deadline=None, derandomize=True)
@given(st.integers(0, 2**32), st.lists(CLICK, min_size=1, max_size=6))
def test_an_opened_view_remembers_nothing(tool, seed, prompts):
    """The mask is a function of the view and the prompts alone, whatever was asked before."""
    opened = tool.open(view_on(picture("float32", (48, 40), seed)))
    alone = opened.segment(prompts, None)
    opened.segment(prompts[::-1], np.ones((48, 40), bool))
    opened.segment([Box(0.1, 0.1, 0.9, 0.9)], None)
    again = opened.segment(tuple(prompts), None)
    assert np.array_equal(alone.mask, again.mask) and alone.score == again.score


@TOOLS
@settings(max_examples=10, deadline=None, derandomize=True)
@given(st.integers(0, 2**32), CLICK, st.booleans())
def test_the_last_word_on_a_pixel_counts(tool, seed, click, start):
    view = view_on(picture("uint8", (40, 40), seed))
    opposite = Click(click.x, click.y, not click.positive)
    prior = np.full((40, 40), start)
    for prompts in ([click, opposite], [click, opposite, click], [click, click, opposite, opposite]):
        found = tool.open(view).segment(prompts, prior)
        assert found.mask[view.pixel_of(click.x, click.y)] == prompts[-1].positive


@TOOLS
def test_a_disc_on_noise_is_found_and_corrected(tool):
    rows, columns = np.ogrid[:200, :240]
    disc = (rows - 90) ** 2 + (columns - 130) ** 2 <= 40**2
    image = (100 + 80 * disc + np.random.default_rng(0).normal(0, 15, disc.shape)).astype(np.float32)
    opened = tool.open(view_on(image))
    prompts = [Click(130.5 / 240, 90.5 / 200, True)]
    found = opened.segment(prompts, None)
    assert dice(found.mask, disc) > 0.95 and found.score > 0.5
    for _ in range(4):
        click = next_click(found.mask, disc)
        if click is None:
            break
        prompts.append(click)
        found = opened.segment(prompts, None)
    assert dice(found.mask, disc) > 0.96


@TOOLS
@pytest.mark.parametrize("noise", [3, 10, 15])
def test_a_second_click_on_another_part_takes_that_part(tool, noise):
    """Both kidneys: two parts far from each other, a click into the middle of each."""
    rows, columns = np.ogrid[:120, :160]
    left = (rows - 60) ** 2 + (columns - 40) ** 2 <= 15**2
    right = (rows - 60) ** 2 + (columns - 120) ** 2 <= 15**2
    image = (100 + 60 * (left | right) + np.random.default_rng(0).normal(0, noise, left.shape)).astype(np.float32)
    opened = tool.open(view_on(image))
    first, second = Click(40.5 / 160, 60.5 / 120, True), Click(120.5 / 160, 60.5 / 120, True)
    assert dice(opened.segment([first], None).mask, left) > 0.95
    assert dice(opened.segment([first, second], None).mask, left | right) > 0.95
    assert dice(opened.segment([second], left).mask, left | right) > 0.95


@TOOLS
def test_a_box_is_the_room_to_work_in(tool):
    image = np.random.default_rng(0).normal(100, 5, (60, 80)).astype(np.float32)
    box = Box(0.25, 0.25, 0.5, 0.75)
    found = tool.open(view_on(image)).segment([box], None)
    rows, columns = np.nonzero(found.mask)
    assert rows.size and rows.min() >= 14 and rows.max() <= 46 and columns.min() >= 19 and columns.max() <= 41


# -- what a person painted ---------------------------------------------------------------------------------


@TOOLS
@pytest.mark.parametrize("side", [100, 300, 700])
@pytest.mark.parametrize("positive", [True, False])
def test_what_was_painted_stays_far_from_new_clicks(tool, side, positive):
    """Bit for bit, on pictures that the tool works on at full and at lower resolution."""
    rng = np.random.default_rng(1)
    rows, columns = np.ogrid[:side, :side]
    spot = (rows - 0.2 * side) ** 2 + (columns - 0.2 * side) ** 2 <= (0.08 * side) ** 2
    image = (100 + 80 * spot + rng.normal(0, 4, spot.shape)).astype(np.float32)
    prior = np.zeros((side, side), bool)
    prior[side // 2 :, side // 2 :] = rng.random((side - side // 2, side - side // 2)) < 0.5  # frayed on purpose
    prior[: side // 3, : side // 3] |= not positive
    click = Click(0.2, 0.2, positive)
    found = tool.open(view_on(image)).segment([click], prior).mask
    assert found[int(0.2 * side), int(0.2 * side)] == positive
    assert np.array_equal(found[side // 2 :, side // 2 :], prior[side // 2 :, side // 2 :])
    changed = found != prior
    assert changed.any() and changed.mean() < 0.12


@TOOLS
@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("side", [30, 257, 520])
def test_a_click_that_agrees_changes_nothing(tool, seed, side):
    rng = np.random.default_rng(seed)
    prior = np.zeros((side, side), bool)
    prior[side // 4 : side // 2, side // 4 : side // 2] = True
    prior ^= rng.random((side, side)) < 0.001
    prior[int(0.4 * side) - 2 : int(0.4 * side) + 3, int(0.4 * side) - 2 : int(0.4 * side) + 3] = True
    prior[int(0.8 * side) - 4 : int(0.8 * side) + 5, int(0.8 * side) - 4 : int(0.8 * side) + 5] = False
    opened = tool.open(view_on(picture("float32", (side, side), seed)))
    for click in (Click(0.4, 0.4, True), Click(0.8, 0.8, False)):
        assert np.array_equal(opened.segment([click], prior).mask, prior)


@TOOLS
def test_no_prompt_gives_the_prior_back(tool):
    prior = np.random.default_rng(0).random((300, 280)) < 0.5
    opened = tool.open(view_on(picture("uint8", (300, 280), 0)))
    assert np.array_equal(opened.segment([], prior).mask, prior)
    assert not opened.segment([], None).mask.any()


# -- sizes -------------------------------------------------------------------------------------------------


@TOOLS
@pytest.mark.parametrize("shape", [(2300, 700), (300, 2500), (1, 3000), (3000, 1)])
def test_large_and_long_pictures(tool, shape):
    image = picture("uint16", shape, 0)
    view = view_on(image)
    prompts = [Click(0.5, 0.5, True), Click(0.1, 0.9, False), Click(0.9, 0.1, True)]
    found = tool.open(view).segment(prompts, None)
    assert found.mask.shape == shape and honoured(view, found.mask, prompts)


@TOOLS
def test_a_constant_picture_has_an_answer(tool):
    view = view_on(np.zeros((64, 64), np.uint8))
    found = tool.open(view).segment([Click(0.5, 0.5, True), Click(0.1, 0.1, False)], None)
    assert found.mask[32, 32] and not found.mask[6, 6]


@TOOLS
@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e6])
def test_the_unit_of_a_picture_doesnt_matter(tool, scale):
    rows, columns = np.ogrid[:80, :80]
    disc = (rows - 40) ** 2 + (columns - 40) ** 2 <= 15**2
    image = ((5 + 3 * disc + np.random.default_rng(0).normal(0, 0.2, disc.shape)) * scale).astype(np.float32)
    found = tool.open(view_on(image)).segment([Click(0.5, 0.5, True)], None)
    assert dice(found.mask, disc) > 0.95


@TOOLS
def test_one_pixel_of_nan_doesnt_blind_the_tool(tool):
    rows, columns = np.ogrid[:80, :80]
    disc = (rows - 40) ** 2 + (columns - 40) ** 2 <= 15**2
    image = (100 + 80 * disc + np.random.default_rng(0).normal(0, 5, disc.shape)).astype(np.float32)
    image[3, 3] = np.nan
    found = tool.open(view_on(image)).segment([Click(0.5, 0.5, True)], None)
    assert dice(found.mask, disc) > 0.9
