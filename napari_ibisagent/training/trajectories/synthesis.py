"""Many trajectories: units of exercises played by several processes, written in order, and gone on with after a kill.

Each exercise has its own chance, drawn from the seed and its name, so the result doesn't depend on how many processes
there are or how often they were stopped.
"""

from __future__ import annotations

import multiprocessing
import zlib
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from statistics import fmean
from typing import Any

import numpy as np

from napari_ibisagent import registry
from napari_ibisagent.core.overlay import grey_picture
from napari_ibisagent.core.protocols import Segmenter
from napari_ibisagent.core.window import default_window
from napari_ibisagent.evaluation.runner import Skipped
from napari_ibisagent.training.trajectories.exercises import Exercise, Unit
from napari_ibisagent.training.trajectories.filters import Filters, rejected
from napari_ibisagent.training.trajectories.form import Trajectory
from napari_ibisagent.training.trajectories.simulate import Recipe, sampled, simulate
from napari_ibisagent.training.trajectories.writing import Folder, grey_png

# So many units a process may be ahead of what is written.
_AHEAD = 4


@dataclass(frozen=True, slots=True)
class Order:
    """How trajectories are made. segmenter: a name of the registry, with its options. pictures: write them as well."""

    recipe: Recipe = field(default_factory=Recipe)
    filters: Filters = field(default_factory=Filters)
    segmenter: str = registry.DEFAULT_SEGMENTER
    options: tuple[tuple[str, Any], ...] = ()
    seed: int = 0
    pictures: bool = True


@dataclass(frozen=True, slots=True)
class Made:
    """What became of an exercise: a trajectory with its picture (PNG), or why there is none."""

    name: str
    trajectory: Trajectory | None
    picture: bytes | None
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Report:
    """What a folder holds. steps: how many trajectories have so many turns; stories, kinds and reasons likewise."""

    trajectories: int
    steps: dict[int, int]
    mean_iou: float | None
    mean_clicks: float
    stories: dict[str, int]
    kinds: dict[str, int]
    reasons: dict[str, int]


def synthesise(units: Sequence[Unit], order: Order, folder: Folder, processes: int = 1) -> Iterator[Made]:
    """Plays what the folder doesn't hold yet; yields each result after it was written. Raises the tool's errors."""
    done = folder.done()
    for made in _made(units, order, done, processes):
        if made.trajectory is None:
            folder.reject(made.name, made.reason)
        else:
            folder.keep(made.trajectory, made.picture)
        yield made


def play_unit(unit: Unit, order: Order, tool: Segmenter, done: frozenset[str] = frozenset()) -> Iterator[Made]:
    """What becomes of each exercise of a unit."""
    for item in unit.exercises():
        if isinstance(item, Skipped):
            name = f"{item.case}/{item.target}"
            if name not in done:
                yield Made(name, None, None, item.reason)
        elif item.name not in done:
            yield _played(item, order, tool)


def report(trajectories: Iterator[Trajectory], rejections: Sequence[tuple[str, str]]) -> Report:
    """The figures of a folder."""
    steps: Counter[int] = Counter()
    stories: Counter[str] = Counter()
    kinds: Counter[str] = Counter()
    overlaps: list[float] = []
    clicks: list[int] = []
    for trajectory in trajectories:
        steps[len(trajectory.steps)] += 1
        stories[trajectory.story] += 1
        kinds[trajectory.kind] += 1
        if trajectory.clicks:
            clicks.append(trajectory.clicks)
            overlaps.append(trajectory.iou or 0.0)
    return Report(
        sum(steps.values()),
        dict(sorted(steps.items())),
        fmean(overlaps) if overlaps else None,
        fmean(clicks) if clicks else 0.0,
        dict(stories.most_common()),
        dict(kinds.most_common()),
        dict(Counter(reason for _, reason in rejections).most_common()),
    )


def _made(units: Sequence[Unit], order: Order, done: frozenset[str], processes: int) -> Iterator[Made]:
    if processes <= 1:
        tool = registry.load("segmenters", order.segmenter, **dict(order.options))
        for unit in units:
            yield from play_unit(unit, order, tool, done)
        return
    # A process that is begun anew shares no lock and no open model with this one.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(processes, context, _begin, (order, done)) as pool:
        waiting = []
        ahead = iter(units)
        try:
            for unit in ahead:
                waiting.append(pool.submit(_in_process, unit))
                if len(waiting) >= processes * _AHEAD:
                    yield from waiting.pop(0).result()
            for future in waiting:
                yield from future.result()
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


_state: dict[str, Any] = {}


def _begin(order: Order, done: frozenset[str]) -> None:
    _state["order"], _state["done"] = order, done
    _state["tool"] = registry.load("segmenters", order.segmenter, **dict(order.options))


def _in_process(unit: Unit) -> list[Made]:
    return list(play_unit(unit, _state["order"], _state["tool"], _state["done"]))


def _played(exercise: Exercise, order: Order, tool: Segmenter) -> Made:
    rng = np.random.default_rng([order.seed, zlib.crc32(exercise.name.encode())])
    trajectory = simulate(exercise, tool, order.recipe, sampled(exercise, order.recipe, rng))
    reason = rejected(trajectory, order.filters)
    if reason is not None:
        return Made(exercise.name, None, None, reason)
    view = exercise.view
    window = exercise.window or default_window(view.image, view.modality)
    picture = grey_png(grey_picture(view.image, window)) if order.pictures else None
    return Made(exercise.name, trajectory, picture)
