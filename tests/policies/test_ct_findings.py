"""Finding structures in a CT: on made-up patients, whole and in parts, in every slice, and what must not be found."""

from __future__ import annotations

import functools
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import ndimage as ndi

from napari_ibisagent.core.knowledge import Structure
from napari_ibisagent.core.masks import dice
from napari_ibisagent.core.target import Side
from napari_ibisagent.core.view import Plane, slice_of, view_of
from napari_ibisagent.core.volume import Volume
from napari_ibisagent.evaluation.phantom import Phantom, make_phantom
from napari_ibisagent.policies.embedded.absent import Absent
from napari_ibisagent.policies.embedded.ct.organs import Finding, find
from napari_ibisagent.policies.embedded.ct.phase import Timing, phase_of
from napari_ibisagent.policies.embedded.ct.sight import best_slice, evidence_in, volume_evidence
from napari_ibisagent.policies.embedded.ct.survey import Survey
from napari_ibisagent.policies.embedded.morphology import dilated, eroded

# HU and mL as in the knowledge base; the rules have their own where it has none.
_KNOWN = {
    "liver": ((30, 170), (600, 3000)),
    "spleen": ((30, 190), (40, 700)),
    "kidney": ((5, 260), (50, 350)),
    "aorta": ((20, 550), (20, 400)),
    "lung": ((-950, -500), (300, 4500)),
    "spine": ((100, 900), (100, 2000)),
    "bone": ((150, 1800), (20, 8000)),
    "urinary_bladder": ((-10, 60), (20, 1000)),
}
# Key, side, what the phantom calls it, and the least Dice in the key slice and in the volume.
_THERE = [
    ("liver", Side.NONE, ("liver",), 0.9, 0.85),
    ("spleen", Side.NONE, ("spleen",), 0.9, 0.85),
    ("kidney", Side.LEFT, ("left kidney",), 0.9, 0.85),
    ("kidney", Side.RIGHT, ("right kidney",), 0.9, 0.85),
    ("aorta", Side.NONE, ("aorta",), 0.8, 0.85),
    ("inferior_vena_cava", Side.NONE, ("inferior vena cava",), 0.8, 0.7),
    ("lung", Side.LEFT, ("left lung",), 0.95, 0.95),
    ("lung", Side.RIGHT, ("right lung",), 0.95, 0.95),
    ("spine", Side.NONE, ("spine",), 0.75, 0.75),
    ("spinal_canal", Side.NONE, ("spinal canal",), 0.7, 0.75),
    ("rib", Side.BOTH, ("ribs",), 0.7, 0.6),
]
_NOT_THERE = ["urinary_bladder", "hip_bone", "pelvis", "sacrum", "femur", "trachea"]


def structure(key: str) -> Structure:
    hu, volume = _KNOWN.get(key, (None, None))
    return Structure(key, key.replace("_", " "), hu=hu, volume_ml=volume)


@functools.cache
def patient(seed: int) -> tuple[Phantom, Survey]:
    phantom = make_phantom(seed)
    return phantom, Survey.of(phantom.volume)


def truth(phantom: Phantom, names: tuple[str, ...]) -> np.ndarray:
    return np.logical_or.reduce([phantom.mask(name) for name in names])


def found(key: str, side: Side, survey: Survey) -> Finding:
    answer = find(structure(key), side, survey)
    assert isinstance(answer, Finding), answer
    return answer


def part_of(volume: Volume, first: int, last: int) -> Volume:
    """The slices from ``first`` to before ``last`` of a volume, as a scan of its own."""
    affine = volume.affine.copy()
    affine[:3, 3] += affine[:3, 2] * first
    return replace(volume, data=volume.data[first:last], affine=affine)


@pytest.mark.parametrize(("key", "side", "names", "key_dice", "whole_dice"), _THERE)
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_what_is_there_is_found_in_the_key_slice_and_in_every_other(seed, key, side, names, key_dice, whole_dice):
    phantom, survey = patient(seed)
    volume, wanted = phantom.volume, truth(phantom, names)
    finding = found(key, side, survey)
    index = best_slice(finding, survey, Plane.AXIAL, volume.shape[0])
    assert dice(evidence_in(finding, survey, view_of(volume, Plane.AXIAL, index)), wanted[index]) >= key_dice
    evidence = volume_evidence(finding, survey, volume)
    assert evidence.shape == volume.shape
    assert dice(evidence, wanted) >= whole_dice


@pytest.mark.parametrize("key", _NOT_THERE)
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_what_is_out_of_the_field_of_view_is_absent_with_a_reason(seed, key):
    answer = find(structure(key), Side.NONE, patient(seed)[1])
    assert isinstance(answer, Absent)
    assert answer.reason.endswith(".")


@pytest.mark.parametrize("plane", Plane)
@pytest.mark.parametrize(("key", "side", "names"), [item[:3] for item in _THERE[:5]])
def test_the_evidence_is_right_in_every_plane(plane, key, side, names):
    phantom, survey = patient(0)
    volume, finding = phantom.volume, found(key, side, survey)
    axis = {Plane.AXIAL: 0, Plane.CORONAL: 1, Plane.SAGITTAL: 2}[plane]
    index = best_slice(finding, survey, plane, volume.shape[axis])
    view = view_of(volume, plane, index)
    wanted = view.from_native(slice_of(truth(phantom, names), plane, index))
    assert dice(evidence_in(finding, survey, view), wanted) >= 0.8


def test_the_volume_is_made_of_its_slices():
    phantom, survey = patient(0)
    finding = found("kidney", Side.LEFT, survey)
    evidence = volume_evidence(finding, survey, phantom.volume)
    for index in range(0, phantom.volume.shape[0], 7):
        view = view_of(phantom.volume, Plane.AXIAL, index)
        assert np.array_equal(evidence[index], view.to_native(evidence_in(finding, survey, view)))


@pytest.mark.parametrize(("key", "first"), [("liver", 35), ("spleen", 30), ("aorta", 45), ("spine", 40)])
def test_three_slices_are_enough(key, first):
    phantom, _ = patient(0)
    slab = part_of(phantom.volume, first, first + 3)
    survey = Survey.of(slab)
    finding = found(key, Side.NONE, survey)
    assert dice(volume_evidence(finding, survey, slab), truth(phantom, (key,))[first : first + 3]) >= 0.7


@pytest.mark.parametrize("key", ["liver", "spleen", "kidney", "aorta", "spine", "urinary_bladder", "heart", "rib"])
def test_a_thigh_holds_no_organ(key):
    """A bone with marrow as dense as a trochanter's, walled in all round as a spinal canal is, in a leg's flesh."""
    z, y, x = np.ogrid[:40, :60, :60]
    away = np.hypot(y - 30, x - 30) + 0 * z
    bone = np.hypot(y - 32, x - 30) + 0 * z
    hu = np.select([bone < 5, bone < 8, away < 22, away < 27], [140, 900, 55, -100], -1000)
    hu = (hu + np.random.default_rng(0).normal(0, 8, hu.shape)).astype(np.int16)
    leg = Volume.from_source(np.transpose(hu[::-1], (2, 1, 0)), np.diag([-3.0, -3.0, 3.0, 1.0]), modality="CT")
    survey = Survey.of(leg)
    assert survey.canal == {}
    assert isinstance(find(structure(key), Side.NONE, survey), Absent)


@pytest.mark.parametrize("seed", [0, 1])
def test_the_canal_is_followed_also_where_half_of_the_patient_is_cut_off(seed):
    phantom, _ = patient(seed)
    canal = phantom.mask("spinal canal")
    whole = phantom.volume
    middle = round(float(np.nonzero(canal)[2].mean()))
    for columns in (slice(None), slice(0, middle + 45), slice(middle - 45, None)):
        survey = Survey.of(replace(whole, data=whole.data[:, :, columns]))
        assert len(survey.canal) > 0.9 * survey.hu.shape[0]
        for z, (y, x) in survey.canal.items():
            rows, across = np.nonzero(canal[z * survey.factors[0]][:, columns])
            off = (rows.mean() / survey.factors[1] - y, across.mean() / survey.factors[2] - x)
            assert np.hypot(*off) * survey.spacing[1] < 9


def test_left_and_right_follow_a_flip_of_the_patient():
    phantom, _ = patient(0)
    flipped = replace(phantom.volume, data=phantom.volume.data[:, :, ::-1])
    survey = Survey.of(flipped)
    for key in ("lung", "kidney"):
        assert isinstance(find(structure(key), Side.LEFT, survey), Absent)  # the liver lies on the left: mirrored


# -- the phase of the contrast -------------------------------------------------------------------------------


def with_blood(phantom: Phantom, hu: float, organs: float) -> Volume:
    """The phantom with another HU of the great vessels, and of liver and spleen; all flesh plain below 65 HU."""
    data = phantom.volume.data.astype(np.float32)
    if hu < 65:
        flesh = (data > 45) & ~truth(phantom, ("spine", "ribs"))
        data[flesh] = 45 + 0.1 * (data[flesh] - 45)
    for name, value in (("aorta", hu), ("inferior vena cava", min(hu, 120)), ("liver", organs), ("spleen", organs)):
        mask = phantom.mask(name)
        data[mask] += value - float(np.median(data[mask]))
    return replace(phantom.volume, data=np.rint(data).astype(np.int16))


@pytest.mark.parametrize(
    ("blood", "organs", "timing"), [(45, 55, Timing.NONE), (320, 70, Timing.ARTERIAL), (150, 110, Timing.PORTAL)]
)
def test_the_phase_is_told_from_blood_and_liver(blood, organs, timing):
    phantom, _ = patient(0)
    survey = Survey.of(with_blood(phantom, blood, organs))
    phase = phase_of(survey)
    assert phase.timing is timing
    assert phase.blood_hu == pytest.approx(blood, abs=15)
    assert any(str(timing) in fact for fact in found("liver", Side.NONE, survey).facts)


def test_a_bright_kidney_in_a_scan_without_contrast_is_none():
    phantom, _ = patient(0)
    plain = with_blood(phantom, 42, 52)
    plain.data[phantom.mask("left kidney")] += 110
    answer = find(structure("kidney"), Side.LEFT, Survey.of(plain))
    assert isinstance(answer, Absent)
    assert "without contrast" in answer.reason


@pytest.mark.parametrize("blood", [42, 150, 400])
def test_the_spine_keeps_apart_from_the_aorta_at_any_contrast(blood):
    phantom, _ = patient(1)
    volume = with_blood(phantom, blood, 80)
    survey = Survey.of(volume)
    spine = volume_evidence(found("spine", Side.NONE, survey), survey, volume)
    aorta = volume_evidence(found("aorta", Side.NONE, survey), survey, volume)
    assert np.count_nonzero(spine & phantom.mask("aorta")) < 0.03 * np.count_nonzero(spine)
    assert np.count_nonzero(aorta & phantom.mask("spine")) < 0.05 * np.count_nonzero(aorta)
    assert dice(aorta, phantom.mask("aorta")) >= 0.8


@pytest.mark.parametrize("noise", [0, 25])
def test_noise_doesnt_hide_the_large_organs(noise):
    phantom, _ = patient(0)
    rough = np.random.default_rng(1).normal(0, 2.0 * noise, phantom.volume.shape)
    volume = replace(phantom.volume, data=np.rint(phantom.volume.data + rough).astype(np.int16))
    survey = Survey.of(volume)
    for key in ("liver", "spleen"):
        assert dice(volume_evidence(found(key, Side.NONE, survey), survey, volume), phantom.mask(key)) >= 0.8


# -- morphology in a window ----------------------------------------------------------------------------------

_MASKS = arrays(bool, st.tuples(st.integers(1, 6), st.integers(1, 9), st.integers(1, 9)))
_BALL = np.hypot(np.hypot(*np.ogrid[-1:2, -2:3])[np.newaxis], np.arange(-1, 2)[:, np.newaxis, np.newaxis]) <= 2


@settings(max_examples=60, deadline=None)
@given(_MASKS)
def test_morphology_in_a_window_is_that_of_the_whole(mask):
    assert np.array_equal(eroded(mask, _BALL), ndi.binary_erosion(mask, _BALL, border_value=1) & mask)
    assert np.array_equal(dilated(mask, _BALL), ndi.binary_dilation(mask, _BALL))
