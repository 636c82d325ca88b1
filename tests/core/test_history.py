"""The tree of states: undo, redo and branches."""

from __future__ import annotations

import random
from itertools import pairwise

import pytest
from event_strategies import OPENED, next_event
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
    Segmented,
    Terminated,
    Thought,
)
from napari_ibisagent.core.errors import StateError
from napari_ibisagent.core.history import History, Reverted, record
from napari_ibisagent.core.session import ObjectAdded, OverlapRule, RuleChanged
from napari_ibisagent.core.view import Plane

SEEDS = st.integers(0, 2**32)
PROMPT = Prompted("the liver", Plane.AXIAL, 0, (1, 2))


def fold(*events, history=None):
    history = history or History()
    for event in events:
        history = record(history, event)
    return history


def mask(*values):
    import numpy as np

    return PackedMask.of(np.array([values], bool))


def step(x, *values):
    return (Thought("t"), Proposed((Click(x, 0.5, True),)), Accepted(), Segmented(mask(*values), 0.5))


def settled(history):
    """What a person may undo to: nothing is on its way."""
    episode = history.session.episode
    return episode is None or (episode.pending is None and (not episode.thought or episode.outcome is not None))


def test_undo_goes_back_step_by_step_and_redo_forward_again():
    history = fold(
        OPENED, PROMPT, *step(0.1, True, False), *step(0.2, True, True), Thought("c"), Terminated(Outcome.DONE)
    )
    seen = [history.session]
    while (move := history.undo()) is not None:
        history = record(history, move)
        seen.append(history.session)
    # The end with its thought, two steps, the prompt, the open scan.
    assert [s.episode and (len(s.episode.steps), s.episode.outcome) for s in seen] == [
        (2, Outcome.DONE),
        (2, None),
        (1, None),
        (0, None),
        None,
    ]
    back = [history.session]
    while (move := history.redo()) is not None:
        history = record(history, move)
        back.append(history.session)
    assert back == seen[::-1]


def test_nothing_to_undo_or_redo():
    for history in (History(), fold(OPENED)):
        assert history.undo() is None and history.redo() is None
    with pytest.raises(StateError, match="no state 99"):
        record(History(), Reverted(99))
    with pytest.raises(StateError):
        record(History(), Reverted(-1))


def test_an_event_that_can_not_follow_leaves_the_history_alone():
    history = fold(OPENED, PROMPT)
    with pytest.raises(StateError):
        record(history, Accepted())
    assert history == fold(OPENED, PROMPT)


def test_a_branch_keeps_the_other_one():
    first = fold(OPENED, PROMPT, *step(0.1, True, False))
    undone = record(first, first.undo())
    second = fold(*step(0.2, False, True), history=undone)
    assert second.session.episode.mask == mask(False, True)
    assert first.nodes == second.nodes[: len(first.nodes)]
    back = record(second, Reverted(first.head))
    assert back.session == first.session and back.session.episode.mask == mask(True, False)
    assert back.path() == first.path()
    # Redo from the fork takes the newest branch.
    fork = record(second, second.undo())
    assert record(fork, fork.redo()).session == second.session


def test_undo_on_a_branch_goes_to_the_fork():
    history = fold(OPENED, PROMPT, *step(0.1, True, False))
    start = record(history, history.undo())
    branch = fold(Painted(mask(True, True)), history=start)
    assert record(branch, branch.undo()).head == start.head


def test_settings_are_steps_too():
    history = fold(OPENED, RuleChanged(OverlapRule.FORBID), ObjectAdded(1, "liver", "#000000"))
    history = record(history, history.undo())
    assert (history.session.objects, history.session.rule) == ((), OverlapRule.FORBID)


def test_redo_does_not_stop_in_the_middle_of_a_step():
    """A step that was never finished (the program was killed, or is still thinking) can be gone back to."""
    history = fold(OPENED, PROMPT, Thought("t"), Proposed((Click(0.1, 0.5, True),)))
    undone = record(history, history.undo())
    assert undone.session.episode.pending is None and undone.session.episode.thought == ""
    redone = record(undone, undone.redo())
    assert redone.session.episode.pending is not None or redone.session == undone.session


@settings(max_examples=200, deadline=None, derandomize=True)
@given(SEEDS, st.integers(1, 30))
def test_undo_then_redo_is_the_identity(seed, length):
    dice, history = random.Random(seed), History()
    for _ in range(length):
        history = record(history, next_event(history, dice, jumps=False))
    move = history.undo()
    if move is None or not settled(history):
        return
    undone = record(history, move)
    assert settled(undone)
    redone = record(undone, undone.redo())
    assert redone.session == history.session and redone.head == history.head


@settings(max_examples=150, deadline=None, derandomize=True)
@given(SEEDS)
def test_a_random_walk_loses_nothing(seed):
    """Whatever is undone, redone and branched: every state that ever was comes back bit for bit."""
    dice, history = random.Random(seed), History()
    seen = {0: (history.session, repr(history.session))}
    for _ in range(40):
        event = next_event(history, dice)
        before = history
        history = record(history, event)
        if isinstance(event, Reverted):
            assert history.nodes == before.nodes and history.head == event.to
        else:
            assert history.nodes[:-1] == before.nodes and history.nodes[-1].parent == before.head
            seen[history.head] = (history.session, repr(history.session))
        path = history.path()
        assert path[0] == 0 and path[-1] == history.head
        assert all(history.nodes[b].parent == a for a, b in pairwise(path))
        undo, redo = history.undo(), history.redo()
        if undo is not None:
            assert undo.to in path[:-1]
        if redo is not None:
            assert history.head in record(history, redo).path()[:-1]
    assert set(seen) == set(range(len(history.nodes)))
    for node, (state, text) in seen.items():
        back = record(history, Reverted(node)).session
        assert back == state and repr(back) == text


@settings(max_examples=60, deadline=None, derandomize=True)
@given(SEEDS, st.integers(1, 12))
def test_as_many_redos_as_undos_come_back(seed, count):
    dice, history = random.Random(seed), History()
    for _ in range(40):
        history = record(history, next_event(history, dice, jumps=False))
    while not settled(history):
        history = record(history, history.undo())
    wanted, done = history.head, 0
    for _ in range(count):
        move = history.undo()
        if move is not None:
            history, done = record(history, move), done + 1
    for _ in range(done):
        history = record(history, history.redo())
    assert history.head == wanted
