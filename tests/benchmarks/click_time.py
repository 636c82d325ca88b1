"""What a click of our tools costs on a 512x512 view, and what loading one does: run as a script, prints milliseconds.

The view is a phantom's slice, drawn at 512x512; clicks are simulated against every structure in it. Usage:
OMP_NUM_THREADS=1 python tests/benchmarks/click_time.py
"""

from __future__ import annotations

import statistics
import sys
import time

import numpy as np

from napari_ibisagent import registry
from napari_ibisagent.core.clicks import next_click
from napari_ibisagent.core.view import Plane, View, view_of
from napari_ibisagent.evaluation.phantom import Phantom, make_phantom

TOOLS = ("embedded", "geodesic")


def main() -> None:
    made = make_phantom(0, (12.0, 400 / 512, 400 / 512))
    for name in TOOLS:
        measure(name, made)


def measure(tool_name: str, made: Phantom) -> None:
    """Prints the times of one tool."""
    started = time.perf_counter()
    tool = registry.load("segmenters", tool_name)
    sys.stdout.write(f"{tool_name}: loaded in {1000 * (time.perf_counter() - started):.0f} ms\n")
    firsts, laters, opens = [], [], []
    for z in range(made.volume.shape[0]):
        view: View = view_of(made.volume, Plane.AXIAL, z)
        for value in np.unique(made.labels[z])[1:]:
            truth = made.labels[z] == value
            started = time.perf_counter()
            opened = tool.open(view)
            opens.append(time.perf_counter() - started)
            mask, clicks = np.zeros(view.shape, bool), []
            for _ in range(5):
                click = next_click(mask, truth)
                if click is None:
                    break
                clicks.append(click)
                started = time.perf_counter()
                mask = opened.segment(clicks, None).mask
                (firsts if len(clicks) == 1 else laters).append(time.perf_counter() - started)
    for name, times in (("open", opens), ("first click", firsts[1:]), ("later click", laters)):
        ordered = sorted(1000 * t for t in times)
        sys.stdout.write(
            f"{name:12s} {len(ordered):4d} times: median {statistics.median(ordered):5.1f} ms, "
            f"90 % below {ordered[int(0.9 * len(ordered))]:5.1f} ms, worst {ordered[-1]:5.1f} ms\n"
        )


if __name__ == "__main__":
    main()
