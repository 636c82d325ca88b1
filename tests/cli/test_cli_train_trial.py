"""``ibisagent train trial``: how an agent acts, greedily or by chance; and what ``train rl`` may play on."""

from __future__ import annotations

import json

import pytest
from commands import ibisagent

from napari_ibisagent.io.checkpoints.store import shipped

pytest.importorskip("torch", reason="the extra models is not installed")
pytest.importorskip("transformers", reason="the extra models is not installed")


def tried(*options):
    done = ibisagent("train", "trial", shipped("nano"), "--count", "12", "--segmenter", "geodesic", "--json", *options)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_greedily_it_acts_better_than_by_chance():
    greedy, by_chance = tried(), tried("--temperature", "3")
    assert greedy["episodes"] == by_chance["episodes"] == 12
    assert greedy["well_formed"] == 1 > by_chance["well_formed"]
    assert by_chance == tried("--temperature", "3")  # the same dice


def test_what_no_made_up_slice_shows_is_named(tmp_path):
    done = ibisagent("train", "rl", "--from", shipped("nano"), "-o", tmp_path / "rl", "--only", "pancreas")
    assert done.returncode == 2 and "No made-up slice shows 'pancreas'" in " ".join(done.stderr.split())
    done = ibisagent("train", "rl", tmp_path, "--from", shipped("nano"), "-o", tmp_path / "rl", "--only", "spine")
    assert done.returncode == 2 and "--only and --held choose made-up slices" in " ".join(done.stderr.split())


@pytest.mark.parametrize(
    ("weight", "message"),
    [
        ("length", "--weight takes a part and a number, as in length=0.05, and not 'length'"),
        ("length=nan", "and not 'length=nan'"),
        ("speed=1", "There is no part of the reward called 'speed'"),
    ],
)
def test_a_weight_is_a_part_and_a_number(tmp_path, weight, message):
    done = ibisagent("train", "rl", "--from", shipped("nano"), "-o", tmp_path / "rl", "--weight", weight)
    assert done.returncode == 2 and message in " ".join(done.stderr.split())
    assert not (tmp_path / "rl").exists()
