"""From nothing to a model in use: fetched from a hub on this machine, chosen by its name, played and replayed."""

from __future__ import annotations

import json
import subprocess

import nibabel as nib
import numpy as np
import pytest

pytest.importorskip("torch", reason="the extra models is not installed")
pytest.importorskip("transformers", reason="the extra models is not installed")

from commands import COMMAND, environment
from hub_server import running
from tiny_qwen import write_checkpoint
from tiny_sam import write_sam2

from napari_ibisagent import registry
from napari_ibisagent.core.errors import BackendError, InputError, UnknownNameError
from napari_ibisagent.evaluation.phantom import make_phantom
from napari_ibisagent.io.labels import write_labels

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning")


def files(folder, under=""):
    return {f"{under}{path.name}": path.read_bytes() for path in folder.iterdir()}


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A folder of checkpoints into which the agent and a tool were fetched."""
    root = tmp_path_factory.mktemp("models")
    for name in ("agent", "tool"):
        (root / name).mkdir()
    write_checkpoint(root / "agent")
    write_sam2(root / "tool")
    hub = {
        "manglu3935/IBIS": files(root / "agent", "qwen2_5vl-7b-RL/"),
        "facebook/sam2.1-hiera-large": files(root / "tool"),
    }
    with running(hub) as server:
        for name in ("ibisagent-7b", "sam2.1-hiera-large"):
            done = ran(root, "models", "fetch", name, "--yes", HF_ENDPOINT=server.address)
            assert done.returncode == 0, done.stderr
    return root


@pytest.fixture(scope="module")
def scan(tmp_path_factory):
    folder = tmp_path_factory.mktemp("scan")
    made = make_phantom(0, (6.0, 4.0, 4.0))
    image = nib.Nifti1Image(np.asarray(made.volume.data, np.int16).transpose(2, 1, 0), made.volume.affine)
    nib.save(image, folder / "ct.nii.gz")
    labels = made.mask("liver").astype(np.uint8)
    write_labels(labels, made.volume, folder / "truth.nii.gz")
    return folder


def ran(home, *arguments, **variables):
    own = {"IBISAGENT_MODELS": str(home / "home"), "IBISAGENT_PROFILES": "", "HF_TOKEN": ""} | variables
    command = [*COMMAND, *map(str, arguments)]
    return subprocess.run(
        command,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        env=environment() | own,
        timeout=100,
        check=False,
    )


def test_a_fetched_tool_is_chosen_by_its_name(home, scan, tmp_path):
    done = ran(
        home, "segment", scan / "ct.nii.gz", "-p", "segment the liver", "--policy", "oracle", "--truth",
        scan / "truth.nii.gz", "--max-steps", "2", "--segmenter", "sam2.1-hiera-large", "-o", tmp_path / "out.nii.gz",
        "--json",
    )  # fmt: skip
    said = json.loads(done.stdout)
    assert done.returncode == 0, done.stderr
    assert len(said["steps"]) == 2 and (tmp_path / "out.nii.gz").is_file()
    (journal,) = (path for path in tmp_path.iterdir() if "out" not in path.name)
    assert "sam2.1-hiera-large" in journal.read_text("utf-8")
    again = ran(home, "replay", journal)
    assert again.returncode == 0, again.stdout + again.stderr


def test_a_fetched_agent_is_chosen_by_its_name_and_its_babble_is_no_mask(home, scan, tmp_path):
    done = ran(
        home, "segment", scan / "ct.nii.gz", "-p", "segment the liver", "--policy", "ibisagent-7b", "--policy-option",
        "max_new_tokens=12", "--policy-option", "device=cpu", "-o", tmp_path / "out.nii.gz", "--json",
    )  # fmt: skip
    said = json.loads(done.stdout)
    assert (done.returncode, said["outcome"]) == (1, "failed"), done.stderr
    assert "<action>" in said["reason"] and not (tmp_path / "out.nii.gz").exists()


def test_what_isnt_fetched_says_what_to_type(home, tmp_path, monkeypatch):
    monkeypatch.setenv("IBISAGENT_MODELS", str(tmp_path))
    with pytest.raises(BackendError, match="ibisagent models fetch sam-vit-b"):
        registry.load("segmenters", "sam-vit-b")
    with pytest.raises(BackendError, match="folder=PATH"):
        registry.load("policies", "medsam-agent-8b")
    with pytest.raises(UnknownNameError, match=r"'sam-vit-x'.*embedded.*sam-vit-b"):
        registry.load("segmenters", "sam-vit-x")
    assert "models fetch" in registry.why_not("policies", "ibisagent-7b")
    assert "ibisagent-7b" not in registry.choices("policies") and "ibisagent-7b" in registry.profiles("policies")
    monkeypatch.setenv("IBISAGENT_MODELS", str(home / "home"))
    assert registry.why_not("policies", "ibisagent-7b") is None
    assert "ibisagent-7b" in registry.choices("policies")
    agent = registry.load("policies", "ibisagent-7b", device="cpu", repairs=3)
    assert (agent.name, agent.dialect, agent.manner.overlay, agent.manner.turns) == ("ibisagent-7b", "ibis", "ibis", 20)
    assert agent.manner.repairs == 3  # what the user says comes before the profile


def test_a_checkpoint_may_bring_its_own_prompts(home, tmp_path, monkeypatch):
    monkeypatch.setenv("IBISAGENT_MODELS", str(home / "home"))
    own = tmp_path / "profiles.yaml"
    own.write_text("ibisagent-7b: {options: {prompts: own.toml, max_new_tokens: 5}}", "utf-8")
    monkeypatch.setenv("IBISAGENT_PROFILES", str(own))
    with pytest.raises(InputError, match=r"ibisagent-7b/own\.toml can't be read"):
        registry.load("policies", "ibisagent-7b", device="cpu")
    (home / "agent" / "own.toml").write_text('system = "Find it."', "utf-8")
    agent = registry.load("policies", "ibisagent-7b", device="cpu", folder=str(home / "agent"))
    assert agent.speech.templates.system == "Find it."
