"""The great vessels along the spine in a CT: the aorta on its left and in front, the vena cava on its right.

What it leaves out: the ascending aorta and the arch, and every branch.
"""

from __future__ import annotations

import functools

import numpy as np
from scipy import ndimage as ndi

from napari_ibisagent.core.knowledge import Structure
from napari_ibisagent.core.masks import Mask
from napari_ibisagent.core.target import Side
from napari_ibisagent.policies.embedded.absent import Absent
from napari_ibisagent.policies.embedded.ct.findings import Finding
from napari_ibisagent.policies.embedded.ct.hips import iliac_crest
from napari_ibisagent.policies.embedded.ct.survey import Survey
from napari_ibisagent.policies.embedded.ct.tubes import Disc, Lane, disc_mask, follow, places

# From the canal: the aorta's middle lies 30 to 85 mm before it, and at most 14 mm right of it; beside the lungs it
# lies up to 60 mm left of it, then even beside the vertebra, in the abdomen up to 28. Its diameter is 14 to 44 mm.
_AORTA = Lane((10.0, 88.0), (-14.0, 60.0), (7.0, 8.5, 10.0, 12.0, 14.0, 16.5, 19.0, 22.0))
_ABDOMINAL_MM = 28.0
_CAVA = Lane((30.0, 88.0), (-42.0, -6.0), (8.5, 10.0, 12.0, 14.0))
# A tube is believed where this share of its edge stands out over some slices.
_CLEAR = 0.5
# A scan that begins so far above the heart's lower end shows the aorta's root or more of it.
_ROOT_MM = 60.0


@functools.lru_cache(maxsize=1)
def aorta_discs(survey: Survey) -> list[Disc]:
    """The descending aorta from head to feet, down to the iliac crests, where it ends; or none."""
    lungs = np.array([survey.lungs[z].any() for z in sorted(survey.canal)], bool)
    rows, columns = places(_AORTA)
    outside = (rows < -30)[:, np.newaxis] | (columns > _ABDOMINAL_MM)[np.newaxis]  # of the vertebra
    allowed = outside & (lungs[:, np.newaxis, np.newaxis] | (columns < _ABDOMINAL_MM))
    end = iliac_crest(survey)  # there aorta and vena cava divide
    discs = [disc for disc in follow(survey, _AORTA, allowed) if disc.z < end]
    return _believed(discs, survey)


def aorta(_: Structure, __: Side, survey: Survey) -> Finding | Absent:
    """The descending and the abdominal aorta."""
    if not survey.spine_path:
        return Absent("The spine, in front of which the aorta lies, is not in the field of view.")
    discs = aorta_discs(survey)
    if not discs:
        return Absent("No round vessel runs along the front of the spine.")
    mask = _fitted(discs, survey)
    width = 2 * float(np.median([disc.radius for disc in discs]))
    length = (discs[-1].z - discs[0].z + 1) * survey.spacing[0]
    facts = [f"a round vessel of {width:.0f} mm in front of the spine, over {length:.0f} mm"]
    below = _below_the_heart(survey)
    if (below - discs[0].z) * survey.spacing[0] > _ROOT_MM:
        facts.append("only what runs along the spine: the ascending aorta and the arch are left out")
    return Finding(mask, tuple(facts), solid=True, key=_clearest(discs, below))


def vena_cava(_: Structure, __: Side, survey: Survey) -> Finding | Absent:
    """The inferior vena cava below the liver's dome."""
    if not survey.spine_path:
        return Absent("The spine, along which the vena cava runs, is not in the field of view.")
    end = iliac_crest(survey)  # there aorta and vena cava divide
    lungs = np.nonzero(survey.lungs.any(axis=(1, 2)))[0]
    top = int(lungs[-1]) - round(40 / survey.spacing[0]) if lungs.size else 0
    discs = _believed([disc for disc in follow(survey, _CAVA) if top <= disc.z < end], survey)
    if len(discs) * survey.spacing[0] < 25:  # in a thin slab a loop of bowel looks the same
        return Absent("No round vessel runs along the right side of the spine.")
    fact = f"a vessel of {2 * float(np.median([disc.radius for disc in discs])):.0f} mm right of the aorta"
    return Finding(_fitted(discs, survey), (fact,), solid=True, key=_clearest(discs, 0))


def _below_the_heart(survey: Survey) -> int:
    """The first slice that shows no ascending aorta: its root lies half-way down the lungs."""
    lungs = np.nonzero(survey.lungs.sum(axis=(1, 2)) * survey.spacing[1] * survey.spacing[2] > 2000)[0]
    return int(lungs[0] + 0.65 * (lungs[-1] - lungs[0])) if lungs.size else 0


def _clearest(discs: list[Disc], first: int) -> tuple[int, int]:
    """The slice (twice), from ``first`` on where there is one, in and round which the edge stands out most."""
    clear = ndi.uniform_filter1d(np.array([d.clear for d in discs]), 3)
    rated = [(d.z >= first, float(c), d.z) for d, c in zip(discs, clear, strict=True)]
    z = max(rated)[2]
    return z, z


def _believed(discs: list[Disc], survey: Survey) -> list[Disc]:
    """The longest run of discs whose edge is clear over 15 mm; none if it is too short to be a vessel."""
    if not discs:
        return []
    clear = ndi.uniform_filter1d(np.array([d.clear for d in discs]), 2 * round(7 / survey.spacing[0]) + 1)
    runs, count = ndi.label(clear >= _CLEAR)
    if not count:
        return []
    best = int(np.argmax(np.bincount(runs)[1:])) + 1
    found = [disc for disc, run in zip(discs, runs, strict=True) if run == best]
    enough = min(25.0, 0.8 * survey.hu.shape[0] * survey.spacing[0])
    return found if len(found) * survey.spacing[0] >= enough else []


def _fitted(discs: list[Disc], survey: Survey) -> Mask:
    """The discs, and what next to them is like their inside: a vessel is no exact circle."""
    mask = disc_mask(discs, survey)
    inner = disc_mask(discs, survey, -3.0)
    values = survey.soft[inner if inner.any() else mask]
    middle, spread = float(np.median(values)), max(float(values.std()), 8.0)
    like = np.abs(survey.soft - middle) < min(1.5 * spread, 0.3 * middle + 15)
    grown = disc_mask(discs, survey, 2.0) & like & ~survey.vertebral_core
    result = (mask & (survey.hu > -30) & ~survey.vertebral_core) | grown
    return np.stack([ndi.binary_opening(layer) | (layer & flesh) for layer, flesh in zip(result, inner, strict=True)])
