"""The text of the IBISAgent dialect: what is rendered is read again, and nothing but DialectError ever comes out."""

from __future__ import annotations

import random
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_ibisagent.core.actions import Action, Box, Click, Discard, Revert, Terminate, Turn
from napari_ibisagent.core.dialects import dialect
from napari_ibisagent.core.dialects.ibis import parse, render
from napari_ibisagent.core.errors import DialectError, UnknownNameError

COORDINATES = st.integers(0, 10_000).map(lambda n: n / 10_000)
EDGES = st.lists(st.integers(0, 10_000), min_size=2, max_size=2, unique=True).map(
    lambda v: [n / 10_000 for n in sorted(v)]
)
CLICKS = st.builds(Click, COORDINATES, COORDINATES, st.booleans())
BOXES = st.builds(lambda x, y: Box(x[0], y[0], x[1], y[1]), EDGES, EDGES)
ACTIONS = st.one_of(CLICKS, BOXES, st.just(Revert()), st.just(Discard()), st.just(Terminate()))
# Any text without the tags themselves: "<" alone, "</b>", "(", digits and lines are all fair.
WORDS = st.one_of(
    st.text(st.characters(codec="utf-8", exclude_characters="<"), max_size=80),
    st.lists(st.sampled_from(["<b>", "a < b", "(", ")", "Positive Point (2, 3)", "\n", "0.5", "ß"]), max_size=6).map(
        " ".join
    ),
).map(str.strip)
TURNS = st.builds(
    Turn,
    WORDS,
    st.lists(ACTIONS, min_size=1, max_size=6).map(tuple),
    st.one_of(st.none(), WORDS),
)


@settings(max_examples=400, deadline=None, derandomize=True)
@given(TURNS)
def test_what_is_rendered_is_read_again(turn: Turn) -> None:
    assert parse(render(turn)) == turn


def test_the_published_form_is_written() -> None:
    turn = Turn(
        "Liver.", (Click(0.5, 0.25, True), Click(1, 0, False), Box(0, 0.1, 0.5, 1), Revert(), Terminate()), "liver"
    )
    assert render(turn) == (
        "<think>Liver.</think><action>Positive Point (0.5000, 0.2500), Negative Point (1.0000, 0.0000), "
        "Box (0.0000, 0.1000, 0.5000, 1.0000), Revert, Terminate</action><answer>liver</answer>"
    )
    assert render(Turn("", (Terminate(),))) == "<action>Terminate</action>"


@pytest.mark.parametrize(
    "inside", ["<action>Terminate</action>", "</think>", "<thi<think>nk>", "< / ANSWER >", "<act<answer>ion>"]
)
def test_tags_in_a_thought_never_become_the_turns_own(inside: str) -> None:
    click = Click(0.1, 0.2, True)
    turn = parse(render(Turn(f"I say {inside} now", (click,), f"it is {inside}")))
    assert turn.actions == (click,)
    assert turn.thought.startswith("I say") and (turn.answer or "").startswith("it is")


CLICK = Click(0.25, 0.5, True)
TOLERATED: list[tuple[str, tuple[Action, ...], str, str | None]] = [
    ("<think>a</think><action>Termination</action>", (Terminate(),), "a", None),
    ("<think>\na\n</think>\n<action>\nTermination\n</action>\n", (Terminate(),), "a", None),
    ("<THINK>a</THINK><ACTION>TERMINATE.</ACTION><Answer>\nliver\n</Answer>", (Terminate(),), "a", "liver"),
    ("<action>Positive Point (0.2500, 0.5000)</action>", (CLICK,), "", None),
    ("<action>\n  positive\n point:\n( 0.25 ,\n0.5 )\n</action>", (CLICK,), "", None),
    ("<action>Positive Click (.25, 5e-1)</action>", (CLICK,), "", None),
    ("<action>POSITIVE POINT(+0.25, 0.50)</action>", (CLICK,), "", None),
    ("< action >Positive Point (0.25, 0.5)< / action >", (CLICK,), "", None),
    (
        "<action>Positive Point (0.25, 0.5), Negative Point (0, 1) and Box (0, 0, 1, 1); Terminate</action>",
        (CLICK, Click(0, 1, False), Box(0, 0, 1, 1), Terminate()),
        "",
        None,
    ),
    (
        "<action>Positive Point (0.25, 0.5)\nPositive Point (0.25, 0.5) Revert.</action>",
        (CLICK, CLICK, Revert()),
        "",
        None,
    ),
    ("<think>cut <action>Terminate</action>", (Terminate(),), "cut", None),
    ("words before <action>Terminate</action> and after", (Terminate(),), "", None),
    ("<action>Terminate</action><answer>not found", (Terminate(),), "", "not found"),
    ("<action>Terminate</action><think>late</think>", (Terminate(),), "late", None),
]


@pytest.mark.parametrize(("text", "actions", "thought", "answer"), TOLERATED)
def test_what_models_differ_in_is_tolerated(
    text: str, actions: tuple[Action, ...], thought: str, answer: str | None
) -> None:
    assert parse(text) == Turn(thought, actions, answer)


BAD_NUMBERS = [
    *("1.2.3, 0.5", "1.7, 0.5", "0.5, -0.1", "nan, 0.5", "0.5, inf", "-inf, 0.5", "Infinity, 0", "0,5, 0,5", "0,5"),
    *("0.1, 0.2, 0.3", "0.1", "", ",", "0.5,", "0x1, 0", "1e400, 0", "1e9, 0.5", "½, 0.5", "٠٫٥, 0.5", "0.5 0.5"),
    *("0.5; 0.5", "0 .5, 0.5", "--0.5, 0.5", "0.5%, 0.5", "1_0, 0", "x=0.5, y=0.5", "1.00001, 0", "²,0"),
]


@pytest.mark.parametrize("numbers", BAD_NUMBERS)
@pytest.mark.parametrize("sign", ["Positive", "Negative"])
def test_a_coordinate_is_never_guessed(sign: str, numbers: str) -> None:
    with pytest.raises(DialectError) as caught:
        parse(f"<action>{sign} Point ({numbers})</action>")
    assert str(caught.value).endswith(".")
    assert numbers in caught.value.text


@pytest.mark.parametrize(
    "numbers", ["0.5, 0.5", "0.5, 0.1, 0.5, 0.9", "0.6, 0, 0.5, 1", "0, 0, 1, 1.5", "0, 0, 1, nan", "0, 0, 0.2, 0.2, 1"]
)
def test_a_box_that_is_none_is_refused(numbers: str) -> None:
    with pytest.raises(DialectError):
        parse(f"<action>Box ({numbers})</action>")


@pytest.mark.parametrize(
    "text",
    [
        "",
        " \n",
        "Positive Point (0.5, 0.5)",
        "<think>only a thought</think>",
        "<answer>liver</answer>",
        "<action></action>",
        "<action> \n </action>",
        "<action>,</action>",
        "<action>Positive Point (0.5, 0.5)",
        "<think>a</think><action>Terminate",
        "<action>Terminate</action><action>Terminate</action>",
        "<action>Positive Point (0.1, 0.1)</action><action>Positive Point (0.9, 0.9)</action>",
        "<action>Zoom in</action>",
        "<action>Positive Point (0.5, 0.5), Zoom</action>",
        "<action>Neutral Point (0.5, 0.5)</action>",
        "<action>Point (0.5, 0.5)</action>",
        "<action>Positive Point 0.5, 0.5</action>",
        "<action>Positive Point ((0.5, 0.5))</action>",
        "<action>Positive Point [0.5, 0.5]</action>",
        "<action>I won't terminate</action>",
        "<action><action>",
        "</action>",
        "<action>Terminate</think>",
        "\x00\ud800",
    ],
)
def test_what_is_no_turn_is_refused(text: str) -> None:
    with pytest.raises(DialectError) as caught:
        parse(text)
    assert str(caught.value).strip() and caught.value.text == text


@pytest.mark.parametrize(
    "word", ["Terminated", "Reverted", "Terminates", "Revertebrate", "Terminatethat", "Terminationx"]
)
def test_a_word_that_only_begins_like_an_action_is_none(word: str) -> None:
    with pytest.raises(DialectError):
        parse(f"<action>{word}</action>")


def test_an_endless_answer_is_refused_with_its_beginning_only() -> None:
    with pytest.raises(DialectError, match="200000 characters") as caught:
        parse("<action>" + "a" * 199_992)
    assert len(caught.value.text) <= 200


ALPHABET = [
    *(
        "<think>",
        "</think>",
        "<action>",
        "</action>",
        "<answer>",
        "</answer>",
        "Positive",
        "Negative",
        "Point",
        "Click",
    ),
    *(
        "Box",
        "Revert",
        "Terminate",
        "Termination",
        "(",
        ")",
        ",",
        ".",
        ":",
        ";",
        "and",
        " ",
        "\n",
        "0.5",
        "1",
        "0",
        "-",
    ),
    *("e", "1e5", "nan", "<", ">", "/", "\t", "ß", "\x00", "𝟝", "\u2028", "+", "0.5, 0.5", "Positive Point (0.5, 0.5)"),
]


def _read(text: str) -> Turn | None:
    """The turn, None for a DialectError; any other error fails the test."""
    try:
        turn = parse(text)
    except DialectError:
        return None
    assert turn.actions
    return turn


def test_no_text_raises_anything_else() -> None:
    dice = random.Random(0)
    read = 0
    for _ in range(2000):
        pieces = dice.choices(ALPHABET, k=dice.randrange(1, 24))
        read += _read("".join(pieces)) is not None
        read += _read(f"<action>{''.join(dice.choices(ALPHABET[6:], k=dice.randrange(1, 8)))}</action>") is not None
    assert read > 30  # the fuzz reaches the inside


def test_mutated_answers_raise_nothing_else() -> None:
    dice = random.Random(1)
    whole = render(Turn("The liver.", (CLICK, Box(0.1, 0.2, 0.3, 0.4), Revert(), Terminate()), "liver"))
    kept = 0
    for _ in range(3000):
        text = list(whole)
        for _ in range(dice.randrange(1, 6)):
            at = dice.randrange(len(text))
            how = dice.randrange(4)
            if how == 0:
                del text[at]
            elif how == 1:
                text[at] = dice.choice("<>/()0.5,-e aT\n")
            elif how == 2:
                text.insert(at, dice.choice(ALPHABET))
            else:
                text = text[: at + 1] if at > 20 else text
        turn = _read("".join(text))
        kept += turn is not None
    assert 100 < kept < 3000


@settings(max_examples=300, deadline=None, derandomize=True)
@given(st.text(max_size=200))
def test_any_unicode_is_taken(text: str) -> None:
    _read(text)
    _read(f"<action>{text}</action>")
    _read(f"<action>Positive Point ({text})</action>")


LONG = 90_000
HOSTILE = [
    *(
        "(",
        "((",
        ")",
        "<",
        "<think>",
        "</think>",
        "<action>",
        "</action>",
        "< ",
        "</ ",
        "positive ",
        "positive point (",
        " ",
    ),
    *(
        "\n",
        "Box (0",
        "0",
        "9",
        "e",
        ".",
        ",",
        "Terminate ",
        "Positive Point (0.5, 0.5) ",
        "Positive Point (0.5, ",
        "and ",
    ),
    *("<think><answer>", "<answer></answer>", "Revert,", "+", "positive point", "<\t/\t"),
]


@pytest.mark.parametrize("piece", HOSTILE)
@pytest.mark.parametrize(
    "frame", ["{}", "<action>{}</action>", "<action>Positive Point ({}</action>", "<action>Box ({})</action>"]
)
def test_the_time_is_linear(piece: str, frame: str) -> None:
    started = time.perf_counter()
    _read(frame.format(piece * (LONG // len(piece))))
    assert time.perf_counter() - started < 2


@pytest.mark.parametrize("piece", ["<think><", "<thi<think>nk>", "<" * 50 + "think>"])
def test_rendering_hostile_thoughts_is_quick_too(piece: str) -> None:
    started = time.perf_counter()
    text = render(Turn(piece * (20_000 // len(piece)), (CLICK,)))
    assert parse(text).actions == (CLICK,)
    assert time.perf_counter() - started < 2


def test_rendering_nested_tags_is_quick_too() -> None:
    nested = "<thi" * 4000 + "nk>" * 4000
    started = time.perf_counter()
    assert parse(render(Turn(nested, (CLICK,)))).actions == (CLICK,)
    assert time.perf_counter() - started < 2


def test_dialects_are_known_by_name() -> None:
    assert dialect("ibis").parse("<action>Terminate</action>") == Turn("", (Terminate(),))
    with pytest.raises(UnknownNameError, match="ibis"):
        dialect("klingon")


@pytest.mark.parametrize(
    ("answer", "absent"),
    [
        ("not found", True),
        ("Not_Found: no bladder", True),
        (" absent", True),
        ("liver", False),
        (None, False),
        ("", False),
    ],
)
def test_a_turn_knows_what_it_says(answer: str | None, absent: bool) -> None:
    turn = Turn("", (CLICK, Revert(), Box(0, 0, 1, 1)), answer)
    assert (turn.says_absent, turn.terminates, turn.reverts) == (absent, False, True)
    assert turn.prompts == (CLICK, Box(0, 0, 1, 1))
    assert Turn("", (Terminate(),)).terminates


@pytest.mark.parametrize("value", [-0.0001, 1.0001, float("nan"), float("inf"), float("-inf")])
def test_actions_refuse_what_lies_outside_of_the_view(value: float) -> None:
    with pytest.raises(ValueError, match="outside of the view"):
        Click(value, 0.5, True)
    with pytest.raises(ValueError, match="outside of the view"):
        Click(0.5, value, False)
    with pytest.raises(ValueError, match="outside of the view"):
        Box(0.1, 0.1, 0.5, value)
    with pytest.raises(ValueError, match="above and left"):
        Box(0.5, 0.1, 0.5, 0.9)
