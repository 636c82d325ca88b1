"""``reinforce``: GRPO over whole episodes, without a reference model; small, readable, and resumed after a kill.

A step: the agent plays each of some exercises several times (``arena``: the runner with the click tool in process, the
new picture goes back each turn), every turn is rewarded (``evaluation.rewards``), and each of its tokens is made
likelier or unlikelier by how much better what came of it was than what might have (``advantages``). What a step draws
depends on the seed and its number alone, so a run that goes on after a kill is the run that wasn't killed.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Mapping, Sequence
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
from napari_ibisagent.training.arena import Arena, Played
from napari_ibisagent.training.batches import IGNORED, Example, Positions, to_learn
from napari_ibisagent.training.curve import Curve
from napari_ibisagent.training.precision import sixteen_bits
from napari_ibisagent.training.rl.advantages import Credit, advantages
from napari_ibisagent.training.sft.loop import save
from napari_ibisagent.training.sft.run import RUN, STATE, check_settings, last_saved, saved_step
from napari_ibisagent.training.trajectories.exercises import Exercise

# What may differ when a run goes on.
_FREE = ("steps", "save_every", "measure_every")
_WEIGHTS, _OPTIMISER = "model.safetensors", "optimiser.pt"


@dataclass(frozen=True, slots=True)
class Regime:
    """How a step goes.

    exercises: a step plays so many, each ``group`` times. temperature: of the answers. rate: of AdamW, rising in the
    first ``warm_up`` steps, then constant. clip: how far a token may move down and up before it teaches no more.
    passes: over what a step played. credit, by_spread: see ``advantages``. least: a turn whose advantage is smaller is
    passed over, which saves its time. batch: turns a backward pass. bf16: learn in 16 bits.
    """

    steps: int
    exercises: int = 8
    group: int = 8
    temperature: float = 1.0
    rate: float = 2e-5
    warm_up: int = 5
    clip: tuple[float, float] = (0.2, 0.28)
    passes: int = 1
    credit: Credit = Credit.TURN
    by_spread: bool = False
    least: float = 0.02
    batch: int = 64
    bf16: bool = False
    eye: bool = True
    seed: int = 0
    save_every: int = 25
    measure_every: int = 0


@dataclass(frozen=True, slots=True)
class _Lesson:
    """One turn: what was read and written, and its advantage."""

    example: Example
    advantage: float


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
    source: Path | None = None,
    about: Mapping[str, Any] | None = None,
    measure: Callable[[Opened], dict[str, float]] | None = None,
    tell: Callable[[dict[str, float]], None] = lambda _: None,
) -> Opened:
    """Trains the arena's model further, writes it to ``output`` and returns it.

    exercise: the exercise of a number; no number is drawn twice. source: the folder that the model was opened from.
    about: what else makes the run what it is; a run of other settings isn't gone on with. measure: how it acts, every
    ``measure_every`` steps. Raises BackendError where the tool fails: nothing is rewarded then.
    """
    settings = {name: value for name, value in asdict(regime).items() if name not in _FREE}
    settings["rewards"] = {name: [reward.part(name).weight, reward.part(name).shape.__name__] for name in PARTS}
    check_settings(output, settings | dict(about or {}))
    opened = arena.opened
    model = opened.model
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(regime.eye or ".visual." not in f".{name}")
    learned = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimiser = torch.optim.AdamW(learned, lr=regime.rate, betas=(0.9, 0.95), weight_decay=0.0)
    playing = replace(arena, choice=replace(arena.choice, temperature=regime.temperature))
    done = _resume(model, optimiser, output)
    curve = Curve(output, done)
    positions = Positions(opened)
    for step in range(done, regime.steps):
        for group in optimiser.param_groups:
            group["lr"] = regime.rate * min(1.0, (step + 1) / max(regime.warm_up, 1))
        played = _play(playing, exercise, step, regime)
        earned = [_earned(one, reward) for one in played]
        lessons = _lessons(played, earned, regime)
        moved = _learn(model, optimiser, learned, lessons, opened, positions, regime)
        entry = {"step": step + 1, "reward": fmean(sum(one.rewards) for one in earned), "turns": len(lessons)}
        entry |= figures(played).as_dict() | moved
        curve.add(entry)
        tell(entry)
        if measure is not None and regime.measure_every and (step + 1) % regime.measure_every == 0:
            tested = {"step": step + 1, **{f"acting_{k}": v for k, v in measure(opened).items()}}
            curve.add(tested)
            tell(tested)
        if (step + 1) % regime.save_every == 0 or step + 1 == regime.steps:
            _keep(model, optimiser, output, step + 1)
    save(opened, model, output, source=source)
    return opened


def _play(arena: Arena, exercise: Callable[[int], Exercise], step: int, regime: Regime) -> list[Played]:
    """The episodes of a step, those of a group side by side."""
    first = step * regime.exercises
    chosen = [exercise(first + n) for n in range(regime.exercises)]
    arena.opened.model.eval()
    return arena.play([one for one in chosen for _ in range(regime.group)], seed=regime.seed * 1_000_003 + step)


def _earned(played: Played, reward: RewardConfig) -> _Earned:
    """What each turn was worth. The same function as the metric's: see ``evaluation``."""
    truth = played.exercise.truth
    turns = facts(played.episode, truth, [said.readable for said in played.said], silent=reward.silent)
    return _Earned(rewards(turns, not truth.any(), reward), stopping(turns, not truth.any(), reward))


def _lessons(played: Sequence[Played], earned: Sequence[_Earned], regime: Regime) -> list[_Lesson]:
    """The turns that are worth a backward pass."""
    groups = [earned[n : n + regime.group] for n in range(0, len(earned), regime.group)]
    found = advantages(
        [[one.rewards for one in group] for group in groups],
        [[one.stopping for one in group] for group in groups],
        regime.credit,
        by_spread=regime.by_spread,
    )
    return [
        _Lesson(Example.of(said.reading, said.tokens), float(advantage))
        for one, values in zip(played, (values for group in found for values in group), strict=True)
        for said, advantage in zip(one.said, values, strict=False)
        if abs(advantage) >= regime.least and said.tokens
    ]


def _learn(
    model: Any,
    optimiser: torch.optim.Optimizer,
    learned: Sequence[torch.nn.Parameter],
    lessons: Sequence[_Lesson],
    opened: Opened,
    positions: Positions,
    regime: Regime,
) -> dict[str, float]:
    """One step of the optimiser a pass; the mean over all tokens of all turns."""
    if not lessons:
        return {"loss": 0.0, "grad_norm": 0.0, "entropy": 0.0}
    lessons = sorted(lessons, key=lambda lesson: len(lesson.example.ids))  # so that little is padded
    tokens = sum(sum(lesson.example.learned) for lesson in lessons)
    portions = [lessons[n : n + regime.batch] for n in range(0, len(lessons), regime.batch)]
    before: list[torch.Tensor] = []
    figures_: dict[str, float] = {}
    model.train()
    for number in range(regime.passes):
        optimiser.zero_grad()
        loss_sum = entropy_sum = 0.0
        for n, portion in enumerate(portions):
            batch = to_learn([lesson.example for lesson in portion], opened, positions)
            with sixteen_bits(model, opened.device, regime.bf16):
                chosen, entropy, said = log_probabilities(model, batch, regime.temperature)
            if number == 0:
                before.append(chosen.detach())
            ratio = torch.exp(chosen - before[n])
            value = torch.tensor([lesson.advantage for lesson in portion], device=chosen.device)[:, None]
            low, high = regime.clip
            gain = torch.minimum(ratio * value, ratio.clamp(1 - low, 1 + high) * value)
            loss = -(gain * said).sum() / tokens
            torch.autograd.backward(loss)
            loss_sum += float(loss.detach())
            entropy_sum += float((entropy.detach() * said).sum()) / tokens
        norm = float(torch.nn.utils.clip_grad_norm_(learned, 1.0))
        optimiser.step()
        figures_ = {"loss": loss_sum, "grad_norm": norm, "entropy": entropy_sum}
    return figures_


def log_probabilities(
    model: Any, batch: dict[str, torch.Tensor], temperature: float
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """(log-probability of each written token, entropy there, which ones those are), each (B, T - 1); 0 elsewhere."""
    device = next(model.parameters()).device
    inputs = {name: tensor.to(device) for name, tensor in batch.items() if name != "labels"}
    labels = batch["labels"].to(device)[:, 1:]
    said = labels != IGNORED
    # Most of a reading is pictures and sentences: words are weighed only where some were written.
    read = model.base_model(**inputs, use_cache=False).last_hidden_state[:, :-1].flatten(0, 1)
    written = read.index_select(0, said.flatten().nonzero()[:, 0])
    scores = model.get_output_embeddings()(written).float() / max(temperature, 1e-6)
    logs = torch.log_softmax(scores, dim=-1)
    chosen = logs.gather(1, labels[said][:, None])[:, 0]
    entropy = -(logs.exp() * logs).sum(dim=-1)
    nothing = torch.zeros(said.shape, device=device)
    return nothing.masked_scatter(said, chosen), nothing.masked_scatter(said, entropy), said


# -- files ---------------------------------------------------------------------------------------------------


def _keep(model: Any, optimiser: torch.optim.Optimizer, output: Path, step: int) -> None:
    """A checkpoint all or nothing; the ones before go when the new one is whole."""
    run = output / RUN
    new, made = run / f".checkpoint-{step}", run / f"checkpoint-{step}"
    shutil.rmtree(new, ignore_errors=True)
    new.mkdir(parents=True)
    save_model(model, str(new / _WEIGHTS))
    torch.save(optimiser.state_dict(), new / _OPTIMISER)
    (new / STATE).write_text(json.dumps({"global_step": step}), "utf-8")
    for file in new.iterdir():
        with file.open("rb+") as opened:
            os.fsync(opened.fileno())
    before = [path for path in run.glob("checkpoint-*") if path != made]
    shutil.rmtree(made, ignore_errors=True)
    new.rename(made)
    for path in before:
        shutil.rmtree(path)


def _resume(model: Any, optimiser: torch.optim.Optimizer, output: Path) -> int:
    """Loads the newest checkpoint; how many steps are done."""
    path = last_saved(output)
    if path is None:
        return 0
    try:
        load_model(model, path / _WEIGHTS)
        optimiser.load_state_dict(torch.load(path / _OPTIMISER, weights_only=True))
    except (RuntimeError, OSError, ValueError, SafetensorError) as error:
        raise InputError(f"The checkpoint {path} isn't of this model. Choose another output folder.") from error
    return saved_step(output)
