"""What can be found in a CT, and the checks that every finding has to pass: HU, size, side, kind of scan.

A rule may only use what holds for patients in general: HU ranges, volumes and neighbourhoods from anatomy.
What it leaves out: everything that needs a learned look (pancreas, bowel, small vessels, lesions).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from napari_ibisagent.core.knowledge import Structure
from napari_ibisagent.core.target import Side
from napari_ibisagent.policies.embedded.absent import Absent
from napari_ibisagent.policies.embedded.ct.abdomen import kidneys, liver, liver_score, spleen
from napari_ibisagent.policies.embedded.ct.aorta import aorta, vena_cava
from napari_ibisagent.policies.embedded.ct.candidates import even_candidates
from napari_ibisagent.policies.embedded.ct.chest import heart, lungs, trachea
from napari_ibisagent.policies.embedded.ct.findings import Finding, Plausible
from napari_ibisagent.policies.embedded.ct.pelvis import bladder
from napari_ibisagent.policies.embedded.ct.phase import Timing, phase_of
from napari_ibisagent.policies.embedded.ct.skeleton import (
    bone,
    femur,
    hip_bone,
    pelvis,
    ribs,
    sacrum,
    spinal_canal,
    spine,
)
from napari_ibisagent.policies.embedded.ct.survey import Survey
from napari_ibisagent.policies.embedded.morphology import dilated, large_parts, largest_part

__all__ = ["Finding", "find"]

# Means and volumes of what the knowledge base gives none for; adults, standard texts of radiology and anatomy.
_PLAUSIBLE: dict[str, Plausible] = {
    "hip_bone": ((120, 900), (120, 1100)),
    "pelvis": ((120, 900), (200, 1600)),
    "sacrum": ((50, 700), (60, 450)),
    "femur": ((120, 1500), (60, 1200)),
    "rib": ((120, 1000), (20, 700)),
    "trachea": ((-1050, -700), (8, 90)),
    "heart": ((10, 450), (300, 1500)),
    "inferior_vena_cava": ((15, 300), (10, 200)),
    "spinal_canal": ((-10, 90), (15, 200)),
    "spinal_cord": ((-10, 90), (15, 200)),
}


# What takes up contrast with the blood, and the most that it has without.
_PERFUSED = ("liver", "spleen", "kidney", "aorta", "inferior_vena_cava", "heart")
_UNENHANCED_HU = 90.0


def find(structure: Structure, side: Side, survey: Survey) -> Finding | Absent:
    """The structure's evidence in a CT, or why it wasn't found."""
    rule = _RULES.get(structure.key)
    plausible = _plausible(structure)
    if rule is None or plausible is None:
        return Absent(f"I know the {structure.name} by name, but have no rule that finds it in CT.")
    doubt = survey.implausible or _out_of_place(structure, side, survey)
    if doubt is not None:
        return Absent(doubt)
    found = rule(structure, side, survey)
    if isinstance(found, Absent):
        return found
    (low, high), (least, most) = plausible
    ml = survey.ml(found.mask)
    if not found.mask.any() or ml < 0.05 * least:
        return Absent(f"No tissue looks enough like the {structure.name}.")
    if ml > 1.2 * most:
        return Absent(f"What looks like the {structure.name} has {ml:.0f} mL; up to {most:.0f} is plausible.")
    mean = survey.core_mean(found.mask)
    if not low <= mean <= high:
        return Absent(
            f"What lies where the {structure.name} should be has a mean of {mean:.0f} HU; "
            f"{low:.0f} to {high:.0f} is expected."
        )
    phase = phase_of(survey) if structure.key in _PERFUSED else None
    if phase is not None and phase.timing is Timing.NONE and mean > _UNENHANCED_HU:
        return Absent(
            f"What lies where the {structure.name} should be has a mean of {mean:.0f} HU; in a scan {phase.words} "
            f"no more than {_UNENHANCED_HU:.0f} is possible."
        )
    share = 100 * ml / survey.ml(survey.body)
    facts = (
        f"mean {mean:.0f} HU, within {low:.0f} to {high:.0f} expected of {structure.name}",
        f"about {ml:.0f} mL seen, {share:.1f} % of the body",
        *found.facts,
        *((phase.words,) if phase is not None and phase.timing is not Timing.UNKNOWN else ()),
    )
    return replace(found, facts=facts)


def _plausible(structure: Structure) -> Plausible | None:
    """The structure's plausible mean and volume, from the knowledge base where it has them."""
    if structure.hu is not None and structure.volume_ml is not None:
        return structure.hu, structure.volume_ml
    return _PLAUSIBLE.get(structure.key)


_ANYWHERE = ("body", "fat", "bone")


def _out_of_place(structure: Structure, side: Side, survey: Survey) -> str | None:
    """Why a rule for the trunk may not be used on this scan, or None."""
    if structure.key in _ANYWHERE:
        return None
    if survey.is_head:
        return f"This looks like a head: a skull encloses it. My rule for the {structure.name} is for the trunk."
    sided = side in (Side.LEFT, Side.RIGHT) or structure.side is not Side.NONE
    if sided and _mirrored(survey):
        return (
            "A large organ like a liver lies on the patient's left, and none on the right: the scan may be mirrored. "
            "Check its orientation before anything that has a side is segmented."
        )
    return None


def _mirrored(survey: Survey) -> bool:
    """Whether a part of 400 mL and more would be a fine liver if left and right were exchanged."""
    best, best_mirrored = 0.0, 0.0
    heights = np.nonzero(survey.lungs)[0]
    top = float(np.percentile(heights, 75)) if heights.size else -1.0  # the heart lies higher
    for candidate in even_candidates(survey):
        middle = (candidate.window[0].start + candidate.window[0].stop) / 2
        turned = replace(candidate, x=-candidate.x, right=1 - candidate.right)
        best = max(best, liver_score(candidate, survey))
        if candidate.ml > 400 and middle > top:
            best_mirrored = max(best_mirrored, liver_score(turned, survey))
    return best_mirrored > 2.5 * best


# -- tissues -----------------------------------------------------------------------------------------------


def _body(_: Structure, __: Side, survey: Survey) -> Finding | Absent:
    return Finding(survey.body, ("everything inside of the skin",), (-300, 1e5), 0)


def _fat(_: Structure, __: Side, survey: Survey) -> Finding | Absent:
    fat = survey.body & (survey.hu > -150) & (survey.hu < -40)
    return Finding(fat, ("between -150 and -40 HU inside of the body",), (-150, -40), 0)


def _muscle(_: Structure, __: Side, survey: Survey) -> Finding | Absent:
    flesh = survey.body & (survey.soft > 20) & (survey.soft < 90) & (survey.hu > 0)
    skin_fat = largest_part(survey.body & (survey.hu < -40) & (survey.hu > -150))
    near = dilated(survey.bone | skin_fat, survey.ball(12)) & survey.body
    organs = np.zeros_like(flesh)
    for candidate in even_candidates(survey):
        if candidate.right > 0.5 and liver_score(candidate, survey) > 0:
            organs |= candidate.mask(survey)
    muscle = large_parts(flesh & near & ~organs, 5 / survey.voxel_ml)
    return Finding(muscle, ("20 to 90 HU next to bone or under the skin's fat",), (0, 110), 0)


_RULES: dict[str, Callable[[Structure, Side, Survey], Finding | Absent]] = {
    "body": _body,
    "fat": _fat,
    "muscle": _muscle,
    "bone": bone,
    "spine": spine,
    "sacrum": sacrum,
    "hip_bone": hip_bone,
    "femur": femur,
    "pelvis": pelvis,
    "rib": ribs,
    "spinal_canal": spinal_canal,
    "spinal_cord": spinal_canal,
    "lung": lungs,
    "trachea": trachea,
    "heart": heart,
    "aorta": aorta,
    "inferior_vena_cava": vena_cava,
    "liver": liver,
    "spleen": spleen,
    "kidney": kidneys,
    "urinary_bladder": bladder,
}
