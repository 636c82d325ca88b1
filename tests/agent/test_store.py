"""The store: what a window calls, and what its views hear. Real tool, real session, no toolkit."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from playground import HIT, OUT, STOP, Desk, Locating, disc, phantom

from napari_ibisagent.agent.commit import BY_HAND
from napari_ibisagent.agent.store import Store
from napari_ibisagent.core.actions import Box, Click
from napari_ibisagent.core.episode import Accepted, Outcome, PackedMask, Prompted, Verdict
from napari_ibisagent.core.errors import OverlapError, StateError
from napari_ibisagent.core.history import Reverted
from napari_ibisagent.core.session import (
    ObjectChanged,
    Opened,
    OverlapRule,
    RuleChanged,
    ScanRef,
    SegmentedObject,
    labels_in_slice,
    labels_of,
)
from napari_ibisagent.core.view import Plane, view_of
from napari_ibisagent.policies import embedded as embedded_policy

REF = ScanRef("/scan.nii", "scan", (40, 133, 133), "abc")


@pytest.fixture
def store():
    """An open scan on which nothing was done."""
    store = Store(phantom().volume)
    store.record(Opened(REF, "scripted", "embedded"))
    return store


def block(rows, columns, shape=(133, 133)):
    """(rows, columns) of a slice, true in a rectangle."""
    mask = np.zeros(shape, bool)
    mask[slice(*rows), slice(*columns)] = True
    return mask


A, B, C = block((10, 20), (10, 30)), block((30, 50), (10, 30)), block((15, 35), (10, 30))


def labels(store, index, plane=Plane.AXIAL):
    return labels_in_slice(store.session, store.volume.shape, plane, index)


def keep(store, index, mask, name=None, **options):
    """Paints a mask and keeps it; renames the object where a name is given."""
    store.paint(Plane.AXIAL, index, mask)
    row = store.keep(**options)
    if name is not None:
        store.change_object(replace(row, name=name))
    return store.session.object_of(row.value)


# -- listening ---------------------------------------------------------------------------------------------


def test_views_hear_the_state_before_and_after_until_they_stop(store):
    heard, other = [], []
    stop = store.subscribe(lambda old, new: heard.append((old, new)))
    store.subscribe(lambda old, new: other.append(new))
    before = store.session
    store.change_rule(OverlapRule.FORBID)
    assert heard == [(before, store.session)]
    stop()
    store.undo()
    assert len(heard) == 1 and other[-1] == before == store.session


def test_what_can_not_follow_changes_nothing_and_is_not_heard(store):
    heard, history = [], store.history
    store.subscribe(lambda old, new: heard.append(new))
    for wrong in (lambda: store.amend(()), store.flip, store.clear, lambda: store.record(Accepted())):
        with pytest.raises(StateError):
            wrong()
    assert heard == [] and store.history == history and store.trouble == ""


def test_what_changes_nothing_is_no_event(store):
    row = keep(store, 3, A)
    history = store.history
    store.change_object(row)
    store.change_rule(store.session.rule)
    assert store.history == history


def test_a_view_is_made_once_and_the_oldest_is_forgotten(store):
    store.begin_by_hand(Plane.CORONAL, 60)
    episode = store.episode
    first = store.view(episode)
    assert store.view(episode) is first and first.shape == episode.shape
    for index in range(4):
        assert store.view(replace(episode, index=index)).index == index
    assert store.view(episode) is not first


# -- undo and redo through everything ----------------------------------------------------------------------


def test_all_that_a_person_does_is_undone_and_redone_bit_for_bit():
    desk = Desk(policy=Locating(embedded_policy.build()), scan=phantom().volume)
    store = desk.store
    desk.ask("the spleen")
    store.flip()
    store.flip()
    desk.go(Accepted(), passes=9)
    assert desk.episode.outcome is Outcome.DONE
    value = store.keep().value
    seen = [store.session]

    def then(intent, *arguments, **options):
        intent(*arguments, **options)
        seen.append(store.session)

    then(store.change_object, replace(store.session.objects[0], name="my spleen", locked=True))
    then(store.change_rule, OverlapRule.OVERWRITE)
    then(desk.click, Click(0.1, 0.1, False))
    then(store.clear)
    then(store.change_object, replace(store.session.objects[0], locked=False))
    then(store.remove_object, value)
    texts, asked = [repr(s) for s in seen], desk.asked
    for session, text in zip(seen[-2::-1], texts[-2::-1], strict=True):
        assert store.undo() and store.session == session and repr(store.session) == text
    for session, text in zip(seen[1:], texts[1:], strict=True):
        assert store.redo() and store.session == session and repr(store.session) == text
    assert not store.redo() and desk.asked == asked
    while store.undo():
        pass
    assert store.session.scan is not None and store.session.episodes == ()


def test_undo_at_the_start_and_settling_where_all_is_settled(store):
    assert not store.undo() and not store.redo() and not store.settle()


# -- the proposal ------------------------------------------------------------------------------------------


def test_flipping_turns_clicks_and_leaves_boxes_alone():
    desk = Desk(HIT, STOP)
    desk.ask()
    box = Box(0.1, 0.1, 0.5, 0.5)
    desk.store.amend((box, Click(0.2, 0.3, True), Click(0.4, 0.4, False)))
    desk.store.flip()
    assert desk.episode.pending.actions == (box, Click(0.2, 0.3, False), Click(0.4, 0.4, True))
    assert desk.episode.pending.turn.actions == (Click(0.5703, 0.4453, True),)
    for _ in range(2):
        desk.store.undo()
    assert desk.episode.waits and not desk.episode.pending.amended


def test_a_proposal_that_went_to_the_tool_can_not_be_changed():
    desk = Desk(HIT, STOP)
    desk.ask()
    desk.store.record(Accepted())
    for change in (desk.store.flip, lambda: desk.store.amend(())):
        with pytest.raises(StateError):
            change()


# -- paint -------------------------------------------------------------------------------------------------


def test_paint_on_the_same_slice_goes_on_with_the_episode():
    desk = Desk(HIT, OUT, STOP)
    desk.ask(passes=9)
    desk.store.paint(Plane.AXIAL, 0, ~disc())
    assert len(desk.store.session.episodes) == 1 and desk.episode.prompt == "the bright disc"
    assert desk.episode.outcome is None and desk.episode.prior == PackedMask.of(~disc())
    assert desk.store.undo() and desk.episode.outcome is Outcome.DONE


def test_paint_on_another_slice_begins_an_episode_of_the_humans(store):
    store.paint(Plane.AXIAL, 3, A)
    store.paint(Plane.AXIAL, 3, B)
    store.paint(Plane.AXIAL, 4, A)
    store.paint(Plane.SAGITTAL, 4, block((2, 9), (10, 40), (40, 133)))
    assert [(e.prompt, e.plane, e.index, len(e.steps)) for e in store.session.episodes] == [
        ("", "axial", 3, 2),
        ("", "axial", 4, 1),
        ("", "sagittal", 4, 1),
    ]
    native = store.view(store.episode).to_native(store.episode.mask_array())
    assert np.array_equal(native, block((2, 9), (10, 40), (40, 133)))


def test_paint_takes_the_place_of_a_proposal_that_waits():
    desk = Desk(HIT, STOP)
    desk.ask()
    desk.store.paint(Plane.AXIAL, 0, disc())
    assert desk.episode.pending is None and len(desk.episode.steps) == 1
    desk.store.undo()
    assert desk.episode.waits


def test_paint_where_the_slice_was_still_to_be_chosen(store):
    store.record(Prompted("the liver", Plane.AXIAL, 3, (133, 133), located=False))
    store.paint(Plane.AXIAL, 3, A)
    assert store.episode.located and store.episode.prompt == "the liver"


def test_paint_on_a_slice_that_is_not_there_is_an_input_error(store):
    history = store.history
    with pytest.raises(Exception, match="no axial slice 99"):
        store.paint(Plane.AXIAL, 99, A)
    assert store.history == history


def test_clearing_is_one_undo(store):
    store.paint(Plane.AXIAL, 3, A)
    store.clear()
    assert not store.episode.mask_array().any() and store.episode.steps[-1].verdict is Verdict.ACCEPTED
    assert store.undo() and np.array_equal(store.episode.mask_array(), A)


# -- objects -----------------------------------------------------------------------------------------------


def test_nothing_to_keep(store):
    assert store.keep() is None
    store.begin_by_hand(Plane.AXIAL, 3)
    history = store.history
    assert store.keep() is None and store.history == history
    for number in (1, -2, 7):
        with pytest.raises(StateError, match="no prompt"):
            store.keep(number)


def test_keeping_sets_the_mark_and_the_next_mask_takes_it_away():
    desk = Desk(HIT, OUT, STOP)
    desk.ask(passes=1)
    desk.store.keep()
    assert desk.episode.kept_as == 1 and desk.episode.waits
    desk.go(Accepted())
    assert desk.episode.kept_as is None and len(desk.episode.steps) == 2
    desk.store.keep()
    assert desk.episode.kept_as == 1 and len(desk.store.session.objects) == 1
    for change in (desk.store.clear, lambda: desk.delete(1), lambda: desk.click(Click(0.6, 0.5, True))):
        change()
        assert desk.episode.kept_as is None
        desk.store.undo()
        assert desk.episode.kept_as == 1
    desk.store.undo()
    assert desk.episode.kept_as is None


def test_a_kept_mask_is_gone_with_its_object(store):
    row = keep(store, 3, A)
    store.remove_object(row.value)
    assert store.session.episodes[0].kept_as is None
    store.paint(Plane.AXIAL, 9, B)
    assert store.keep().value == row.value  # the value is free again, but the first mask isn't in it
    assert [e.kept_as for e in store.session.episodes] == [None, row.value]
    for _ in range(3):
        store.undo()
    assert store.session.episodes[0].kept_as == row.value and np.array_equal(labels(store, 3) == row.value, A)


def test_a_first_stroke_is_one_undo(store):
    before = store.session
    store.paint(Plane.AXIAL, 3, A)
    store.undo()
    assert store.session == before
    store.redo()
    assert store.episode.mask is not None


def test_a_mask_goes_into_the_object_that_is_named(store):
    first, second = keep(store, 3, A), keep(store, 4, B, as_new=True)
    store.paint(Plane.AXIAL, 5, C)
    assert store.keep(into=second.value) == second
    assert np.array_equal(labels(store, 5) == second.value, C) and not (labels(store, 5) == first.value).any()


def test_an_object_can_be_erased_from_a_slice(store):
    row = keep(store, 3, A)
    store.correct(row.value)
    store.paint(Plane.AXIAL, 3, np.zeros_like(A))
    assert store.keep().value == row.value
    assert not labels(store, 3).any()
    store.undo()
    assert np.array_equal(labels(store, 3) == row.value, A)


def test_a_locked_object_is_not_corrected(store):
    row = keep(store, 3, A)
    store.change_object(replace(row, locked=True))
    with pytest.raises(StateError, match="locked"):
        store.correct(row.value)


def test_painting_after_keeping_begins_anew(store):
    keep(store, 3, A)
    store.paint(Plane.AXIAL, 3, B)
    assert [e.kept_as for e in store.session.episodes] == [1, None]


def test_keeping_a_further_slice_replaces_that_slice_alone(store):
    keep(store, 3, A)
    keep(store, 4, B, into=1)
    keep(store, 4, C, into=1)
    assert [row.name for row in store.session.objects] == [BY_HAND]
    assert np.array_equal(labels(store, 3) == 1, A) and np.array_equal(labels(store, 4) == 1, C)
    store.undo()
    assert np.array_equal(labels(store, 4) == 1, B)
    assert keep(store, 5, A, as_new=True).value == 2
    # What nobody has named isn't taken for the same thing.
    assert [row.name for row in store.session.objects] == [BY_HAND, f"{BY_HAND} 2"]
    assert keep(store, 6, A).name == f"{BY_HAND} 3"


def test_an_earlier_mask_can_be_kept(store):
    store.paint(Plane.AXIAL, 3, A)
    store.paint(Plane.AXIAL, 4, B)
    assert store.keep(0).value == 1
    assert [e.kept_as for e in store.session.episodes] == [1, None]
    assert np.array_equal(labels(store, 3) == 1, A) and not labels(store, 4).any()


def test_in_another_plane_an_object_gets_voxels_there(store):
    keep(store, 3, A)
    store.paint(Plane.CORONAL, 60, view_of(store.volume, Plane.CORONAL, 60).to_native(np.ones((80, 133), bool)))
    store.keep(into=1)
    whole = labels_of(store.session, store.volume.shape)
    assert np.array_equal(whole[3] == 1, A | block((60, 61), (0, 133))) and (whole[:, 60] == 1).all()


@pytest.mark.parametrize(
    ("rule", "left"), [(OverlapRule.KEEP, C & ~A), (OverlapRule.OVERWRITE, C), (OverlapRule.FORBID, None)]
)
def test_the_overlap_rule_decides_between_two_objects(store, rule, left):
    keep(store, 3, A, "other")
    store.change_rule(rule)
    store.paint(Plane.AXIAL, 3, C)
    history = store.history
    if left is None:
        with pytest.raises(OverlapError, match="other"):
            store.keep()
        assert store.history == history
    else:
        row = store.keep()
        assert np.array_equal(labels(store, 3) == row.value, left)
        assert np.array_equal(labels(store, 3) == 1, A if rule is OverlapRule.KEEP else A & ~C)


def test_a_mask_of_which_nothing_is_left_is_an_overlap_error(store):
    keep(store, 3, C, "other")
    store.paint(Plane.AXIAL, 3, A & C)
    history = store.history
    with pytest.raises(OverlapError, match="every voxel"):
        store.keep()
    assert store.history == history and store.episode.kept_as is None


def test_a_locked_object_keeps_its_voxels_and_its_place(store):
    row = keep(store, 3, A)
    store.change_object(replace(row, locked=True))
    store.paint(Plane.AXIAL, 4, B)
    with pytest.raises(OverlapError, match="is locked"):
        store.keep(into=row.value)
    with pytest.raises(StateError, match="is locked"):
        store.remove_object(row.value)
    store.change_rule(OverlapRule.OVERWRITE)
    store.paint(Plane.AXIAL, 3, C)
    other = store.keep(as_new=True)
    assert np.array_equal(labels(store, 3) == row.value, A)
    assert np.array_equal(labels(store, 3) == other.value, C & ~A)


def test_objects_that_are_not_there(store):
    for wrong in (store.key_slice, store.correct, store.remove_object):
        with pytest.raises(StateError, match="label value 5"):
            wrong(5)
    with pytest.raises(StateError, match="label value 5"):
        store.change_object(SegmentedObject(5, "x", "#000000"))


def test_the_key_slice_shows_most_of_an_object(store):
    keep(store, 3, A)
    keep(store, 7, B, into=1)
    keep(store, 9, C, into=1)
    keep(store, 7, A & B | block((0, 1), (0, 1)), into=1)
    assert store.key_slice(1) == (Plane.AXIAL, 9)  # slice 7 has been replaced by a smaller one
    store.record(ObjectChanged(replace(store.session.object_of(1), visible=False)))
    assert store.key_slice(1) == (Plane.AXIAL, 9)


@pytest.mark.parametrize("name", ["the liver", " two  words\n", "a name that is longer than sixty characters " * 2])
def test_correcting_an_object_goes_back_into_it(store, name):
    row = keep(store, 3, A, name)
    keep(store, 5, B)
    store.correct(row.value)
    assert (store.episode.index, store.episode.prompt) == (3, name)
    assert np.array_equal(store.episode.mask_array(), A) and store.episode.prior == store.episode.mask
    store.paint(Plane.AXIAL, 3, A & C)
    assert store.keep().value == row.value
    assert np.array_equal(labels(store, 3) == row.value, A & C)
    assert [o.value for o in store.session.objects] == [1, 2]


def test_correcting_the_second_of_two_objects_with_one_name(store):
    first, second = keep(store, 3, A, "lesion"), keep(store, 5, B, "lesion")
    assert first.name == second.name
    store.correct(second.value)
    store.paint(Plane.AXIAL, 5, C)
    assert store.keep().value == second.value
    assert np.array_equal(labels(store, 3) == 1, A) and np.array_equal(labels(store, 5) == 2, C)


def test_correcting_in_a_plane_whose_pixels_are_not_square(store):
    native = block((4, 9), (20, 50), (40, 133))
    store.paint(Plane.SAGITTAL, 60, native)
    row = store.keep()
    assert store.key_slice(row.value) == (Plane.SAGITTAL, 60)
    store.correct(row.value)
    assert store.episode.shape == (80, 133)
    assert np.array_equal(store.view(store.episode).to_native(store.episode.mask_array()), native)
    store.clear()
    store.undo()
    assert store.keep().value == row.value
    assert np.array_equal(labels(store, 60, Plane.SAGITTAL) == row.value, native)


def test_correcting_begins_from_what_is_left_of_the_object(store):
    row = keep(store, 3, A, "first")
    store.change_rule(OverlapRule.OVERWRITE)
    keep(store, 3, C, "second")
    store.correct(row.value)
    assert np.array_equal(store.episode.mask_array(), A & ~C)


def test_an_agents_mask_goes_into_the_object_of_its_target():
    desk = Desk(policy=Locating(embedded_policy.build()), scan=phantom().volume)
    for words in ("the spleen", "segment the spleen please"):
        desk.ask(words, passes=9)
        assert desk.store.keep().name == "spleen"
    assert len(desk.store.session.objects) == 1 and desk.store.session.patches_of(1)[0].value == 1


def test_rules_and_branches_do_not_mix_up_objects(store):
    keep(store, 3, A)
    end = store.history.head
    store.undo()
    keep(store, 3, B)
    assert np.array_equal(labels(store, 3) == 1, B)
    store.record(Reverted(end))
    assert np.array_equal(labels(store, 3) == 1, A)
    store.record(RuleChanged(OverlapRule.FORBID))
    assert store.session.rule is OverlapRule.FORBID
    with pytest.raises(StateError):
        store.record(Accepted())
