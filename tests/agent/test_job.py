"""One prompt on one scan, from the sentence to the labels."""

from __future__ import annotations

import functools

import numpy as np
import pytest

from napari_ibisagent.agent.job import Job, perform
from napari_ibisagent.agent.recorder import Recorder
from napari_ibisagent.agent.stop import Limits
from napari_ibisagent.core.episode import Outcome, Prompted, Proposed, Rejected, Terminated
from napari_ibisagent.core.errors import GridError, InputError, OverlapError, StateError
from napari_ibisagent.core.history import History
from napari_ibisagent.core.masks import dice
from napari_ibisagent.core.protocols import Location
from napari_ibisagent.core.session import PALETTE, ObjectAdded, Opened, OverlapRule, RuleChanged, labels_of
from napari_ibisagent.core.target import Side, Target
from napari_ibisagent.core.view import Plane
from napari_ibisagent.core.volume import Volume
from napari_ibisagent.io.journal import Journal, read_journal
from napari_ibisagent.io.scanref import scan_ref
from napari_ibisagent.policies import oracle, scripted
from napari_ibisagent.segmenters import geodesic

SHAPE = (16, 48, 56)


@functools.cache
def truth():
    z, y, x = np.ogrid[: SHAPE[0], : SHAPE[1], : SHAPE[2]]
    return ((z - 9) / 5) ** 2 + ((y - 22) / 11) ** 2 + ((x - 18) / 10) ** 2 <= 1


@functools.cache
def scan():
    """A CT-like volume: an organ of 120 HU in a body of 30 HU in air, 2 x 1 x 1 mm."""
    hu = np.full(SHAPE, -1000.0)
    hu[:, 4:44, 4:52] = 30
    hu[truth()] = 120
    hu += np.random.default_rng(2).normal(0, 8, SHAPE)
    source = hu.astype(np.int16).transpose(2, 1, 0)
    return Volume.from_source(source, np.diag([-1.0, -1.0, -2.0, 1.0]), modality="CT", name="made")


def job(policy=None, **changes):
    policy = policy or oracle.build(truth(), goal=0.93)
    options = {"volume": scan(), "prompt": "the organ", "plane": Plane.AXIAL, "index": None, "locator": policy}
    return Job(**(options | {"policy": policy, "segmenter": geodesic.build()} | changes))


@pytest.mark.parametrize("plane", Plane)
def test_the_oracle_reaches_the_truth_in_every_plane(plane):
    recorder = Recorder()
    result = perform(job(plane=plane), recorder)
    assert (result.episode.outcome, result.value, result.warnings) == (Outcome.DONE, 1, ())
    assert result.view is not None and result.view.index == {"axial": 9, "coronal": 22, "sagittal": 18}[plane.value]
    (row,) = recorder.session.objects
    assert (row.name, row.colour) == ("the organ", PALETTE[0])
    labels = labels_of(recorder.session, SHAPE)
    part = {Plane.AXIAL: np.s_[9], Plane.CORONAL: np.s_[:, 22], Plane.SAGITTAL: np.s_[:, :, 18]}[plane]
    assert dice(labels[part] == 1, truth()[part]) > 0.93
    labels[part] = 0
    assert not labels.any()


def test_a_given_slice_is_kept():
    recorder = Recorder()
    result = perform(job(index=6), recorder)
    assert result.view is not None and result.view.index == 6
    assert dice(labels_of(recorder.session, SHAPE)[6] == 1, truth()[6]) > 0.93


def test_a_slice_that_is_not_there_is_refused_before_anything_is_recorded():
    recorder = Recorder()
    with pytest.raises(InputError, match="no axial slice 99"):
        perform(job(index=99), recorder)
    assert recorder.history == History()


def test_a_slice_without_the_target_is_not_found():
    recorder = Recorder()
    result = perform(job(index=0), recorder)
    assert (result.episode.outcome, result.value) == (Outcome.NOT_FOUND, None)
    assert recorder.session.objects == () and result.view is not None


def test_not_found_anywhere():
    recorder, heard = Recorder(), []
    policy = oracle.build(np.zeros(SHAPE, bool))
    result = perform(job(policy), recorder, listen=lambda event, episode: heard.append((event, episode)))
    assert (result.episode.outcome, result.episode.reason) == (Outcome.NOT_FOUND, "The truth is empty.")
    assert (result.view, result.value, result.episode.steps) == (None, None, ())
    assert isinstance(heard[0][0], Prompted) and isinstance(heard[-1][0], Terminated)
    assert heard[-1][1] == result.episode


def test_a_truth_of_another_scan_is_refused():
    with pytest.raises(GridError, match="truth"):
        perform(job(oracle.build(np.zeros((2, 2, 2), bool))), Recorder())


def test_what_is_listened_to_is_what_is_recorded():
    recorder, heard = Recorder(), []
    perform(job(), recorder, listen=lambda event, episode: heard.append((event, episode)))
    events = [node.event for node in recorder.history.nodes[1:]]
    assert [event for event, _ in heard] == events[: len(heard)]
    assert [type(e).__name__ for e in events[len(heard) :]] == ["Committed"]
    assert heard[-1][1].outcome is Outcome.DONE


def test_the_listener_is_the_gate():
    recorder = Recorder()
    answers = [Rejected("not there")]
    result = perform(
        job(), recorder, listen=lambda event, _: answers.pop() if isinstance(event, Proposed) and answers else None
    )
    assert result.episode.steps[0].reason == "not there" and result.episode.outcome is Outcome.DONE


def test_the_second_object_leaves_the_first_alone():
    recorder = Recorder()
    perform(job(), recorder)
    first = labels_of(recorder.session, SHAPE) == 1
    wider = np.zeros(SHAPE, bool)
    wider[:, 4:44, 4:52] = True
    result = perform(job(oracle.build(wider), index=9, prompt=" the body "), recorder)
    labels = labels_of(recorder.session, SHAPE)
    assert result.value == 2 and np.array_equal(labels == 1, first)
    assert recorder.session.objects[1].name == "the body" and recorder.session.objects[1].colour == PALETTE[1]
    assert (labels == 2).sum() > first.sum()


def test_overwriting_takes_the_voxels():
    recorder = Recorder()
    recorder.record(RuleChanged(OverlapRule.OVERWRITE))
    perform(job(), recorder)
    perform(job(), recorder)
    labels = labels_of(recorder.session, SHAPE)
    assert not (labels == 1).any() and (labels == 2).any()


def test_a_forbidden_overlap_leaves_no_empty_object_behind():
    recorder = Recorder()
    recorder.record(RuleChanged(OverlapRule.FORBID))
    perform(job(), recorder)
    before = labels_of(recorder.session, SHAPE)
    with pytest.raises(OverlapError, match="the organ"):
        perform(job(), recorder)
    assert np.array_equal(labels_of(recorder.session, SHAPE), before)
    assert [row.value for row in recorder.session.objects] == [1]


def test_the_step_limit_still_gives_the_mask_with_a_warning():
    result = perform(job(oracle.build(truth(), goal=1.1), limits=Limits(steps=2)), Recorder())
    assert result.episode.outcome is Outcome.STEP_LIMIT and result.value == 1
    assert any("stopped before" in text for text in result.warnings)


class Sided:
    """The oracle, with a target on a side."""

    def __init__(self, side):
        self._side = side

    def locate(self, volume, prompt, plane):
        return Location(9, "here", Target("kidney", "kidney", self._side))


@pytest.mark.parametrize(("side", "count"), [(Side.RIGHT, 0), (Side.LEFT, 1)])
def test_the_side_is_checked(side, count):
    recorder = Recorder()
    result = perform(job(locator=Sided(side)), recorder)
    assert len(result.warnings) == count and all("patient's right side" in text for text in result.warnings)
    assert recorder.session.objects[0].name == f"{side.value} kidney"


@pytest.mark.parametrize("index", [None, 9])
def test_cancelled_from_the_start(index):
    recorder = Recorder()
    result = perform(job(index=index), recorder, cancelled=lambda: True)
    assert (result.episode.outcome, result.value) == (Outcome.CANCELLED, None)
    assert recorder.session.objects == ()


# -- the recorder ------------------------------------------------------------------------------------------


def test_the_journal_holds_what_the_recorder_holds(tmp_path):
    path = tmp_path / "made.ibis.jsonl"
    with Journal.create(path) as journal:
        recorder = Recorder(journal=journal)
        recorder.record(Opened(scan_ref(scan(), tmp_path / "made.nii"), "oracle", "geodesic"))
        perform(job(), recorder)
        assert read_journal(path) == recorder.history
    again = Recorder(read_journal(path))
    assert again.session == recorder.session


def test_what_can_not_follow_is_not_written(tmp_path):
    path = tmp_path / "made.ibis.jsonl"
    with Journal.create(path) as journal:
        recorder = Recorder(journal=journal)
        recorder.record(ObjectAdded(1, "liver", "#000000"))
        before = path.read_bytes(), recorder.history
        with pytest.raises(StateError):
            recorder.record(ObjectAdded(1, "again", "#000000"))
        assert (path.read_bytes(), recorder.history) == before


class Blind:
    """A locator that finds nothing."""

    def locate(self, volume, prompt, plane):
        return Location(None, "It knows no such thing.")


def test_a_policy_that_sees_one_slice_is_asked_about_a_picture_and_told_the_slice_of_a_volume():
    words = ["<action>Positive Point (0.4, 0.45)</action>", "<action>Terminate</action><answer>organ</answer>"]
    with pytest.raises(InputError, match=r"scripted sees one slice.*It knows no such thing\..*--slice"):
        perform(job(scripted.build(words), locator=Blind()), Recorder())
    told = perform(job(scripted.build(words), locator=Blind(), index=9), Recorder())
    assert told.episode.outcome is Outcome.DONE and told.view.index == 9
    flat = Volume.from_picture(np.ascontiguousarray(scan().data[9]).astype(np.float32), name="flat")
    asked = perform(job(scripted.build(words), locator=Blind(), volume=flat), Recorder())
    assert asked.episode.outcome is Outcome.DONE and asked.view.index == 0
