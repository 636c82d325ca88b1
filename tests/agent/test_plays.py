"""What a worker plays: the gate from play to play, a person's own clicks, deleting steps, choosing the slice."""

from __future__ import annotations

import random
from dataclasses import replace

import numpy as np
import pytest
from playground import HIT, MISS, OUT, REVERT, SIDE, STOP, Desk, Locating, Policy, disc, phantom

from napari_ibisagent.agent.runner import segment
from napari_ibisagent.agent.stop import Limits
from napari_ibisagent.core.actions import Box, Click, Revert
from napari_ibisagent.core.episode import (
    Accepted,
    Author,
    Outcome,
    Overridden,
    PackedMask,
    Painted,
    Proposed,
    Rejected,
    Segmented,
    Thought,
    Verdict,
    before_step,
    went_to_tool,
)
from napari_ibisagent.core.errors import BackendError, StateError
from napari_ibisagent.core.history import Reverted
from napari_ibisagent.core.masks import dice
from napari_ibisagent.core.protocols import Location
from napari_ibisagent.core.view import Plane
from napari_ibisagent.policies import embedded as embedded_policy
from napari_ibisagent.policies import scripted
from napari_ibisagent.segmenters import geodesic

CLICK = Click(0.5703, 0.4453, True)
MORE = Click(0.6, 0.5, True)


# -- the gate ----------------------------------------------------------------------------------------------


def test_a_play_ends_at_the_proposal_and_the_verdict_begins_the_next():
    desk = Desk(HIT, OUT, STOP)
    assert desk.ask() == ["Located", "Thought", "Proposed"]
    assert desk.episode.waits and desk.asked == (1, 0)
    assert desk.go(Accepted()) == ["Accepted", "Segmented", "Proposed"]
    assert desk.go(Accepted()) == ["Accepted", "Segmented", "Thought", "Terminated"]
    assert desk.asked == (3, 2)
    assert [s.verdict for s in desk.episode.steps] == [Verdict.ACCEPTED] * 2
    assert desk.episode.outcome is Outcome.DONE and dice(desk.episode.mask_array(), disc()) > 0.95


def test_a_rejected_proposal_is_followed_by_another():
    desk = Desk(MISS, HIT, STOP)
    desk.ask()
    assert desk.go(Rejected("that is background")) == ["Rejected", "Thought", "Proposed"]
    assert desk.asked == (2, 0)
    assert (desk.episode.steps[0].reason, desk.episode.pending.actions) == ("that is background", (CLICK,))


def test_a_flipped_proposal_is_the_humans_once_it_is_accepted():
    desk = Desk(MISS, HIT, STOP)
    desk.ask()
    desk.store.flip()
    desk.store.amend((replace(desk.episode.pending.actions[0], x=0.15),))
    assert desk.episode.waits
    assert desk.go(Accepted())[:2] == ["Accepted", "Segmented"]
    (step,) = desk.episode.steps
    assert (step.verdict, step.author) == (Verdict.OVERRIDDEN, Author.HUMAN)
    assert (step.proposed, step.actions) == ((Click(0.1, 0.9, True),), (Click(0.15, 0.9, False),))


def test_a_click_that_was_moved_and_moved_back_is_the_agents():
    desk = Desk(HIT, STOP)
    desk.ask()
    desk.store.flip()
    desk.store.flip()
    desk.go(Accepted())
    assert (desk.episode.steps[0].verdict, desk.episode.steps[0].author) == (Verdict.ACCEPTED, Author.AGENT)


def test_an_own_click_instead_and_paint_instead():
    desk = Desk(MISS, MISS, STOP)
    desk.ask()
    assert desk.go(Overridden((CLICK,)))[:2] == ["Overridden", "Segmented"]
    assert dice(desk.episode.mask_array(), disc()) > 0.95
    drawn = PackedMask.of(disc())
    assert desk.go(Painted(drawn)) == ["Painted", "Thought", "Terminated"]
    assert desk.episode.mask == drawn and desk.episode.outcome is Outcome.DONE


def test_some_may_pass_unreviewed_and_then_it_waits_again():
    desk = Desk(HIT, OUT, MISS, REVERT, STOP)
    kinds = desk.ask(passes=2)
    assert kinds.count("Segmented") == 2 and kinds[-1] == "Proposed" and desk.episode.waits
    desk.go(Accepted(), passes=9)
    assert desk.episode.outcome is Outcome.DONE
    assert [s.verdict for s in desk.episode.steps] == ["unreviewed", "unreviewed", "accepted", "unreviewed"]
    assert "".join(desk.heard).startswith(HIT)


@pytest.mark.parametrize("answer", ["<answer>the disc</answer>", ""])
def test_a_turn_that_clicks_and_ends_does_so_reviewed_as_well(answer):
    turn = f"<action>Positive Point (0.5703, 0.4453), Terminate</action>{answer}"
    straight, reviewed = Desk(turn), Desk(turn)
    straight.ask(passes=1)
    reviewed.ask()
    assert reviewed.go(Accepted()) == ["Accepted", "Segmented", "Terminated"]
    assert reviewed.episode.outcome is straight.episode.outcome is Outcome.DONE
    assert reviewed.episode.reason == straight.episode.reason


def test_an_answer_without_an_end_ends_nothing():
    desk = Desk("<action>Positive Point (0.5703, 0.4453)</action><answer>here</answer>", OUT, STOP)
    desk.ask()
    assert desk.go(Accepted())[-1] == "Proposed"


def test_changing_the_proposal_takes_back_the_end_beside_it():
    desk = Desk("<action>Positive Point (0.1, 0.9), Terminate</action><answer>that</answer>", HIT, STOP)
    desk.ask()
    desk.store.flip()
    assert desk.go(Accepted())[-1] == "Proposed"


def test_a_verdict_without_a_proposal_is_a_state_error():
    desk = Desk(HIT, STOP)
    desk.ask(passes=9)
    with pytest.raises(StateError, match="no proposal"):
        desk.go(Accepted())
    assert desk.episode.outcome is Outcome.DONE and desk.policy.asked == 2


def test_a_click_on_its_way_through_the_tool_is_finished_without_a_verdict():
    desk = Desk(OUT, STOP)
    desk.store.record(replace(prompt_of(desk), located=True))
    for event in (Proposed((CLICK,)), Accepted()):
        desk.store.record(event)
    assert desk.go()[0] == "Segmented"
    assert desk.episode.steps[0].verdict is Verdict.ACCEPTED


def prompt_of(desk):
    Desk.ask(other := Desk(STOP))
    return next(n.event for n in other.store.history.nodes if type(n.event).__name__ == "Prompted")


def test_the_limit_ends_a_play_and_a_higher_one_goes_on():
    desk = Desk(HIT, OUT, STOP)
    desk.ask(passes=9, limits=Limits(steps=1))
    assert desk.episode.outcome is Outcome.STEP_LIMIT
    desk.go(passes=9)
    assert desk.episode.outcome is Outcome.DONE and len(desk.episode.steps) == 2


# -- undo and branches -------------------------------------------------------------------------------------


def test_undo_goes_back_to_the_proposal_without_asking_anyone_and_another_verdict_is_a_branch():
    desk = Desk(HIT, OUT, HIT, STOP)
    desk.ask()
    desk.go(Accepted())
    first, asked = desk.store.session, desk.asked
    old_end = desk.store.history.head
    assert desk.store.undo() and desk.episode.steps and not desk.episode.waits
    assert desk.store.undo() and desk.episode.waits and desk.episode.steps == ()
    assert desk.store.redo() and desk.store.redo() and desk.store.session == first
    desk.store.undo()
    desk.store.undo()
    assert desk.asked == asked
    desk.go(Rejected("not there"))
    assert desk.asked == (asked[0] + 1, asked[1])
    assert desk.episode.steps[0].verdict is Verdict.REJECTED
    assert desk.store.other_branches(0, 0) == (old_end,)
    assert desk.store.other_branches(0, 1) == ()
    new_end, second, asked = desk.store.history.head, desk.store.session, desk.asked
    desk.store.record(Reverted(old_end))
    assert desk.store.session == first and desk.store.other_branches(0, 0) == (new_end,)
    desk.store.undo()
    assert desk.store.redo() and desk.store.session == first  # not the newer branch
    desk.store.record(Reverted(new_end))
    assert desk.store.session == second and desk.asked == asked


def test_a_branch_from_a_step_keeps_what_came_after():
    desk = Desk(HIT, OUT, MISS, STOP)
    desk.ask(passes=9)
    old_end, whole = desk.store.history.head, desk.store.session
    desk.store.branch(0, 1)
    assert len(desk.episode.steps) == 1 and desk.episode.outcome is None
    desk.click(MORE)
    assert desk.episode.prompts == (CLICK, MORE)
    assert desk.store.other_branches(0, 1) == (old_end,)
    desk.store.record(Reverted(old_end))
    assert desk.store.session == whole
    desk.store.branch(0, 0)
    assert desk.episode.steps == () and desk.episode.located


def test_what_a_cancelled_run_left_half_done_is_no_branch():
    desk = Desk(HIT, OUT, STOP)
    desk.ask(passes=1)
    start = desk.store.history.head
    desk.store.branch(0, 1)
    desk.store.record(Thought("I was in the middle of"))
    assert desk.store.settle() and not desk.store.settle()
    assert len(desk.episode.steps) == 1 and desk.episode.thought == ""
    assert desk.store.history.redo() is None
    assert desk.store.other_branches(0, 1) == (start,)


def test_going_on_after_the_end_opens_it_again():
    desk = Desk(HIT, STOP, "<think>Once more.</think><action>Negative Point (0.1, 0.9)</action>", STOP)
    desk.ask(passes=9)
    ended = desk.store.session
    desk.store.record(Thought("Once more."))
    assert desk.episode.outcome is None
    assert desk.store.settle() and desk.store.session == ended
    desk.go(passes=9)
    assert len(desk.episode.steps) == 2 and desk.episode.outcome is Outcome.DONE
    desk.store.undo()
    desk.store.undo()
    assert desk.store.session == ended  # no stop in the middle of the second turn


# -- a person's own clicks ---------------------------------------------------------------------------------


def test_an_own_click_asks_the_tool_alone_and_is_one_undo():
    desk = Desk(HIT, STOP)
    desk.ask(passes=9)
    before, asked = desk.store.session, desk.asked
    assert desk.click(MORE, Click(0.1, 0.9, False)) == ["Segmented"]
    assert desk.asked == (asked[0], asked[1] + 1)
    step = desk.episode.steps[-1]
    assert (step.author, step.verdict) == (Author.HUMAN, Verdict.ACCEPTED)
    assert desk.episode.prompts == (CLICK, MORE, Click(0.1, 0.9, False)) and desk.episode.outcome is None
    after = desk.store.session
    assert desk.store.undo() and desk.store.session == before
    assert desk.store.redo() and desk.store.session == after


def test_an_own_click_that_was_cut_off_is_dropped_as_a_whole():
    desk = Desk(HIT, STOP)
    desk.ask(passes=9)
    before = desk.store.session
    desk.store.record(Proposed((MORE,), author=Author.HUMAN))
    assert not desk.store.settle()  # placed, and still to be moved
    desk.store.record(Accepted())
    assert desk.store.settle() and desk.store.session == before


def test_there_is_nothing_to_finish():
    desk = Desk(HIT, STOP)
    desk.ask(passes=9)
    with pytest.raises(StateError, match="no proposal"):
        desk.finish()


def test_a_judged_proposal_can_be_finished_without_the_agent():
    desk = Desk(HIT, STOP)
    desk.ask()
    desk.store.record(Overridden((MORE, CLICK)))
    assert desk.finish() == ["Segmented"] and desk.asked == (1, 1)
    assert desk.episode.prompts == (MORE, CLICK)


def test_an_own_box_before_the_slice_was_chosen_takes_the_slice_that_is_shown():
    desk = Desk(STOP)
    desk.store.record(prompt_of(desk))
    desk.click(Box(0.3, 0.2, 0.8, 0.7))
    assert desk.episode.located and desk.episode.mask_array().any()


def test_a_tool_that_fails_at_an_own_click():
    desk = Desk(HIT, STOP)
    desk.ask(passes=9)
    desk.tool.fault = BackendError("The tool ran out of memory.")
    assert desk.click(MORE) == ["Failed"]
    assert (desk.episode.outcome, desk.episode.reason) == (Outcome.FAILED, "The tool ran out of memory.")
    assert len(desk.episode.steps) == 1 and desk.episode.pending is None


# -- deleting steps ----------------------------------------------------------------------------------------


def test_deleting_a_step_is_as_if_it_had_never_happened_and_one_undo():
    desk = Desk(HIT, MISS, OUT, STOP)
    desk.ask(passes=9)
    before, text, asked = desk.store.session, repr(desk.store.session), desk.asked
    assert desk.delete(2) == ["StepDeleted"]
    assert desk.asked == (asked[0], asked[1] + 1)
    never = Desk(HIT, OUT, STOP)
    never.ask(passes=9)
    assert timeless(desk.episode) == timeless(never.episode)
    assert desk.episode.outcome is None  # the end was about another mask
    after = desk.store.session
    assert desk.store.undo() and desk.store.session == before and repr(desk.store.session) == text
    assert desk.store.redo() and desk.store.session == after
    assert desk.asked == (asked[0], asked[1] + 1)


def test_branching_after_a_deletion_goes_to_what_the_cards_show():
    desk = Desk(HIT, MISS, OUT, STOP)
    desk.ask(passes=9)
    desk.delete(1)
    shown = desk.episode
    desk.click(MORE)
    desk.store.branch(0, 2)
    assert desk.episode == shown
    # The first step that is left never stood alone: the one after it is deleted too, and that can be undone.
    asked = desk.asked
    assert desk.store.other_branches(0, 1) == ()
    desk.store.branch(0, 1)
    assert desk.episode.steps == shown.steps[:1] and desk.asked == asked
    desk.store.undo()
    assert desk.episode == shown
    desk.store.branch(0, 0)
    assert desk.episode.steps == ()
    with pytest.raises(StateError, match="no step 1"):
        desk.store.branch(0, 1)


def test_an_earlier_prompt_is_not_cut_short():
    desk = Desk(HIT, MISS, OUT, STOP, STOP)
    desk.ask(passes=9)
    desk.delete(1)
    desk.ask("another")
    before = desk.store.history
    with pytest.raises(StateError, match="not the current one"):
        desk.store.branch(0, 1)
    assert desk.store.history == before and desk.store.other_branches(0, 1) == ()


def test_deleting_a_step_takes_back_a_proposal_that_waits():
    desk = Desk(HIT, OUT, STOP)
    desk.ask()
    desk.go(Accepted())
    waiting = desk.store.session
    desk.delete(1)
    assert desk.episode.pending is None and desk.episode.steps == () and desk.episode.mask is None
    assert desk.store.undo() and desk.store.session == waiting


def test_deleting_where_there_is_no_step_or_no_tool():
    desk = Desk(HIT, MISS, STOP)
    desk.ask(passes=9)
    for number in (0, 3, -1):
        with pytest.raises(StateError, match=f"no step {number}"):
            desk.delete(number)
    desk.tool.fault = BackendError("The tool broke.")
    assert desk.delete(2) == ["StepDeleted"]  # nothing comes after it: no tool is asked
    desk.store.undo()
    assert desk.delete(1) == ["Failed"]
    assert len(desk.episode.steps) == 2
    assert desk.store.undo() and desk.episode.outcome is Outcome.DONE


@pytest.mark.parametrize("seed", range(12))
def test_any_step_of_any_episode_can_be_deleted(seed):
    rng = random.Random(seed)
    desk = Desk()
    desk.ask("x")
    played = [script_of(rng) for _ in range(6)]
    for events in played:
        act(desk, events)
    for number in rng.sample(range(1, 7), 3):
        desk.delete(number)
        never = Desk()
        never.ask("x")
        for at, events in enumerate(played, start=1):
            if at != number:
                act(never, events)
        assert timeless(desk.episode) == timeless(never.episode)
        assert fresh(desk.episode, desk.studio) == [s.mask for s in desk.episode.steps]
        desk.store.undo()


def script_of(rng):
    """The events of one step up to the tool; the last one is a click, a revert, an override, a refusal or paint."""
    click = Click(round(rng.random(), 2), round(rng.random(), 2), rng.random() < 0.6)
    box = Box(0.2, 0.1, round(rng.uniform(0.4, 0.9), 2), round(rng.uniform(0.4, 0.9), 2))
    drawn = np.zeros((SIDE, SIDE), bool)
    drawn[: rng.randrange(1, 30), : rng.randrange(1, 30)] = True
    said = (Thought(f"{rng.random()}"),)
    return rng.choice(
        [
            (*said, Proposed((click,)), Accepted(Author.AGENT)),
            (Proposed((click,), author=Author.HUMAN), Accepted()),
            (*said, Proposed((box, click)), Accepted()),
            (*said, Proposed((Revert(),)), Accepted(Author.AGENT)),
            (Proposed((Revert(), click)), Accepted()),
            (*said, Proposed((MORE,)), Overridden((click,))),
            (*said, Proposed((MORE,)), Overridden(())),
            (*said, Proposed((click,)), Rejected("no")),
            (Painted(PackedMask.of(drawn)),),
        ]
    )


def act(desk, events):
    for event in events:
        desk.store.record(event)
    if desk.episode.pending is not None:
        result, _ = segment(desk.episode, desk.episode.pending.actions, desk.studio.stage(desk.episode).tool)
        desk.store.record(Segmented(PackedMask.of(result.mask), round(float(result.score), 4)))


def timeless(episode):
    """An episode without its end and without times."""
    steps = tuple(replace(step, ms=0.0) for step in episode.steps)
    return replace(episode, steps=steps, outcome=None, reason="", thought="")


def fresh(episode, studio):
    """What a tool that never saw the view before makes of each step."""
    tool, masks = geodesic.build().open(studio.stage(episode).view), []
    for number, step in enumerate(episode.steps, start=1):
        before = before_step(episode, number)
        masks.append(PackedMask.of(segment(before, step.actions, tool)[0].mask) if went_to_tool(step) else step.mask)
    return masks


# -- choosing the slice ------------------------------------------------------------------------------------


def test_the_policy_chooses_the_slice_and_names_the_target():
    desk = Desk(policy=Locating(embedded_policy.build()), scan=phantom().volume)
    kinds = desk.ask("the liver", index=2, passes=9)
    assert kinds[0] == "Located" and desk.policy.located == 1
    episode = desk.episode
    assert episode.located and episode.index != 2 and episode.target.full_name == "liver"
    truth = phantom().mask("liver")[episode.index]
    native = desk.store.view(episode).to_native(episode.mask_array())
    assert episode.outcome is Outcome.DONE and dice(native, truth) > 0.8


def test_this_slice_is_the_one_that_is_shown():
    scan = phantom()
    shown = int(np.flatnonzero(scan.mask("liver").any(axis=(1, 2)))[8])
    desk = Desk(policy=Locating(embedded_policy.build()), scan=scan.volume)
    desk.ask("segment the liver on this slice", index=shown, passes=9)
    assert desk.episode.index == shown and desk.episode.target.full_name == "liver"
    assert desk.episode.outcome is Outcome.DONE
    native = desk.store.view(desk.episode).to_native(desk.episode.mask_array())
    assert dice(native, scan.mask("liver")[shown]) > 0.7


def test_a_slice_in_another_plane():
    desk = Desk(policy=Locating(embedded_policy.build()), scan=phantom().volume)
    desk.ask("the right kidney", Plane.CORONAL, 3, passes=9)
    assert desk.episode.shape == desk.store.view(desk.episode).shape == desk.episode.mask.shape
    assert desk.episode.outcome is Outcome.DONE


def test_what_is_not_found_ends_with_the_reason():
    desk = Desk(policy=Locating(embedded_policy.build()), scan=phantom().volume)
    assert desk.ask("the liver tumour") == ["Located", "Thought", "Terminated"]
    assert desk.episode.outcome is Outcome.NOT_FOUND and "liver tumour" in desk.episode.reason
    assert desk.episode.index == 0 and desk.asked == (0, 0)


def test_a_policy_that_can_not_choose_stays_on_the_slice_that_is_shown():
    desk = Desk(HIT, STOP)
    assert desk.ask()[0] == "Located"
    assert (desk.episode.index, desk.episode.target, desk.episode.located) == (0, None, True)


class Choosing(Policy):
    """Chooses what it was told to, or breaks."""

    def __init__(self, found, *turns):
        super().__init__(scripted.build(turns or (STOP,)))
        self.found = found

    def locate(self, volume, prompt, plane):
        if isinstance(self.found, Exception):
            raise self.found
        return self.found


@pytest.mark.parametrize("found", [Location(99, ""), Location(-1, ""), BackendError("chose slice of no model.")])
def test_a_choice_that_can_not_be_is_a_failure(found):
    desk = Desk(policy=Choosing(found))
    assert desk.ask() == ["Failed"]
    assert desk.episode.outcome is Outcome.FAILED and "chose slice" in desk.episode.reason
    desk.policy.found = Location(0, "")
    assert desk.go()[0] == "Located" and desk.episode.outcome is Outcome.NOT_FOUND  # the script ends at once


def test_cancelling_while_the_slice_is_chosen_and_going_on_later():
    desk = Desk(policy=Choosing(Location(0, ""), HIT, STOP))
    desk.cancelled = lambda: True
    assert desk.ask() == ["Terminated"]
    assert desk.episode.outcome is Outcome.CANCELLED and not desk.episode.located
    desk.cancelled = lambda: False
    assert desk.go() == ["Located", "Thought", "Proposed"]
    assert desk.episode.located and desk.episode.outcome is None


def test_cancelling_while_the_policy_speaks():
    desk = Desk(HIT, STOP)
    desk.cancelled = lambda: len(desk.heard) >= 2
    assert desk.ask() == ["Located", "Terminated"]
    assert desk.episode.outcome is Outcome.CANCELLED and desk.tool.asked == 0


def test_cancelling_after_the_verdict_comes_before_the_tool():
    desk = Desk(HIT, STOP)
    desk.ask()
    desk.cancelled = lambda: True
    assert desk.go(Accepted()) == ["Accepted", "Terminated"]
    assert desk.tool.asked == 0 and desk.episode.outcome is Outcome.CANCELLED
    desk.store.undo()
    assert desk.episode.waits


def test_a_mask_that_was_given_stays_on_its_slice():
    scan, mask = phantom().volume, PackedMask.of(phantom().mask("liver")[13])
    for index, kept in ((13, mask), (12, None)):
        desk = Desk(policy=Choosing(Location(index, "")), scan=scan)
        prompt = replace(prompt_of(desk), index=13, shape=mask.shape, given=mask)
        desk.store.record(prompt)
        desk.go()
        assert (desk.episode.index, desk.episode.given, desk.episode.mask) == (index, kept, kept)


def test_a_tool_that_can_not_open_the_view_is_a_failure():
    desk = Desk(HIT, STOP)

    def refuse(view):
        raise BackendError("The tool isn't there.")

    desk.tool.open = refuse
    assert desk.ask() == ["Located", "Failed"]
    assert desk.episode.reason == "The tool isn't there."


def test_a_tool_and_a_policy_that_break_in_mid_run():
    desk = Desk(HIT, OUT)
    desk.ask()
    desk.tool.fault = BackendError("The tool broke.")
    assert desk.go(Accepted()) == ["Accepted", "Failed"]
    assert desk.store.undo() and desk.episode.waits
    desk.tool.fault = None
    desk.go(Accepted())
    desk.go(Accepted())
    assert desk.episode.outcome is Outcome.FAILED and "used up" in desk.episode.reason
    assert len(desk.episode.steps) == 2 and desk.episode.mask_array().any()


def test_a_studio_looks_at_a_view_once_and_forgets_the_oldest():
    opened = []
    desk = Desk(policy=Choosing(Location(0, "")), scan=phantom().volume)
    real = desk.tool.open
    desk.tool.open = lambda view: opened.append(view.index) or real(view)
    desk.ask("x")
    for index in (0, 1, 2, 3, 3, 0, 4, 0):
        stage = desk.studio.stage(replace(desk.episode, index=index))
        assert stage.view.index == index
    assert opened == [0, 1, 2, 3, 4, 0]
