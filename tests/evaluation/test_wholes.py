"""Wholes whose truth is labelled in parts."""

from __future__ import annotations

import json

import numpy as np
import pytest

from napari_ibisagent.core.volume import Volume
from napari_ibisagent.evaluation.manifest import read_manifest
from napari_ibisagent.evaluation.runner import read_tasks
from napari_ibisagent.evaluation.wholes import with_wholes
from napari_ibisagent.io.knowledge import load_knowledge
from napari_ibisagent.io.labels import write_labels, write_volume


@pytest.fixture
def cases(tmp_path):
    """``cases(*names)``: a manifest whose case labels these structures with 1, 2, … in one file."""

    def made(*names):
        labels = np.zeros((3, 8, 10), np.uint8)
        for value in range(1, len(names) + 1):
            labels[1, value] = value
        volume = Volume.from_source(np.zeros((10, 8, 3), np.int16), np.eye(4), modality="CT", name="made")
        write_volume(volume, tmp_path / "scan.nii.gz")
        write_labels(labels, volume, tmp_path / "truth.nii.gz")
        entries = [{"name": n, "mask": "truth.nii.gz", "value": v} for v, n in enumerate(names, start=1)]
        case = {"id": "made", "image": "scan.nii.gz", "modality": "CT", "labels": entries}
        path = tmp_path / "manifest.json"
        path.write_text(json.dumps({"cases": [case]}))
        return read_manifest(path)

    return made


def wholes_of(cases):
    return [task for case in with_wholes(cases, load_knowledge()) for task in case.tasks if task.parts]


def test_a_whole_is_the_union_of_its_parts_and_of_nothing_else(cases):
    read = cases("L4 vertebra", "spleen", "L5 vertebra", "spinal cord")
    (spine,) = wholes_of(read)
    assert (spine.target, spine.prompt) == ("spine", "segment the spine")
    truths = {task.target: truth for _, task, _, truth in read_tasks(with_wholes(read, load_knowledge()))}
    assert np.array_equal(truths["spine"], truths["L4 vertebra"] | truths["L5 vertebra"])
    assert truths["spine"].sum() == 20


def test_a_part_counts_in_one_whole(cases):
    read = cases("left hip bone", "right hip bone", "sacrum", "L4 vertebra", "L5 vertebra")
    found = {task.target: [part.target for part in task.parts] for task in wholes_of(read)}
    assert found == {"pelvis": ["left hip bone", "right hip bone", "sacrum"], "spine": ["L4 vertebra", "L5 vertebra"]}


def test_bones_make_the_pelvis_and_lobes_the_lungs(cases):
    read = cases(
        "left hip bone",
        "right hip bone",
        "sacrum",
        "urinary bladder",
        "lower lobe of the left lung",
        "upper lobe of the left lung",
    )
    found = {task.target: [part.target for part in task.parts] for task in wholes_of(read)}
    assert found == {
        "pelvis": ["left hip bone", "right hip bone", "sacrum"],
        "lungs": ["lower lobe of the left lung", "upper lobe of the left lung"],
    }


@pytest.mark.parametrize(
    "names", [("L4 vertebra", "spleen"), ("lungs", "lower lobe of the left lung", "upper lobe of the left lung")]
)
def test_one_part_is_no_whole_and_a_labelled_whole_stays_as_it_is(cases, names):
    assert wholes_of(cases(*names)) == []
