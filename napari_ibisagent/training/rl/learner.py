"""What a model learns from the answers of a step: each token becomes likelier or unlikelier by its advantage."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import torch

from napari_ibisagent.policies.qwen_vl.chance import unlikely
from napari_ibisagent.policies.qwen_vl.loading import Opened
from napari_ibisagent.training.batches import IGNORED, Example, Positions, to_learn
from napari_ibisagent.training.precision import sixteen_bits
from napari_ibisagent.training.rl.regime import Regime

# A score of which no probability is left, and no infinity in what is made of it.
_NEVER = -1e4


@dataclass(frozen=True, slots=True)
class Lesson:
    """What was read and written, how often in a step, and its advantages in all."""

    example: Example
    advantage: float
    times: int = 1

    @property
    def tokens(self) -> int:
        """How many were written, in all."""
        return self.times * sum(self.example.learned)


@dataclass(eq=False, slots=True)
class _Portion:
    """Lessons of one backward pass. tokens: of all lessons. before: how probable theirs were at first, once known."""

    lessons: Sequence[Lesson]
    tokens: int
    before: torch.Tensor | None = None


class Learner:
    """The model that learns, and what it learns with."""

    def __init__(self, opened: Opened, regime: Regime) -> None:
        self.opened, self.regime = opened, regime
        model = opened.model
        for name, parameter in model.named_parameters():
            parameter.requires_grad_(regime.eye or ".visual." not in f".{name}")
        self._learned = [parameter for parameter in model.parameters() if parameter.requires_grad]
        self.optimiser = torch.optim.AdamW(self._learned, lr=regime.rate, betas=(0.9, 0.95), weight_decay=0.0)
        # The agent that it began as.
        self._first = deepcopy(model).requires_grad_(False).eval() if regime.kl or regime.held else None
        self._positions = Positions(opened)

    def set_rate(self, step: int) -> None:
        """Of a step, from 0."""
        regime = self.regime
        rising, falling = min(1.0, (step + 1) / max(regime.warm_up, 1)), 1 - step / regime.steps
        for group in self.optimiser.param_groups:
            group["lr"] = regime.rate * rising * falling

    def learn(self, lessons: Sequence[Lesson], held: Sequence[Lesson] = ()) -> dict[str, float]:
        """One step of the optimiser a pass; the mean over all tokens of all answers. held: see ``Regime``."""
        figures = dict.fromkeys(("loss", "grad_norm", "entropy", "kl", "held_kl"), 0.0)
        if lessons:
            taught, kept = self._portions(lessons), self._portions(held)
            for _ in range(self.regime.passes):
                figures = self._pass(taught, kept)
        return figures

    def _portions(self, lessons: Sequence[Lesson]) -> list[_Portion]:
        in_order = sorted(lessons, key=lambda lesson: len(lesson.example.ids))  # so that little is padded
        batch, tokens = self.regime.batch, sum(lesson.tokens for lesson in lessons)
        return [_Portion(in_order[n : n + batch], tokens) for n in range(0, len(in_order), batch)]

    def _pass(self, taught: Sequence[_Portion], kept: Sequence[_Portion]) -> dict[str, float]:
        """One step of the optimiser: its figures."""
        self.opened.model.train()
        self.optimiser.zero_grad()
        figures: Counter[str] = Counter()
        for portion in taught:
            figures.update(self._look_back(portion))
        for portion in kept:
            figures.update(self._hold(portion))
        norm = float(torch.nn.utils.clip_grad_norm_(self._learned, 1.0))
        self.optimiser.step()
        return {"held_kl": 0.0, **figures, "grad_norm": norm}

    def _look_back(self, portion: _Portion) -> dict[str, float]:
        """Adds the gradients of some lessons: their share of the figures."""
        regime, lessons, tokens = self.regime, portion.lessons, portion.tokens
        scores, held, told, row = self._read(lessons, compared=regime.kl > 0)
        chosen, entropy = log_probabilities(scores, told, regime.temperature, regime.top_p)
        portion.before = chosen.detach() if portion.before is None else portion.before
        value = torch.tensor([lesson.advantage for lesson in lessons], device=chosen.device)[row]
        times = torch.tensor([lesson.times for lesson in lessons], device=chosen.device)[row]
        low, high = regime.clip
        ratio = torch.exp(chosen - portion.before)
        gain = torch.minimum(ratio * value, ratio.clamp(1 - low, 1 + high) * value).sum() / tokens
        away = torch.zeros_like(gain) if held is None else (times * divergence(scores, held)).sum() / tokens
        loss = regime.kl * away - gain
        torch.autograd.backward(loss)
        sums = {"loss": loss, "entropy": (times * entropy).sum() / tokens, "kl": away}
        return {name: float(one.detach()) for name, one in sums.items()}

    def _hold(self, portion: _Portion) -> dict[str, float]:
        """Adds the gradients of some answers that are to stay as probable as they were."""
        scores, held, _, _ = self._read(portion.lessons, compared=True)
        away = divergence(scores, held).sum() / portion.tokens
        torch.autograd.backward(self.regime.hold * away)
        return {"held_kl": float(away.detach())}

    def _read(self, lessons: Sequence[Lesson], *, compared: bool) -> tuple[Any, Any, torch.Tensor, torch.Tensor]:
        """``told_scores`` of some answers, second those of the agent that it began as, if they are ``compared``."""
        opened = self.opened
        batch = to_learn([lesson.example for lesson in lessons], opened, self._positions)
        with sixteen_bits(opened.model, opened.device, self.regime.bf16):
            scores, told, row = told_scores(opened.model, batch)
            with torch.no_grad():
                held = told_scores(self._first, batch)[0] if compared else None
        return scores, held, told, row


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
