"""``ibisagent models`` in a subprocess, against a hub on this machine."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from commands import COMMAND as IBISAGENT
from commands import environment
from hub_server import Hub, running

Models = Callable[..., subprocess.CompletedProcess[str]]
COMMAND = (*IBISAGENT, "models")
WEIGHTS = bytes(range(256)) * 2048
REPOSITORIES = {
    "facebook/sam-vit-base": {"config.json": b"{}", "model.safetensors": WEIGHTS, "pytorch_model.bin": b"x"},
    "wanglab/MedSAM2": {"MedSAM2_latest.pt": WEIGHTS},
}


@pytest.fixture
def hub() -> Iterator[Hub]:
    with running({name: dict(files) for name, files in REPOSITORIES.items()}) as server:
        yield server


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "models"


@pytest.fixture
def models(hub: Hub, home: Path) -> Models:
    """Runs ``ibisagent models …`` with an empty folder for checkpoints."""

    def run(*arguments: str | Path, **variables: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*COMMAND, *map(str, arguments)],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            env=settings(hub, home) | variables,
            timeout=60,
            check=False,
        )

    return run


def settings(hub: Hub, home: Path) -> dict[str, str]:
    own = {"HF_ENDPOINT": hub.address, "IBISAGENT_MODELS": str(home), "HF_TOKEN": "", "IBISAGENT_PROFILES": ""}
    return environment() | own


def test_a_checkpoint_from_list_to_remove(models: Models, hub: Hub, home: Path, tmp_path: Path) -> None:
    listed = models("list")
    assert listed.returncode == 0, listed.stderr
    rows = {line.split()[0]: line.split() for line in listed.stdout.splitlines() if line}
    assert rows["sam-vit-b"] == ["sam-vit-b", "tool", "0.4", "GB", "3", "GB", "Apache-2.0", "yes", "no"]
    assert rows["ibisagent-7b"][-2:] == ["no", "no"]
    assert str(home) in listed.stdout

    fetched = models("fetch", "sam-vit-b", "--yes")
    assert fetched.returncode == 0, fetched.stderr
    assert "licence Apache-2.0 (https://huggingface.co/facebook/sam-vit-base)" in fetched.stdout
    assert "commercial use is allowed" in fetched.stdout
    assert "% model.safetensors" in fetched.stderr
    assert (home / "sam-vit-b" / "model.safetensors").read_bytes() == WEIGHTS
    sent = hub.sent.total()
    assert "is installed in" in models("fetch", "sam-vit-b").stdout
    assert hub.sent.total() == sent

    shown = json.loads(models("show", "sam-vit-b", "--json").stdout)
    assert (shown["installed"], shown["commit"], shown["hub"]) == ("yes", hub.commit, "facebook/sam-vit-base")
    found = json.loads(models("list", "--json").stdout)
    assert [row["name"] for row in found["models"] if row["installed"] == "yes"] == ["sam-vit-b", "nano"]
    assert models("verify").stdout.splitlines() == [
        f"{name}: every file is as it came." for name in ("sam-vit-b", "nano")
    ]

    archive = tmp_path / "a.tar"
    bundled = models("bundle", "sam-vit-b", "-o", archive)
    assert bundled.returncode == 0, bundled.stderr
    removed = models("remove", "sam-vit-b")
    assert "sam-vit-b is removed; that freed 52" in removed.stdout
    assert models("remove", "sam-vit-b").returncode == 2

    refused = models("fetch", "--from", archive)
    assert (refused.returncode, "--yes" in refused.stderr) == (2, True)
    assert not (home / "sam-vit-b").exists()
    installed = models("fetch", "--from", archive, "--yes", HF_ENDPOINT="http://127.0.0.1:9")
    assert installed.returncode == 0, installed.stderr
    assert models("verify", "sam-vit-b").returncode == 0


def test_verify_ends_with_1_where_something_is_damaged_and_again_mends_it(models: Models, home: Path) -> None:
    models("fetch", "sam-vit-b", "-y")
    (home / "sam-vit-b" / "model.safetensors").write_bytes(WEIGHTS[::-1])
    done = models("verify")
    assert done.returncode == 1
    assert "sam-vit-b: model.safetensors was changed" in done.stderr
    assert "ibisagent models fetch sam-vit-b --again" in done.stderr
    assert models("fetch", "sam-vit-b", "--again", "--yes").returncode == 0
    assert models("verify").returncode == 0


def test_a_licence_that_nobody_agreed_to_fetches_nothing(models: Models, hub: Hub, home: Path) -> None:
    done = models("fetch", "sam-vit-b")
    assert done.returncode == 2
    assert "Apache-2.0" in done.stdout
    assert "add --yes" in done.stderr
    assert not home.exists()
    assert hub.seen == []


@pytest.mark.parametrize(("answer", "code"), [("n", 2), ("y", 0)])
def test_at_a_terminal_the_licence_is_asked_about(answer: str, code: int, hub: Hub, home: Path) -> None:
    pty = pytest.importorskip("pty")
    ours, theirs = pty.openpty()
    try:
        os.write(ours, f"{answer}\n".encode())
        done = subprocess.run(
            [*COMMAND, "fetch", "sam-vit-b"],
            stdin=theirs,
            capture_output=True,
            text=True,
            env=settings(hub, home),
            timeout=60,
            check=False,
        )
    finally:
        os.close(ours)
        os.close(theirs)
    assert done.returncode == code, done.stderr
    assert "Do you agree?" in done.stdout
    assert home.exists() == (code == 0)
    assert (hub.seen != []) == (code == 0)


def test_pickles_have_to_be_allowed_in_so_many_words(models: Models, home: Path) -> None:
    done = models("fetch", "medsam2", "--yes")
    assert (done.returncode, "--allow-pickle" in done.stderr) == (2, True)
    assert "not allowed" in done.stdout
    assert not home.exists()
    assert models("fetch", "medsam2", "--yes", "--allow-pickle").returncode == 0


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (("show", "sam-9"), 2, "Known are: ibisagent-7b"),
        (("fetch",), 2, "Name a checkpoint"),
        (("fetch", "sam-vit-l", "-y"), 2, "The hub has no facebook/sam-vit-large at main (404)"),
        (("fetch", "medsam-agent-8b", "-y"), 2, "medsam-agent-8b: {hub: owner/model}"),
        (("fetch", "--from", "nowhere.tar"), 2, "nowhere.tar can't be read as a bundle"),
        (("verify", "sam-vit-b"), 2, "ibisagent models fetch sam-vit-b"),
        (("bundle", "sam-vit-b", "-o", "x.tar"), 2, "sam-vit-b isn't installed"),
        (("remove", "nano"), 2, "nano comes with this program"),
        (("remove", "sam-vit-b"), 2, "there is nothing to remove"),
    ],
)
def test_what_is_wrong_is_a_sentence(arguments: tuple[str, ...], code: int, says: str, models: Models) -> None:
    done = models(*arguments)
    assert done.returncode == code
    assert says in done.stderr
    assert "Traceback" not in done.stderr


def test_a_gated_checkpoint_says_what_to_do_and_never_the_token(models: Models, hub: Hub) -> None:
    hub.gated = True
    done = models("fetch", "sam-vit-b", "-y")
    assert done.returncode == 2
    assert "(401)" in done.stderr and "HF_TOKEN" in done.stderr
    done = models("fetch", "sam-vit-b", "-y", HF_TOKEN="hf_secret")
    assert done.returncode == 0, done.stderr
    assert "secret" not in done.stdout + done.stderr


def test_a_wrong_own_file_is_named(models: Models, tmp_path: Path) -> None:
    (tmp_path / "own.yaml").write_text("sam-vit-b: {colour: red}")
    done = models("list", IBISAGENT_PROFILES=str(tmp_path / "own.yaml"))
    assert done.returncode == 2
    assert "own.yaml has the unknown key colour" in done.stderr


@pytest.mark.parametrize("command", ["list", "show", "fetch", "verify", "bundle", "remove"])
def test_help_has_examples(command: str, models: Models) -> None:
    done = models(command, "--help")
    assert done.returncode == 0
    assert "ibisagent models" in done.stdout


def test_a_checkpoint_is_what_from_pretrained_reads(models: Models, hub: Hub, home: Path) -> None:
    """A small model of random weights goes through the hub and back into transformers."""
    pytest.importorskip("torch")
    pytest.importorskip("transformers")
    (home.parent / "code.py").write_text(ROUND_TRIP)
    source, checkpoint = home.parent / "source", home / "sam-vit-b"
    with subprocess.Popen(
        [sys.executable, home.parent / "code.py", source, checkpoint],
        env=environment() | {"HF_HUB_OFFLINE": "1"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "saved\n"
        hub.repositories["facebook/sam-vit-base"] = {path.name: path.read_bytes() for path in source.iterdir()}
        assert models("fetch", "sam-vit-b", "--yes").returncode == 0
        assert process.communicate("go on\n", timeout=60)[0] == "same\n"


ROUND_TRIP = """
import sys
import torch
from transformers import SamConfig, SamModel

small = dict(hidden_size=16, num_hidden_layers=1, num_attention_heads=2, image_size=64, output_channels=16,
             global_attn_indexes=[0])
prompt = dict(hidden_size=16, image_size=64, image_embedding_size=4)
mask = dict(hidden_size=16, num_hidden_layers=1, num_attention_heads=2, mlp_dim=16, iou_head_hidden_dim=16)
model = SamModel(SamConfig(vision_config=small, prompt_encoder_config=prompt, mask_decoder_config=mask))
model.save_pretrained(sys.argv[1])
print("saved", flush=True)
sys.stdin.readline()
read = SamModel.from_pretrained(sys.argv[2]).state_dict()
print("same" if all(torch.equal(value, read[key]) for key, value in model.state_dict().items()) else "other")
"""
