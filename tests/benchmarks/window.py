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
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from stage import SLICES, Heart, Window, gap_text, make_scan, memory_mb, tell, timed, write_session

from napari_ibisagent.core.view import Plane
from napari_ibisagent.io.read import read_scan

MB = 1 << 20
# The slots of a step, in order: the user's key, the worker's events, the dock and the canvas brought up to date.
_SLOTS = ("press", "_happened", "_show_dock", "_show_canvas")


def memory(path: Path) -> None:
    """From opening a file to an object."""
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
    for owner, name in zip((IbisWidget, Desk, IbisWidget, IbisWidget), _SLOTS, strict=True):
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
    for count in (10, 80):
        _steps_of(scan, f"{count} steps before, one prompt", [count], spent)


def _steps_of(scan: Path, what: str, lengths: list[int], spent: dict[str, list[float]]) -> None:
    """Slot times of 12 steps, after the first two; the longest gap is the event loop's, with napari's drawing."""
    with tempfile.TemporaryDirectory() as sessions:
        window = _resumed(scan, Path(sessions), lengths, keep=False)
        desk = window.widget.desk
        desk.use("instant", "instant")
        desk.steps = 1
        window.rest()
        desk.go_on()
        heart, sums, longest, gaps = Heart(), [], 0.0, []
        parts: dict[str, list[float]] = {}
        for step in range(14):
            window.until(lambda: not desk.running and desk.episode.waits)
            window.rest(0.1)
            spent.clear()
            heart.gap()
            window.widget.press("accept")
            window.until(lambda: not desk.running and desk.episode.waits)
            window.rest(0.1)
            if step >= 2:
                gaps.append(heart.gap())
                sums.append(sum(sum(spent.get(name, ())) for name in _SLOTS))
                longest = max(longest, *(max(found) for found in spent.values()))
                for name, found in spent.items():
                    parts.setdefault(name, []).append(sum(found))
        each = ", ".join(f"{name.strip('_')} {statistics.median(found):.1f}" for name, found in sorted(parts.items()))
        tell("a step", what, f"{statistics.median(sums):.1f} ms", f"slots below {longest:.0f} ms", gap_text(max(gaps)))
        tell("", each)
        window.close()


def _resumed(scan: Path, sessions: Path, lengths: list[int], *, keep: bool) -> Window:
    """A window with a session from the disk, gone on with."""
    window = _asked(scan, sessions, lengths, keep=keep)
    window.widget.desk.answer(True)
    window.ready()
    return window


def _asked(scan: Path, sessions: Path, lengths: list[int], *, keep: bool) -> Window:
    """A window that asks whether to go on with an earlier session."""

    write_session(scan, read_scan(scan), sessions, lengths, keep=keep)
    window = Window(sessions)
    window.viewer.open(scan, plugin="napari-ibisagent")
    window.until(lambda: any(card.key == "question" for card in window.widget.desk.cards()))
    window.rest()
    return window


def opening(path: Path) -> None:
    """The worker's part of opening a scan, and of a survey by the embedded policy, with the main thread's gaps."""
    from napari_ibisagent.ui.contributions import image_layer

    with tempfile.TemporaryDirectory() as sessions:
        window = Window(Path(sessions))
        volume = read_scan(path)
        data, attributes, _ = image_layer(volume, path)
        heart = Heart()
        window.rest()
        tell("opening", "an idle window", "", gap_text(heart.gap()))
        started = time.perf_counter()
        window.viewer.add_image(data, **attributes)
        tell("opening", "adding the layer", f"{(time.perf_counter() - started) * 1000:.0f} ms", "")
        heart.gap()
        took = window.until(lambda: window.widget.desk.ready)
        window.rest()
        tell("opening", "checksum, earlier sessions", f"{took * 1000:.0f} ms", gap_text(heart.gap()))
        drawn = statistics.median(window.move(z) for z in range(100, 120))
        tell("opening", "moving a slice, for comparison", f"{drawn:.0f} ms", "")
        heart.gap()
        desk = window.widget.desk
        desk.set_review(False)
        for what in ("segment the liver", "the same again"):
            heart.gap()
            window.widget.ask("segment the liver")
            took = window.until(lambda: desk.episode.located)
            tell("opening", f"{what}: the slice found", f"{took * 1000:.0f} ms", gap_text(heart.gap()))
            took += window.until(lambda: not desk.running)
            window.rest()
            words = f"{desk.episode.outcome}, {len(desk.episode.steps)} steps"
            tell("opening", f"{what}: {words}", f"{took * 1000:.0f} ms", gap_text(heart.gap()))
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
        what = f"200 steps, {len(desk.session.objects)} objects"
        tell("resuming", what, f"{took * 1000:.0f} ms", gap_text(heart.gap()))
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
