"""Whole volumes in an evaluation: what is scored is the volume."""

from __future__ import annotations

import json

import numpy as np
import pytest

from napari_ibisagent.core.masks import dice
from napari_ibisagent.core.volume import Volume
from napari_ibisagent.evaluation.manifest import read_manifest
from napari_ibisagent.evaluation.runner import Row, Setting, evaluate_cases
from napari_ibisagent.io.labels import write_labels, write_volume

SHAPE = (14, 40, 44)


@pytest.fixture
def manifest(tmp_path):
    """A scan with one bright organ, and an organ that isn't there."""
    z, y, x = np.ogrid[: SHAPE[0], : SHAPE[1], : SHAPE[2]]
    truth = ((z - 6) / 4.5) ** 2 + ((y - 20) / 11) ** 2 + ((x - 20) / 10) ** 2 <= 1
    hu = np.where(truth, 150, 20) + np.random.default_rng(1).normal(0, 6, SHAPE)
    source = hu.astype(np.int16).transpose(2, 1, 0)
    volume = Volume.from_source(source, np.diag([-1.0, -1.0, -3.0, 1.0]), modality="CT", name="made")
    write_volume(volume, tmp_path / "scan.nii.gz")
    write_labels(truth.astype(np.uint8), volume, tmp_path / "truth.nii.gz")
    labels = [{"name": "organ", "mask": "truth.nii.gz", "value": 1, "prompt": "the organ"}]
    labels += [{"name": "nothing", "mask": "truth.nii.gz", "value": 7, "prompt": "nothing"}]
    case = {"id": "made", "task": "segmentation", "image": "scan.nii.gz", "modality": "CT", "labels": labels}
    path = tmp_path / "manifest.json"
    path.write_text(json.dumps({"cases": [case]}))
    return path, truth


def rows_of(path, **options):
    setting = Setting("oracle", "geodesic", clicks=6, **options)
    found = list(evaluate_cases(read_manifest(path), setting))
    assert all(isinstance(row, Row) for row in found)
    return found


def test_the_score_of_a_volume_is_the_volumes(manifest):
    path, truth = manifest
    organ, nothing = rows_of(path, extent="volume")
    assert (organ.outcome, organ.extent, organ.slice) == ("done", "volume", 6)
    assert 0.85 < organ.dice < 1 and organ.slices == np.count_nonzero(truth.any(axis=(1, 2)))
    assert 0 <= organ.doubtful < organ.slices and organ.key_dice > 0.9
    assert organ.hd95_mm is not None and organ.as_dict()["slices"] == organ.slices
    assert (nothing.outcome, nothing.slices, nothing.doubtful) == ("not_found", 0, 0)


def test_one_slice_is_scored_as_it_was(manifest):
    path, truth = manifest
    organ, _ = rows_of(path)
    assert (organ.extent, organ.slices, organ.dice) == ("slice", 1, organ.key_dice)
    whole, _ = rows_of(path, extent="volume")
    assert whole.key_dice == organ.dice and whole.iou_by_step == organ.iou_by_step
    # The key slice alone would be a poor answer to a question about the volume.
    alone = np.zeros_like(truth)
    alone[6] = truth[6]
    assert whole.dice > dice(alone, truth) + 0.3


def test_an_extent_that_is_not_there_is_refused(manifest):
    with pytest.raises(ValueError, match="everything"):
        rows_of(manifest[0], extent="everything")
