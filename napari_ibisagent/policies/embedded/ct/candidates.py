"""Parts of soft tissue that come apart from their neighbours, with the measures that rules judge them by."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage as ndi
from skimage.segmentation import watershed

from napari_ibisagent.core.masks import Mask, bounding_box
from napari_ibisagent.policies.embedded.ct.hips import iliac_crest
from napari_ibisagent.policies.embedded.ct.survey import Survey
from napari_ibisagent.policies.embedded.morphology import dilated, eroded

# HU layers in which a kidney may come apart from its neighbours: all of soft tissue; what is less dense than
# liver, spleen and muscle (a kidney without contrast); and what takes up contrast.
_KIDNEY_LAYERS = ((-20.0, 400.0), (-20.0, 40.0), (90.0, 400.0), (130.0, 400.0))


@dataclass(frozen=True, eq=False, slots=True)
class Candidate:
    """A part of soft tissue with its measures.

    local: its voxels in ``window`` of the survey. x, y: its middle in mm from the spine's, towards the left and
    the back. fat, clear: shares of its surroundings that are fat, or at least 40 HU darker than it. right: the
    share of it on the patient's right. air: the share of its surroundings that is lung or gas.
    extent_mm: (z, y, x). solidity: the share of its bounding box that it fills (0.52 for an ellipsoid).
    cut: whether it reaches the sides of the field of view.
    """

    window: tuple[slice, ...]
    local: Mask
    ml: float
    hu: float
    x: float
    y: float
    fat: float
    clear: float
    air: float
    right: float
    extent_mm: tuple[float, float, float]
    solidity: float
    cut: bool

    def mask(self, survey: Survey) -> Mask:
        """Its voxels (Z, Y, X) in the whole survey."""
        whole = np.zeros(survey.hu.shape, bool)
        whole[self.window] = self.local
        return whole


@functools.lru_cache(maxsize=1)
def even_candidates(survey: Survey) -> list[Candidate]:
    """Parts of even soft tissue whose cores, 5 mm inside of their borders, are not connected."""
    calm = survey.body & (survey.soft > 12) & (survey.soft < 280) & survey.even(28)
    return _separated(calm, 5, survey)


@functools.lru_cache(maxsize=1)
def kidney_candidates(survey: Survey) -> list[Candidate]:
    """Parts of soft tissue beside the spine, taken apart in several ways: a kidney may touch its neighbours.

    With contrast it is brighter than they are; without, only its coat of fat and its shape part it from them.
    """
    beside = np.zeros(survey.hu.shape, bool)
    _, height, width = survey.hu.shape
    for z in range(min(survey.spine_path), max(survey.spine_path) + 1):
        y, x = survey.spine_at(z)
        off = np.abs(np.arange(width) - x) * survey.spacing[2]
        level = np.abs(np.arange(height) - y) * survey.spacing[1] < 90
        beside[z] = level[:, np.newaxis] & ((off > 12) & (off < 125))
    flesh = beside & survey.body & (survey.hu < 350) & ~survey.bone
    least_ml = least_kidney_ml(survey)
    found = []
    for least, most in _KIDNEY_LAYERS:
        layer = flesh & (survey.soft > least) & (survey.soft < most)
        for depth in (2.5, 5.0, 8.0):
            cores, _ = ndi.label(eroded(layer, survey.ball(depth)))
            found += _measured_all(cores, layer, depth, survey, (least_ml * 0.3, 400))
        found += _measured_all(_basins(layer, survey), layer, 0, survey, (least_ml, 450))
    return found


def least_kidney_ml(survey: Survey) -> float:
    """A kidney's least volume in mL: 25, or what a slab as thin as the scan shows of it (10 square cm)."""
    return min(25.0, float(survey.hu.shape[0]) * survey.spacing[0])


def _separated(flesh: Mask, depth_mm: float, survey: Survey) -> list[Candidate]:
    """The parts of ``flesh`` that come apart when its border is taken off, each grown back."""
    cores, _ = ndi.label(eroded(flesh, survey.ball(depth_mm)))
    return _measured_all(cores, flesh, depth_mm, survey)


def _basins(flesh: Mask, survey: Survey) -> NDArray[Any]:
    """``flesh`` cut at its necks: the watershed of its inner distance, from its thick places."""
    result = np.zeros(flesh.shape, np.int32)
    box = bounding_box(flesh)
    if box is None:
        return result
    near = flesh[box]
    depth = ndi.distance_transform_edt(near, survey.spacing)
    reach = [2 * int(10 / mm) + 1 for mm in survey.spacing]
    peaks, _ = ndi.label((depth == ndi.maximum_filter(depth, reach)) & (depth > 6))
    result[box] = watershed(-depth, peaks, mask=near)  # type: ignore[no-untyped-call]
    return result


def _measured_all(
    parts: NDArray[Any],
    flesh: Mask,
    depth_mm: float,
    survey: Survey,
    limits_ml: tuple[float, float] = (3, 1e6),
) -> list[Candidate]:
    """The numbered parts (Z, Y, X) of a size within ``limits_ml`` and above the hips, as candidates."""
    sizes = np.bincount(parts.ravel())
    crest = iliac_crest(survey)
    end = crest - 20 / survey.spacing[0] if crest < survey.hu.shape[0] else crest
    found = []
    for number, window in enumerate(ndi.find_objects(parts), start=1):
        if window is None or not limits_ml[0] <= sizes[number] * survey.voxel_ml <= limits_ml[1]:
            continue
        if (window[0].start + window[0].stop) / 2 < end:
            found.append(_measured(parts, number, window, flesh, depth_mm, survey))
    return found


def _measured(
    parts: NDArray[Any],
    number: int,
    window: tuple[slice, ...],
    flesh: Mask,
    depth_mm: float,
    survey: Survey,
) -> Candidate:
    """The candidate round one core, measured in a window that is a little larger than it."""
    margin = [int(16 / mm) + 1 for mm in survey.spacing]
    near = tuple(slice(max(w.start - m, 0), w.stop + m) for w, m in zip(window, margin, strict=True))
    core = parts[near] == number
    soft = survey.soft[near]
    like = flesh[near] & (np.abs(soft - np.median(soft[core])) < 40)
    local = dilated(core, survey.ball(depth_mm + 2)) & like | core if depth_mm else core
    shell = dilated(local, survey.ball(7)) & ~dilated(local, survey.ball(3))
    middle = [at + w.start for at, w in zip(ndi.center_of_mass(local), near, strict=True)]
    spine_y, spine_x = survey.spine_at(middle[0])
    bounds = bounding_box(local) or near
    sides = [(b.stop - b.start) * mm for b, mm in zip(bounds, survey.spacing, strict=True)]
    columns = np.arange(near[2].start, near[2].start + local.shape[2])
    right = int(np.count_nonzero(local[:, :, columns < survey.midline])) / max(int(np.count_nonzero(local)), 1)
    box = tuple(slice(b.start + w.start, b.stop + w.start) for b, w in zip(bounds, near, strict=True))
    cut = any(b.start == 0 or b.stop == n for b, n in zip(box[1:], flesh.shape[1:], strict=True))
    return Candidate(
        window=near,
        local=local,
        ml=survey.ml(local),
        hu=survey.core_mean(local, near),
        x=float((middle[2] - spine_x) * survey.spacing[2]),
        y=float((middle[1] - spine_y) * survey.spacing[1]),
        fat=float(np.mean(survey.hu[near][shell] < -20)) if shell.any() else 0.0,
        clear=float(np.mean(soft[shell] < np.median(soft[core]) - 40)) if shell.any() else 0.0,
        air=float(np.mean(survey.hu[near][shell] < -300)) if shell.any() else 0.0,
        right=float(right),
        extent_mm=(sides[0], sides[1], sides[2]),
        solidity=float(survey.ml(local) * 1000 / np.prod(sides)),
        cut=cut,
    )
