"""GRPO's arithmetic: how much better an episode, or what followed a turn, was than it might have been.

DeepSeekMath (arXiv 2402.03300) for the group's mean and spread; Dr. GRPO (arXiv 2503.20783) for leaving the spread out;
DAPO (arXiv 2503.14476) for the two clips and the mean over all tokens.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Sequence
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

_EPSILON = 1e-4

Values = NDArray[np.float64]
# For each episode of a group a number for each of its turns.
Turns = Sequence[Sequence[float]]


class Credit(StrEnum):
    """What a turn is credited with: the whole episode's reward, or what came from that turn on."""

    EPISODE = "episode"
    TURN = "turn"


def advantages(
    group: Turns, stops: Turns, read: Sequence[Sequence[Hashable]], credit: Credit, *, by_spread: bool = True
) -> list[Values]:
    """The advantage of each turn of each episode of a group.

    group: the rewards of the turns. stops: what it would have been worth to end the episode at a turn instead. read:
    what was read before it was said; both of the group's shape. With ``credit`` EPISODE all turns of an episode are
    compared with the group's mean. With TURN those that read the same, as first turns do, are compared with each
    other. What no other turn read, a mask good or bad that the turns before have left, has nothing to be compared with
    but ending there. Turns that read the same and earned the same teach nothing: 0.
    """
    rewards = [np.asarray(turns, float) for turns in group]
    totals = np.array([turns.sum() for turns in rewards])
    spread = float(totals.std()) + _EPSILON if by_spread else 1.0
    if credit is Credit.EPISODE:
        return [np.full(len(turns), (turns.sum() - totals.mean()) / spread) for turns in rewards]
    to_come = [turns[::-1].cumsum()[::-1] for turns in rewards]
    same: dict[Hashable, list[float]] = defaultdict(list)
    for values, seen in zip(to_come, read, strict=True):
        for value, what in zip(values, seen, strict=True):
            same[what].append(float(value))
    return [
        np.array(
            [
                (value - (np.mean(same[what]) if len(same[what]) > 1 else stop)) / spread
                for value, what, stop in zip(values, seen, ending, strict=True)
            ]
        )
        for values, seen, ending in zip(to_come, read, stops, strict=True)
    ]
