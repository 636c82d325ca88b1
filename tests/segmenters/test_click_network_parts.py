"""What the click network is shown: crops that find their way back, and channels that don't depend on the scale."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_ibisagent.segmenters._crops import STEP, Region, region_of, resample
from napari_ibisagent.segmenters._encoding import DISC, discs, likeness_base, picture_channels, unlikeness

SIDES = st.integers(1, 700)


@st.composite
def regions(draw):
    """A view's shape and a region in it."""
    height, width = draw(SIDES), draw(SIDES)
    top, left = draw(st.integers(0, height - 1)), draw(st.integers(0, width - 1))
    return (height, width), Region(top, left, draw(st.integers(top + 1, height)), draw(st.integers(left + 1, width)))


@settings(max_examples=150, deadline=None, derandomize=True)
@given(regions(), st.floats(0, 2), st.integers(1, 300))
def test_a_grown_region_holds_the_old_one_and_stays_in_the_view(made, share, least):
    (height, width), region = made
    grown = region.grown(share, least, (height, width))
    assert grown.joined(region) == grown
    assert grown.top >= 0 and grown.left >= 0 and grown.bottom <= height and grown.right <= width
    for side, size in zip(grown.shape, (height, width), strict=True):
        assert side >= min(least, size)


@settings(max_examples=150, deadline=None, derandomize=True)
@given(regions(), st.sampled_from([96, 128, 160]))
def test_every_pixel_of_a_region_has_a_place_among_the_networks(made, longest):
    _, region = made
    size = region.size_at(longest)
    assert max(size) == longest and all(side % STEP == 0 for side in size)
    for row in {region.top, (region.top + region.bottom) // 2, region.bottom - 1}:
        for column in {region.left, region.right - 1}:
            place = region.place(row, column, size)
            assert 0 <= place[0] < size[0] and 0 <= place[1] < size[1]


@pytest.mark.parametrize("size", [(64, 64), (32, 48), (160, 144)])
def test_a_mask_survives_the_way_to_another_size_and_back(size):
    region = Region(10, 20, 110, 110)
    rows, columns = np.ogrid[: region.shape[0], : region.shape[1]]
    mask = (rows - 50) ** 2 + (columns - 40) ** 2 <= 25**2
    there = resample(mask.astype(np.float32), region, region, size)
    back = resample(there, region, region, region.shape) > 0.5
    assert (back & mask).sum() / (back | mask).sum() > 0.95


def test_resampling_moves_what_it_should_and_is_0_outside():
    values = np.zeros((10, 10), np.float32)
    values[2:4, 5:8] = 1
    source, target = Region(0, 0, 10, 10), Region(1, 4, 21, 24)
    found = resample(values, source, target, (20, 20))
    assert np.array_equal(found[1:3, 1:4], np.ones((2, 3))) and found.sum() == pytest.approx(6)
    assert not found[10:].any()
    same = resample(np.ones((7, 9), np.float32), Region(0, 0, 7, 9), Region(0, 0, 7, 9), (30, 30))
    assert np.allclose(same, 1)


def test_the_region_of_a_mask_is_the_smallest_one_round_it():
    mask = np.zeros((50, 40), bool)
    mask[10:20, 8:12] = True
    assert region_of(mask, Region(0, 0, 50, 40)) == Region(10, 8, 20, 12)
    assert region_of(mask, Region(100, 200, 200, 280)) == Region(120, 216, 140, 224)
    assert region_of(np.zeros((5, 5), bool), Region(0, 0, 5, 5)) is None


@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e5])
@pytest.mark.parametrize("colour", [False, True])
def test_channels_dont_depend_on_the_unit(scale, colour):
    image = np.random.default_rng(0).random((48, 40, 3) if colour else (48, 40)).astype(np.float32)
    base = picture_channels(image)
    assert np.allclose(picture_channels(image * np.float32(scale)), base, atol=1e-2)
    assert base.shape == (4, 48, 40) and np.abs(base).max() <= 1.0001
    assert base[2:].any() == colour


def test_soft_tissue_is_told_apart_beside_air_and_metal():
    """40 HU between two organs take a tenth of the equalised scale though metal and air take 98 % of the linear one."""
    image = np.full((64, 64), -1000.0, np.float32)
    image[8:56, 8:56] = 40
    image[20:40, 20:40] = 80
    image[:4, :8] = 3000
    linear, equal = picture_channels(image)[:2]
    assert abs(linear[30, 30] - linear[50, 50]) < 0.1
    assert equal[30, 30] - equal[50, 50] > 0.2


@pytest.mark.parametrize("image", [np.zeros((16, 16), np.float32), np.full((16, 32, 3), 7, np.float32)])
def test_a_constant_picture_has_finite_channels(image):
    assert np.isfinite(picture_channels(image)).all()


def test_discs_and_likeness():
    found = discs((20, 30), [(0, 0), (10, 15)])
    assert found[10, 15] == found[10 + DISC, 15] == found[0, 0] == 1 and found[10, 15 + DISC + 1] == 0
    image = np.zeros((20, 30), np.float32)
    image[:, 15:] = 1
    unlike = unlikeness(likeness_base(picture_channels(image)), [(10, 5)])
    assert unlike[3, 3] == 0 and unlike[3, 25] == 1
    assert (unlikeness(likeness_base(picture_channels(image)), []) == 1).all()
