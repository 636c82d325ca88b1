"""How a policy wants to be played: mistakes go back to it, its own limit of turns, the picture that it is shown."""

from __future__ import annotations

import numpy as np
import pytest
from playground import HIT, MISS, OUT, STOP, stage, start

from napari_ibisagent.agent.runner import run
from napari_ibisagent.agent.stop import Limits
from napari_ibisagent.core.actions import Click
from napari_ibisagent.core.episode import Failed, Outcome, Overridden, Proposed, advance
from napari_ibisagent.core.overlay import PRESETS
from napari_ibisagent.core.protocols import Manner
from napari_ibisagent.policies.scripted import build

BAD = "<think>Hm.</think><action>Positive Point (1.5, 0.2)</action>"


def played(*turns, manner, answers=(), **options):
    """(the last state, the last event, what the policy was told was wrong with its answers)"""
    policy = build(turns)
    policy.manner, told, act, pieces = manner, [], policy.act, []

    def hearing(situation):
        told.append((situation.mistake, situation.observation))
        return act(situation)

    policy.act = hearing
    episode, reply, replies = start(), None, list(answers)
    generator = run(episode, stage(policy=policy), on_text=pieces.append, **options)
    while episode.outcome is None:
        event = generator.send(reply)
        episode = advance(episode, event)
        reply = replies.pop(0) if isinstance(event, Proposed) and replies else None
    return episode, event, told, "".join(pieces)


def test_a_mistake_goes_back_and_the_next_answer_counts():
    episode, _, told, heard = played(BAD, HIT, STOP, manner=Manner(repairs=1))
    assert (episode.outcome, len(episode.steps)) == (Outcome.DONE, 1)
    mistakes = [mistake for mistake, _ in told]
    assert mistakes[0] is mistakes[2] is None
    assert mistakes[1].text.strip() == BAD and "outside of the view" in mistakes[1].problem
    assert heard.splitlines()[0].strip() == BAD  # what was said is heard, also what couldn't be taken


def test_two_mistakes_are_too_many_for_one_repair():
    episode, event, told, _ = played(BAD, BAD, HIT, manner=Manner(repairs=1))
    assert isinstance(event, Failed) and episode.outcome is Outcome.FAILED and len(told) == 2
    assert played(BAD, BAD, HIT, STOP, manner=Manner(repairs=2))[0].outcome is Outcome.DONE


def test_without_repairs_the_first_mistake_ends_it():
    episode, _, told, _ = played(BAD, HIT, manner=Manner())
    assert episode.outcome is Outcome.FAILED and len(told) == 1


def test_the_same_click_again_is_a_mistake_and_then_counts():
    episode, _, told, _ = played(HIT, HIT, OUT, STOP, manner=Manner(repairs=1))
    assert episode.outcome is Outcome.DONE and len(episode.steps) == 2
    assert "same action" in told[2][0].problem
    stubborn, event, told, _ = played(*[HIT] * 9, manner=Manner(repairs=1))
    assert len(stubborn.steps) == 3 and stubborn.outcome is Outcome.STEP_LIMIT and len(told) == 5
    assert "same click" in event.reason


def test_a_click_that_a_person_replaced_may_be_wanted_again():
    _, _, told, _ = played(HIT, HIT, STOP, manner=Manner(repairs=1), answers=[Overridden((Click(0.1, 0.9, False),))])
    assert all(mistake is None for mistake, _ in told)


def test_its_own_limit_of_turns_holds_where_the_users_is_higher():
    turns = (HIT, MISS, OUT, HIT, STOP)
    assert len(played(*turns, manner=Manner(turns=2))[0].steps) == 2
    assert len(played(*turns, manner=Manner(turns=9), limits=Limits(steps=3))[0].steps) == 3
    assert len(played(*turns, manner=Manner(turns=2), limits=Limits(steps=3))[0].steps) == 2


@pytest.mark.parametrize(("named", "preset"), [("", "ibis"), ("medsam_agent", "medsam_agent")])
def test_it_is_shown_the_overlay_that_it_was_made_for(named, preset):
    episode, _, told, _ = played(HIT, STOP, manner=Manner(overlay=named))
    (_, before), (_, after) = told
    inside = episode.mask_array()
    assert (before == before[..., :1]).all() and np.array_equal(before[~inside], after[~inside])
    colour, alpha = np.array(PRESETS[preset].colour), PRESETS[preset].alpha
    assert np.abs(before[inside] * (1 - alpha) + colour * alpha - after[inside]).max() <= 1
