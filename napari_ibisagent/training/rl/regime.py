"""How a run of playing goes: what a step plays, and how it learns from that."""

from __future__ import annotations

from dataclasses import dataclass

from napari_ibisagent.training.rl.advantages import Credit


@dataclass(frozen=True, slots=True)
class Regime:
    """How a step goes.

    exercises: a step plays so many, each ``group`` times. temperature, top_p: of the answers, see ``Choice``; where
    only one token is probable enough, nothing is tried and nothing learned. rate: of AdamW, rising in the first
    ``warm_up`` steps, then falling evenly towards nothing. clip: how far a token may move down and up before it teaches
    no more. passes: over what a step played. kl: what it costs to speak unlike the agent that it began as, a nat of a
    token; 0: nothing, as DAPO has it. It holds what nothing speaks for changing. credit, by_spread: see ``advantages``.
    held: a step plays so many other exercises once, on which nothing is rewarded and it is to speak as it did; that it
    doesn't costs ``hold`` a nat of a token. least: without kl an answer whose advantage is smaller is passed over,
    which saves its time. batch: answers a backward pass. bf16: learn in 16 bits.
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
    held: int = 0
    hold: float = 1.0
    credit: Credit = Credit.TURN
    by_spread: bool = False
    least: float = 0.02
    batch: int = 64
    bf16: bool = False
    eye: bool = True
    seed: int = 0
    save_every: int = 25
    measure_every: int = 0
