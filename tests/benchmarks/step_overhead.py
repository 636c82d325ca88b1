"""What a step costs beside policy and tool, on a 512x512 view: run as a script, prints milliseconds.

Everything is real: the runner, the fold, the journal with its flush to the disk; the policy and the tool answer at
once. Usage: python tests/benchmarks/step_overhead.py
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from napari_ibisagent.agent.recorder import Recorder
from napari_ibisagent.agent.runner import Stage, run
from napari_ibisagent.agent.stop import Limits
from napari_ibisagent.core.actions import PromptAction
from napari_ibisagent.core.episode import Prompted, Segmented, begin
from napari_ibisagent.core.masks import Mask
from napari_ibisagent.core.protocols import Segmentation, Situation
from napari_ibisagent.core.session import Opened, ScanRef
from napari_ibisagent.core.view import Plane, view_of
from napari_ibisagent.core.volume import Volume
from napari_ibisagent.io.journal import Journal

STEPS = 200


class _Instant:
    """A policy and a tool that take no time: the next of some clicks, the next of some organ-like masks."""

    name, dialect = "instant", "ibis"

    def __init__(self) -> None:
        rows, columns = np.ogrid[:512, :512]
        angle = np.arctan2(rows - 256, columns - 256)
        away = np.hypot(rows - 256, columns - 256)
        self._masks = [away < 90 + 15 * np.sin(7 * angle) + n % 20 for n in range(20)]
        self._turns = 0

    def act(self, _: Situation) -> Iterator[str]:
        self._turns += 1
        click = f"Positive Point (0.5, {self._turns / 1000:.4f})"
        yield f"<think>A thought of some length about this step.</think><action>{click}</action>"

    def segment(self, prompts: Sequence[PromptAction], _: Mask | None) -> Segmentation:
        return Segmentation(self._masks[len(prompts) % 20], 0.9)


def main() -> None:
    image = np.random.default_rng(0).integers(-200, 300, (1, 512, 512)).astype(np.int16)
    affine = np.diag([-1.0, -1.0, 1.0, 1.0])
    volume = Volume.from_source(np.transpose(image, (2, 1, 0)), affine, modality="CT")
    view = view_of(volume, Plane.AXIAL, 0)
    both = _Instant()
    with tempfile.TemporaryDirectory() as folder, Journal.create(Path(folder) / "o.ibis.jsonl") as journal:
        recorder = Recorder(journal=journal)
        recorder.record(Opened(ScanRef("", "", (1, 512, 512), ""), "instant", "instant"))
        prompted = Prompted("x", Plane.AXIAL, 0, view.shape)
        recorder.record(prompted)
        times, started = [], time.perf_counter()
        for event in run(begin(prompted), Stage(volume, view, both, both), limits=Limits(steps=STEPS)):
            recorder.record(event)
            if isinstance(event, Segmented):
                times.append((time.perf_counter() - started) * 1000)
                started = time.perf_counter()
    ordered = sorted(times)
    sys.stdout.write(
        f"{len(times)} steps on a 512x512 view: median {statistics.median(times):.2f} ms, "
        f"90 % below {ordered[int(0.9 * len(ordered))]:.2f} ms, worst {ordered[-1]:.2f} ms a step\n"
    )


if __name__ == "__main__":
    main()
