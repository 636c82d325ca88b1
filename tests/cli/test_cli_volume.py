"""``ibisagent segment --extent volume``: every slice in the labels, in the JSON and in the journal."""

from __future__ import annotations

import json
import signal
import subprocess
import time

import nibabel as nib
import numpy as np
import pytest
from commands import COMMAND, environment, ibisagent, segment_json

from napari_ibisagent.evaluation.canvas import LABEL
from napari_ibisagent.io.journal import read_journal

_TOOL = ("--segmenter", "geodesic")


def slices_of(path):
    """The axial slices, from head to feet, that hold labels."""
    labels = nib.load(path)
    assert nib.aff2axcodes(labels.affine)[2] in "SI"
    found = np.flatnonzero((np.asarray(labels.dataobj) != 0).any(axis=(0, 1)))
    count = labels.shape[2]
    return sorted(count - 1 - n if nib.aff2axcodes(labels.affine)[2] == "S" else n for n in found.tolist())


def test_words_in_the_sentence_carry_the_mask_through_the_volume(phantom, tmp_path):
    scan, truth = phantom
    output = tmp_path / "kidney.nii.gz"
    code, result = segment_json(scan, "-p", "segment the left kidney in all slices", "-o", output, *_TOOL)
    assert (code, result["outcome"], result["extent"], result["target"]) == (0, "done", "volume", "left kidney")
    rows = result["carried"]
    places = sorted([result["slice"], *(row["slice"] for row in rows)])
    assert [row["slice"] for row in rows] == sorted(row["slice"] for row in rows)
    assert places == list(range(places[0], places[-1] + 1)) and len(places) > 20
    assert slices_of(output) == places
    assert all(row.keys() == {"slice", "confidence", "note", "area_mm2"} for row in rows)
    assert all(0 <= row["confidence"] <= 1 and row["area_mm2"] > 0 for row in rows)
    assert result["doubtful"] == [row["slice"] for row in rows if row["note"]]
    assert bool(result["doubtful"]) == any(warning.startswith("Check slice") for warning in result["warnings"])
    expected = np.asarray(nib.load(truth).dataobj) == LABEL["left kidney"]
    found = np.asarray(nib.load(output).dataobj) == 1
    assert result["voxels"] == np.count_nonzero(found)
    assert 2 * np.count_nonzero(expected & found) / (expected.sum() + found.sum()) > 0.65
    (journal,) = tmp_path.glob("*.ibis.jsonl")
    again = tmp_path / "again.nii.gz"
    done = ibisagent("replay", journal, "-o", again, "--json")
    replayed = json.loads(done.stdout)
    assert done.returncode == 0, done.stderr
    assert replayed["identical"]
    assert sorted(row["slice"] for row in replayed["masks"] if row["slice"] is not None) == [
        row["slice"] for row in rows
    ]
    np.testing.assert_array_equal(np.asarray(nib.load(again).dataobj) == 1, found)


def test_the_option_does_the_same_and_says_each_slice(phantom, tmp_path):
    scan, truth = phantom
    done = ibisagent(
        *("segment", scan, "-p", "segment the spleen", "--extent", "volume", "-o", tmp_path / "s.nii.gz", *_TOOL),
        *("--truth", truth, "--truth-label", LABEL["spleen"]),
    )
    assert done.returncode == 0, done.stdout + done.stderr
    for words in ("carried through slices", "(1 of at most", "confidence", "complete: ", "spleen in axial slices "):
        assert words in done.stdout
    assert "against the truth in the volume: Dice 0." in done.stdout
    assert len(slices_of(tmp_path / "s.nii.gz")) > 15


def test_one_slice_is_what_is_done_without_being_told(phantom, tmp_path):
    code, result = segment_json(phantom[0], "-p", "segment the spleen", "-o", tmp_path / "s.nii.gz", *_TOOL)
    assert (code, result["extent"], result["carried"], result["doubtful"]) == (0, "slice", [], [])
    assert slices_of(tmp_path / "s.nii.gz") == [result["slice"]]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [(("--extent", "everything"), "extent"), (("--extent", "volume", "--propagator", "nobody"), "nobody")],
)
def test_what_is_not_there_is_refused(phantom, tmp_path, arguments, says):
    done = ibisagent("segment", phantom[0], "-p", "segment the spleen", *arguments, cwd=tmp_path)
    assert done.returncode == 2 and says in done.stdout + done.stderr
    assert list(tmp_path.iterdir()) == []


def test_ctrl_c_keeps_the_slices_so_far(phantom, tmp_path):
    output = tmp_path / "liver.nii.gz"
    process = subprocess.Popen(
        [*COMMAND, "segment", str(phantom[0]), "-p", "segment the liver in 3D", "-o", str(output), "--json", *_TOOL],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(),
    )
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        journals = list(tmp_path.glob("*.ibis.jsonl"))
        if journals and journals[0].read_bytes().count(b'"Carried"') >= 2:
            break
        time.sleep(0.005)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    result = json.loads(out)
    assert result["outcome"] == "cancelled" and "done and kept" in result["reason"]
    places = sorted([result["slice"], *(row["slice"] for row in result["carried"])])
    assert 3 <= len(places) < 45 and slices_of(output) == places
    assert read_journal(journals[0]).session.episode.carrying.end == "cancelled"
