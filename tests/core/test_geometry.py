"""Turning scans to the canonical order and back, and slices as square pixels: nothing may move."""

from __future__ import annotations

from itertools import permutations, product

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from napari_ibisagent.core.errors import GridError, InputError
from napari_ibisagent.core.geometry import reorientation, shear_degrees, spacing_of
from napari_ibisagent.core.view import AXES, Plane, View, slice_of, view_of
from napari_ibisagent.core.volume import Volume

# All 48 ways in which a file may run along the patient's axes.
ORDERS = [(p, s) for p in permutations(range(3)) for s in product((1, -1), repeat=3)]
SPACINGS = st.tuples(*[st.sampled_from([0.3, 0.7, 1.0, 1.5, 3.0, 5.0])] * 3)


def turned(order, spacing, angles=(0.0, 0.0, 0.0), shift=(3.0, -40.0, 17.0)):
    """An affine (4, 4) whose source axis n runs along the patient's axis ``order[0][n]``, turned by degrees."""
    affine = np.eye(4)
    for source, (axis, sign) in enumerate(zip(*order, strict=True)):
        affine[:3, source] = 0
        affine[axis, source] = sign * spacing[source]
    turn = np.eye(3)
    for axis, degrees in enumerate(angles):
        a, b = [n for n in range(3) if n != axis]
        c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
        step = np.eye(3)
        step[a, a] = step[b, b] = c
        step[a, b], step[b, a] = -s, s
        turn = step @ turn
    affine[:3, :3] = turn @ affine[:3, :3]
    affine[:3, 3] = shift
    return affine


def numbered(shape):
    return np.arange(np.prod(shape), dtype=np.int32).reshape(shape)


@pytest.mark.parametrize("order", ORDERS, ids=str)
def test_every_order_becomes_the_canonical_one(order):
    source = numbered((3, 4, 5))
    volume = Volume.from_source(source, turned(order, (0.5, 1.0, 2.0)), modality="CT", name="scan")
    directions = volume.affine[:3, :3] / np.linalg.norm(volume.affine[:3, :3], axis=0)
    # x runs to the patient's left, y to the back, z to the feet; RAS+ is right, front... the other way round.
    assert np.allclose(directions, -np.eye(3))
    assert np.shares_memory(volume.data, source)
    assert np.array_equal(volume.to_source(volume.data), source)
    assert volume.to_source(volume.data).flags["C_CONTIGUOUS"]
    assert sorted(volume.spacing_mm) == pytest.approx([0.5, 1.0, 2.0])
    assert volume.voxel_ml == pytest.approx(0.001)


@settings(max_examples=250, deadline=None, derandomize=True)
@given(
    st.sampled_from(ORDERS),
    SPACINGS,
    st.tuples(*[st.floats(-15, 15)] * 3),
    st.tuples(*[st.integers(1, 5)] * 3),
    st.booleans(),
)
def test_a_voxel_keeps_its_place_and_its_value(order, spacing, angles, shape, colour):
    affine = turned(order, spacing, angles)
    source = numbered((*shape, 3) if colour else shape).astype(np.uint8 if colour else np.int32)
    volume = Volume.from_source(source, affine)
    assert np.array_equal(volume.grid.turn.invert(volume.data), source)
    labels = volume.data[..., 0] if colour else volume.data
    assert np.array_equal(volume.to_source(labels), source[..., 0] if colour else source)
    wanted = {n: tuple(affine @ (*at, 1.0)) for n, at in enumerate(np.ndindex(*shape))}
    where = volume.grid.turn.apply(numbered(shape))
    for z, y, x in np.ndindex(*volume.shape):
        assert np.allclose(volume.affine @ (x, y, z, 1.0), wanted[int(where[z, y, x])])
    cosines = volume.affine[:3, :3] / np.linalg.norm(volume.affine[:3, :3], axis=0)
    assert all(cosines[n, n] < -0.5 for n in range(3))
    assert shear_degrees(volume.affine) == pytest.approx(0, abs=1e-4)
    assert sorted(spacing_of(volume.affine)) == pytest.approx(sorted(spacing))


def test_a_steep_grid_never_gives_two_axes_the_same_source():
    for angles in product((-50, -45, 0, 45, 50), repeat=3):
        turn = reorientation(turned(((0, 1, 2), (1, 1, 1)), (1, 1, 1), angles))
        assert sorted(turn.axes) == [0, 1, 2]


def test_a_tilted_gantry_is_measured():
    affine = np.diag([1.0, 1.0, 2.0, 1.0])
    affine[1, 2] = 2 * np.tan(np.radians(14))
    assert shear_degrees(affine) == pytest.approx(14, abs=1e-6)


@pytest.mark.parametrize("column", [(0.0, 0.0, 0.0), (np.nan, 0.0, 1.0), (np.inf, 0.0, 0.0)])
def test_a_broken_matrix_is_refused(column):
    affine = np.eye(4)
    affine[:3, 1] = column
    with pytest.raises(GridError, match="broken orientation matrix"):
        Volume.from_source(np.zeros((2, 2, 2)), affine, name="scan")


@pytest.mark.parametrize("shape", [(4,), (4, 4), (4, 4, 4, 4), (4, 4, 4, 3, 1)])
def test_what_is_no_volume_is_refused(shape):
    with pytest.raises(GridError, match="three axes"):
        Volume.from_source(np.zeros(shape), np.eye(4))


def test_labels_of_another_scan_are_refused():
    volume = Volume.from_source(np.zeros((2, 3, 4)), np.eye(4), name="scan")
    assert volume.shape == (4, 3, 2)
    with pytest.raises(GridError, match=r"\(2, 3, 4\).*scan.*\(4, 3, 2\)"):
        volume.to_source(np.zeros((2, 3, 4), np.uint8))


@pytest.mark.parametrize("spacing", [None, (0.5, 0.25)])
def test_a_picture_is_taken_as_stored(spacing):
    picture = numbered((3, 5))
    volume = Volume.from_picture(picture, modality="CR", spacing_mm=spacing)
    assert volume.shape == (1, 3, 5)
    assert np.array_equal(volume.data[0], picture)
    assert np.array_equal(volume.to_source(volume.data), picture)
    assert (volume.has_spacing, volume.has_orientation, volume.voxel_ml) == (spacing is not None, False, None)
    assert volume.spacing_mm[1:] == (spacing or (1.0, 1.0))
    if spacing is None:
        view = view_of(volume, Plane.AXIAL, 0)
        assert np.array_equal(view.image, picture) and view.pixel_mm is None and view.pixel_mm2 is None


def test_a_coloured_picture_is_taken_as_stored():
    picture = np.random.default_rng(0).integers(0, 256, (4, 6, 3), np.uint8)
    volume = Volume.from_picture(picture)
    assert volume.is_colour and np.array_equal(volume.data[0], picture)
    assert np.array_equal(view_of(volume, Plane.AXIAL, 0).image, picture)
    labels = numbered((1, 4, 6))
    assert np.array_equal(volume.to_source(labels), labels[0])


# -- views -------------------------------------------------------------------------------------------------


def scan(shape=(6, 7, 9), spacing=(5.0, 1.0, 1.5), dtype=np.int16):
    """A canonical volume (z, y, x) with spacing (z, y, x)."""
    z, y, x = spacing
    return Volume.from_source(
        numbered(shape[::-1]).astype(dtype), np.diag([-x, -y, -z, 1.0]), modality="CT", name="scan"
    )


SHAPES = st.tuples(*[st.integers(1, 12)] * 3)


@settings(max_examples=250, deadline=None, derandomize=True)
@given(SHAPES, SPACINGS, st.sampled_from(Plane), st.data())
def test_a_point_goes_to_its_voxel_and_back(shape, spacing, plane, data):
    volume = scan(shape, spacing)
    sliced, row_axis, column_axis = AXES[plane]
    index = data.draw(st.integers(0, shape[sliced] - 1))
    view = view_of(volume, plane, index)
    assert view.native == (shape[row_axis], shape[column_axis])
    assert view.pixel_mm == pytest.approx(min(spacing[row_axis], spacing[column_axis]), rel=0.01)
    x, y = data.draw(st.floats(0, 1)), data.draw(st.floats(0, 1))
    voxel = view.voxel_of(x, y)
    assert voxel[sliced] == index
    assert view.point_of_voxel(voxel) == pytest.approx((x, y))
    row, column = view.pixel_of(x, y)
    assert 0 <= row < view.shape[0] and 0 <= column < view.shape[1]
    # The pixel's own centre is the same place within half a voxel of the finer axis.
    at = view.voxel_of(*view.point_of(row, column))
    for axis, pixels in ((row_axis, view.shape[0]), (column_axis, view.shape[1])):
        assert abs(at[axis] - voxel[axis]) <= 0.5 * shape[axis] / pixels + 1e-9
    # The centre of every voxel comes back to that voxel.
    for r, c in np.ndindex(*view.native):
        point = [0.0, 0.0, 0.0]
        point[sliced], point[row_axis], point[column_axis] = index, r, c
        again = view.voxel_of(*view.point_of_voxel((point[0], point[1], point[2])))
        assert again == pytest.approx(tuple(point), abs=1e-9)


@settings(max_examples=150, deadline=None, derandomize=True)
@given(SHAPES, SPACINGS, st.sampled_from(Plane), st.data())
def test_a_mask_goes_to_the_view_and_back(shape, spacing, plane, data):
    volume = scan(shape, spacing)
    view = view_of(volume, plane, 0)
    # A view with fewer pixels than voxels along an axis can't hold them all.
    assume(all(v >= n for v, n in zip(view.shape, view.native, strict=True)))
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32)))
    native = rng.random(view.native) < 0.5
    shown = view.from_native(native)
    assert shown.shape == view.shape and shown.dtype == bool
    assert np.array_equal(view.to_native(shown), native)


@settings(max_examples=150, deadline=None, derandomize=True)
@given(SHAPES, SPACINGS, st.sampled_from(Plane), st.data())
def test_a_mask_lies_where_its_picture_shows_it(shape, spacing, plane, data):
    """The centre of one voxel's pixels is that voxel, within half a voxel along each axis."""
    view = view_of(scan(shape, spacing), plane, 0)
    _, row_axis, column_axis = AXES[plane]
    assume(all(v >= n for v, n in zip(view.shape, view.native, strict=True)))
    row, column = (data.draw(st.integers(0, n - 1)) for n in view.native)
    native = np.zeros(view.native, bool)
    native[row, column] = True
    rows, columns = np.nonzero(view.from_native(native))
    assert rows.size
    voxel = view.voxel_of(*view.point_of(float(rows.mean()), float(columns.mean())))
    assert abs(voxel[row_axis] - row) < 0.5 + 1e-9 and abs(voxel[column_axis] - column) < 0.5 + 1e-9


@pytest.mark.parametrize("plane", Plane)
def test_pixels_of_a_view_are_square(plane):
    shape, spacing = (6, 40, 60), (5.0, 0.8, 1.2)
    view = view_of(scan(shape, spacing), plane, 0)
    _, row_axis, column_axis = AXES[plane]
    assert view.pixel_mm is not None and view.pixel_mm2 == pytest.approx(view.pixel_mm**2)
    for axis, pixels in ((row_axis, view.shape[0]), (column_axis, view.shape[1])):
        assert pixels * view.pixel_mm == pytest.approx(shape[axis] * spacing[axis], abs=view.pixel_mm / 2 + 1e-6)


def test_the_three_planes_are_the_radiologists():
    volume = scan(spacing=(1.0, 1.0, 1.0))
    assert np.array_equal(view_of(volume, Plane.AXIAL, 2).image, volume.data[2])
    assert np.array_equal(view_of(volume, Plane.CORONAL, 3).image, volume.data[:, 3])
    assert np.array_equal(view_of(volume, Plane.SAGITTAL, 4).image, volume.data[:, :, 4])
    for plane in Plane:
        part = slice_of(volume.data, plane, 1)
        assert np.shares_memory(part, volume.data)


@pytest.mark.parametrize("plane", Plane)
@pytest.mark.parametrize("index", [-1, -100, 9, 10_000])
def test_a_slice_that_is_not_there_is_refused(plane, index):
    volume = scan()
    last = volume.shape[AXES[plane][0]] - 1
    with pytest.raises(InputError, match=f"no {plane} slice {index}. Choose one from 0 to {last}"):
        view_of(volume, plane, index)


def test_a_resampled_picture_runs_evenly_between_its_voxels():
    volume = Volume.from_source(
        np.tile(np.arange(8, dtype=np.int16) * 10, (3, 4, 1)), np.diag([-1.0, -1.0, -4.0, 1.0]), modality="CT"
    )
    view = view_of(volume, Plane.CORONAL, 0)
    assert view.shape == (32, 3) and view.image.dtype == np.float32
    inner = view.image[2:-2, 0]
    assert np.allclose(np.diff(inner), 2.5)
    assert view.image.min() == 0 and view.image.max() == 70
    # The value under a point is the one at its voxel.
    for y in (0.2, 0.5, 0.77):
        z = view.voxel_of(0.5, y)[0]
        assert view.image[view.pixel_of(0.5, y)] == pytest.approx(10 * z, abs=10 * 0.5 / 4 + 1e-3)


def test_a_resampled_coloured_picture_stays_one():
    colour = np.random.default_rng(0).integers(0, 256, (4, 5, 6, 3), np.uint8)
    view = view_of(Volume.from_source(colour, np.diag([1.0, 1.0, 3.0, 1.0])), Plane.SAGITTAL, 0)
    assert view.image.dtype == np.uint8 and view.image.shape == (*view.shape, 3)
    assert view.shape == (18, 5)


def test_a_view_never_grows_without_bound():
    volume = scan((400, 2, 3000), (20.0, 1.0, 0.1))
    view = view_of(volume, Plane.CORONAL, 0)
    assert max(view.shape) <= 2048
    assert view.pixel_mm == pytest.approx(8000 / 2048)


def test_pixels_on_the_edge_belong_to_the_view():
    view = View(np.zeros((3, 4)), Plane.AXIAL, 0, (3, 4), None)
    assert view.pixel_of(0, 0) == (0, 0) and view.pixel_of(1, 1) == (2, 3)
    assert view.pixel_of(0.2499, 0.3333) == (0, 0) and view.pixel_of(0.25, 0.34) == (1, 1)
