"""A whole volume: the key slice first, then all others; events, evidence, cancelling, keeping, undo and replay."""

from __future__ import annotations

import functools
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from napari_ibisagent.agent.carry import Crew, asks_for_volume, carry, early_end, whole_mask
from napari_ibisagent.agent.commit import committing, lost_in_keeping
from napari_ibisagent.agent.job import Job, perform
from napari_ibisagent.agent.plays import Ears, Studio, carry_on, play
from napari_ibisagent.agent.recorder import Recorder
from napari_ibisagent.agent.replay import recompute, rescued
from napari_ibisagent.agent.stop import DEFAULT_LIMITS
from napari_ibisagent.agent.store import Store
from napari_ibisagent.core.carrying import Carried, CarryBegun, CarryEnded, End, Extent
from napari_ibisagent.core.episode import Outcome, PackedMask, Painted, Prompted, Proposed, Terminated
from napari_ibisagent.core.errors import BackendError, OverlapError, StateError
from napari_ibisagent.core.masks import dice
from napari_ibisagent.core.session import (
    Committed,
    ObjectAdded,
    ObjectChanged,
    Opened,
    OverlapRule,
    Patch,
    RuleChanged,
    SegmentedObject,
    advance,
    labels_of,
)
from napari_ibisagent.core.target import Side, Target
from napari_ibisagent.core.view import AXES, Plane, slice_of, view_of
from napari_ibisagent.core.volume import Volume
from napari_ibisagent.io.journal import Journal, read_journal
from napari_ibisagent.io.scanref import scan_ref
from napari_ibisagent.policies import oracle
from napari_ibisagent.propagators import neighbour
from napari_ibisagent.segmenters import geodesic

SHAPE = (20, 48, 56)
FIRST, LAST, KEY = 5, 15, 10


@functools.cache
def truth():
    z, y, x = np.ogrid[: SHAPE[0], : SHAPE[1], : SHAPE[2]]
    return ((z - KEY) / 5.6) ** 2 + ((y - 22) / 11) ** 2 + ((x - 18) / 10) ** 2 <= 1


@functools.cache
def scan():
    """A CT-like volume: an organ of 120 HU in a body of 30 HU in air, 2 x 1 x 1 mm."""
    hu = np.full(SHAPE, -1000.0)
    hu[:, 4:44, 4:52] = 30
    hu[truth()] = 120
    hu += np.random.default_rng(2).normal(0, 8, SHAPE)
    source = hu.astype(np.int16).transpose(2, 1, 0)
    return Volume.from_source(source, np.diag([-1.0, -1.0, -2.0, 1.0]), modality="CT", name="made")


class Seeing(oracle.OraclePolicy):
    """The oracle with evidence: what of ``seen`` (Z, Y, X) lies on a slice. Counts how often it is asked."""

    name = "seeing"

    def __init__(self, seen):
        super().__init__(truth(), 6, 0.93)
        self.seen, self.asked = seen, []

    def evidence(self, volume, prompt, plane, index):
        self.asked.append(index)
        return view_of(volume, plane, index).from_native(np.ascontiguousarray(slice_of(self.seen, plane, index)))


def blind():
    """The oracle, without evidence."""
    return oracle.build(truth(), clicks=6, goal=0.93)


def crew(policy=None, tool=None):
    return Crew(policy or Seeing(truth()), tool or geodesic.build(), neighbour.build())


def never():
    return False


def recorder_at_key(journal=None, **options):
    """The true mask painted on the key slice."""
    recorder = Recorder(journal=journal)
    recorder.record(Opened(scan_ref(scan(), Path("made.nii")), "seeing", "geodesic"))
    recorder.record(Prompted("the organ", Plane.AXIAL, KEY, SHAPE[1:], **options))
    recorder.record(Painted(PackedMask.of(truth()[KEY])))
    recorder.record(Terminated(Outcome.DONE, "the organ"))
    return recorder


def carried(recorder, who=None, cancelled=never):
    """Carries the mask of the recorder's episode; the events."""
    events = []
    for event in carry(recorder.session.episode, scan(), who or crew(), cancelled):
        recorder.record(event)
        events.append(event)
    return events


def job(policy=None, **changes):
    policy = policy or Seeing(truth())
    options = {"volume": scan(), "prompt": "the organ", "plane": Plane.AXIAL, "index": None, "locator": policy}
    options |= {"policy": policy, "segmenter": geodesic.build(), "extent": Extent.VOLUME}
    return Job(**(options | {"propagator": neighbour.build()} | changes))


# -- the sentence ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sentence", "rest"),
    [
        ("segment the liver in the whole volume", "segment the liver"),
        ("Segment the left kidney in all slices.", "Segment the left kidney."),
        ("segment the spleen in 3D", "segment the spleen"),
        ("In 3-d, segment the spleen!", "segment the spleen!"),
        ("outline both kidneys throughout the entire scan", "outline both kidneys"),
        ("which organ stores bile? outline it on every slice", "which organ stores bile? outline it"),
        ("liver, whole volume", "liver"),
    ],
)
def test_words_that_ask_for_the_volume_are_taken_out_of_the_sentence(sentence, rest):
    assert asks_for_volume(sentence) == (rest, True)


@pytest.mark.parametrize(
    "sentence", ["segment the whole liver", "the liver on this slice", "the 3d thing", "whole volume", "a slice of it"]
)
def test_other_sentences_stay_as_they_are(sentence):
    assert asks_for_volume(sentence) == (sentence, False)


# -- the events --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("plane", Plane)
def test_a_volume_is_the_key_slice_and_then_all_others(plane):
    recorder = Recorder()
    result = perform(job(plane=plane), recorder)
    carrying = result.episode.carrying
    assert (result.episode.outcome, carrying.end, result.value) == (Outcome.DONE, End.COMPLETE, 1)
    labels = labels_of(recorder.session, SHAPE)
    assert dice(labels == 1, truth()) > 0.85
    np.testing.assert_array_equal(whole_mask(result.episode, scan()), labels == 1)
    axis = AXES[plane][0]
    places = np.flatnonzero(truth().any(axis=tuple(a for a in range(3) if a != axis)))
    assert (carrying.first, carrying.last) == (places[0], places[-1])
    kinds = [type(node.event).__name__ for node in recorder.history.nodes[1:]]
    assert kinds[-len(carrying.slices) - 3 :] == [
        "CarryBegun",
        *["Carried"] * len(carrying.slices),
        "CarryEnded",
        "Committed",
    ]


def test_one_slice_stays_one_slice():
    recorder = Recorder()
    result = perform(job(extent=Extent.SLICE, propagator=None), recorder)
    assert result.episode.carrying is None
    assert np.flatnonzero(labels_of(recorder.session, SHAPE).any(axis=(1, 2))).tolist() == [KEY]


def test_a_volume_without_a_propagator_is_refused_before_anything_is_done():
    recorder = Recorder()
    with pytest.raises(BackendError, match="propagator"):
        perform(job(propagator=None), recorder)
    assert recorder.session.episode is None


def test_where_nothing_is_found_nothing_is_carried():
    policy = oracle.build(np.zeros(SHAPE, bool))
    result = perform(job(policy), Recorder())
    assert (result.episode.outcome, result.episode.carrying, result.value) == (Outcome.NOT_FOUND, None, None)


def test_a_single_picture_is_its_own_volume():
    picture = Volume.from_picture(scan().data[KEY].astype(np.float32), name="one")
    policy = oracle.build(truth()[KEY : KEY + 1], clicks=6, goal=0.93)
    result = perform(job(policy, volume=picture, locator=policy), Recorder())
    assert (result.episode.outcome, result.episode.carrying, result.value) == (Outcome.DONE, None, 1)


def test_evidence_says_how_far_it_reaches_and_each_slice_is_asked_for_once():
    policy = Seeing(truth())
    events = carried(recorder_at_key(), crew(policy))
    assert events[0] == CarryBegun("neighbour", FIRST, LAST, "The agent's evidence guards each slice.")
    assert sorted(e.index for e in events[1:-1]) == [n for n in range(FIRST, LAST + 1) if n != KEY]
    assert events[-1] == CarryEnded("10 further slices.")
    # Two more at either end have to be seen empty; no slice is asked for twice.
    assert sorted(policy.asked) == list(range(FIRST - 2, LAST + 3))


def test_a_gap_of_one_slice_is_bridged_and_two_are_the_end():
    seen = truth().copy()
    seen[13] = False
    events = carried(recorder_at_key(), crew(Seeing(seen)))
    assert (events[0].first, events[0].last) == (FIRST, LAST)
    assert next(e for e in events if isinstance(e, Carried) and e.index == 13).note
    seen[12] = False
    events = carried(recorder_at_key(), crew(Seeing(seen)))
    assert (events[0].first, events[0].last) == (FIRST, 11)


@pytest.mark.parametrize("seen", [np.roll(truth(), 22, axis=2), np.zeros(SHAPE, bool)])
def test_evidence_that_is_not_about_the_mask_of_the_key_slice_is_set_aside(seen):
    recorder = recorder_at_key()
    events = carried(recorder, crew(Seeing(seen)))
    assert "fits the mask of the key slice to 0.0" in events[0].note
    assert dice(whole_mask(recorder.session.episode, scan()), truth()) > 0.85


def test_a_mask_without_a_sentence_is_carried_without_evidence():
    policy = Seeing(truth())
    recorder = Recorder()
    recorder.record(Prompted("", Plane.AXIAL, KEY, SHAPE[1:]))
    recorder.record(Painted(PackedMask.of(truth()[KEY])))
    assert "no evidence" in carried(recorder, crew(policy))[0].note and policy.asked == []


def test_evidence_of_another_shape_is_a_fault_that_is_told():
    policy = Seeing(truth())
    policy.evidence = lambda *_: np.zeros((3, 3), bool)
    events = carried(recorder_at_key(), crew(policy))
    assert isinstance(events[0], CarryBegun) and events[-1].how is End.FAILED and "(3, 3)" in events[-1].reason


def test_there_has_to_be_a_mask():
    recorder = Recorder()
    recorder.record(Prompted("the organ", Plane.AXIAL, KEY, SHAPE[1:]))
    with pytest.raises(StateError, match="no finished mask"):
        next(carry(recorder.session.episode, scan(), crew(), never))


class Breaking:
    """The real tool until it is to open its fifth view."""

    name = "breaking"

    def __init__(self):
        self._tool, self.opened = geodesic.build(), 0

    def open(self, view):
        self.opened += 1
        if self.opened > 5:
            raise BackendError("The tool ran out of memory. Choose a smaller one.")
        return self._tool.open(view)


def test_when_the_tool_fails_the_slices_so_far_are_kept_and_that_is_said():
    recorder = recorder_at_key()
    events = carried(recorder, crew(tool=Breaking()))
    assert (events[-1].how, len(recorder.session.episode.carrying.slices)) == (End.FAILED, 4)
    assert events[-1].reason == (
        "The tool ran out of memory. Choose a smaller one. 4 further slices were done and kept."
    )


def test_cancelling_keeps_the_slices_so_far():
    recorder, heard = Recorder(), []
    result = perform(
        job(),
        recorder,
        listen=lambda event, _: heard.append(event),
        cancelled=lambda: sum(isinstance(event, Carried) for event in heard) >= 4,
    )
    carrying = result.episode.carrying
    assert (result.episode.outcome, carrying.end, len(carrying.slices)) == (Outcome.DONE, End.CANCELLED, 4)
    assert carrying.reason == "Cancelled by the user. 4 further slices were done and kept."
    assert any("5 of at most 11 slices" in warning for warning in result.warnings)
    labels = labels_of(recorder.session, SHAPE)
    assert np.flatnonzero(labels.any(axis=(1, 2))).tolist() == [8, 9, 10, 11, 12]
    for index in (8, 9, 11, 12):
        assert dice(labels[index] == 1, truth()[index]) > 0.85


def test_a_mask_on_the_wrong_side_is_told_on_its_slice():
    # The organ lies on the patient's right, with x from right to left.
    recorder = recorder_at_key(target=Target("organ", "organ", Side.LEFT))
    carried(recorder)
    notes = [done.note for done in recorder.session.episode.carrying.slices]
    assert all("isn't the left organ's" in note for note in notes)


# -- the objects -------------------------------------------------------------------------------------------------


def done_recorder():
    recorder = recorder_at_key()
    carried(recorder)
    return recorder


def commit(session, **options):
    return committing(session, scan(), view_of(scan(), Plane.AXIAL, KEY), **options)


def test_all_slices_are_one_object_and_one_undo():
    recorder = done_recorder()
    recorder.record(commit(recorder.session))
    event = recorder.history.nodes[-1].event
    assert [patch.index for patch in event.more] == [n for n in range(FIRST, LAST + 1) if n != KEY]
    assert all(patch.carried for patch in event.more) and not event.patch.carried
    assert recorder.session.episode.kept_as == 1
    recorder.record(recorder.history.undo())
    assert recorder.session.objects == () and recorder.session.episode.carrying is not None
    recorder.record(recorder.history.undo())
    assert recorder.session.episode.carrying is None and recorder.session.episode.mask is not None
    recorder.record(recorder.history.redo())
    assert len(recorder.session.episode.carrying.slices) == 10


def other_object(session, where, **options):
    """The session with another object on some voxels of every slice."""
    session = advance(session, ObjectAdded(1, "other", "#000000"))
    for index in range(SHAPE[0]):
        session = advance(session, Committed(Patch(1, Plane.AXIAL, index, PackedMask.of(where))))
    return advance(session, ObjectChanged(SegmentedObject(1, "other", "#000000", **options)))


def half():
    found = np.zeros(SHAPE[1:], bool)
    found[:, :18] = True
    return found


@pytest.mark.parametrize("rule", [OverlapRule.KEEP, OverlapRule.OVERWRITE])
def test_locked_objects_and_the_overlap_rule_hold_on_every_slice(rule):
    session = other_object(done_recorder().session, half(), locked=rule is OverlapRule.OVERWRITE)
    after = advance(session, RuleChanged(rule))
    event = commit(after)
    labels = labels_of(advance(after, event), SHAPE)
    assert (labels[:, :, :18] == 1).all() and (labels[FIRST + 1 : LAST] == 2).any(axis=(1, 2)).all()
    lost = lost_in_keeping(after, advance(after, event), after.episode, scan(), 2)
    assert "stay with other objects" in lost


def test_an_unlocked_object_is_overwritten_on_every_slice():
    session = advance(other_object(done_recorder().session, half()), RuleChanged(OverlapRule.OVERWRITE))
    after = advance(session, commit(session))
    np.testing.assert_array_equal(labels_of(after, SHAPE) == 2, whole_mask(session.episode, scan()))
    assert lost_in_keeping(session, after, session.episode, scan(), 2) == ""


def test_where_overlaps_are_forbidden_nothing_of_it_is_kept():
    # The other object meets it on one slice only, and not on the key slice.
    session = advance(done_recorder().session, ObjectAdded(1, "other", "#000000"))
    session = advance(session, Committed(Patch(1, Plane.AXIAL, KEY + 2, PackedMask.of(half()))))
    with pytest.raises(OverlapError, match="other"):
        commit(advance(session, RuleChanged(OverlapRule.FORBID)))


def test_a_slice_that_a_person_worked_on_is_not_replaced_by_a_carried_one():
    session = advance(done_recorder().session, ObjectAdded(1, "the organ", "#000000"))
    own = np.zeros(SHAPE[1:], bool)
    own[20:24, 14:20] = True
    session = advance(session, Committed(Patch(1, Plane.AXIAL, 12, PackedMask.of(own))))
    event = commit(session, into=1)
    assert 12 not in [patch.index for patch in event.more]
    after = advance(session, event)
    np.testing.assert_array_equal(labels_of(after, SHAPE)[12] == 1, own)
    assert lost_in_keeping(session, after, session.episode, scan(), 1) == "what you made of slice 12 stays as it is."
    # What was only carried there is replaced by what is carried there next.
    again = commit(after, into=1)
    assert [patch.index for patch in again.more] == [patch.index for patch in event.more]


def test_a_kept_mask_that_is_carried_on_goes_into_the_same_object():
    store = Store(scan())
    store.record(Opened(scan_ref(scan(), Path("made.nii")), "seeing", "geodesic"))
    store.record(Prompted("", Plane.AXIAL, KEY, SHAPE[1:]))  # by hand: no name would lead back to the object
    store.record(Painted(PackedMask.of(truth()[KEY])))
    first = store.keep()
    for event in carry(store.episode, scan(), crew(blind()), never):
        store.record(event)
    assert store.episode.kept_as is None
    assert store.keep().value == first.value and len(store.session.objects) == 1
    assert len(store.session.patches_of(first.value)) > 5


# -- the journal -------------------------------------------------------------------------------------------------


def test_the_journal_brings_every_slice_back_and_replay_makes_each_again(tmp_path):
    with Journal.create(tmp_path / "made.ibis.jsonl") as journal:
        recorder = Recorder(journal=journal)
        recorder.record(Opened(scan_ref(scan(), Path("made.nii")), "seeing", "geodesic"))
        perform(job(), recorder)
    history = read_journal(tmp_path / "made.ibis.jsonl")
    assert history.session == recorder.session
    checks = list(recompute(history, scan(), geodesic.build()))
    slices = [check for check in checks if check.index is not None]
    assert len(slices) == 10 and all(check.identical and check.actions for check in slices)
    assert all(check.identical for check in checks)


def test_replay_finds_a_slice_that_was_changed():
    recorder = recorder_at_key()
    after = set()
    for event in carry(recorder.session.episode, scan(), crew(), never):
        if isinstance(event, Carried) and event.index == 12:
            event = replace(event, mask=PackedMask.of(np.roll(event.mask.array(), 3, axis=0)))  # noqa: PLW2901
        if isinstance(event, Carried) and event.prior == 12:
            after.add(event.index)
        recorder.record(event)
    wrong = [check.index for check in recompute(recorder.history, scan(), geodesic.build()) if not check.identical]
    assert wrong == sorted({12} | after)  # one made from it was made from another mask than is written down


def test_a_slice_that_does_not_say_what_it_was_made_from_is_taken_as_it_is():
    recorder = recorder_at_key()
    recorder.record(CarryBegun("foreign", FIRST, LAST))
    recorder.record(Carried(11, PackedMask.of(truth()[11]), 0.9))
    recorder.record(CarryEnded())
    assert list(recompute(recorder.history, scan(), geodesic.build())) == []
    np.testing.assert_array_equal(whole_mask(recorder.session.episode, scan())[11], truth()[11])


@pytest.mark.parametrize("over", [True, False])
def test_a_run_that_was_killed_gives_its_slices_back(over):
    recorder = recorder_at_key()
    events = list(carry(recorder.session.episode, scan(), crew(), never))
    for event in events if over else events[:4]:
        recorder.record(event)
    session, early = rescued(recorder.history, scan())
    assert early is not over
    slices = np.flatnonzero(labels_of(session, SHAPE).any(axis=(1, 2)))
    assert slices.tolist() == (list(range(FIRST, LAST + 1)) if over else [8, 9, 10, 11])


# -- plays: what a worker does for a window ------------------------------------------------------------------------


def studio(policy=None):
    return Studio(scan(), policy or Seeing(truth()), geodesic.build(), neighbour.build())


def asked(extent=Extent.VOLUME):
    recorder = Recorder()
    recorder.record(Opened(scan_ref(scan(), Path("made.nii")), "seeing", "geodesic"))
    recorder.record(Prompted("the organ", Plane.AXIAL, 3, SHAPE[1:], located=False, extent=extent))
    return recorder


def run(recorder, events):
    kinds = []
    for event in events:
        recorder.record(event)
        kinds.append(type(event).__name__)
    return kinds


def ears(passes, cancelled=never):
    return Ears(cancelled, lambda _: None, lambda: passes)


def test_a_run_goes_on_through_the_volume_once_the_key_slice_is_done():
    recorder = asked()
    kinds = run(recorder, play(recorder.session.episode, studio(), DEFAULT_LIMITS, ears(True)))
    assert kinds[0] == "Located" and kinds[-1] == "CarryEnded" and kinds.count("Carried") == 10
    assert kinds.index("Terminated") + 1 == kinds.index("CarryBegun")


def test_the_gate_comes_first():
    recorder = asked()
    kinds = run(recorder, play(recorder.session.episode, studio(), DEFAULT_LIMITS, ears(False)))
    assert kinds[-1] == "Proposed" and "CarryBegun" not in kinds


@pytest.mark.parametrize("extent", Extent)
def test_an_unsure_answer_or_one_slice_is_not_carried_on_by_itself(extent):
    class Unsure(Seeing):
        def act(self, situation):
            for piece in super().act(situation):
                yield piece.replace("<answer>done", "<answer>unsure: look at it") if extent == "volume" else piece

    recorder = asked(extent)
    kinds = run(recorder, play(recorder.session.episode, studio(Unsure(truth())), DEFAULT_LIMITS, ears(True)))
    assert kinds[-1] == "Terminated" and recorder.session.episode.outcome is Outcome.DONE
    # A person may want it all the same.
    assert run(recorder, carry_on(recorder.session.episode, studio(), ears(True)))[-1] == "CarryEnded"


def test_a_studio_without_a_propagator_says_so():
    recorder = recorder_at_key()
    with pytest.raises(BackendError, match="propagator"):
        next(carry_on(recorder.session.episode, Studio(scan(), blind(), geodesic.build()), ears(True)))


def test_what_is_ended_from_outside_says_how_many_slices_there_are():
    recorder = recorder_at_key()
    for event in list(carry(recorder.session.episode, scan(), crew(), never))[:2]:
        recorder.record(event)
    assert early_end(recorder.session.episode, "So it is.") == CarryEnded(
        "So it is. 1 further slice was done and kept.", End.CANCELLED
    )


def test_a_proposal_that_waits_has_to_be_judged_first():
    recorder = recorder_at_key()
    recorder.record(Proposed(()))
    with pytest.raises(StateError):
        next(carry(recorder.session.episode, scan(), crew(), never))
