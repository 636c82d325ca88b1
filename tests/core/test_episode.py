"""The episode as a fold: what may follow what, and what each event leaves behind."""

from __future__ import annotations

import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_ibisagent.core.actions import Box, Click, Revert
from napari_ibisagent.core.episode import (
    Accepted,
    Author,
    Failed,
    Outcome,
    Overridden,
    PackedMask,
    Painted,
    Prompted,
    Proposed,
    Rejected,
    Segmented,
    Terminated,
    Thought,
    Verdict,
    advance,
    begin,
    prompts_after,
)
from napari_ibisagent.core.errors import StateError
from napari_ibisagent.core.view import Plane

SHAPE = (3, 4)
A, B, C = Click(0.1, 0.1, True), Click(0.2, 0.2, False), Click(0.3, 0.3, True)
BOX = Box(0, 0, 0.5, 0.5)
START = Prompted("the liver", Plane.AXIAL, 7, SHAPE)


def mask(*pixels, shape=SHAPE):
    flat = np.zeros(shape, bool)
    flat.reshape(-1)[list(pixels)] = True
    return PackedMask.of(flat)


def fold(*events, start=START):
    episode = begin(start)
    for event in events:
        episode = advance(episode, event)
    return episode


def step(*actions, pixels=(), score=0.5, thought=""):
    """The events of one unreviewed step."""
    said = (Thought(thought),) if thought else ()
    return (*said, Proposed(actions, None, 2.0), Accepted(Author.AGENT), Segmented(mask(*pixels), score, 3.0))


def test_a_prompt_opens_an_empty_episode():
    episode = begin(START)
    assert (episode.prompt, episode.plane, episode.index, episode.shape) == ("the liver", Plane.AXIAL, 7, SHAPE)
    assert (episode.steps, episode.mask, episode.prompts, episode.prior, episode.outcome) == ((), None, (), None, None)
    assert episode.mask_array().shape == SHAPE and not episode.mask_array().any()


def test_a_given_mask_is_on_the_table_and_the_prior():
    given_mask = mask(1, 2)
    episode = begin(Prompted("more", Plane.AXIAL, 0, SHAPE, None, given_mask))
    assert episode.mask == episode.prior == given_mask
    assert fold(*step(A, pixels=(1,)), start=Prompted("x", Plane.AXIAL, 0, SHAPE, None, given_mask)).prior == given_mask


def test_one_step():
    episode = fold(*step(A, pixels=(0, 1), thought="Here."))
    (only,) = episode.steps
    assert (only.thought, only.proposed, only.actions, only.prompts) == ("Here.", (A,), (A,), (A,))
    assert (only.author, only.verdict, only.score, only.ms) == (Author.AGENT, Verdict.UNREVIEWED, 0.5, 5.0)
    assert episode.mask == mask(0, 1) and np.array_equal(episode.mask_array(), mask(0, 1).array())
    assert (episode.thought, episode.pending) == ("", None)


def test_who_accepted_is_kept():
    episode = fold(Proposed((A,)), Accepted(), Segmented(mask(), 0.1))
    assert episode.steps[0].verdict is Verdict.ACCEPTED and episode.steps[0].author is Author.AGENT


def test_an_override_is_the_humans_step_with_the_proposal_beside_it():
    episode = fold(Proposed((A,)), Overridden((B, BOX)), Segmented(mask(5), 0.1))
    (only,) = episode.steps
    assert (only.proposed, only.actions, only.prompts) == ((A,), (B, BOX), (B, BOX))
    assert (only.author, only.verdict) == (Author.HUMAN, Verdict.OVERRIDDEN)


def test_a_rejected_proposal_changes_nothing_but_is_a_step():
    before = fold(*step(A, pixels=(3,), score=0.7))
    after = fold(*step(A, pixels=(3,), score=0.7), Thought("No?"), Proposed((B,), None, 4.0), Rejected("that is bowel"))
    assert (after.mask, after.prompts, after.prior) == (before.mask, before.prompts, before.prior)
    last = after.steps[-1]
    assert (last.verdict, last.reason, last.proposed, last.actions) == (Verdict.REJECTED, "that is bowel", (B,), ())
    assert (last.score, last.ms, last.thought) == (0.7, 4.0, "No?")
    first = fold(Proposed((A,)), Rejected("no"))
    assert first.mask is None and first.prompts == () and first.steps[0].score is None
    given_mask = mask(4)
    start = Prompted("x", Plane.AXIAL, 0, SHAPE, None, given_mask)
    assert fold(Proposed((A,)), Rejected(), start=start).mask == given_mask


def test_painting_is_a_new_start():
    episode = fold(*step(A, pixels=(1,)), *step(B, pixels=(2,)), Painted(mask(8, 9)))
    assert episode.mask == episode.prior == mask(8, 9)
    assert episode.prompts == ()
    assert (episode.steps[-1].author, episode.steps[-1].actions) == (Author.HUMAN, ())
    on = advance(advance(advance(episode, Proposed((C,))), Accepted()), Segmented(mask(8), 0.2))
    assert (on.prior, on.prompts) == (mask(8, 9), (C,))


def test_painting_takes_the_place_of_what_was_on_its_way():
    for events in ((Thought("x"),), (Proposed((A,)),), (Proposed((A,)), Accepted()), (Terminated(Outcome.DONE, "r"),)):
        episode = fold(*events, Painted(mask(1)))
        assert (episode.pending, episode.thought, episode.outcome, episode.reason) == (None, "", None, "")
        assert len(episode.steps) == 1


@pytest.mark.parametrize(
    ("before", "event"),
    [
        ((), START),
        ((), Accepted()),
        ((), Overridden((A,))),
        ((), Rejected("no")),
        ((), Segmented(mask(), 0)),
        ((Thought("x"),), Accepted()),
        ((Proposed((A,)),), Proposed((B,))),
        ((Proposed((A,)),), Segmented(mask(), 0)),
        ((Proposed((A,)), Accepted()), Accepted()),
        ((Proposed((A,)), Accepted()), Overridden((B,))),
        ((Proposed((A,)), Accepted()), Rejected("late")),
        ((Proposed((A,)), Accepted()), Proposed((B,))),
        ((Proposed((A,)), Rejected("no")), Segmented(mask(), 0)),
        ((Proposed((A,)), Rejected("no")), Accepted()),
        (step(A), Segmented(mask(), 0)),
        ((Proposed((A,)), Terminated(Outcome.CANCELLED)), Accepted()),
        ((Proposed((A,)), Accepted(), Failed("x")), Segmented(mask(), 0)),
        ((Proposed((A,)), Painted(mask())), Accepted()),
        ((Proposed((A,)), Accepted()), Segmented(mask(shape=(4, 3)), 0)),
        ((), Painted(mask(shape=(3, 5)))),
    ],
    ids=lambda value: value.__class__.__name__,
)
def test_what_can_not_follow_is_a_state_error(before, event):
    episode = fold(*before)
    with pytest.raises(StateError):
        advance(episode, event)
    assert episode == fold(*before)


@pytest.mark.parametrize(
    ("event", "outcome"), [(Failed("no GPU"), Outcome.FAILED), (Terminated(Outcome.DONE, "no GPU"), Outcome.DONE)]
)
def test_an_end_can_be_gone_on_from(event, outcome):
    ended = fold(*step(A, pixels=(1,)), Thought("closing"), event)
    assert (ended.outcome, ended.reason, ended.pending) == (outcome, "no GPU", None)
    assert ended.thought == "closing" and ended.mask == mask(1)
    on = advance(ended, Proposed((B,)))
    assert (on.outcome, on.reason) == (None, "")


def test_the_newest_thought_counts():
    assert fold(Thought("a"), Thought("b"), *step(A)).steps[0].thought == "b"


# -- reverts -----------------------------------------------------------------------------------------------


def test_reverts_take_back_turn_by_turn():
    one, two, three = step(A), step(B, BOX), step(C)
    episode = fold(*one, *two, *three)
    assert episode.prompts == (A, B, BOX, C)
    for left in ((A, B, BOX), (A,), (), ()):
        episode = fold_on(episode, step(Revert()))
        assert episode.prompts == left
    assert len(episode.steps) == 7


def fold_on(episode, events):
    for event in events:
        episode = advance(episode, event)
    return episode


def test_a_revert_with_a_click_replaces_the_last_turn():
    assert fold(*step(A), *step(B), *step(Revert(), C)).prompts == (A, C)
    assert fold(*step(A), *step(B), *step(Revert(), C), *step(Revert())).prompts == (A,)
    assert fold(*step(A), *step(B), *step(Revert()), *step(C), *step(Revert()), *step(Revert())).prompts == ()


def test_a_revert_skips_a_rejected_step():
    episode = fold(*step(A), *step(B), Proposed((C,)), Rejected("no"), *step(Revert()))
    assert episode.prompts == (A,)


def test_a_revert_never_goes_behind_a_painted_mask():
    episode = fold(*step(A), *step(B), Painted(mask(3)), *step(Revert()))
    assert (episode.prompts, episode.prior) == ((), mask(3))
    assert fold(*step(A), Painted(mask(3)), *step(B), *step(C), *step(Revert())).prompts == (B,)


def test_the_same_click_twice_is_two_turns():
    assert fold(*step(A), *step(A), *step(Revert())).prompts == (A,)


def test_a_revert_goes_back_to_the_episodes_beginning_when_a_mask_was_painted_as_it_was_given():
    given_mask = mask(1)
    start = Prompted("x", Plane.AXIAL, 0, SHAPE, None, given_mask)
    episode = fold(*step(A), Painted(given_mask), *step(B), *step(Revert()), start=start)
    assert episode.prompts == ()


@settings(max_examples=300, deadline=None, derandomize=True)
@given(st.integers(0, 2**32))
def test_reverts_are_a_stack(seed):
    """A model of its own: a list of turns that is pushed, popped, and emptied by the brush."""
    dice = random.Random(seed)
    episode, stack = begin(START), []
    for number in range(12):
        kind = dice.choice(["click", "click", "click", "revert", "replace", "reject", "paint"])
        click = Click(number / 100, dice.choice([0.1, 0.2]), dice.random() < 0.5)
        if kind == "paint":
            episode, stack = advance(episode, Painted(mask(number))), []
        elif kind == "reject":
            episode = fold_on(episode, (Proposed((click,)), Rejected("")))
        else:
            actions = {"click": (click,), "revert": (Revert(),), "replace": (Revert(), click)}[kind]
            assert prompts_after(episode, actions) == tuple(
                a for turn in (stack if kind == "click" else stack[:-1]) for a in turn
            ) + tuple(a for a in actions if isinstance(a, Click))
            if kind != "click":
                stack = stack[:-1]
            if kind != "revert":
                stack = [*stack, (click,)]
            episode = fold_on(episode, step(*actions))
        assert episode.prompts == tuple(a for turn in stack for a in turn)
