"""The episode as a fold: what may follow what, and what each event leaves behind."""

from __future__ import annotations

import random
from dataclasses import replace

import numpy as np
import pytest
from event_strategies import actions, packed
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_ibisagent.core.actions import Box, Click, Revert
from napari_ibisagent.core.episode import (
    Accepted,
    Amended,
    Author,
    Failed,
    Located,
    Outcome,
    Overridden,
    PackedMask,
    Painted,
    Prompted,
    Proposed,
    Rejected,
    Segmented,
    StepDeleted,
    Terminated,
    Thought,
    Verdict,
    advance,
    again,
    before_step,
    begin,
    prompts_after,
    went_to_tool,
)
from napari_ibisagent.core.errors import StateError
from napari_ibisagent.core.target import Target
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


def test_who_moves_their_own_click_overrides_nobody():
    for after in ((Amended((B,)), Accepted()), (Overridden((B,)),), (Amended((B,)), Accepted(Author.AGENT))):
        (only,) = fold(Proposed((A,), author=Author.HUMAN), *after, Segmented(mask(5), 0.1)).steps
        assert only.by_hand and (only.author, only.verdict, only.actions) == (Author.HUMAN, Verdict.ACCEPTED, (B,))


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
        ((), Amended((A,))),
        ((Proposed((A,)), Accepted()), Amended((B,))),
        ((Proposed((A,)), Rejected()), Amended((B,))),
        ((Painted(mask()),), Located(1, SHAPE)),
        ((Proposed((A,)),), Located(1, SHAPE)),
        ((), StepDeleted(1)),
        (step(A), StepDeleted(0)),
        (step(A), StepDeleted(2)),
        (step(A), StepDeleted(1, (Segmented(mask(), 0),))),
        ((*step(A), *step(B)), StepDeleted(1)),
        ((*step(A), Painted(mask())), StepDeleted(1, (Segmented(mask(), 0),))),
        ((*step(A), *step(B)), StepDeleted(1, (Segmented(mask(shape=(4, 3)), 0),))),
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


# -- choosing the slice ------------------------------------------------------------------------------------

SEARCHING = Prompted("the liver", Plane.AXIAL, 7, SHAPE, None, mask(1), located=False)


def test_the_slice_is_chosen_once_and_a_given_mask_stays_on_its_own():
    assert not begin(SEARCHING).located and begin(START).located
    target = Target("liver", "the liver")
    here = fold(Located(7, SHAPE, target), start=SEARCHING)
    assert (here.located, here.index, here.target, here.given) == (True, 7, target, mask(1))
    there = fold(Located(3, (4, 4), target), start=SEARCHING)
    assert (there.located, there.index, there.shape, there.given, there.mask) == (True, 3, (4, 4), None, None)
    assert there.mask_array().shape == (4, 4)


@pytest.mark.parametrize("event", [Painted(mask(2)), Proposed((A,))])
def test_whoever_works_on_the_slice_that_is_shown_has_chosen_it(event):
    assert fold(event, start=SEARCHING).located


def test_a_search_that_ended_begins_again():
    for end in (Terminated(Outcome.CANCELLED, "x"), Failed("x")):
        ended = fold(Thought("not there"), end, start=SEARCHING)
        assert not ended.located
        found = advance(ended, Located(3, SHAPE))
        assert (found.located, found.outcome, found.reason, found.thought) == (True, None, "", "")


@pytest.mark.parametrize("end", [Terminated(Outcome.DONE, "x"), Failed("x")])
@pytest.mark.parametrize("event", [Thought("on"), Proposed((A,)), Painted(mask(1)), StepDeleted(1)])
def test_whatever_comes_after_the_end_opens_it_again(end, event):
    on = advance(fold(*step(A), end), event)
    assert (on.outcome, on.reason) == (None, "")


# -- amendments --------------------------------------------------------------------------------------------


def test_a_proposal_can_be_amended_until_it_is_judged():
    waiting = fold(Thought("t"), Proposed((A,), None, 2.0))
    assert waiting.waits and not waiting.pending.amended
    moved = advance(advance(waiting, Amended((B,))), Amended((C,)))
    assert moved.waits and moved.pending.amended and moved.pending.turn == waiting.pending.turn
    for by in Author:
        judged = advance(moved, Accepted(by))
        assert not judged.waits and judged.pending.actions == (C,)
        (only,) = advance(judged, Segmented(mask(1), 0.5, 3.0)).steps
        assert (only.verdict, only.author, only.proposed, only.actions) == ("overridden", "human", (A,), (C,))
        assert (only.thought, only.ms) == ("t", 5.0)
    back = advance(advance(moved, Amended((A,))), Accepted())
    assert advance(back, Segmented(mask(1), 0.5)).steps[0].verdict is Verdict.ACCEPTED
    refused = advance(moved, Rejected("no")).steps[0]
    assert (refused.proposed, refused.actions, refused.author) == ((A,), (), Author.AGENT)
    assert advance(moved, Overridden((B,))).pending.actions == (B,)


# -- deleting steps ----------------------------------------------------------------------------------------


def test_the_episode_before_a_step():
    episode = replace(fold(*step(A, pixels=(1,)), *step(B), Thought("end"), Terminated(Outcome.DONE, "r")), kept_as=3)
    before = before_step(episode, 2)
    assert before == fold(*step(A, pixels=(1,)))
    assert before_step(episode, 1) == begin(START)


def test_what_went_to_the_tool():
    episode = fold(
        *step(A), Proposed((A,)), Rejected(), Painted(mask()), *step(Revert()), Proposed((A,)), Overridden(())
    )
    episode = advance(episode, Segmented(mask(1), 0.1))
    assert [went_to_tool(s) for s in episode.steps] == [True, False, False, True, True]


def test_the_kept_mark_goes_with_the_mask():
    kept = replace(fold(*step(A), *step(B)), kept_as=2)
    for event in (Painted(mask(3)), StepDeleted(2)):
        assert advance(kept, event).kept_as is None
    refused = advance(advance(kept, Proposed((C,))), Rejected())
    assert refused.kept_as == 2  # the mask is the same
    assert advance(kept, Terminated(Outcome.DONE)).kept_as == 2


def tool(prompts, prior):
    """A tool of a kind: a function of the prompts and the prior, and nothing else."""
    return Segmented(
        packed(SHAPE, random.Random(repr((prompts, prior)))), round(random.Random(repr(prompts)).random(), 4)
    )


def toy(episode, found):
    """The event that the toy tool answers a judged proposal with."""
    return tool(prompts_after(episode, found), episode.prior)


def walk(dice, length):
    """Random steps, each as a list of events up to the tool's answer."""
    steps = []
    for number in range(length):
        proposed = Proposed(actions(dice), None, 1.0, dice.choice(list(Author)))
        said = [Thought(f"t{number}")] if dice.random() < 0.5 else []
        amended = [Amended(actions(dice))] if dice.random() < 0.3 else []
        judged = dice.choice([Accepted(), Accepted(Author.AGENT), Overridden(actions(dice)), Rejected("no")])
        drawn = [Painted(packed(SHAPE, dice))]
        steps.append(drawn if dice.random() < 0.2 else [*said, proposed, *amended, judged])
    return steps


def played(steps, start):
    episode = begin(start)
    for events in steps:
        episode = fold_on(episode, events)
        if episode.pending is not None:
            episode = advance(episode, toy(episode, episode.pending.actions))
    return episode


@settings(max_examples=300, deadline=None, derandomize=True)
@given(st.integers(0, 2**32), st.integers(1, 9), st.booleans())
def test_a_deleted_step_never_happened(seed, length, with_mask):
    dice = random.Random(seed)
    start = replace(START, given=packed(SHAPE, dice) if with_mask else None)
    steps = walk(dice, length)
    whole, number = played(steps, start), dice.randint(1, length)
    shorter, results = before_step(whole, number), []
    for later in whole.steps[number:]:
        if went_to_tool(later):
            results.append(toy(shorter, later.actions))
        shorter = again(shorter, later, results[-1] if went_to_tool(later) else None)
    never = played([events for at, events in enumerate(steps, start=1) if at != number], start)
    deleted = advance(whole, StepDeleted(number, tuple(results)))
    assert deleted == shorter == never
    ended = advance(advance(whole, Thought("end")), Terminated(Outcome.DONE, "r"))
    assert advance(ended, StepDeleted(number, tuple(results))) == never
