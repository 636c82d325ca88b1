"""Rules for the chest in a CT: lungs, windpipe, heart."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage as ndi

from napari_ibisagent.core.knowledge import Structure
from napari_ibisagent.core.masks import Mask
from napari_ibisagent.core.target import Side
from napari_ibisagent.policies.embedded.absent import Absent
from napari_ibisagent.policies.embedded.ct.aorta import aorta_discs
from napari_ibisagent.policies.embedded.ct.findings import Finding, on_side, place
from napari_ibisagent.policies.embedded.ct.survey import Survey
from napari_ibisagent.policies.embedded.ct.tubes import disc_mask
from napari_ibisagent.policies.embedded.morphology import closed, dilated, largest_part, opened

# Half-way between lung (about -850 HU) and flesh (about 50) lies the lung's border.
_LUNG_GATE = (-1100.0, -350.0)
# The air of a windpipe has no tissue in it, as that of a lung has.
_GAS_HU = -900.0
# Beside windpipe and heart there is so much lung on either side in a slice.
_BOTH_LUNGS_MM2 = 1500.0


def lungs(_: Structure, side: Side, survey: Survey) -> Finding | Absent:
    """One lung or both, as far as they hold air."""
    if not survey.lungs.any():
        return Absent("No aerated lung (-950 to -550 HU in a part of 15 mL or more) is in the field of view.")
    if side in (Side.LEFT, Side.RIGHT) and not survey.spine_path:
        return Absent("The spine is not in the field of view, so I can't tell the left from the right lung.")
    filled = survey.lungs.sum(axis=(1, 2)) / np.maximum(survey.body.sum(axis=(1, 2)), 1)
    if float(filled.max()) > 0.8:
        return Absent("What is as dark as lung fills nearly all of the picture; a lung has a chest wall round it.")
    airways = dilated(_airway(survey), survey.ball(4))
    chosen = _sided(survey.lungs & ~airways, side, survey)
    if survey.ml(chosen) < 5:
        return Absent(f"No aerated lung lies on the patient's {side.value}.")
    return Finding(chosen, (f"aerated tissue on the {place(chosen, survey)}",), _LUNG_GATE, 0)


def trachea(_: Structure, __: Side, survey: Survey) -> Finding | Absent:
    """The windpipe above its division."""
    mask = _airway(survey)
    length = np.count_nonzero(mask.any(axis=(1, 2))) * survey.spacing[0]
    if not mask.any() or length < 20:
        return Absent("No round, air-filled tube runs in front of the spine for 20 mm or more.")
    heights = np.nonzero(mask.any(axis=(1, 2)))[0]
    # Where it divides, slices show the bronchi as well.
    key = (int(heights[0]), int(heights[0] + 0.6 * (heights[-1] - heights[0])))
    return Finding(mask, (f"a tube of air in front of the spine, over {length:.0f} mm",), (-1100.0, -500.0), key=key)


def heart(_: Structure, __: Side, survey: Survey) -> Finding | Absent:
    """The heart with its great vessels' roots: the thick soft tissue between the lungs."""
    if not survey.canal or not survey.lungs.any():
        return Absent("The heart lies between the lungs; lungs and spine are not both in the field of view.")
    area = survey.spacing[1] * survey.spacing[2]
    right, left = _aerated_mm2(survey)
    both = (right > _BOTH_LUNGS_MM2) & (left > _BOTH_LUNGS_MM2)
    between = _between_lungs(survey) & (survey.soft > 0) & ~survey.bone & both[:, np.newaxis, np.newaxis]
    between &= ~disc_mask(aorta_discs(survey), survey, 4.0)
    between = _without_liver(between, survey)
    mask = largest_part(opened(between, survey.ball(18)))
    mask = dilated(mask, survey.ball(6)) & between
    wide = mask.sum(axis=(1, 2)) * area
    if survey.ml(mask) < 150 or float(wide.max(initial=0)) < 4000:
        return Absent("Between the lungs there is no soft tissue as thick as a heart.")
    if (wide > 4000)[-1] and not both[-1]:
        return Absent("The soft tissue between the lungs goes over into the abdomen without an end.")
    return Finding(mask, ("thick soft tissue between the lungs, in front of the spine",), (-20.0, 1e5), 1, True)


def _sided(mask: Mask, side: Side, survey: Survey) -> Mask:
    """The parts of a lung mask on a side; a part that lies nearly all on one side is not cut at the middle."""
    if side not in (Side.LEFT, Side.RIGHT):
        return mask
    half = on_side(mask, side, survey)
    parts, count = ndi.label(mask)
    sizes = np.bincount(parts.ravel(), minlength=count + 1)
    inside = np.bincount(parts.ravel(), weights=half.ravel(), minlength=count + 1) / np.maximum(sizes, 1)
    whole, none = inside > 0.9, inside < 0.1
    whole[0] = False
    return np.asarray((half & ~none[parts]) | whole[parts])


def _without_liver(between: Mask, survey: Survey) -> Mask:
    """The slices down to where the soft tissue reaches further to the right than a heart does: the liver's dome.

    A heart's right border lies within 60 mm of the middle, also where it is large.
    """
    columns = np.arange(between.shape[2])[np.newaxis]
    middle = np.array([survey.middle_at(z) for z in range(between.shape[0])])[:, np.newaxis]
    far = (middle - columns) * survey.spacing[2] > 65
    wide = (between & far[:, np.newaxis]).sum(axis=(1, 2)) * survey.spacing[1] * survey.spacing[2] > 300
    heights = np.nonzero(wide)[0]
    result = between.copy()
    if heights.size:
        result[int(heights[0]) :] = False
    return result


def _aerated_mm2(survey: Survey) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The area of lung in each slice (Z,), in square mm, on the patient's right and left."""
    area = survey.spacing[1] * survey.spacing[2]
    right, left = (on_side(survey.lungs, side, survey).sum(axis=(1, 2)) * area for side in (Side.RIGHT, Side.LEFT))
    return right, left


def _airway(survey: Survey) -> Mask:
    """Round air of 40 to 700 square mm (its border left out) before the spine, near the middle, in one piece."""
    result = np.zeros(survey.hu.shape, bool)
    if not survey.canal:
        return result
    area = survey.spacing[1] * survey.spacing[2]
    aerated = np.minimum(*_aerated_mm2(survey))
    for z, (y, x) in survey.canal.items():
        if aerated[z] < _BOTH_LUNGS_MM2:
            continue  # a round of gas further down is bowel
        parts, _ = ndi.label((survey.hu[z] < _GAS_HU) & survey.body[z])
        for number, window in enumerate(ndi.find_objects(parts), start=1):
            part = parts[window] == number
            if not 40 <= np.count_nonzero(part) * area <= 700:
                continue
            at_y, at_x = (at + w.start for at, w in zip(ndi.center_of_mass(part), window, strict=True))
            ahead, beside = (y - at_y) * survey.spacing[1], abs(at_x - x) * survey.spacing[2]
            tall, wide = (n * mm for n, mm in zip(part.shape, survey.spacing[1:], strict=True))
            if 28 < ahead < 110 and beside < 25 and 0.4 < tall / wide < 2.2:
                result[z][window] |= part
    return dilated(largest_part(result), survey.ball(4)) & (survey.hu < -500) & survey.body


def _between_lungs(survey: Survey) -> Mask:
    """(Z, Y, X) what has lung on both sides in its row, or within 25 mm of such rows, in front of the spine."""
    right, left = (on_side(survey.lungs, side, survey) for side in (Side.RIGHT, Side.LEFT))
    after_right = np.maximum.accumulate(right, axis=2)
    before_left = np.maximum.accumulate(left[:, :, ::-1], axis=2)[:, :, ::-1]
    between = after_right & before_left & ~survey.lungs
    for z in range(between.shape[0]):
        y, _ = survey.spine_at(z)
        between[z, max(int(y - 15 / survey.spacing[1]), 0) :] = False
    flat = survey.ball(25)[survey.ball(25).shape[0] // 2][np.newaxis]
    return closed(between, flat) & survey.body
