"""What a model reads before its next turn: with and without history, after a person's part, after a mistake."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest

from napari_ibisagent.core.actions import Box, Click, Revert, Terminate, Turn
from napari_ibisagent.core.dialects import dialect
from napari_ibisagent.core.dialects.conversation import Mistake, Speech, Templates, messages
from napari_ibisagent.core.episode import (
    Accepted,
    Author,
    Overridden,
    Painted,
    Prompted,
    Proposed,
    Rejected,
    Segmented,
    Thought,
    advance,
    begin,
)
from napari_ibisagent.core.packed import PackedMask
from napari_ibisagent.core.view import Plane
from napari_ibisagent.io.prompts import read_templates

SHAPE = (4, 5)
A, B, C = Click(0.5, 0.5, True), Click(0.25, 0.75, False), Click(0.125, 0.25, True)
TEMPLATES = Templates(
    "SYS", "FIRST $prompt", "REFINE $prompt {$step}", "WRONG $problem", "DID $actions", "NO $reason", "HAND"
)


def mask(count):
    return PackedMask.of(np.arange(20).reshape(SHAPE) < count)


def look(packed):
    return np.full((*SHAPE, 3), 0 if packed is None else packed.array().sum(), np.uint8)


def played(*events, prompt="the liver", given=None):
    episode = begin(Prompted(prompt, Plane.AXIAL, 0, SHAPE, given=given))
    for event in events:
        episode = advance(episode, event)
    return episode


def step(click, count, thought="I see it.", verdict=None):
    return (Thought(thought), Proposed((click,)), verdict or Accepted(), Segmented(mask(count), 0.5))


def read(episode, history=False, name="ibis", mistake=None):
    found = messages(episode, look, Speech(TEMPLATES, dialect(name).render, history), mistake)
    return [(m.role, m.text, None if m.picture is None else int(m.picture.max())) for m in found]


SYSTEM = ("system", "SYS", None)


@pytest.mark.parametrize("history", [False, True])
def test_the_first_turn(history):
    assert read(played(), history) == [SYSTEM, ("user", "FIRST the liver", 0)]
    assert read(played(given=mask(9)), history) == [SYSTEM, ("user", "REFINE the liver {1}", 9)]


def test_the_words_of_the_user_are_left_as_they_are():
    assert read(played(prompt="$step {of} $prompt"))[1][1] == "FIRST $step {of} $prompt"


def test_without_history_only_the_newest_picture_is_read():
    assert read(played(*step(A, 3), *step(B, 5))) == [SYSTEM, ("user", "REFINE the liver {3}", 5)]


def test_with_history_the_messages_only_grow():
    events = (*step(A, 3), *step(B, 5, verdict=Overridden((C,))), *step(C, 6, verdict=None))
    whole = read(played(*events), history=True)
    assert whole[1:5] == [
        ("user", "FIRST the liver", 0),
        ("assistant", "<think>I see it.</think><action>Positive Point (0.5000, 0.5000)</action>", None),
        ("user", "REFINE the liver {2}", 3),
        ("assistant", "<think>I see it.</think><action>Negative Point (0.2500, 0.7500)</action>", None),
    ]
    assert whole[5] == (
        "user",
        "DID <action>Positive Point (0.1250, 0.2500)</action>\nREFINE the liver {3}",
        5,
    )
    for count in (0, 4, 8, 12):
        earlier = read(played(*events[:count]), history=True)
        assert whole[: len(earlier)] == earlier


@pytest.mark.parametrize("history", [False, True])
def test_a_refusal_and_its_reason_are_told(history):
    refused = played(*step(A, 3), Thought("There."), Proposed((B,)), Rejected("That is the spleen."))
    assert read(refused, history)[-1] == ("user", "NO That is the spleen.\nREFINE the liver {3}", 3)
    later = played(*step(A, 3), Proposed((B,)), Rejected(), *step(C, 4))
    assert "NO" not in read(later, history)[-1][1]


@pytest.mark.parametrize("history", [False, True])
def test_what_a_person_did_alone_is_told_once_and_isnt_the_models_own(history):
    by_hand = (Proposed((B,), author=Author.HUMAN), Accepted(), Segmented(mask(7), 0.5), Painted(mask(8)))
    found = read(played(*step(A, 3), *by_hand), history)
    assert found[-1] == ("user", "HAND\nREFINE the liver {4}", 8)
    assert [role for role, *_ in found].count("assistant") == (1 if history else 0)


@pytest.mark.parametrize("history", [False, True])
def test_what_the_agent_took_back_is_told_until_the_end(history):
    told = replace(TEMPLATES, taken_back="BACK $actions")
    back = (Proposed((Revert(),)), Accepted(), Segmented(mask(0), 0.5))
    both = (Proposed((Revert(), C)), Accepted(), Segmented(mask(6), 0.5))

    def last(*events):
        speech = Speech(told, dialect("ibis").render, history)
        return messages(played(*events), look, speech)[-1].text

    assert last(*step(A, 3)) == "REFINE the liver {2}"
    one = "BACK <action>Positive Point (0.5000, 0.5000)</action>\n"
    assert last(*step(A, 3), *back) == f"{one}REFINE the liver {{3}}"
    # Once, also where it was made and taken back again; what is in force isn't named.
    assert last(*step(A, 3), *back, *step(A, 3), *back) == f"{one}REFINE the liver {{5}}"
    assert last(*step(A, 3), *back, *step(C, 4)) == f"{one}REFINE the liver {{4}}"
    two = "BACK <action>Positive Point (0.5000, 0.5000), Negative Point (0.2500, 0.7500)</action>\n"
    assert last(*step(A, 3), *back, *step(B, 4), *both) == f"{two}REFINE the liver {{5}}"
    # A person's own step says so itself.
    hand = (Proposed((Revert(),), author=Author.HUMAN), Accepted(), Segmented(mask(0), 0.5))
    assert "BACK" not in last(*step(A, 3), *hand)


def test_a_mistake_follows_with_what_was_wrong():
    found = read(played(*step(A, 3)), mistake=Mistake("<act>", "There is no action."))
    assert found[-3:] == [
        ("user", "REFINE the liver {2}", 3),
        ("assistant", "<act>", None),
        ("user", "WRONG There is no action.", None),
    ]


@pytest.mark.parametrize("name", ["ibis", "tool_calls"])
def test_the_shipped_sentences_name_what_the_dialect_reads(name):
    templates = read_templates(name)
    assert all(getattr(templates, part) for part in Templates.names())
    first, system = messages(played(), look, Speech(templates, dialect(name).render))[::-1]
    assert "the liver" in first.text and "$" not in first.text
    example = dialect(name).render(Turn("", (Click(420 / 999, 137 / 999, True),)))
    known = (
        ("Positive Point (", "Negative Point (", "Terminate", "<think>") if name == "ibis" else (example, "stop_action")
    )
    assert all(word in system.text for word in known)


HELD = [
    Turn("I see it.", (A,)),
    Turn("Two.", (Click(0, 1, False), Click(0.75, 0.25, True))),
    Turn("A box.", (Box(0.0, 0.25, 0.5, 1.0),)),
    Turn("Done.", (Terminate(),), "liver"),
]


@pytest.mark.parametrize("name", ["ibis", "tool_calls"])
@pytest.mark.parametrize("turn", HELD, ids=str)
def test_the_grammar_holds_a_model_to_what_is_read(name, turn):
    spoken = dialect(name)
    text = spoken.render(turn)
    if name == "tool_calls" and len(turn.actions) > 1:
        assert not re.fullmatch(spoken.grammar, text)  # one call a turn
        return
    assert re.fullmatch(spoken.grammar, text)
    spoiled = (
        text.replace("0.5000", "1.5000").replace("500", "5000").replace("Terminate", "Finish").replace("stop", "end")
    )
    if spoiled != text:
        assert not re.fullmatch(spoken.grammar, spoiled)
