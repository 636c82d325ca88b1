"""Autosave: a session is on the disk as it goes on, and comes back from there whole."""

from __future__ import annotations

import errno
import os
import random
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
from playground import HIT, MISS, OUT, STOP, Desk, reference

from napari_ibisagent.agent.autosave import Autosave, Earlier, find_earlier, resume
from napari_ibisagent.core.actions import Click
from napari_ibisagent.core.episode import Accepted, Outcome
from napari_ibisagent.core.errors import JournalError, OutputError
from napari_ibisagent.core.session import OverlapRule, RuleChanged
from napari_ibisagent.io.journal import ENDING, read_journal

REF = reference()


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "sessions"


@pytest.fixture
def desks(folder):
    """Makes desks whose sessions are saved; closes their journals at the end."""
    made = []

    def desk(*turns, ref=REF, **options):
        save = options.pop("autosave", None) or Autosave(folder, ref)
        made.append(save)
        found = Desk(*turns, autosave=save, **options)
        found.save = save
        return found

    yield desk
    for save in made:
        save.close()


def descriptors():
    """How many files this process has open, where the system says so."""
    place = Path("/dev/fd")
    return len(list(place.iterdir())) if place.is_dir() else 0


def full(*_):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


# -- writing -----------------------------------------------------------------------------------------------


def test_nothing_is_written_for_a_scan_that_was_only_opened(desks, folder):
    desk = desks()
    assert not desk.store.undo()
    assert desk.save.path is None and not folder.exists() and desk.store.trouble == ""
    desk.save.close()
    assert not folder.exists()


def test_the_journal_has_the_name_and_the_digest_of_the_scan_and_all_that_was_done(desks, folder):
    desk = desks(HIT, OUT, STOP)
    desk.ask()
    assert desk.save.path.parent == folder and desk.save.path.name == f"disc-{REF.digest[:12]}{ENDING}"
    assert read_journal(desk.save.path) == desk.store.history
    desk.go(Accepted(), passes=9)
    desk.store.keep()
    desk.store.undo()
    assert read_journal(desk.save.path) == desk.store.history


@pytest.mark.parametrize("name", ["../../etc/passwd", "a b\n/c*?[x]", "", "x" * 300, "Übung 肝", "."])
def test_any_name_of_a_scan_makes_a_file_in_the_folder(desks, folder, name):
    ref = replace(REF, name=name)
    desk = desks(HIT, ref=ref)
    desk.ask()
    assert desk.save.path.parent == folder and desk.store.trouble == ""
    assert find_earlier(ref, [folder])[0].path == desk.save.path


def test_two_windows_on_one_scan_have_a_journal_each(desks):
    one, two = desks(HIT, STOP), desks(MISS, OUT, STOP)
    one.ask("one")
    two.ask("two")
    one.go(Accepted())
    two.go(Accepted())
    assert one.save.path != two.save.path
    for desk in (one, two):
        assert read_journal(desk.save.path) == desk.store.history


# -- what the disk refuses ---------------------------------------------------------------------------------


def test_what_the_disk_refuses_is_written_later_in_order(desks, monkeypatch):
    desk = desks(HIT, OUT, STOP)
    desk.ask()
    saved = read_journal(desk.save.path)
    with monkeypatch.context() as patch:
        patch.setattr(os, "write", full)
        desk.go(Accepted())
        assert "No space left" in desk.store.trouble and desk.store.trouble.startswith("Not saved")
        assert desk.episode.waits and len(desk.episode.steps) == 1  # the work goes on
        assert read_journal(desk.save.path) == saved
    desk.go(Accepted())
    assert desk.store.trouble == "" and read_journal(desk.save.path) == desk.store.history


def test_what_is_queued_at_the_end_is_tried_once_more(desks, monkeypatch):
    desk = desks(HIT, STOP)
    desk.ask()
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        desk.store.flip()
    assert desk.store.trouble
    desk.save.close()
    assert desk.store.trouble == "" and read_journal(desk.save.path) == desk.store.history
    desk.store.flip()
    assert "is closed" in desk.store.trouble


def test_a_folder_that_can_not_be_made_can_be_made_later(desks, folder):
    folder.write_text("in the way")
    desk = desks(HIT, STOP)
    desk.ask()
    assert "can't be written" in desk.store.trouble and desk.save.path is None
    folder.unlink()
    desk.go(Accepted())
    assert desk.store.trouble == "" and read_journal(desk.save.path) == desk.store.history


def test_a_full_disk_isn_t_littered_with_empty_journals(desks, folder, monkeypatch):
    desk = desks(HIT, STOP)
    before = descriptors()
    with monkeypatch.context() as patch:
        patch.setattr(os, "write", full)
        desk.ask()
        desk.store.flip()
        assert desk.store.trouble and list(folder.iterdir()) == []
        assert descriptors() == before
    desk.store.flip()
    assert [p.name for p in folder.iterdir()] == [f"disc-{REF.digest[:12]}{ENDING}"]
    assert read_journal(desk.save.path) == desk.store.history


# -- finding and going on ----------------------------------------------------------------------------------


def test_an_earlier_session_comes_back_whole_and_goes_on(desks, folder):
    desk = desks(HIT, OUT, MISS, STOP)
    desk.ask()
    desk.go(Accepted())
    desk.store.keep()
    desk.store.undo()
    desk.store.undo()
    desk.store.undo()
    assert desk.episode.waits
    desk.go(Accepted())
    desk.save.close()
    found = find_earlier(REF, [folder, folder / "none"])[0]
    assert (found.path, found.prompts, found.objects) == (desk.save.path, 1, 0)
    save, history = resume(found, folder, REF)
    assert history == desk.store.history
    again = desks(OUT, STOP, autosave=save, history=history)
    assert again.store.session == desk.store.session and again.episode.waits
    again.go(Accepted(), passes=9)
    assert again.episode.outcome is Outcome.DONE
    while desk.store.undo() and again.store.session != desk.store.session:
        assert again.store.undo()
    while again.store.undo():
        pass
    assert again.store.session.episodes == () and save.path == desk.save.path
    assert read_journal(save.path) == again.store.history


def test_a_journal_that_is_open_elsewhere_is_an_output_error(desks, folder):
    desk = desks(HIT, STOP)
    desk.ask()
    found = find_earlier(REF, [folder])[0]
    before = found.path.read_bytes()
    with pytest.raises(OutputError, match="open in another window"):
        resume(found, folder, REF)
    assert found.path.read_bytes() == before
    desk.go(Accepted())
    assert desk.store.trouble == ""
    desk.save.close()
    save, history = resume(found, folder, REF)
    assert history == desk.store.history
    save.close()


def test_the_newest_session_that_holds_work_and_can_be_read_is_found(desks, folder):
    assert find_earlier(REF, [folder])[0] is None
    paths = []
    for number in range(4):
        desk = desks(HIT, STOP)
        desk.ask(f"prompt {number}")
        desk.save.close()
        paths.append(desk.save.path)
        os.utime(desk.save.path, (1000 + number, 1000 + number))
    assert find_earlier(REF, [folder])[0] == Earlier(paths[3], 1, 0, 1003.0)
    lines = paths[3].read_bytes().splitlines(keepends=True)
    paths[3].write_bytes(b"".join([lines[0], b"broken\n", *lines[1:]]))
    paths[2].write_bytes(b"".join(lines[:2]))  # only opened
    os.utime(paths[2], (1002, 1002))
    found, broken = find_earlier(REF, [folder])
    assert found.path == paths[1] and len(broken) == 1 and "can't be read" in broken[0]
    with pytest.raises(JournalError, match="Line 2"):
        resume(Earlier(paths[3], 1, 0, 0.0), folder, REF)
    assert find_earlier(replace(REF, digest="f" * 32), [folder])[0] is None
    # The name says so, but what it holds is about another scan.
    other = desks(HIT, ref=replace(REF, digest=REF.digest[:12] + "0" * 20))
    other.ask()
    assert find_earlier(replace(REF, digest=REF.digest[:12] + "1" * 20), [folder])[0] is None


def test_a_setting_alone_is_written_as_well(desks):
    desk = desks()
    desk.store.record(RuleChanged(OverlapRule.FORBID))
    assert read_journal(desk.save.path).session.rule is OverlapRule.FORBID


def test_a_session_that_was_cut_off_in_a_step_is_settled_without_asking_anyone(desks, folder):
    desk = desks(HIT, OUT, STOP)
    desk.ask()
    waiting = desk.store.session
    desk.store.record(Accepted())
    desk.save.close()
    save, history = resume(find_earlier(REF, [folder])[0], folder, REF)
    again = desks(OUT, STOP, autosave=save, history=history)
    assert again.store.settle() and again.store.session == waiting and again.asked == (0, 0)
    again.go(Accepted())
    assert again.episode.prompts == (Click(0.5703, 0.4453, True),)


# -- killed in mid-run -------------------------------------------------------------------------------------

WORKER = """
import itertools
import sys
from pathlib import Path
from playground import HIT, MISS, OUT, REVERT, Desk, reference
from napari_ibisagent.agent.autosave import Autosave
from napari_ibisagent.core.episode import Accepted, Rejected
from napari_ibisagent.core.actions import Click

turns = [HIT, MISS, REVERT, OUT] * 400
desk = Desk(*turns, autosave=Autosave(Path(sys.argv[1]), reference()))
count = itertools.count(2)  # it was opened before anyone listened
desk.store.subscribe(lambda old, new: print(next(count), flush=True))
desk.ask()
while True:
    desk.go(Accepted())
    desk.store.undo()
    desk.store.undo()
    desk.go(Rejected("no"), passes=1)
    desk.store.keep()
    desk.store.clear()
    desk.click(Click(0.6, 0.5, True))
    desk.delete(1)
    desk.ask("again")
"""


@pytest.mark.skipif(os.name != "posix", reason="only POSIX systems kill like this")
def test_a_killed_window_loses_nothing_that_it_showed(desks, tmp_path):
    rng, events = random.Random(3), []
    for number in range(3):
        folder = tmp_path / str(number)
        worker = subprocess.Popen(
            [sys.executable, "-c", WORKER, str(folder)],
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": str(Path(__file__).parent)},
        )
        with worker:
            seen = b"".join(worker.stdout.readline() for _ in range(rng.randrange(1, 80)))
            time.sleep(rng.uniform(0.0, 0.01))
            worker.kill()
            # A number that was cut while it was printed wasn't shown.
            shown = int((seen + worker.stdout.read()).rpartition(b"\n")[0].splitlines()[-1])
        assert worker.returncode == -signal.SIGKILL
        found = find_earlier(REF, [folder])[0]
        save, history = resume(found, folder, REF)
        written = len(found.path.read_bytes().splitlines()) - 1
        assert shown <= written <= shown + 1
        desk = desks(HIT, STOP, autosave=save, history=history)
        desk.store.settle()
        assert desk.store.history.settle() is None
        desk.ask("on", passes=9)
        assert desk.episode.outcome is Outcome.DONE
        desk.store.keep()
        assert read_journal(save.path) == desk.store.history
        events.append(shown)
    assert max(events) > 30  # some were killed well into their work
