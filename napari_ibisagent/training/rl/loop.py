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
from collections import defaultdict
from collections.abc import Callable, Hashable, Mapping, Sequence
from copy import deepcopy
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
from napari_ibisagent.policies.qwen_vl.chance import unlikely
from napari_ibisagent.policies.qwen_vl.loading import Opened
from napari_ibisagent.training.acting import figures
from napari_ibisagent.training.arena import Arena, Played, Said
from napari_ibisagent.training.batches import IGNORED, Example, Positions, to_learn
from napari_ibisagent.training.curve import Curve
from napari_ibisagent.training.precision import sixteen_bits
from napari_ibisagent.training.rl.advantages import Credit, advantages
from napari_ibisagent.training.sft.loop import save
from napari_ibisagent.training.sft.run import RUN, STATE, check_settings, last_saved, saved_step
from napari_ibisagent.training.trajectories.exercises import Exercise

# What may differ when a run goes on.
_FREE = ("steps", "save_every", "measure_every")
# So many episodes are played at the same time, each in a thread.
_AT_ONCE = 256
# A score of which no probability is left, and no infinity in what is made of it.
_NEVER = -1e4
_WEIGHTS, _OPTIMISER = "model.safetensors", "optimiser.pt"


@dataclass(frozen=True, slots=True)
class Regime:
    """How a step goes.

    exercises: a step plays so many, each ``group`` times. temperature, top_p: of the answers, see ``Choice``; where
    only one token is probable enough, nothing is tried and nothing learned. rate: of AdamW, rising in the first
    ``warm_up`` steps, then falling evenly towards nothing. clip: how far a token may move down and up before it teaches
    no more. passes: over what a step played. kl: what it costs to speak unlike the agent that it began as, a nat of a
    token; 0: nothing, as DAPO has it. It holds what nothing speaks for changing. credit, by_spread: see ``advantages``.
    least: without kl an answer whose advantage is smaller is passed over, which saves its time. batch: answers a
    backward pass. bf16: learn in 16 bits.
    """

    steps: int
    exercises: int = 8
    group: int = 8
    temperature: float = 1.0
    top_p: float = 1.0
    rate: float = 2e-5
    warm_up: int = 5
    clip: tuple[float, float] = (0.2, 0.28)
    passes: int = 1
    kl: float = 0.0
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
    """What was read and written, how often in a step, and its advantages in all."""

    example: Example
    advantage: float
    times: int = 1

    @property
    def tokens(self) -> int:
        """How many were written, in all."""
        return self.times * sum(self.example.learned)


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
    learner = _Learner(opened, regime)
    playing = replace(arena, choice=replace(arena.choice, temperature=regime.temperature, top_p=regime.top_p))
    done = _resume(opened.model, learner.optimiser, output)
    curve = Curve(output, done)
    for step in range(done, regime.steps):
        learner.set_rate(step)
        played = _play(playing, exercise, step, regime)
        earned = [_earned(one, reward) for one in played]
        lessons = _lessons(played, earned, regime)
        moved = learner.learn(lessons)
        entry = {"step": step + 1, "reward": fmean(sum(one.rewards) for one in earned), "turns": len(lessons)}
        entry |= figures(played).as_dict() | moved
        curve.add(entry)
        tell(entry)
        if measure is not None and regime.measure_every and (step + 1) % regime.measure_every == 0:
            tested = {"step": step + 1, **{f"acting_{k}": v for k, v in measure(opened).items()}}
            curve.add(tested)
            tell(tested)
        if (step + 1) % regime.save_every == 0 or step + 1 == regime.steps:
            _keep(opened.model, learner.optimiser, output, step + 1)
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


def _lessons(played: Sequence[Played], earned: Sequence[_Earned], regime: Regime) -> list[_Lesson]:
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
        _Lesson(Example.of(found[0][0].reading, tokens), sum(advantage for _, advantage in found), len(found))
        for (_, tokens), found in same.items()
        if tokens
    ]
    return [lesson for lesson in lessons if regime.kl or abs(lesson.advantage) >= regime.least * lesson.times]


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


class _Learner:
    """The model that learns, and what it learns with."""

    def __init__(self, opened: Opened, regime: Regime) -> None:
        self.opened, self.regime = opened, regime
        model = opened.model
        for name, parameter in model.named_parameters():
            parameter.requires_grad_(regime.eye or ".visual." not in f".{name}")
        self._learned = [parameter for parameter in model.parameters() if parameter.requires_grad]
        self.optimiser = torch.optim.AdamW(self._learned, lr=regime.rate, betas=(0.9, 0.95), weight_decay=0.0)
        # The agent that it began as.
        self._first = deepcopy(model).requires_grad_(False).eval() if regime.kl else None
        self._positions = Positions(opened)

    def set_rate(self, step: int) -> None:
        """Of a step, from 0."""
        regime = self.regime
        rising, falling = min(1.0, (step + 1) / max(regime.warm_up, 1)), 1 - step / regime.steps
        for group in self.optimiser.param_groups:
            group["lr"] = regime.rate * rising * falling

    def learn(self, lessons: Sequence[_Lesson]) -> dict[str, float]:
        """One step of the optimiser a pass; the mean over all tokens of all answers."""
        figures_ = {"loss": 0.0, "grad_norm": 0.0, "entropy": 0.0, "kl": 0.0}
        if not lessons:
            return figures_
        lessons = sorted(lessons, key=lambda lesson: len(lesson.example.ids))  # so that little is padded
        portions = [lessons[n : n + self.regime.batch] for n in range(0, len(lessons), self.regime.batch)]
        tokens = sum(lesson.tokens for lesson in lessons)
        before: list[torch.Tensor | None] = [None] * len(portions)
        self.opened.model.train()
        for _ in range(self.regime.passes):
            self.optimiser.zero_grad()
            figures_ = dict.fromkeys(figures_, 0.0)
            for n, portion in enumerate(portions):
                before[n], found = self._look_back(portion, before[n], tokens)
                figures_ |= {name: figures_[name] + value for name, value in found.items()}
            figures_["grad_norm"] = float(torch.nn.utils.clip_grad_norm_(self._learned, 1.0))
            self.optimiser.step()
        return figures_

    def _look_back(
        self, portion: Sequence[_Lesson], before: torch.Tensor | None, tokens: int
    ) -> tuple[torch.Tensor, dict[str, float]]:
        """Adds some lessons' gradients: (how probable their tokens were at first, their share of the figures)."""
        opened, regime = self.opened, self.regime
        batch = to_learn([lesson.example for lesson in portion], opened, self._positions)
        with sixteen_bits(opened.model, opened.device, regime.bf16):
            scores, told, row = told_scores(opened.model, batch)
            with torch.no_grad():
                held = None if self._first is None else told_scores(self._first, batch)[0]
        chosen, entropy = log_probabilities(scores, told, regime.temperature, regime.top_p)
        before = chosen.detach() if before is None else before
        value = torch.tensor([lesson.advantage for lesson in portion], device=chosen.device)[row]
        times = torch.tensor([lesson.times for lesson in portion], device=chosen.device)[row]
        low, high = regime.clip
        ratio = torch.exp(chosen - before)
        gain = torch.minimum(ratio * value, ratio.clamp(1 - low, 1 + high) * value).sum() / tokens
        away = torch.zeros_like(gain) if held is None else (times * divergence(scores, held)).sum() / tokens
        loss = regime.kl * away - gain
        torch.autograd.backward(loss)
        sums = {"loss": loss, "entropy": (times * entropy).sum() / tokens, "kl": away}
        return before, {name: float(one.detach()) for name, one in sums.items()}


def told_scores(model: Any, batch: dict[str, torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Of the N tokens that were written in a batch: (scores (N, V), the tokens (N), whose of the B answers each is)."""
    device = next(model.parameters()).device
    inputs = {name: tensor.to(device) for name, tensor in batch.items() if name != "labels"}
    labels = batch["labels"].to(device)[:, 1:]
    row, place = (labels != IGNORED).nonzero(as_tuple=True)
    # Most of a reading is pictures and sentences: words are weighed only where some were written.
    read = model.base_model(**inputs, use_cache=False).last_hidden_state[row, place]
    return model.get_output_embeddings()(read).float(), labels[row, place], row


def log_probabilities(
    scores: torch.Tensor, told: torch.Tensor, temperature: float, top_p: float = 1.0
) -> tuple[torch.Tensor, torch.Tensor]:
    """(log-probability of each told token, entropy there), each (N), by the scores (N, V).

    Of the tokens that could have been drawn: ``unlikely`` ones couldn't, but for the one that was.
    """
    scores = scores / max(temperature, 1e-6)
    beyond = unlikely(scores.detach(), top_p).scatter(1, told[:, None], False)
    logs = torch.log_softmax(scores.masked_fill(beyond, _NEVER), dim=-1)
    return logs.gather(1, told[:, None])[:, 0], -(logs.exp() * logs).sum(dim=-1)


def divergence(scores: torch.Tensor, before: torch.Tensor) -> torch.Tensor:
    """How far tokens are from what they were: KL(now || before) of each, in nats (N), by scores (N, V)."""
    now, then = torch.log_softmax(scores, dim=-1), torch.log_softmax(before, dim=-1)
    return (now.exp() * (now - then)).sum(dim=-1)


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
