"""What keeps the embedded policy from naming a wrong organ: odd scans end as "not found", with the reason."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from napari_ibisagent.agent.job import Job, perform
from napari_ibisagent.agent.recorder import Recorder
from napari_ibisagent.core.episode import Outcome
from napari_ibisagent.core.view import Plane
from napari_ibisagent.core.volume import Volume
from napari_ibisagent.evaluation.phantom import make_phantom
from napari_ibisagent.policies.embedded import build
from napari_ibisagent.segmenters import geodesic

_AFFINE = np.diag([-1.0, -1.0, 1.0, 1.0])


@pytest.fixture(scope="module")
def phantom():
    return make_phantom(0, (4.0, 2.5, 2.5))


def ask(volume, prompt):
    policy = build()
    return perform(Job(volume, prompt, Plane.AXIAL, None, policy, geodesic.build(), policy), Recorder()).episode


def ct(hu, mm=3.0):
    """A CT volume from (Z, Y, X) HU, head first, front first, the patient's right first."""
    source = np.transpose(hu[::-1], (2, 1, 0))
    return Volume.from_source(source.astype(np.int16), _AFFINE * np.diag([mm, mm, mm, 1]), modality="CT", name="made")


@pytest.mark.parametrize("prompt", ["segment the liver", "segment the spleen", "segment the left kidney"])
def test_a_mirrored_scan_is_noticed(phantom, prompt):
    """Flipped voxels under the old affine: a common fault of conversions, and everything would be on the wrong side."""
    mirrored = replace(phantom.volume, data=phantom.volume.data[:, :, ::-1])
    episode = ask(mirrored, prompt)
    assert episode.outcome is Outcome.NOT_FOUND
    assert "mirrored" in episode.reason


def test_without_an_orientation_nothing_sided_is_answered(phantom):
    unsure = replace(phantom.volume, has_orientation=False)
    episode = ask(unsure, "segment the left kidney")
    assert episode.outcome is Outcome.NOT_FOUND
    assert "left" in episode.reason
    assert ask(unsure, "segment both kidneys").outcome is Outcome.DONE


@pytest.mark.parametrize("prompt", ["segment the urinary bladder", "segment the liver", "segment the muscle"])
def test_a_head_is_no_trunk(prompt):
    z, y, x = np.ogrid[-30:30, -45:45, -40:40]
    away = np.sqrt((z / 34) ** 2 + (y / 32) ** 2 + (x / 26) ** 2)
    hu = np.where(away < 1, 35, -1000) + np.where((away > 0.88) & (away < 0.96), 900, 0)
    hu = hu + np.random.default_rng(0).normal(0, 5, hu.shape)
    episode = ask(ct(hu), prompt)
    assert episode.outcome is Outcome.NOT_FOUND
    assert "head" in episode.reason


def test_a_picture_full_of_lung_is_foam(phantom):
    hu = np.full((30, 60, 60), -1000.0)
    hu[:, 3:57, 3:57] = -850
    episode = ask(ct(hu + np.random.default_rng(0).normal(0, 5, hu.shape)), "segment both lungs")
    assert episode.outcome is Outcome.NOT_FOUND


@pytest.mark.parametrize("scale", [0.05, 40.0])
def test_a_body_of_an_impossible_size_is_none(phantom, scale):
    affine = phantom.volume.affine @ np.diag([scale, scale, scale, 1])
    episode = ask(replace(phantom.volume, affine=affine), "segment the body")
    assert episode.outcome is Outcome.NOT_FOUND
    assert "patient" in episode.reason or "body" in episode.reason


def test_bone_is_not_the_kidneys_full_of_contrast(phantom):
    bright = phantom.volume.data.copy()
    kidneys = phantom.mask("left kidney") | phantom.mask("right kidney")
    bright[kidneys] = 240
    episode = ask(replace(phantom.volume, data=bright), "segment the bone")
    assert episode.outcome is not Outcome.FAILED
    mask = episode.mask_array()
    assert np.count_nonzero(mask & kidneys[episode.index]) < 0.1 * max(np.count_nonzero(mask), 1)
