"""GRPO's arithmetic: how much better an episode, or what followed a turn, was than it might have been.

DeepSeekMath (arXiv 2402.03300) for the group's mean and spread; Dr. GRPO (arXiv 2503.20783) for leaving the spread out;
DAPO (arXiv 2503.14476) for the two clips and the mean over all tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

_EPSILON = 1e-4

# For each episode of a group a number for each of its turns.
Turns = Sequence[Sequence[float]]


class Credit(StrEnum):
    """What a turn is credited with: the whole episode's reward, or what came from that turn on."""

    EPISODE = "episode"
    TURN = "turn"


def advantages(
    groups: Sequence[Turns], stops: Sequence[Turns], credit: Credit, *, by_spread: bool = True
) -> list[list[NDArray[np.float64]]]:
    """The advantage of each turn of each episode of each group.

    groups: the rewards of the turns. stops: what it would have been worth to end the episode at a turn instead, of the
    same shape; of first turns it isn't looked at. With ``credit`` EPISODE all turns of an episode are compared with the
    group's mean. With TURN first turns alone are: they all see the same. Later ones see what the turns before have left
    them, good or bad, so they are compared with ending there. A group without differences teaches nothing about first
    turns: 0.
    """
    return [
        _of_group([np.asarray(turns, float) for turns in group], stop, credit, by_spread)
        for group, stop in zip(groups, stops, strict=True)
    ]


def _of_group(
    group: Sequence[NDArray[np.float64]], stops: Turns, credit: Credit, by_spread: bool
) -> list[NDArray[np.float64]]:
    totals = np.array([turns.sum() for turns in group])
    spread = float(totals.std()) + _EPSILON if by_spread else 1.0
    if credit is Credit.EPISODE:
        return [np.full(len(turns), (turns.sum() - totals.mean()) / spread) for turns in group]
    found = []
    for turns, stop in zip(group, stops, strict=True):
        to_come = turns[::-1].cumsum()[::-1]
        compared = np.asarray(stop, float).copy()
        compared[:1] = totals.mean()
        found.append((to_come - compared) / spread)
    return found
