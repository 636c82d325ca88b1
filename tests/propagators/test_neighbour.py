"""Carrying a mask from neighbour to neighbour: as good as the phantom's truth, no leaks, and an end."""

from __future__ import annotations

import functools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage as ndi

from napari_ibisagent import registry
from napari_ibisagent.core.actions import Box
from napari_ibisagent.core.clicks import next_click
from napari_ibisagent.core.masks import dice
from napari_ibisagent.core.protocols import Carry, Propagator, Segmentation, made_again
from napari_ibisagent.core.view import AXES, Plane, slice_of, view_of
from napari_ibisagent.core.volume import Volume
from napari_ibisagent.evaluation.phantom import make_phantom
from napari_ibisagent.propagators import neighbour
from napari_ibisagent.segmenters import geodesic

BODY, ORGAN = 40, 140


def never():
    return False


def nothing(_):
    return None


@functools.cache
def phantom():
    return make_phantom(0, (3.0, 1.5, 1.5))


def volume_of(hu, spacing=(2.0, 1.0, 1.0)):
    """A CT from HU (Z, Y, X) and its spacing (z, y, x)."""
    z, y, x = spacing
    noisy = hu + np.random.default_rng(3).normal(0, 6, hu.shape)
    return Volume.from_source(noisy.astype(np.int16).transpose(2, 1, 0), np.diag([-x, -y, -z, 1.0]), modality="CT")


def ball(shape, centre, radii):
    grids = np.ogrid[tuple(slice(n) for n in shape)]
    return sum(((g - c) / r) ** 2 for g, c, r in zip(grids, centre, radii, strict=True)) <= 1


class Filler:
    """A tool that floods what is as bright as the organ from each positive click; a negative one takes a disc away."""

    name = "filler"

    def open(self, view):
        bright = ndi.gaussian_filter(view.image.astype(np.float32), 1) > (BODY + ORGAN) / 2
        return _Filling(view, bright)


class _Filling:
    def __init__(self, view, bright):
        self._view, self._bright = view, bright

    def segment(self, prompts, prior):
        parts, _ = ndi.label(self._bright)
        mask = np.zeros_like(self._bright) if prior is None else prior & self._bright
        rows, columns = np.ogrid[: mask.shape[0], : mask.shape[1]]
        for click in prompts:
            if isinstance(click, Box):
                continue
            row, column = self._view.pixel_of(click.x, click.y)
            if click.positive:
                mask = mask | (parts == (parts[row, column] or -1))
            else:
                mask = mask & ((rows - row) ** 2 + (columns - column) ** 2 > 16)
        return Segmentation(mask, 0.9)


def key_of(truth, plane):
    return int(truth.sum(axis=tuple(a for a in range(3) if a != AXES[plane][0])).argmax())


def carried(volume, truth, tool, *, plane=Plane.AXIAL, evidence=nothing, bounds=None, cancelled=never, key=None):
    """The key slice's index, and the slices that its true mask is carried to."""
    key = key_of(truth, plane) if key is None else key
    mask = view_of(volume, plane, key).from_native(slice_of(truth, plane, key))
    first, last = bounds or (0, volume.shape[AXES[plane][0]] - 1)
    return key, list(
        neighbour.build().propagate(Carry(volume, plane, key, mask, tool, first, last, evidence), cancelled)
    )


def whole(volume, truth, plane, key, slices):
    """The masks as a volume, the true one on the key slice."""
    found = np.zeros(volume.shape, bool)
    slice_of(found, plane, key)[...] = slice_of(truth, plane, key)
    for one in slices:
        slice_of(found, plane, one.index)[...] = view_of(volume, plane, one.index).to_native(one.mask)
    return found


def rough(truth, volume):
    """The truth as known to blocks of about 4 mm, and thinner by 2 mm: what a coarse survey would say."""
    blocks = [max(1, round(4 / s)) for s in volume.spacing_mm]
    thin = ndi.distance_transform_edt(truth, sampling=volume.spacing_mm) > 2
    coarse = thin[tuple(slice(None, None, n) for n in blocks)]
    for axis, n in enumerate(blocks):
        coarse = np.repeat(coarse, n, axis)
    return coarse[tuple(slice(n) for n in truth.shape)]


def source(volume, seen, plane=Plane.AXIAL):
    return lambda index: view_of(volume, plane, index).from_native(np.ascontiguousarray(slice_of(seen, plane, index)))


def spread(seen, plane=Plane.AXIAL):
    found = np.flatnonzero(seen.any(axis=tuple(a for a in range(3) if a != AXES[plane][0])))
    return int(found[0]), int(found[-1])


@pytest.mark.parametrize("name", registry.names("propagators"))
def test_every_propagator_can_be_loaded(name):
    found = registry.load("propagators", name)
    assert isinstance(found, Propagator) and found.name == name


@pytest.mark.parametrize("plane", [Plane.AXIAL, Plane.CORONAL])
@pytest.mark.parametrize("name", ["liver", "left kidney", "right kidney"])
def test_with_rough_evidence_the_whole_organ_is_there(name, plane):
    volume, truth = phantom().volume, phantom().mask(name)
    seen = rough(truth, volume)
    key, slices = carried(
        *(volume, truth, geodesic.build()),
        plane=plane,
        evidence=source(volume, seen, plane),
        bounds=spread(seen, plane),
    )
    assert dice(whole(volume, truth, plane, key, slices), truth) >= 0.85
    assert all(one.confidence > 0 for one in slices)


@pytest.mark.parametrize("name", ["left kidney", "right kidney", "spleen"])
def test_without_any_evidence_most_of_the_organ_is_there(name):
    volume, truth = phantom().volume, phantom().mask(name)
    key, slices = carried(volume, truth, geodesic.build())
    found = whole(volume, truth, Plane.AXIAL, key, slices)
    assert dice(found, truth) >= 0.8
    first, last = spread(truth)
    assert first - 1 <= spread(found)[0] and spread(found)[1] <= last + 1


SHAPE = (24, 48, 56)


def organ(other=None, centre=(11, 24, 22), radii=(8, 14, 12)):
    """A bright ball in a body, and the volume with ``other`` of the same brightness beside it."""
    truth = ball(SHAPE, centre, radii)
    hu = np.full(SHAPE, float(BODY))
    hu[truth if other is None else truth | other] = ORGAN
    return volume_of(hu), truth


@pytest.mark.parametrize("tool", [Filler(), geodesic.build()])
def test_without_evidence_it_ends_where_the_organ_ends(tool):
    volume, truth = organ()
    key, slices = carried(volume, truth, tool)
    found = whole(volume, truth, Plane.AXIAL, key, slices)
    first, last = spread(truth)
    assert first <= spread(found)[0] <= first + 2 and last - 2 <= spread(found)[1] <= last
    assert dice(found, truth) > 0.9


def bridged():
    """A second ball, and a bright bridge to it that goes through many slices."""
    other = ball(SHAPE, (11, 24, 46), (8, 12, 8))
    bridge = np.zeros(SHAPE, bool)
    bridge[7:16, 21:27, 20:46] = True
    return other | bridge


def test_evidence_holds_a_leak_back_and_the_slice_is_told():
    volume, truth = organ(bridged())
    key, slices = carried(volume, truth, Filler(), evidence=source(volume, truth), bounds=spread(truth))
    found = whole(volume, truth, Plane.AXIAL, key, slices)
    near = ndi.distance_transform_edt(~truth, sampling=(1e9, *volume.spacing_mm[1:])) <= 5
    assert not (found & ~near).any() and dice(found, truth) > 0.85
    leaking = [one.index for one in slices if "leaked" in one.note]
    assert leaking and all(6 <= index <= 17 for index in leaking)
    free = [one for one in slices if not 7 <= one.index < 16]
    assert free and all("leaked" not in one.note for one in free)


def test_without_evidence_a_bridge_does_not_lead_into_the_neighbour():
    volume, truth = organ(bridged())
    key, slices = carried(volume, truth, geodesic.build())
    found = whole(volume, truth, Plane.AXIAL, key, slices)
    other = ball(SHAPE, (11, 24, 46), (8, 12, 8))
    assert np.count_nonzero(found & other) < 0.1 * np.count_nonzero(other)


def test_a_gap_in_the_evidence_is_bridged_and_told():
    volume, truth = organ()
    seen = truth.copy()
    seen[14] = False
    _, slices = carried(volume, truth, Filler(), evidence=source(volume, seen), bounds=spread(truth))
    (gap,) = [one for one in slices if one.index == 14]
    assert "before and behind" in gap.note and gap.mask.any()
    assert {one.index for one in slices} >= set(range(*spread(truth))) - {key_of(truth, Plane.AXIAL)}


def test_it_goes_outwards_on_both_sides_and_stops_when_told():
    volume, truth = organ()
    key, slices = carried(volume, truth, Filler())
    assert [one.index for one in slices[:6]] == [key - 1, key + 1, key - 2, key + 2, key - 3, key + 3]
    left = iter([False] * 3)
    _, some = carried(volume, truth, Filler(), cancelled=lambda: next(left, True))
    assert [one.index for one in some] == [key - 1, key + 1, key - 2]
    for one, again in zip(some, slices, strict=False):
        np.testing.assert_array_equal(one.mask, again.mask)


def test_a_tool_that_finds_nothing_leaves_no_mask_behind():
    class Blank(Filler):
        def open(self, view):
            self._shape = view.shape
            return self

        def segment(self, prompts, prior):
            return Segmentation(np.zeros(self._shape, bool), 0.0)

    volume, truth = organ()
    assert carried(volume, truth, Blank())[1] == []
    _, told = carried(volume, truth, Blank(), evidence=source(volume, truth), bounds=spread(truth))
    assert all(one.note and not one.mask.any() and one.confidence == 0 for one in told) and len(told) == 2


@settings(max_examples=25, deadline=None, derandomize=True)
@given(
    st.tuples(st.integers(3, 8), st.integers(6, 12), st.integers(6, 12)),
    st.booleans(),
    st.sampled_from(list(Plane)),
    st.integers(0, 4),
)
def test_what_it_says_of_each_slice_holds(radii, guarded, plane, off):
    """Bounds, order, confidence, and that each mask comes out of its prompts, its neighbour and its room again."""
    volume, truth = organ(radii=radii)
    tool = Filler()
    first, last = spread(truth, plane)
    key = min(key_of(truth, plane) + off, last)
    evidence = source(volume, truth, plane) if guarded else nothing
    _, slices = carried(volume, truth, tool, plane=plane, evidence=evidence, bounds=(first, last), key=key)
    masks = {key: view_of(volume, plane, key).from_native(slice_of(truth, plane, key))}
    for one in slices:
        assert first <= one.index <= last and one.index not in masks
        if one.prior is None:  # begun anew, which only evidence can ask for, with a box round it
            assert guarded and isinstance(one.prompts[0], Box)
        else:
            assert one.prior in masks and abs(one.prior - one.index) == 1
        assert 0 <= one.confidence <= 1
        opened = tool.open(view_of(volume, plane, one.index))
        again, _ = made_again(opened, one.prompts, masks.get(one.prior), one.room)
        np.testing.assert_array_equal(again.mask, one.mask)
        masks[one.index] = one.mask


def test_clicks_fall_where_mask_and_evidence_differ_most():
    volume, truth = organ()
    moved = np.roll(truth, 6, axis=2)
    evidence = source(volume, moved)
    _, slices = carried(volume, truth, Filler(), evidence=evidence, bounds=spread(moved))
    first = slices[0]
    prior = truth[key_of(truth, Plane.AXIAL)] & first.room
    assert first.prompts[0] == next_click(prior, evidence(first.index))


class Stubborn(Filler):
    """A tool that never leaves a prior mask: what was there is what it answers."""

    def open(self, view):
        found = super().open(view)
        fill = found.segment

        def segment(prompts, prior):
            return fill(prompts, None) if prior is None else Segmentation(prior, 0.9)

        found.segment = segment
        return found


def test_with_evidence_a_slice_is_begun_anew_where_the_neighbours_mask_holds_the_tool_back():
    volume, truth = organ(radii=(6, 14, 14))
    key, slices = carried(volume, truth, Stubborn(), evidence=source(volume, truth), bounds=spread(truth))
    assert any(one.prior is None for one in slices)
    assert dice(whole(volume, truth, Plane.AXIAL, key, slices), truth) > 0.9
    # Without evidence nothing says where to begin.
    assert all(one.prior is not None for one in carried(volume, truth, Stubborn())[1])
