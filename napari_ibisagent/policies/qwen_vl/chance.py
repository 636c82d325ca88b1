"""How the next token is chosen: the likeliest, or one by chance, of all or of a few."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Generator, Tensor


@dataclass(frozen=True, slots=True)
class Choice:
    """How an answer is written: the likeliest token at temperature 0, else one at random from ``seed``.

    top_p: only from the fewest tokens that are together at least so probable. least: no answer ends before so many
    tokens; for benchmarks.
    """

    max_new_tokens: int = 512
    temperature: float = 0.0
    seed: int = 0
    least: int = 0
    top_p: float = 1.0


def chosen(scores: Tensor, choice: Choice, dice: Generator) -> Tensor:
    """The next token (N) of each of some answers, by its scores (N, V)."""
    import torch

    if choice.temperature <= 0:
        return scores.argmax(dim=-1)
    scores = scores / choice.temperature
    allowed = scores.masked_fill(unlikely(scores, choice.top_p), -torch.inf)
    return torch.multinomial(torch.softmax(allowed, dim=-1), 1, generator=dice)[:, 0]


def unlikely(scores: Tensor, top_p: float) -> Tensor:
    """Which tokens aren't among the fewest that are together at least ``top_p`` probable, (N, V) as the scores.

    Holtzman et al., ICLR 2020 (nucleus sampling). The likeliest one is always among them.
    """
    import torch

    if top_p >= 1:
        return torch.zeros_like(scores, dtype=torch.bool)
    probable, which = torch.softmax(scores, dim=-1).sort(dim=-1, descending=True)
    before = probable.cumsum(dim=-1) - probable
    beyond = (before >= top_p) & (before > 0)
    return torch.zeros_like(beyond).scatter(-1, which, beyond)
