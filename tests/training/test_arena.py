"""Many episodes at once: those that the plugin plays one by one; and whatever fails is raised and never hangs."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("torch", reason="the extra models is not installed")
pytest.importorskip("transformers", reason="the extra models is not installed")
pytest.importorskip("accelerate", reason="the extra models is not installed")

import torch
from tiny_school import SHAPES, exercise, said_in

from napari_ibisagent import registry
from napari_ibisagent.agent.runner import Stage, run
from napari_ibisagent.agent.stop import Limits
from napari_ibisagent.core.actions import Terminate
from napari_ibisagent.core.dialects import dialect, ibis
from napari_ibisagent.core.dialects.conversation import Speech
from napari_ibisagent.core.episode import Outcome, Prompted, begin
from napari_ibisagent.core.errors import BackendError
from napari_ibisagent.core.masks import iou
from napari_ibisagent.core.packed import PackedMask
from napari_ibisagent.policies.qwen_vl.chance import Choice
from napari_ibisagent.policies.qwen_vl.loading import Machine, open_checkpoint
from napari_ibisagent.policies.qwen_vl.reader import closing
from napari_ibisagent.training import arena as arenas
from napari_ibisagent.training.acting import answered, figures
from napari_ibisagent.training.arena import Arena, flat
from napari_ibisagent.training.nano.model import TEMPLATES

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning"),
    pytest.mark.timeout(60),
]

KINDS = [("qwen2_5_vl", False), ("qwen3_vl", True)]


@pytest.fixture
def agent(taught_one):
    """An arena with a model that knows two exercises by heart."""
    return arena_of(*taught_one("qwen2_5_vl", False)[:1], False)


@pytest.fixture(autouse=True)
def no_thread_is_left():
    yield
    assert not [thread for thread in threading.enumerate() if "ThreadPool" in thread.name]


def arena_of(folder, history, **options):
    opened = open_checkpoint(str(folder), Machine("cpu", "float32"), 262_144)
    speech = Speech(TEMPLATES, dialect("ibis").render, history)
    return Arena(opened, speech, registry.load("segmenters", "geodesic"), choice=Choice(48), **options)


def exercises(count=1):
    return [exercise(prompt, number) for number in range(count) for prompt in SHAPES]


def played_alone(folder, history, one, **options):
    """What the runner and the plugin's own policy make of an exercise: (what was said, the episode)."""
    given = {"device": "cpu", "dtype": "float32", "max_new_tokens": 48, "history": history, "repairs": 0} | options
    policy = registry.load("policies", "qwen_vl", folder=str(folder), **given)
    said: list[str] = []
    tool = registry.load("segmenters", "geodesic").open(one.view)
    episode = begin(Prompted(one.prompt, one.view.plane, one.view.index, one.view.shape, given=one.given))
    play = run(episode, Stage(flat(one), one.view, policy, tool, one.window), on_text=said.append)
    while True:
        try:
            next(play)
        except StopIteration as end:
            return "".join(said), end.value


def in_short(episode):
    """What an episode is, without times; a reason names who failed, in training or in the plugin."""
    steps = [(s.thought, s.actions, s.mask, s.score, s.verdict) for s in episode.steps]
    reason = episode.reason.replace("in training gave", "qwen_vl gave")
    return steps, episode.outcome, reason, episode.thought, episode.mask


@pytest.mark.parametrize(("family", "history"), KINDS)
def test_what_was_learned_by_heart_is_acted_out(taught_one, family, history):
    folder, learned, _ = taught_one(family, history)
    played = arena_of(folder, history).play(exercises())
    for one, trajectory in zip(played, learned, strict=True):
        assert [said.text for said in one.said] == said_in(trajectory)
        assert one.episode.outcome is Outcome.DONE and not one.malformed
        assert one.episode.mask == trajectory.steps[-1].mask
        assert iou(answered(one), one.exercise.truth) > 0.95
    found = figures(played)
    assert found.first_hit == found.stopped == found.well_formed == 1 and found.iou > 0.95 and found.mend_hit is None


@pytest.mark.parametrize(("family", "history"), KINDS)
def test_an_episode_is_the_one_that_the_plugin_plays(taught_one, family, history):
    folder = taught_one(family, history)[0]
    # Known ones, unknown pictures, an unknown sentence, and a mask that was there before: not all of it goes well.
    asked = [*exercises(2), replace(exercise("segment the disc"), prompt="segment the Käse"), begun()]
    for one, played in zip(asked, arena_of(folder, history).play(asked), strict=True):
        said, alone = played_alone(folder, history, one)
        assert "".join(s.text for s in played.said) == said
        assert in_short(played.episode) == in_short(alone)
    assert len({"".join(s.text for s in one.said) for one in arena_of(folder, history).play(asked)}) > 2


def begun():
    one = exercise("segment the square")
    return replace(one, given=PackedMask.of(one.wrong["other"]))


@pytest.mark.parametrize("history", [False, True])
def test_a_mistake_goes_back_as_often_as_in_the_plugin(taught_one, history):
    folder = taught_one("qwen2_5_vl", False)[0]
    one = replace(exercise("segment the disc"), prompt="zzz")
    # Cut off, so that no answer can be taken.
    arena = replace(arena_of(folder, history), choice=Choice(5), repairs=2)
    (played,) = arena.play([one])
    said, alone = played_alone(folder, history, one, max_new_tokens=5, repairs=2)
    assert "\n".join(s.text for s in played.said) + "\n" * (said.count("\n") - 2) == said
    assert len(played.said) == 3 and played.malformed
    assert played.episode.outcome is alone.outcome is Outcome.FAILED
    assert figures([played]).well_formed < 1


def test_with_history_it_reads_what_it_said_letter_by_letter(taught_one, monkeypatch):
    arena = arena_of(taught_one("qwen2_5_vl", False)[0], True)
    opened = arena.opened
    loose = "<think>a</think> <action>positive click(.3, .3)</action>"
    texts = [loose, "<action>Terminate</action>"]

    def answers(readings, *_):
        text = texts[(len(readings[0].pictures)) - 1]
        return [(*opened.tokenizer(text)["input_ids"], closing(opened))]

    monkeypatch.setattr(arenas, "answers", answers)
    (played,) = arena.play([exercise("segment the disc")])
    assert played.episode.outcome is Outcome.DONE
    assert f"assistant\n{loose}<|im_end|>" in opened.tokenizer.decode(played.said[1].reading.ids)
    # And the tokens of one turn are the beginning of those of the next.
    before = (*played.said[0].reading.ids, *played.said[0].tokens)
    assert played.said[1].reading.ids[: len(before)] == before


def test_the_same_seed_gives_the_same_episodes(agent):
    by_chance = replace(agent, choice=Choice(48, temperature=1.5))
    first, again, other = (
        ["".join(s.text for s in one.said) for one in by_chance.play(exercises(3), seed)] for seed in (1, 1, 2)
    )
    assert first == again != other


def test_nothing_to_play(agent):
    assert agent.play([]) == []


class Breaking:
    """A tool that fails at one view, in one of three ways."""

    name = "breaking"

    def __init__(self, error, where="segment", at=1):
        self._error, self._where, self._at, self._seen = error, where, at, 0

    def open(self, view):
        self._seen += 1
        if self._seen == self._at and self._where == "open":
            raise self._error
        opened = registry.load("segmenters", "geodesic").open(view)
        if self._seen == self._at:
            opened.segment = self._fail
        return opened

    def _fail(self, *_):
        raise self._error


@pytest.mark.parametrize("where", ["open", "segment"])
@pytest.mark.parametrize("error", [BackendError("The tool is broken."), RuntimeError("a fault")], ids=repr)
def test_a_tool_that_fails_is_raised(agent, error, where):
    with pytest.raises(type(error), match=str(error)):
        replace(agent, tool=Breaking(error, where, at=2)).play(exercises(3))


@pytest.mark.parametrize(
    ("error", "raised", "words"),
    [
        (RuntimeError("no kernel"), BackendError, "The model failed .no kernel"),
        (torch.OutOfMemoryError("x"), BackendError, "memory of cpu doesn't suffice"),
        (KeyboardInterrupt(), KeyboardInterrupt, ""),
        (TypeError("a fault of ours"), TypeError, "a fault of ours"),
    ],
    ids=repr,
)
@pytest.mark.parametrize("call", [1, 2])
def test_a_model_that_fails_is_raised(agent, monkeypatch, error, raised, words, call):
    calls, real = [], arenas.answers

    def answers(*args):
        calls.append(args)
        if len(calls) == call:
            raise error
        return real(*args)

    monkeypatch.setattr(arenas, "answers", answers)
    with pytest.raises(raised, match=words):
        agent.play(exercises(3))


def test_too_few_threads_are_raised(agent, monkeypatch):
    submitted, real = [], ThreadPoolExecutor.submit

    def submit(self, *args):
        submitted.append(args)
        if len(submitted) == 3:
            raise RuntimeError("can't start new thread")
        return real(self, *args)

    monkeypatch.setattr(ThreadPoolExecutor, "submit", submit)
    with pytest.raises(RuntimeError, match="new thread"):
        agent.play(exercises(3))


def test_the_tool_works_for_as_many_at_once_as_it_may(agent):
    busy, most, lock = [0], [0], threading.Lock()

    class Counting:
        name = "counting"

        def open(self, view):
            opened = registry.load("segmenters", "geodesic").open(view)
            real = opened.segment

            def segment(*args):
                with lock:
                    busy[0] += 1
                    most[0] = max(most[0], busy[0])
                threading.Event().wait(0.02)
                with lock:
                    busy[0] -= 1
                return real(*args)

            opened.segment = segment
            return opened

    replace(agent, tool=Counting(), threads=2).play(exercises(3))
    assert most[0] in (1, 2)


def test_figures_of_what_went_wrong(agent):
    right, other = agent.play(exercises())
    wrong = replace(right, exercise=replace(right.exercise, truth=other.exercise.truth))
    found = figures([wrong])
    assert found.first_hit == 0 and found.iou == 0 and found.presence_f1 == 1
    absent = replace(right, exercise=replace(right.exercise, truth=np.zeros_like(right.exercise.truth)))
    found = figures([absent])
    assert found.iou is found.first_hit is None and found.presence_f1 == 0
    assert "iou" not in found.as_dict()


def test_the_limit_of_steps(agent, monkeypatch):
    places = iter(range(1, 9))
    say = lambda: f"<action>Positive Point (0.3{next(places)}00, 0.3000)</action>"  # noqa: E731
    monkeypatch.setattr(
        arenas, "answers", lambda *_: [(*agent.opened.tokenizer(say())["input_ids"], closing(agent.opened))]
    )
    (played,) = replace(agent, limits=Limits(steps=3)).play(exercises()[:1])
    assert played.episode.outcome is Outcome.STEP_LIMIT and len(played.said) == 3
    assert not any(isinstance(a, Terminate) for said in played.said for a in ibis.parse(said.text).actions)


class Counting:
    """A tool that counts what it is shown."""

    name = "counting"

    def __init__(self):
        self.opened = []

    def open(self, view):
        self.opened.append(view)
        return registry.load("segmenters", "geodesic").open(view)


def test_a_tool_looks_once_at_what_several_play(agent):
    disc, square = exercises()
    tool = Counting()
    by_chance = replace(agent, tool=tool, choice=Choice(48, temperature=0.7))
    together = by_chance.play([disc, square] * 4, seed=3)
    assert sorted(map(id, tool.opened)) == sorted(map(id, (disc.view, square.view)))
    # And they are the episodes in which it looks anew each time.
    tool.opened.clear()
    apart = by_chance.play([replace(one) for one in [disc, square] * 4], seed=3)
    assert len(tool.opened) > 2
    assert [in_short(one.episode) for one in together] == [in_short(one.episode) for one in apart]
