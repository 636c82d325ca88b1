"""The benchmark plays the same turns with both loops, and its figures add up."""

from __future__ import annotations

import json

import pytest

pytest.importorskip("torch", reason="the extra models is not installed")
pytest.importorskip("transformers", reason="the extra models is not installed")

from typer.testing import CliRunner

from napari_ibisagent.cli import app
from napari_ibisagent.evaluation.bench.policy import PARTS, Course, bench_view, compare
from napari_ibisagent.evaluation.bench.random_models import opened_random, random_sam2_tool
from napari_ibisagent.evaluation.bench.segmenter import time_tool
from napari_ibisagent.io.prompts import read_templates
from napari_ibisagent.segmenters import geodesic

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning")


@pytest.fixture(scope="module")
def opened():
    return opened_random("tiny", "cpu", "auto", scale=6)


@pytest.mark.parametrize("history", [True, False])
def test_both_loops_say_the_same(opened, history):
    course = Course(turns=3, tokens=10, side=64, history=history)
    found = compare(opened, geodesic.build(), read_templates("ibis"), course)
    # Ten tokens may end within a letter, of which ours, being a stream, shows nothing yet.
    assert found.ours.text == [text.rstrip("\ufffd") for text in found.plain.text] and len(found.ours.text) == 3
    assert len(set(found.ours.text)) > 1  # it saw the masks
    for laps in (found.ours, found.plain):
        assert all(set(lap) == set(PARTS) and min(lap.values()) >= 0 for lap in laps.seconds)
    assert found.ratio > 0 and found.memory_gb > 0.05


def test_a_tool_is_timed_as_it_is_used_and_anew():
    tool = random_sam2_tool("tiny", "cpu")
    times = time_tool(tool, bench_view(64), clicks=3, rounds=1)
    assert times.plain_step_ms > 2 * times.later_ms > 0
    assert times.open_ms + times.first_ms > times.later_ms


def test_the_commands_print_one_object():
    run = CliRunner()
    short = "--segmenter geodesic --turns 2 --tokens 3 --side 64 --rounds 1 --json"
    said = run.invoke(app, ["bench", "policy", "random:tiny", *short.split()])
    assert said.exit_code == 0, said.output
    found = json.loads(said.stdout.splitlines()[-1])
    assert len(found["laps"]["ours"]) == len(found["laps"]["plain"]) == found["turns"] == 2 and found["ratio"] > 0
    said = run.invoke(app, ["bench", "segmenter", "geodesic", "--side", "64", "--rounds", "1", "--json"])
    assert said.exit_code == 0 and json.loads(said.stdout)["later_ms"] > 0
    assert run.invoke(app, ["bench", "policy", "random:huge"]).exit_code == 2
