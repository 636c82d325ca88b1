"""``export-training`` on the journal of a real run, at which a person at the terminal refused and changed clicks."""

from __future__ import annotations

import json
import subprocess

import nibabel as nib
import numpy as np
import pytest
from commands import COMMAND, environment, ibisagent
from PIL import Image

from napari_ibisagent.evaluation.phantom import make_phantom
from napari_ibisagent.io.journal import read_journal
from napari_ibisagent.training.trajectories.form import from_json

CANARY = "canaryname"
# Refused with a reason, flipped, and accepted from then on.
ANSWERS = f"x\nthat is {CANARY}s bowel\nf\n" + "a\n" * 20


@pytest.fixture(scope="module")
def scan(tmp_path_factory):
    folder = tmp_path_factory.mktemp("scan")
    made = make_phantom(0, (6.0, 4.0, 4.0))
    image = nib.Nifti1Image(np.asarray(made.volume.data, np.int16).transpose(2, 1, 0), made.volume.affine)
    nib.save(image, folder / f"{CANARY}_19500101.nii.gz")
    return folder / f"{CANARY}_19500101.nii.gz"


def reviewed(scan, folder, *options):
    """A run at the terminal; its journal."""
    done = subprocess.run(
        [
            *COMMAND,
            "segment",
            str(scan),
            "-p",
            "segment the left kidney",
            "--review",
            "--journal",
            str(folder),
            *options,
        ],
        input=ANSWERS,
        capture_output=True,
        text=True,
        env=environment(),
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    (journal,) = folder.glob("*.ibis.jsonl")
    return journal


def test_a_reviewed_run_becomes_examples_and_pairs_without_a_name(scan, tmp_path):
    journal = reviewed(scan, tmp_path / "sessions", "--consent")
    session = read_journal(journal).session
    assert session.consent is True
    out = tmp_path / "out"
    done = ibisagent("export-training", tmp_path / "sessions", "-o", out, "--with-pictures")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "burnt into a picture" in done.stdout and journal.name in done.stdout
    line, *pairs = (json.loads(row) for name in ("trajectories", "preferences") for row in _rows(out, name))
    trajectory = from_json(line)
    assert (trajectory.prompt, trajectory.story, trajectory.segmenter) == (
        "segment the left kidney", "corrected", "embedded",
    )  # fmt: skip
    steps = session.episode.steps
    assert [step.verdict.value for step in steps[:3]] == ["rejected", "overridden", "accepted"]
    assert [step.learn for step in trajectory.steps] == [False] + [True] * len(steps)
    assert "left kidney" in trajectory.steps[1].turn.thought and trajectory.steps[1].turn.actions == steps[1].actions
    assert trajectory.steps[-1].turn.terminates and trajectory.steps[-1].mask == session.episode.mask
    assert len(pairs) == 2 and all(pair["mask"] is None and "Negative" in pair["chosen"] for pair in pairs)
    with Image.open(out / trajectory.source.picture) as image:
        assert (image.height, image.width) == trajectory.shape and image.info == {}
    files = [path for path in out.rglob("*") if path.is_file()]
    assert len(files) == 3
    for path in files:
        content = path.read_bytes().lower()
        assert not any(word in content for word in (CANARY.encode(), b"19500101", b"bowel")), path
        assert CANARY not in path.name
    again = ibisagent("export-training", tmp_path / "sessions", "-o", out)
    assert again.returncode == 2 and "empty folder" in again.stderr


def test_consent_is_needed_and_a_refusal_stands_above_every_option(scan, tmp_path):
    reviewed(scan, tmp_path / "asked")
    done = ibisagent("export-training", tmp_path / "asked", "-o", tmp_path / "out")
    assert done.returncode == 2 and "--i-have-consent" in done.stdout and "Nothing was exported" in done.stderr
    assert not (tmp_path / "out").exists()
    done = ibisagent("export-training", tmp_path / "asked", "-o", tmp_path / "out", "--i-have-consent")
    assert done.returncode == 0 and not (tmp_path / "out" / "pictures").exists()
    reviewed(scan, tmp_path / "refused", "--no-consent")
    done = ibisagent("export-training", tmp_path / "refused", "-o", tmp_path / "no", "--i-have-consent")
    assert done.returncode == 2 and "refused in the session" in done.stdout and not (tmp_path / "no").exists()


def test_consent_that_nobody_would_keep_is_refused(scan):
    done = ibisagent("segment", scan, "-p", "segment the liver", "--consent")
    assert done.returncode == 2 and "there is none" in done.stderr


def test_a_run_that_nobody_reviewed_teaches_nothing(scan, tmp_path):
    done = ibisagent("segment", scan, "-p", "segment the left kidney", "--consent", "--journal", tmp_path / "sessions")
    assert done.returncode == 0, done.stderr
    done = ibisagent("export-training", tmp_path / "sessions", "-o", tmp_path / "out")
    assert done.returncode == 2 and "no step that a person accepted or made" in done.stdout


def test_help_has_examples():
    done = ibisagent("export-training", "--help")
    assert done.returncode == 0 and "ibisagent export-training" in done.stdout


def _rows(folder, name):
    return (folder / f"{name}.jsonl").read_text("utf-8").splitlines()
