"""The tool-call dialect: what is rendered is read again, the published form is read, and nothing is guessed."""

from __future__ import annotations

import json
import random
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_ibisagent.core.actions import Box, Click, Discard, Revert, Terminate, Turn
from napari_ibisagent.core.dialects import dialect
from napari_ibisagent.core.dialects.tool_calls import LAST, parse, render
from napari_ibisagent.core.errors import DialectError

PLACES = st.integers(0, LAST).map(lambda n: n / LAST)
EDGES = st.lists(st.integers(0, LAST), min_size=2, max_size=2, unique=True).map(lambda v: [n / LAST for n in sorted(v)])
PROMPTS = st.one_of(
    st.builds(Click, PLACES, PLACES, st.booleans()), st.builds(lambda x, y: Box(x[0], y[0], x[1], y[1]), EDGES, EDGES)
)
ACTIONS = st.one_of(PROMPTS, st.just(Revert()), st.just(Discard()))
WORDS = st.text(st.characters(codec="utf-8", exclude_characters="<"), max_size=80).map(str.strip)
ANSWERS = st.text(st.characters(codec="utf-8"), max_size=60).map(str.strip)
ENDED = st.builds(lambda t, a, w: Turn(t, (*a, Terminate()), w), WORDS, st.lists(ACTIONS, max_size=4), ANSWERS)
TURNS = st.one_of(st.builds(Turn, WORDS, st.lists(ACTIONS, min_size=1, max_size=5).map(tuple)), ENDED)


def call(name, **arguments):
    return f"<tool_call>\n{json.dumps({'name': name, 'arguments': arguments})}\n</tool_call>"


@settings(max_examples=300, deadline=None, derandomize=True)
@given(TURNS)
def test_what_is_rendered_is_read_again(turn):
    assert parse(render(turn)) == turn


def test_the_published_form():
    turn = Turn("The liver.", (Box(0.0, 0.2002002002002002, 0.5005005005005005, 1.0),))
    text = call("add_bbox", bbox_2d=[0, 200, 500, 999])
    assert parse(f"The liver.\n{text}") == turn and render(turn) == f"The liver.\n{text}"
    negative = parse(call("add_point", point_2d=[999, 0], point_type="negative"))
    assert negative == Turn("", (Click(1.0, 0.0, False),))
    assert parse(call("stop_action")) == Turn("", (Terminate(),))
    assert dialect("tool_calls").parse is parse


@pytest.mark.parametrize(
    ("text", "turn"),
    [
        ("<think>\nHere.\n</think>\n" + call("stop_action"), Turn("Here.", (Terminate(),))),
        ('<TOOL_CALL> {"name": "stop_action"} </TOOL_CALL>', Turn("", (Terminate(),))),
        ('<tool_call>{"name": "stop_action", "arguments": {}}', Turn("", (Terminate(),))),  # cut at the end token
        (
            '<tool_call>{"name": "Add_Point", "arguments": {"point_2d": [0, 999.0], "point_type": "Positive "}}'
            '<tool_call>{"name": "stop_action", "arguments": {"answer": " not found "}}</tool_call> and more',
            Turn("", (Click(0, 1, True), Terminate()), "not found"),
        ),
    ],
)
def test_what_models_differ_in(text, turn):
    assert parse(text) == turn


BAD = [
    "",
    "I would click in the middle.",
    "<tool_call></tool_call>",
    "<tool_call>add_point(5, 5)</tool_call>",
    '<tool_call>["add_point"]</tool_call>',
    '<tool_call>{"name": 5}</tool_call>',
    '<tool_call>{"name": "add_point", "arguments": [1, 2]}</tool_call>',
    '<tool_call>{"name": "add_point", "arguments": {"point_2d": [1, 2], "point_type": "positive"',
    call("zoom_in", bbox_2d=[0, 0, 5, 5]),
    call("add_point", point_2d=[5, 5]),
    call("add_point", point_2d=[5, 5], point_type="maybe"),
    call("add_point", point_2d=[5, 5], point_type=[[]]),
    call("add_point", point_2d=[5, 1000], point_type="positive"),
    call("add_point", point_2d=[-1, 5], point_type="positive"),
    call("add_point", point_2d=[0.5, 0.5], point_type="positive"),
    call("add_point", point_2d=[True, 5], point_type="positive"),
    call("add_point", point_2d=["5", "5"], point_type="positive"),
    call("add_point", point_2d=[float("nan"), 5], point_type="positive"),
    call("add_point", point_2d=[float("inf"), 5], point_type="positive"),
    call("add_point", point_2d="5, 5", point_type="positive"),
    call("add_point", point_2d=[5, 5, 5], point_type="positive"),
    call("add_bbox", bbox_2d=[5, 5, 5, 9]),
    call("add_bbox", bbox_2d=[9, 5, 5, 9]),
    call("add_bbox"),
]


@pytest.mark.parametrize("text", BAD)
def test_nothing_is_guessed(text):
    with pytest.raises(DialectError) as caught:
        parse(text)
    assert str(caught.value).endswith(".") and caught.value.text == text


@pytest.mark.parametrize("inside", ["<tool_call>", "</tool_call>", "<tool<think>_call>", "</think>"])
def test_tags_in_words_never_become_the_turns_own(inside):
    turn = parse(render(Turn(f"I say {inside} now", (Terminate(),), f"it is {inside} there")))
    assert turn.actions == (Terminate(),) and turn.answer == f"it is {inside} there"
    assert turn.thought.startswith("I say")


def _read(name, text):
    """Any error but the typed one fails the test."""
    try:
        turn = dialect(name).parse(text)
    except DialectError:
        return None
    assert turn.actions
    return turn


SEEDS = {
    "ibis": "<think>The liver.</think><action>Positive Point (0.2500, 0.5000), Box (0.1, 0.2, 0.3, 0.4), "
    "Negative Point (1.0000, 0.0000), Terminate</action><answer>liver</answer>",
    "tool_calls": "<think>The liver.</think>"
    + call("add_bbox", bbox_2d=[1, 2, 30, 40])
    + call("add_point", point_2d=[250, 999], point_type="negative")
    + call("stop_action", answer="liver"),
}
PIECES = [*'<>/()[]{}",:0.5-eE+ aT\n\\\x00ßΩ', "</tool_call>", "<tool_call>", "</action>", "<action>", "NaN", "1e999"]
PIECES += ["[" * 40, "null", "true", "\\ud800", "9" * 30, "positive", "name", "stop_action", "\u2028", "Terminate"]


def mutated(dice, seed):
    text = list(seed)
    for _ in range(dice.randrange(1, 5)):
        at = dice.randrange(len(text))
        how = dice.randrange(5)
        if how == 0:
            del text[at : at + dice.choice((1, 1, 1, 12))]
        elif how == 1:
            text[at] = dice.choice(PIECES)
        elif how == 2:
            text.insert(at, dice.choice(PIECES))
        elif how == 3:
            other = dice.randrange(len(text))
            text[at:at] = text[min(at, other) : max(at, other)]
        elif at > 20:
            del text[at:]
        text = text or ["<"]
    return "".join(text)


@pytest.mark.parametrize("name", SEEDS)
def test_a_hundred_thousand_mutated_answers_raise_nothing_else(name):
    dice = random.Random(3)
    read = sum(_read(name, mutated(dice, SEEDS[name])) is not None for _ in range(50_000))
    assert 3_000 < read < 40_000  # the mutations reach the inside, and not only it


@pytest.mark.parametrize("piece", ["<", "<tool_call>", "< ", "</", '{"a":', "[", '"', "9", "\\", "<tool_call>{"])
@pytest.mark.parametrize("frame", ["{}", "<tool_call>{}</tool_call>", "<tool_call>{}"])
def test_long_answers_take_no_time(piece, frame):
    started = time.perf_counter()
    _read("tool_calls", frame.replace("{}", piece * (90_000 // len(piece))))
    assert time.perf_counter() - started < 2
