"""The made-up patient: everything there, on its own side, of a plausible size and brightness."""

import functools

import numpy as np
import pytest
from scipy import ndimage

from napari_ibisagent.evaluation.phantom import make_phantom

SEEDS = (0, 1, 2, 3)


@functools.cache
def patient(seed):
    return make_phantom(seed)


def centre_mm(phantom, name):
    """Centroid in RAS+ mm: +x is the patient's right, +y front, +z head."""
    z, y, x = (float(v.mean()) for v in np.nonzero(phantom.mask(name)))
    return (phantom.volume.affine @ (x, y, z, 1))[:3]


def inner_mean(phantom, name, rounds=2):
    """Mean HU where no neighbour shares the voxel."""
    return float(phantom.volume.data[ndimage.binary_erosion(phantom.mask(name), iterations=rounds)].mean())


@pytest.fixture(params=SEEDS)
def phantom(request):
    return patient(request.param)


def test_it_is_a_ct_on_a_canonical_grid():
    volume, labels = patient(0).volume, patient(0).labels
    assert (volume.modality, volume.data.dtype, labels.dtype) == ("CT", np.int16, np.uint8)
    assert volume.shape == labels.shape == (80, 267, 267)
    assert volume.spacing_mm == pytest.approx((3.0, 1.5, 1.5))
    assert volume.has_orientation and volume.has_spacing
    assert np.all(np.diag(volume.affine)[:3] < 0)  # x to the left, y backwards, z down
    assert volume.grid.turn.axes == (2, 1, 0)  # the source was in RAS+ order
    assert np.array_equal(volume.grid.turn.apply(volume.to_source(labels)), labels)


def test_the_same_seed_gives_the_same_patient():
    again = make_phantom(1)
    assert np.array_equal(again.volume.data, patient(1).volume.data)
    assert np.array_equal(again.labels, patient(1).labels)
    assert not np.array_equal(patient(0).labels, patient(1).labels)


def test_everything_named_is_there_and_nothing_else(phantom):
    assert set(np.unique(phantom.labels)) - {0} == set(phantom.names)
    assert all(phantom.mask(name).sum() > 50 for name in phantom.names.values())
    assert not {"urinary bladder", "prostate", "brain"} & set(phantom.names.values())


def test_sides_are_the_patients(phantom):
    middle = centre_mm(phantom, "spine")[0]
    for name in ("liver", "gallbladder", "right kidney", "right lung", "inferior vena cava"):
        assert centre_mm(phantom, name)[0] > middle, name
    for name in ("spleen", "stomach", "left kidney", "left lung", "aorta"):
        assert centre_mm(phantom, name)[0] < middle, name


def test_organs_lie_in_front_of_and_above_one_another(phantom):
    assert centre_mm(phantom, "aorta")[1] > centre_mm(phantom, "spine")[1]
    assert centre_mm(phantom, "spinal canal")[1] < centre_mm(phantom, "spine")[1]
    assert centre_mm(phantom, "left kidney")[2] > centre_mm(phantom, "right kidney")[2]
    assert centre_mm(phantom, "left lung")[2] > centre_mm(phantom, "liver")[2] > centre_mm(phantom, "colon")[2]


@pytest.mark.parametrize(
    ("name", "low", "high"),
    [
        ("liver", 1000, 2000),
        ("spleen", 100, 350),
        ("left kidney", 100, 250),
        ("right kidney", 100, 250),
        ("gallbladder", 8, 60),
        ("aorta", 40, 130),
        ("pancreas", 20, 120),
        ("stomach", 150, 700),
    ],
)
def test_volumes_are_plausible(phantom, name, low, high):
    assert low < phantom.mask(name).sum() * phantom.volume.voxel_ml < high


@pytest.mark.parametrize(
    ("name", "hu", "within"),
    [
        ("liver", 110, 12),
        ("spleen", 120, 12),
        ("left kidney", 170, 18),
        ("right kidney", 170, 18),
        ("aorta", 160, 18),
        ("inferior vena cava", 145, 18),
        ("gallbladder", 10, 8),
        ("muscle", 55, 8),
        ("fat", -100, 8),
        ("left lung", -850, 25),
        ("right lung", -850, 25),
    ],
)
def test_brightness_is_portal_venous(phantom, name, hu, within):
    assert inner_mean(phantom, name) == pytest.approx(hu, abs=within)


def test_organs_stay_inside_the_body(phantom):
    """Between any organ and the air lie skin, fat and wall."""
    outer = [value for value, name in phantom.names.items() if name in ("skin", "fat", "muscle", "ribs", "spine")]
    inner = (phantom.labels > 0) & ~np.isin(phantom.labels, outer)
    filled = np.stack([ndimage.binary_fill_holes(s) for s in phantom.labels > 0])
    assert np.array_equal(filled, phantom.labels > 0)
    depth = ndimage.distance_transform_edt(filled[20], sampling=1.5)
    assert depth[inner[20]].min() > 10
    in_plane = np.ones((1, 3, 3), dtype=bool)
    assert not (inner & ~ndimage.binary_erosion(filled, in_plane, iterations=5)).any()


def test_organs_are_in_one_piece(phantom):
    for name in ("liver", "spleen", "left kidney", "right kidney", "aorta", "stomach", "spine"):
        parts, _ = ndimage.label(phantom.mask(name), np.ones((3, 3, 3)))
        sizes = np.bincount(parts.ravel())[1:]
        assert sizes.max() > 0.97 * sizes.sum(), name


def test_noise_is_that_of_a_scanner(phantom):
    liver = ndimage.binary_erosion(phantom.mask("liver"), iterations=3)
    flat = phantom.volume.data - ndimage.uniform_filter(phantom.volume.data.astype(np.float32), (1, 9, 9))
    air = phantom.volume.data[:, :20, :20].astype(float)
    assert 9 < flat[liver].std() < 18
    assert abs(air.mean() + 1000) < 5
    assert np.corrcoef(air[:, :, 1:].ravel(), air[:, :, :-1].ravel())[0, 1] > 0.2


def test_the_stomach_has_gas_in_front_and_fluid_behind(phantom):
    _, y, _ = np.nonzero(phantom.mask("stomach"))
    hu = phantom.volume.data[phantom.mask("stomach")]
    assert (hu < -800).sum() > 300
    assert y[hu < -800].mean() < y[np.abs(hu - 15) < 20].mean()


def test_a_table_lies_under_the_patient(phantom):
    body = np.nonzero((phantom.labels > 0).any(axis=(0, 2)))[0]
    outside = np.where(phantom.labels > 0, -1000, phantom.volume.data).mean(axis=0)
    middle = outside[body[-1] + 1 :, outside.shape[1] // 2]
    assert np.count_nonzero(np.diff((middle > -600).astype(int)) == 1) == 2


def test_another_spacing_is_the_same_patient():
    fine, coarse = patient(0), make_phantom(0, (6.0, 3.0, 3.0))
    assert coarse.volume.spacing_mm == pytest.approx((6.0, 3.0, 3.0))
    for name in ("liver", "spleen", "left kidney"):
        ratio = coarse.mask(name).sum() * coarse.volume.voxel_ml / fine.mask(name).sum() / fine.volume.voxel_ml
        assert ratio == pytest.approx(1, abs=0.3), name
