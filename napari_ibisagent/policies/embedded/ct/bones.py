"""Bones in a CT with their marrow, told apart: spine, sacrum, hip bones, femurs, and the rest (ribs and others).

Cortical bone is above 160 HU on block means of 3 mm; marrow inside of it is filled in. The spinal canal says where
the spine is; hip bones are the large bones beside it below the lungs; the rest follows from markers and the
watershed, whose seams run along the dark gaps of the joints. What it leaves out: single vertebrae and ribs, skull,
hands, feet.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage as ndi
from skimage.segmentation import watershed

from napari_ibisagent.core.masks import Mask, bounding_box
from napari_ibisagent.policies.embedded.ct.aorta import aorta_discs
from napari_ibisagent.policies.embedded.ct.hips import WINGS_HALF_MM, corridor, hip_regions, with_marrow
from napari_ibisagent.policies.embedded.ct.survey import Survey
from napari_ibisagent.policies.embedded.ct.tubes import disc_mask
from napari_ibisagent.policies.embedded.morphology import closed, dilated, opened

# Half the width of a vertebral body with its pedicles.
_BODY_HALF_MM = 30.0
# Radius of an adult's femoral head: 20 to 27 mm.
_HEAD_MM = 25.0


@dataclass(frozen=True, eq=False, slots=True)
class Bones:
    """Coarse masks (Z, Y, X) of a survey. ``hips`` and ``femurs``: (right, left), empty where there is none.

    ``sacral``: the slice at which the sacrum begins, None where no hip bone tells.
    """

    every: Mask
    spine: Mask
    sacrum: Mask
    hips: tuple[Mask, Mask]
    femurs: tuple[Mask, Mask]
    rest: Mask
    sacral: int | None


@functools.lru_cache(maxsize=1)
def bones_of(survey: Survey) -> Bones:
    """The bones of a CT."""
    spongy = survey.vertebral_core & ~survey.contrast & (survey.hu > 110) & ~_canal(survey)
    vessel = disc_mask(aorta_discs(survey), survey, 1.0) & ~survey.vertebral_core
    bone = with_marrow((survey.bone | spongy) & ~vessel, survey) & ~_canal(survey) & ~vessel
    central = bone & _central(survey)
    hips = hip_regions(survey)
    sacral = _sacral_top(central, hips, survey)
    if sacral is not None:
        bone |= _sacral_marrow(bone, sacral, survey)
    heads = [_femoral_head(hip, survey) for hip in hips]
    if not survey.canal and not _paired(heads, survey):
        hips, heads = (np.zeros_like(bone), np.zeros_like(bone)), [None, None]
    parts = _parted(bone, central, hips, heads, sacral, survey)
    filled_bowel = _too_thick(parts == 7, survey)
    bone, parts = bone & ~filled_bowel, np.where(filled_bowel, 0, parts)
    return Bones(bone, parts == 1, parts == 2, (parts == 3, parts == 4), (parts == 5, parts == 6), parts == 7, sacral)


def _paired(heads: list[tuple[int, int, int] | None], survey: Survey) -> bool:
    """Whether two femoral heads lie as in a pelvis: level, and some 15 to 22 cm apart.

    Without a spine in view nothing else tells the hip bones from the bones of one thigh that is in view.
    """
    right, left = heads
    if right is None or left is None:
        return False
    level = abs(right[0] - left[0]) * survey.spacing[0]
    apart = (left[2] - right[2]) * survey.spacing[2]
    return level < 40 and 120 < apart < 260


def _too_thick(rest: Mask, survey: Survey) -> Mask:
    """Of the bones that are left over below the lungs what is thicker than 12 mm: there are slim ribs only.

    It is bowel with contrast that was swallowed.
    """
    result = rest.copy()
    lungs = np.nonzero(survey.lungs.any(axis=(1, 2)))[0]
    result[: int(lungs[-1]) + 1 if lungs.size else 0] = False
    if not survey.canal or not lungs.size:
        return np.zeros_like(rest)
    return dilated(opened(result, survey.ball(6)), survey.ball(15)) & result


def _canal(survey: Survey) -> Mask:
    """The spinal canal itself: soft tissue within 12 mm of its middle line."""
    return corridor(survey, 12.0, (-12.0, 12.0)) & (survey.hu < 150)


def _central(survey: Survey) -> Mask:
    """Where vertebrae are: bodies up to 48 mm before the canal, arches and processes up to 55 mm behind it."""
    bodies = corridor(survey, _BODY_HALF_MM, (-48.0, 8.0))
    wide = corridor(survey, WINGS_HALF_MM, (-16.0, 55.0))
    # Beside a lung a rib begins where the transverse process ends, 30 to 35 mm from the middle.
    beside_lung = survey.lungs.any(axis=(1, 2))
    wide[beside_lung] &= corridor(survey, 33.0, (-12.0, 55.0))[beside_lung]
    return np.asarray((bodies | wide) & survey.near_canal)


def _sacral_top(central: Mask, hips: tuple[Mask, Mask], survey: Survey) -> int | None:
    """The first slice in which both hip bones come within 8 mm of the central bone: there the sacrum begins."""
    if not survey.canal or not hips[0].any():
        return None
    near = dilated(central, survey.ball(8))
    touched = (near & hips[0]).any(axis=(1, 2)) & (near & hips[1]).any(axis=(1, 2))
    heights = np.nonzero(touched)[0]
    return int(heights[0]) if heights.size else None


def _sacral_marrow(bone: Mask, sacral: int, survey: Survey) -> Mask:
    """The spongy bone of the sacrum, which is hardly denser than muscle and has gaps in its shell: the foramina."""
    zone = corridor(survey, 50.0, (-45.0, 45.0))
    zone[:sacral] = False
    return closed(bone & zone, survey.ball(9)) & zone & (survey.soft > -50) & ~_canal(survey)


def _femoral_head(hip: Mask, survey: Survey) -> tuple[int, int, int] | None:
    """(z, y, x) of the middle of the femoral head: where a filled hip is thickest; None: not seen."""
    box = bounding_box(hip)
    if box is None:
        return None
    # A field of view that cuts the hip in z shows no end of it there: there is bone beyond.
    cut = [side.start == 0 or side.stop == count for side, count in zip(box, hip.shape, strict=True)]
    near = np.pad(np.pad(hip[box], ((int(cut[0]),) * 2, (0, 0), (0, 0)), mode="edge"), 1)
    depth = ndi.distance_transform_edt(near, survey.spacing)[1:-1, 1:-1, 1:-1]
    depth = depth[1:-1] if cut[0] else depth
    if float(depth.max()) < 17:
        return None
    z, y, x = (int(n) + b.start for n, b in zip(np.unravel_index(int(depth.argmax()), depth.shape), box, strict=True))
    return z, y, x


def _parted(
    bone: Mask,
    central: Mask,
    hips: tuple[Mask, Mask],
    heads: list[tuple[int, int, int] | None],
    sacral: int | None,
    survey: Survey,
) -> NDArray[np.int32]:
    """Numbers (Z, Y, X): 1 spine, 2 sacrum, 3 and 4 hips, 5 and 6 femurs (right, left), 7 the rest."""
    markers = np.zeros(bone.shape, np.int32)
    level = np.arange(bone.shape[0])[:, np.newaxis, np.newaxis]
    top = bone.shape[0] if sacral is None else sacral
    middle = bone & corridor(survey, 26.0, (-48.0, 40.0))
    markers[central & (level < top)] = 1
    markers[middle & (level >= top)] = 2
    far = ~corridor(survey, 70.0)
    for number, (hip, head) in enumerate(zip(hips, heads, strict=True)):
        markers[hip & (far | (level < top))] = 3 + number
        if head is not None:
            _mark_femur(markers, hip, head, number, survey)
    lateral = bone & ~dilated(hips[0] | hips[1] | central, survey.ball(9))
    markers[lateral & (markers == 0)] = 7
    height = -np.clip(ndi.gaussian_filter(survey.hu, 0.4), -100, 500)
    parts = np.asarray(watershed(height, markers, mask=bone))  # type: ignore[no-untyped-call]
    parts[(parts == 1) & (level >= top)] = 2
    parts[(parts == 2) & (level < top)] = 1
    return parts


def _mark_femur(markers: NDArray[np.int32], hip: Mask, head: tuple[int, int, int], number: int, survey: Survey) -> None:
    """Markers of one femur (head, neck, trochanter, shaft), and of its hip bone round it."""
    axes = np.ogrid[tuple(slice(0, n) for n in hip.shape)]
    z, y, x = ((axis - at) * mm for axis, at, mm in zip(axes, head, survey.spacing, strict=True))
    outwards = -x if number == 0 else x
    away = np.sqrt(z**2 + y**2 + x**2)
    markers[hip & (away < _HEAD_MM + 25)] = 0
    markers[hip & (away > _HEAD_MM + 6) & ((z < 0) | (outwards < -10))] = 3 + number
    markers[hip & (away < _HEAD_MM - 6)] = 5 + number
    # The greater trochanter lies 40 to 70 mm beside the head and a little lower; neck and shaft lead there.
    trochanter = hip & (outwards > 32) & (z > -5) & (z < 60)
    if not trochanter.any():
        return
    markers[hip & ((outwards > 32) & (z > -5) | (outwards > 15) & (z > 10))] = 5 + number
    at = [float(np.mean(where)) for where in np.nonzero(trochanter)]
    end = [(there - here) * mm for there, here, mm in zip(at, head, survey.spacing, strict=True)]
    length = float(np.sqrt(sum(mm**2 for mm in end)))
    along = np.clip((z * end[0] + y * end[1] + x * end[2]) / length**2, 0, 1)
    off = np.sqrt((z - along * end[0]) ** 2 + (y - along * end[1]) ** 2 + (x - along * end[2]) ** 2)
    markers[hip & (off < 12)] = 5 + number
