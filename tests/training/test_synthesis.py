"""A folder of trajectories: the same whatever the processes, the kills and the restarts; nothing written is lost."""

from __future__ import annotations

import errno
import json
import os
import random
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from scans_maker import write_manifest
from trajectory_strategies import trajectories

from napari_ibisagent.core.errors import BackendError, InputError, OutputError
from napari_ibisagent.core.protocols import Segmentation
from napari_ibisagent.core.view import Plane, View
from napari_ibisagent.evaluation.runner import Skipped
from napari_ibisagent.training.nano.anatomy import make_slice
from napari_ibisagent.training.trajectories.exercises import Exercise, LeftOut
from napari_ibisagent.training.trajectories.filters import Filters
from napari_ibisagent.training.trajectories.form import to_line
from napari_ibisagent.training.trajectories.lines import Lines, read_lines
from napari_ibisagent.training.trajectories.parquet import read_parquet, write_parquet
from napari_ibisagent.training.trajectories.simulate import REFLECTION, Recipe
from napari_ibisagent.training.trajectories.synthesis import Order, play_unit, report, synthesise
from napari_ibisagent.training.trajectories.writing import (
    PICTURES,
    REJECTED,
    TRAJECTORIES,
    Folder,
    picture_of,
    read_folder,
    read_rejected,
)

COMMAND = (sys.executable, "-c", "from napari_ibisagent.cli import main; main()")
SIDE = 48
ORDER = Order(Recipe(most=3, near=0.3, slips=0.3, stories=REFLECTION), Filters(8, 0.5), "geodesic", seed=3)


@dataclass(frozen=True)
class Slice:
    """The structures of a made-up slice; one that can't be read, and one that isn't worth playing."""

    number: int

    @property
    def name(self):
        return f"slice-{self.number}"

    def exercises(self):
        made = make_slice(np.random.default_rng(self.number), SIDE)
        view = View(made.image, Plane.AXIAL, 0, (SIDE, SIDE), None)
        for name, truth in made.structures.items():
            others = {other: mask for other, mask in made.structures.items() if other != name}
            yield Exercise(f"{self.name}/{name}", view, truth, name, f"segment the {name}", wrong=others)
        yield Skipped(self.name, "broken", "its mask can't be read.")
        yield LeftOut(f"{self.name}/dot", "too small")


UNITS = [Slice(number) for number in range(5)]


def made_in(path, units=UNITS, order=ORDER, processes=1, **more):
    with Folder(path) as folder:
        return list(synthesise(units, order, folder, processes, **more))


def content(path, but=("settings.json",)):
    """All files of a folder."""
    return {
        str(file.relative_to(path)): file.read_bytes()
        for file in sorted(path.rglob("*"))
        if file.is_file() and file.name not in but
    }


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A run that nobody disturbed."""
    path = tmp_path_factory.mktemp("whole") / "run"
    made_in(path)
    return path


@pytest.fixture(scope="module")
def order_of_names():
    """All that a run makes, in the order in which it does."""
    return [made.name for unit in UNITS for made in play_unit(unit, ORDER, ORDER.tool())]


def test_what_a_folder_holds(whole):
    found = list(read_folder(whole))
    assert len(found) > 10 and len({one.name for one in found}) == len(found)
    assert {reason for _, reason in read_rejected(whole)} >= {"too small", "its mask can't be read."}
    for one in found:
        assert picture_of(one, whole).shape == (SIDE, SIDE, 3)
        with Image.open(whole / one.source.picture) as image:
            assert image.mode == "L" and image.info == {}
    told = report(found, read_rejected(whole))
    assert told.trajectories == len(found) == sum(told.steps.values()) == sum(told.kinds.values())
    assert 0.5 < told.mean_iou <= 1 and 1 <= told.mean_clicks <= 8 and told.reasons["too small"] == len(UNITS)
    assert len(list((whole / PICTURES).iterdir())) == len(UNITS), "a picture is written once"


def test_two_processes_write_the_same_bytes(whole, tmp_path):
    made_in(tmp_path / "run", processes=2)
    assert content(tmp_path / "run") == content(whole)


@pytest.mark.parametrize("seed", range(3))
def test_a_torn_folder_is_gone_on_with_to_the_same_bytes(whole, order_of_names, tmp_path, seed):
    """Cut off anywhere, as by a kill or a power cut, with half a picture and one that no line tells of."""
    rng = random.Random(seed)
    run = tmp_path / "run"
    (run / PICTURES).mkdir(parents=True)
    (run / "settings.json").write_bytes((whole / "settings.json").read_bytes())
    lines = (whole / TRAJECTORIES).read_bytes()
    kept = lines[: rng.randrange(len(lines))]
    (run / TRAJECTORIES).write_bytes(kept)
    written = [json.loads(line) for line in kept.splitlines(keepends=True) if line.endswith(b"\n")]
    names = {values["name"] for values in written}
    # What was rejected before the last whole line, cut in the middle of a letter.
    upto = max(map(order_of_names.index, names), default=0)
    rejected = [row for row in read_lines(whole / REJECTED) if order_of_names.index(row[1]["name"]) < upto]
    text = "".join(json.dumps(values, ensure_ascii=False) + "\n" for _, values in rejected)
    (run / REJECTED).write_bytes(text.encode() + b'{"name": "sl\xc3')
    unwritten = min((whole / PICTURES).iterdir())
    for name in {values["source"]["picture"] for values in written} | {f"{PICTURES}/{unwritten.name}"}:
        (run / name).write_bytes((whole / name).read_bytes())
    (run / PICTURES / f".{unwritten.stem}.0badcafe.png").write_bytes(b"half")
    made_in(run)
    assert content(run) == content(whole)


def test_nothing_is_made_twice(whole, tmp_path):
    made_in(tmp_path / "run", UNITS[:3])
    before = content(tmp_path / "run")
    again = made_in(tmp_path / "run", UNITS[:3])
    assert content(tmp_path / "run") == before
    assert {made.name.partition("/")[2] for made in again} == {"broken"}, "what can't be read is told again"
    made_in(tmp_path / "run", UNITS)
    assert content(tmp_path / "run") == content(whole)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"seed": 4}, "seed 3 where this run has 4"),
        ({"segmenter": "embedded"}, '"geodesic" where this run has "embedded"'),
        ({"filters": Filters(8, 0.6)}, "iou 0.5 where this run has 0.6"),
        ({"recipe": replace(ORDER.recipe, stories={"direct": 1.0})}, "stories direct 0.7"),
        ({"options": (("a", 1),)}, "a none where this run has 1"),
        ({"pictures": False}, "pictures true where"),
    ],
)
def test_other_settings_are_refused_by_name(whole, change, words):
    before = content(whole)
    with pytest.raises(InputError, match=words):
        made_in(whole, order=replace(ORDER, **change))
    with pytest.raises(InputError, match="slices none where this run has 3"):
        made_in(whole, about={"slices": 3})
    assert content(whole) == before


def test_a_folder_that_nobody_says_how_it_was_made_is_refused(whole, tmp_path):
    (tmp_path / TRAJECTORIES).write_bytes((whole / TRAJECTORIES).read_bytes())
    with pytest.raises(InputError, match=r"without the settings\.json"):
        made_in(tmp_path)
    (tmp_path / "settings.json").write_text('{"version": 1}')
    with pytest.raises(InputError, match="can't be read"):
        made_in(tmp_path)


def test_another_scan_of_the_same_name_is_refused(tmp_path):
    made_in(tmp_path, UNITS[:1], scans={"slice-0": "/a/slice-0.png"})
    made_in(tmp_path, UNITS[:2], scans={"slice-0": "/a/slice-0.png", "slice-1": "/a/slice-1.png"})
    with pytest.raises(InputError, match=r"another scan that is called slice-1 \(/a/slice-1\.png\)"):
        made_in(tmp_path, UNITS[:2], scans={"slice-1": "/b/slice-1.png"})


def test_a_folder_has_one_writer(tmp_path):
    with Folder(tmp_path), pytest.raises(OutputError, match="another run"):
        Folder(tmp_path)
    Folder(tmp_path).close()


# -- tools that fail -----------------------------------------------------------------------------------------


class Failing:
    """Fails where it is told to, and finds a plain disc elsewhere."""

    name = "failing"

    def __init__(self, fails):
        self.fails, self.opened = fails, 0

    def open(self, view):
        self.opened += 1
        if self.fails(self.opened):
            raise BackendError("The tool is out of order.")
        return self

    def segment(self, prompts, prior):
        return Segmentation(np.ones((SIDE, SIDE), bool), 0.5)


@dataclass(frozen=True)
class FailingOrder(Order):
    every: int = 1

    def tool(self):
        return Failing(lambda opened: opened % self.every == 0)


def test_where_a_tool_fails_the_others_are_written_and_it_is_tried_again(tmp_path, order_of_names):
    order = FailingOrder(ORDER.recipe, Filters(20, 0), "geodesic", every=4)
    with pytest.raises(BackendError, match=r"failed in .* exercises, first in .*: The tool is out of order"):
        made_in(tmp_path / "run", order=order)
    first = {one.name for one in read_folder(tmp_path / "run")}
    left = {name for name, _ in read_rejected(tmp_path / "run")}
    everything = set(order_of_names)
    missing = everything - first - left
    assert missing and first | left
    mended = FailingOrder(ORDER.recipe, Filters(20, 0), "geodesic", every=10**6)
    (tmp_path / "run" / "settings.json").write_text(
        (tmp_path / "run" / "settings.json").read_text().replace('"every": 4', '"every": 1000000')
    )
    made_in(tmp_path / "run", order=mended)
    after = {one.name for one in read_folder(tmp_path / "run")} | {name for name, _ in read_rejected(tmp_path / "run")}
    assert after == everything


@pytest.mark.parametrize("processes", [1, 2])
def test_a_tool_that_is_gone_ends_the_run_with_a_sentence(tmp_path, processes):
    with pytest.raises(BackendError, match="5 exercises in a row"):
        made_in(tmp_path, order=FailingOrder(ORDER.recipe, ORDER.filters, "geodesic"), processes=processes)


@pytest.mark.parametrize("processes", [1, 2])
def test_a_tool_that_cannot_be_loaded_is_said(tmp_path, processes):
    with pytest.raises(InputError, match=r"no segmenter called 'nope'"):
        made_in(tmp_path, order=replace(ORDER, segmenter="nope"), processes=processes)
    if processes == 1:
        made_in(tmp_path, UNITS[:1])  # with the name put right it isn't a folder of other settings


@dataclass(frozen=True)
class Deadly:
    name: str = "deadly"

    def exercises(self):
        os._exit(9)
        yield


def test_a_process_that_dies_is_said_and_what_was_written_stays(tmp_path):
    with pytest.raises(BackendError, match="ended without a word"):
        made_in(tmp_path, [*UNITS[:2], Deadly()], processes=2)
    assert all(line.endswith(b"\n") for line in (tmp_path / TRAJECTORIES).read_bytes().splitlines(keepends=True))


def test_views_are_opened_together_and_in_the_same_company():
    class Many(Failing):
        def __init__(self):
            super().__init__(lambda opened: False)
            self.together = []

        def open_many(self, views):
            self.together.append(len(views))
            return [self for _ in views]

    @dataclass(frozen=True)
    class Album:
        name: str = "album"

        def exercises(self):
            for unit in (Slice(n) for n in range(10)):
                yield from unit.exercises()

    every = [item.name for item in Album().exercises() if isinstance(item, Exercise)]
    tool = Many()
    assert [made.name for made in play_unit(Album(), ORDER, tool) if made.reason not in ("too small",)]
    assert tool.together == [8, 2] and tool.opened == 0
    left = Many()
    list(play_unit(Album(), ORDER, left, frozenset(every[:-1])))
    assert left.together == [2], "alone it would get another batch, and other roundings"
    single = Failing(lambda opened: False)
    list(play_unit(Album(), ORDER, single))
    assert single.opened == 10, "once for all that is asked of a view"


# -- files ---------------------------------------------------------------------------------------------------


def test_a_line_that_the_disk_refuses_is_taken_back(tmp_path, monkeypatch):
    lines = Lines(tmp_path / "a.jsonl")
    lines.append('{"a": 1}\n')
    real = os.write

    def full(descriptor, data):
        real(descriptor, data[:3])
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "write", full)
    with pytest.raises(OutputError, match=r"No space left on device.*run the same command again"):
        lines.append('{"a": 2}\n')
    monkeypatch.undo()
    lines.append('{"a": 3}\n')
    lines.close()
    assert [values["a"] for _, values in read_lines(tmp_path / "a.jsonl")] == [1, 3]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.text(max_size=30), max_size=5), st.integers(0, 200))
def test_whole_lines_stay_and_a_torn_one_is_cut_off(tmp_path_factory, texts, cut):
    path = tmp_path_factory.mktemp("lines") / "a.jsonl"
    data = "".join(json.dumps({"name": text}) + "\n" for text in texts).encode()
    path.write_bytes(data[:cut])
    kept = data[: min(cut, len(data))].rfind(b"\n") + 1
    assert [v for _, v in read_lines(path)][: data[:kept].count(b"\n")] == [{"name": t} for t in texts][
        : data[:kept].count(b"\n")
    ]
    Lines(path).close()
    assert path.read_bytes() == data[:kept]


def test_a_long_torn_line_is_cut_off(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_bytes(b"{}\n" + b"x" * 200_000)
    Lines(path).close()
    assert path.read_bytes() == b"{}\n"
    path.write_bytes(b"{}\nnope\n{}\n")
    with pytest.raises(InputError, match="line 2 isn't JSON"):
        list(read_lines(path))


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.tuples(trajectories(), st.none() | st.binary(max_size=20)), max_size=4))
def test_parquet_gives_every_trajectory_back(tmp_path_factory, rows):
    pytest.importorskip("pyarrow", reason="Parquet needs the extra: train")
    path = tmp_path_factory.mktemp("parquet") / "a.parquet"
    write_parquet(rows, path)
    assert list(read_parquet(path)) == rows


def test_parquet_is_written_in_groups_and_something_else_is_refused(whole, tmp_path):
    pyarrow = pytest.importorskip("pyarrow.parquet", reason="Parquet needs the extra: train")
    one = next(read_folder(whole))
    path = tmp_path / "a.parquet"
    write_parquet(((one, b"png") for _ in range(600)), path)
    assert pyarrow.ParquetFile(path).num_row_groups == 3
    assert sum(1 for _ in read_parquet(path)) == 600
    path.write_bytes(b"PAR1 and nothing else")
    with pytest.raises(InputError, match="can't be read as Parquet"):
        list(read_parquet(path))
    assert [file.name for file in tmp_path.iterdir()] == ["a.parquet"]


# -- real kills ----------------------------------------------------------------------------------------------

CASES = 12


@pytest.fixture(scope="module")
def manifest(tmp_path_factory):
    return write_manifest(tmp_path_factory.mktemp("scans"), CASES, ("spleen",))


def command(manifest, output, processes):
    return [
        *(*COMMAND, "trajectories", str(manifest), "-o", str(output), "--processes", str(processes)),
        *("--segmenter", "geodesic", "--slices", "1", "--words", "2", "--absent", "1", "--plain", "1"),
        *("--slips", "0.2", "--stories", "reflection"),
    ]


@contextmanager
def running(manifest, output, processes):
    process = subprocess.Popen(
        command(manifest, output, processes),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1", "COLUMNS": "160", "NO_COLOR": "1"},
        start_new_session=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def lines_of(output):
    path = output / TRAJECTORIES
    return path.read_bytes().count(b"\n") if path.exists() else 0


def wait_for_lines(process, output, count):
    """Waits until the run has written so many lines more, or is over."""
    wanted = lines_of(output) + count
    until = time.monotonic() + 60
    while process.poll() is None and lines_of(output) < wanted and time.monotonic() < until:
        time.sleep(0.002)


def children(process):
    try:
        return [int(n) for n in Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()]
    except OSError:
        return []


def alive(number):
    try:
        return Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.fixture(scope="module")
def unbroken(manifest, tmp_path_factory):
    output = tmp_path_factory.mktemp("unbroken") / "run"
    finish(manifest, output)
    return output


def finish(manifest, output):
    with running(manifest, output, 1) as process:
        told, faults = process.communicate(timeout=100)
        assert process.returncode == 0, told + faults


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="this system has no kill -9")
def test_killed_at_random_instants_it_comes_to_the_same_end(manifest, unbroken, tmp_path):
    rng = random.Random(7)
    output = tmp_path / "run"
    kills = 0
    for attempt in range(4):
        with running(manifest, output, 1 + attempt % 2) as process:
            wait_for_lines(process, output, rng.randint(1, 3))
            time.sleep(rng.random() * 0.05)
            left = children(process)
            kills += process.poll() is None
        until = time.monotonic() + 20
        while any(map(alive, left)) and time.monotonic() < until:
            time.sleep(0.02)
        assert not any(map(alive, left)), "a process that lost its parent works on"
        written = (output / TRAJECTORIES).read_bytes() if (output / TRAJECTORIES).exists() else b""
        whole = written[: written.rfind(b"\n") + 1]
        assert (unbroken / TRAJECTORIES).read_bytes().startswith(whole), "what was written stays"
    assert kills >= 2
    finish(manifest, output)
    assert content(output) == content(unbroken)


@pytest.mark.skipif(os.name == "nt", reason="Ctrl+C goes another way there")
def test_ctrl_c_ends_it_with_a_sentence_and_it_goes_on(manifest, unbroken, tmp_path):
    for attempt in range(5):  # a busy machine may hear of it too late
        output = tmp_path / f"run-{attempt}"
        with running(manifest, output, 2) as process:
            wait_for_lines(process, output, 1)
            os.killpg(process.pid, signal.SIGINT)
            told, faults = process.communicate(timeout=60)
        if lines_of(output) < lines_of(unbroken):
            break
    assert process.returncode == 130, told + faults
    assert "Stopped. What is written is whole" in told and "Traceback" not in told + faults
    assert 0 < lines_of(output) < lines_of(unbroken)
    assert (unbroken / TRAJECTORIES).read_bytes().startswith((output / TRAJECTORIES).read_bytes())
    finish(manifest, output)
    assert content(output) == content(unbroken)


def test_a_line_reads_as_it_was_written(whole):
    assert "".join(map(to_line, read_folder(whole))).encode() == (whole / TRAJECTORIES).read_bytes()
