"""Hip bones in a CT, the landmark of everything between the abdomen and the legs; and bone with its marrow.

A hip bone is a large, in places thick bone beside the spine and below the lungs. The femur still hangs on it; ``bones``
takes them apart.
"""

from __future__ import annotations

import functools

import numpy as np
from scipy import ndimage as ndi

from napari_ibisagent.core.masks import Mask
from napari_ibisagent.policies.embedded.ct.survey import Survey
from napari_ibisagent.policies.embedded.morphology import closed, eroded, largest_part

# Marrow spaces larger than this (square mm in a slice) are none: a pelvic or a rib ring encloses more.
_MARROW_MM2 = 2500.0
# Half the width of a vertebra with its transverse processes.
WINGS_HALF_MM = 45.0


@functools.lru_cache(maxsize=1)
def hip_regions(survey: Survey) -> tuple[Mask, Mask]:
    """(right, left): the large bones on both sides below the lungs, each with its femur; else empty masks."""
    lungs = np.nonzero(survey.lungs.sum(axis=(1, 2)) * survey.spacing[1] * survey.spacing[2] > 500)[0]
    lateral = with_marrow(survey.bone, survey) & ~corridor(survey, WINGS_HALF_MM, (-60.0, 1e3))
    lateral[: int(lungs.max()) + 1 if lungs.size else 0] = False
    columns = (np.arange(lateral.shape[2]) - survey.midline) * survey.spacing[2]
    sides = []
    for side in (columns < 0, columns > 0):
        part = largest_part(lateral & side)
        rows = np.nonzero(part.any(axis=(0, 2)))[0]
        deep = (rows[-1] - rows[0] + 1) * survey.spacing[1] if rows.size else 0.0
        # An iliac wing is 100 mm deep and more and in places more than 10 mm thick; a rib in the flank is slim.
        thick = survey.ml(eroded(part, survey.ball(4.5)))
        sides.append(part if thick > 1 and deep > 55 else np.zeros_like(part))
    if not (sides[0].any() and sides[1].any()):
        sides = [np.zeros_like(side) for side in sides]
    return sides[0], sides[1]


def iliac_crest(survey: Survey) -> int:
    """The first slice with hip bones on both sides, at the height of L4; the number of slices if there is none."""
    right, left = hip_regions(survey)
    shown = np.nonzero(right.any(axis=(1, 2)) & left.any(axis=(1, 2)))[0]
    return int(shown[0]) if shown.size else survey.hu.shape[0]


def with_marrow(bone: Mask, survey: Survey) -> Mask:
    """Bone (Z, Y, X) with the marrow that it encloses; marrow is not darker than fat."""
    filled = closed(bone, survey.ball(4.5)) & (survey.hu > -80)
    result = _holes_filled(filled, _MARROW_MM2 / (survey.spacing[1] * survey.spacing[2]))
    # In the other planes the arches of the spine enclose more than marrow.
    for axis, (first, second) in ((1, (0, 2)), (2, (0, 1))):
        limit = 0.5 * _MARROW_MM2 / (survey.spacing[first] * survey.spacing[second])
        turned = np.moveaxis(_holes_filled(np.moveaxis(result, axis, 0), limit), 0, axis)
        result = result | (turned & ~survey.near_canal)
    return result


def _holes_filled(mask: Mask, largest: float) -> Mask:
    result = mask.copy()
    for at, layer in enumerate(mask):
        holes = ndi.binary_fill_holes(layer) & ~layer
        if holes.any():
            labels, _ = ndi.label(holes)
            keep = np.bincount(labels.ravel()) <= largest
            keep[0] = False
            result[at] |= keep[labels]
    return result


def corridor(survey: Survey, half_mm: float, depth_mm: tuple[float, float] = (-1e3, 1e3)) -> Mask:
    """What lies so far beside the canal at most, and between these distances behind it, where the spine runs.

    Below the canal's last slice the corridor goes straight on, for the sacrum.
    """
    _, height, width = survey.hu.shape
    result = np.zeros(survey.hu.shape, bool)
    if not survey.canal:
        return result
    last = max(survey.canal)
    for z in range(min(survey.canal), survey.hu.shape[0]):
        y, x = survey.canal[min(z, last)]
        rows = (np.arange(height) - y) * survey.spacing[1]
        columns = np.abs(np.arange(width) - x) * survey.spacing[2]
        level = (rows >= depth_mm[0]) & (rows <= depth_mm[1])
        result[z] = level[:, np.newaxis] & (columns <= half_mm)
    return result
