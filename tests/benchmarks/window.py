"""What the window costs with a large scan (512x512x400 int16): memory, moving a slice, a step, opening, resuming.

A script for Linux with a screen; each part runs in a process of its own, so that none sees another's memory. Usage:
OMP_NUM_THREADS=1 xvfb-run -a -s "-screen 0 1600x1000x24 +extension GLX" python tests/benchmarks/window.py [PART …]
Parts: memory, moving, steps, opening, resuming; all of them where none is named.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time
import warnings
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
MB = 1 << 20
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
                    raise TimeoutError(f"The window wasn't there after {seconds} s. Run it on a machine with less to do.")
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

        self.beats: list[float] = []
        self._timer = QTimer()
        self._timer.setTimerType(Qt.TimerType.PreciseTimer)
        self._timer.timeout.connect(lambda: self.beats.append(time.perf_counter()))
        self._timer.start(_BEAT_MS)

    def gap(self) -> float:
        """The longest time between two beats so far, in ms; begins anew."""
        beats, self.beats = [*self.beats, time.perf_counter()], []
        return float(np.diff(beats).max() * 1000) if len(beats) > 1 else 0.0


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


def tell(*cells: str) -> None:
    """A row of the table."""
    sys.stdout.write("| " + " | ".join(cells) + " |\n")
    sys.stdout.flush()


# -- the parts ---------------------------------------------------------------------------------------------------


def memory(path: Path) -> None:
    """From opening a file to an object."""
    from napari_ibisagent.io.read import read_scan
    from napari_ibisagent.ui.contributions import image_layer

    with tempfile.TemporaryDirectory() as sessions:
        window = Window(Path(sessions))
        start, _ = memory_mb()

        def stage(what: str) -> None:
            window.rest()
            now, most = memory_mb()
            tell(path.name, what, f"{now - start:.0f} MB", f"{most - start:.0f} MB")

        volume = read_scan(path)
        stage(f"read ({volume.data.nbytes / MB:.0f} MB of voxels)")
        data, attributes, _ = image_layer(volume, path)
        window.viewer.add_image(data, **attributes)
        stage("added as a layer")
        window.ready()
        stage("session open")
        desk = window.widget.desk
        desk.click(0.4, 0.5)
        window.until(lambda: not desk.running)
        stage("a click by hand, its mask")
        desk.keep()
        stage("kept: committed labels")
        for z in range(0, SLICES, 4):
            window.move(z)
        stage("moved through 100 slices")
        window.close()


def moving(path: Path) -> None:
    """Moving a slice: with the dock, and with its layers, against windows of napari alone."""
    with tempfile.TemporaryDirectory() as sessions:
        ours, bare = Window(Path(sessions)), Window(None)
        ours.open(path)
        bare.viewer.add_image(ours.widget.desk.scan.volume.data, **_plain(ours))
        _compare({"napari alone": bare, "dock open": ours})
        desk = ours.widget.desk
        desk.use("embedded", "instant")
        desk.click(0.4, 0.5)
        ours.until(lambda: not desk.running)
        desk.keep()
        desk.layers.go_to(Plane.AXIAL, 150)
        ours.rest()
        desk.click(0.5, 0.5)
        ours.until(lambda: not desk.running)
        same = Window(None)
        same.viewer.add_image(desk.scan.volume.data, **_plain(ours))
        for layer in desk.layers.own:
            _add_plain(same, layer)
        more = len(same.viewer.layers) - 1
        _compare({"napari alone": bare, f"napari, {more} more layers": same, "dock, the same layers": ours})
        for window in (ours, bare, same):
            window.close()


def _plain(window: Window) -> dict[str, Any]:
    image = window.widget.desk.image
    return {"scale": image.scale, "contrast_limits": image.contrast_limits, "colormap": "gray"}


def _add_plain(window: Window, layer: Any) -> None:
    """A layer of the same kind and data, as napari makes it."""
    viewer = window.viewer
    if type(layer).__name__ == "Labels":
        viewer.add_labels(np.array(layer.data), scale=layer.scale)
    else:
        viewer.add_points(np.array(layer.data), scale=layer.scale, size=0.5, text={"string": "1"})


def _compare(windows: dict[str, Window]) -> None:
    times: dict[str, list[float]] = {name: [] for name in windows}
    for z in range(90, 200):
        for name, window in windows.items():
            times[name].append(window.move(z))
    first = statistics.median(next(iter(times.values()))[10:])
    for name, found in times.items():
        median = statistics.median(found[10:])
        tell("slices", name, f"{median:.1f} ms", f"{median / first:.2f}")


def steps(path: Path) -> None:
    """A step that is accepted, on the main thread: by slices of the scan, by steps in the conversation."""
    from napari_ibisagent.ui.desk import Desk
    from napari_ibisagent.ui.layers import ScanLayers
    from napari_ibisagent.ui.widget import IbisWidget

    spent: dict[str, list[float]] = {}
    for owner, name in ((Desk, "_happened"), (IbisWidget, "refresh"), (IbisWidget, "press")):
        timed(owner, name, spent)
    for name in ("show_exhibit", "show_objects"):
        timed(ScanLayers, name, spent)
    for count in (20, 100, SLICES):
        scan = path.with_name(f"{count}.nii")
        make_scan(scan, count)
        _steps_of(scan, f"{count} slices", [2], spent)
    scan = path.with_name("100.nii")
    for count in (10, 100, 500):
        _steps_of(scan, f"{count} steps before, 10 a prompt", [10] * (count // 10), spent)
    for count in (10, 100, 500):
        _steps_of(scan, f"{count} steps before, one prompt", [count], spent)


def _steps_of(scan: Path, what: str, lengths: list[int], spent: dict[str, list[float]]) -> None:
    """The sums of slot times of 12 steps, after the first two."""
    with tempfile.TemporaryDirectory() as sessions:
        window = _resumed(scan, Path(sessions), lengths, keep=False)
        desk = window.widget.desk
        desk.use("instant", "instant")
        window.rest()
        desk.go_on()
        sums, longest = [], 0.0
        parts: dict[str, list[float]] = {}
        for step in range(14):
            window.until(lambda: not desk.running and desk.episode.waits)
            window.rest(0.1)
            spent.clear()
            window.widget.press("accept")
            window.until(lambda: not desk.running and desk.episode.waits)
            window.rest(0.1)
            if step >= 2:
                sums.append(sum(sum(spent.get(name, ())) for name in ("press", "_happened", "refresh")))
                longest = max(longest, *(max(found) for found in spent.values()))
                for name, found in spent.items():
                    parts.setdefault(name, []).append(sum(found))
        each = ", ".join(f"{name.strip('_')} {statistics.median(found):.1f}" for name, found in parts.items())
        tell("a step", what, f"{statistics.median(sums):.1f} ms", f"longest slot {longest:.1f} ms ({each})")
        window.close()


def _resumed(scan: Path, sessions: Path, lengths: list[int], *, keep: bool) -> Window:
    """A window with a session from the disk, gone on with."""
    window = _asked(scan, sessions, lengths, keep=keep)
    window.widget.desk.answer(True)
    window.ready()
    return window


def _asked(scan: Path, sessions: Path, lengths: list[int], *, keep: bool) -> Window:
    """A window that asks whether to go on with an earlier session."""
    from napari_ibisagent.io.read import read_scan

    write_session(scan, read_scan(scan), sessions, lengths, keep=keep)
    window = Window(sessions)
    window.viewer.open(scan, plugin="napari-ibisagent")
    window.until(lambda: any(card.key == "question" for card in window.widget.desk.cards()))
    window.rest()
    return window


def opening(path: Path) -> None:
    """The worker's part of opening a scan, and of a survey by the embedded policy, with the main thread's gaps."""
    from napari_ibisagent.io.read import read_scan
    from napari_ibisagent.ui.contributions import image_layer

    with tempfile.TemporaryDirectory() as sessions:
        window = Window(Path(sessions))
        volume = read_scan(path)
        data, attributes, _ = image_layer(volume, path)
        heart = Heart()
        window.rest()
        tell("opening", "an idle window", "", f"longest gap {heart.gap():.0f} ms")
        started = time.perf_counter()
        window.viewer.add_image(data, **attributes)
        tell("opening", "adding the layer", f"{(time.perf_counter() - started) * 1000:.0f} ms", "")
        heart.gap()
        took = window.until(lambda: window.widget.desk.ready)
        window.rest()
        tell("opening", "checksum, earlier sessions", f"{took * 1000:.0f} ms", f"longest gap {heart.gap():.0f} ms")
        drawn = statistics.median(window.move(z) for z in range(100, 120))
        tell("opening", "moving a slice, for comparison", f"{drawn:.0f} ms", "")
        heart.gap()
        desk = window.widget.desk
        desk.set_review(False)
        window.widget.ask("segment the liver")
        took = window.until(lambda: not desk.running)
        window.rest()
        words = f"{desk.episode.outcome}, {len(desk.episode.steps)} steps"
        tell("opening", f"segment the liver: {words}", f"{took * 1000:.0f} ms", f"longest gap {heart.gap():.0f} ms")
        window.close()


def resuming(path: Path) -> None:
    """Going on with a session of 200 steps and 20 objects."""
    with tempfile.TemporaryDirectory() as sessions:
        window = _asked(path, Path(sessions), [10] * 20, keep=True)
        heart, desk = Heart(), window.widget.desk
        window.rest()
        heart.gap()
        started = time.perf_counter()
        desk.answer(True)
        window.until(lambda: desk.ready)
        took = time.perf_counter() - started
        window.rest()
        tell("resuming", f"200 steps, {len(desk.session.objects)} objects", f"{took * 1000:.0f} ms", f"longest gap {heart.gap():.0f} ms")
        window.close()


PARTS: dict[str, tuple[tuple[Callable[[Path], None], str], ...]] = {
    "memory": ((memory, "scan.nii"), (memory, "scan.nii.gz")),
    "moving": ((moving, "scan.nii"),),
    "steps": ((steps, "scan.nii"),),
    "opening": ((opening, "scan.nii"),),
    "resuming": ((resuming, "scan.nii"),),
}


def main(arguments: list[str]) -> None:
    """Makes the scans and measures each part in a process of its own; or, in such a process, measures."""
    if arguments[:1] == ["--make"]:
        make_scan(Path(arguments[1]), SLICES)
        return
    if arguments[:1] == ["--measure"]:
        # What napari's own parts say of their future is no concern of a measurement.
        warnings.simplefilter("ignore")
        part, path = arguments[1], Path(arguments[2])
        next(play for play, name in PARTS[part] if name == path.name)(path)
        return
    with tempfile.TemporaryDirectory() as folder:
        for name in ("scan.nii", "scan.nii.gz"):
            subprocess.run([sys.executable, __file__, "--make", str(Path(folder) / name)], check=True)
        for part in arguments or PARTS:
            for _, name in PARTS[part]:
                call = [sys.executable, __file__, "--measure", part, str(Path(folder) / name)]
                subprocess.run(call, check=True)


if __name__ == "__main__":
    main(sys.argv[1:])
