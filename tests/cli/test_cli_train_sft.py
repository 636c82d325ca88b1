"""``ibisagent train sft`` as it is typed: killed without warning and gone on with, tested on the way, and refused."""

from __future__ import annotations

import re
import signal
import subprocess
import time

import pytest

pytest.importorskip("torch", reason="the extra models is not installed")
pytest.importorskip("transformers", reason="the extra models is not installed")
pytest.importorskip("accelerate", reason="the extra models is not installed")

from commands import COMMAND, environment, ibisagent
from tiny_school import words_of, write_lessons, write_pupil

from napari_ibisagent import registry
from napari_ibisagent.training.curve import read_curve
from napari_ibisagent.training.sft.run import RUN, last_saved, saved_step

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning")


@pytest.fixture(scope="module")
def school(tmp_path_factory):
    """(a folder of trajectories, an untrained checkpoint)."""
    folder = tmp_path_factory.mktemp("school")
    learned = write_lessons(folder / "lessons", 3)
    return folder / "lessons", write_pupil(folder / "pupil", words_of(learned), hidden=32)


def arguments(school, output):
    lessons, pupil = school
    plan = "--steps 24 --batch 2 --accumulate 1 --lora 4 --rate 0.01 --save-every 4 --measure-every 12"
    played = "--held-out 0.34 --trials 2 --segmenter geodesic --max-new-tokens 16 --device cpu --seed 3"
    return ("train", "sft", lessons, "--from", pupil, "-o", output, *plan.split(), *played.split())


def killed(command, output, step):
    """Runs a command until it has saved a step, and ends it as a power cut would."""
    process = subprocess.Popen(
        [*COMMAND, *map(str, command)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=environment(), text=True
    )
    deadline = time.monotonic() + 90
    try:
        while saved_step(output) < step and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.005)
    finally:
        process.kill()  # SIGKILL
        said, _ = process.communicate()
    assert process.returncode == -signal.SIGKILL, said
    return said


@pytest.mark.timeout(300)  # three runs of the real command
def test_a_killed_run_goes_on_and_ends_as_one_that_wasnt(school, tmp_path):
    pytest.importorskip("peft")
    pytest.importorskip("tensorboard")
    whole = ibisagent(*arguments(school, tmp_path / "whole"))
    assert whole.returncode == 0, whole.stdout + whole.stderr
    assert "8 examples of 4 trajectories; 2 are held out." in whole.stdout
    assert "The run has 24 steps." in whole.stdout and "held_out_loss" in whole.stdout
    out = tmp_path / "out"
    killed(arguments(school, out), out, 8)
    assert 8 <= saved_step(out) < 24 and not (out / "model.safetensors").exists()
    at = saved_step(out)
    resumed = ibisagent(*arguments(school, out))
    assert resumed.returncode == 0, resumed.stdout + resumed.stderr
    assert f"goes on after step {at} of 24 steps." in resumed.stdout
    first = int(re.search(r"^step (\d+):", resumed.stdout, re.MULTILINE)[1])
    assert at < first <= at + 4
    weights = [(folder / "model.safetensors").read_bytes() for folder in (tmp_path / "whole", out)]
    assert weights[0] == weights[1]
    measured = [[e for e in read_curve(folder) if "held_out_loss" in e] for folder in (tmp_path / "whole", out)]
    assert measured[0] == measured[1] and [entry["step"] for entry in measured[0]] == [12, 24]
    assert {"iou", "first_hit", "well_formed", "episodes"} & measured[0][0].keys() >= {"iou", "episodes", "well_formed"}
    losses = [entry["loss"] for entry in read_curve(out) if "loss" in entry]
    assert losses[-1] < losses[0]
    assert list((out / "board").glob("events.*")) and last_saved(out).parent == out / RUN
    # The command that is printed plays what was trained.
    assert f"--policy-option folder={out}" in re.sub(r"\s*\n\s*", "", resumed.stdout).replace("folder= ", "folder=")
    policy = registry.load("policies", "qwen_vl", folder=str(out), device="cpu", dtype="float32")
    assert policy.opened.model.dtype.is_floating_point and (out / "prompts.toml").is_file()


def test_what_cant_be_trained_is_a_sentence(school, tmp_path):
    done = ibisagent("train", "sft", tmp_path, "--from", school[1], "-o", tmp_path / "out", "--device", "cpu")
    assert done.returncode == 2, done.stdout + done.stderr
    assert done.stderr.startswith("There are no trajectories in") and "Traceback" not in done.stderr


def test_help_has_an_example():
    done = ibisagent("train", "sft", "--help")
    assert done.returncode == 0 and "ibisagent train sft trajectories/" in done.stdout
