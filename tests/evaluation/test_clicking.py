"""Click tools against each other: what is asked, how it is counted, and that the classic ones work."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image

from napari_ibisagent.core.view import Plane, View
from napari_ibisagent.evaluation.baselines import BASELINES
from napari_ibisagent.evaluation.clicking import LONGEST, Played, Question, lines, markdown, play, questions, trust
from napari_ibisagent.evaluation.manifest import read_manifest
from napari_ibisagent.evaluation.runner import Skipped
from napari_ibisagent.segmenters import geodesic


def square(side=96):
    rng = np.random.default_rng(0)
    truth = np.zeros((side, side), bool)
    truth[side // 4 : side // 2, side // 4 : side // 2] = True
    image = (60 + 100 * truth + rng.normal(0, 4, truth.shape)).astype(np.float32)
    return Question("c", "OT", "square", View(image, Plane.AXIAL, 0, (side, side), None), truth)


@pytest.mark.parametrize("tool", [*BASELINES, geodesic.build()], ids=lambda tool: tool.name)
def test_every_classic_tool_finds_a_plain_square_and_gets_better_with_clicks(tool):
    played = play(tool, square(), 6)
    assert played.ious[0] > 0.8
    assert len(played.ious) == len(played.scores) == len(played.milliseconds) <= 6


def test_a_question_is_the_largest_part_on_a_view_of_limited_size(tmp_path):
    mask = np.zeros((1200, 800), np.uint8)
    mask[100:500, 100:500] = 255
    mask[900:950, 600:650] = 255
    Image.fromarray(mask // 2 + 30).save(tmp_path / "a.png")
    Image.fromarray(mask).save(tmp_path / "m.png")
    Image.fromarray(np.zeros_like(mask)).save(tmp_path / "e.png")
    labels = [
        {"name": name, "mask": file, "value": "nonzero", "prompt": "x"}
        for name, file in {"two": "m.png", "no": "e.png"}.items()
    ]
    cases = [
        {"id": "a", "image": "a.png", "modality": "OT", "labels": labels},
        {"id": "b", "image": None, "modality": "OT", "labels": labels},
    ]
    (tmp_path / "m.json").write_text(json.dumps({"cases": cases}))
    found = list(questions(read_manifest(tmp_path / "m.json")))
    (question,) = [item for item in found if isinstance(item, Question)]
    assert max(question.view.shape) == max(question.truth.shape) == LONGEST
    rows, columns = np.nonzero(question.truth)
    assert rows.max() < 250 and columns.max() < 250  # the small part is left out
    assert question.truth.mean() == pytest.approx(400 * 400 / mask.size, rel=0.03)
    assert {(item.case, item.target) for item in found if isinstance(item, Skipped)} == {("a", "no"), ("b", "")}


def made(tool, ious, scores=None):
    return Played(tool, "c", "CT", "x", ious, scores or ious, tuple(10.0 for _ in ious), 1.0)


def test_how_results_are_counted():
    played = [made("a", (0.5, 0.9)), made("a", (0.7, 0.7, 0.82)), made("b", (0.2, 0.3))]
    first, second = lines(played, lambda _: "all")
    assert first.tool == "a" and first.questions == 2
    assert first.iou_after[0] == pytest.approx(0.6) and first.iou_after[3] == pytest.approx((0.9 + 0.82) / 2)
    assert first.clicks_to == ((2 + 3) / 2, (2 + 20) / 2) and first.never == (0.0, 0.5)
    assert second.never == (1.0, 1.0)
    assert markdown([first, second]).count("\n") == 4


def test_trust_is_the_scores_correlation_with_the_truth():
    correlation, error, masks = trust([made("a", (0.2, 0.4, 0.9), (0.3, 0.5, 1.0))])
    assert correlation == pytest.approx(1) and error == pytest.approx(0.1) and masks == 3
    assert trust([made("a", (0.5, 0.5))])[0] == 0.0
