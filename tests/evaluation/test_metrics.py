"""Overlap and surface measures against cases that can be worked out by hand."""

import json
import math

import numpy as np
import pytest

from napari_ibisagent.core.errors import GridError
from napari_ibisagent.evaluation.metrics import Scores, score


def box(shape, *slices):
    mask = np.zeros(shape, dtype=bool)
    mask[slices] = True
    return mask


def ball(radius_mm, spacing_mm, half_mm=30.0):
    axes = [np.arange(-half_mm, half_mm + s / 2, s) for s in spacing_mm]
    grid = np.meshgrid(*axes, indexing="ij")
    return sum(g**2 for g in grid) <= radius_mm**2


def test_a_mask_agrees_with_itself():
    mask = box((8, 9, 10), slice(2, 6), slice(2, 6), slice(3, 8))
    assert score(mask, mask.copy(), (3.0, 1.0, 1.0)) == Scores(1.0, 1.0, 0.0, 1.0)


def test_both_empty_is_full_agreement_without_a_distance():
    empty = np.zeros((4, 5, 6), dtype=bool)
    assert score(empty, empty, (1.0, 1.0, 1.0)) == Scores(1.0, 1.0, None, 1.0)


@pytest.mark.parametrize("swap", [False, True])
def test_one_empty_is_no_agreement(swap):
    pair = [np.zeros((4, 5), dtype=bool), box((4, 5), slice(1, 3), slice(1, 3))]
    assert score(*(pair[::-1] if swap else pair), (1.0, 1.0)) == Scores(0.0, 0.0, None, 0.0)


def test_without_a_spacing_only_overlap_is_known():
    a, b = box((6, 6), slice(0, 2), slice(0, 4)), box((6, 6), slice(1, 3), slice(0, 4))
    assert score(a, b, None) == Scores(1 / 3, 0.5, None, None)


@pytest.mark.parametrize(("axis", "expected"), [(0, 10.0), (1, 4.0), (2, 2.0)])
def test_a_shifted_box_is_off_by_the_shift_in_mm(axis, expected):
    """Two voxels of shift along each axis of an anisotropic grid.

    The face that moved is a third of the surface or more, so the 95th percentile is the shift itself.
    """
    truth = box((30, 30, 30), slice(8, 16), slice(8, 16), slice(8, 16))
    scores = score(np.roll(truth, 2, axis), truth, (5.0, 2.0, 1.0))
    assert scores.hd95_mm == pytest.approx(expected)
    assert scores.iou == pytest.approx(6 / 10)
    assert scores.dice == pytest.approx(6 / 8)


def test_concentric_balls_are_apart_by_the_difference_of_their_radii():
    spacing = (2.0, 1.0, 1.0)
    scores = score(ball(18, spacing), ball(14, spacing), spacing)
    assert scores.hd95_mm == pytest.approx(4.0, abs=1.0)
    assert scores.dice == pytest.approx(2 * 14**3 / (14**3 + 18**3), abs=0.01)
    assert scores.surface_dice_2mm == pytest.approx(0.0, abs=0.02)
    assert score(ball(18, spacing), ball(14, spacing), spacing, tolerance_mm=6).surface_dice_2mm == 1.0


def test_the_same_bodies_on_another_grid_are_as_far_apart():
    fine, coarse = (1.0, 1.0, 1.0), (3.0, 1.0, 1.0)
    a, b = (score(ball(20, s), ball(15, s), s) for s in (fine, coarse))
    assert a.hd95_mm == pytest.approx(b.hd95_mm, abs=1.5)


def test_surface_dice_counts_what_lies_within_the_tolerance():
    """A 2D square of 20 mm, one side of which moved by 6 mm."""
    truth = box((60, 60), slice(20, 40), slice(20, 40))
    longer = box((60, 60), slice(20, 40), slice(20, 46))
    scores = score(longer, truth, (1.0, 1.0))
    # Of the longer contour (92) the far side (20) and 4 mm of each flank lie beyond 2 mm; of the truth's
    # contour (80) what is more than 2 mm from the flanks of the longer one: 16 mm of its right side.
    assert scores.surface_dice_2mm == pytest.approx((92 - 28 + 80 - 16) / 172, abs=0.02)
    assert scores.hd95_mm == pytest.approx(6.0)


def test_two_dimensions_use_row_and_column_spacing():
    truth = box((40, 40), slice(10, 20), slice(10, 20))
    assert score(np.roll(truth, 2, 0), truth, (3.0, 0.5)).hd95_mm == pytest.approx(5.0, abs=1.0)
    assert score(np.roll(truth, 2, 1), truth, (3.0, 0.5)).hd95_mm == pytest.approx(1.0)


def test_surface_scores_do_not_depend_on_who_is_the_truth():
    rng = np.random.default_rng(0)
    a, b = (box((12, 20, 20), slice(2, 9), slice(n, n + 9), slice(3, 14)) for n in rng.integers(1, 9, 2))
    assert score(a, b, (2.0, 1.0, 1.0)) == score(b, a, (2.0, 1.0, 1.0))


def test_masks_at_the_border_are_scored():
    full = np.ones((5, 6, 7), dtype=bool)
    scores = score(full, full, (1.0, 1.0, 1.0))
    assert (scores.hd95_mm, scores.surface_dice_2mm) == (0.0, 1.0)


def test_scores_become_plain_values():
    mask = box((6, 6), slice(1, 4), slice(1, 4))
    values = score(mask, mask, (1.0, 1.0)).as_dict()
    assert list(values) == ["iou", "dice", "hd95_mm", "surface_dice_2mm"]
    assert json.loads(json.dumps(values)) == values
    assert all(type(v) is float and math.isfinite(v) for v in values.values())


@pytest.mark.parametrize(
    ("prediction", "truth", "spacing"),
    [
        ((4, 5), (5, 4), (1.0, 1.0)),
        ((1, 4, 5), (4, 5), (1.0, 1.0)),
        ((4, 5), (4, 5), (1.0, 1.0, 1.0)),
        ((4, 5), (4, 5), (0.0, 1.0)),
        ((4, 5), (4, 5), (math.nan, 1.0)),
        ((4,), (4,), (1.0,)),
    ],
)
def test_what_does_not_fit_is_refused(prediction, truth, spacing):
    with pytest.raises(GridError):
        score(np.ones(prediction, dtype=bool), np.ones(truth, dtype=bool), spacing)
