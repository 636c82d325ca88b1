"""How an agent acts: whole episodes on exercises that it hasn't seen, scored as ``evaluation`` scores them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from statistics import fmean

import numpy as np

from napari_ibisagent.core.actions import Click
from napari_ibisagent.core.episode import Outcome
from napari_ibisagent.core.masks import Mask, error_regions
from napari_ibisagent.evaluation.metrics import score
from napari_ibisagent.training.arena import Played


@dataclass(frozen=True, slots=True)
class Figures:
    """Means over episodes.

    iou, dice: of the answer, where the target is there; "not found" is an empty answer. presence_f1: whether the target
    is there. steps: turns with a click, revert or discard. first_hit: first clicks inside the target. mend_hit: later
    clicks inside an error of their sign. stopped: ends said by the agent itself. well_formed: answers that could be
    taken. None where there was nothing to count.
    """

    episodes: int
    iou: float | None
    dice: float | None
    presence_f1: float
    steps: float
    first_hit: float | None
    mend_hit: float | None
    stopped: float
    well_formed: float

    def as_dict(self) -> dict[str, float]:
        """The figures that there are, by name."""
        return {name: float(value) for name, value in asdict(self).items() if value is not None}


def figures(played: Sequence[Played]) -> Figures:
    """The figures of some episodes."""
    there = [one for one in played if one.exercise.truth.any()]
    answers = [score(answered(one), one.exercise.truth, None) for one in there]
    hits = [_hits(one) for one in there]
    first, mending = [h for found, _ in hits for h in found], [h for _, found in hits for h in found]
    said = sum(len(one.said) for one in played)
    return Figures(
        len(played),
        _mean([s.iou for s in answers]),
        _mean([s.dice for s in answers]),
        _presence(played),
        fmean(len(one.episode.steps) for one in played),
        _mean(first),
        _mean(mending),
        fmean(one.episode.outcome in (Outcome.DONE, Outcome.NOT_FOUND) for one in played),
        sum(s.readable for one in played for s in one.said) / said if said else 1.0,
    )


def answered(played: Played) -> Mask:
    """The mask (H, W) that an episode ends with; empty where the agent says that it isn't there, or fails."""
    if played.episode.outcome in (Outcome.DONE, Outcome.STEP_LIMIT):
        return played.episode.mask_array()
    return np.zeros(played.episode.shape, bool)


def _mean(values: Sequence[float]) -> float | None:
    return fmean(values) if values else None


def _presence(played: Sequence[Played]) -> float:
    """F1 of "it is there"."""
    pairs = [(bool(answered(one).any()), bool(one.exercise.truth.any())) for one in played]
    right = sum(said and true for said, true in pairs)
    wrong = sum(said != true for said, true in pairs)
    return 2 * right / (2 * right + wrong) if right or wrong else 1.0


def _hits(played: Played) -> tuple[list[bool], list[bool]]:
    """Whether the first click, and each later one, lies where it mends something."""
    first: list[bool] = []
    later: list[bool] = []
    view, truth = played.exercise.view, played.exercise.truth
    mask = np.zeros(view.shape, bool) if played.episode.given is None else played.episode.given.array()
    for step in played.episode.steps:
        missed, spilled = error_regions(mask, truth)
        for click in (a for a in step.actions if isinstance(a, Click)):
            hit = bool((missed if click.positive else spilled)[view.pixel_of(click.x, click.y)])
            (later if mask.any() else first).append(hit)
        mask = np.zeros(view.shape, bool) if step.mask is None else step.mask.array()
    return first, later
