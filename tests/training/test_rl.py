"""Learning by playing: its arithmetic, that it moves the right way, and that a killed run is the run that wasn't."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from napari_ibisagent.core.errors import BackendError, InputError  # noqa: E402
from napari_ibisagent.evaluation.rewards import reward_config  # noqa: E402
from napari_ibisagent.io.checkpoints.store import shipped  # noqa: E402
from napari_ibisagent.training.batches import Example, Positions, to_learn  # noqa: E402
from napari_ibisagent.training.curve import CURVE  # noqa: E402
from napari_ibisagent.training.nano.school import (  # noqa: E402
    HELD_OUT,
    open_nano,
    practise,
    speech,
)
from napari_ibisagent.training.nano.tasks import Invented  # noqa: E402
from napari_ibisagent.training.rl import loop  # noqa: E402
from napari_ibisagent.training.rl.advantages import Credit, advantages  # noqa: E402
from napari_ibisagent.training.rl.learner import Learner, Lesson, divergence, log_probabilities, told_scores  # noqa: E402
from napari_ibisagent.training.rl.regime import Regime  # noqa: E402
from napari_ibisagent.training.sft.run import STATE  # noqa: E402

TURNS = st.lists(st.floats(-2, 2), min_size=1, max_size=5)
GROUP = st.lists(TURNS, min_size=2, max_size=6)


@pytest.fixture(scope="module")
def nano():
    return open_nano(shipped("nano"))


# -- advantages ------------------------------------------------------------------------------------------------


def stops_of(group):
    """As many numbers as turns, each another."""
    return [[0.1 * n - 0.3 * m for n in range(len(turns))] for m, turns in enumerate(group)]


def read_by(group):
    """First turns read the same; each later one something of its own."""
    return [["the slice", *((m, n) for n in range(1, len(turns)))] for m, turns in enumerate(group)]


def credited(group, credit=Credit.TURN, read=None, *, by_spread=False):
    return advantages(group, stops_of(group), read or read_by(group), credit, by_spread=by_spread)


@given(GROUP, st.booleans())
def test_an_episodes_advantage_is_about_its_group(group, by_spread):
    found = credited(group, Credit.EPISODE, by_spread=by_spread)
    assert [len(one) for one in found] == [len(turns) for turns in group]
    assert sum(one[0] for one in found) == pytest.approx(0, abs=1e-6)
    totals = [sum(turns) for turns in group]
    best, worst = int(np.argmax(totals)), int(np.argmin(totals))
    assert found[best][0] >= found[worst][0]
    assert all((one == one[0]).all() for one in found)


@given(GROUP)
def test_a_turn_is_credited_with_what_came_from_it_on(group):
    """The first one beside the group's, which read the same; a later one that nobody else read beside ending there."""
    whole = np.mean([sum(turns) for turns in group])
    for turns, stop, one in zip(group, stops_of(group), credited(group), strict=True):
        assert one[0] == pytest.approx(sum(turns) - whole, abs=1e-6)
        for n in range(1, len(turns)):
            assert one[n] == pytest.approx(sum(turns[n:]) - stop[n], abs=1e-6)


@given(GROUP, st.data())
def test_turns_that_read_the_same_are_compared_with_each_other(group, data):
    """Wherever in their episodes they stand, as after a click that was taken back."""
    read = [[data.draw(st.sampled_from("ab")) for _ in turns] for turns in group]
    found = credited(group, read=read)
    rest = {
        what: [sum(t[n:]) for t, r in zip(group, read, strict=True) for n in range(len(t)) if r[n] == what]
        for what in "ab"
    }
    for turns, seen, stop, one in zip(group, read, stops_of(group), found, strict=True):
        for n, what in enumerate(seen):
            beside = np.mean(rest[what]) if len(rest[what]) > 1 else stop[n]
            assert one[n] == pytest.approx(sum(turns[n:]) - beside, abs=1e-6)


@given(TURNS, st.integers(2, 5), st.sampled_from(Credit), st.booleans())
def test_a_group_without_differences_teaches_nothing_about_first_turns(turns, count, credit, by_spread):
    assert all(np.allclose(one[0], 0, atol=1e-6) for one in credited([turns] * count, credit, by_spread=by_spread))


# -- the loss --------------------------------------------------------------------------------------------------


def _examples(opened, count=3):
    """What the agent reads first of some slices, each with a made-up answer of another length."""
    from napari_ibisagent.core.dialects.conversation import messages
    from napari_ibisagent.core.episode import Prompted, begin
    from napari_ibisagent.core.overlay import grey_picture
    from napari_ibisagent.policies.qwen_vl.prompt import read_messages

    found = []
    for number in range(count):
        one = Invented(0, count, HELD_OUT).exercise(number)
        picture = grey_picture(one.view.image, one.window)
        episode = begin(Prompted(one.prompt, one.view.plane, 0, one.view.shape))
        reading = read_messages(messages(episode, lambda _, shown=picture: shown, speech()), opened)
        found.append(Example.of(reading, tuple(range(40, 44 + number))))
    return found


def probabilities(opened, examples, top_p=1.0):
    """(log-probability of each written token, entropy there) of some examples, those of each in a row."""
    with torch.no_grad():
        scores, told, row = told_scores(opened.model, to_learn(examples, opened, Positions(opened)))
        found = log_probabilities(scores, told, 1.0, top_p)
    return [[values[row == n] for values in found] for n in range(len(examples))]


def alone(opened, example):
    """(scores (T, V) of the tokens that an example writes, those tokens), the plain way."""
    batch = to_learn([example], opened, Positions(opened))
    with torch.no_grad():
        logits = opened.model(**{k: v for k, v in batch.items() if k != "labels"}).logits[0].double()
    places = [n for n, learned in enumerate(example.learned) if learned]
    return logits[[n - 1 for n in places]], torch.tensor([example.ids[n] for n in places])


def test_probabilities_are_those_of_each_sequence_alone(nano):
    examples = _examples(nano)
    for example, (found, entropy) in zip(examples, probabilities(nano, examples), strict=True):
        scores, told = alone(nano, example)
        logs = torch.log_softmax(scores, dim=-1)
        assert found.numpy() == pytest.approx(logs.gather(1, told[:, None])[:, 0].numpy(), abs=1e-3)
        assert entropy.numpy() == pytest.approx(-(logs.exp() * logs).sum(dim=1).numpy(), abs=1e-3)


@pytest.mark.parametrize("top_p", [0.3, 0.9])
def test_probabilities_among_the_likely_tokens_alone(nano, top_p):
    """Those that could have been drawn add up to one; where only one could, there is nothing to be learned."""
    (example,) = _examples(nano, 1)
    scores, told = alone(nano, example)
    likeliest = scores.argmax(dim=1)
    for written in (told, likeliest):
        found, entropy = log_probabilities(scores, written, 1.0, top_p)
        for values, token, value, surprise in zip(torch.softmax(scores, dim=1), written, found, entropy, strict=True):
            order = values.argsort(descending=True)
            enough = int((values[order].cumsum(0) < top_p).sum()) + 1
            inside = torch.tensor(sorted({*order[:enough].tolist(), int(token)}))
            assert float(value) == pytest.approx(float((values[token] / values[inside].sum()).log()), abs=1e-6)
            assert len(inside) > 1 or float(value) == float(surprise) == 0


@given(arrays(np.float64, (3, 7), elements=st.floats(-9, 9)), arrays(np.float64, (3, 7), elements=st.floats(-9, 9)))
def test_how_far_tokens_are_from_what_they_were(now, then):
    found = divergence(torch.tensor(now), torch.tensor(then))
    p, q = torch.softmax(torch.tensor(now), dim=-1), torch.softmax(torch.tensor(then), dim=-1)
    assert found.numpy() == pytest.approx((p * (p / q).log()).sum(dim=-1).numpy(), abs=1e-6)
    assert (found >= -1e-9).all() and divergence(torch.tensor(now), torch.tensor(now)).abs().max() < 1e-9


def test_the_same_answer_to_the_same_reading_is_learned_once(nano, monkeypatch):
    from napari_ibisagent import registry
    from napari_ibisagent.training.arena import Arena

    one = Invented(0, 1, HELD_OUT).exercise(0)
    played = Arena(nano, speech(), registry.load("segmenters", "geodesic")).play([one] * 3)  # greedy: all the same
    monkeypatch.setattr(loop, "_compared", lambda played, *_: [0.5 for one in played for _ in one.said])
    lessons = loop._lessons(played, [None] * 3, Regime(steps=1, group=3))
    assert len(lessons) == len(played[0].said)
    assert [lesson.advantage for lesson in lessons] == [1.5] * len(lessons)


def test_what_was_better_becomes_likelier():
    opened = open_nano(shipped("nano"))
    (example,) = _examples(opened, 1)
    other = replace(example, ids=(*example.ids[:-4], 60, 61, 62, 63))
    lessons = [Lesson(example, 0.5), Lesson(other, -0.5)]
    learner = Learner(opened, Regime(steps=1, rate=1e-3))

    def margin():
        good, bad = (float(found.sum()) for found, _ in probabilities(opened, [example, other]))
        return good - bad

    before = margin()
    for _ in range(3):
        figures = learner.learn(lessons)
    assert margin() > before + 0.5 and figures["grad_norm"] > 0


def test_several_passes_are_clipped():
    """Past the clip a token teaches no more: further passes over the same episodes end by themselves."""
    opened = open_nano(shipped("nano"))
    (example,) = _examples(opened, 1)
    learner = Learner(opened, Regime(steps=1, passes=12, clip=(0.2, 0.2)))
    learner.optimiser = torch.optim.SGD(opened.model.parameters(), lr=0.05)
    ((before, _),) = probabilities(opened, [example])
    figures = learner.learn([Lesson(example, 1.0)])
    ((after, _),) = probabilities(opened, [example])
    assert (after - before).sum() > 0
    assert figures["grad_norm"] == pytest.approx(0, abs=1e-6)


def test_what_it_costs_to_speak_unlike_before_holds_what_nothing_speaks_for_changing():
    """One answer is rewarded; with kl another one, which isn't, stays nearer to what it was."""
    moved = {}
    for kl in (0.0, 5.0):
        opened = open_nano(shipped("nano"))
        rewarded, other = _examples(opened, 2)
        before = probabilities(opened, [other])[0][0]
        learner = Learner(opened, Regime(steps=1, kl=kl))
        learner.optimiser = torch.optim.SGD(opened.model.parameters(), lr=0.05)
        for _ in range(4):
            figures = learner.learn([Lesson(rewarded, 1.0), Lesson(other, 0.0)])
        moved[kl] = float((probabilities(opened, [other])[0][0] - before).abs().sum())
        assert figures["kl"] > 0 if kl else figures["kl"] == 0
    assert moved[5.0] < moved[0.0]


def test_what_is_held_stays_nearer_to_what_it_was():
    """One answer is rewarded; another one, to another reading, is held."""
    moved = {}
    for hold in (0.0, 5.0):
        opened = open_nano(shipped("nano"))
        rewarded, other = _examples(opened, 2)
        before = probabilities(opened, [other])[0][0]
        learner = Learner(opened, Regime(steps=1, passes=4, held=1, hold=hold))
        learner.optimiser = torch.optim.SGD(opened.model.parameters(), lr=0.05)
        figures = learner.learn([Lesson(rewarded, 1.0)], [Lesson(other, 0.0)])
        moved[hold] = float((probabilities(opened, [other])[0][0] - before).abs().sum())
        assert figures["held_kl"] > 0 and figures["kl"] == 0
    assert moved[5.0] < moved[0.0]


# -- whole runs ------------------------------------------------------------------------------------------------

SMALL = Regime(steps=2, exercises=2, group=3, save_every=1, rate=1e-4)


def test_a_run_plays_rewards_and_learns(tmp_path, nano):
    told = []
    trained = practise(SMALL, shipped("nano"), tmp_path / "rl", tell=told.append)
    assert [entry["step"] for entry in told] == [1, 2]
    assert all(np.isfinite(entry["reward"]) and entry["episodes"] == 6 for entry in told)
    assert [json.loads(line) for line in (tmp_path / "rl" / CURVE).read_text("utf-8").splitlines()] == told
    moved = max(
        float((a - b).detach().abs().max())
        for a, b in zip(trained.model.parameters(), nano.model.parameters(), strict=True)
    )
    assert moved > 0 or all(entry["turns"] == 0 for entry in told)
    again = open_nano(tmp_path / "rl").model.state_dict()
    assert all(torch.equal(again[name], value) for name, value in trained.model.state_dict().items())


def test_a_large_step_is_played_in_portions(nano, monkeypatch):
    from napari_ibisagent import registry
    from napari_ibisagent.training.arena import Arena

    at_once = []
    monkeypatch.setattr(loop, "_AT_ONCE", 4)
    play = Arena.play
    monkeypatch.setattr(Arena, "play", lambda self, given, seed: at_once.append(given) or play(self, given, seed))
    arena, made = Arena(nano, speech(), registry.load("segmenters", "geodesic")), Invented(0, 9, HELD_OUT)
    played = loop._play(arena, made.exercise, 1, Regime(steps=2, exercises=3, group=2))
    assert [len(given) for given in at_once] == [4, 2]
    assert [one.exercise.name for one in played] == [made.exercise(n).name for n in (3, 3, 4, 4, 5, 5)]


def test_without_other_exercises_nothing_can_be_held(nano, tmp_path):
    from napari_ibisagent import registry
    from napari_ibisagent.training.arena import Arena

    arena, made = Arena(nano, speech(), registry.load("segmenters", "geodesic")), Invented(0, 9, HELD_OUT)
    with pytest.raises(ValueError, match="2 exercises are to be held"):
        loop.reinforce(arena, made.exercise, reward_config("default"), Regime(steps=1, held=2), tmp_path / "rl")
    assert not (tmp_path / "rl").exists()


def test_an_episodes_reward_is_that_of_evaluation(nano):
    from napari_ibisagent import registry
    from napari_ibisagent.evaluation.rewards import total
    from napari_ibisagent.evaluation.turn_facts import facts
    from napari_ibisagent.training.arena import Arena

    made = Invented(0, 4, HELD_OUT)
    arena = Arena(nano, speech(), registry.load("segmenters", "geodesic"))
    config = reward_config("default")
    for one in arena.play([made.exercise(n) for n in range(4)]):
        earned = loop._earned(one, config)
        assert len(earned.rewards) == len(earned.stopping) == len(one.said)
        truth = one.exercise.truth
        expected = total(facts(one.episode, truth, [True] * len(one.said)), not truth.any(), config)
        assert one.malformed or sum(earned.rewards) == pytest.approx(expected)


class Broken:
    name = "broken"

    def open(self, view):
        raise BackendError("The tool is broken. Choose another.")


def test_a_failing_tool_is_no_reward(tmp_path, monkeypatch):
    from napari_ibisagent import registry

    monkeypatch.setattr(registry, "load", lambda kind, name, **_: Broken())
    with pytest.raises(BackendError, match="broken"):
        practise(replace(SMALL, exercises=4), shipped("nano"), tmp_path / "rl")
    assert not (tmp_path / "rl" / "model.safetensors").exists()


def test_a_checkpoint_of_another_model_is_refused(tmp_path):
    from safetensors.torch import save_file

    place = tmp_path / "rl" / "run" / "checkpoint-1"
    place.mkdir(parents=True)
    save_file({"other": torch.zeros(1)}, place / "model.safetensors")
    (place / STATE).write_text("{}", "utf-8")
    with pytest.raises(InputError, match="isn't of this model"):
        practise(SMALL, shipped("nano"), tmp_path / "rl")


def test_a_run_of_other_settings_is_not_gone_on_with(tmp_path):
    practise(replace(SMALL, steps=1), shipped("nano"), tmp_path / "rl")
    with pytest.raises(InputError, match=r"rate was 0\.0001, now 0\.1"):
        practise(replace(SMALL, rate=0.1), shipped("nano"), tmp_path / "rl")
    told = []
    practise(SMALL, shipped("nano"), tmp_path / "rl", tell=told.append)  # more steps are no other run
    assert [entry["step"] for entry in told] == [2]


def _command(output):
    options = "--steps 4 --exercises 2 --group 2 --held 2 --save-every 1 --measure-every 0 --rate 0.0001".split()
    return [
        *(sys.executable, "-c", "from napari_ibisagent.cli import main; main()"),
        *("train", "rl", "--from", str(shipped("nano")), "-o", str(output), *options),
    ]


def test_a_killed_run_ends_like_one_that_was_not(tmp_path):
    subprocess.run(_command(tmp_path / "whole"), check=True, capture_output=True, timeout=100)
    chance = random.Random(3)
    for _ in range(2):
        process = subprocess.Popen(_command(tmp_path / "killed"), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + 60
        while not (tmp_path / "killed" / "run").is_dir() and time.monotonic() < deadline:
            time.sleep(0.05)
        time.sleep(chance.uniform(0, 1.5))
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    ended = subprocess.run(_command(tmp_path / "killed"), check=False, capture_output=True, text=True, timeout=100)
    assert ended.returncode == 0, ended.stderr
    whole, killed = ((tmp_path / name / "model.safetensors").read_bytes() for name in ("whole", "killed"))
    assert whole == killed
    curves = [(tmp_path / name / CURVE).read_text("utf-8") for name in ("whole", "killed")]
    assert curves[0] == curves[1]
