"""The agent loop with the real tool: what it yields, when it ends, and how a person steers it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from playground import HIT, MISS, OUT, REVERT, SIDE, STOP, disc, opened, stage, start, volume

from napari_ibisagent.agent.runner import Stage, run
from napari_ibisagent.agent.stop import Limits
from napari_ibisagent.core.actions import Click, Revert, Terminate
from napari_ibisagent.core.episode import (
    Accepted,
    Author,
    Failed,
    Outcome,
    Overridden,
    PackedMask,
    Painted,
    Proposed,
    Rejected,
    Segmented,
    Terminated,
    Thought,
    Verdict,
    advance,
)
from napari_ibisagent.core.errors import BackendError, StateError
from napari_ibisagent.core.masks import dice
from napari_ibisagent.core.protocols import Segmentation


def play(scene, *, answers=(), episode=None, **options):
    """(events, the returned episode); ``answers`` are sent to the proposals in turn, then nothing."""
    begun = episode or start()
    generator = run(begun, scene, **options)
    events, folded, replies, reply = [], begun, list(answers), None
    while True:
        try:
            event = generator.send(reply)
        except StopIteration as end:
            assert end.value == folded
            return events, end.value
        events.append(event)
        folded = advance(folded, event)
        reply = replies.pop(0) if isinstance(event, Proposed) and replies else None


def kinds(events):
    return [type(event).__name__ for event in events]


def test_one_click_and_the_end():
    events, episode = play(stage(HIT, STOP))
    assert kinds(events) == ["Thought", "Proposed", "Accepted", "Segmented", "Thought", "Terminated"]
    assert (episode.outcome, episode.reason, episode.thought) == (Outcome.DONE, "the disc", "Good.")
    (step,) = episode.steps
    assert (step.thought, step.verdict, step.author) == ("The disc.", Verdict.UNREVIEWED, Author.AGENT)
    assert step.actions == (Click(0.5703, 0.4453, True),)
    assert dice(episode.mask_array(), disc()) > 0.95
    assert 0 <= step.score <= 1 and step.ms > 0


def test_a_plain_for_loop_goes_on_unreviewed():
    events = list(run(start(), stage(HIT, STOP)))
    assert Accepted(Author.AGENT) in events and isinstance(events[-1], Terminated)


def test_click_and_terminate_in_one_turn():
    events, episode = play(stage("<action>Positive Point (0.5703, 0.4453), Terminate</action><answer>disc</answer>"))
    assert kinds(events) == ["Proposed", "Accepted", "Segmented", "Terminated"]
    assert Terminate() not in events[0].actions
    assert episode.outcome is Outcome.DONE and dice(episode.mask_array(), disc()) > 0.95


def test_several_clicks_in_one_action_are_one_step():
    _, episode = play(stage("<action>Positive Point (0.5703, 0.4453), Negative Point (0.1, 0.9)</action>", STOP))
    (step,) = episode.steps
    assert step.prompts == (Click(0.5703, 0.4453, True), Click(0.1, 0.9, False))


@pytest.mark.parametrize(
    ("turns", "reason"),
    [
        (["<action>Terminate</action><answer>not found: no disc</answer>"], "no disc"),
        ([HIT, "<action>Terminate</action><answer>Not found</answer>"], "The agent says that it is not there."),
        (["<action>Terminate</action>"], "The agent ended without a mask."),
        ([HIT, REVERT, "<action>Terminate</action>"], "The agent ended without a mask."),
    ],
)
def test_not_found(turns, reason):
    _, episode = play(stage(*turns))
    assert (episode.outcome, episode.reason) == (Outcome.NOT_FOUND, reason)


def test_the_step_limit():
    turns = [f"<action>Positive Point (0.57, 0.4{n})</action>" for n in range(9)]
    _, episode = play(stage(*turns), limits=Limits(steps=4))
    assert (episode.outcome, len(episode.steps)) == (Outcome.STEP_LIMIT, 4)
    assert "4 steps" in episode.reason


def test_the_same_click_three_times():
    _, episode = play(stage(*[HIT] * 9))
    assert (episode.outcome, len(episode.steps)) == (Outcome.STEP_LIMIT, 3)
    assert "same click 3 times" in episode.reason
    _, episode = play(stage(HIT, HIT, MISS, HIT, HIT, STOP))
    assert episode.outcome is Outcome.DONE


@pytest.mark.parametrize("text", ["", "I can't see it.", "<action>Positive Point (1.7, 0.5)</action>", "<action>"])
def test_what_can_not_be_read_ends_as_failed_and_keeps_the_mask(text):
    events, episode = play(stage(HIT, text))
    assert isinstance(events[-1], Failed) and events[-1].reason
    assert episode.outcome is Outcome.FAILED and episode.mask_array().any()


def test_a_script_that_is_used_up_is_a_failure():
    _, episode = play(stage(HIT))
    assert episode.outcome is Outcome.FAILED and "used up" in episode.reason


class Broken:
    name, dialect = "broken", "ibis"

    def __init__(self, after=0):
        self._after = after

    def act(self, situation):
        for _ in range(self._after):
            yield "<think>"
        raise BackendError("The model ran out of memory. Choose a smaller one.")


@pytest.mark.parametrize("after", [0, 3])
def test_a_policy_that_breaks_is_a_failure(after):
    events, episode = play(stage(policy=Broken(after)))
    assert events == [Failed("The model ran out of memory. Choose a smaller one.")]
    assert episode.outcome is Outcome.FAILED


class BrokenTool:
    def __init__(self, answer):
        self._answer = answer

    def segment(self, prompts, prior):
        if isinstance(self._answer, Exception):
            raise self._answer
        return self._answer


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (BackendError("The tool broke."), "The tool broke."),
        (Segmentation(np.zeros((3, 3), bool), 0.5), "mask of (3, 3)"),
    ],
)
def test_a_tool_that_breaks_is_a_failure(answer, words):
    scene = stage(HIT)
    events, episode = play(Stage(scene.volume, scene.view, scene.policy, BrokenTool(answer)))
    assert kinds(events) == ["Thought", "Proposed", "Accepted", "Failed"]
    assert words in episode.reason and episode.pending is None and episode.steps == ()


# -- cancelling --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("after", [1, 2, 4])
def test_cancelling_takes_effect_between_two_pieces(after):
    heard = []
    events, episode = play(stage(HIT, STOP), cancelled=lambda: len(heard) >= after, on_text=heard.append)
    assert len(heard) == after
    assert events == [Terminated(Outcome.CANCELLED, "Cancelled by the user.")]
    assert episode.outcome is Outcome.CANCELLED


def test_cancelling_at_the_gate_comes_before_the_tool():
    asked = []
    generator = run(start(), stage(HIT, STOP), cancelled=lambda: bool(asked))
    assert isinstance(next(generator), Thought)
    assert isinstance(next(generator), Proposed)
    asked.append(True)
    assert isinstance(generator.send(Accepted()), Accepted)
    assert next(generator) == Terminated(Outcome.CANCELLED, "Cancelled by the user.")
    with pytest.raises(StopIteration) as end:
        next(generator)
    assert end.value.value.steps == () and end.value.value.pending is None


def test_cancelling_after_the_last_piece_folds_to_what_is_returned():
    heard = []
    events, episode = play(stage(HIT, STOP), cancelled=lambda: len(heard) >= 5, on_text=heard.append)
    assert kinds(events) == ["Thought", "Proposed", "Accepted", "Terminated"]
    assert episode.outcome is Outcome.CANCELLED and episode.steps == ()


def test_a_cancelled_episode_can_be_gone_on_with():
    said = []
    _, episode = play(stage(HIT, OUT, STOP), cancelled=lambda: len(said) > 6, on_text=said.append)
    assert episode.outcome is Outcome.CANCELLED
    events, episode = play(stage(OUT, STOP), episode=episode)
    assert episode.outcome is Outcome.DONE or not episode.mask_array().any()
    assert isinstance(events[-1], Terminated)


def test_the_text_comes_through_as_it_is_said():
    heard = []
    play(stage(HIT, STOP), on_text=heard.append)
    assert "".join(heard) == f"{HIT} {STOP} "


# -- the gate ----------------------------------------------------------------------------------------------


def test_accepting():
    _, episode = play(stage(HIT, STOP), answers=[Accepted()])
    assert episode.steps[0].verdict is Verdict.ACCEPTED and episode.outcome is Outcome.DONE


def test_overriding_flips_the_click_and_the_agent_goes_on():
    flipped = Click(0.5703, 0.4453, False)
    events, episode = play(stage(HIT, HIT, STOP), answers=[Overridden((flipped,))])
    first, second = episode.steps
    assert (first.verdict, first.author, first.actions) == (Verdict.OVERRIDDEN, Author.HUMAN, (flipped,))
    assert first.proposed == (Click(0.5703, 0.4453, True),)
    assert not first.mask.array().any() and second.mask.array().any()
    assert kinds(events).count("Segmented") == 2


def test_overriding_takes_back_the_terminate_beside_it():
    turn = "<action>Positive Point (0.5703, 0.4453), Terminate</action>"
    _, episode = play(stage(turn, STOP), answers=[Overridden((Click(0.56, 0.44, True),))])
    assert len(episode.steps) == 1 and episode.reason == "the disc"  # the second turn was played


@pytest.mark.parametrize("verdict", [Rejected("that is background"), Rejected()])
def test_rejecting_asks_the_agent_again(verdict):
    events, episode = play(stage(MISS, HIT, STOP), answers=[verdict])
    assert kinds(events)[:2] == ["Proposed", "Rejected"]
    first, second = episode.steps
    assert (first.verdict, first.reason, first.mask) == (Verdict.REJECTED, verdict.reason, None)
    assert second.prompts == (Click(0.5703, 0.4453, True),)
    assert dice(episode.mask_array(), disc()) > 0.95


def test_painting_instead_of_accepting():
    drawn = np.zeros((SIDE, SIDE), bool)
    drawn[2:8, 2:8] = True
    events, episode = play(stage(MISS, HIT, STOP), answers=[Painted(PackedMask.of(drawn))])
    assert kinds(events)[:2] == ["Proposed", "Painted"]
    first, second = episode.steps
    assert first.author is Author.HUMAN and np.array_equal(first.mask.array(), drawn)
    assert second.prior == PackedMask.of(drawn) and second.prompts == (Click(0.5703, 0.4453, True),)
    assert episode.mask_array()[3:7, 3:7].all() and dice(episode.mask_array() & disc(), disc()) > 0.9


def test_a_revert_is_a_step():
    events, episode = play(stage(HIT, MISS, REVERT, STOP))
    assert [s.prompts for s in episode.steps] == [
        (Click(0.5703, 0.4453, True),),
        (Click(0.5703, 0.4453, True), Click(0.1, 0.9, True)),
        (Click(0.5703, 0.4453, True),),
    ]
    assert episode.steps[2].actions == (Revert(),) and episode.steps[2].mask == episode.steps[0].mask
    assert kinds(events).count("Segmented") == 3


def test_a_revert_to_nothing_asks_no_tool():
    scene = stage(HIT, REVERT, STOP)
    _, episode = play(scene)
    assert episode.steps[1].mask == PackedMask.of(np.zeros((SIDE, SIDE), bool)) and episode.steps[1].score == 0
    drawn = PackedMask.of(disc())
    painted = advance(start(), Painted(drawn))
    _, episode = play(
        Stage(volume(), opened()[0], stage(REVERT, STOP).policy, BrokenTool(BackendError("asked"))), episode=painted
    )
    assert episode.steps[-1].mask == drawn and episode.outcome is Outcome.DONE


def test_a_discard_sets_the_given_mask_aside_and_all_prompts_before_it():
    given = PackedMask.of(np.roll(disc(), 12, axis=0))
    begun = replace(start(), given=given)
    anew = HIT.replace("<action>", "<action>Discard, ")
    _, episode = play(stage(MISS, anew, STOP), episode=begun)
    before, after = episode.steps
    assert before.prior == given and after.prior is None and after.prompts == (Click(0.5703, 0.4453, True),)
    assert dice(after.mask.array(), disc()) > 0.95
    # Alone it leaves an empty mask, and no tool is asked.
    lone = "<think>No.</think><action>Discard</action>"
    broken = Stage(volume(), opened()[0], stage(lone, STOP).policy, BrokenTool(BackendError("asked")))
    _, episode = play(broken, episode=begun)
    assert not episode.steps[0].mask.array().any() and episode.steps[0].prior is None


def test_the_policy_sees_the_mask_over_the_picture():
    seen = []

    class Looker:
        name, dialect = "looker", "ibis"

        def act(self, situation):
            seen.append(situation)
            yield HIT if len(seen) == 1 else STOP

    _, episode = play(stage(policy=Looker()))
    first, second = (s.observation for s in seen)
    assert first.shape == (SIDE, SIDE, 3) and first.dtype == np.uint8
    changed = (first != second).any(axis=2)
    assert changed.any() and not (changed & ~episode.mask_array()).any()
    assert (changed == episode.mask_array()).mean() > 0.99
    assert seen[1].episode.steps == episode.steps


def test_what_went_before_is_played_on_from():
    _, first = play(stage(HIT, STOP))
    reopened = advance(first, Painted(first.mask))
    events, episode = play(stage(OUT, STOP), episode=reopened)
    assert len(episode.steps) == 3 and isinstance(events[-1], Terminated)


def test_the_events_hold_what_the_tool_said():
    events, _ = play(stage(HIT, STOP))
    segmented = next(e for e in events if isinstance(e, Segmented))
    again = opened()[1].segment((Click(0.5703, 0.4453, True),), None)
    assert segmented.mask == PackedMask.of(again.mask) and segmented.score == round(again.score, 4)


# -- picking up a proposal that waits ----------------------------------------------------------------------


def picked_up(*turns, verdict=None, before=()):
    """(kinds of the events, the last state) of a run that begins at a proposal."""
    episode = start()
    for event in (Thought("The disc."), Proposed((Click(0.5703, 0.4453, True),), None, 4.0), *before):
        episode = advance(episode, event)
    events, episode = play(stage(*turns), episode=episode, verdict=verdict)
    return kinds(events), episode


@pytest.mark.parametrize("author", Author)
def test_a_waiting_proposal_is_picked_up_with_its_verdict(author):
    events, episode = picked_up(STOP, verdict=Accepted(author))
    assert events == ["Accepted", "Segmented", "Thought", "Terminated"]
    (step,) = episode.steps
    assert (step.thought, step.author) == ("The disc.", Author.AGENT) and step.ms > 4
    assert step.verdict is (Verdict.ACCEPTED if author is Author.HUMAN else Verdict.UNREVIEWED)


def test_a_waiting_proposal_without_a_word_goes_on_unreviewed():
    events, episode = picked_up(STOP)
    assert events[:2] == ["Accepted", "Segmented"] and episode.steps[0].verdict is Verdict.UNREVIEWED


@pytest.mark.parametrize(
    ("verdict", "first", "author"),
    [
        (Rejected("no"), "Rejected", Author.AGENT),
        (Overridden((Click(0.56, 0.44, True),)), "Overridden", Author.HUMAN),
        (Painted(PackedMask.of(disc())), "Painted", Author.HUMAN),
    ],
)
def test_a_waiting_proposal_can_be_refused_replaced_or_painted_over(verdict, first, author):
    events, episode = picked_up(HIT, STOP, verdict=verdict)
    assert events[0] == first and events[-1] == "Terminated"
    assert len(episode.steps) == 2 and episode.steps[0].author is author
    assert dice(episode.mask_array(), disc()) > 0.95


def test_what_was_judged_already_needs_no_verdict():
    for verdict in (None, Accepted()):
        events, episode = picked_up(STOP, before=(Overridden((Click(0.1, 0.9, False),)),), verdict=verdict)
        assert events[0] == "Segmented" and episode.steps[0].actions == (Click(0.1, 0.9, False),)


def test_the_limits_count_the_step_that_was_picked_up():
    episode = start()
    for event in (Proposed((Click(0.5703, 0.4453, True),)),):
        episode = advance(episode, event)
    events, episode = play(stage(HIT), episode=episode, verdict=Accepted(), limits=Limits(steps=1))
    assert kinds(events) == ["Accepted", "Segmented", "Terminated"] and episode.outcome is Outcome.STEP_LIMIT


@pytest.mark.parametrize("answer", ["the disc", "", None])
def test_the_end_beside_a_click_is_not_forgotten_by_the_proposal(answer):
    said = "" if answer is None else f"<answer>{answer}</answer>"
    generator = run(start(), stage(f"<action>Positive Point (0.5703, 0.4453), Terminate</action>{said}"))
    proposed = next(generator)
    generator.close()
    waiting = advance(start(), proposed)
    events, episode = play(stage(HIT), episode=waiting, verdict=Accepted())
    assert kinds(events) == ["Accepted", "Segmented", "Terminated"]
    assert (episode.outcome, episode.reason) == (Outcome.DONE, answer or "")


def test_a_verdict_on_nothing_is_a_state_error():
    with pytest.raises(StateError, match="no proposal"):
        next(run(start(), stage(HIT), verdict=Accepted()))
