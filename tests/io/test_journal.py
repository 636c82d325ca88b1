"""The journal: what was acknowledged is there, whatever happens to the process, the disk or the file."""

from __future__ import annotations

import errno
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_ibisagent.agent.recorder import Recorder
from napari_ibisagent.agent.replay import recompute
from napari_ibisagent.core.actions import Click, Revert
from napari_ibisagent.core.episode import (
    Accepted,
    Author,
    Outcome,
    Overridden,
    PackedMask,
    Painted,
    Prompted,
    Proposed,
    Rejected,
    Segmented,
    Terminated,
    Thought,
)
from napari_ibisagent.core.errors import JournalError, OutputError
from napari_ibisagent.core.history import History, Reverted, record
from napari_ibisagent.core.session import (
    Committed,
    ObjectAdded,
    ObjectRemoved,
    Opened,
    OverlapRule,
    Patch,
    RuleChanged,
    ScanRef,
)
from napari_ibisagent.core.view import Plane
from napari_ibisagent.core.volume import Volume
from napari_ibisagent.io.journal import ENDING, Journal, read_journal
from napari_ibisagent.segmenters import geodesic

SHAPE = (3, 4)
OPENED = Opened(ScanRef("/scan.nii", "scan ü 肝", (1, 3, 4), "abc", frame=2), "scripted", "embedded")


def mask(dice: random.Random, shape: tuple[int, int] = SHAPE) -> PackedMask:
    return PackedMask.of(np.array([dice.random() < 0.4 for _ in range(shape[0] * shape[1])]).reshape(shape))


def some_event(history: History, dice: random.Random):
    """A random event that may follow."""
    session = history.session
    episode = session.episode
    if session.scan is None:
        return OPENED
    if dice.random() < 0.15:
        return Reverted(dice.randrange(1, len(history.nodes)))
    if dice.random() < 0.25 or episode is None:
        options = [
            Prompted('say "é\n\u2028" \\ \x7f', dice.choice(list(Plane)), 3, SHAPE, None, mask(dice)),
            RuleChanged(dice.choice(list(OverlapRule))),
            ObjectAdded(session.free_value(), "thing", "#123456"),
        ]
        for row in session.objects:
            options += [ObjectRemoved(row.value), Committed(Patch(row.value, Plane.CORONAL, 1, mask(dice)))]
        return dice.choice(options)
    click = Click(round(dice.random(), 4), round(dice.random(), 4), dice.random() < 0.5)
    if episode.pending is None:
        actions = (Revert(),) if dice.random() < 0.2 else (click,)
        return dice.choice(
            [Thought("hm"), Proposed(actions, None, 1.25), Painted(mask(dice)), Terminated(Outcome.DONE)]
        )
    if episode.pending.verdict is None:
        return dice.choice([Accepted(Author.AGENT), Overridden((click,)), Rejected("no")])
    return Segmented(mask(dice), round(dice.random(), 4), 0.1)


def write(path: Path, seed: int, length: int) -> History:
    dice, recorder = random.Random(seed), None
    with Journal.create(path) as journal:
        recorder = Recorder(journal=journal)
        for _ in range(length):
            recorder.record(some_event(recorder.history, dice))
    return recorder.history


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.integers(0, 2**32), st.integers(0, 25))
def test_the_fold_of_a_journal_is_the_state_that_wrote_it(tmp_path_factory, seed, length):
    path = tmp_path_factory.mktemp("journal") / f"scan{ENDING}"
    history = write(path, seed, length)
    assert read_journal(path) == history
    assert repr(read_journal(path)) == repr(history)
    journal, resumed = Journal.resume(path)
    with journal:
        assert resumed == history
        event = some_event(resumed, random.Random(seed))
        journal.append(event)
    assert read_journal(path) == record(history, event)


@pytest.fixture
def path(tmp_path):
    return tmp_path / f"scan{ENDING}"


@pytest.mark.parametrize(
    "last", [Thought("é\U0001f600" * 3), Segmented(mask(random.Random(3)), 0.25, 17.125)], ids=["text", "mask"]
)
def test_a_torn_last_line_is_dropped_at_every_byte(path, last):
    history = History()
    events = [OPENED, Prompted("x", Plane.AXIAL, 0, SHAPE), Proposed((Click(0.5, 0.5, True),)), Accepted()]
    with Journal.create(path) as journal:
        for event in events:
            journal.append(event)
            history = record(history, event)
        whole = len(path.read_bytes())
        journal.append(last)
    content = path.read_bytes()
    # Every offset within the last line, up to its line end alone missing.
    for end in range(whole, len(content)):
        path.write_bytes(content[:end])
        assert read_journal(path) == history, end
        journal, resumed = Journal.resume(path)
        with journal:
            assert resumed == history
            journal.append(last)
        assert read_journal(path) == record(history, last)
    path.write_bytes(content)
    assert read_journal(path) == record(history, last)


def test_a_journal_with_its_header_alone_goes_on(path):
    Journal.create(path).close()
    assert read_journal(path) == History()
    journal, history = Journal.resume(path)
    with journal:
        assert history == History()
        journal.append(OPENED)
    assert read_journal(path).session.scan == OPENED.scan


def test_a_torn_header_is_no_journal(path):
    Journal.create(path).close()
    content = path.read_bytes()
    for end in range(len(content) - 1):
        path.write_bytes(content[:end])
        if end == 0:
            continue
        with pytest.raises(JournalError, match=r"scan\.ibis\.jsonl"):
            read_journal(path)


def test_an_empty_file_is_not_taken_for_a_journal(path):
    path.write_bytes(b"")
    with pytest.raises(JournalError):
        read_journal(path)
    with pytest.raises(JournalError):
        Journal.resume(path)


def lines_of(path):
    events = [OPENED, Prompted("x", Plane.AXIAL, 0, SHAPE), ObjectAdded(1, "thing", "#123456"), *[Thought("hm")] * 6]
    with Journal.create(path) as journal:
        for event in events:
            journal.append(event)
    return path.read_bytes().split(b"\n")


BROKEN_EVENTS = [
    b"",
    b"{",
    b"not json",
    b"\xff\xfe",
    b"\x00\x00\x00\x00",
    b"null",
    b"5",
    b"[]",
    b"{}",
    b'"event"',
    b'{"event":null}',
    b'{"event":5}',
    b'{"event":[]}',
    b'{"event":{}}',
    b'{"event":{"type":"Exploded"}}',
    b'{"event":{"type":"Click","x":0.5,"y":0.5,"positive":true}}',
    b'{"event":{"type":"Revert"}}',
    b'{"event":{"type":"Thought"}}',
    b'{"event":{"type":"Thought","text":"a","more":1}}',
    b'{"event":{"type":"Accepted","by":"nobody"}}',
    b'{"event":{"type":"Reverted","to":99999}}',
    b'{"event":{"type":"Reverted","to":-1}}',
    b'{"event":{"type":"Reverted","to":"3"}}',
    b'{"event":{"type":"Reverted","to":1.5}}',
    b'{"event":{"type":"ObjectRemoved","value":77}}',
    b'{"event":{"type":"Painted","mask":null}}',
    b'{"event":{"type":"Committed","patch":null}}',
    b'{"event":{"type":"ObjectChanged","row":3}}',
    b'{"event":{"type":"Committed","patch":{"type":"Patch","value":[1],"plane":"axial","index":0,"mask":null}}}',
    b"[" * 100_000,
    b'{"format":"napari-ibisagent journal","version":1}',
]


@pytest.mark.parametrize("line", BROKEN_EVENTS, ids=lambda line: line.decode("latin-1")[:60])
def test_a_broken_line_in_the_middle_is_named(path, line):
    lines = lines_of(path)
    at = 6
    path.write_bytes(b"\n".join([*lines[:at], line, *lines[at + 1 :]]))
    before = path.read_bytes()
    with pytest.raises(JournalError, match=rf"Line {at + 1} of scan\.ibis\.jsonl"):
        read_journal(path)
    with pytest.raises(JournalError):
        Journal.resume(path)
    assert path.read_bytes() == before  # nothing is cut off


def test_a_mask_that_can_not_be_read_is_found_when_the_journal_is_opened(path):
    """Not later, when the user undoes to it."""
    broken = Painted(PackedMask(SHAPE, "AAAA"))
    with Journal.create(path) as journal:
        for event in (OPENED, Prompted("x", Plane.AXIAL, 0, SHAPE), broken, Thought("on")):
            journal.append(event)
    with pytest.raises(JournalError, match="Line 4"):
        read_journal(path)


def test_a_missing_line_is_found(path):
    with Journal.create(path) as journal:
        for event in (OPENED, Prompted("x", Plane.AXIAL, 0, SHAPE), Proposed((Click(0, 0, True),)), Accepted()):
            journal.append(event)
    lines = path.read_bytes().split(b"\n")
    path.write_bytes(b"\n".join(lines[:3] + lines[4:]))
    with pytest.raises(JournalError, match=r"Line 4 .* doesn't follow"):
        read_journal(path)


@pytest.mark.parametrize(
    ("header", "words"),
    [
        (b'{"format":"other","version":1}', "isn't a journal"),
        (b'{"version":1}', "isn't a journal"),
        (b"[]", "isn't a journal"),
        (b"hello", "isn't a journal"),
        (b'{"format":"napari-ibisagent journal","version":2}', "version 2.*reads 1. Update"),
        (b'{"format":"napari-ibisagent journal"}', "version None"),
    ],
)
def test_another_header_is_refused(path, header, words):
    path.write_bytes(header + b"\n")
    with pytest.raises(JournalError, match=words):
        read_journal(path)


def test_a_file_that_is_not_there_or_a_folder_is_a_journal_error(tmp_path):
    for missing in (tmp_path / "nothing.ibis.jsonl", tmp_path):
        with pytest.raises(JournalError, match="can't be read"):
            read_journal(missing)
        with pytest.raises(JournalError, match="can't be read"):
            Journal.resume(missing)


def test_nothing_is_ever_overwritten(path):
    write(path, 2, 5)
    before = path.read_bytes()
    with pytest.raises(OutputError, match="exists already"):
        Journal.create(path)
    assert path.read_bytes() == before


def test_a_folder_is_made_and_a_place_that_can_not_be_is_refused(tmp_path):
    Journal.create(tmp_path / "a" / "b" / "c.ibis.jsonl").close()
    (tmp_path / "file").write_text("x")
    with pytest.raises(OutputError, match="can't be written"):
        Journal.create(tmp_path / "file" / "c.ibis.jsonl")


@pytest.mark.skipif(os.name != "posix", reason="file modes are those of posix")
def test_only_the_user_may_read_it(path):
    before = os.umask(0)
    try:
        Journal.create(path).close()
    finally:
        os.umask(before)
    assert path.stat().st_mode & 0o777 == 0o600


def test_lines_are_json_with_a_time(path):
    write(path, 4, 8)
    lines = path.read_text("utf-8").splitlines()
    assert len(lines) == 9
    assert json.loads(lines[0])["format"] == "napari-ibisagent journal"
    for line in lines[1:]:
        content = json.loads(line)
        assert content["time"].endswith("+00:00") and content["event"]["type"]


# -- the disk ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("call", ["fsync", "write"])
def test_a_full_disk_is_said_and_the_state_stays(path, monkeypatch, call):
    with Journal.create(path) as journal:
        recorder = Recorder(journal=journal)
        recorder.record(OPENED)
        before = recorder.history

        def full(*_):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        with monkeypatch.context() as patch:
            patch.setattr(os, call, full)
            with pytest.raises(OutputError, match=r"can't be written.*Make room on the disk"):
                recorder.record(RuleChanged(OverlapRule.FORBID))
        assert recorder.history == before


@pytest.mark.parametrize("call", ["fsync", "write"])
def test_after_a_full_disk_the_journal_still_tells_the_same_story(path, monkeypatch, call):
    """A line that was refused didn't happen: what is written after room was made must not follow from it."""
    events = [Prompted("x", Plane.AXIAL, 0, SHAPE), Proposed((Click(0, 0, True),))]
    real = os.write
    with Journal.create(path) as journal:
        recorder = Recorder(journal=journal)
        recorder.record(OPENED)
        recorder.record(events[0])

        def half(descriptor, data):
            if len(data) > 20:
                return real(descriptor, data[:20])  # a disk that is nearly full takes a part
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        def full(*_):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        with monkeypatch.context() as patch:
            patch.setattr(os, call, half if call == "write" else full)
            long = Proposed(tuple(Click(n / 10, 0, True) for n in range(5)))
            with pytest.raises(OutputError):
                # The tail of this line is short enough that the half-full disk refuses it.
                recorder.record(long)
        recorder.record(events[1])
        recorder.record(Accepted())
        assert read_journal(path) == recorder.history


def test_a_disk_that_takes_a_byte_at_a_time_is_no_matter(path, monkeypatch):
    real = os.write
    monkeypatch.setattr(os, "write", lambda descriptor, data: real(descriptor, data[:3]))
    history = write(path, 5, 10)
    assert read_journal(path) == history


def test_every_event_is_flushed_before_the_next(path, monkeypatch):
    flushed = []
    monkeypatch.setattr(os, "fsync", lambda descriptor: flushed.append(path.read_bytes().count(b"\n")))
    with Journal.create(path) as journal:
        for n in range(3):
            journal.append(RuleChanged(OverlapRule.KEEP))
            assert flushed[-1] == n + 2
    assert flushed == [1, 2, 3, 4]


def test_appending_to_a_closed_journal_is_an_output_error(path):
    journal = Journal.create(path)
    journal.close()
    journal.close()
    with pytest.raises(OutputError):
        journal.append(OPENED)


def test_a_long_session_stays_small(path):
    """A 512 x 512 x 400 scan, 50 steps with masks as organs have them, each committed."""
    rows, columns = np.ogrid[:512, :512]
    rng = np.random.default_rng(0)
    ripples = sum(rng.normal(0, 4) * np.sin(n * np.arctan2(rows - 250, columns - 240) + n) for n in range(2, 14))
    with Journal.create(path) as journal:
        recorder = Recorder(journal=journal)
        recorder.record(Opened(ScanRef("/scan.nii", "scan", (400, 512, 512), "abc"), "embedded", "embedded"))
        recorder.record(ObjectAdded(1, "liver", "#e69f00"))
        for n in range(50):
            recorder.record(Prompted("the liver", Plane.AXIAL, n, (512, 512)))
            organ = np.hypot((rows - 250) / 1.2, columns - 240) + rng.normal(0, 0.7, (512, 512)) < 90 + n + ripples
            recorder.record(Proposed((Click(0.5, 0.5, True),)))
            recorder.record(Accepted())
            recorder.record(Segmented(PackedMask.of(organ), 0.9))
            recorder.record(Committed(Patch(1, Plane.AXIAL, n, PackedMask.of(organ))))
    assert path.stat().st_size < 5_000_000
    started = time.perf_counter()
    assert read_journal(path) == recorder.history
    assert time.perf_counter() - started < 2


# -- locks -------------------------------------------------------------------------------------------------

locked = pytest.mark.skipif(os.name != "posix", reason="the lock is one of POSIX systems")


@locked
def test_an_open_journal_can_be_read_but_not_continued_by_another(path):
    with Journal.create(path) as journal:
        journal.append(OPENED)
        before = path.read_bytes()
        with pytest.raises(OutputError, match=r"scan.ibis.jsonl is open in another window"):
            Journal.resume(path)
        assert path.read_bytes() == before and len(read_journal(path).nodes) == 2
        journal.append(RuleChanged(OverlapRule.KEEP))
    resumed, history = Journal.resume(path)
    with resumed:
        assert len(history.nodes) == 3
        with pytest.raises(OutputError):
            Journal.resume(path)
    Journal.resume(path)[0].close()


@locked
def test_a_torn_line_of_a_journal_that_is_open_elsewhere_is_left_alone(path):
    with Journal.create(path) as journal:
        journal.append(OPENED)
        with path.open("ab") as file:
            file.write(b'{"time":')  # the other process is in the middle of a line
        before = path.read_bytes()
        with pytest.raises(OutputError):
            Journal.resume(path)
        assert path.read_bytes() == before


@locked
@pytest.mark.parametrize("code", [errno.ENOLCK, errno.ENOTSUP])
def test_where_the_system_has_no_locks_a_journal_is_written_all_the_same(path, monkeypatch, code):
    import fcntl

    def none(*_):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(fcntl, "flock", none)
    with Journal.create(path) as journal:
        journal.append(OPENED)
    journal, history = Journal.resume(path)
    journal.close()
    assert len(history.nodes) == 2


@locked
def test_a_lock_that_fails_otherwise_is_an_output_error_and_leaves_nothing(path, monkeypatch):
    import fcntl

    def broken(*_):
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(fcntl, "flock", broken)
    with pytest.raises(OutputError, match="can't be locked"):
        Journal.create(path)
    assert not path.exists()


@pytest.mark.parametrize("call", ["write", "fsync"])
def test_a_journal_whose_first_line_can_not_be_written_leaves_no_file(path, monkeypatch, call):
    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(os, call, full)
        for _ in range(3):
            with pytest.raises(OutputError, match="No space left"):
                Journal.create_free(path.parent, "scan")
        assert list(path.parent.iterdir()) == []
    with Journal.create_free(path.parent, "scan") as journal:
        assert journal.path == path


# -- killed in the middle ----------------------------------------------------------------------------------

WORKER = """
import sys
from pathlib import Path
import numpy as np
from napari_ibisagent.agent.recorder import Recorder
from napari_ibisagent.agent.runner import Stage, run
from napari_ibisagent.core.episode import Prompted
from napari_ibisagent.core.session import Opened
from napari_ibisagent.core.view import Plane, view_of
from napari_ibisagent.core.volume import Volume
from napari_ibisagent.io.journal import Journal
from napari_ibisagent.io.scanref import scan_ref
from napari_ibisagent.policies.scripted import build
from napari_ibisagent.segmenters import geodesic

path, picture = Path(sys.argv[1]), np.load(sys.argv[2])
volume = Volume.from_picture(picture, name="picture")
view = view_of(volume, Plane.AXIAL, 0)
tool = geodesic.build().open(view)
turns = [
    "<think>The disc.</think><action>Positive Point (0.5703, 0.4453)</action>",
    "<action>Positive Point (0.1000, 0.9000)</action>",
    "<action>Revert</action>",
    "<action>Negative Point (0.3000, 0.8000), Positive Point (0.6, 0.5)</action>",
    "<action>Terminate</action><answer>the disc</answer>",
]
count = 0
with Journal.create(path) as journal:
    recorder = Recorder(journal=journal)

    def say(event):
        global count
        recorder.record(event)
        count += 1
        sys.stdout.write(f"{count}\\n")
        sys.stdout.flush()

    say(Opened(scan_ref(volume, Path("picture.png")), "scripted", "geodesic"))
    while True:
        say(Prompted("the disc", Plane.AXIAL, 0, view.shape))
        for event in run(recorder.session.episode, Stage(volume, view, build(turns), tool)):
            say(event)
"""


def killed(path, picture, delay):
    """Starts the worker and kills it ``delay`` seconds after its first event; the number that it acknowledged."""
    worker = subprocess.Popen(
        [sys.executable, "-c", WORKER, str(path), str(picture)], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    said: list[bytes] = []
    began = threading.Event()

    def listen():
        for line in worker.stdout:
            said.append(line)
            began.set()
        began.set()

    reader = threading.Thread(target=listen)
    reader.start()
    try:
        assert began.wait(60)
        time.sleep(delay)
    finally:
        worker.kill()
        worker.wait()
        reader.join()
        errors = worker.stderr.read()
        worker.stdout.close()
        worker.stderr.close()
    assert said and not errors, errors
    if os.name == "posix":
        assert worker.returncode == -signal.SIGKILL
    # A number that was cut while it was printed wasn't acknowledged.
    return max((int(line) for line in said if line.endswith(b"\n")), default=0)


def test_a_killed_process_loses_nothing_that_it_acknowledged(tmp_path):
    rows, columns = np.ogrid[:64, :64]
    disc = (rows - 28) ** 2 + (columns - 36) ** 2 <= 144
    picture = (60 + 100 * disc + np.random.default_rng(5).normal(0, 6, (64, 64))).astype(np.float32)
    np.save(tmp_path / "picture.npy", picture)
    volume, tool, dice = Volume.from_picture(picture, name="picture"), geodesic.build(), random.Random(11)
    lengths = []
    for number in range(8):
        path = tmp_path / f"run{number}{ENDING}"
        acknowledged = killed(path, tmp_path / "picture.npy", dice.uniform(0.0, 0.25))
        history = read_journal(path)
        events = len(history.nodes) - 1
        assert acknowledged <= events <= acknowledged + 1
        journal, resumed = Journal.resume(path)
        with journal:
            assert resumed == history
            recorder = Recorder(resumed, journal)
            recorder.record(Prompted("again", Plane.AXIAL, 0, (64, 64)))
            recorder.record(Terminated(Outcome.CANCELLED, "killed"))
        assert read_journal(path) == recorder.history
        checks = list(recompute(history, volume, tool))
        assert all(check.identical for check in checks)
        lengths.append(len(checks))
    assert max(lengths) > 3  # some were killed well into their work
