"""``ibisagent segment`` as a user or a script meets it: outcomes, exit codes, files, JSON."""

from __future__ import annotations

import json
import signal
import subprocess
import time

import nibabel as nib
import numpy as np
import pytest
from commands import COMMAND, environment, ibisagent, segment_json
from PIL import Image

from napari_ibisagent.evaluation.canvas import LABEL
from napari_ibisagent.evaluation.phantom import make_phantom
from napari_ibisagent.io.journal import read_journal
from napari_ibisagent.io.labels import write_labels, write_volume

_KEYS = {"outcome", "reason", "target", "plane", "slice", "steps", "extent"}
_KEYS |= {"carried", "doubtful", "voxels", "volume_ml", "output", "warnings"}
_KEYS |= {"extent", "carried", "doubtful"}
_STEP_KEYS = {"thought", "actions", "score", "area_mm2", "ms", "author", "verdict"}


def test_a_named_organ_is_done_and_saved_on_the_scans_own_grid(phantom, tmp_path):
    scan, truth = phantom
    output, pictures = tmp_path / "liver.nii.gz", tmp_path / "pictures"
    code, result = segment_json(scan, "-p", "segment the liver", "-o", output, "--pictures", pictures)
    assert code == 0
    assert result["outcome"] == "done"
    assert result.keys() == _KEYS
    assert result["target"] == "liver"
    assert result["plane"] == "axial"
    assert result["steps"]
    assert all(step.keys() == _STEP_KEYS for step in result["steps"])
    assert result["steps"][0]["verdict"] == "unreviewed"
    assert "HU" in result["steps"][0]["thought"]
    assert result["output"] == str(output)
    original, saved = nib.load(scan), nib.load(output)
    assert saved.shape == original.shape
    np.testing.assert_array_equal(saved.affine, original.affine)
    labels = np.asarray(saved.dataobj)
    assert result["voxels"] == np.count_nonzero(labels == 1)
    voxel_ml = abs(np.linalg.det(original.affine[:3, :3])) / 1000
    assert result["volume_ml"] == pytest.approx(result["voxels"] * voxel_ml, abs=1e-3)
    assert result["steps"][-1]["area_mm2"] == pytest.approx(result["voxels"] * 1.5 * 1.5, rel=0.01)
    expected = np.asarray(nib.load(truth).dataobj) == 1
    expected &= (labels == 1).any(axis=(0, 1))
    assert 2 * np.count_nonzero(expected & (labels == 1)) / (expected.sum() + result["voxels"]) > 0.9
    assert len(list(pictures.glob("step_*.png"))) == len(result["steps"])
    with Image.open(pictures / "contact_sheet.png") as sheet:
        assert not sheet.info
    (journal,) = tmp_path.glob("*.ibis.jsonl")
    assert read_journal(journal).session.objects[0].name == "liver"


def test_a_given_mask_of_something_else_is_discarded_and_one_that_fits_is_kept(phantom, tmp_path):
    scan, truth = phantom
    asked = (scan, "-p", "segment the liver", "--given", truth)
    code, result = segment_json(*asked, "--given-label", LABEL["spleen"])
    assert code == 0 and result["steps"][0]["actions"][0] == {"type": "Discard"}
    assert "isn't the liver" in result["steps"][0]["thought"] and result["warnings"] == []
    code, kept = segment_json(*asked, "--given-label", LABEL["liver"], "-o", tmp_path / "liver.nii.gz")
    assert code == 0 and not any({"type": "Discard"} in step["actions"] for step in kept["steps"])
    assert (tmp_path / "liver.nii.gz").exists() and kept["slice"] == result["slice"]
    image = nib.load(truth)
    outside = np.zeros(image.shape, np.uint8)
    outside[:5, :5, 0] = 1
    nib.save(nib.Nifti1Image(outside, image.affine), tmp_path / "outside.nii.gz")
    code, elsewhere = segment_json(*asked[:3], "--given", tmp_path / "outside.nii.gz")
    assert code == 0 and elsewhere["warnings"] == [
        f"The given mask shows nothing on slice {result['slice']}; the agent began from nothing there."
    ]


def test_a_reasoning_prompt_finds_the_organ_on_the_right(phantom, tmp_path):
    scan, truth = phantom
    prompt = "which organ filters blood and lies on the right? outline it"
    code, result = segment_json(scan, "-p", prompt, "-o", tmp_path / "kidney.nrrd")
    assert code == 0
    assert result["target"] == "right kidney"
    assert result["warnings"] == []
    done = ibisagent("segment", scan, "-p", prompt, "--truth", truth, "--truth-label", "4")
    assert "Dice 0.9" in done.stdout


@pytest.mark.parametrize(
    "prompt", ["segment the urinary bladder", "segment the gallbladder", "segment the T12 vertebra"]
)
def test_what_is_absent_or_unknown_ends_as_not_found(phantom, tmp_path, prompt):
    code, result = segment_json(phantom[0], "-p", prompt, "-o", tmp_path / "none.nii.gz")
    assert code == 3
    assert result["outcome"] == "not_found"
    assert result["reason"]
    assert result["output"] is None
    assert not (tmp_path / "none.nii.gz").exists()


def test_a_given_slice_and_plane_are_used(phantom, tmp_path):
    code, result = segment_json(phantom[0], "-p", "segment the liver", "--plane", "coronal", "--slice", "120")
    assert code == 0
    assert (result["plane"], result["slice"]) == ("coronal", 120)
    code, result = segment_json(phantom[0], "-p", "segment the liver", "--slice", "79")
    assert code == 3
    assert "slice" in result["reason"]


def test_the_step_limit_saves_with_a_warning(phantom, tmp_path):
    scan, truth = phantom
    code, result = segment_json(
        *(scan, "-p", "anything", "-o", tmp_path / "l.nii.gz", "--policy", "oracle", "--truth", truth),
        *("--truth-label", "3", "--max-steps", "2"),
    )
    assert (code, result["outcome"]) == (0, "done")
    code, result = segment_json(scan, "-p", "segment the spine", "-o", tmp_path / "s.nii.gz", "--max-steps", "1")
    assert (code, result["outcome"]) == (0, "step_limit")
    assert any("stopped" in warning for warning in result["warnings"])


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("missing.nii.gz", "-p", "segment the liver"), "missing.nii.gz"),
        (("SCAN", "-p", "  "), "prompt is empty"),
        (("SCAN", "-p", "segment the liver", "--slice", "x"), "--slice"),
        (("SCAN", "-p", "segment the liver", "--slice", "999"), "999"),
        (("SCAN", "-p", "segment the liver", "--policy", "nobody"), "nobody"),
        (("SCAN", "-p", "segment the liver", "--segmenter", "nobody"), "nobody"),
        (("SCAN", "-p", "segment the liver", "--window", "purple"), "purple"),
        (("SCAN", "-p", "segment the liver", "-o", "labels.xyz"), "labels.xyz"),
        (("SCAN", "-p", "segment the liver", "-o", "SCAN"), "original"),
        (("SCAN", "-p", "x", "--policy", "oracle"), "--truth"),
        (("SCAN", "-p", "x", "--review"), "--review"),
        (("SCAN", "-p", "x", "--truth-label", "3"), "--truth-label"),
        (("SCAN", "-p", "x", "--given-label", "3"), "--given"),
        (("SCAN", "-p", "x", "--given", "missing.nii.gz"), "missing.nii.gz"),
        (("SCAN", "-p", "x", "--max-steps", "0"), "--max-steps"),
        (("SCAN",), "--prompt"),
        (("x" * 300, "-p", "x"), "can't be opened"),
        (("SCAN", "-p", "x", "--journal", "y" * 300), "can't be written"),
    ],
)
def test_bad_input_is_a_sentence_and_exit_code_2(phantom, tmp_path, monkeypatch, arguments, says):
    monkeypatch.chdir(tmp_path)
    before = phantom[0].read_bytes()
    code, result = segment_json(*(str(phantom[0]) if a == "SCAN" else a for a in arguments))
    assert code == 2
    assert result.keys() == _KEYS
    assert (result["outcome"], result["steps"], result["output"]) == ("failed", [], None)
    assert says in result["reason"]
    assert result["reason"].endswith(".")
    assert phantom[0].read_bytes() == before
    assert list(tmp_path.iterdir()) == []


def test_a_truth_of_another_shape_is_refused(phantom, tmp_path):
    other = make_phantom(1, (6.0, 4.0, 4.0))
    write_labels(other.labels, other.volume, tmp_path / "other.nii.gz")
    code, result = segment_json(phantom[0], "-p", "x", "--policy", "oracle", "--truth", tmp_path / "other.nii.gz")
    assert code == 2
    assert "other" in result["reason"]


def test_an_earlier_result_is_kept_under_another_name(phantom, tmp_path):
    output = tmp_path / "labels.nii.gz"
    output.write_bytes(b"somebody's work")
    code, result = segment_json(phantom[0], "-p", "segment the spleen", "-o", output)
    assert code == 0
    assert any("labels.1.nii.gz" in warning for warning in result["warnings"])
    assert (tmp_path / "labels.1.nii.gz").read_bytes() == b"somebody's work"


def test_plain_output_shows_the_steps(phantom, tmp_path):
    done = ibisagent("segment", phantom[0], "-p", "segment the left kidney", "-o", tmp_path / "k.mha")
    assert done.returncode == 0
    for words in ("step  1", "score", "cm²", "ms", "done: ", "left kidney in axial slice", "journal:", "k.mha"):
        assert words in done.stdout


def test_review_asks_before_each_step(phantom, tmp_path):
    done = subprocess.run(
        [*COMMAND, "segment", str(phantom[0]), "-p", "segment the liver", "--review", "--journal", str(tmp_path)],
        input="x too high\na\na\na\na\na\na\na\n",
        capture_output=True,
        text=True,
        env=environment(),
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    (journal,) = tmp_path.glob("*.ibis.jsonl")
    steps = read_journal(journal).session.episode.steps
    assert [step.verdict.value for step in steps[:2]] == ["rejected", "accepted"]
    assert steps[0].reason == "too high"


def test_ctrl_c_ends_cleanly_and_keeps_the_journal(tmp_path):
    made = make_phantom(0, (4.0, 2.0, 2.0))
    scan, truth = tmp_path / "scan.nii.gz", tmp_path / "truth.nii.gz"
    write_volume(made.volume, scan)
    write_labels(made.labels, made.volume, truth)
    process = subprocess.Popen(
        [
            *COMMAND,
            *("segment", str(scan), "-p", "everything", "--policy", "oracle", "--truth", str(truth), "--json"),
            *("--max-steps", "5000", "--journal", str(tmp_path), "--truth-label", "24"),
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(),
    )
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        journals = list(tmp_path.glob("*.ibis.jsonl"))
        if journals and journals[0].read_bytes().count(b"Segmented") >= 3:
            break
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert json.loads(out)["outcome"] == "cancelled"
    episode = read_journal(journals[0]).session.episode
    assert episode.outcome.value == "cancelled"
    assert len(episode.steps) >= 3


def test_a_described_thing_in_a_picture_is_found(tmp_path):
    rows, columns = np.ogrid[:200, :240]
    picture = np.full((200, 240), 60, np.uint8)
    picture[(rows - 70) ** 2 + (columns - 160) ** 2 < 20**2] = 200
    scan = tmp_path / "photo.png"
    Image.fromarray(picture).save(scan)
    code, result = segment_json(scan, "-p", "the bright round spot", "-o", tmp_path / "spot.png")
    assert code == 0
    assert result["volume_ml"] is None
    assert result["steps"][0]["area_mm2"] is None
    with Image.open(tmp_path / "spot.png") as saved:
        mask = np.asarray(saved) > 0
    assert mask[70, 160]
    assert abs(np.count_nonzero(mask) - 1257) < 200
