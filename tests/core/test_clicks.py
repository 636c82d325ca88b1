"""The simulated click: into the middle of the larger error, with the sign that mends it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from scipy import ndimage

from napari_ibisagent.core.actions import Click
from napari_ibisagent.core.clicks import AT_ONCE, box_round, clicks_into_missed, next_click

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


def spots(*sizes, side=60):
    """Squares in a row, apart from each other."""
    mask = np.zeros((side, side), bool)
    for at, size in enumerate(sizes):
        row, column = 4 + 14 * (at // 4), 4 + 14 * (at % 4)
        mask[row : row + size, column : column + size] = True
    return mask


def test_each_missed_part_gets_a_click_in_its_middle_the_largest_first():
    goal = spots(5, 9, 7)
    parts, _ = ndimage.label(goal)
    clicks = clicks_into_missed(np.zeros_like(goal), parts)
    assert [parts[pixel(click, goal.shape)] for click in clicks] == [2, 3, 1]
    assert all(click.positive and depth(goal & (parts == parts[pixel(click, goal.shape)])) >= 3 for click in clicks)


def test_no_click_for_what_is_covered_or_small_and_one_part_alone_is_no_reason():
    goal = spots(9, 9, 9, 2)
    parts, _ = ndimage.label(goal)
    first = parts == 1
    assert len(clicks_into_missed(first, parts)) == 2
    touched = first | (parts == 2)
    assert clicks_into_missed(touched, parts) == ()
    assert clicks_into_missed(goal, parts) == () and clicks_into_missed(goal, np.zeros_like(parts)) == ()
    many, _ = ndimage.label(spots(*[5] * 16))
    assert len(clicks_into_missed(np.zeros((60, 60), bool), many)) == AT_ONCE


def test_a_box_goes_round_a_mask_with_room_to_spare_and_stays_in_the_view():
    mask = np.zeros((40, 50), bool)
    mask[10:20, 0:30] = True
    box = box_round(mask)
    assert (box.x0, box.y0) == (0.0, 0.2) and (box.x1, box.y1) == (0.68, 0.55)
    assert all(type(edge) is float for edge in (box.x0, box.y0, box.x1, box.y1))
    with pytest.raises(ValueError, match="no mask"):
        box_round(np.zeros((4, 4), bool))
