"""What the benchmark of the window works with: a large scan, a session on it, a napari window, a heartbeat.

No benchmark itself: see ``window``. Reads memory where Linux tells it, in /proc.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from functools import wraps
from pathlib import Path
from typing import Any

import numpy as np

from napari_ibisagent.agent.autosave import Autosave
from napari_ibisagent.agent.store import Store
from napari_ibisagent.core.actions import Click, PromptAction
from napari_ibisagent.core.episode import Accepted, PackedMask, Prompted, Proposed, Segmented, Thought
from napari_ibisagent.core.masks import Mask
from napari_ibisagent.core.protocols import Segmentation, Situation
from napari_ibisagent.core.session import Opened
from napari_ibisagent.core.view import Plane
from napari_ibisagent.core.volume import Volume
from napari_ibisagent.io.scanref import scan_ref

SIDE, SLICES = 512, 400
_BEAT_MS = 5

# -- the scan, and a session on it -------------------------------------------------------------------------------


def make_scan(path: Path, slices: int) -> None:
    """A phantom drawn on 512x512 pixels and so many slices, as NIfTI; packed where the name ends in .gz."""
    import nibabel
    from scipy import ndimage

    from napari_ibisagent.evaluation.phantom import make_phantom

    coarse = min(slices, 100)
    made = make_phantom(0, (240 / coarse, 400 / 128, 400 / 128)).volume
    data = np.empty((slices, SIDE, SIDE), np.int16)
    for z in range(slices):
        at = min(z * coarse / slices, coarse - 1.0)
        low, part = int(at), at - int(at)
        flat = made.data[low] * (1 - part) + made.data[min(low + 1, coarse - 1)] * part
        data[z] = np.rint(ndimage.zoom(flat, SIDE / 128, order=1, grid_mode=True, mode="nearest"))
    affine = np.diag([-400 / SIDE, -400 / SIDE, -240 / slices, 1.0])
    image: Any = nibabel.Nifti1Image(np.swapaxes(data, 0, 2), affine)
    image.header.set_slope_inter(1, 0)
    nibabel.save(image, path)


def blob(number: int) -> Mask:
    """(512, 512) bool, an organ-like outline; another one for each number."""
    rows, columns = np.ogrid[:SIDE, :SIDE]
    away = np.hypot(rows - 256, columns - 200 - number % 40)
    return np.asarray(away < 60 + 9 * np.sin(7 * np.arctan2(rows - 256, columns - 256)) + number % 20)


def write_session(scan: Path, volume: Volume, folder: Path, lengths: Sequence[int], *, keep: bool) -> None:
    """A journal in ``folder`` with an episode of each length, on slices of their own; kept as objects or not."""
    ref = scan_ref(volume, scan)
    autosave = Autosave(folder, ref)
    store = Store(volume, None, autosave)
    store.record(Opened(ref, "instant", "instant"))
    for number, length in enumerate(lengths):
        store.record(Prompted(f"organ {number}", Plane.AXIAL, 3 * number % volume.shape[0], (SIDE, SIDE)))
        for step in range(length):
            store.record(Thought("The mask leaves out the lower part of it, so I add a click there."))
            store.record(Proposed((Click(0.5, round(0.3 + step / 2000, 4), step % 3 > 0),), ms=12.0))
            store.record(Accepted())
            store.record(Segmented(PackedMask.of(blob(number + step)), 0.9, 12.0))
        if keep:
            store.keep()
    autosave.close()


class Instant:
    """A policy and a tool that take no time."""

    name, dialect = "instant", "ibis"

    def __init__(self) -> None:
        self._turns = 0

    def act(self, _: Situation) -> Iterator[str]:
        """Another click each time."""
        self._turns += 1
        click = f"Positive Point (0.5, {0.3 + self._turns / 2000:.4f})"
        yield f"<think>A thought of some length about this step.</think><action>{click}</action>"

    def open(self, _: Any) -> Instant:
        """The view isn't looked at."""
        return self

    def segment(self, prompts: Sequence[PromptAction], _: Mask | None) -> Segmentation:
        """Another mask for each number of clicks."""
        return Segmentation(blob(len(prompts)), 0.9)


# -- the window --------------------------------------------------------------------------------------------------


class Window:
    """A napari window of 1400x950 with the dock, or with an empty dock of the same width."""

    def __init__(self, sessions: Path | None) -> None:
        import napari
        from qtpy.QtWidgets import QApplication, QWidget

        from napari_ibisagent.ui.backends import Backends
        from napari_ibisagent.ui.widget import IbisWidget

        self.viewer = napari.Viewer(show=False)
        self.app = QApplication.instance()
        self.widget: Any = QWidget()
        if sessions is not None:
            backends, instant = Backends(), Instant()
            backends.put("policies", "instant", instant)
            backends.put("segmenters", "instant", instant)
            self.widget = IbisWidget(self.viewer, sessions, backends)
        dock = self.viewer.window.add_dock_widget(self.widget, name="dock", area="right")
        dock.setFixedWidth(340)
        self.viewer.window.resize(1400, 950)
        self.viewer.show()
        self.draws = 0
        self.viewer.window._qt_viewer.canvas._scene_canvas.events.draw.connect(self._drew)
        self.rest()

    def _drew(self, _: Any) -> None:
        self.draws += 1

    def rest(self, seconds: float = 0.3) -> None:
        """Lets the window do what it still has to do."""
        self.until(lambda: False, seconds, strict=False)

    def until(self, done: Callable[[], bool], seconds: float = 120.0, *, strict: bool = True) -> float:
        """Plays the event loop until something is so; returns the seconds that took."""
        started = time.perf_counter()
        while not done():
            if time.perf_counter() - started > seconds:
                if strict:
                    raise TimeoutError(
                        f"The window wasn't there after {seconds} s. Run it on a machine with less to do."
                    )
                break
            self.app.processEvents()
        return time.perf_counter() - started

    def open(self, path: Path) -> None:
        """The file through the plugin's reader, and its session begun."""
        self.viewer.open(path, plugin="napari-ibisagent")
        self.ready()

    def ready(self) -> None:
        """Until the session is open."""
        if hasattr(self.widget, "desk"):
            self.until(lambda: self.widget.desk.ready)
        self.rest()

    def move(self, z: int) -> float:
        """Goes to a slice; the milliseconds until it is drawn and the window has nothing left to do."""
        before, started = self.draws, time.perf_counter()
        self.viewer.dims.set_current_step(0, z)
        while self.draws == before:
            self.app.processEvents()
        self.app.processEvents()
        return (time.perf_counter() - started) * 1000

    def close(self) -> None:
        """Closes session and window."""
        if hasattr(self.widget, "close_session"):
            self.widget.close_session()
        self.viewer.close()
        self.rest(0.1)


class Heart:
    """A timer of 5 ms in the main thread; ``gap`` is how long the longest beat was late, in ms."""

    def __init__(self) -> None:
        from qtpy.QtCore import Qt, QTimer

        self.beats = [time.perf_counter()]
        self._timer = QTimer()
        self._timer.setTimerType(Qt.TimerType.PreciseTimer)
        self._timer.timeout.connect(lambda: self.beats.append(time.perf_counter()))
        self._timer.start(_BEAT_MS)

    def gap(self) -> float:
        """The longest time between two beats so far, in ms; begins anew."""
        beats = [*self.beats, time.perf_counter()]
        self.beats = beats[-1:]
        return float(np.diff(beats).max() * 1000)


def timed(owner: Any, name: str, into: dict[str, list[float]]) -> None:
    """Notes the milliseconds of each call of a method; before anything is connected to it."""
    known = getattr(owner, name)

    @wraps(known)
    def call(*arguments: Any) -> Any:
        started = time.perf_counter()
        try:
            return known(*arguments)
        finally:
            into.setdefault(name, []).append((time.perf_counter() - started) * 1000)

    setattr(owner, name, call)


def memory_mb() -> tuple[float, float]:
    """Memory in use now and at most since the last call, in MB."""
    status = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    found = {line.split(":")[0]: int(line.split()[1]) / 1024 for line in status if line.startswith(("VmRSS", "VmHWM"))}
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    return found["VmRSS"], found["VmHWM"]


def gap_text(ms: float) -> str:
    """How a gap is told."""
    return f"longest gap {ms:.0f} ms"


def tell(*cells: str) -> None:
    """A row of the table."""
    sys.stdout.write("| " + " | ".join(cells) + " |\n")
    sys.stdout.flush()
