"""Many trajectories: units of exercises played by several processes, written in order, and gone on with after a kill.

What is written doesn't depend on how many processes there are or how often they were stopped.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from itertools import islice
from statistics import fmean
from typing import Any

from napari_ibisagent.core.errors import BackendError, IbisError
from napari_ibisagent.training.trajectories.exercises import Unit
from napari_ibisagent.training.trajectories.form import Trajectory
from napari_ibisagent.training.trajectories.playing import Made, Order, play_unit
from napari_ibisagent.training.trajectories.writing import Folder

__all__ = ["Made", "Order", "Report", "play_unit", "report", "synthesise"]

# So many units a process may be ahead of what is written.
_AHEAD = 4
# After so many failures in a row the tool is taken to be gone.
_GONE = 5
# How often, in seconds, a run that waits for its processes looks whether it was cancelled.
_LOOK = 0.2


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


def synthesise(
    units: Sequence[Unit],
    order: Order,
    folder: Folder,
    processes: int = 1,
    *,
    about: Mapping[str, Any] | None = None,
    scans: Mapping[str, str] | None = None,
    reworded: Callable[[Trajectory], Trajectory] = lambda trajectory: trajectory,
    cancelled: Callable[[], bool] = lambda: False,
) -> Iterator[Made]:
    """Plays what the folder doesn't hold yet; yields each result after it was written.

    about: what the units were made with (JSON values), which with ``order`` is kept in the folder. scans: which scan
    (its path) each unit's name stands for. reworded: has the
    last word on a trajectory before it is written.

    Raises InputError where the folder was made in another way. An exercise in which the tool fails isn't written and
    the others go on; at the end, or after several in a row, the BackendError says so.
    """
    folder.settle({**order.as_dict(), "units": dict(about or {})})
    folder.belong(scans or {})
    done = folder.done()
    failures: list[Made] = []
    in_a_row = 0
    for made in _made(units, order, done, processes, cancelled):
        in_a_row = in_a_row + 1 if made.failed else 0
        if made.failed:
            failures.append(made)
        elif made.trajectory is not None:
            folder.keep(reworded(made.trajectory), made.picture)
        elif made.name not in done:  # else it can't be read in this run either
            folder.reject(made.name, made.reason)
        yield made
        if in_a_row == _GONE:
            break
    if failures:
        raise BackendError(
            f"The click tool failed in {len(failures)} exercises{' in a row' if in_a_row == _GONE else ''}, first in "
            f"{failures[0].name}: {failures[0].reason} The others are written; the same command tries these again."
        )


def report(trajectories: Iterable[Trajectory], rejections: Sequence[tuple[str, str]]) -> Report:
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


def _made(
    units: Sequence[Unit], order: Order, done: frozenset[str], processes: int, cancelled: Callable[[], bool]
) -> Iterator[Made]:
    if processes <= 1:
        tool = order.tool()
        for unit in units:
            if cancelled():  # before a scan is read
                return
            yield from play_unit(unit, order, tool, done, cancelled)
        return
    try:
        yield from _by_processes(units, order, done, processes, cancelled)
    except BrokenProcessPool as error:
        raise BackendError(
            "One of the processes ended without a word, as they do where the memory is full. What is written is "
            "whole: run the same command again, with fewer processes."
        ) from error


def _by_processes(
    units: Sequence[Unit], order: Order, done: frozenset[str], processes: int, cancelled: Callable[[], bool]
) -> Iterator[Made]:
    # A process that is begun anew shares no lock and no open model with this one.
    context = multiprocessing.get_context("spawn")
    stop = context.Event()
    left = iter(units)
    with ProcessPoolExecutor(processes, context, _begin, (order, done, stop)) as pool:
        waiting: deque[Future[list[Made]]] = deque()
        try:
            waiting.extend(pool.submit(_in_process, unit) for unit in islice(left, processes * _AHEAD))
            while waiting:
                first = waiting.popleft()
                while not cancelled() and not wait([first], _LOOK).done:
                    pass
                if cancelled():
                    return
                yield from first.result()
                waiting.extend(pool.submit(_in_process, unit) for unit in islice(left, 1))
        finally:
            stop.set()
            pool.shutdown(wait=False, cancel_futures=True)


# -- in a process of its own -------------------------------------------------------------------------------

_state: dict[str, Any] = {}


def _begin(order: Order, done: frozenset[str], stop: Any) -> None:
    """Loads the tool; what is wrong with it is told with the first unit, as here it would only break the pool."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl+C is the parent's business
    threading.Thread(target=_end_with_parent, daemon=True).start()
    _state.update(order=order, done=done, stop=stop)
    try:
        _state["tool"] = order.tool()
    except IbisError as error:
        _state["fault"] = error


def _end_with_parent() -> None:
    """A pool's process waits for work for ever where its parent was killed."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _in_process(unit: Unit) -> list[Made]:
    if "fault" in _state:
        raise _state["fault"]
    return list(play_unit(unit, _state["order"], _state["tool"], _state["done"], _state["stop"].is_set))
