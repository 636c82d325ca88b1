"""Rules for the lesser pelvis in a CT: the urinary bladder."""

from __future__ import annotations

import numpy as np
from scipy import ndimage as ndi

from napari_ibisagent.core.knowledge import Structure
from napari_ibisagent.core.masks import Mask
from napari_ibisagent.core.target import Side
from napari_ibisagent.policies.embedded.absent import Absent
from napari_ibisagent.policies.embedded.ct.bones import bones_of
from napari_ibisagent.policies.embedded.ct.findings import Finding
from napari_ibisagent.policies.embedded.ct.survey import Survey
from napari_ibisagent.policies.embedded.morphology import dilated, eroded

# Urine without contrast: 0 to 20 HU; with noise and block means a little more on both sides.
_URINE = (-15.0, 32.0, "water-like")
# Some minutes after contrast was given, urine is full of it; bone is brighter still and never even.
_CONTRAST = (100.0, 1e4, "full of contrast")


def bladder(_: Structure, __: Side, survey: Survey) -> Finding | Absent:
    """The urinary bladder: even and like water, in the middle, between the hip bones."""
    right, left = bones_of(survey).hips
    if not (right.any() and left.any()):
        return Absent("The pelvis is not in the field of view: no slices with hip bones on both sides.")
    zone = _between_hips(right, left, survey)
    best, kind = None, _URINE
    for kind in (_URINE, _CONTRAST):
        fluid = (survey.soft > kind[0]) & (survey.soft < kind[1]) & survey.even(25) & survey.body & zone
        best = _largest_central(eroded(fluid, survey.ball(6)), survey)
        if best is not None:
            break
    if best is None:
        return Absent("No even part like water (-15 to 32 HU) or like contrast lies in the middle of the pelvis.")
    mask = dilated(best, survey.ball(9)) & (survey.soft > kind[0] - 10) & (survey.soft < kind[1] + 8) & zone
    mask = ndi.binary_dilation(eroded(mask, survey.ball(3)), survey.ball(3)) | best
    return Finding(mask, (f"even and {kind[2]}, in the middle of the pelvis",))


def _between_hips(right: Mask, left: Mask, survey: Survey) -> Mask:
    """In each slice what lies between the hip bones' inner faces, from 40 mm below the higher crest on."""
    result = np.zeros_like(right)
    shown = np.nonzero(right.any(axis=(1, 2)) & left.any(axis=(1, 2)))[0]
    first = int(shown[0]) + (round(40 / survey.spacing[0]) if shown[0] > 0 else 0)
    for z in range(first, right.shape[0]):
        inner_right = np.nonzero(right[z].any(axis=0))[0]
        inner_left = np.nonzero(left[z].any(axis=0))[0]
        if inner_right.size and inner_left.size:
            # The bones slant: their middles bound the cavity well enough.
            result[z, :, int(np.median(inner_right)) : int(np.median(inner_left)) + 1] = True
    return result


def _largest_central(cores: Mask, survey: Survey) -> Mask | None:
    """The largest core whose middle lies within 35 mm of the patient's, and that doesn't fill the picture."""
    parts, _ = ndi.label(cores)
    best: tuple[float, Mask] | None = None
    for number, window in enumerate(ndi.find_objects(parts), start=1):
        inside = parts[window] == number
        ml = survey.ml(inside)
        if ml < 4 or (best is not None and ml <= best[0]):
            continue
        part = np.zeros_like(cores)
        part[window] = inside
        z, _, x = (at + w.start for at, w in zip(ndi.center_of_mass(inside), window, strict=True))
        off = abs(x - survey.middle_at(z)) * survey.spacing[2]
        layers = part.sum(axis=(1, 2)) / np.maximum(survey.body.sum(axis=(1, 2)), 1)
        if off < 35 and float(layers.max()) < 0.3:
            best = (ml, part)
    return None if best is None else best[1]
