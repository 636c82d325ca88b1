"""The session as a fold: objects, overlaps, labels, episodes."""

from __future__ import annotations

import random

import numpy as np
import pytest
from event_strategies import OPENED, SHAPE, SIDES, next_event
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_ibisagent.core.actions import Click
from napari_ibisagent.core.episode import (
    Accepted,
    Outcome,
    PackedMask,
    Painted,
    Prompted,
    Proposed,
    Terminated,
    Thought,
)
from napari_ibisagent.core.errors import OverlapError, StateError
from napari_ibisagent.core.history import History, record
from napari_ibisagent.core.session import (
    Committed,
    Erased,
    ObjectAdded,
    ObjectChanged,
    ObjectRemoved,
    OverlapRule,
    Patch,
    RuleChanged,
    SegmentedObject,
    Session,
    advance,
    draw_patch,
    labels_in_slice,
    labels_of,
    resolve_overlap,
)
from napari_ibisagent.core.view import Plane, slice_of

ROWS = (4, 5)


def fold(*events):
    session = Session()
    for event in events:
        session = advance(session, event)
    return session


def band(*rows):
    """(4, 5), true in these rows."""
    mask = np.zeros(ROWS, bool)
    mask[list(rows)] = True
    return mask


def commit(value, mask, index=1, plane=Plane.AXIAL):
    return Committed(Patch(value, plane, index, PackedMask.of(mask)))


LIVER, SPLEEN = ObjectAdded(1, "liver", "#ff0000"), ObjectAdded(2, "spleen", "#00ff00")


def test_opening_names_scan_policy_and_tool():
    session = fold(OPENED)
    assert (session.scan, session.policy, session.segmenter) == (OPENED.scan, "scripted", "embedded")
    assert (session.objects, session.episode, session.rule) == ((), None, OverlapRule.KEEP)


def test_objects_come_change_and_go():
    row = SegmentedObject(2, "the spleen", "#0000ff", locked=True, visible=False)
    session = fold(OPENED, LIVER, SPLEEN, ObjectChanged(row))
    assert session.object_of(2) == row and session.object_of(1).name == "liver"
    assert session.free_value() == 3
    gone = advance(session, ObjectRemoved(1))
    assert [o.value for o in gone.objects] == [2] and gone.free_value() == 1
    assert gone.patches == (Erased(1),)


@pytest.mark.parametrize(
    "event",
    [
        ObjectAdded(1, "again", "#000000"),
        ObjectChanged(SegmentedObject(3, "nobody", "#000000")),
        ObjectRemoved(3),
        commit(3, band(0)),
        Thought("x"),
        Accepted(),
        Proposed((Click(0, 0, True),)),
        Painted(PackedMask.of(band(0))),
        Terminated(Outcome.DONE),
    ],
    ids=lambda event: type(event).__name__,
)
def test_what_can_not_follow_is_a_state_error(event):
    session = fold(OPENED, LIVER)
    with pytest.raises(StateError):
        advance(session, event)


def test_a_prompt_opens_the_next_episode_and_the_last_one_is_current():
    session = fold(OPENED, Prompted("a", Plane.AXIAL, 0, ROWS), Thought("x"), Prompted("b", Plane.AXIAL, 1, ROWS))
    assert [e.prompt for e in session.episodes] == ["a", "b"]
    assert session.episode.prompt == "b" and session.episodes[0].thought == "x"


# -- overlaps ----------------------------------------------------------------------------------------------


def labels_with(*events, rule):
    session = fold(OPENED, LIVER, SPLEEN, ObjectAdded(3, "aorta", "#123456"), RuleChanged(rule), *events)
    return session, labels_in_slice(session, SHAPE, Plane.AXIAL, 1)


def test_keep_leaves_others_alone():
    session, labels = labels_with(commit(1, band(0, 1)), rule=OverlapRule.KEEP)
    assert np.array_equal(resolve_overlap(labels, band(1, 2), 2, session), band(2))
    assert np.array_equal(resolve_overlap(labels, band(1, 2), 1, session), band(1, 2))


def test_overwrite_takes_from_others_but_not_from_locked_ones():
    events = (commit(1, band(0, 1)), commit(3, band(3)))
    session, labels = labels_with(*events, rule=OverlapRule.OVERWRITE)
    assert np.array_equal(resolve_overlap(labels, band(1, 2, 3), 2, session), band(1, 2, 3))
    lock = ObjectChanged(SegmentedObject(3, "aorta", "#123456", locked=True))
    session, labels = labels_with(*events, lock, rule=OverlapRule.OVERWRITE)
    assert np.array_equal(resolve_overlap(labels, band(1, 2, 3), 2, session), band(1, 2))


def test_forbid_names_whom_it_meets():
    session, labels = labels_with(commit(1, band(0, 1)), commit(3, band(3)), rule=OverlapRule.FORBID)
    assert np.array_equal(resolve_overlap(labels, band(2), 2, session), band(2))
    with pytest.raises(OverlapError, match=r"liver, aorta\."):
        resolve_overlap(labels, band(1, 2, 3), 2, session)


@pytest.mark.parametrize("rule", OverlapRule)
def test_a_locked_object_takes_nothing(rule):
    lock = ObjectChanged(SegmentedObject(2, "spleen", "#00ff00", locked=True))
    session, labels = labels_with(lock, rule=rule)
    with pytest.raises(OverlapError, match="spleen is locked"):
        resolve_overlap(labels, band(2), 2, session)


@pytest.mark.parametrize("rule", OverlapRule)
def test_resolving_changes_neither_mask_nor_labels(rule):
    session, labels = labels_with(commit(1, band(0)), rule=rule)
    mask, before = band(1), labels.copy()
    resolve_overlap(labels, mask, 2, session)
    assert np.array_equal(mask, band(1)) and np.array_equal(labels, before)


def test_an_object_without_a_value_has_no_overlap():
    session, labels = labels_with(rule=OverlapRule.KEEP)
    with pytest.raises(StateError, match="label value 9"):
        resolve_overlap(labels, band(1), 9, session)


# -- labels ------------------------------------------------------------------------------------------------


def test_a_patch_replaces_what_the_object_had_on_that_slice():
    session = fold(OPENED, LIVER, commit(1, band(0)), commit(1, band(3), index=2), commit(1, band(1)))
    labels = labels_of(session, SHAPE)
    assert labels.dtype == np.uint8 and labels.shape == SHAPE
    assert np.array_equal(labels[1] == 1, band(1)) and np.array_equal(labels[2] == 1, band(3))
    assert not labels[0].any()


def test_a_later_patch_lies_above():
    session = fold(OPENED, LIVER, SPLEEN, commit(1, band(0, 1)), commit(2, band(1)))
    assert np.array_equal(labels_of(session, SHAPE)[1][:, 0], [1, 2, 0, 0])


def test_erased_takes_all_of_an_object_and_a_new_one_may_take_its_value():
    session = fold(
        *(OPENED, LIVER, SPLEEN, commit(1, band(0)), commit(1, band(0), index=2), commit(2, band(2))),
        *(ObjectRemoved(1), ObjectAdded(1, "kidney", "#111111"), commit(1, band(3))),
    )
    labels = labels_of(session, SHAPE)
    assert np.array_equal(labels[1][:, 0], [0, 0, 2, 1])
    assert not labels[2].any()
    draw_patch(labels, Erased(2))
    assert not (labels == 2).any()


def test_more_than_255_objects_need_wider_labels():
    session = fold(OPENED, ObjectAdded(256, "many", "#000000"), commit(256, band(0)))
    labels = labels_of(session, SHAPE)
    assert labels.dtype == np.uint16 and labels.max() == 256
    assert labels_in_slice(session, SHAPE, Plane.AXIAL, 1).max() == 256


def test_no_patch_is_no_label():
    assert not labels_of(Session(), SHAPE).any()
    assert labels_in_slice(Session(), SHAPE, Plane.SAGITTAL, 0).shape == SIDES[Plane.SAGITTAL]


@settings(max_examples=150, deadline=None, derandomize=True)
@given(st.integers(0, 2**32), st.booleans())
def test_the_slice_agrees_with_the_volume(seed, mixed):
    dice = random.Random(seed)
    session = fold(OPENED, LIVER, SPLEEN)
    for _ in range(dice.randrange(12)):
        plane = dice.choice(list(Plane)) if mixed else Plane.CORONAL
        index, value = dice.randrange(3), dice.choice([row.value for row in session.objects])
        mask = np.array([[dice.random() < 0.4 for _ in range(SIDES[plane][1])] for _ in range(SIDES[plane][0])])
        if dice.random() < 0.15:
            session = advance(advance(session, ObjectRemoved(value)), ObjectAdded(value, "again", "#000000"))
        else:
            session = advance(session, commit(value, mask, index, plane))
    labels = labels_of(session, SHAPE)
    for plane in Plane:
        for index in range(3):
            wanted = slice_of(labels, plane, index)
            found = labels_in_slice(session, SHAPE, plane, index)
            assert found.shape == wanted.shape and np.array_equal(found, wanted)
            found[...] = 9  # it is the caller's own
    assert np.array_equal(labels_of(session, SHAPE), labels)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.integers(0, 2**32))
def test_states_are_values(seed):
    """The same events give equal states, and no later event touches an earlier state."""
    dice, history, seen = random.Random(seed), History(), []
    for _ in range(15):
        event = next_event(history, dice, jumps=False)
        history = record(history, event)
        seen.append((event, history.session, repr(history.session)))
    again = Session()
    for event, state, text in seen:
        again = advance(again, event)
        assert again == state and repr(state) == text


# -- kept masks --------------------------------------------------------------------------------------------


def keeping(value, number, mask, added=None):
    return Committed(Patch(value, Plane.AXIAL, 1, PackedMask.of(mask)), added, number)


PROMPTS = (Prompted("a", Plane.AXIAL, 1, ROWS), Painted(PackedMask.of(band(0))), Prompted("b", Plane.AXIAL, 1, ROWS))


def test_the_episode_whose_mask_was_kept_says_so():
    row = SegmentedObject(1, "a", "#000000")
    session = fold(OPENED, *PROMPTS, keeping(1, 0, band(0), row))
    assert [e.kept_as for e in session.episodes] == [1, None] and session.objects == (row,)
    assert [e.kept_as for e in fold(OPENED, LIVER, *PROMPTS, commit(1, band(0))).episodes] == [None, None]


@pytest.mark.parametrize("number", [2, -1])
def test_keeping_the_mask_of_no_episode_is_a_state_error(number):
    session = fold(OPENED, LIVER, *PROMPTS)
    with pytest.raises(StateError, match="no prompt"):
        advance(session, keeping(1, number, band(0)))


def test_a_removed_object_takes_the_mark_away():
    session = fold(OPENED, LIVER, SPLEEN, *PROMPTS, keeping(1, 0, band(0)), keeping(2, 1, band(1)), ObjectRemoved(1))
    assert [e.kept_as for e in session.episodes] == [None, 2]


def test_the_patches_of_an_object_begin_with_its_last_erasure():
    session = fold(
        *(OPENED, LIVER, SPLEEN, commit(1, band(0)), commit(2, band(1)), ObjectRemoved(1), LIVER),
        *(commit(1, band(2)), commit(1, band(3), index=2)),
    )
    assert [(p.index, p.mask.array()[:, 0].argmax()) for p in session.patches_of(1)] == [(1, 2), (2, 3)]
    assert len(session.patches_of(2)) == 1 and session.patches_of(9) == ()
