"""Warnings about a finished mask: the wrong side of the patient, and an agent that wasn't sure."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from napari_ibisagent.agent.checks import quality_warnings, side_warning
from napari_ibisagent.core.episode import Outcome, Prompted, begin
from napari_ibisagent.core.target import Side, Target
from napari_ibisagent.core.view import Plane, view_of
from napari_ibisagent.core.volume import Volume

SHAPE = (20, 40, 60)


def scan(shift=0, modality="CT", oriented=True, colour=False):
    """A body of columns 10 to 50 (moved by ``shift``) in air; x runs from the patient's right to the left."""
    data = np.full(SHAPE, -1000, np.int16)
    data[:, 5:35, 10 + shift : 51 + shift] = 40
    if modality != "CT":
        data = (data + 1000) // 4
    source = data.transpose(2, 1, 0)
    if colour:
        source = np.repeat(source[..., np.newaxis], 3, axis=3).astype(np.uint8)
    return Volume.from_source(
        source, np.diag([-1.0, -1.0, -1.0, 1.0]), modality=modality, name="scan", has_orientation=oriented
    )


def mask_at(plane, x):
    """A mask on the slice's voxels round column x."""
    mask = np.zeros((SHAPE[1] if plane is Plane.AXIAL else SHAPE[0], SHAPE[2]), bool)
    mask[8:12, max(x - 2, 0) : x + 3] = True
    return mask


def kidney(side):
    return Target("kidney", "kidney", side)


@pytest.mark.parametrize("plane", [Plane.AXIAL, Plane.CORONAL])
@pytest.mark.parametrize("shift", [-8, 0, 8])
@pytest.mark.parametrize("modality", ["CT", "MR"])
def test_axial_and_coronal(plane, shift, modality):
    volume = scan(shift, modality)
    view = view_of(volume, plane, 15)
    right, left = mask_at(plane, 20 + shift), mask_at(plane, 42 + shift)
    assert side_warning(volume, view, right, kidney(Side.RIGHT)) is None
    assert side_warning(volume, view, left, kidney(Side.LEFT)) is None
    wrong = side_warning(volume, view, right, kidney(Side.LEFT))
    assert wrong == "You asked for the left kidney, but the mask lies on the patient's right side. Check the side."
    wrong = side_warning(volume, view, left, kidney(Side.RIGHT))
    assert wrong == "You asked for the right kidney, but the mask lies on the patient's left side. Check the side."


@pytest.mark.parametrize(("index", "side", "other"), [(18, Side.RIGHT, Side.LEFT), (44, Side.LEFT, Side.RIGHT)])
def test_sagittal(index, side, other):
    volume = scan()
    view = view_of(volume, Plane.SAGITTAL, index)
    mask = np.ones((SHAPE[0], SHAPE[1]), bool)
    assert side_warning(volume, view, mask, kidney(side)) is None
    assert f"patient's {side.value} side" in (side_warning(volume, view, mask, kidney(other)) or "")


def test_a_scan_that_is_stored_the_other_way_round_gives_the_same_answer():
    data = scan().data
    mirrored = Volume.from_source(data[:, :, ::-1].transpose(2, 1, 0), np.diag([1.0, -1.0, -1.0, 1.0]), modality="CT")
    assert np.array_equal(mirrored.data, data)
    view = view_of(mirrored, Plane.AXIAL, 15)
    assert side_warning(mirrored, view, mask_at(Plane.AXIAL, 20), kidney(Side.RIGHT)) is None
    assert side_warning(mirrored, view, mask_at(Plane.AXIAL, 20), kidney(Side.LEFT))


@pytest.mark.parametrize("target", [None, Target("thing"), kidney(Side.NONE)])
def test_without_a_side_there_is_nothing_to_check(target):
    volume = scan()
    assert side_warning(volume, view_of(volume, Plane.AXIAL, 15), mask_at(Plane.AXIAL, 20), target) is None


def test_an_empty_mask_is_on_no_side():
    volume = scan()
    empty = np.zeros(SHAPE[1:], bool)
    assert side_warning(volume, view_of(volume, Plane.AXIAL, 15), empty, kidney(Side.LEFT)) is None


def test_the_middle_is_on_no_side():
    volume = scan()
    view = view_of(volume, Plane.AXIAL, 15)
    for side in (Side.LEFT, Side.RIGHT):
        assert side_warning(volume, view, mask_at(Plane.AXIAL, 30), kidney(side)) is None


def test_without_orientation_the_user_has_to_look():
    volume = scan(oriented=False)
    view = view_of(volume, Plane.AXIAL, 15)
    for x in (20, 42):
        warning = side_warning(volume, view, mask_at(Plane.AXIAL, x), kidney(Side.LEFT))
        assert warning is not None and "doesn't say which side" in warning and "left" in warning


def test_odd_scans_have_an_answer_too():
    colour = scan(modality="MR", colour=True)
    assert side_warning(colour, view_of(colour, Plane.AXIAL, 15), mask_at(Plane.AXIAL, 20), kidney(Side.LEFT))
    flat = Volume.from_source(np.zeros((60, 40, 20), np.int16), np.diag([-1.0, -1.0, -1.0, 1.0]), modality="MR")
    assert side_warning(flat, view_of(flat, Plane.AXIAL, 15), mask_at(Plane.AXIAL, 5), kidney(Side.LEFT))
    assert side_warning(flat, view_of(flat, Plane.AXIAL, 15), mask_at(Plane.AXIAL, 5), kidney(Side.RIGHT)) is None


@pytest.mark.parametrize(
    ("outcome", "reason", "words"),
    [
        (Outcome.STEP_LIMIT, "The limit of 20 steps was reached.", "stopped before it said"),
        (Outcome.DONE, "unsure of the liver: agreement 0.60", "unsure"),
        (Outcome.DONE, "liver", None),
        (Outcome.NOT_FOUND, "no bladder", None),
        (Outcome.CANCELLED, "Cancelled by the user.", None),
    ],
)
def test_what_the_outcome_gives_reason_to_warn_of(outcome, reason, words):
    episode = replace(begin(Prompted("x", Plane.AXIAL, 0, (2, 2))), outcome=outcome, reason=reason)
    warnings = quality_warnings(episode)
    assert len(warnings) == (words is not None)
    assert all(words in text and reason in text for text in warnings)
