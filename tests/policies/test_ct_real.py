"""The rules for CT on real scans, where they are at hand: what is there, and what isn't."""

from __future__ import annotations

import functools
import os
from pathlib import Path

import numpy as np
import pytest

from napari_ibisagent.core.knowledge import Structure
from napari_ibisagent.core.masks import Mask, dice
from napari_ibisagent.core.target import Side
from napari_ibisagent.core.view import Plane, view_of
from napari_ibisagent.core.volume import Volume
from napari_ibisagent.io.read import read_mask, read_scan
from napari_ibisagent.policies.embedded.absent import Absent
from napari_ibisagent.policies.embedded.ct.organs import Finding, find
from napari_ibisagent.policies.embedded.ct.phase import Timing, phase_of
from napari_ibisagent.policies.embedded.ct.sight import best_slice, evidence_in, volume_evidence
from napari_ibisagent.policies.embedded.ct.survey import Survey

_ROOT = Path(os.environ.get("IBISAGENT_TEST_DATA") or Path(__file__).resolve().parents[3] / "shared" / "data")

pytestmark = pytest.mark.skipif(
    not (_ROOT / "manifest.json").is_file(), reason=f"no sample data at {_ROOT} (set IBISAGENT_TEST_DATA)"
)

_SCANS = {
    "trunk": "ct_abdomen/totalseg_example_ct/image.nii.gz",
    "chest": "ct_chest/ibsi_lung/image.nii.gz",
    "vessels": "ct_chest/totalseg_aorta/image.nii.gz",
    "upper abdomen": "ct_abdomen/crlm_1004/image.nii.gz",
    "three slices": "ct_dicom/dcmqi_3slice/series",
    "thigh": "ct_dicom/sts001_ct/series",
}
_KNOWN = {
    "liver": ((30, 170), (600, 3000)),
    "spleen": ((30, 190), (40, 700)),
    "kidney": ((5, 260), (50, 350)),
    "aorta": ((20, 550), (20, 400)),
    "lung": ((-950, -500), (20, 6000)),
    "spine": ((100, 900), (2, 1500)),
    "urinary_bladder": ((-15, 40), (20, 1200)),
}
# Key, side, label values of the trunk's truth, and the least Dice in the key slice and in the volume.
_TRUNK = [
    ("liver", Side.NONE, (5,), 0.9, 0.85),
    ("spleen", Side.NONE, (1,), 0.9, 0.85),
    ("kidney", Side.RIGHT, (2,), 0.8, 0.85),
    ("kidney", Side.LEFT, (3,), 0.9, 0.85),
    ("aorta", Side.NONE, (52,), 0.85, 0.85),
    ("lung", Side.BOTH, (10, 11, 12, 13, 14), 0.9, 0.9),
    ("urinary_bladder", Side.NONE, (21,), 0.9, 0.9),
    ("spine", Side.NONE, tuple(range(27, 34)), 0.85, 0.8),
    ("hip_bone", Side.LEFT, (77,), 0.8, 0.8),
    ("hip_bone", Side.RIGHT, (78,), 0.8, 0.8),
]
_ABSENT = {
    "trunk": ["trachea", "heart"],
    "chest": ["urinary_bladder", "hip_bone", "femur", "sacrum", "pelvis"],
    "vessels": ["urinary_bladder", "hip_bone", "femur", "sacrum", "pelvis"],
    "upper abdomen": ["urinary_bladder", "hip_bone", "femur", "sacrum", "pelvis", "trachea"],
    "three slices": ["urinary_bladder", "hip_bone", "femur", "sacrum", "kidney", "trachea"],
    "thigh": [
        "liver",
        "spleen",
        "kidney",
        "aorta",
        "lung",
        "urinary_bladder",
        "spine",
        "heart",
        "rib",
        "sacrum",
        "hip_bone",
        "femur",
    ],
}


def structure(key: str) -> Structure:
    hu, volume = _KNOWN.get(key, (None, None))
    return Structure(key, key.replace("_", " "), hu=hu, volume_ml=volume)


@functools.cache
def scan(name: str) -> tuple[Volume, Survey]:
    volume = read_scan(_ROOT / _SCANS[name])
    return volume, Survey.of(volume)


@functools.cache
def trunk_label(value: int) -> Mask:
    return read_mask(_ROOT / "ct_abdomen/totalseg_example_ct/labels.nii.gz", scan("trunk")[0], value)


@pytest.mark.parametrize(("key", "side", "values", "key_dice", "whole_dice"), _TRUNK)
def test_a_real_trunk_is_told_apart(key, side, values, key_dice, whole_dice):
    volume, survey = scan("trunk")
    wanted = np.logical_or.reduce([trunk_label(value) for value in values])
    finding = find(structure(key), side, survey)
    assert isinstance(finding, Finding), finding
    index = best_slice(finding, survey, Plane.AXIAL, volume.shape[0])
    assert dice(evidence_in(finding, survey, view_of(volume, Plane.AXIAL, index)), wanted[index]) >= key_dice
    assert dice(volume_evidence(finding, survey, volume), wanted) >= whole_dice


@pytest.mark.parametrize(("name", "key"), [(name, key) for name, keys in _ABSENT.items() for key in keys])
def test_what_is_out_of_the_field_of_view_is_named_absent(name, key):
    assert isinstance(find(structure(key), Side.NONE, scan(name)[1]), Absent)


def test_the_wall_of_a_dissected_aorta_is_kept_whole():
    volume, survey = scan("vessels")
    finding = find(structure("aorta"), Side.NONE, survey)
    assert isinstance(finding, Finding)
    index = best_slice(finding, survey, Plane.AXIAL, volume.shape[0])
    wanted = read_mask(_ROOT / "ct_chest/totalseg_aorta/mask_aorta.nii.gz", volume)[index]
    assert dice(evidence_in(finding, survey, view_of(volume, Plane.AXIAL, index)), wanted) >= 0.85


@pytest.mark.parametrize(("name", "partial"), [("vessels", True), ("trunk", False)])
def test_an_aorta_of_which_a_part_is_left_out_says_so(name, partial):
    finding = find(structure("aorta"), Side.NONE, scan(name)[1])
    assert isinstance(finding, Finding)
    assert any("left out" in fact for fact in finding.facts) == partial


@pytest.mark.parametrize(
    ("name", "timing"),
    [("trunk", Timing.NONE), ("three slices", Timing.NONE), ("vessels", Timing.ARTERIAL)],
)
def test_the_phase_of_real_scans(name, timing):
    assert phase_of(scan(name)[1]).timing is timing


def test_the_sacrum_is_said_to_be_unsure():
    finding = find(structure("sacrum"), Side.NONE, scan("trunk")[1])
    assert isinstance(finding, Finding) and finding.sure < 0.5
    pelvis = find(structure("pelvis"), Side.NONE, scan("trunk")[1])
    assert isinstance(pelvis, Finding) and pelvis.sure == 1
