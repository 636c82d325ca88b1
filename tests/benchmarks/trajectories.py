"""How fast click trajectories are made, beside the plain algorithm: run as a script, prints ms for each click.

Plain: distance transforms of the whole picture, padded (OpenCV where it is installed, else SciPy, which is slower), and
at each step the tool opens the picture anew and is given all clicks again; one process, clicks alone. Ours:
``simulate``, with words and packed masks, and ``synthesise``, which reads scans, writes pictures and lines, in one and
two processes; against these the plain algorithm is charged with the reading as well, though it writes nothing. Both
make the same clicks on the same views with the same tool, which is asserted. Views: those of 512 pixels in the sample
data, one of each target, else phantom slices of that size.

Usage: OMP_NUM_THREADS=1 python tests/benchmarks/trajectories.py [embedded|geodesic ...]
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from scipy import ndimage as ndi

from napari_ibisagent import registry
from napari_ibisagent.core.actions import Click
from napari_ibisagent.core.masks import Mask, iou
from napari_ibisagent.core.protocols import Segmenter
from napari_ibisagent.core.view import Plane, View, view_of
from napari_ibisagent.evaluation.manifest import read_manifest
from napari_ibisagent.evaluation.phantom import make_phantom
from napari_ibisagent.training.trajectories.cases import CaseUnit, Slices
from napari_ibisagent.training.trajectories.exercises import Exercise, Unit
from napari_ibisagent.training.trajectories.filters import Filters
from napari_ibisagent.training.trajectories.simulate import Plan, Recipe, simulate
from napari_ibisagent.training.trajectories.synthesis import Order, synthesise
from napari_ibisagent.training.trajectories.writing import Folder

MANIFEST = Path(__file__).resolve().parents[3] / "shared" / "data" / "manifest.json"
TOOLS = ("embedded", "geodesic")
# Without the rule that a click has to gain, which the plain algorithm doesn't know.
RECIPE = Recipe(goal=0.9, most=20, gain=0.0, enough=2.0)
# OpenCV's roots of equal squares differ in their last digit, and the first of equally deep pixels is meant.
_NOISE = 1e-4
SIDE, MOST_VIEWS, A_CASE = 512, 30, 3


@dataclass(frozen=True)
class Some:
    """Those exercises of a unit that are called so."""

    unit: Unit
    names: frozenset[str]

    @property
    def name(self) -> str:
        return self.unit.name

    def exercises(self) -> Iterator[Exercise]:
        for item in self.unit.exercises():
            if isinstance(item, Exercise) and item.name in self.names:
                yield item


@dataclass(frozen=True)
class PhantomSlice:
    """What a phantom's slice shows."""

    index: int

    @property
    def name(self) -> str:
        return f"phantom-{self.index}"

    def exercises(self) -> Iterator[Exercise]:
        made = make_phantom(0, (12.0, 400 / SIDE, 400 / SIDE))
        view = view_of(made.volume, Plane.AXIAL, self.index)
        for value in np.unique(made.labels[self.index])[1:]:
            target, truth = made.names[int(value)], made.labels[self.index] == value
            yield Exercise(f"{self.name}/{target}/referring", view, truth, target, f"segment the {target}")


def chosen() -> tuple[list[Some], list[Exercise]]:
    """Units and the exercises in them, on views of 512 pixels."""
    if MANIFEST.is_file():
        cases = [case for case in read_manifest(MANIFEST) if case.skipped is None and case.tasks]
        units: Sequence[Unit] = [
            CaseUnit(replace(case, tasks=case.tasks[:A_CASE]), Slices(1, longest=SIDE)) for case in cases
        ]
    else:
        units = [PhantomSlice(index) for index in range(2, 26, 4)]
    some, exercises = [], []
    for unit in units:
        if len(exercises) >= MOST_VIEWS:
            break
        large = (
            item
            for item in unit.exercises()
            if isinstance(item, Exercise) and item.name.endswith("/referring") and max(item.view.shape) == SIDE
        )
        found = list(islice(large, A_CASE))
        if found:
            some.append(Some(unit, frozenset(e.name for e in found)))
            exercises += found
    return some, exercises


def distance_of() -> tuple[str, Callable[[Mask], Any]]:
    """The name and the distance transform of a whole padded picture."""
    try:
        import cv2
    except ImportError:
        return "SciPy", lambda region: ndi.distance_transform_edt(np.pad(region, 1))[1:-1, 1:-1]
    cv2.setNumThreads(1)
    precise = cv2.DIST_L2, cv2.DIST_MASK_PRECISE
    return "OpenCV", lambda region: cv2.distanceTransform(np.pad(region, 1).astype(np.uint8), *precise)[1:-1, 1:-1]


def plain(view: View, truth: Mask, tool: Segmenter, distance: Callable[[Mask], Any]) -> list[Click]:
    """The clicks of the plain algorithm."""
    mask = np.zeros(truth.shape, bool)
    height, width = truth.shape
    clicks: list[Click] = []
    while len(clicks) < RECIPE.most and iou(mask, truth) < RECIPE.goal:
        missed, spilled = distance(truth & ~mask), distance(mask & ~truth)
        positive = bool(missed.max() >= spilled.max() - _NOISE)
        found = missed if positive else spilled
        row, column = np.unravel_index(int((found >= found.max() - _NOISE).argmax()), found.shape)
        click = Click(round((float(column) + 0.5) / width, 4), round((float(row) + 0.5) / height, 4), positive)
        if click in clicks:
            break
        clicks.append(click)
        mask = tool.open(view).segment(tuple(clicks), None).mask
    return clicks


def main(tools: Sequence[str]) -> None:
    units, exercises = chosen()
    name, distance = distance_of()
    started = time.perf_counter()
    for unit in units:
        list(unit.exercises())
    reading = 1000 * (time.perf_counter() - started)
    sys.stdout.write(f"{len(exercises)} views of {SIDE} pixels; the plain algorithm's distances by {name}\n")
    for tool_name in tools:
        tool: Segmenter = registry.load("segmenters", tool_name)
        tool.open(exercises[0].view).segment((Click(0.5, 0.5, True),), None)  # warm
        spent, count = {"plain": 0.0, "ours": 0.0}, 0
        for exercise in exercises:  # by turns, as the machine may have other work
            started = time.perf_counter()
            theirs = plain(exercise.view, exercise.truth, tool, distance)
            between = time.perf_counter()
            trajectory = simulate(exercise, tool, RECIPE, Plan())
            spent["ours"] += time.perf_counter() - between
            spent["plain"] += between - started
            ours = [prompt for step in trajectory.steps for prompt in step.turn.prompts]
            assert ours == theirs, f"{exercise.name}: {ours} and {theirs}"
            count += len(ours)
        per = {which: 1000 * seconds / count for which, seconds in spent.items()}
        sys.stdout.write(f"{tool_name}: {count} clicks, the same ones ({count / len(exercises):.1f} a view)\n")
        tell("plain algorithm", per["plain"], per["plain"])
        tell("ours, with words and masks", per["ours"], per["plain"])
        for processes in (1, 2):
            ms = written(units, tool_name, processes) / count
            tell(f"ours, read and written, by {processes}", ms, per["plain"] + reading / count)


def written(units: Sequence[Unit], tool: str, processes: int) -> float:
    """The ms that a run takes from the first scan read to the last line written, start of processes included."""
    order = Order(RECIPE, Filters(10**6, 0.0), tool)
    with tempfile.TemporaryDirectory() as place, Folder(Path(place)) as folder:
        started = time.perf_counter()
        for _ in synthesise(units, order, folder, processes):
            pass
        return 1000 * (time.perf_counter() - started)


def tell(name: str, ms: float, plain_ms: float) -> None:
    sys.stdout.write(f"  {name:32s} {ms:7.1f} ms a click, {plain_ms / ms:5.2f} times as fast as plain\n")


if __name__ == "__main__":
    main(sys.argv[1:] or TOOLS)
