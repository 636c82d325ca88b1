"""``reinforce``: GRPO over whole episodes; small, readable, and resumed after a kill.

A step: the agent plays each of some exercises several times (``arena``: the runner with the click tool in process, the
new picture goes back each turn), every turn is rewarded (``evaluation.rewards``), and each of its tokens is made
likelier or unlikelier by how much better what came of it was than what might have (``advantages``). What a step draws
depends on the seed and its number alone, so a run that goes on after a kill is the run that wasn't killed.
"""

from __future__ import annotations

import json
import os
import shutil
from collections import defaultdict
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import fmean
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_model, save_model

from napari_ibisagent.core.errors import InputError
from napari_ibisagent.evaluation.rewards import PARTS, RewardConfig, rewards, stopping
from napari_ibisagent.evaluation.turn_facts import facts
from napari_ibisagent.policies.qwen_vl.loading import Opened
from napari_ibisagent.training.acting import figures
from napari_ibisagent.training.arena import Arena, Played, Said
from napari_ibisagent.training.batches import Example
from napari_ibisagent.training.curve import Curve
from napari_ibisagent.training.rl.advantages import advantages
from napari_ibisagent.training.rl.learner import Learner, Lesson
from napari_ibisagent.training.rl.regime import Regime
from napari_ibisagent.training.sft.loop import save
from napari_ibisagent.training.sft.run import RUN, STATE, check_settings, last_saved, saved_step
from napari_ibisagent.training.trajectories.exercises import Exercise

# What may differ when a run goes on.
_FREE = ("steps", "save_every", "measure_every")
# So many episodes are played at the same time, each in a thread.
_AT_ONCE = 256
_WEIGHTS, _OPTIMISER = "model.safetensors", "optimiser.pt"


@dataclass(frozen=True, slots=True)
class _Earned:
    """What an episode's turns were worth, and what it would have been worth to end it there instead."""

    rewards: tuple[float, ...]
    stopping: tuple[float, ...]


def reinforce(
    arena: Arena,
    exercise: Callable[[int], Exercise],
    reward: RewardConfig,
    regime: Regime,
    output: Path,
    *,
    beside: Callable[[int], Exercise] | None = None,
    source: Path | None = None,
    about: Mapping[str, Any] | None = None,
    measure: Callable[[Opened], dict[str, float]] | None = None,
    tell: Callable[[dict[str, float]], None] = lambda _: None,
) -> Opened:
    """Trains the arena's model further, writes it to ``output`` and returns it.

    exercise: the exercise of a number; no number is drawn twice. beside: those that ``regime.held`` is drawn from.
    source: the folder that the model was opened from. about: what else makes the run what it is; a run of other
    settings isn't gone on with. measure: how it acts, every ``measure_every`` steps. Raises BackendError where the tool
    fails: nothing is rewarded then; ValueError where there is nothing to draw what is held from.
    """
    if regime.held and beside is None:
        raise ValueError(f"{regime.held} exercises are to be held, but there are none to draw them from.")
    settings = {name: value for name, value in asdict(regime).items() if name not in _FREE}
    settings["rewards"] = {name: [reward.part(name).weight, reward.part(name).shape.__name__] for name in PARTS}
    check_settings(output, settings | dict(about or {}))
    opened = arena.opened
    learner = Learner(opened, regime)
    playing = replace(arena, choice=replace(arena.choice, temperature=regime.temperature, top_p=regime.top_p))
    done = _resume(learner, output)
    curve = Curve(output, done)
    for step in range(done, regime.steps):
        learner.set_rate(step)
        played = _play(playing, exercise, step, regime)
        earned = [_earned(one, reward) for one in played]
        lessons = _lessons(played, earned, regime)
        moved = learner.learn(lessons, [] if beside is None else _held(playing, beside, step, regime))
        entry = {"step": step + 1, "reward": fmean(sum(one.rewards) for one in earned), "turns": len(lessons)}
        entry |= figures(played).as_dict() | moved
        curve.add(entry)
        tell(entry)
        if measure is not None and regime.measure_every and (step + 1) % regime.measure_every == 0:
            tested = {"step": step + 1, **{f"acting_{k}": v for k, v in measure(opened).items()}}
            curve.add(tested)
            tell(tested)
        if (step + 1) % regime.save_every == 0 or step + 1 == regime.steps:
            _keep(learner, output, step + 1)
    save(opened, opened.model, output, source=source)
    return opened


def _play(arena: Arena, exercise: Callable[[int], Exercise], step: int, regime: Regime) -> list[Played]:
    """The episodes of a step, those of a group side by side."""
    first = step * regime.exercises
    chosen = [exercise(first + n) for n in range(regime.exercises)]
    arena.opened.model.eval()
    played: list[Played] = []
    side_by_side = max(1, _AT_ONCE // regime.group)
    for n in range(0, len(chosen), side_by_side):
        asked = [one for one in chosen[n : n + side_by_side] for _ in range(regime.group)]
        played += arena.play(asked, seed=(regime.seed * 1_000_003 + step) * 1_000 + n)
    return played


def _earned(played: Played, reward: RewardConfig) -> _Earned:
    """What each turn was worth. The same function as the metric's: see ``evaluation``."""
    truth = played.exercise.truth
    turns = facts(played.episode, truth, [said.readable for said in played.said], silent=reward.silent)
    return _Earned(rewards(turns, not truth.any(), reward), stopping(turns, not truth.any(), reward))


def _lessons(played: Sequence[Played], earned: Sequence[_Earned], regime: Regime) -> list[Lesson]:
    """The answers that are worth a backward pass."""
    values = [
        value
        for n in range(0, len(played), regime.group)
        for value in _compared(played[n : n + regime.group], earned[n : n + regime.group], regime)
    ]
    same: dict[tuple[Hashable, tuple[int, ...]], list[tuple[Said, float]]] = defaultdict(list)
    for said, advantage in zip((said for one in played for said in one.said), values, strict=True):
        same[said.reading.same, said.tokens].append((said, advantage))
    lessons = [
        Lesson(Example.of(found[0][0].reading, tokens), sum(advantage for _, advantage in found), len(found))
        for (_, tokens), found in same.items()
        if tokens
    ]
    return [lesson for lesson in lessons if regime.kl or abs(lesson.advantage) >= regime.least * lesson.times]


def _held(arena: Arena, beside: Callable[[int], Exercise], step: int, regime: Regime) -> list[Lesson]:
    """What it says where it is to speak as it did."""
    first = step * regime.held
    played = arena.play([beside(first + n) for n in range(regime.held)], seed=regime.seed * 1_000_003 + step)
    return [Lesson(Example.of(said.reading, said.tokens), 0.0) for one in played for said in one.said if said.tokens]


def _compared(played: Sequence[Played], earned: Sequence[_Earned], regime: Regime) -> list[float]:
    """The advantages of all that was said in a group."""
    found = advantages(
        [one.rewards for one in earned],
        [one.stopping for one in earned],
        [[said.reading.same for said in one.said] for one in played],
        regime.credit,
        by_spread=regime.by_spread,
    )
    return [float(value) for values in found for value in values]


# -- files ---------------------------------------------------------------------------------------------------


def _keep(learner: Learner, output: Path, step: int) -> None:
    """A checkpoint all or nothing; the ones before go when the new one is whole."""
    run = output / RUN
    new, made = run / f".checkpoint-{step}", run / f"checkpoint-{step}"
    shutil.rmtree(new, ignore_errors=True)
    new.mkdir(parents=True)
    save_model(learner.opened.model, str(new / _WEIGHTS))
    torch.save(learner.optimiser.state_dict(), new / _OPTIMISER)
    (new / STATE).write_text(json.dumps({"global_step": step}), "utf-8")
    for file in new.iterdir():
        with file.open("rb+") as opened:
            os.fsync(opened.fileno())
    before = [path for path in run.glob("checkpoint-*") if path != made]
    shutil.rmtree(made, ignore_errors=True)
    new.rename(made)
    for path in before:
        shutil.rmtree(path)


def _resume(learner: Learner, output: Path) -> int:
    """Loads the newest checkpoint; how many steps are done."""
    path = last_saved(output)
    if path is None:
        return 0
    try:
        load_model(learner.opened.model, path / _WEIGHTS)
        learner.optimiser.load_state_dict(torch.load(path / _OPTIMISER, weights_only=True))
    except (RuntimeError, OSError, ValueError, SafetensorError) as error:
        raise InputError(f"The checkpoint {path} isn't of this model. Choose another output folder.") from error
    return saved_step(output)
