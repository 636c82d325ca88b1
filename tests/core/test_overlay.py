"""What a policy is shown: the windowed view with the mask over it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis.extra import numpy as arrays

from napari_ibisagent.core.errors import UnknownNameError
from napari_ibisagent.core.overlay import PRESETS, OverlayPreset, draw_mask, draw_outline, grey_picture, overlay_preset
from napari_ibisagent.core.window import Window


@pytest.mark.parametrize("name", PRESETS)
def test_a_mask_is_blended_and_the_rest_left_alone(name):
    picture = np.random.default_rng(0).integers(0, 256, (9, 11, 3), np.uint8)
    mask = np.zeros((9, 11), bool)
    mask[2:5, 3:9] = True
    before, preset = picture.copy(), overlay_preset(name)
    drawn = draw_mask(picture, mask, preset)
    assert np.array_equal(picture, before) and drawn.dtype == np.uint8
    assert np.array_equal(drawn[~mask], picture[~mask])
    wanted = (1 - preset.alpha) * picture[mask] + preset.alpha * np.array(preset.colour)
    assert np.abs(drawn[mask] - wanted).max() <= 0.51


def test_presets_are_the_published_ones():
    """DESIGN section 6."""
    assert overlay_preset("ibis") == OverlayPreset((34, 139, 34), 0.4)
    assert overlay_preset("ibis_rl") == OverlayPreset((0, 255, 0), 128 / 255)
    assert overlay_preset("medsam_agent") == OverlayPreset((0, 255, 0), 0.5)
    with pytest.raises(UnknownNameError, match="ibis, ibis_rl, medsam_agent"):
        overlay_preset("pink")


@pytest.mark.parametrize("mask", [None, np.zeros((4, 5), bool)])
def test_no_mask_is_a_copy(mask):
    picture = np.full((4, 5, 3), 9, np.uint8)
    drawn = draw_mask(picture, mask, PRESETS["ibis"])
    assert np.array_equal(drawn, picture) and not np.shares_memory(drawn, picture)


def test_grey_and_colour_become_pictures():
    grey = grey_picture(np.array([[-160, 40], [240, 999]], np.int16), Window(40, 400))
    assert grey.shape == (2, 2, 3) and grey[..., 0].tolist() == [[0, 127], [255, 255]]
    assert np.array_equal(grey[..., 0], grey[..., 2])
    colour = np.random.default_rng(1).integers(0, 256, (3, 4, 3), np.uint8)
    shown = grey_picture(colour, Window(0, 1))
    assert np.array_equal(shown, colour) and not np.shares_memory(shown, colour)


@settings(max_examples=150, deadline=None, derandomize=True)
@given(arrays.arrays(bool, arrays.array_shapes(min_dims=2, max_dims=2, max_side=9)))
def test_an_outline_is_the_pixels_with_a_neighbour_outside(mask):
    picture = np.zeros((*mask.shape, 3), np.uint8)
    drawn = draw_outline(picture, mask, (1, 2, 3))
    wide = np.pad(mask, 1, constant_values=True)  # the view's own border is no border of the mask
    inner = wide[:-2, 1:-1] & wide[2:, 1:-1] & wide[1:-1, :-2] & wide[1:-1, 2:]
    assert np.array_equal((drawn == (1, 2, 3)).all(axis=2), mask & ~inner)
    assert not picture.any()
