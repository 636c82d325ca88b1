"""A mask carried through the volume, as a fold over events: what may follow what, undo, and what is kept."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from napari_ibisagent.core.actions import Click
from napari_ibisagent.core.carrying import Carried, CarryBegun, CarryEnded, End, Extent
from napari_ibisagent.core.codec import from_json, to_json
from napari_ibisagent.core.episode import Outcome, PackedMask, Painted, Prompted, Proposed, StepDeleted, Terminated
from napari_ibisagent.core.errors import StateError
from napari_ibisagent.core.history import History, Reverted, record
from napari_ibisagent.core.session import (
    Committed,
    ObjectRemoved,
    Opened,
    Patch,
    ScanRef,
    SegmentedObject,
    advance,
    labels_of,
)
from napari_ibisagent.core.view import Plane

SHAPE = (9, 4, 5)
OPENED = Opened(ScanRef("/scan.nii", "scan", SHAPE, "abc"), "scripted", "embedded")
BEGUN = CarryBegun("neighbour", 1, 7, "The agent's evidence guards each slice.")
ROW = SegmentedObject(1, "the organ", "#000000")


def mask(*pixels):
    found = np.zeros(20, bool)
    found[list(pixels)] = True
    return PackedMask.of(found.reshape(4, 5))


KEY = (
    OPENED,
    Prompted("the organ", Plane.AXIAL, 4, (4, 5), extent=Extent.VOLUME),
    Painted(mask(6, 7, 8)),
    Terminated(Outcome.DONE, "there"),
)


def slice_(index, *pixels, **options):
    return Carried(index, mask(*(pixels or (6, 7))), 0.8, **options)


def fold(*events, history=None):
    history = history or History()
    for event in events:
        history = record(history, event)
    return history


def episode_after(*events):
    return fold(*KEY, *events).session.episode


def test_the_slices_gather_in_the_order_in_which_they_were_done():
    episode = episode_after(BEGUN, slice_(5), slice_(3, note="odd"), slice_(6, 7))
    assert [done.index for done in episode.carrying.slices] == [5, 3, 6] and episode.under_way
    assert [done.index for done in episode.carrying.doubtful] == [3]
    assert episode.carrying.on(6).mask == mask(7) and episode.carrying.on(4) is None
    over = episode_after(BEGUN, slice_(5), CarryEnded("1 further slice."))
    assert not over.under_way and (over.carrying.end, over.carrying.reason) == (End.COMPLETE, "1 further slice.")
    assert (over.outcome, over.mask, over.extent) == (Outcome.DONE, mask(6, 7, 8), Extent.VOLUME)


@pytest.mark.parametrize(
    ("events", "says"),
    [
        ((slice_(5),), "No mask is being carried"),
        ((CarryEnded(),), "No mask is being carried"),
        ((BEGUN, BEGUN), "still being carried"),
        ((BEGUN, Painted(mask(1))), "still being carried"),
        ((BEGUN, Proposed((Click(0.5, 0.5, True),))), "still being carried"),
        ((BEGUN, slice_(5), slice_(5)), "done already"),
        ((BEGUN, slice_(4)), "done already"),
        ((BEGUN, slice_(0)), "out of bounds"),
        ((BEGUN, slice_(8)), "out of bounds"),
        ((BEGUN, slice_(6, prior=5)), "has no mask"),
        ((BEGUN, Carried(5, PackedMask.of(np.ones((2, 2), bool)), 0.5)), "shape"),
        ((BEGUN, slice_(5, room=PackedMask.of(np.ones((2, 2), bool)))), "shape"),
        ((BEGUN, CarryEnded(), slice_(5)), "No mask is being carried"),
        ((replace(BEGUN, first=5),), "can't be carried"),
        ((Proposed((Click(0.5, 0.5, True),)), BEGUN), "under way"),
        ((Painted(mask()), BEGUN), "no mask"),
    ],
)
def test_what_cannot_follow_is_refused(events, says):
    with pytest.raises(StateError, match=says):
        fold(*KEY, *events)


@pytest.mark.parametrize("event", [Painted(mask(1)), StepDeleted(1)])
def test_another_mask_on_the_key_slice_ends_what_was_carried_from_the_one_before(event):
    episode = episode_after(BEGUN, slice_(5), CarryEnded(), event)
    assert episode.carrying is None


def test_all_slices_are_one_deed_to_undo():
    history = fold(*KEY)
    before = history.head
    history = fold(BEGUN, slice_(5), slice_(3), CarryEnded(), history=history)
    back = history.undo()
    assert back == Reverted(before)
    undone = record(history, back)
    assert undone.session.episode.carrying is None
    again = record(undone, undone.redo())
    assert again.session == history.session


def test_what_was_interrupted_is_no_place_to_rest():
    history = fold(*KEY)
    before = history.head
    assert fold(BEGUN, slice_(5), history=history).settle() == Reverted(before)


def committed(*others, **options):
    more = tuple(Patch(1, Plane.AXIAL, index, mask(2), carried=True) for index in others)
    return Committed(Patch(1, Plane.AXIAL, 4, mask(1)), ROW, 0, more, **options)


def test_one_event_makes_an_object_of_all_slices():
    history = fold(*KEY, BEGUN, slice_(5), slice_(3), CarryEnded(), committed(3, 5))
    labels = labels_of(history.session, SHAPE)
    assert sorted(np.unique(np.nonzero(labels)[0]).tolist()) == [3, 4, 5]
    assert history.session.episode.kept_as == 1
    gone = record(history, history.undo()).session
    assert gone.objects == () and gone.patches == ()


def test_the_slices_of_one_mask_belong_to_one_object():
    wrong = Committed(Patch(1, Plane.AXIAL, 4, mask(1)), ROW, 0, (Patch(2, Plane.AXIAL, 5, mask(1)),))
    with pytest.raises(StateError, match="one object"):
        fold(*KEY, wrong)


def test_a_mask_that_was_kept_before_goes_into_its_object_again_unless_that_is_gone():
    session = fold(*KEY, committed(), BEGUN, slice_(5), CarryEnded()).session
    assert (session.episode.kept_as, session.episode.carrying.into) == (None, 1)
    assert advance(session, ObjectRemoved(1)).episode.carrying.into is None


def test_events_of_older_journals_are_read_as_they_were():
    for event in (KEY[1], committed(3)):
        old = to_json(event)
        for name in ("extent", "more"):
            old.pop(name, None)
        old.get("patch", {}).pop("carried", None)
        again = from_json(json.loads(json.dumps(old)))
        assert again == replace(event, **({"extent": Extent.SLICE} if isinstance(event, Prompted) else {"more": ()}))
