"""The tree of states: undo, redo and branches."""

from __future__ import annotations

import random
from dataclasses import replace
from itertools import pairwise

import pytest
from event_strategies import OPENED, next_event
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_ibisagent.core.actions import Click
from napari_ibisagent.core.episode import (
    Accepted,
    Amended,
    Author,
    Located,
    Outcome,
    PackedMask,
    Painted,
    Prompted,
    Proposed,
    Rejected,
    Segmented,
    StepDeleted,
    Terminated,
    Thought,
)
from napari_ibisagent.core.errors import StateError
from napari_ibisagent.core.history import History, Reverted, record
from napari_ibisagent.core.session import Consented, ObjectAdded, OverlapRule, RuleChanged
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
    return (Thought("t"), Proposed((Click(x, 0.5, True),)), Accepted(Author.AGENT), Segmented(mask(*values), 0.5))


def settled(history):
    """What a person may undo to: nothing is on its way, or a proposal waits for a verdict."""
    return history.settle() is None


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


def test_undo_stops_at_a_proposal_that_a_person_judged_and_at_every_amendment():
    click = (Click(0.1, 0.5, True),)
    done = (Accepted(), Segmented(mask(True, False), 0.5))
    history = fold(OPENED, PROMPT, Thought("t"), Proposed(click), Amended((Click(0.2, 0.5, True),)), *done)
    assert history.session.episode.steps[0].verdict == "overridden"
    history = record(history, history.undo())
    assert history.session.episode.waits and history.session.episode.pending.amended
    history = record(history, history.undo())
    assert history.session.episode.waits and history.session.episode.pending.actions == click
    history = record(history, history.undo())
    assert history.session == fold(OPENED, PROMPT).session
    for _ in range(3):
        history = record(history, history.redo())
    assert history.session.episode.mask == mask(True, False)


def test_what_is_half_done_can_be_dropped():
    click = Proposed((Click(0.1, 0.5, True),))
    start = fold(OPENED, PROMPT, *step(0.1, True, False))
    assert start.settle() is None
    for tail in ((Thought("t"),), (Thought("t"), click, Accepted(Author.AGENT))):
        halfway = fold(*tail, history=start)
        assert record(halfway, halfway.settle()).session == start.session
    waiting = fold(Thought("t"), click, history=start)
    assert waiting.settle() is None
    judged = fold(Accepted(), history=waiting)
    assert record(judged, judged.settle()).session == waiting.session
    searching = fold(Prompted("the liver", Plane.AXIAL, 0, (1, 2), located=False), history=start)
    assert record(searching, searching.settle()).session == start.session
    assert record(searching, Located(3, (1, 2))).settle() is None


def test_the_nodes_of_steps_and_the_ends_of_other_branches():
    first = fold(OPENED, PROMPT, *step(0.1, True, False), *step(0.2, True, True))
    node = first.node_of_step(0, 1)
    assert len(first.nodes[node].state.episode.steps) == 1
    assert first.nodes[first.node_of_step(0, 0)].state == fold(OPENED, PROMPT).session
    with pytest.raises(StateError, match="no step 3"):
        first.node_of_step(0, 3)
    assert first.other_ends(node) == ()
    other = fold(*step(0.3, False, True), history=record(first, Reverted(node)))
    assert other.other_ends(node) == (first.head,)
    assert record(other, Reverted(first.head)).other_ends(node) == (other.head,)


def test_consent_is_about_the_whole_session_and_no_undo_changes_it():
    asked = fold(OPENED, PROMPT, *step(0.1, True, False))
    assert asked.session.consent is None
    history = record(asked, Consented(True))
    assert (history.head, history.tip, history.undo(), history.settle()) == (asked.head, asked.tip, asked.undo(), None)
    assert history.session == replace(asked.session, consent=True)
    assert record(history, history.undo()).session.consent is True  # also before it was said
    back = record(record(history, Consented(False)), history.undo())
    assert back.session.consent is False and record(back, back.redo()).session.consent is False


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
        elif isinstance(event, Consented):
            assert (history.head, history.tip, len(history.nodes)) == (before.head, before.tip, len(before.nodes))
            said = {n: replace(state, consent=event.given) for n, (state, _) in seen.items()}
            seen = {n: (state, repr(state)) for n, state in said.items()}
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


# -- which way redo goes, and what a branch is -------------------------------------------------------------


def test_redo_goes_back_along_the_branch_that_was_undone_though_another_one_is_newer():
    first = fold(OPENED, PROMPT, *step(0.1, True, False), *step(0.2, True, True))
    fork = first.node_of_step(0, 1)
    second = fold(*step(0.3, False, True), history=record(first, Reverted(fork)))
    for end in (first.head, second.head):
        there = record(second, Reverted(end))
        assert there.redo() is None
        back = record(there, there.undo())
        assert back.head == fork
        assert record(back, back.redo()).head == end
        start = record(there, Reverted(1))  # straight to where both began
        for _ in range(3):
            start = record(start, start.redo())
        assert start.head == end
    inside = record(record(second, Reverted(first.head)), Reverted(second.head - 1))
    assert inside.redo() == Reverted(second.head)


def test_redo_never_goes_to_what_was_dropped_half_done():
    start = fold(OPENED, PROMPT, *step(0.1, True, False))
    click = Proposed((Click(0.1, 0.5, True),))
    for tail in (
        (Thought("t"),),
        (click, Accepted(Author.AGENT)),
        (click, Accepted(Author.AGENT), Painted(mask(True, True))),
    ):
        halfway = fold(*tail, history=start)
        dropped = record(halfway, Reverted(start.head))
        whole = isinstance(tail[-1], Painted)
        assert dropped.redo() == (Reverted(halfway.head) if whole else None)
        on = fold(*step(0.2, True, True), history=dropped)
        assert on.other_ends(start.head) == ((halfway.head,) if whole else ())


def test_an_own_click_is_one_undo():
    start = fold(OPENED, PROMPT, *step(0.1, True, False))
    own = Proposed((Click(0.1, 0.5, True),), author=Author.HUMAN)
    history = fold(own, Accepted(), Segmented(mask(True, True), 0.5), history=start)
    undone = record(history, history.undo())
    assert undone.head == start.head and record(undone, undone.redo()).head == history.head
    assert fold(own, Accepted(), history=start).settle() == Reverted(start.head)


def test_an_own_click_that_was_placed_and_moved_is_undone_move_by_move():
    start = fold(OPENED, PROMPT)
    own = Proposed((Click(0.5, 0.5, True),), author=Author.HUMAN)
    placed = fold(own, history=start)
    assert placed.settle() is None
    moved = fold(Amended((Click(0.6, 0.5, True),)), history=placed)
    done = fold(Accepted(), Segmented(mask(True, True), 0.5), history=moved)
    back, seen = done, []
    while (move := back.undo()) is not None:
        back = record(back, move)
        seen.append(back.head)
    assert seen == [moved.head, placed.head, start.head, 1]


def test_the_end_of_an_episode_is_one_undo_after_it_was_gone_on_with():
    done = fold(OPENED, PROMPT, *step(0.1, True, False), Thought("c"), Terminated(Outcome.DONE))
    on = fold(*step(0.2, True, True), history=done)
    assert on.undo() == Reverted(done.head)
    thinking = fold(Thought("hm"), history=done)
    assert thinking.settle() == Reverted(done.head)


def test_the_other_verdicts_on_a_proposal_are_branches_from_the_step_before():
    click = (Click(0.1, 0.5, True),)
    one = fold(OPENED, PROMPT, *step(0.2, True, False), Thought("t"), Proposed(click))
    proposal = one.head
    accepted = fold(Accepted(), Segmented(mask(True, True), 0.5), history=one)
    refused = fold(Rejected("no"), history=record(accepted, Reverted(proposal)))
    flipped = fold(
        *(Amended((Click(0.1, 0.5, False),)), Accepted(), Segmented(mask(False, False), 0.5)),
        history=record(refused, Reverted(proposal)),
    )
    at = flipped.node_of_step(0, 1)
    assert flipped.other_ends(at) == (accepted.head, refused.head)
    assert flipped.other_ends(flipped.node_of_step(0, 0)) == () == flipped.other_ends(flipped.node_of_step(0, 2))
    back = record(flipped, Reverted(accepted.head))
    assert back.session == accepted.session and back.other_ends(at) == (refused.head, flipped.head)


def test_other_prompts_are_branches_from_the_last_step_before_them():
    one = fold(OPENED, PROMPT, *step(0.2, True, False))
    first = fold(PROMPT, *step(0.3, True, True), history=one)
    second = fold(PROMPT, history=record(first, Reverted(one.head)))
    assert second.other_ends(second.node_of_step(0, 1)) == (first.head,)


def test_where_a_step_was_deleted_its_state_is_not_gone_back_to():
    whole = fold(OPENED, PROMPT, *step(0.1, True, False), *step(0.2, True, True), *step(0.3, False, True))
    last = fold(StepDeleted(3), history=whole)
    assert last.node_of_step(0, 2) == whole.node_of_step(0, 2) < whole.head
    redone = (Segmented(mask(True, False), 0.1), Segmented(mask(False, False), 0.2))
    first = fold(StepDeleted(1, redone), history=whole)
    assert first.node_of_step(0, 2) == first.head and first.node_of_step(0, 0) == 2
    assert first.node_of_step(0, 1) is None
    for wrong in ((0, 3), (0, -1), (1, 0), (-1, 0)):
        with pytest.raises(StateError, match="no step"):
            first.node_of_step(*wrong)


def passed_by(history):
    """Whether the head is a proposal that went on at once: unreviewed, or a person's own click."""
    episode = history.session.episode
    pending = None if episode is None or not episode.waits else episode.pending
    own = pending is not None and pending.author is Author.HUMAN and not pending.amended
    verdicts = (node.event for node in history.nodes if node.parent == history.head)
    return any(isinstance(verdict, Accepted) and (own or verdict.by is Author.AGENT) for verdict in verdicts)


@settings(max_examples=150, deadline=None, derandomize=True)
@given(SEEDS)
def test_undo_then_redo_is_the_identity_on_every_branch(seed):
    """Also after jumps between branches; and what undo and redo stop at is never half done."""
    dice, history = random.Random(seed), History()
    for _ in range(35):
        history = record(history, next_event(history, dice))
        if (move := history.settle()) is not None:
            assert record(history, move).settle() is None
            continue
        if passed_by(history):
            continue  # a proposal that nobody stopped at: only a random jump leads here
        there, back = history.head, history
        count = 0
        while count < 4 and (move := back.undo()) is not None:
            back, count = record(back, move), count + 1
            assert back.settle() is None
        for _ in range(count):
            back = record(back, back.redo())
        assert back.head == there and back.session == history.session


@settings(max_examples=100, deadline=None, derandomize=True)
@given(SEEDS)
def test_every_branch_can_be_reached_by_its_end_and_left_again(seed):
    dice, history = random.Random(seed), History()
    for _ in range(40):
        history = record(history, next_event(history, dice))
    session = history.session
    for number, episode in enumerate(session.episodes):
        for done in range(len(episode.steps) + 1):
            if (node := history.node_of_step(number, done)) is None:
                continue
            then = history.nodes[node].state.episodes[number]
            assert node in history.path() and then.steps == episode.steps[:done] and then.pending is None
            for end in history.other_ends(node):
                there = record(history, Reverted(end))
                assert end not in history.path() and there.settle() is None
