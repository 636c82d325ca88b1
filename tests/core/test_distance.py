"""The exact distance to the background, against scipy's."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from scipy import ndimage

from napari_ibisagent.core.distance import deepest, inner_distance

MASKS = arrays.array_shapes(min_dims=2, max_dims=2, max_side=24).flatmap(
    lambda shape: arrays.arrays(bool, shape, elements=st.sampled_from([True, True, True, False]))
)


def reference(mask):
    return ndimage.distance_transform_edt(np.pad(mask, 1))[1:-1, 1:-1]


@settings(max_examples=400, deadline=None, derandomize=True)
@given(MASKS)
def test_it_is_the_distance_transform_of_the_padded_mask(mask):
    before = mask.copy()
    found = inner_distance(mask)
    assert found.dtype == np.float32
    assert np.allclose(found, reference(mask), atol=1e-4, rtol=0)
    assert np.array_equal(mask, before)


@pytest.mark.parametrize("shape", [(1, 1), (1, 60), (60, 1), (200, 3), (3, 200), (97, 130)])
@pytest.mark.parametrize("share", [0.0, 0.5, 0.97, 0.999, 1.0])
def test_shapes_of_every_kind(shape, share):
    mask = np.random.default_rng(3).random(shape) < share
    assert np.allclose(inner_distance(mask), reference(mask), atol=1e-4, rtol=0)


def test_smooth_parts_and_holes():
    rows, columns = np.ogrid[:160, :200]
    mask = ((rows - 80) ** 2 / 3 + (columns - 90) ** 2 < 60**2) & ((rows - 70) ** 2 + (columns - 100) ** 2 > 15**2)
    mask[:, 150:] |= rows > 20
    assert np.allclose(inner_distance(mask), reference(mask), atol=1e-4, rtol=0)


@settings(max_examples=200, deadline=None, derandomize=True)
@given(MASKS)
def test_the_deepest_pixel_is_one_of_the_deepest(mask):
    found = deepest(mask)
    if found is None:
        assert not mask.any()
        return
    row, column, distance = found
    assert mask[row, column]
    assert distance == pytest.approx(reference(mask).max(), abs=1e-4)
    assert distance == pytest.approx(reference(mask)[row, column], abs=1e-4)
