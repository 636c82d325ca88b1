"""``trajectories`` and ``convert-trajectories``: from files to trajectories, and into the other forms."""

from __future__ import annotations

import json

import numpy as np
import pytest
from commands import ibisagent
from PIL import Image
from sample_data import MISSING, ROOT, cases
from scans_maker import write_manifest, write_scan

from napari_ibisagent.training.trajectories.form import from_json
from napari_ibisagent.training.trajectories.official import read_official
from napari_ibisagent.training.trajectories.writing import picture_of, read_folder, read_rejected

FAST = ("--segmenter", "geodesic", "--slices", "1")


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    return write_scan(tmp_path_factory.mktemp("scan"))


@pytest.fixture(scope="module")
def made(files, tmp_path_factory):
    """A folder with all kinds of stories and questions, in all planes."""
    scan, masks = files
    output = tmp_path_factory.mktemp("made") / "run"
    done = ibisagent(
        *("trajectories", scan, masks["liver"], masks["left kidney"], "-o", output, *FAST, "--plane", "all"),
        *("--stories", "reflection", "--slips", "0.2", "--near", "0.3", "--late", "0.3", "--parquet"),
        *("--words", "2", "--absent", "2", "--plain", "1", "--least-iou", "0.5"),
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return output, done


def test_an_image_and_its_masks_in_all_planes(made, files):
    output, done = made
    found = list(read_folder(output))
    assert {one.source.plane for one in found} == {"axial", "coronal", "sagittal"}
    assert {one.kind for one in found} == {"referring", "reasoning", "absent", "plain"}
    assert {one.story for one in found} == {"direct", "self-correction", "inconsistent"}
    for one in found:
        assert one.steps[-1].turn.terminates and picture_of(one, output).shape == (*one.shape, 3)
        assert one.source.window == (40.0, 400.0) and one.source.image == str(files[0])
        if one.kind == "absent":
            assert one.steps[0].turn.says_absent and one.clicks == 0
    assert all((one.iou or 0) >= 0.5 for one in found if one.clicks)
    assert f"{len(found)} trajectories" in done.stdout and "IoU at the end" in done.stdout
    for name, count in (("reasoning", 4), ("plain", 1), ("absent", 2)):
        assert f"{sum(one.kind == name for one in found)} {name}" in done.stdout and count
    for picture in (output / "pictures").iterdir():
        with Image.open(picture) as image:
            assert image.info == {}


def test_the_same_command_makes_nothing_twice_and_another_is_refused(made, files):
    output, _ = made
    before = {path: path.read_bytes() for path in output.rglob("*") if path.is_file()}
    scan, masks = files
    done = ibisagent("trajectories", scan, masks["liver"], "-o", output)
    assert done.returncode == 2 and "was made with" in done.stderr and "trajectories in" not in done.stdout
    assert {path: path.read_bytes() for path in output.rglob("*") if path.is_file()} == before


def test_a_manifest_with_two_processes_and_a_case_that_cannot_be_read(tmp_path):
    manifest = write_manifest(tmp_path / "scans", 2, ("liver",))
    content = json.loads(manifest.read_text())
    broken = tmp_path / "scans" / "broken.nii.gz"
    broken.write_bytes((tmp_path / "scans" / "liver.nii.gz").read_bytes()[:900])
    content["cases"][1]["labels"].append({"name": "spleen", "mask": broken.name, "value": "nonzero"})
    manifest.write_text(json.dumps(content))
    done = ibisagent("trajectories", manifest, "-o", tmp_path / "run", *FAST, "--processes", "2")
    assert done.returncode == 0, done.stdout + done.stderr
    assert [one.name for one in read_folder(tmp_path / "run")] == [
        f"case-{n}/liver/axial-{one.source.index}/referring" for n, one in enumerate(read_folder(tmp_path / "run"))
    ]
    ((name, reason),) = read_rejected(tmp_path / "run")
    assert name == "case-1/spleen" and "broken.nii.gz" in reason and f"warning: {name}: {reason}" in done.stdout


@pytest.mark.parametrize("colour", [False, True])
def test_a_picture_and_its_mask(tmp_path, colour):
    rows, columns = np.mgrid[:80, :64]
    inside = (rows - 40) ** 2 + (columns - 30) ** 2 < 200
    grey = np.where(inside, 200, 60).astype(np.uint8)
    Image.fromarray(np.stack([grey, grey // 2, grey // 3], 2) if colour else grey).save(tmp_path / "photo.png")
    Image.fromarray(inside.astype(np.uint8) * 255).save(tmp_path / "skin-lesion.png")
    done = ibisagent(
        *("trajectories", tmp_path / "photo.png", tmp_path / "skin-lesion.png", "-o", tmp_path / "run", *FAST),
        *("--plane", "all"),
    )
    assert done.returncode == 0, done.stdout + done.stderr
    (one,) = read_folder(tmp_path / "run")
    assert (one.target, one.prompt, one.shape) == ("skin lesion", "segment the skin lesion", (80, 64))
    assert one.iou > 0.9 and (one.source.window is None) == colour
    with Image.open(tmp_path / "run" / one.source.picture) as image:
        assert image.mode == ("RGB" if colour else "L")
    assert (picture_of(one, tmp_path / "run")[..., 0] == grey).all()


def test_bad_input_is_a_sentence(tmp_path, files):
    scan, masks = files
    broken = tmp_path / "liver.nii.gz"
    broken.write_bytes(masks["liver"].read_bytes()[:900])
    done = ibisagent("trajectories", scan, broken, "-o", tmp_path / "run", *FAST)
    assert done.returncode == 2 and "warning: scan/liver: liver.nii.gz" in done.stdout
    for inputs, words in (
        ((tmp_path / "gone.nii.gz", masks["liver"]), "There is no file"),
        ((scan, masks["liver"], "--window", "nope"), "no window called"),
        ((scan, masks["liver"], "--segmenter-option", "depth=3"), "no option depth"),
        ((scan, masks["liver"], "--teacher", "colour=red"), "--teacher has no colour"),
    ):
        done = ibisagent("trajectories", *inputs, "-o", tmp_path / "other")
        assert done.returncode == 2 and words in done.stderr, done.stdout + done.stderr
        assert "Traceback" not in done.stderr


def test_a_teacher_rewords_what_it_may(tmp_path, files):
    pytest.importorskip("openai", reason="the extra remote is not installed")
    from chat_server import serving

    scan, masks = files
    with serving("I see the liver, and act.") as server:
        done = ibisagent("trajectories", scan, masks["liver"], "-o", tmp_path, *FAST, "--teacher", f"url={server.url}")
    assert done.returncode == 0, done.stdout + done.stderr
    (one,) = read_folder(tmp_path)
    thoughts = [step.turn.thought for step in one.steps]
    reworded = thoughts.count("I see the liver, and act.")
    assert reworded and f"{reworded} thoughts reworded, {len(thoughts) - reworded} kept" in done.stdout
    assert thoughts[0] != "I see the liver, and act.", "the place of a click may not get lost"


# -- other forms ---------------------------------------------------------------------------------------------


def convert(*arguments):
    done = ibisagent("convert-trajectories", *arguments)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_parquet_and_back_is_the_same_folder(made, tmp_path):
    pytest.importorskip("pyarrow", reason="Parquet needs the extra: train")
    output, done = made
    assert "All of it as one file" in done.stdout
    convert(output / "trajectories.parquet", "-o", tmp_path / "back")
    assert (tmp_path / "back" / "trajectories.jsonl").read_bytes() == (output / "trajectories.jsonl").read_bytes()
    pictures = [{p.name: p.read_bytes() for p in (at / "pictures").iterdir()} for at in (output, tmp_path / "back")]
    assert pictures[0] == pictures[1]


@pytest.mark.parametrize(("form", "file"), [("synthesis", "synthesis.jsonl"), ("rl", "rl.json")])
def test_the_official_forms_and_back(made, tmp_path, form, file):
    output, _ = made
    told = convert(output, "-o", tmp_path / "official", "--to", form, "--drop-reverted")
    ours = {one.name: one for one in read_folder(output)}
    theirs = read_official(tmp_path / "official" / file)
    straight = {name for name, one in ours.items() if one.clicks and one.given is None}
    assert {one.name for one in theirs} == straight
    assert f"{len(straight)} trajectories" in told
    assert "begins with a given mask" in told or "has no click" in told
    back = tmp_path / "back"
    assert f"{len(straight)} with their picture" in convert(tmp_path / "official" / file, "-o", back)
    for one in read_folder(back):
        before = ours[one.name]
        kept = []
        for step in before.steps:
            if step.turn.reverts:
                kept.pop()
            if step.turn.prompts:
                kept.append((step.turn.prompts, step.mask))
        assert [(step.turn.prompts, step.mask) for step in one.steps] == kept, "places, signs and masks"
        assert (one.prompt, one.target) == (before.prompt, before.target)
        assert (picture_of(one, back) == picture_of(before, output)).all()


def test_what_cannot_be_converted_is_said(made, tmp_path):
    output, _ = made
    for arguments, words in (
        ((tmp_path / "gone", "-o", tmp_path / "a"), "no file"),
        ((output, "-o", output), "holds files already"),
        ((tmp_path, "-o", tmp_path / "b"), "no trajectories in"),
    ):
        done = ibisagent("convert-trajectories", *arguments)
        assert done.returncode == 2 and words in done.stderr, done.stdout + done.stderr
    line = json.loads((output / "trajectories.jsonl").read_text().splitlines()[0])
    line["steps"][0]["mask"] = "nope"
    (tmp_path / "broken.jsonl").write_text(json.dumps(line) + "\n")
    done = ibisagent("convert-trajectories", tmp_path / "broken.jsonl", "-o", tmp_path / "c", "--to", "rl")
    assert done.returncode == 2 and "Step 0 of the trajectory" in done.stderr
    assert not (tmp_path / "c" / "rl.json").exists()


@pytest.mark.skipif(not cases("segmentation"), reason=MISSING)
def test_real_scans_of_the_manifest(tmp_path):
    """Some small real cases of several kinds: a picture in colour, an MR and a CT."""
    manifest = json.loads((ROOT / "manifest.json").read_text("utf-8"))
    chosen, seen = [], set()
    for case in manifest["cases"]:
        if case["task"] == "segmentation" and case["image_kind"] in ("png", "jpg") and case["modality"] not in seen:
            seen.add(case["modality"])
            labels = [{**label, "mask": str(ROOT / label["mask"])} for label in case["labels"][:1]]
            chosen.append({**case, "image": str(ROOT / case["image"]), "labels": labels})
    (tmp_path / "some.json").write_text(json.dumps({"cases": chosen[:6]}))
    done = ibisagent(
        *("trajectories", tmp_path / "some.json", "-o", tmp_path / "run", *FAST, "--longest", "128"),
        *("--clicks", "3", "--least-iou", "0", "--plain", "1"),
    )
    assert done.returncode == 0 and "warning" not in done.stdout, done.stdout + done.stderr
    found = list(read_folder(tmp_path / "run"))
    assert len({one.name.partition("/")[0] for one in found}) == len(chosen[:6])
    assert all(
        max(one.shape) <= 128 and from_json(json.loads(line)) == one
        for one, line in zip(found, (tmp_path / "run" / "trajectories.jsonl").read_text().splitlines(), strict=True)
    )


def test_help_has_examples():
    for command in ("trajectories", "convert-trajectories"):
        done = ibisagent(command, "--help")
        assert done.returncode == 0 and f"ibisagent {command} " in done.stdout
