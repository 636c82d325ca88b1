"""Rewards: what the default promises, as properties; the paper's numbers; the published faults; the facts."""

from __future__ import annotations

import functools
from dataclasses import replace
from itertools import product

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from napari_ibisagent.agent.runner import Stage, run
from napari_ibisagent.agent.stop import Limits
from napari_ibisagent.core.episode import Author, Outcome, PackedMask, Painted, Prompted, advance, begin
from napari_ibisagent.core.errors import BackendError, GridError, StateError, UnknownNameError
from napari_ibisagent.core.view import Plane, view_of
from napari_ibisagent.core.volume import Volume
from napari_ibisagent.evaluation.metrics import score
from napari_ibisagent.evaluation.rewards import PARTS, PRESETS, breakdown, reward_config, rewards, stopping, total
from napari_ibisagent.evaluation.turn_facts import TurnFacts, facts
from napari_ibisagent.policies import oracle, scripted
from napari_ibisagent.segmenters import geodesic

DEFAULT, PAPER, PUBLISHED = (reward_config(name) for name in ("default", "paper", "published"))
EXAMPLES = settings(max_examples=200, deadline=None, derandomize=True)

# -- made-up turns ------------------------------------------------------------------------------------------
# A state is (IoU, whether there is a mask), as the tool could have left it.


def states(truth_empty, most=1.0):
    """Any state with an IoU of at most ``most``."""
    if truth_empty:
        possible = [(0.0, True), (1.0, False)]
        return st.sampled_from([state for state in possible if state[0] <= most])
    fractions = st.sampled_from((0.0, most)) | st.floats(0, most)
    return st.just((0.0, False)) | st.tuples(fractions, st.just(True))


def click(before, after, hits=1, clicks=1, **more):
    return TurnFacts(True, before[0], *after, acts=True, clicks=clicks, hits=hits, **more)


def stop(state, absent=False):
    return TurnFacts(True, state[0], *state, terminates=True, says_absent=absent)


@st.composite
def acting(draw, before, after):
    """A turn of clicks, or of a box, a revert or a discard; often one that is flawless, whatever it gains."""
    if draw(st.booleans()):
        return click(before, after)
    clicks = draw(st.integers(0, 4))
    hits = draw(st.integers(0, clicks))
    return replace(click(before, after, hits, clicks), well_formed=draw(st.booleans()))


@st.composite
def endings(draw, state, truth_empty, most=1.0):
    """The agent says that it is done, or that there is nothing, perhaps with a last click."""
    after, turn = state, stop(state)
    if draw(st.booleans()):
        after = draw(st.just(state) | states(truth_empty, most))
        turn = replace(draw(acting(state, after)), terminates=True)
    # Who ends without a mask has found nothing (agent.stop.ending).
    well_formed = turn.well_formed and draw(st.booleans())
    return replace(turn, says_absent=not after[1] or draw(st.booleans()), well_formed=well_formed)


@st.composite
def turns(draw, start, truth_empty, most=1.0, ended=None):
    """Turns from a state on, through states of an IoU of at most ``most``, with an end or without."""
    played, state = [], start
    for _ in range(draw(st.integers(0, 4))):
        if draw(st.integers(0, 4)):
            after = draw(states(truth_empty, most))
            played.append(draw(acting(state, after)))
            state = after
        else:
            played.append(TurnFacts(False, state[0], *state))  # an answer that couldn't be read
    if draw(st.booleans()) if ended is None else ended:
        played.append(draw(endings(state, truth_empty, most)))
    return played


@st.composite
def episodes(draw, ended=None, empty=None):
    """(the turns of a whole episode, whether the truth is empty)."""
    truth_empty = draw(st.booleans()) if empty is None else empty
    return draw(turns(draw(states(truth_empty)), truth_empty, ended=ended)), truth_empty


def last_state(played, start):
    return (played[-1].iou_after, played[-1].has_mask) if played else start


# -- what the default promises ------------------------------------------------------------------------------


@EXAMPLES
@given(st.data(), st.booleans())
def test_stopping_is_strictly_best_once_no_click_gains(data, truth_empty):
    """Whatever was done so far and whatever else is done: turns that never get above the IoU of now."""
    start = data.draw(states(truth_empty))
    so_far = data.draw(turns(start, truth_empty, ended=False))
    now = last_state(so_far, start)
    absent = truth_empty or not now[1]
    other = data.draw(turns(now, truth_empty, most=now[0]))
    assume(other and (other[0].acts or not other[0].terminates))  # else it is stopping as well
    best = total([*so_far, stop(now, absent)], truth_empty, DEFAULT)
    assert best > total([*so_far, *other], truth_empty, DEFAULT) + 1e-3


@EXAMPLES
@given(st.data(), episodes())
def test_a_useless_click_makes_any_episode_worse(data, episode):
    played, truth_empty = episode
    assume(played)
    at = data.draw(st.integers(0, len(played) - 1))
    before = played[at - 1] if at else None
    has_mask = before.has_mask if before else played[0].iou_before > 0 and not truth_empty
    state = (played[at].iou_before, has_mask)
    useless = data.draw(acting(state, state))
    longer = [*played[:at], useless, *played[at:]]
    assert total(longer, truth_empty, DEFAULT) < total(played, truth_empty, DEFAULT) - 1e-3


@EXAMPLES
@given(st.data(), states(False))
def test_a_click_that_does_not_gain_is_below_the_stop_at_once(data, state):
    """Turn by turn, too: such a click costs, and to stop never does."""
    after = data.draw(states(False, state[0]))
    (value,) = rewards([data.draw(acting(state, after))], False, DEFAULT)
    (stopped,) = rewards([stop(state, not state[1])], False, DEFAULT)
    assert value < 0 <= stopped


@EXAMPLES
@given(episodes(empty=False))
def test_nothing_is_earned_without_a_mask(episode):
    played, _ = episode
    assume(played and (not played[-1].has_mask or played[-1].says_absent))
    assert total(played, False, DEFAULT) <= 1e-9


@EXAMPLES
@given(episodes())
def test_the_sum_is_bounded(episode):
    played, truth_empty = episode
    assert -1 - 0.14 * len(played) - 1e-9 <= total(played, truth_empty, DEFAULT) <= 2 + 1e-9


def test_the_bounds_are_reached():
    nothing = (0.0, False)
    assert total([click(nothing, (1.0, True), terminates=True)], False, DEFAULT) == pytest.approx(1.98)
    lost = replace(click((1.0, True), nothing, hits=0), well_formed=False)
    assert total([lost], False, DEFAULT) == pytest.approx(-1.14)


@EXAMPLES
@given(episodes(ended=False), episodes(ended=False))
def test_progress_is_the_same_whatever_way_was_taken(one, other):
    for played, truth_empty in (one, other):
        assume(played)
        gained = total(played, truth_empty, DEFAULT.only("progress"))
        assert gained == pytest.approx(played[-1].iou_after - played[0].iou_before)


@EXAMPLES
@given(st.data(), st.booleans())
def test_not_present_is_right_exactly_when_the_truth_is_empty(data, truth_empty):
    state = data.draw(states(truth_empty))
    claim = stop(state, absent=True)
    assert (total([claim], truth_empty, DEFAULT.only("answer")) > 0) == truth_empty
    claimed, done = (total([turn], truth_empty, DEFAULT) for turn in (claim, stop(state)))
    if truth_empty:
        assert claimed > done
    elif state[0] > 0:
        assert claimed < done


@EXAMPLES
@given(st.data(), episodes(), st.sampled_from(["default", "paper"]))
def test_a_failing_tool_raises_instead_of_scoring(data, episode, name):
    played, truth_empty = episode
    assume(played)
    at = data.draw(st.integers(0, len(played) - 1))
    played[at] = replace(played[at], tool_failed=True)
    with pytest.raises(BackendError, match="tool failed"):
        total(played, truth_empty, reward_config(name))


def test_clicks_that_gain_are_worth_their_turn():
    """So that the costs don't teach it to stop at once: from a point of IoU on, a click is better than to stop."""
    for before in (0.0, 0.3, 0.9):
        now, gained, hardly = (before, True), (before + 0.0101, True), (before + 0.0099, True)
        at_once = total([stop(now)], False, DEFAULT)
        assert total([click(now, gained), stop(gained)], False, DEFAULT) > at_once
        assert total([click(now, hardly), stop(hardly)], False, DEFAULT) < at_once


def test_the_default_by_hand():
    """Nothing, a hit to 0.6, two clicks of which one misses to 0.5, a revert, the end without a thought."""
    a, b, c = (0.0, False), (0.6, True), (0.5, True)
    played = [click(a, b), click(b, c, hits=1, clicks=2), click(c, b, 0, 0), replace(stop(b), well_formed=False)]
    expected = (0.6 - 0.02, -0.1 - 0.02 - 0.01, 0.1 - 0.02, 0.6 - 0.1)
    assert rewards(played, False, DEFAULT) == pytest.approx(expected)
    assert total(played, False, DEFAULT) == pytest.approx(sum(expected))


# -- the paper's numbers ------------------------------------------------------------------------------------


@pytest.mark.parametrize(("iou", "tier"), [(0.81, 3), (0.8, 2), (0.71, 2), (0.7, 1), (0.51, 1), (0.5, 0), (0.0, 0)])
def test_the_papers_answer_goes_by_tiers_and_is_paid_at_the_end(iou, tier):
    state = (iou, True)
    played = [click((0.0, False), state), stop(state)]
    assert [parts["answer"] for parts in breakdown(played, False, PAPER)] == pytest.approx([0, tier / 5])


def test_the_papers_score_is_the_mean_of_five_parts():
    """Format 1, answer 3, placement 1, progress 1, length 1, where one turn does it all."""
    assert total([click((0.0, False), (0.9, True), terminates=True)], False, PAPER) == pytest.approx(7 / 5)
    a, b, c = (0.0, False), (0.9, True), (0.75, True)
    played = [click(a, b), click(b, c, hits=0), stop(c)]
    assert rewards(played, False, PAPER) == pytest.approx([4 / 5, (1 - 1 + 0 + 1) / 5, (1 + 2 + 1) / 5])


def test_the_papers_length_costs_from_the_sixth_step_on():
    state = (0.6, True)
    played = [click(state, state)] * 7 + [stop(state)]
    length = [parts["length"] for parts in breakdown(played, False, PAPER)]
    assert length == pytest.approx([0.2] * 5 + [-0.04, -0.08, -0.12])


def test_the_paper_pays_for_useless_clicks_in_the_first_steps():
    """Why it isn't our default."""
    state = (0.9, True)
    useless = click(state, state, hits=0)
    assert total([useless, stop(state)], False, PAPER) > total([stop(state)], False, PAPER)
    assert total([useless, stop(state)], False, DEFAULT) < total([stop(state)], False, DEFAULT)


# -- the published faults -----------------------------------------------------------------------------------


@EXAMPLES
@given(st.floats(1e-6, 1), st.sampled_from([0, 1]))
def test_published_never_strictly_prefers_stopping(iou, hits):
    """A click that changes nothing earns as much as to stop, more where it hits; and the play goes on."""
    state = (iou, True)
    useless = click(state, state, hits)
    (once,), (clicked,) = rewards([stop(state)], False, PUBLISHED), rewards([useless], False, PUBLISHED)
    assert clicked >= once - 1e-9 and (clicked > once) == bool(hits)
    assert total([useless] * 19 + [stop(state)], False, PUBLISHED) > once


def test_published_pays_the_tier_at_every_turn():
    state = (0.9, True)
    played = [click(state, state)] * 3 + [stop(state)]
    assert [parts["answer"] for parts in breakdown(played, False, PUBLISHED)] == pytest.approx([0.6] * 4)
    assert [parts["answer"] for parts in breakdown(played, False, PAPER)] == pytest.approx([0, 0, 0, 0.6])


def test_published_progress_means_any_overlap():
    high, low, none = (0.9, True), (0.1, True), (0.0, True)
    played = [click(high, low, 0), click(low, none, 0), stop(none)]
    assert [parts["progress"] for parts in breakdown(played, False, PUBLISHED)] == pytest.approx([0.2, 0, 0])
    assert [parts["progress"] for parts in breakdown(played, False, PAPER)] == pytest.approx([0, 0, 0])


def test_published_length_is_always_nothing():
    state = (0.6, True)
    assert all(p["length"] == 0 for p in breakdown([click(state, state)] * 20, False, PUBLISHED))


def test_published_scores_a_failure_of_the_tool_silently():
    a, b = (0.0, False), (0.9, True)
    failed = TurnFacts(True, *b[:1], *b, acts=True, tool_failed=True)
    assert rewards([click(a, b), failed], False, PUBLISHED) == pytest.approx([(1 + 3 + 1 + 1) / 5, 1 / 5])


def test_published_counts_two_empty_masks_as_no_overlap():
    nothing = (1.0, False)
    assert total([stop(nothing, absent=True)], True, PUBLISHED) == pytest.approx(1 / 5)
    assert total([stop(nothing, absent=True)], True, PAPER) == pytest.approx((1 + 3 + 1) / 5)


# -- configs ------------------------------------------------------------------------------------------------


@EXAMPLES
@given(episodes(), st.sampled_from(sorted(PRESETS)), st.sets(st.sampled_from(PARTS)))
def test_parts_add_up_one_by_one(episode, name, names):
    played, truth_empty = episode
    config = reward_config(name)
    whole = breakdown(played, truth_empty, config)
    expected = [sum(parts[n] for n in names) for parts in whole]
    assert rewards(played, truth_empty, config.only(*names)) == pytest.approx(expected)
    assert rewards(played, truth_empty, config) == pytest.approx([sum(parts.values()) for parts in whole])
    assert total(played, truth_empty, config) == pytest.approx(sum(rewards(played, truth_empty, config)))


@given(episodes(), st.sampled_from(sorted(PRESETS)))
def test_what_stopping_would_have_been_worth(episode, name):
    """At every turn but the first: the last reward of the episode that ends there."""
    played, truth_empty = episode
    config = reward_config(name)
    found = stopping(played, truth_empty, config)
    assert len(found) == len(played)
    for n in range(1, len(played)):
        now = last_state(played[:n], None)
        assert found[n] == pytest.approx(rewards([*played[:n], stop(now, not now[1])], truth_empty, config)[-1])


def test_weights_can_be_changed():
    state = (0.5, True)
    heavier = DEFAULT.weighted(answer=3.0, length=0.5)
    assert total([click(state, state), stop(state)], False, heavier) == pytest.approx(1.5 - 0.5)
    assert DEFAULT.part("answer").weight == 1.0


def test_unknown_names_list_the_known_ones():
    with pytest.raises(UnknownNameError, match="default, paper, published"):
        reward_config("best")
    for wrong in (lambda: DEFAULT.only("speed"), lambda: DEFAULT.weighted(silent=1.0)):
        with pytest.raises(UnknownNameError, match="format, answer, placement, progress, length"):
            wrong()


def test_turns_that_do_not_follow_each_other_are_refused():
    a, b = (0.2, True), (0.4, True)
    for played in ([click(a, b), click(a, b)], [stop(a), stop(a)]):
        with pytest.raises(StateError, match="follow each other"):
            rewards(played, False, DEFAULT)
    assert rewards([], False, DEFAULT) == () and total([], False, DEFAULT) == 0


@pytest.mark.parametrize(
    "wrong",
    [
        {"acts": True, "clicks": 1, "hits": 2},
        {"clicks": 1},
        {"iou_after": 1.1},
        {"iou_before": float("nan")},
        {"says_absent": True},
    ],
)
def test_facts_that_contradict_each_other_are_refused(wrong):
    with pytest.raises(ValueError):
        replace(TurnFacts(True, 0.0, 0.0, False), **wrong)


# -- facts of episodes that were really played --------------------------------------------------------------

SIDE, CENTRE, RADIUS = 64, (28, 36), 12
IN, OUT = "Positive Point (0.5703, 0.4453)", "Positive Point (0.1000, 0.9000)"
HIT, MISS = (f"<think>So.</think><action>{action}</action>" for action in (IN, OUT))
REVERT = "<think>No.</think><action>Revert</action>"
STOP = "<think>Good.</think><action>Terminate</action><answer>the disc</answer>"
ABSENT = "<think>None.</think><action>Terminate</action><answer>not found: no disc</answer>"
NOTHING = np.zeros((SIDE, SIDE), bool)


def disc():
    rows, columns = np.ogrid[:SIDE, :SIDE]
    return (rows - CENTRE[0]) ** 2 + (columns - CENTRE[1]) ** 2 <= RADIUS**2


@functools.cache
def scene():
    noise = np.random.default_rng(5).normal(0, 6, (SIDE, SIDE))
    volume = Volume.from_picture((60 + 100 * disc() + noise).astype(np.float32), name="disc")
    view = view_of(volume, Plane.AXIAL, 0)
    return volume, view, geodesic.build().open(view)


def start(given=None):
    packed = None if given is None else PackedMask.of(given)
    return begin(Prompted("the bright disc", Plane.AXIAL, 0, (SIDE, SIDE), given=packed))


def played(*answers, policy=None, given=None, tool=None, **options):
    volume, view, opened = scene()
    stage = Stage(volume, view, policy or scripted.build(answers), tool or opened)
    generator = run(start(given), stage, **options)
    while True:
        try:
            next(generator)
        except StopIteration as end:
            return end.value


class Faulty:
    """A policy that fails after so many answers."""

    name, dialect = "faulty", "ibis"

    def __init__(self, text, answers):
        self._text, self._left = text, answers

    def act(self, situation):
        self._left -= 1
        if self._left < 0:
            raise BackendError("The model has no memory left. Choose a smaller one.")
        yield self._text


class Broken:
    def segment(self, prompts, prior):
        raise BackendError("The tool is out of memory. Close something.")


def test_one_click_and_the_end():
    episode = played(HIT, STOP)
    iou = score(episode.mask_array(), disc(), None).iou
    assert iou > 0.9
    assert facts(episode, disc()) == (
        TurnFacts(True, 0.0, iou, True, acts=True, clicks=1, hits=1),
        TurnFacts(True, iou, iou, True, terminates=True),
    )
    assert total(facts(episode, disc()), False, DEFAULT) == pytest.approx(2 * iou - 0.02)


def test_the_oracle_hits_with_every_click_and_gains():
    truth = np.zeros((1, SIDE, SIDE), bool)
    truth[0] = disc()
    truth[0, 40:60, 5:12] = True  # something that a click on the disc doesn't reach
    episode = played(policy=oracle.build(truth, clicks=6, goal=0.99))
    *steps, closing = facts(episode, truth[0])
    assert len(steps) > 1 and all(turn.well_formed and turn.hits == turn.clicks == 1 for turn in steps)
    assert closing.terminates and not closing.says_absent and closing.well_formed
    ious = [score(step.mask.array(), truth[0], None).iou for step in episode.steps]
    assert [turn.iou_after for turn in steps] == ious
    assert [turn.iou_before for turn in (*steps, closing)] == [0.0, *ious]
    assert total(steps, False, DEFAULT.only("progress")) == pytest.approx(ious[-1])


def test_a_click_is_judged_against_the_mask_that_it_is_added_to():
    spilled = "<think>Out.</think><action>Negative Point (0.1000, 0.9000)</action>"
    everything = np.ones((SIDE, SIDE), bool)
    assert [t.hits for t in facts(played(HIT, HIT, MISS, STOP), disc())] == [1, 0, 0, 0]
    assert facts(played(spilled, STOP), disc())[0].hits == 0  # nothing was spilled there
    assert facts(played(spilled, STOP, given=everything), disc())[0].hits == 1
    assert facts(played(HIT, STOP, given=everything), disc())[0].hits == 0
    again = f"<think>Anew.</think><action>Discard, {IN}</action>"
    assert facts(played(again, STOP, given=everything), disc())[0].hits == 1
    back = f"<think>Back.</think><action>Revert, {IN}</action>"
    assert [t.hits for t in facts(played(HIT, back, STOP), disc())] == [1, 1, 0]
    both = f"<think>Two.</think><action>{IN}, {OUT}</action>"
    assert [(t.clicks, t.hits) for t in facts(played(both, STOP), disc())] == [(2, 1), (0, 0)]


def test_a_revert_gives_back_what_a_click_lost():
    played_back = facts(played(HIT, MISS, REVERT, STOP), disc())
    hit, miss, revert, _ = played_back
    assert miss.iou_after < hit.iou_after == revert.iou_after
    assert (revert.acts, revert.clicks, revert.terminates) == (True, 0, False)
    lost, won = rewards(played_back, False, DEFAULT)[1:3]
    assert lost + won == pytest.approx(-0.06)  # two turns and a miss


def test_a_box_is_no_click():
    box, _ = facts(played("<think>B.</think><action>Box (0.3, 0.2, 0.8, 0.7)</action>", STOP), disc())
    assert (box.acts, box.clicks, box.hits) == (True, 0, 0)


def test_without_a_thought_or_an_answer_a_turn_is_out_of_form():
    bare, silent = f"<action>{IN}</action>", "<think>Good.</think><action>Terminate</action>"
    assert [t.well_formed for t in facts(played(bare, STOP), disc())] == [False, True]
    assert [t.well_formed for t in facts(played(HIT, silent), disc())] == [True, False]
    assert not facts(played(HIT, "<action>Terminate</action><answer>x</answer>"), disc())[-1].well_formed


@pytest.mark.parametrize(("clicked", "truth_empty"), list(product([False, True], repeat=2)))
def test_not_present(clicked, truth_empty):
    """With a mask on the table, too: who says that there is nothing stands by an empty mask."""
    episode = played(*[HIT] * clicked, ABSENT)
    truth = NOTHING if truth_empty else disc()
    found = facts(episode, truth)
    assert found[-1].says_absent and found[-1].terminates and found[-1].has_mask == clicked
    expected = float(truth_empty) - 0.02 * clicked - 0.02 * (clicked and truth_empty)
    assert total(found, truth_empty, DEFAULT) == pytest.approx(expected)


def test_to_end_without_a_mask_is_to_say_that_there_is_nothing():
    (only,) = facts(played("<think>?</think><action>Terminate</action>"), disc())
    assert only.says_absent and total([only], False, DEFAULT) == 0


def test_the_step_limit_is_no_end():
    found = facts(played(HIT, MISS, limits=Limits(steps=2)), disc())
    assert len(found) == 2 and not any(turn.terminates for turn in found)


def test_a_click_along_with_the_end_is_one_turn():
    text = f"<think>At once.</think><action>{IN}, Terminate</action><answer>disc</answer>"
    (turn,) = facts(played(text), disc(), [True])
    assert (turn.acts, turn.clicks, turn.hits, turn.terminates, turn.well_formed) == (True, 1, 1, True, True)
    assert total([turn], False, DEFAULT) == pytest.approx(2 * turn.iou_after - 0.02)


def test_an_answer_that_can_not_be_read_is_a_turn_out_of_form():
    episode = played(HIT, "I can't see it.")
    assert episode.outcome is Outcome.FAILED
    hit, unread = facts(episode, disc(), [True, False])
    assert unread == TurnFacts(False, hit.iou_after, hit.iou_after, True)
    assert rewards([hit, unread], False, DEFAULT)[1] == pytest.approx(-0.12)


def test_answers_that_were_asked_for_again_stay_in_their_places():
    """One fact an answer, so that each reward finds the text that earned it."""
    found = facts(played(HIT, STOP), disc(), [False, True, False, True])
    assert [(t.well_formed, t.acts, t.terminates) for t in found] == [
        *((False, False, False), (True, True, False)),
        *((False, False, False), (True, False, True)),
    ]
    total(found, False, DEFAULT)


@pytest.mark.parametrize("readable", [None, [True], [False, True]])
def test_a_failure_of_the_tool_has_no_reward(readable):
    with pytest.raises(BackendError, match="out of memory"):
        facts(played(HIT, tool=Broken()), disc(), readable)
    *_, failed = found = facts(played(HIT, tool=Broken()), disc(), readable, silent=PUBLISHED.silent)
    assert failed.tool_failed and len(found) == len(readable or [True])
    assert rewards(found, False, PUBLISHED)[-1] == pytest.approx(1 / 5)
    with pytest.raises(BackendError, match="tool failed"):
        rewards(found, False, DEFAULT)


@pytest.mark.parametrize("answers", [0, 1])
@pytest.mark.parametrize("told", [False, True])
def test_a_failure_of_the_policy_has_no_reward(answers, told):
    episode = played(policy=Faulty(HIT, answers))
    with pytest.raises(BackendError, match="no memory"):
        facts(episode, disc(), [True] * answers if told else None)
    if told:  # there is no answer that could be scored, silently or not
        with pytest.raises(BackendError, match="no memory"):
            facts(episode, disc(), [True] * answers, silent=True)


def test_a_persons_work_is_not_rewarded():
    episode = advance(played(HIT, STOP), Painted(PackedMask.of(disc())))
    assert episode.steps[-1].author is Author.HUMAN
    with pytest.raises(StateError, match="A person worked"):
        facts(episode, disc())


@pytest.mark.parametrize("readable", [[], [True], [True] * 4, [False, False]])
def test_answers_that_do_not_fit_the_episode_are_refused(readable):
    with pytest.raises(StateError):
        facts(played(HIT, HIT, STOP), disc(), readable)
    with pytest.raises(StateError):
        facts(played(STOP), disc(), [False])


def test_a_truth_of_another_shape_is_refused():
    with pytest.raises(GridError):
        facts(played(HIT, STOP), disc()[1:])
