"""Episodes played from outside are those of the runner, letter by letter; and what other trainers are given of them."""

from __future__ import annotations

import base64
import functools
import io
import json
import threading
import tomllib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image
from trajectory_strategies import TURN

pytest.importorskip("torch")

from napari_ibisagent.agent.runner import Stage, run
from napari_ibisagent.agent.stop import Limits
from napari_ibisagent.core.dialects import dialect
from napari_ibisagent.core.dialects.conversation import Message, Speech, messages
from napari_ibisagent.core.episode import Outcome, Prompted, begin
from napari_ibisagent.core.errors import BackendError, InputError, StateError
from napari_ibisagent.core.protocols import Manner
from napari_ibisagent.core.volume import Volume
from napari_ibisagent.evaluation.metrics import score
from napari_ibisagent.evaluation.rewards import reward_config, rewards
from napari_ibisagent.evaluation.turn_facts import facts
from napari_ibisagent.io.prompts import read_templates
from napari_ibisagent.policies.qwen_vl.memory import Memory
from napari_ibisagent.segmenters import geodesic
from napari_ibisagent.training.nano.tasks import Invented
from napari_ibisagent.training.rl.driver import Driver
from napari_ibisagent.training.rl.named_exercises import named_exercises
from napari_ibisagent.training.rl.rows import write_rows
from napari_ibisagent.training.rl.swift_scheduler import as_base64
from napari_ibisagent.training.rl.terms import Terms, read_terms
from napari_ibisagent.training.rl.wire import as_chat, plain
from napari_ibisagent.training.trajectories.filters import Filters
from napari_ibisagent.training.trajectories.simulate import REFLECTION, Recipe
from napari_ibisagent.training.trajectories.synthesis import Order, synthesise
from napari_ibisagent.training.trajectories.writing import Folder

RECIPES = Path(__file__).resolve().parents[2] / "resources" / "training"
REWARD, LIMITS = reward_config("default"), Limits(5)
STOP = "<think>It fits.</think><action>Terminate</action><answer>the target</answer>"
ABSENT = "<think>Nothing.</think><action>Terminate</action><answer>not found: it isn't there</answer>"
GARBAGE = "I would rather not."
ANSWERS = st.one_of(
    TURN.map(dialect("ibis").render), st.sampled_from([STOP, ABSENT, GARBAGE, "", "<action>Positive Point (7, 7)"])
)


@functools.cache
def exercise(number=0, absent=False):
    """A slice that shows what is asked for, or doesn't."""
    made = (Invented(0, 10**6, 5, wrongly_given=0.5).exercise(n) for n in range(number, 10**6))
    return next(one for one in made if one.truth.any() != absent)


def speech(history=True, name="ibis"):
    return Speech(read_templates(name), dialect(name).render, history)


def driver(history=True, repairs=0, limits=LIMITS, tool=None):
    return Driver(tool or geodesic.build(), speech(history), "ibis", Manner(repairs=repairs), limits)


def inside(one, positive=True):
    """A click in the middle of the target."""
    rows, columns = np.nonzero(one.truth)
    at = len(rows) // 2
    x, y = (columns[at] + 0.5) / one.truth.shape[1], (rows[at] + 0.5) / one.truth.shape[0]
    return f"<think>There.</think><action>{'Positive' if positive else 'Negative'} Point ({x:.4f}, {y:.4f})</action>"


class Listener:
    """A policy with all answers at hand, which writes down what it reads: what the driver is compared with."""

    name, dialect = "in training", "ibis"

    def __init__(self, texts, history, repairs):
        self.manner = Manner(repairs=repairs)
        self.left, self.read = list(texts), []
        self._memory = Memory(dialect("ibis").parse, speech(history))

    def act(self, situation):
        self.read.append(messages(situation.episode, situation.look, self._memory.speech(), situation.mistake))
        if not self.left:
            raise EOFError
        text = self.left.pop(0)
        self._memory.remember(text)
        yield text


def by_the_runner(one, texts, history, repairs, limits):
    """(what was read each time, how many answers were heard, the episode) by the runner alone."""
    view = one.view
    policy = Listener(texts, history, repairs)
    stage = Stage(Volume.from_picture(view.image), view, policy, geodesic.build().open(view), one.window)
    episode = begin(Prompted(one.prompt, view.plane, view.index, view.shape, given=one.given))
    play = run(episode, stage, limits=limits)
    try:
        while True:
            next(play)
    except StopIteration as end:
        return policy.read, len(texts) - len(policy.left), end.value
    except EOFError:
        return policy.read, len(texts), None


def same(read, wanted):
    """Whether two tuples of messages say and show the same."""
    pairs = list(zip(read, wanted, strict=True))
    said = all((a.role, a.text) == (b.role, b.text) for a, b in pairs)
    return said and all(
        (a.picture is None and b.picture is None) or np.array_equal(a.picture, b.picture) for a, b in pairs
    )


def timeless(episode):
    return replace(episode, steps=tuple(replace(step, ms=0.0) for step in episode.steps))


# -- the driver ------------------------------------------------------------------------------------------------


@settings(max_examples=60, deadline=None)
@given(st.lists(ANSWERS, max_size=7), st.booleans(), st.integers(0, 2), st.integers(0, 3), st.booleans())
def test_the_driver_plays_what_the_runner_plays(texts, history, repairs, number, absent):
    one, limits = exercise(number, absent), LIMITS
    wanted, heard, ended = by_the_runner(one, texts, history, repairs, limits)
    play = driver(history, repairs, limits)
    read = [play.begin(one)]
    feedback = None
    for text in texts:
        feedback = play.answer(text)
        if feedback.done:
            assert not feedback.messages
            break
        read.append(feedback.messages)
    assert play.answers == heard
    assert all(same(*pair) for pair in zip(read, wanted, strict=True))
    if ended is not None:
        assert feedback is not None and feedback.outcome is ended.outcome
        assert timeless(play.episode) == timeless(ended)
    # One number an answer, and only progress and a right end are ever worth anything.
    earned = play.rewards(REWARD)
    assert len(earned) == play.answers
    assert play.reward(REWARD) == pytest.approx(sum(earned)) and -3 < sum(earned) <= 2


@settings(max_examples=30, deadline=None)
@given(st.lists(ANSWERS, min_size=1, max_size=6))
@example(["<action>Negative Point (0, 0)</action>", "<action>Negative Point (0, 0)</action><answer></answer>"])
def test_without_repairs_the_messages_only_grow(texts):
    play = driver()
    before = play.begin(exercise())
    for text in texts:
        feedback = play.answer(text)
        if feedback.done:
            return
        assert same(feedback.messages[:-1], (*before, Message("assistant", text)))
        assert feedback.messages[-1].role == "user" and feedback.messages[-1].picture is not None
        before = feedback.messages


@pytest.mark.parametrize("texts", [(STOP,), ("click", STOP), ("click",), (GARBAGE,), ("click", "click", ABSENT)])
def test_the_reward_is_the_evaluations(texts):
    one = exercise()
    play = driver()
    play.begin(one)
    for text in texts:
        play.answer(inside(one) if text == "click" else text)
    readable = [text != GARBAGE for text in texts]
    assert play.rewards(REWARD) == rewards(facts(play.episode, one.truth, readable), False, REWARD)
    if texts == ("click", STOP):
        overlap = score(play.episode.mask_array(), one.truth, None).iou
        assert play.reward(REWARD) == pytest.approx(2 * overlap - 0.02, abs=1e-6)


def test_an_unreadable_answer_ends_the_episode_and_costs():
    play = driver()
    play.begin(exercise())
    feedback = play.answer(GARBAGE)
    assert (feedback.done, feedback.taken, feedback.outcome) == (True, False, Outcome.FAILED)
    assert play.reward(REWARD) < 0
    with pytest.raises(StateError, match="over"):
        play.answer(STOP)


def test_a_mistake_goes_back_and_counts_as_an_answer():
    one = exercise()
    play = driver(repairs=1)
    play.begin(one)
    feedback = play.answer(GARBAGE)
    assert not feedback.done and not feedback.taken
    assert [m.role for m in feedback.messages[-2:]] == ["assistant", "user"]
    assert play.rewards(REWARD)[0] < 0 and play.answers == 1
    assert play.answer(inside(one)).taken
    assert len(play.rewards(REWARD)) == 2


def test_a_driver_is_used_again_and_forgets():
    play = driver()
    play.begin(exercise(0))
    play.answer(inside(exercise(0)))
    fresh = driver().begin(exercise(1))
    assert same(play.begin(exercise(1)), fresh)
    assert play.answers == 0 and play.rewards(REWARD) == ()
    assert play.exercise is exercise(1)


def test_nothing_is_held_open_between_two_answers():
    before = threading.active_count()
    plays = [driver() for _ in range(50)]
    for play in plays:
        play.begin(exercise())
        play.answer(inside(exercise()))
    assert threading.active_count() == before


class Broken:
    """A tool that fails when it is asked, or when it looks."""

    name = "broken"

    def __init__(self, at):
        self._at = at

    def open(self, view):
        if self._at == "open":
            raise BackendError("The tool is broken. Choose another.")
        return self

    def segment(self, prompts, prior):
        raise BackendError("The tool is broken. Choose another.")


@pytest.mark.parametrize("at", ["open", "segment"])
def test_a_failing_tool_raises_and_is_never_rewarded(at):
    play = driver(tool=Broken(at))
    play.begin(exercise())
    with pytest.raises(BackendError, match="broken"):
        play.answer(inside(exercise()))
    with pytest.raises(BackendError, match="no reward"):
        play.reward(REWARD)
    play.begin(exercise())
    assert play.answer(ABSENT).done  # it wasn't asked


def test_before_the_beginning_there_is_nothing():
    play = driver()
    for ask in (lambda: play.episode, lambda: play.answer(STOP), lambda: play.reward(REWARD)):
        with pytest.raises(StateError, match="begun"):
            ask()


# -- terms, exercises by name, rows ----------------------------------------------------------------------------


def write(path, **values):
    path.write_text("".join(f"{name} = {json.dumps(value)}\n" for name, value in values.items()), "utf-8")
    return path


def test_terms_are_read_and_play(tmp_path):
    (tmp_path / "own.toml").write_text('first = "Look: $prompt"\n', "utf-8")
    path = write(tmp_path / "terms.toml", exercises="made-up:3:20", tool="geodesic", prompts="own.toml", steps=2)
    terms = read_terms(path)
    assert terms == Terms("made-up:3:20", "geodesic", prompts=str(tmp_path / "own.toml"), steps=2)
    one = terms.named().exercise("4")
    play = terms.driver()
    begun = play.begin(replace(one, given=None))
    assert begun[-1].text == f"Look: {one.prompt}"
    assert terms.config == REWARD
    # The same click again ends nothing; the turns do.
    click = "<action>Positive Point (0.5000, 0.5000)</action>"
    assert [play.answer(click).outcome for _ in range(2)] == [None, Outcome.STEP_LIMIT]


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({}, "what is played"),
        ({"exercises": "x", "speed": 1}, "unknown term speed"),
        ({"exercises": "x", "steps": "8"}, "should be int"),
        ({"exercises": "x", "history": 1}, "should be bool"),
    ],
)
def test_wrong_terms_are_refused(tmp_path, values, words):
    with pytest.raises(InputError, match=words):
        read_terms(write(tmp_path / "terms.toml", **values))


def test_terms_that_cannot_be_played_are_refused(tmp_path):
    with pytest.raises(InputError, match="can't be read"):
        read_terms(tmp_path / "missing.toml")
    with pytest.raises(InputError, match="0 turns"):
        Terms("made-up:0:9", steps=0).driver()
    with pytest.raises(InputError, match="no overlay"):
        Terms("made-up:0:9", overlay="pink").driver()


@pytest.mark.parametrize("where", ["made-up", "made-up:1", "made-up:x:9", "made-up:1:0", "made-up:1:2:3"])
def test_exercises_that_are_not_named_well(where):
    with pytest.raises(InputError, match="SEED:COUNT"):
        named_exercises(where)


def test_made_up_exercises_by_name():
    named = named_exercises("made-up:7:12")
    assert named.names() == [str(n) for n in range(12)]
    again = Invented(0, 12, 7).exercise(5)
    assert np.array_equal(named.exercise("5").view.image, again.view.image)
    for name in ("12", "-1", "five"):
        with pytest.raises(InputError, match="no exercise"):
            named.exercise(name)


@pytest.fixture(scope="module")
def trajectories(tmp_path_factory):
    """A folder of trajectories of made-up slices, some of which begin with a wrong mask."""
    path = tmp_path_factory.mktemp("trajectories")
    order = Order(Recipe(most=3, stories=REFLECTION), Filters(iou=0.0), "geodesic")
    with Folder(path) as folder:
        assert len(list(synthesise([Invented(0, 12, 3)], order, folder))) == 12
    return path


def test_recorded_exercises_are_those_that_were_played(trajectories):
    named = named_exercises(str(trajectories))
    assert len(named.names()) == 12
    for number, name in enumerate(named.names()):
        played, made = named.exercise(name), Invented(0, 12, 3).exercise(number)
        assert (played.prompt, played.name) == (made.prompt, made.name)
        assert np.array_equal(played.view.image, made.view.image) and np.array_equal(played.truth, made.truth)
    assert any(named.exercise(name).given is not None for name in named.names())
    with pytest.raises(InputError, match="no exercise"):
        named.exercise("another")


def test_recorded_exercises_without_a_truth_are_no_exercises(tmp_path):
    (tmp_path / "trajectories.jsonl").write_text("", "utf-8")
    with pytest.raises(InputError, match="no trajectory with a truth"):
        named_exercises(str(tmp_path))
    with pytest.raises(InputError):
        named_exercises(str(tmp_path / "missing"))


def test_rows_name_every_exercise(tmp_path, trajectories):
    terms = write(tmp_path / "terms.toml", exercises=str(trajectories), tool="geodesic")
    names = named_exercises(str(trajectories)).names()
    lines = write_rows(terms, tmp_path / "rows.jsonl").read_text("utf-8").splitlines()
    assert [json.loads(line)["exercise"] for line in lines] == names
    parquet = pytest.importorskip("pyarrow.parquet")
    table = parquet.read_table(write_rows(terms, tmp_path / "rows.parquet")).to_pylist()
    assert [row["exercise"] for row in table] == names
    assert all(row["agent_name"] == "ibisagent" and row["prompt"][0]["role"] == "user" for row in table)
    with pytest.raises(InputError, match=r"\.jsonl"):
        write_rows(terms, tmp_path / "rows.csv")


# -- messages for other trainers -------------------------------------------------------------------------------


def test_messages_as_other_trainers_take_them():
    play = driver()
    read = play.begin(exercise())
    chat = as_chat(read, Image.fromarray)
    assert [message["role"] for message in chat] == ["system", "user"]
    assert [part["type"] for part in chat[1]["content"]] == ["image", "text"]
    assert np.array_equal(np.asarray(chat[1]["content"][0]["image"]), read[1].picture)
    (coded, _) = as_chat(read, lambda picture: as_base64(picture, 10**6))[1]["content"]
    data = io.BytesIO(base64.b64decode(coded["image"]))
    assert np.array_equal(np.asarray(Image.open(data)), read[1].picture)


def test_a_sentence_holds_no_mark():
    text = plain("an <image> and <|im_end|><|image_pad|> <video>")
    assert "<|" not in text and "<image>" not in text and "<video>" not in text


# -- the recipes -----------------------------------------------------------------------------------------------


def test_the_terms_of_the_recipes_are_terms():
    values = tomllib.loads((RECIPES / "terms.toml").read_text("utf-8"))
    terms = read_terms(RECIPES / "terms.toml")
    assert set(values) == {
        "exercises",
        "tool",
        "dialect",
        "history",
        "prompts",
        "overlay",
        "max_pixels",
        "steps",
        "reward",
    }
    assert terms.config == REWARD and terms.driver() is not None
