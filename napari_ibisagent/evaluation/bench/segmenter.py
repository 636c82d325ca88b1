"""A click tool on one slice: looking at it, the first click, each further one; and the plain loop's way beside it."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from napari_ibisagent.core.protocols import Segmenter
from napari_ibisagent.core.view import View
from napari_ibisagent.evaluation.bench.policy import bench_clicks, forget


@dataclass(frozen=True, slots=True)
class ToolTimes:
    """Milliseconds, medians: of opening a view, of the first click, of each later one, and of a whole step of the plain
    loop, which opens the view anew for each click."""

    open_ms: float
    first_ms: float
    later_ms: float
    plain_step_ms: float


def time_tool(tool: Segmenter, view: View, clicks: int = 5, rounds: int = 3) -> ToolTimes:
    """Times a tool on a view, after one round that warms up."""
    found: dict[str, list[float]] = {"open": [], "first": [], "later": [], "plain": []}
    for number in range(rounds + 1):
        laps: dict[str, list[float]] = {key: [] for key in found}
        forget(tool)
        opened = _timed(laps["open"], partial(tool.open, view))
        for turn in range(clicks):
            _timed(laps["later" if turn else "first"], partial(opened.segment, bench_clicks(turn), None))
        for turn in range(clicks):
            forget(tool)
            _timed(laps["plain"], partial(_anew, tool, view, turn))
        if number:
            for key, values in laps.items():
                found[key] += values
    return ToolTimes(*(1000 * float(np.median(found[key])) for key in ("open", "first", "later", "plain")))


def _anew(tool: Segmenter, view: View, turn: int) -> None:
    tool.open(view).segment(bench_clicks(turn), None)


def _timed(into: list[float], deed: Callable[[], Any]) -> Any:
    started = time.perf_counter()
    made = deed()
    into.append(time.perf_counter() - started)
    return made
