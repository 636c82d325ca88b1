"""The two policies that ship as doubles: the perfect clicker and the script."""

from __future__ import annotations

import numpy as np
import pytest

from napari_ibisagent import registry
from napari_ibisagent.core.actions import Click
from napari_ibisagent.core.dialects.ibis import parse
from napari_ibisagent.core.episode import Accepted, PackedMask, Painted, Prompted, Proposed, Segmented, advance, begin
from napari_ibisagent.core.errors import BackendError, GridError, InputError, UnknownNameError
from napari_ibisagent.core.protocols import Locator, Policy, Situation
from napari_ibisagent.core.view import Plane, view_of
from napari_ibisagent.core.volume import Volume
from napari_ibisagent.policies import oracle, scripted

SHAPE = (5, 30, 40)


def truth():
    z, y, x = np.ogrid[: SHAPE[0], : SHAPE[1], : SHAPE[2]]
    return (y - 12) ** 2 + (x - 25) ** 2 <= (8 - abs(z - 3)) ** 2


def volume():
    return Volume.from_source(np.zeros(SHAPE[::-1], np.int16), np.diag([-1.0, -1.0, -4.0, 1.0]), modality="CT")


def situation(plane=Plane.AXIAL, index=3, painted=None, steps=0):
    view = view_of(volume(), plane, index)
    episode = begin(Prompted("x", plane, index, view.shape))
    for _ in range(steps):
        for event in (
            Proposed((Click(0, 0, True),)),
            Accepted(),
            Segmented(PackedMask.of(np.zeros(view.shape, bool)), 0),
        ):
            episode = advance(episode, event)
    if painted is not None:
        episode = advance(episode, Painted(PackedMask.of(painted(view))))
    return Situation(episode, volume(), view, lambda _: np.zeros((*view.shape, 3), np.uint8))


def said(policy, scene):
    return parse("".join(policy.act(scene)))


def test_the_oracle_clicks_into_the_middle_of_what_is_missed():
    turn = said(oracle.build(truth()), situation())
    assert turn.prompts == (Click(round(25.5 / 40, 4), round(12.5 / 30, 4), True),)
    assert "missed" in turn.thought and "0.000" in turn.thought


def test_the_oracle_clicks_into_the_middle_of_what_is_spilled():
    turn = said(oracle.build(truth()), situation(painted=lambda view: np.ones(view.shape, bool)))
    assert [p.positive for p in turn.prompts] == [False] and "spilled" in turn.thought


@pytest.mark.parametrize("plane", Plane)
def test_the_oracle_is_done_with_the_truth_itself_in_every_plane(plane):
    index = {"axial": 3, "coronal": 12, "sagittal": 25}[plane.value]
    part = {"axial": truth()[3], "coronal": truth()[:, 12], "sagittal": truth()[:, :, 25]}[plane.value]
    turn = said(oracle.build(truth()), situation(plane, index, lambda view: view.from_native(part)))
    assert turn.terminates and turn.answer == "done" and "1.000" in turn.thought


def test_the_oracle_stops_at_its_goal_and_at_its_clicks():
    def nearly(view):
        mask = truth()[3].copy()
        mask[:, 32:] = False
        return mask

    assert said(oracle.build(truth(), goal=0.8), situation(painted=nearly)).terminates
    assert said(oracle.build(truth(), goal=0.999), situation(painted=nearly)).prompts
    assert said(oracle.build(truth(), clicks=2), situation(steps=2)).terminates
    assert said(oracle.build(truth(), clicks=3), situation(steps=2)).prompts


def test_the_oracle_says_where_nothing_is():
    empty = np.zeros(SHAPE, bool)
    turn = said(oracle.build(empty), situation())
    assert turn.terminates and turn.says_absent
    assert oracle.build(empty).locate(volume(), "x", Plane.AXIAL).index is None


def test_the_oracle_chooses_the_slice_with_the_most():
    policy = oracle.build(truth())
    assert policy.locate(volume(), "x", Plane.AXIAL).index == 3
    assert policy.locate(volume(), "x", Plane.CORONAL).index == 12
    assert policy.locate(volume(), "x", Plane.SAGITTAL).index == 25
    assert isinstance(policy, Policy) and isinstance(policy, Locator)


def test_the_oracle_needs_a_truth_of_this_scan():
    with pytest.raises(InputError, match="needs the truth"):
        registry.load("policies", "oracle")
    with pytest.raises(GridError):
        oracle.build(np.ones((2, 2, 2), bool)).locate(volume(), "x", Plane.AXIAL)


def test_the_script_says_its_turns_and_then_breaks():
    policy = registry.load("policies", "scripted", turns=["<think>a  b</think><action>Terminate</action>", "nonsense"])
    assert isinstance(policy, Policy) and (policy.name, policy.dialect) == ("scripted", "ibis")
    assert said(policy, situation()).thought == "a  b"
    assert "".join(policy.act(situation())).strip() == "nonsense"
    with pytest.raises(BackendError, match="2 turns and all are used up"):
        list(policy.act(situation()))
    with pytest.raises(InputError):
        scripted.build()


def test_policies_are_known_by_name():
    assert {"embedded", "oracle", "scripted"} <= set(registry.names("policies"))
    with pytest.raises(UnknownNameError, match=r"policy called 'genius'.*embedded"):
        registry.load("policies", "genius")
