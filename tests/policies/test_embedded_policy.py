"""The embedded policy on a made-up patient and on made-up pictures: it finds, it says why, and it is honest."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from scipy import ndimage

from napari_ibisagent.agent.job import Job, Result, perform
from napari_ibisagent.agent.recorder import Recorder
from napari_ibisagent.core.actions import Click, Discard
from napari_ibisagent.core.episode import Author, Outcome, PackedMask, Painted, Prompted, Proposed, Rejected, begin
from napari_ibisagent.core.masks import dice
from napari_ibisagent.core.overlay import grey_picture
from napari_ibisagent.core.protocols import Locator, Policy, Situation
from napari_ibisagent.core.view import Plane, slice_of, view_of
from napari_ibisagent.core.volume import Volume
from napari_ibisagent.core.window import default_window
from napari_ibisagent.evaluation.phantom import Phantom, make_phantom
from napari_ibisagent.policies import embedded as policy_module
from napari_ibisagent.segmenters import geodesic as tool_module

SEEDS = (0, 1)
TRUTH = {
    "liver": ("liver",),
    "spleen": ("spleen",),
    "left kidney": ("left kidney",),
    "right kidney": ("right kidney",),
    "aorta": ("aorta",),
    "left lung": ("left lung",),
    "right lung": ("right lung",),
    "both lungs": ("left lung", "right lung"),
    "spine": ("spine",),
    "bone": ("spine", "ribs"),
}


@dataclass(frozen=True, eq=False)
class Patient:
    """A made-up patient with a policy that has looked at them (its survey takes a second)."""

    phantom: Phantom
    policy: Any

    def truth(self, prompt: str) -> np.ndarray:
        return np.logical_or.reduce([self.phantom.mask(name) for name in TRUTH[prompt]])


@pytest.fixture(scope="session", params=SEEDS)
def patient(request) -> Patient:
    return patient_of(request.param)


@functools.cache
def patient_of(seed: int) -> Patient:
    return Patient(make_phantom(seed), policy_module.build())


def ask(volume, policy, prompt, plane=Plane.AXIAL, index=None, **options) -> Result:
    job = Job(volume, prompt, plane, index, policy, tool_module.build(), policy)
    return perform(job, Recorder(), **options)


def found(patient: Patient, prompt: str, plane: Plane) -> tuple[np.ndarray, np.ndarray, Result]:
    """(mask, truth) on the voxels of the slice that was chosen, and the result."""
    result = ask(patient.phantom.volume, patient.policy, f"segment the {prompt}", plane)
    assert result.view is not None, result.episode.reason
    truth = slice_of(patient.truth(prompt), plane, result.view.index)
    return result.view.to_native(result.episode.mask_array()), truth, result


@pytest.mark.parametrize("plane", Plane)
@pytest.mark.parametrize("prompt", ["liver", "spleen", "left kidney", "right kidney"])
def test_organs_are_found(patient, prompt, plane):
    mask, truth, result = found(patient, prompt, plane)
    assert result.episode.outcome is Outcome.DONE and result.value == 1 and result.warnings == ()
    assert dice(mask, truth) >= 0.7


@pytest.mark.parametrize(("prompt", "least"), [("aorta", 0.7), ("left lung", 0.9), ("right lung", 0.9)])
@pytest.mark.parametrize("plane", Plane)
def test_other_structures_are_found(patient, prompt, least, plane):
    mask, truth, result = found(patient, prompt, plane)
    assert result.episode.outcome is Outcome.DONE
    assert dice(mask, truth) >= least


@pytest.mark.parametrize("plane", Plane)
def test_what_is_offered_as_the_spine_is_all_of_it(patient, plane):
    """Not one vertebra. An honest "not found" is allowed where the tool doesn't get along with the discs."""
    mask, truth, result = found(patient, "spine", plane)
    assert result.episode.outcome is Outcome.DONE or plane is not Plane.AXIAL
    assert dice(mask, truth) >= 0.6 or result.episode.outcome is Outcome.NOT_FOUND


@pytest.mark.parametrize("prompt", ["both lungs", "bone"])
@pytest.mark.parametrize("plane", Plane)
def test_what_is_taken_for_a_tissue_is_that_tissue(patient, prompt, plane):
    """Not all of it (the limit of steps may come first), but hardly anything else."""
    mask, truth, result = found(patient, prompt, plane)
    assert result.episode.outcome in (Outcome.DONE, Outcome.STEP_LIMIT)
    near = ndimage.binary_dilation(truth, iterations=2)
    assert (mask & near).sum() > 0.8 * mask.sum() and mask.sum() > 100


@pytest.mark.parametrize(
    ("prompt", "side"), [("left kidney", 1), ("right kidney", -1), ("left lung", 1), ("spleen", 1), ("liver", -1)]
)
@pytest.mark.parametrize("plane", Plane)
def test_the_side_is_the_patients(patient, prompt, side, plane):
    volume = patient.phantom.volume
    mask, _, result = found(patient, prompt, plane)
    columns = np.nonzero(patient.truth("spine"))[2]
    x = result.view.index if plane is Plane.SAGITTAL else np.nonzero(mask)[1].mean()
    assert np.sign(x - columns.mean()) == side
    # The patient's left is at larger x, which is smaller R in RAS+ mm.
    assert volume.affine[0, 0] < 0


def test_both_kidneys_are_two_parts(patient):
    result = ask(patient.phantom.volume, patient.policy, "both kidneys")
    truth = (patient.phantom.mask("left kidney") | patient.phantom.mask("right kidney"))[result.view.index]
    mask = result.view.to_native(result.episode.mask_array())
    middle = int(np.nonzero(patient.truth("spine"))[2].mean())
    assert mask[:, :middle].any() and mask[:, middle:].any() and dice(mask, truth) > 0.7


@pytest.mark.parametrize(
    ("prompt", "words"),
    [
        ("segment the urinary bladder", "pelvis is not in the field of view"),
        ("segment the gallbladder", "no rule"),
        ("which organ stores bile?", "gallbladder"),
        ("segment the liver tumor", "no rule"),
        ("liver and spleen", "one at a time"),
        ("the spleen on the right", "none on the right"),
        ("hello", "No structure"),
    ],
)
@pytest.mark.parametrize("index", [None, 30])
def test_what_is_not_there_or_not_known_is_not_found(patient, prompt, words, index):
    result = ask(patient.phantom.volume, patient.policy, prompt, index=index)
    assert (result.episode.outcome, result.value) == (Outcome.NOT_FOUND, None)
    assert words in result.episode.reason
    assert not result.episode.mask_array().any()


def test_a_prompt_that_describes_finds_the_same_as_one_that_names(patient):
    described = ask(patient.phantom.volume, patient.policy, "Which organ makes bile?")
    named = ask(patient.phantom.volume, patient.policy, "liver")
    assert described.episode.mask == named.episode.mask and described.target == named.target


def test_a_slice_without_the_organ_is_said_with_one_that_has_it(patient):
    for plane, index in ((Plane.AXIAL, 79), (Plane.CORONAL, 30), (Plane.SAGITTAL, 30)):
        assert not slice_of(patient.truth("left kidney"), plane, index).any()
        result = ask(patient.phantom.volume, patient.policy, "left kidney", plane, index)
        assert result.episode.outcome is Outcome.NOT_FOUND
        assert f"{plane.value.capitalize()} slice {index} shows no left kidney; slice" in result.episode.reason
        shown = int(result.episode.reason.split("slice ")[-1].split()[0])
        assert slice_of(patient.truth("left kidney"), plane, shown).any()


def test_a_given_slice_is_kept(patient):
    result = ask(patient.phantom.volume, patient.policy, "liver", index=35)
    assert result.view.index == 35
    assert dice(result.view.to_native(result.episode.mask_array()), patient.truth("liver")[35]) > 0.7


def test_the_thoughts_give_the_evidence(patient):
    result = ask(patient.phantom.volume, patient.policy, "segment the liver")
    first = result.episode.steps[0].thought
    assert "HU" in first and "names the liver" in first and "mL" in first and "patient's right" in first
    assert "agrees with the evidence" in result.episode.thought


# -- the same patient, stored in another way -----------------------------------------------------------------


def restored(volume: Volume, order: tuple[int, int, int], flips: tuple[bool, bool, bool]) -> Volume:
    """The same voxels at the same places, from a file in another axis order."""
    source, affine = volume.to_source(volume.data), volume.grid.affine
    turned = source.transpose(order)[tuple(slice(None, None, -1 if flip else 1) for flip in flips)]
    back = np.zeros((4, 4))
    back[3, 3] = 1
    for new, (old, flip) in enumerate(zip(order, flips, strict=True)):
        back[old, new] = -1 if flip else 1
        back[old, 3] = turned.shape[new] - 1 if flip else 0
    return Volume.from_source(np.ascontiguousarray(turned), affine @ back, modality="CT", name="turned")


@pytest.mark.parametrize(
    ("order", "flips"),
    [((1, 2, 0), (True, False, True)), ((2, 1, 0), (False, True, True)), ((0, 1, 2), (True, True, False))],
)
def test_the_order_of_the_file_changes_nothing(order, flips):
    patient = patient_of(0)
    volume = patient.phantom.volume
    turned = restored(volume, order, flips)
    assert turned.grid.shape != volume.grid.shape or any(flips)
    policy = policy_module.build()
    for prompt in ("left kidney", "spleen"):
        wanted = ask(volume, patient.policy, prompt)
        again = ask(turned, policy, prompt)
        assert again.view.index == wanted.view.index
        assert again.episode.mask == wanted.episode.mask
        labels = np.zeros(volume.shape, np.uint8)
        labels[again.view.index] = again.view.to_native(again.episode.mask_array())
        # On the file's own grid the labels lie on the same patient's place.
        assert np.array_equal(
            restored(Volume.from_source(volume.to_source(labels), volume.grid.affine), order, flips).data, labels
        )
        assert turned.to_source(labels).shape == turned.grid.shape


# -- a person's word ---------------------------------------------------------------------------------------


def test_after_a_rejection_the_click_is_elsewhere(patient):
    verdicts = [Rejected("that is a vessel")]
    result = ask(
        patient.phantom.volume,
        patient.policy,
        "liver",
        listen=lambda event, _: verdicts.pop() if isinstance(event, Proposed) and verdicts else None,
    )
    first, second = result.episode.steps[:2]
    refused = next(a for a in first.proposed if isinstance(a, Click))
    tried = next(a for a in second.proposed if isinstance(a, Click))
    height, width = result.view.shape
    assert np.hypot((tried.x - refused.x) * width, (tried.y - refused.y) * height) > 3
    assert 'refused the last click: "that is a vessel"' in second.thought
    mask = result.view.to_native(result.episode.mask_array())
    assert dice(mask, patient.truth("liver")[result.view.index]) > 0.7


def test_what_a_person_painted_is_kept(patient):
    """Half of the liver, and a patch that no rule would call liver."""
    volume, policy = patient.phantom.volume, patient.policy
    index = policy.locate(volume, "liver", Plane.AXIAL).index
    drawn = patient.truth("liver")[index].copy()
    columns = np.nonzero(drawn)[1]
    drawn[:, int(columns.mean()) :] = False
    patch = np.zeros_like(drawn)
    patch[120:140, 200:220] = True
    assert not (patch & patient.truth("liver")[index]).any()
    painted, verdicts = drawn | patch, []
    verdicts.append(Painted(PackedMask.of(painted)))
    result = ask(
        volume,
        policy,
        "liver",
        listen=lambda event, _: verdicts.pop() if isinstance(event, Proposed) and verdicts else None,
    )
    assert result.episode.steps[0].author is Author.HUMAN
    mask = result.episode.mask_array()
    assert mask[patch].all()
    assert (mask & painted).sum() >= 0.99 * painted.sum()
    assert dice(mask & ~patch, patient.truth("liver")[index]) > 0.7


def test_a_target_of_several_parts_gets_a_click_into_each_in_one_turn(patient):
    result = ask(patient.phantom.volume, patient.policy, "segment both kidneys")
    first = result.episode.steps[0]
    assert len(first.actions) == 2 and all(isinstance(a, Click) and a.positive for a in first.actions)
    assert "2 separate parts of both kidneys" in first.thought
    truth = patient.truth("left kidney") | patient.truth("right kidney")
    rows, columns = result.view.shape
    on_slice = result.view.from_native(truth[result.view.index])
    assert all(on_slice[int(a.y * rows), int(a.x * columns)] for a in first.actions)


def test_after_a_refused_turn_the_clicks_come_one_by_one(patient):
    verdicts = [Rejected("one at a time")]
    result = ask(
        patient.phantom.volume,
        patient.policy,
        "segment both kidneys",
        listen=lambda event, _: verdicts.pop() if isinstance(event, Proposed) and verdicts else None,
    )
    refused, *later = result.episode.steps
    assert len(refused.proposed) == 2
    assert all(sum(isinstance(a, Click) for a in step.proposed) <= 1 for step in later)


def given(patient: Patient, mask: np.ndarray, prompt: str, index: int) -> Result:
    job = Job(
        *(patient.phantom.volume, prompt, Plane.AXIAL, index, patient.policy, tool_module.build(), patient.policy),
        given=mask,
    )
    return perform(job, Recorder())


def test_a_given_mask_of_another_organ_is_set_aside_and_said_so(patient):
    index = patient.policy.locate(patient.phantom.volume, "liver", Plane.AXIAL).index
    spleen = patient.truth("spleen")
    assert spleen[index].any()
    result = given(patient, spleen, "segment the liver", index)
    first = result.episode.steps[0]
    assert first.actions[0] == Discard() and first.prior is None and "isn't the liver" in first.thought
    mask = result.view.to_native(result.episode.mask_array())
    assert dice(mask, patient.truth("liver")[index]) > 0.85
    assert not (mask & spleen[index]).any()


def test_a_given_mask_that_fits_is_refined_and_not_thrown_away(patient):
    index = patient.policy.locate(patient.phantom.volume, "liver", Plane.AXIAL).index
    liver = patient.truth("liver")
    half = liver.copy()
    half[:, :, int(np.nonzero(liver[index])[1].mean()) :] = False
    result = given(patient, half, "segment the liver", index)
    assert result.episode.steps and not any(Discard() in step.actions for step in result.episode.steps)
    mask = result.view.to_native(result.episode.mask_array())
    assert (mask & half[index]).sum() >= 0.99 * half[index].sum()
    assert dice(mask, liver[index]) > dice(half[index], liver[index]) + 0.1


def test_a_given_mask_stays_where_the_target_is_not_found(patient):
    index = patient.policy.locate(patient.phantom.volume, "liver", Plane.AXIAL).index
    result = given(patient, patient.truth("liver"), "segment the pancreas", index)
    assert result.episode.outcome is Outcome.NOT_FOUND and result.episode.steps == ()


# -- other pictures ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("modality", ["MR", "", "US"])
def test_organs_need_a_ct(modality):
    data = patient_of(0).phantom.volume.data[::8, ::4, ::4]
    volume = Volume.from_source(data.transpose(2, 1, 0), np.diag([-6.0, -6.0, -24.0, 1.0]), modality=modality)
    result = ask(volume, policy_module.build(), "segment the liver")
    assert result.episode.outcome is Outcome.NOT_FOUND
    assert "no rule that finds it" in result.episode.reason
    assert (modality or "without a modality") in result.episode.reason


@pytest.mark.parametrize(
    "data",
    [
        np.full((8, 40, 40), -1000, np.int16),
        np.zeros((8, 40, 40), np.int16),
        np.full((1, 1, 1), 40, np.int16),
        np.random.default_rng(0).integers(-1000, 1000, (12, 30, 30)).astype(np.int16),
    ],
    ids=["air", "water", "one voxel", "noise"],
)
@pytest.mark.parametrize("prompt", ["liver", "left kidney", "aorta", "lungs", "spine", "urinary bladder"])
def test_a_ct_without_a_patient_has_no_organs(data, prompt):
    volume = Volume.from_source(data.transpose(2, 1, 0), np.diag([-2.0, -2.0, -3.0, 1.0]), modality="CT")
    for index in (None, 0):
        result = ask(volume, policy_module.build(), prompt, index=index)
        assert result.episode.outcome is Outcome.NOT_FOUND and result.episode.reason


def spots() -> np.ndarray:
    """A bright disc up on the left of the picture, a dark one down on the right, and a small bright one."""
    rows, columns = np.ogrid[:120, :140]
    picture = np.random.default_rng(4).normal(100, 5, (120, 140))
    for (y, x), radius, value in SPOTS:
        picture[(rows - y) ** 2 + (columns - x) ** 2 <= radius**2] += value
    return picture.astype(np.float32)


SPOTS = [((35, 35), 15, 80), ((85, 105), 15, -80), ((40, 110), 14, -75), ((95, 30), 5, 70)]


def lies_in(mask: np.ndarray, spot: int) -> float:
    """Dice of a mask and one of the spots."""
    rows, columns = np.ogrid[: mask.shape[0], : mask.shape[1]]
    (y, x), radius, _ = SPOTS[spot]
    return dice(mask, (rows - y) ** 2 + (columns - x) ** 2 <= radius**2)


@pytest.mark.parametrize(
    ("prompt", "spot"),
    [
        ("the bright round spot", 0),
        ("segment the large bright spot", 0),
        ("the dark region on the bottom right", 1),
        ("the dark region at the top", 2),
        ("please find the dark round area at the bottom", 1),
        ("the small bright spot at the bottom left", 3),
    ],
)
def test_things_that_are_described(prompt, spot):
    volume = Volume.from_picture(spots())
    for index in (None, 0):
        result = ask(volume, policy_module.build(), prompt, index=index)
        assert result.episode.outcome is Outcome.DONE
        assert lies_in(result.episode.mask_array(), spot) > 0.85


def test_left_is_the_patients_where_the_scan_knows_it():
    rows, columns = np.ogrid[:100, :100]
    image = np.random.default_rng(0).normal(100, 4, (100, 100)).astype(np.float32)
    left_of_picture = (rows - 50) ** 2 + (columns - 25) ** 2 <= 12**2
    right_of_picture = (rows - 50) ** 2 + (columns - 75) ** 2 <= 12**2
    image[left_of_picture | right_of_picture] -= 70
    picture = Volume.from_picture(image)
    scan = Volume.from_source(image[np.newaxis].transpose(2, 1, 0), np.diag([-1.0, -1.0, -1.0, 1.0]), modality="MR")
    for volume, wanted in ((picture, left_of_picture), (scan, right_of_picture)):
        result = ask(volume, policy_module.build(), "the dark region on the left")
        assert result.episode.outcome is Outcome.DONE
        assert dice(result.episode.mask_array(), wanted) > 0.9
        said = "patient" if volume is scan else "picture"
        assert f"left and right as the {said}'s" in result.episode.steps[0].thought


@pytest.mark.parametrize(
    "prompt",
    [
        "the bright square spot",
        "the purple spot",
        "the spot",
        "bright",
        "the bright spot near the kidney",
        "bright kidney",
    ],
)
def test_a_description_with_unknown_words_is_not_guessed(prompt):
    result = ask(Volume.from_picture(spots()), policy_module.build(), prompt)
    assert result.episode.outcome is Outcome.NOT_FOUND and result.episode.reason


@pytest.mark.parametrize("image", [np.full((40, 50), 3, np.uint8), np.zeros((1, 1), np.float32)])
def test_nothing_stands_out_of_an_even_picture(image):
    result = ask(Volume.from_picture(image), policy_module.build(), "the bright round spot")
    assert result.episode.outcome is Outcome.NOT_FOUND


def test_colour_pictures_have_bright_spots_too():
    grey = spots().clip(0, 255).astype(np.uint8)
    volume = Volume.from_picture(np.repeat(grey[..., np.newaxis], 3, axis=2))
    result = ask(volume, policy_module.build(), "the large bright spot")
    assert result.episode.outcome is Outcome.DONE and lies_in(result.episode.mask_array(), 0) > 0.85


# -- the protocol ------------------------------------------------------------------------------------------


def test_it_is_a_policy_and_a_locator():
    policy = policy_module.build()
    assert isinstance(policy, Policy) and isinstance(policy, Locator)
    assert (policy.name, policy.dialect) == ("embedded", "ibis")


def test_the_same_question_has_the_same_answer_and_the_scan_stays_as_it_was():
    volume = Volume.from_picture(spots())
    before = volume.data.copy()
    view = view_of(volume, Plane.AXIAL, 0)
    episode = begin(Prompted("the bright round spot", Plane.AXIAL, 0, view.shape))
    picture = grey_picture(view.image, default_window(view.image, ""))
    situation = Situation(episode, volume, view, lambda _: picture)
    policy = policy_module.build()
    first = "".join(policy.act(situation))
    assert first == "".join(policy.act(situation)) == "".join(policy_module.build().act(situation))
    assert len(list(policy.act(situation))) > 3  # in pieces, so that it can be cancelled
    assert np.array_equal(volume.data, before)
