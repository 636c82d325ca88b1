"""When an episode ends although the agent didn't say so."""

from __future__ import annotations

import numpy as np
import pytest

from napari_ibisagent.agent.stop import DEFAULT_LIMITS, MAX_STEPS, Limits, ending, stopped, turns_of
from napari_ibisagent.core.actions import Box, Click, Revert
from napari_ibisagent.core.episode import (
    Accepted,
    Author,
    Outcome,
    Overridden,
    PackedMask,
    Painted,
    Prompted,
    Proposed,
    Rejected,
    Segmented,
    advance,
    begin,
)
from napari_ibisagent.core.view import Plane

A, B = Click(0.1, 0.1, True), Click(0.1, 0.1, False)
BOX = Box(0, 0, 0.5, 0.5)
EMPTY = PackedMask.of(np.zeros((2, 2), bool))


def fold(*events):
    episode = begin(Prompted("x", Plane.AXIAL, 0, (2, 2)))
    for event in events:
        episode = advance(episode, event)
    return episode


def step(*actions):
    return (Proposed(actions), Accepted(), Segmented(EMPTY, 0.0))


def test_limits_are_the_published_ones():
    assert Limits(20, 3) == DEFAULT_LIMITS and MAX_STEPS == 20  # DESIGN section 6


@pytest.mark.parametrize("count", [0, 1, 4, 5, 6])
def test_the_step_limit_counts_every_step(count):
    events = [e for n in range(count) for e in step(Click(n / 10, 0, True))]
    ended = stopped(fold(*events), Limits(steps=5))
    assert (ended is not None) == (count >= 5)
    assert ended is None or (ended.outcome is Outcome.STEP_LIMIT and "5 steps" in ended.reason)


def test_a_persons_own_steps_are_not_the_agents():
    own = (Proposed((A,), author=Author.HUMAN), Accepted(), Segmented(EMPTY, 0.0))
    events = [Painted(EMPTY)] * 9 + [*own] * 9 + [*step(A)]
    assert turns_of(fold(*events)) == 1 and stopped(fold(*events), Limits(steps=2)) is None
    overridden = (Proposed((A,)), Overridden((B,)), Segmented(EMPTY, 0.0))
    assert turns_of(fold(*overridden, Proposed((A,)), Rejected("no"))) == 2


@pytest.mark.parametrize(
    ("events", "ends"),
    [
        ([step(A)] * 2, False),
        ([step(A)] * 3, True),
        ([step(B), *[step(A)] * 3], True),
        ([step(A), step(B), step(A), step(A)], False),
        ([step(A), step(A), step(B)], False),
        ([step(A, BOX)] * 3, True),
        ([step(A, BOX), step(A), step(A, BOX)], False),
        ([step(Revert())] * 5, False),
        ([step(A), step(Revert()), step(A)], False),
        ([step(A), step(Revert()), step(A), step(Revert()), step(A)], True),
        ([step(A), step(Revert()), step(B), step(Revert()), step(A), step(Revert()), step(A)], False),
        ([step(A), step(Revert()), (Painted(EMPTY),), step(A), step(Revert()), step(A)], False),
        ([(Proposed((A,)), Rejected("no"))] * 3, True),
        ([(Proposed((A,)), Rejected("no")), step(A), step(A)], True),
        ([(Proposed((A,)), Overridden((B,)), Segmented(EMPTY, 0.0))] * 3, False),
        ([step(A), step(A), (Painted(EMPTY),), step(A)], False),
    ],
)
def test_the_same_click_three_times(events, ends):
    ended = stopped(fold(*[e for part in events for e in part]), DEFAULT_LIMITS)
    assert (ended is not None) == ends
    assert ended is None or "same click 3 times" in ended.reason


def test_a_proposal_on_its_way_is_no_step_yet():
    assert stopped(fold(*step(A), *step(A), Proposed((A,))), DEFAULT_LIMITS) is None


@pytest.mark.parametrize(
    ("absent", "has_mask", "answer", "outcome", "reason"),
    [
        (True, False, "not found: no bladder", Outcome.NOT_FOUND, "no bladder"),
        (True, True, "not found", Outcome.NOT_FOUND, "The agent says that it is not there."),
        (False, False, None, Outcome.NOT_FOUND, "The agent ended without a mask."),
        (False, True, None, Outcome.DONE, ""),
        (False, True, "liver", Outcome.DONE, "liver"),
    ],
)
def test_how_an_episode_ends(absent, has_mask, answer, outcome, reason):
    ended = ending(absent, has_mask, answer)
    assert ended.outcome is outcome
    assert ended.reason == reason
