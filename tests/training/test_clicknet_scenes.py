"""Generated pictures: always something to ask for, the same for the same seed, and nothing of a patient in them."""

from __future__ import annotations

import nibabel as nib
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage as ndi

from napari_ibisagent.core.errors import InputError
from napari_ibisagent.training.clicknet import shapes
from napari_ibisagent.training.clicknet.clicks import next_click
from napari_ibisagent.training.clicknet.fields import fractal_field, smooth_field
from napari_ibisagent.training.clicknet.labelmaps import LabelMap, read_label_maps
from napari_ibisagent.training.clicknet.scenes import draw_scene
from napari_ibisagent.training.clicknet.slots import spoilt


def ball_map(spacing=(2.0, 1.0, 1.0)):
    at = np.indices((20, 40, 40)) * np.array(spacing)[:, None, None, None]
    labels = np.zeros((20, 40, 40), np.int16)
    labels[np.hypot(np.hypot(at[0] - 20, at[1] - 20), at[2] - 20) < 15] = 7
    return LabelMap(labels, spacing)


@settings(max_examples=40, deadline=None, derandomize=True)
@given(st.integers(0, 2**32), st.sampled_from([64, 96, 128]), st.booleans())
def test_a_scene_has_a_finite_picture_and_a_target_in_it(seed, side, with_maps):
    maps = (ball_map(),) if with_maps else ()
    scene = draw_scene(np.random.default_rng(seed), side, maps)
    assert scene.image.shape[:2] == scene.target.shape == (side, side)
    assert scene.image.ndim == 2 or scene.image.shape[2] == 3
    assert scene.image.dtype == np.float32 and np.isfinite(scene.image).all()
    assert 30 <= np.count_nonzero(scene.target) <= 0.7 * side * side
    again = draw_scene(np.random.default_rng(seed), side, maps)
    assert np.array_equal(again.image, scene.image) and np.array_equal(again.target, scene.target)


def test_targets_are_of_many_sizes_and_kinds():
    rng = np.random.default_rng(1)
    scenes = [draw_scene(rng, 96) for _ in range(120)]
    shares = np.array([scene.target.mean() for scene in scenes])
    assert (shares < 0.02).sum() > 5 and (shares > 0.2).sum() > 10
    assert any(scene.image.ndim == 3 for scene in scenes)
    assert any(ndi.label(scene.target)[1] > 1 for scene in scenes)
    holes = [ndi.binary_fill_holes(scene.target).sum() > scene.target.sum() for scene in scenes]
    assert any(holes)


@pytest.mark.parametrize("shape", shapes.ONE_PIECE)
def test_shapes_follow_their_size(shape):
    small, large = (
        np.mean([shape(np.random.default_rng(seed), 96, size, 0.1).mean() for seed in range(20)])
        for size in (0.15, 0.6)
    )
    assert large > 1.5 * small


def test_fields_have_about_unit_spread_and_the_wanted_grain():
    rng = np.random.default_rng(0)
    coarse, fine = (np.stack([smooth_field(rng, 96, cells) for _ in range(30)]) for cells in (3, 24))
    assert 0.7 < coarse.std() < 1.3 and 0.7 < fine.std() < 1.3
    steps = [np.abs(np.diff(field, axis=2)).mean() for field in (coarse, fine)]
    assert steps[1] > 4 * steps[0]
    assert 0.6 < np.stack([fractal_field(rng, 96, 4, 0.5) for _ in range(30)]).std() < 1.4


def test_a_slice_of_a_label_map_keeps_proportions():
    """A ball is round in every plane, though its voxels are twice as high as wide."""
    rng = np.random.default_rng(3)
    areas, boxes = [], []
    ball = ball_map()
    for _ in range(300):
        drawn = ball.slice(rng, 96)
        if drawn is None:
            continue
        assert set(np.unique(drawn)) <= {0, 7}
        rows, columns = np.nonzero(drawn)
        if rows.min() > 0 and columns.min() > 0 and rows.max() < 95 and columns.max() < 95:
            boxes.append((np.ptp(rows) + 1) / (np.ptp(columns) + 1))
            areas.append(rows.size)
    assert len(boxes) > 5 and 0.7 < np.median(boxes) < 1.4
    assert max(areas) > 2 * min(areas)


def test_label_maps_are_read_with_their_spacing(tmp_path):
    labels = np.zeros((5, 6, 7), np.int16)
    labels[1:4, 1:4, 1:4] = 3
    nib.save(nib.Nifti1Image(labels, np.diag([1.0, 2.0, 3.0, 1.0])), tmp_path / "a.nii.gz")
    (found,) = read_label_maps(tmp_path)
    assert found.spacing == (1.0, 2.0, 3.0) and np.array_equal(found.labels, labels)
    (tmp_path / "b.nii").write_bytes(b"no image")
    with pytest.raises(InputError, match=r"b\.nii"):
        read_label_maps(tmp_path)
    with pytest.raises(InputError, match="no label maps"):
        read_label_maps(tmp_path / "nowhere")


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.integers(0, 2**32))
def test_a_simulated_click_lies_in_the_error_it_is_against(seed):
    rng = np.random.default_rng(seed)
    mask, target = (smooth_field(rng, 48, 3) > 0.3 for _ in range(2))
    click = next_click(rng, mask, target)
    if click is None:
        assert np.array_equal(mask, target)
        return
    row, column, positive = click
    assert target[row, column] == positive and mask[row, column] != positive


def test_without_an_error_there_is_no_click():
    mask = np.eye(20, dtype=bool)
    assert next_click(np.random.default_rng(0), mask, mask.copy()) is None


def test_a_spoilt_mask_is_near_the_target_and_mostly_wrong_somewhere():
    rng = np.random.default_rng(0)
    target = np.zeros((96, 96), bool)
    target[30:70, 25:60] = True
    found = [spoilt(rng, target) for _ in range(40)]
    overlaps = [(mask & target).sum() / (mask | target).sum() for mask in found]
    assert 0.5 < np.mean(overlaps) < 0.95 and sum(np.array_equal(mask, target) for mask in found) < 5
