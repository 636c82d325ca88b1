"""Windows: what is black, what is white, and what is shown when nobody chose."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from napari_ibisagent.core.errors import UnknownNameError
from napari_ibisagent.core.window import CT_PRESETS, Window, default_window, percentile_window, preset

KINDS = st.sampled_from([np.uint8, np.int16, np.uint16, np.int32, np.float32, np.float64])
IMAGES = KINDS.flatmap(
    lambda kind: arrays.arrays(
        kind,
        arrays.array_shapes(min_dims=1, max_dims=2, max_side=8),
        elements=st.floats(-1e6, 1e6, width=32)
        if np.issubdtype(kind, np.floating)
        else st.integers(max(-30_000, np.iinfo(kind).min), min(30_000, np.iinfo(kind).max)),
    )
)


@pytest.mark.parametrize("dtype", [np.int16, np.int32, np.float32, np.float64])
def test_grey_runs_from_black_to_white(dtype):
    image = np.array([-2000, -160, 40, 240, 3000], dtype)
    grey = Window(40, 400).apply(image)
    assert grey.dtype == np.uint8 and grey.tolist() == [0, 0, 127, 255, 255]


@settings(max_examples=200, deadline=None, derandomize=True)
@given(IMAGES, st.floats(-1000, 1000), st.floats(0.5, 5000))
def test_more_is_never_darker(image, level, width):
    before = image.copy()
    grey = Window(level, width).apply(image).ravel()
    assert np.array_equal(image, before)
    order = np.argsort(image.ravel(), kind="stable")
    assert np.all(np.diff(grey[order].astype(int)) >= 0)


@pytest.mark.parametrize("width", [0, -1, float("nan")])
def test_a_window_needs_a_width(width):
    with pytest.raises(ValueError, match="width above 0"):
        Window(40, width)


@settings(max_examples=200, deadline=None, derandomize=True)
@given(IMAGES)
def test_percentiles_lie_within_the_picture(image):
    window = percentile_window(image)
    low, high = window.level - window.width / 2, window.level + window.width / 2
    slack = 1e-3 * max(1.0, abs(float(image.max())), abs(float(image.min())))
    assert low >= float(image.min()) - slack and high <= float(image.max()) + slack
    assert window.width > 0


def test_percentiles_leave_outliers_out():
    image = np.linspace(0, 100, 10_001).astype(np.float32)
    image[0], image[-1] = -1e6, 1e6
    window = percentile_window(image)
    assert (window.level, window.width) == (pytest.approx(50, abs=0.1), pytest.approx(98, abs=0.1))


def test_a_rare_bright_spot_still_gets_a_window():
    image = np.zeros((100, 100), np.uint16)
    image[3, 4] = 4000
    assert Window.apply(percentile_window(image), image)[3, 4] == 255


@pytest.mark.parametrize(
    "image",
    [
        np.full((3, 3), 7, np.int16),
        np.full((3, 3), np.nan, np.float32),
        np.array([np.nan, np.inf, -np.inf]),
        np.array([np.nan, 5.0, np.inf]),
        np.zeros((0, 4), np.float32),
        np.zeros((0, 4), np.int16),
    ],
)
def test_odd_pictures_have_a_window_too(image):
    window = percentile_window(image)
    assert np.isfinite(window.level) and window.width > 0


def test_what_is_shown_when_nobody_chose():
    image = np.arange(-1000, 1000, dtype=np.int16)
    assert default_window(image, "CT") == CT_PRESETS["abdomen"] == Window(40, 400)
    assert default_window(image, "MR") == percentile_window(image)
    eight = np.arange(256, dtype=np.uint8)
    assert np.array_equal(default_window(eight, "").apply(eight), eight)


@pytest.mark.parametrize("name", CT_PRESETS)
def test_presets_by_name(name):
    assert preset(name) == preset(name.upper()) == CT_PRESETS[name]


def test_an_unknown_preset_lists_the_known_ones():
    with pytest.raises(UnknownNameError) as caught:
        preset("kneecap")
    assert all(name in str(caught.value) for name in CT_PRESETS)
