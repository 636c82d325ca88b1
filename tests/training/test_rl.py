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
from napari_ibisagent.training.rl.loop import Regime, log_probabilities  # noqa: E402
from napari_ibisagent.training.sft.run import STATE  # noqa: E402

TURNS = st.lists(st.floats(-2, 2), min_size=1, max_size=5)
GROUP = st.lists(TURNS, min_size=2, max_size=6)


@pytest.fixture(scope="module")
def nano():
    return open_nano(shipped("nano"))


# -- advantages ------------------------------------------------------------------------------------------------


def stops_of(groups):
    """As many numbers as turns, each another."""
    return [[[0.1 * n - 0.3 * m for n in range(len(turns))] for m, turns in enumerate(group)] for group in groups]


@given(st.lists(GROUP, min_size=1, max_size=3), st.booleans())
def test_an_episodes_advantage_is_about_its_group(groups, by_spread):
    made = advantages(groups, stops_of(groups), Credit.EPISODE, by_spread=by_spread)
    for group, found in zip(groups, made, strict=True):
        assert [len(one) for one in found] == [len(turns) for turns in group]
        assert sum(one[0] for one in found) == pytest.approx(0, abs=1e-6)
        totals = [sum(turns) for turns in group]
        best, worst = int(np.argmax(totals)), int(np.argmin(totals))
        assert found[best][0] >= found[worst][0]
        assert all((one == one[0]).all() for one in found)


@given(GROUP)
def test_a_turn_is_credited_with_what_came_from_it_on(group):
    """The first one beside the group's, which saw the same; a later one beside ending there."""
    (stops,) = stops_of([group])
    (found,) = advantages([group], [stops], Credit.TURN, by_spread=False)
    whole = np.mean([sum(turns) for turns in group])
    for turns, stop, one in zip(group, stops, found, strict=True):
        assert one[0] == pytest.approx(sum(turns) - whole, abs=1e-6)
        for n in range(1, len(turns)):
            assert one[n] == pytest.approx(sum(turns[n:]) - stop[n], abs=1e-6)


@given(TURNS, st.integers(2, 5), st.sampled_from(Credit), st.booleans())
def test_a_group_without_differences_teaches_nothing_about_first_turns(turns, count, credit, by_spread):
    group = [[turns] * count]
    (found,) = advantages(group, stops_of(group), credit, by_spread=by_spread)
    assert all(np.allclose(one[0], 0, atol=1e-6) for one in found)


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


def test_probabilities_are_those_of_each_sequence_alone(nano):
    examples, positions = _examples(nano), Positions(nano)
    with torch.no_grad():
        together, entropy, said = log_probabilities(nano.model, to_learn(examples, nano, positions), 1.0)
        for row, example in enumerate(examples):
            batch = to_learn([example], nano, positions)
            logits = nano.model(**{k: v for k, v in batch.items() if k != "labels"}).logits[0].double()
            logs = torch.log_softmax(logits, dim=-1)
            answer = [n for n, learned in enumerate(example.learned) if learned]
            assert int(said[row].sum()) == len(answer)
            for place in answer:
                expected = float(logs[place - 1, example.ids[place]])
                assert float(together[row, place - 1]) == pytest.approx(expected, abs=1e-3)
                surprise = float(-(logs[place - 1].exp() * logs[place - 1]).sum())
                assert float(entropy[row, place - 1]) == pytest.approx(surprise, abs=1e-3)


def test_what_was_better_becomes_likelier():
    opened = open_nano(shipped("nano"))
    (example,) = _examples(opened, 1)
    other = replace(example, ids=(*example.ids[:-4], 60, 61, 62, 63))
    lessons = [loop._Lesson(example, 0.5), loop._Lesson(other, -0.5)]
    positions = Positions(opened)
    learned = [p for p in opened.model.parameters() if p.requires_grad]
    optimiser = torch.optim.AdamW(learned, lr=1e-3)

    def margin():
        with torch.no_grad():
            chosen, _, said = log_probabilities(opened.model, to_learn([example, other], opened, positions), 1.0)
        good, bad = ((chosen * said).sum(dim=1)).tolist()
        return good - bad

    before = margin()
    for _ in range(3):
        figures = loop._learn(opened.model, optimiser, learned, lessons, opened, positions, Regime(steps=1))
    assert margin() > before + 0.5 and figures["grad_norm"] > 0


def test_several_passes_are_clipped():
    """Past the clip a token teaches no more: further passes over the same episodes end by themselves."""
    opened = open_nano(shipped("nano"))
    (example,) = _examples(opened, 1)
    learned = list(opened.model.parameters())
    positions, regime = Positions(opened), Regime(steps=1, passes=12, clip=(0.2, 0.2))
    optimiser = torch.optim.SGD(learned, lr=0.05)
    before = torch.no_grad()(log_probabilities)(opened.model, to_learn([example], opened, positions), 1.0)[0]
    figures = loop._learn(opened.model, optimiser, learned, [loop._Lesson(example, 1.0)], opened, positions, regime)
    after = torch.no_grad()(log_probabilities)(opened.model, to_learn([example], opened, positions), 1.0)[0]
    assert (after - before).sum() > 0
    assert figures["grad_norm"] == pytest.approx(0, abs=1e-6)


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
    options = "--steps 4 --exercises 2 --group 2 --save-every 1 --measure-every 0 --rate 0.0001".split()
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
