"""The numbers of the object table, against the drawn labels."""

from __future__ import annotations

import gc
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_ibisagent.core import measures
from napari_ibisagent.core.episode import PackedMask
from napari_ibisagent.core.measures import Measure, key_slice, measure_of
from napari_ibisagent.core.session import Erased, Patch, SegmentedObject, Session, labels_of
from napari_ibisagent.core.view import AXES, Plane
from napari_ibisagent.core.volume import Volume

SHAPE = (4, 5, 6)


def ct(shape=SHAPE, modality="CT", **others):
    data = np.random.default_rng(1).integers(-1000, 1000, shape).astype(np.int16)
    affine = np.diag((-2.0, -2.0, -5.0, 1.0))
    return Volume.from_source(data.transpose(2, 1, 0), affine, modality=modality, **others)


def patch(value, index, mask, plane=Plane.AXIAL):
    return Patch(value, plane, index, PackedMask.of(np.asarray(mask, bool)))


def session(*patches, values=(1, 2, 3)):
    rows = tuple(SegmentedObject(value, f"object {value}", "#ffffff") for value in values)
    return Session(objects=rows, patches=patches)


def block(rows, columns, shape=(5, 6)):
    mask = np.zeros(shape, bool)
    mask[rows, columns] = True
    return mask


def by_drawing(value, of, volume):
    found = labels_of(of, volume.shape) == value
    mean = pytest.approx(float(volume.data[found].mean())) if found.any() else None
    return Measure(int(found.sum()), pytest.approx(found.sum() * 0.02), mean)


def test_size_and_mean():
    volume = ct()
    of = session(patch(1, 2, block(slice(1, 3), slice(2, 5))))
    measure = measure_of(1, of, volume)
    assert measure.voxels == 6
    assert measure.ml == pytest.approx(6 * 2 * 2 * 5 / 1000)
    assert measure.mean_hu == pytest.approx(volume.data[2, 1:3, 2:5].mean())
    assert measure_of(2, of, volume) == Measure(0, 0.0, None)


def test_no_size_no_ct_and_colour():
    of = session(patch(1, 0, block(0, slice(0, 2))))
    assert measure_of(1, of, ct(has_spacing=False)).ml is None
    assert measure_of(1, of, ct(modality="MR")).mean_hu is None
    picture = Volume.from_picture(np.zeros((5, 6, 3), np.uint8), modality="CT")
    assert measure_of(1, of, picture) == Measure(2, None, None)


def test_a_mean_that_is_no_number_is_not_shown():
    data = np.full((6, 5, 4), np.nan, np.float32)
    volume = Volume.from_source(data, np.diag((-2.0, -2.0, -5.0, 1.0)), modality="CT")
    assert measure_of(1, session(patch(1, 0, block(0, 0))), volume).mean_hu is None


def test_an_erased_object_gives_nothing_back():
    volume = ct()
    under, over = patch(1, 0, block(slice(0, 3), 0)), patch(2, 0, block(slice(1, 5), 0))
    for patches in [(under, over), (under, over, Erased(2)), (under, over, Erased(2), patch(2, 1, block(0, 0)))]:
        of = session(*patches)
        assert measure_of(1, of, volume).voxels == 1
        assert measure_of(2, of, volume) == by_drawing(2, of, volume)


planes = st.sampled_from(list(Plane))
bits = st.integers(0, 2**31)


@st.composite
def histories(draw, mixed):
    plane = draw(planes)
    patches = []
    for value, index, seed, erased in draw(
        st.lists(st.tuples(st.integers(1, 3), st.integers(0, 3), bits, st.booleans()), max_size=9)
    ):
        where = draw(planes) if mixed else plane
        shape = tuple(SHAPE[axis] for axis in AXES[where][1:])
        mask = np.random.default_rng(seed).random(shape) < 0.4
        patches.append(Erased(value) if erased and seed % 2 else patch(value, index, mask, where))
    return session(*patches)


@pytest.mark.parametrize("mixed", [False, True])
def test_it_agrees_with_the_drawn_labels(mixed):
    volume = ct()

    @settings(max_examples=80, deadline=None)
    @given(histories(mixed))
    def check(of):
        # The same volume each time: what an earlier session left in memory must not matter.
        for value in (1, 2, 3):
            assert measure_of(value, of, volume) == by_drawing(value, of, volume)

    check()


def test_only_the_slice_that_changed_is_counted_again(monkeypatch):
    volume = ct()
    first = session(*(patch(1, index, block(index, slice(0, 3))) for index in range(3)))
    measure_of(1, first, volume)
    counted = []
    real = measures._sums
    monkeypatch.setattr(measures, "_sums", lambda *args: counted.append(args[2:]) or real(*args))
    second = session(*first.patches, patch(2, 1, block(4, slice(0, 2))))
    assert measure_of(2, second, volume).voxels == 2
    assert measure_of(1, second, volume).voxels == 9
    assert counted == [(Plane.AXIAL, 1)]


def test_a_closed_scan_is_forgotten():
    volume = ct()
    measure_of(1, session(patch(1, 0, block(0, 0))), volume)
    key = id(volume.data)
    assert key in measures._COUNTED
    del volume
    gc.collect()
    assert key not in measures._COUNTED


def test_the_key_slice_is_the_largest():
    small, large = block(0, 0), block(slice(0, 3), slice(0, 3))
    of = session(patch(1, 0, small), patch(1, 3, large), patch(2, 1, large))
    assert key_slice(1, of) == (Plane.AXIAL, 3)
    # A later patch replaces the earlier one on its slice.
    assert key_slice(1, session(*of.patches, patch(1, 3, block(0, 0) & False))) == (Plane.AXIAL, 0)
    assert key_slice(1, session(*of.patches, Erased(1))) is None
    assert key_slice(3, of) is None


def test_it_stays_quick():
    """20 objects with 30 slices each of 512 x 512: a change costs one slice. Measured at about 5 ms; 50 are allowed."""
    volume = ct((60, 512, 512))
    masks = [block(slice(20 * n, 20 * n + 80), slice(100, 190), (512, 512)) for n in range(20)]
    patches = [patch(n + 1, index, masks[n]) for n in range(20) for index in range(30)]
    measure_of(1, session(*patches), volume)
    after = session(*patches, patch(3, 7, masks[5]))
    start = time.perf_counter()
    for value in range(1, 21):
        measure_of(value, after, volume)
    assert time.perf_counter() - start < 0.05
