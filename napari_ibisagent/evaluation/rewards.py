"""Rewards as pure functions of what the turns did (``turn_facts``): one number a turn, whose sum is the episode's.

Five parts, each a shape with a weight: format, final answer, click placement, progress, length (IBISAgent, arXiv
2601.03054). Three presets:

``default``  progress is the difference in IoU, so it adds up to last - first whatever way was taken (a potential; Ng,
    Harada & Russell, ICML 1999), and the answer is the IoU at the end, or 1 for a right "not present". All else only
    costs: a turn that acts, a click beside the errors, an answer out of form. So no way round pays, stopping is
    strictly best once no click gains, and nothing is earned without a mask. In weights, with IoU 0 for a target that
    is said to be absent though it isn't::

        (IoU - IoU before) + IoU at the end, if it ends - 0.02 a turn that acts - 0.02 x share of clicks that miss
        - 0.1 if it is out of form

    For T turns the sum lies between -1 - 0.14 T and 2. A click is worth its turn from one point of IoU on.

``paper``    the score S of a turn, the mean of the five parts, with the last IoU and the number of the step passed.
    A useless click within the first five steps still pays (format and length outweigh the placement).

``published``  the same as the authors' code computes it (Yankai96/IBISAgent, ``med_seg.py``), for comparison: it pays
    the tier of the IoU at every turn, knows neither the last IoU nor the step, scores a failure of the tool as a turn
    like any other, and counts two empty masks as IoU 0. Turns that it can't read, as of several clicks or a revert, are
    scored by the same shapes here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from types import MappingProxyType

from napari_ibisagent.core.errors import BackendError, StateError, UnknownNameError
from napari_ibisagent.evaluation.turn_facts import TurnFacts

# (what the turn did, its number from 1, whether the truth is empty) -> the part's value before its weight.
Shape = Callable[[TurnFacts, int, bool], float]
PARTS = ("format", "answer", "placement", "progress", "length")
_TIERS = ((0.8, 3.0), (0.7, 2.0), (0.5, 1.0))
_FREE_STEPS, _STEP_COST = 5, 0.2


@dataclass(frozen=True, slots=True)
class Part:
    """A part of the reward: its shape, and its weight in the sum."""

    weight: float
    shape: Shape


@dataclass(frozen=True, slots=True)
class RewardConfig:
    """The five parts. ``silent``: a failure of the tool is scored like any turn, as ``published`` alone does."""

    format: Part
    answer: Part
    placement: Part
    progress: Part
    length: Part
    silent: bool = False

    def part(self, name: str) -> Part:
        """The part of that name. Raises UnknownNameError."""
        _known("part of the reward", name, PARTS)
        part: Part = getattr(self, name)
        return part

    def weighted(self, **weights: float) -> RewardConfig:
        """The same with other weights for the parts that are named. Raises UnknownNameError."""
        parts = {name: replace(self.part(name), weight=weight) for name, weight in weights.items()}
        return replace(self, **parts)  # type: ignore[arg-type]  # silent isn't among the names

    def only(self, *names: str) -> RewardConfig:
        """The same with the named parts alone; the others weigh nothing. Raises UnknownNameError."""
        kept = {name: self.part(name).weight for name in names}
        return self.weighted(**{name: kept.get(name, 0.0) for name in PARTS})


def breakdown(facts: Sequence[TurnFacts], truth_empty: bool, config: RewardConfig) -> tuple[dict[str, float], ...]:
    """For each turn the weighted value of every part, by its name.

    Raises BackendError where the tool failed in a turn (unless the config is silent about it), StateError where the
    turns don't follow each other.
    """
    if any(turn.tool_failed for turn in facts) and not config.silent:
        raise BackendError("A turn in which the tool failed has no reward. Play the episode again.")
    if any(turn.terminates or turn.iou_after != later.iou_before for turn, later in pairwise(facts)):
        raise StateError("The turns don't follow each other: each begins with the IoU of the last, and only one ends.")
    return tuple(_weighed(turn, number, truth_empty, config) for number, turn in enumerate(facts, 1))


def rewards(facts: Sequence[TurnFacts], truth_empty: bool, config: RewardConfig) -> tuple[float, ...]:
    """One number a turn. Raises as ``breakdown`` does."""
    return tuple(sum(parts.values()) for parts in breakdown(facts, truth_empty, config))


def stopping(facts: Sequence[TurnFacts], truth_empty: bool, config: RewardConfig) -> tuple[float, ...]:
    """For each turn what it would have been worth to end the episode there instead, in good form, with the mask that
    lay on the table; of the first one, which has none before it, 0.
    """
    ends = [
        TurnFacts(True, t.iou_after, t.iou_after, t.has_mask, terminates=True, says_absent=not t.has_mask)
        for t in facts[:-1]
    ]
    values = [sum(_weighed(end, number, truth_empty, config).values()) for number, end in enumerate(ends, 2)]
    return (0.0, *values) if facts else ()


def total(facts: Sequence[TurnFacts], truth_empty: bool, config: RewardConfig) -> float:
    """The episode's reward, the sum over its turns. Raises as ``breakdown`` does."""
    return sum(rewards(facts, truth_empty, config))


def reward_config(name: str) -> RewardConfig:
    """A preset. Raises UnknownNameError."""
    _known("reward", name, tuple(PRESETS))
    return PRESETS[name]


def _weighed(turn: TurnFacts, number: int, truth_empty: bool, config: RewardConfig) -> dict[str, float]:
    parts = ((name, config.part(name)) for name in PARTS)
    return {name: part.weight * part.shape(turn, number, truth_empty) for name, part in parts}


def _known(kind: str, name: str, known: Sequence[str]) -> None:
    if name not in known:
        raise UnknownNameError(f"There is no {kind} called {name!r}. Known are: {', '.join(known)}.")


def _predicted(turn: TurnFacts, truth_empty: bool) -> float:
    """The IoU of what the agent stands by: saying that the target is absent predicts an empty mask."""
    return float(truth_empty) if turn.says_absent else turn.iou_after


def _tier(iou: float) -> float:
    return next((value for above, value in _TIERS if iou > above), 0.0)


# -- ours: nothing but progress and the answer is ever above 0 -----------------------------------------------


def _out_of_form(turn: TurnFacts, number: int, truth_empty: bool) -> float:
    return 0.0 if turn.well_formed else -1.0


def _match(turn: TurnFacts, number: int, truth_empty: bool) -> float:
    # A wrong "not present" is worth nothing, and no less: else clicking on in vain would be better than to end.
    if not turn.terminates:
        return 0.0
    if truth_empty:
        return float(turn.says_absent)
    return turn.iou_after if turn.has_mask and not turn.says_absent else 0.0


def _misses(turn: TurnFacts, number: int, truth_empty: bool) -> float:
    return (turn.hits - turn.clicks) / turn.clicks if turn.clicks else 0.0


def _gain(turn: TurnFacts, number: int, truth_empty: bool) -> float:
    return _predicted(turn, truth_empty) - turn.iou_before


def _turn_cost(turn: TurnFacts, number: int, truth_empty: bool) -> float:
    # A click said along with the end costs as much as one in a turn of its own; to end costs nothing.
    return 0.0 if turn.terminates and not turn.acts else -1.0


# -- the paper's --------------------------------------------------------------------------------------------


def _formed(turn: TurnFacts, number: int, truth_empty: bool) -> float:
    return float(turn.well_formed)


def _final_tier(turn: TurnFacts, number: int, truth_empty: bool) -> float:
    return _tier(_predicted(turn, truth_empty)) if turn.terminates else 0.0


def _placed(turn: TurnFacts, number: int, truth_empty: bool) -> float:
    """+1 for a click in an error of its sign, else -1; the mean where there are several."""
    return (2 * turn.hits - turn.clicks) / turn.clicks if turn.clicks else 0.0


def _rise(turn: TurnFacts, number: int, truth_empty: bool) -> float:
    return float(turn.acts and turn.iou_after > turn.iou_before)


def _short(turn: TurnFacts, number: int, truth_empty: bool) -> float:
    return 1.0 if number <= _FREE_STEPS else -_STEP_COST * (number - _FREE_STEPS)


# -- the published code's, where it differs -------------------------------------------------------------------


def _published_iou(turn: TurnFacts, truth_empty: bool) -> float:
    """0 where both masks are empty, and where the tool failed."""
    return 0.0 if truth_empty or turn.tool_failed else turn.iou_after


def _tier_each_turn(turn: TurnFacts, number: int, truth_empty: bool) -> float:
    return _tier(_published_iou(turn, truth_empty)) if turn.acts or turn.terminates else 0.0


def _any_overlap(turn: TurnFacts, number: int, truth_empty: bool) -> float:
    return float(turn.acts and _published_iou(turn, truth_empty) > 0)


def _step_untold(turn: TurnFacts, number: int, truth_empty: bool) -> float:
    return 0.0


PRESETS: Mapping[str, RewardConfig] = MappingProxyType(
    {
        "default": RewardConfig(
            format=Part(0.1, _out_of_form),
            answer=Part(1.0, _match),
            placement=Part(0.02, _misses),
            progress=Part(1.0, _gain),
            length=Part(0.02, _turn_cost),
        ),
        "paper": RewardConfig(
            format=Part(0.2, _formed),
            answer=Part(0.2, _final_tier),
            placement=Part(0.2, _placed),
            progress=Part(0.2, _rise),
            length=Part(0.2, _short),
        ),
        "published": RewardConfig(
            format=Part(0.2, _formed),
            answer=Part(0.2, _tier_each_turn),
            placement=Part(0.2, _placed),
            progress=Part(0.2, _any_overlap),
            length=Part(0.2, _step_untold),
            silent=True,
        ),
    }
)
