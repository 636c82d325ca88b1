"""The simulated click: into the middle of the larger error, with the sign that mends it."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from scipy import ndimage

from napari_ibisagent.core.actions import Click
from napari_ibisagent.core.clicks import next_click

PAIRS = arrays.array_shapes(min_dims=2, max_dims=2, max_side=20).flatmap(
    lambda shape: st.tuples(arrays.arrays(bool, shape), arrays.arrays(bool, shape))
)


def depth(region):
    return float(ndimage.distance_transform_edt(np.pad(region, 1)).max())


def pixel(click, shape):
    return min(int(click.y * shape[0]), shape[0] - 1), min(int(click.x * shape[1]), shape[1] - 1)


@settings(max_examples=400, deadline=None, derandomize=True)
@given(PAIRS)
def test_it_lies_in_the_larger_error_with_the_right_sign(pair):
    mask, goal = pair
    click = next_click(mask, goal)
    missed, spilled = goal & ~mask, mask & ~goal
    if click is None:
        assert np.array_equal(mask, goal)
        return
    assert click == Click(round(click.x, 4), round(click.y, 4), click.positive)
    at = pixel(click, mask.shape)
    assert (missed if click.positive else spilled)[at]
    assert click.positive == (depth(missed) >= depth(spilled))


def test_it_is_the_middle_of_a_disc():
    rows, columns = np.ogrid[:101, :201]
    disc = (rows - 40) ** 2 + (columns - 120) ** 2 <= 25**2
    empty = np.zeros_like(disc)
    assert next_click(empty, disc) == Click(round(120.5 / 201, 4), round(40.5 / 101, 4), True)
    assert next_click(disc, empty) == Click(round(120.5 / 201, 4), round(40.5 / 101, 4), False)
    assert next_click(disc, disc) is None and next_click(empty, empty) is None


def test_the_border_of_the_view_counts_as_outside():
    everything, nothing = np.ones((31, 31), bool), np.zeros((31, 31), bool)
    assert pixel(next_click(nothing, everything), (31, 31)) == (15, 15)
    half = everything.copy()
    half[:, 11:] = False
    assert pixel(next_click(nothing, half), (31, 31))[1] == 5


def test_a_miss_goes_before_a_spill_of_the_same_depth():
    mask, goal = np.zeros((9, 20), bool), np.zeros((9, 20), bool)
    mask[3:6, 2:5] = True
    goal[3:6, 12:15] = True
    click = next_click(mask, goal)
    assert click is not None and click.positive and pixel(click, mask.shape) == (4, 13)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.integers(1, 2100), st.integers(0, 2099))
def test_four_decimals_still_find_a_single_pixel_of_a_large_view(side, at):
    goal = np.zeros((side, 2), bool)
    goal[at % side, 1] = True
    click = next_click(np.zeros_like(goal), goal)
    assert click is not None and pixel(click, goal.shape) == (at % side, 1)
