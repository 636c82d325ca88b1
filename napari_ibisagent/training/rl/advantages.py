"""GRPO's arithmetic: how much better an episode, or what followed a turn, was than the others of its group.

DeepSeekMath (arXiv 2402.03300) for the group's mean and spread; Dr. GRPO (arXiv 2503.20783) for leaving the spread out;
DAPO (arXiv 2503.14476) for the two clips and the mean over all tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

_EPSILON = 1e-4


class Credit(StrEnum):
    """What a turn is credited with: the whole episode's reward, or what came from that turn on."""

    EPISODE = "episode"
    TURN = "turn"


def advantages(
    groups: Sequence[Sequence[Sequence[float]]], credit: Credit, *, by_spread: bool = True
) -> list[list[NDArray[np.float64]]]:
    """The advantage of each turn of each episode of each group; the rewards of the turns are given.

    With ``credit`` TURN a turn is compared with what came, from the same turn on, in the group's episodes that got as
    far; episodes that were over by then count as nothing more to come. A group without differences teaches nothing: 0.
    """
    return [_of_group([np.asarray(turns, float) for turns in group], credit, by_spread) for group in groups]


def _of_group(group: Sequence[NDArray[np.float64]], credit: Credit, by_spread: bool) -> list[NDArray[np.float64]]:
    totals = np.array([turns.sum() for turns in group])
    spread = float(totals.std()) + _EPSILON if by_spread else 1.0
    if credit is Credit.EPISODE:
        return [np.full(len(turns), (turns.sum() - totals.mean()) / spread) for turns in group]
    longest = max(len(turns) for turns in group)
    to_come = np.zeros((len(group), longest))
    for row, turns in zip(to_come, group, strict=True):
        row[: len(turns)] = turns[::-1].cumsum()[::-1]
    baseline = to_come.mean(axis=0)
    return [(row[: len(turns)] - baseline[: len(turns)]) / spread for row, turns in zip(to_come, group, strict=True)]
