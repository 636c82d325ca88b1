"""What goes wrong on the command line: nothing is lost or written over, and every end is one sentence."""

from __future__ import annotations

import json
import os
import signal
import sys

import numpy as np
import pytest
from commands import COMMAND, environment, ibisagent
from PIL import Image

from napari_ibisagent.cli import main
from napari_ibisagent.core.errors import OutputError
from napari_ibisagent.io import labels, read, snapshots
from napari_ibisagent.io.journal import Journal, read_journal

_SPOT = ("-p", "the bright round spot")
_KEYS = ["outcome", "reason", "target", "plane", "slice", "steps", "extent"]
_KEYS += ["carried", "doubtful", "voxels", "volume_ml", "output", "warnings"]


@pytest.fixture
def photo(tmp_path):
    rows, columns = np.ogrid[:96, :120]
    picture = np.full((96, 120), 60, np.uint8)
    picture[(rows - 40) ** 2 + (columns - 70) ** 2 < 15**2] = 200
    folder = tmp_path / "input"
    folder.mkdir()
    Image.fromarray(picture).save(folder / "contact_sheet.png")
    return folder / "contact_sheet.png"


@pytest.fixture
def call(monkeypatch, capsys):
    """The command in this process: (exit code, stdout, stderr)."""

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["ibisagent", *map(str, arguments)])
        with pytest.raises(SystemExit) as end:
            main()
        out, err = capsys.readouterr()
        return int(end.value.code or 0), out, err

    return run


def test_ctrl_c_or_a_full_disk_while_saving_loses_no_labels(photo, tmp_path, call, monkeypatch):
    write = labels.write_labels

    def interrupted(*arguments, **options):
        os.kill(os.getpid(), signal.SIGINT)
        return write(*arguments, **options)

    def full(*_):
        raise OutputError("The disk is full.")

    monkeypatch.setattr(labels, "write_labels", interrupted)
    monkeypatch.setattr(snapshots, "write_snapshots", full)
    place = tmp_path / "spot.png"
    code, out, _ = call("segment", photo, *_SPOT, "-o", place, "--pictures", tmp_path / "steps", "--json")
    result = json.loads(out)
    assert (code, result["outcome"], result["output"]) == (0, "done", str(place))
    assert any("disk is full" in warning for warning in result["warnings"])
    assert np.asarray(Image.open(place)).any()


@pytest.mark.parametrize(
    ("error", "code", "says"),
    [
        (KeyError("x"), 1, "report"),
        (MemoryError(), 1, "memory"),
        (PermissionError(13, "Permission denied", "a.nii"), 1, "a.nii"),
        (KeyboardInterrupt(), 130, "Cancelled"),
    ],
)
def test_every_fault_is_one_object_and_one_sentence(photo, call, monkeypatch, error, code, says):
    def fail(*_, **__):
        raise error

    monkeypatch.setattr(read, "read_scan", fail)
    done, out, err = call("segment", photo, *_SPOT, "--json")
    result = json.loads(out)
    assert (done, list(result)) == (code, _KEYS)
    assert result["outcome"] == ("cancelled" if code == 130 else "failed")
    assert says in result["reason"]
    assert err == result["reason"] + "\n"
    monkeypatch.setenv("IBISAGENT_DEBUG", "1")
    done, out, err = call("segment", photo, *_SPOT)
    assert (done, out) == (code, "")
    assert "Traceback" in err


def test_usage_errors_keep_their_box_without_json(photo, call):
    for arguments in (("segment", photo), ("segment", photo, "-p", "x", "--plane", "odd"), ("phantom", "--seed", "-1")):
        code, out, err = call(*arguments)
        assert (code, out) == (2, "")
        assert "Usage" in err
    code, out, _ = call("segment", photo, "-p", "x", "--plane", "odd", "--json")
    assert (code, list(json.loads(out))) == (2, _KEYS)
    code, out, _ = call("replay", "missing.ibis.jsonl", "--json")
    assert (code, json.loads(out)["identical"]) == (2, None)


def test_pictures_are_never_written_over(photo, tmp_path, call):
    before = photo.read_bytes()
    code, out, _ = call("segment", photo, *_SPOT, "--pictures", photo.parent, "--json")
    assert code == 2
    assert "original" in json.loads(out)["reason"]
    assert (photo.read_bytes(), list(photo.parent.iterdir())) == (before, [photo])
    steps = tmp_path / "steps"
    assert call("segment", photo, *_SPOT, "--pictures", steps)[0] == 0
    first = {path.name: path.read_bytes() for path in steps.iterdir()}
    code, out, _ = call("segment", photo, *_SPOT, "--pictures", steps, "--json", "--max-steps", 1)
    assert code == 0
    assert any("run-2" in warning for warning in json.loads(out)["warnings"])
    assert {path.name: path.read_bytes() for path in steps.iterdir() if path.is_file()} == first
    assert (steps / "run-2" / "step_01.png").is_file()


def test_evaluate_writes_over_no_input_and_keeps_earlier_results(photo, tmp_path, call):
    mask = tmp_path / "mask.png"
    Image.fromarray((np.asarray(Image.open(photo)) > 100).astype(np.uint8)).save(mask)
    label = {"name": "spot", "mask": str(mask), "value": "nonzero", "prompt": _SPOT[1]}
    manifest = tmp_path / "m.json"
    manifest.write_text(json.dumps({"cases": [{"id": "a", "image": str(photo), "labels": [label]}]}))
    inputs = (manifest, photo, mask)
    before = [path.read_bytes() for path in inputs]
    for path in inputs:
        for option in ("-o", "--markdown"):
            code, out, err = call("evaluate", manifest, option, path)
            assert (code, out) == (2, ""), err
            assert "original" in err
    assert call("evaluate", manifest, "-o", mask / "r.json")[0] == 2
    assert [path.read_bytes() for path in inputs] == before
    result = tmp_path / "new" / "r.json"
    for _ in range(2):
        code, out, err = call("evaluate", manifest, "-o", result, "--markdown", tmp_path / "r.md")
        assert code == 0, err
    assert "kept as" in out
    assert len(list(result.parent.iterdir())) == 2


def test_replay_says_what_is_no_journal_and_gives_back_a_killed_run(photo, tmp_path, call):
    (tmp_path / "text").write_text("no journal\n")
    for place in ("missing", "text", "."):
        code, out, err = call("replay", tmp_path / place)
        assert (code, out) == (2, "")
        assert "lines before" not in err
    assert "isn't a journal of this program" in call("replay", tmp_path / "text")[2]
    Journal.create(tmp_path / "empty").close()
    code, out, _ = call("replay", tmp_path / "empty")
    assert code == 0
    assert "There is nothing to check" in out
    place = tmp_path / "a" / "spot.png"
    assert call("segment", photo, *_SPOT, "-o", place)[0] == 0
    (journal,) = place.parent.glob("*.ibis.jsonl")
    lines = journal.read_text().splitlines(keepends=True)
    last = max(n for n, line in enumerate(lines) if '"Segmented"' in line)
    for end, early in ((len(lines), 0), (len(lines) - 1, 0), (last + 1, 1)):
        journal.write_text("".join(lines[:end]))
        again = tmp_path / f"again{end}.png"
        code, out, err = call("replay", journal, "-o", again, "--json")
        assert code == 0, err
        found = json.loads(out)
        assert (found["identical"], len(found["warnings"])) == (True, early)
        assert np.array_equal(np.asarray(Image.open(again)), np.asarray(Image.open(place)))
    assert call("replay", journal, "-o", photo)[0] == 2
    assert call("replay", journal, "-o", journal)[0] == 2
    assert call("replay", tmp_path / "empty", "-o", again)[0] == 2


def test_a_review_that_nobody_answers_is_cancelled(photo, tmp_path):
    import subprocess

    done = subprocess.run(
        [*COMMAND, "segment", str(photo), *_SPOT, "--review", "--journal", str(tmp_path)],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        env=environment(),
        timeout=100,
        check=False,
    )
    assert done.returncode == 130, done.stdout + done.stderr
    (journal,) = tmp_path.glob("*.ibis.jsonl")
    episode = read_journal(journal).session.episode
    assert (episode.outcome.value, episode.steps) == ("cancelled", ())


def test_a_truth_label_that_is_nowhere_is_refused(photo, call):
    code, _, err = call("segment", photo, *_SPOT, "--truth", photo, "--truth-label", "77")
    assert code == 2
    assert "77 occurs nowhere" in err


def test_a_warning_of_the_scan_is_printed_once(tmp_path):
    header = b"NRRD0004\ntype: uchar\ndimension: 3\nsizes: 16 16 3\nencoding: raw\n\n"
    (tmp_path / "a.nrrd").write_bytes(header + bytes(range(256)) * 3)
    done = ibisagent("segment", tmp_path / "a.nrrd", *_SPOT)
    assert done.stdout.count("states no voxel size") == 1, done.stdout + done.stderr
