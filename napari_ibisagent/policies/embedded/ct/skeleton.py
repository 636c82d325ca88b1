"""Rules for bones in a CT, from the parts that ``bones`` tells apart, and for the canal that the spine encloses."""

from __future__ import annotations

import numpy as np
from scipy import ndimage as ndi

from napari_ibisagent.core.knowledge import Structure
from napari_ibisagent.core.masks import Mask, dice
from napari_ibisagent.core.target import Side
from napari_ibisagent.policies.embedded.absent import Absent
from napari_ibisagent.policies.embedded.ct.bones import Bones, bones_of
from napari_ibisagent.policies.embedded.ct.findings import Finding, on_side, place
from napari_ibisagent.policies.embedded.ct.survey import Survey
from napari_ibisagent.policies.embedded.morphology import large_parts

# Cortical and spongy bone on a picture's own pixels, where the coarse mask already says that it is bone.
_GATE = (110.0, 1e5)
# The sacrum is often outlined without its wings: an answer to be checked.
_SACRUM = 0.45


def bone(_: Structure, __: Side, survey: Survey) -> Finding | Absent:
    """All bone with its marrow."""
    every = bones_of(survey).every
    return Finding(every, ("above 160 HU with the marrow inside, vessels full of contrast left out",), _GATE, 0, True)


def spine(_: Structure, __: Side, survey: Survey) -> Finding | Absent:
    """The vertebrae, without the sacrum where the hip bones tell where that begins."""
    if not survey.canal:
        return Absent("No spinal canal (soft tissue walled in by bone, a vertebral body in front) is in view.")
    bones = bones_of(survey)
    sacral = "down to the sacrum" if bones.sacral is not None else "as far as the scan goes"
    return Finding(bones.spine, (f"bone round the spinal canal, {sacral}",), _GATE, 0, True, _steadiest(bones, survey))


def _steadiest(bones: Bones, survey: Survey) -> tuple[int, int] | None:
    """The slice (twice) through a vertebra's middle: large, and much like the slices 5 mm above and below it.

    A slice through a disc shows parts of two vertebrae, one next to the sacrum parts of both bones.
    """
    step = max(1, round(5 / survey.spacing[0]))
    count = survey.hu.shape[0]
    last = count if bones.sacral is None else max(bones.sacral - round(25 / survey.spacing[0]), 1)
    best: tuple[float, int] | None = None
    for z in range(step, min(last, count - step)):
        here = bones.spine[z]
        alike = min(dice(here, bones.spine[z - step]), dice(here, bones.spine[z + step]))
        worth = float(np.sqrt(np.count_nonzero(here))) * alike
        if best is None or worth > best[0]:
            best = (worth, z)
    return None if best is None else (best[1], best[1])


def sacrum(_: Structure, __: Side, survey: Survey) -> Finding | Absent:
    """The bone between the hip bones, from the first slice in which they meet it."""
    bones = bones_of(survey)
    if bones.sacral is None or not survey.ml(bones.sacrum) > 10:
        return Absent("The sacrum is not in the field of view: nowhere does the spine meet a hip bone on both sides.")
    facts = ("bone of the spine between both hip bones", "its wings can't be told from the hip bones")
    return Finding(bones.sacrum, facts, _GATE, 0, True, sure=_SACRUM)


def hip_bone(_: Structure, side: Side, survey: Survey) -> Finding | Absent:
    """One hip bone or both."""
    mask = _of_side(bones_of(survey).hips, side)
    if not mask.any():
        return Absent("No large bone lies on both sides of the middle below the lungs: no hip bones are in view.")
    return Finding(mask, (f"a large bone below the lungs, on the {place(mask, survey)}",), _GATE, 0, True)


def femur(_: Structure, side: Side, survey: Survey) -> Finding | Absent:
    """The head of one femur or both, with what of neck and shaft is in view."""
    mask = _of_side(bones_of(survey).femurs, side)
    if not mask.any():
        return Absent("No femoral head (a ball of 4 to 5 cm in a hip bone) is in the field of view.")
    return Finding(
        mask, (f"a ball in the hip bone and what hangs on it, on the {place(mask, survey)}",), _GATE, 0, True
    )


def pelvis(_: Structure, __: Side, survey: Survey) -> Finding | Absent:
    """Both hip bones and the sacrum."""
    bones = bones_of(survey)
    if not bones.hips[0].any():
        return Absent("No large bone lies on both sides of the middle below the lungs: the pelvis is not in view.")
    mask = bones.hips[0] | bones.hips[1] | bones.sacrum
    return Finding(mask, ("both hip bones and the sacrum between them",), _GATE, 0, True)


def ribs(_: Structure, side: Side, survey: Survey) -> Finding | Absent:
    """The ribs as a group: slim bones of the chest wall, without spine, breast bone and shoulder."""
    if not survey.canal or not survey.lungs.any():
        return Absent("Ribs are found round the lungs; the field of view doesn't show lungs and spine.")
    rest = on_side(bones_of(survey).rest & _cage(survey), side, survey)
    found = large_parts(rest, max(1.0, 0.3 / survey.voxel_ml))
    if survey.ml(found) < 3:
        return Absent("No slim bones lie in the chest wall.")
    return Finding(found, ("slim bones in the wall of the chest",), (130, 1e5), 0, True)


def spinal_canal(_: Structure, __: Side, survey: Survey) -> Finding | Absent:
    """The spinal canal: soft tissue within 9 mm of its middle line."""
    if not survey.canal:
        return Absent("No spinal canal (soft tissue walled in by bone, a vertebral body in front) is in view.")
    mask = np.zeros(survey.hu.shape, bool)
    rows, columns = np.ogrid[: survey.hu.shape[1], : survey.hu.shape[2]]
    last = bones_of(survey).sacral
    for z, (y, x) in survey.canal.items():
        if last is None or z <= last:
            off = ((rows - y) * survey.spacing[1]) ** 2 + ((columns - x) * survey.spacing[2]) ** 2
            mask[z] = (off <= 9.0**2) & (survey.hu[z] < 150)
    return Finding(mask, ("soft tissue walled in by the vertebral arches",), (-30.0, 160.0))


def _of_side(pair: tuple[Mask, Mask], side: Side) -> Mask:
    """Of a (right, left) pair the one that is asked for, else both."""
    if side is Side.RIGHT:
        return pair[0]
    return pair[1] if side is Side.LEFT else pair[0] | pair[1]


def _cage(survey: Survey) -> Mask:
    """The wall of the chest: away from the spine, from the breast bone, and from the shoulders.

    Ribs lie within 20 mm of the lungs, and below them as far out in the wall; the breast bone lies within 30 mm of the
    middle in front.
    """
    lungs = survey.lungs
    last = int(np.nonzero(lungs.any(axis=(1, 2)))[0][-1])
    # The twelfth rib ends some 12 cm below the lungs.
    heights = np.arange(lungs.shape[0])
    near = np.stack([ndi.binary_dilation(layer, survey.ball(20)[survey.ball(20).shape[0] // 2]) for layer in lungs])
    below = (heights > last) & ((heights - last) * survey.spacing[0] < 120)
    near[below] = ~survey.round_canal(90, 65, 65)[below]  # kidneys lie nearer to the spine
    middle = np.array([survey.middle_at(float(z)) for z in heights])[:, np.newaxis]
    beside = np.abs(np.arange(lungs.shape[2]) - middle) * survey.spacing[2] > 30
    return np.asarray(near & beside[:, np.newaxis])
