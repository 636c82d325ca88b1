"""``demo``, ``replay``, ``evaluate``, ``doctor`` and the help."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest
from commands import ibisagent
from PIL import Image

from napari_ibisagent.io.journal import read_journal


def test_the_demo_runs_its_three_prompts_and_can_be_replayed(tmp_path):
    done = ibisagent("demo", "--out", tmp_path / "demo")
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("against the truth") == 2
    assert "not found" in done.stdout
    journal = tmp_path / "demo" / "demo.ibis.jsonl"
    session = read_journal(journal).session
    assert [row.name for row in session.objects] == ["liver", "right kidney"]
    assert (tmp_path / "demo" / "labels.nii.gz").is_file()
    assert (tmp_path / "demo" / "pictures" / "1" / "contact_sheet.png").is_file()
    replayed = ibisagent("replay", journal)
    assert replayed.returncode == 0, replayed.stderr
    assert "DIFFERS" not in replayed.stdout
    again = ibisagent("demo", "--out", tmp_path / "demo")
    assert again.returncode == 0
    assert (tmp_path / "demo" / "demo-2.ibis.jsonl").is_file()
    assert read_journal(journal).session == session


def test_the_demo_runs_on_an_own_scan(phantom, tmp_path):
    done = ibisagent("demo", "--scan", phantom[0], "--out", tmp_path)
    assert done.returncode == 0
    assert re.search("done: .*liver", done.stdout)


def test_replay_says_which_masks_differ(phantom, tmp_path):
    ibisagent("segment", phantom[0], "-p", "segment the liver", "--journal", tmp_path)
    (journal,) = tmp_path.glob("*.ibis.jsonl")
    lines = journal.read_text().splitlines(keepends=True)
    changed = [line.replace('"x":0.', '"x":0.1') if '"Proposed"' in line else line for line in lines]
    assert changed != lines
    journal.write_text("".join(changed))
    done = ibisagent("replay", journal, "--json")
    assert done.returncode == 1
    result = json.loads(done.stdout)
    assert not result["identical"]
    assert result["masks"][0]["iou"] < 1


def test_replay_refuses_another_scan_and_a_broken_journal(phantom, tmp_path):
    ibisagent("segment", phantom[0], "-p", "segment the liver", "--journal", tmp_path)
    (journal,) = tmp_path.glob("*.ibis.jsonl")
    done = ibisagent("replay", journal, "--scan", phantom[1])
    assert done.returncode == 2
    assert "isn't the scan" in done.stderr


def test_evaluate_scores_every_case_and_passes_over_broken_ones(tmp_path):
    rng = np.random.default_rng(0)
    mask = np.zeros((96, 96), np.uint8)
    mask[30:60, 40:70] = 255
    Image.fromarray((mask // 2 + 40 + rng.normal(0, 4, mask.shape)).astype(np.uint8)).save(tmp_path / "a.png")
    Image.fromarray(mask).save(tmp_path / "a_mask.png")
    (tmp_path / "broken.png").write_bytes(b"\x89PNG\r\n")
    label = {"name": "square", "mask": "a_mask.png", "value": "nonzero", "prompt": "the bright region"}
    cases = [
        {"id": "good", "image": "a.png", "task": "segmentation", "modality": "OT", "labels": [label]},
        {"id": "bad", "image": "broken.png", "task": "segmentation", "modality": "OT", "labels": [label]},
        {"id": "maskless", "image": "a.png", "task": "unlabelled", "modality": "OT", "labels": []},
    ]
    manifest = tmp_path / "manifest.json"
    manifest.write_text(json.dumps({"cases": cases}))
    done = ibisagent("evaluate", manifest, "-o", tmp_path / "r.json")
    assert done.returncode == 0, done.stderr
    assert "square" in done.stdout
    results = json.loads((tmp_path / "r.json").read_text())
    (task,) = results["tasks"]
    assert task["iou"] > 0.8
    assert {item["case"] for item in results["skipped"]} == {"bad", "maskless"}
    compared = ibisagent("evaluate", manifest, "--policy", "oracle", "--clicks", "5", "-o", tmp_path / "o.json")
    assert compared.returncode == 0, compared.stderr
    results = json.loads((tmp_path / "o.json").read_text())
    tools = {task["tool"]: task for task in results["tasks"]}
    assert set(tools) == {"embedded", "geodesic", "confidence-connected", "random walker"}
    assert all(name in compared.stdout for name in tools)
    assert all(max(task["ious"]) > 0.8 for task in tools.values())
    assert {item["case"] for item in results["skipped"]} == {"bad", "maskless"}
    absent = ibisagent("evaluate", manifest, "--absent", "-o", tmp_path / "a.json")
    assert absent.returncode == 0, absent.stderr
    asked = json.loads((tmp_path / "a.json").read_text())["tasks"]
    assert {task["target"] for task in asked} >= {"polyp", "optic disc", "fetal head"}
    assert all(task["right"] == (task["outcome"] == "not_found") for task in asked)


def test_evaluate_refuses_a_manifest_that_is_none(tmp_path):
    (tmp_path / "m.json").write_text('{"cases": [{"id": 1}]}')
    passed_over = ibisagent("evaluate", tmp_path / "m.json")
    assert passed_over.returncode == 0
    assert "1 : it has no image" in passed_over.stdout
    (tmp_path / "m.json").write_text("[]")
    done = ibisagent("evaluate", tmp_path / "m.json")
    assert done.returncode == 2
    assert "manifest" in done.stderr


def test_doctor_says_what_can_run():
    done = ibisagent("doctor", "--json")
    assert done.returncode == 0
    found = json.loads(done.stdout)
    assert found["policies"]["embedded"] is None
    assert found["segmenters"]["embedded"] is None
    assert found["packages"]["base"]["numpy"]
    assert "ready" in ibisagent("doctor").stdout
    assert found["machine"]["cores"] >= 1 and "fetched" in found["models"]["ibisagent-7b"]


def test_doctor_tries_a_step_with_each():
    done = ibisagent("doctor", "--smoke", "--json")
    tried = json.loads(done.stdout)["smoke"]
    assert done.returncode == 0, done.stderr
    assert [(t["kind"], t["name"]) for t in tried][:1] == [("policies", "embedded")]
    assert {t["name"] for t in tried if t["kind"] == "segmenters"} >= {"embedded", "geodesic"}
    assert all(t["works"] and t["seconds"] > 0 for t in tried) and "click" in tried[0]["words"]


@pytest.mark.parametrize("command", ["", "segment", "demo", "phantom", "replay", "evaluate", "doctor"])
def test_help_has_examples(command):
    done = ibisagent(*([command] if command else []), "--help")
    assert done.returncode == 0
    assert "ibisagent" in done.stdout


def test_help_loads_nothing_heavy():
    import subprocess
    import sys

    code = (
        "import sys\nimport napari_ibisagent.cli\n"
        "heavy = {'numpy', 'scipy', 'skimage', 'nibabel', 'pydicom', 'SimpleITK', 'torch', 'napari'}\n"
        "sys.exit(' '.join(sorted(heavy & set(sys.modules))) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_version():
    assert ibisagent("--version").stdout.startswith("ibisagent 0.")
