"""Rules that find structures in a CT by HU, size, place and shape. Each answers with evidence or with a reason.

A rule may only use what holds for patients in general: HU ranges, volumes and neighbourhoods from anatomy.
What it leaves out: everything that needs a learned look (pancreas, bowel, vessels but the aorta, lesions).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from scipy import ndimage as ndi

from napari_ibisagent.core.knowledge import Structure
from napari_ibisagent.core.masks import Mask
from napari_ibisagent.core.target import Side
from napari_ibisagent.policies.embedded.aorta import aorta_chain
from napari_ibisagent.policies.embedded.candidates import Candidate, even_candidates, kidney_candidates
from napari_ibisagent.policies.embedded.survey import Survey, closed, large_parts, largest_part


@dataclass(frozen=True, eq=False, slots=True)
class Finding:
    """Where a structure was found: a coarse mask (Z, Y, X) of the survey, and what speaks for it.

    ``gate`` is the range of HU that its voxels have where that is known beforehand, else it is learned from
    the mask. ``parts``: how many separate parts a slice may show (0: any number).
    """

    mask: Mask
    facts: tuple[str, ...]
    gate: tuple[float, float] | None = None
    parts: int = 1


@dataclass(frozen=True, slots=True)
class Absent:
    """Why a structure was not found."""

    reason: str


def find(structure: Structure, side: Side, survey: Survey) -> Finding | Absent:
    """The structure's evidence in a CT, or why it wasn't found."""
    rule = _RULES.get(structure.key)
    if rule is None or structure.hu is None or structure.volume_ml is None:
        return Absent(f"I know the {structure.name} by name, but have no rule that finds it in CT.")
    doubt = survey.implausible or _out_of_place(structure, side, survey)
    if doubt is not None:
        return Absent(doubt)
    found = rule(structure, side, survey)
    if isinstance(found, Absent):
        return found
    ml = survey.ml(found.mask)
    if not found.mask.any() or ml < 0.05 * structure.volume_ml[0]:
        return Absent(f"No tissue looks enough like the {structure.name}.")
    if ml > 1.2 * structure.volume_ml[1]:
        return Absent(
            f"What looks like the {structure.name} has {ml:.0f} mL; up to {structure.volume_ml[1]:.0f} is plausible."
        )
    mean = survey.core_mean(found.mask)
    low, high = structure.hu
    if not low <= mean <= high:
        return Absent(
            f"What lies where the {structure.name} should be has a mean of {mean:.0f} HU; "
            f"{low:.0f} to {high:.0f} is expected."
        )
    share = 100 * ml / survey.ml(survey.body)
    facts = (
        f"mean {mean:.0f} HU, within {low:.0f} to {high:.0f} expected of {structure.name}",
        f"about {ml:.0f} mL seen, {share:.1f} % of the body",
        *found.facts,
    )
    return replace(found, facts=facts)


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
        best = max(best, _liver_score(candidate, survey))
        if candidate.ml > 400 and middle > top:
            best_mirrored = max(best_mirrored, _liver_score(turned, survey))
    return best_mirrored > 2.5 * best


# -- tissues -----------------------------------------------------------------------------------------------


def _body(_: Structure, __: Side, survey: Survey) -> Finding | Absent:
    return Finding(survey.body, ("everything inside of the skin",), (-300, 1e5), 0)


def _fat(_: Structure, __: Side, survey: Survey) -> Finding | Absent:
    fat = survey.body & (survey.hu > -150) & (survey.hu < -40)
    return Finding(fat, ("between -150 and -40 HU inside of the body",), (-150, -40), 0)


def _bone(_: Structure, __: Side, survey: Survey) -> Finding | Absent:
    return Finding(survey.bone, ("above 180 HU in large parts",), (160, 1e5), 0)


def _muscle(_: Structure, __: Side, survey: Survey) -> Finding | Absent:
    flesh = survey.body & (survey.soft > 20) & (survey.soft < 90) & (survey.hu > 0)
    skin_fat = largest_part(survey.body & (survey.hu < -40) & (survey.hu > -150))
    near = ndi.binary_dilation(survey.bone | skin_fat, survey.ball(12)) & survey.body
    organs = np.zeros_like(flesh)
    for candidate in even_candidates(survey):
        if candidate.right > 0.5 and _liver_score(candidate, survey) > 0:
            organs |= candidate.mask(survey)
    muscle = large_parts(flesh & near & ~organs, 5 / survey.voxel_ml)
    return Finding(muscle, ("20 to 90 HU next to bone or under the skin's fat",), (0, 110), 0)


def _lungs(structure: Structure, side: Side, survey: Survey) -> Finding | Absent:
    if not survey.lungs.any():
        return Absent("No aerated lung (-950 to -550 HU in a part of 15 mL or more) is in the field of view.")
    if side in (Side.LEFT, Side.RIGHT) and not survey.spine_path:
        return Absent("The spine is not in the field of view, so I can't tell the left from the right lung.")
    filled = survey.lungs.sum(axis=(1, 2)) / np.maximum(survey.body.sum(axis=(1, 2)), 1)
    if float(filled.max()) > 0.8:
        return Absent("What is as dark as lung fills nearly all of the picture; a lung has a chest wall round it.")
    chosen = _on_side(survey.lungs, side, survey)
    if not chosen.any():
        return Absent(f"No aerated lung lies on the patient's {side.value}.")
    return Finding(chosen, (f"aerated tissue on the {_place(chosen, survey)}",), (-1100, -350), 0)


def _spine(_: Structure, __: Side, survey: Survey) -> Finding | Absent:
    if not survey.spine_path:
        return Absent("No vertebra (bone of 7 square cm or more in the central back) is in the field of view.")
    bone = closed((survey.hu > 140) & survey.near_spine & ~survey.contrast, survey.ball(4)) & survey.near_spine
    beside = survey.contrast & ndi.binary_dilation(survey.near_spine, survey.ball(6)) & (survey.hu > 220)
    if survey.ml(beside) > 3:
        return Absent("Vessels full of contrast lie against the spine; I can't tell them from bone there.")
    marks = np.zeros_like(bone)
    for z, (y, x) in survey.spine_path.items():
        marks[z, round(y), round(x)] = True
    parts, count = ndi.label(large_parts(bone, 2 / survey.voxel_ml))
    kept = np.zeros(count + 1, bool)
    kept[np.unique(parts[ndi.binary_dilation(marks, survey.ball(12))])] = True
    kept[0] = False
    bone = np.asarray(kept[parts])
    return Finding(bone, ("bone in the central back",), (100, 1e5), 0)


# -- organs ------------------------------------------------------------------------------------------------


def _liver(_: Structure, __: Side, survey: Survey) -> Finding | Absent:
    return _best("liver", _liver_score, survey, 100)


def _spleen(_: Structure, __: Side, survey: Survey) -> Finding | Absent:
    return _best("spleen", _spleen_score, survey, 25)


def _kidneys(structure: Structure, side: Side, survey: Survey) -> Finding | Absent:
    if not survey.spine_path:
        return Absent("The spine, beside which the kidneys lie, is not in the field of view.")
    found: dict[Side, tuple[float, Candidate]] = {}
    for candidate in kidney_candidates(survey):
        score = _kidney_score(candidate)
        where = Side.RIGHT if candidate.x < 0 else Side.LEFT
        if score > 0.55 and (where not in found or score > found[where][0]):
            found[where] = (score, candidate)
    if side in (Side.LEFT, Side.RIGHT):
        found = {where: item for where, item in found.items() if where is side}
    elif side is Side.NONE and found:
        best = max(found, key=lambda where: found[where][0])
        found = {best: found[best]}
    if not found:
        on_side = f" on the patient's {side.value}" if side in (Side.LEFT, Side.RIGHT) else ""
        return Absent(f"Nothing{on_side} beside the spine has a kidney's size, density and coat of fat.")
    mask = np.logical_or.reduce([item.mask(survey) for _, item in found.values()])
    fat = np.mean([item.fat for _, item in found.values()])
    return Finding(
        mask,
        (f"beside the spine on the {_place(mask, survey)}", f"{100 * fat:.0f} % of its surface lies in fat"),
        parts=len(found),
    )


def _bladder(structure: Structure, __: Side, survey: Survey) -> Finding | Absent:
    pelvis = survey.pelvic
    if np.count_nonzero(pelvis) * survey.spacing[0] < 9:
        return Absent("The pelvis is not in the field of view: no slices with hip bones on both sides.")
    fluid = (survey.soft > -15) & (survey.soft < 35) & (survey.unrest < 20) & survey.body
    fluid &= pelvis[:, np.newaxis, np.newaxis]
    core = ndi.binary_erosion(fluid, survey.ball(5), border_value=1)
    parts, _ = ndi.label(core)
    best: tuple[float, Mask] | None = None
    for number, window in enumerate(ndi.find_objects(parts), start=1):
        part = np.zeros_like(core)
        part[window] = parts[window] == number
        _, _, x = ndi.center_of_mass(part)
        off = abs(x - survey.midline) * survey.spacing[2]
        ml = survey.ml(part)
        layers = part.sum(axis=(1, 2)) / np.maximum(survey.body.sum(axis=(1, 2)), 1)
        if ml >= 4 and off < 30 and float(layers.max()) < 0.3 and (best is None or ml > best[0]):
            best = (ml, part)
    if best is None:
        return Absent("No even, water-like part (-15 to 35 HU) lies in the middle of the pelvis.")
    mask = ndi.binary_dilation(best[1], survey.ball(5)) & (survey.soft > -25) & (survey.soft < 45)
    return Finding(mask, ("even and water-like, in the middle of the pelvis",))


def _aorta(_: Structure, __: Side, survey: Survey) -> Finding | Absent:
    if not survey.spine_path:
        return Absent("The spine, in front of which the aorta lies, is not in the field of view.")
    chain = aorta_chain(survey)
    if not chain or len(chain) * survey.spacing[0] < 25:
        return Absent("No round vessel runs along the front of the spine for 25 mm or more.")
    mask = np.zeros_like(survey.body)
    for disc in chain:
        mask[disc[0]] |= disc[3]
    width = 2 * np.sqrt(
        np.median([np.count_nonzero(p) for *_, p in chain]) * survey.spacing[1] * survey.spacing[2] / np.pi
    )
    return Finding(
        mask,
        (f"a round vessel of {width:.0f} mm in front of the spine, over {len(chain) * survey.spacing[0]:.0f} mm",),
    )


_RULES: dict[str, Callable[[Structure, Side, Survey], Finding | Absent]] = {
    "body": _body,
    "fat": _fat,
    "bone": _bone,
    "muscle": _muscle,
    "lung": _lungs,
    "spine": _spine,
    "liver": _liver,
    "spleen": _spleen,
    "kidney": _kidneys,
    "urinary_bladder": _bladder,
    "aorta": _aorta,
}


def _best(name: str, score: Callable[[Candidate, Survey], float], survey: Survey, least_ml: float) -> Finding | Absent:
    """The candidate with the best score for an organ of the upper abdomen."""
    if not survey.spine_path and not survey.lungs.any():
        return Absent(
            "Neither the spine nor the lungs are in the field of view, so I can't tell where in the body this is."
        )
    rated = [(score(candidate, survey), candidate) for candidate in even_candidates(survey)]
    rated = [(s, c) for s, c in rated if s > 0 and c.ml >= min(least_ml, 0.02 * survey.ml(survey.body))]
    if not rated:
        return Absent(f"No even soft tissue has the place, size and density of the {name}.")
    _, best = max(rated, key=lambda item: item[0])
    mask = best.mask(survey)
    return Finding(mask, (f"on the {_place(mask, survey)}",))


def _liver_score(c: Candidate, survey: Survey) -> float:
    """Large, mostly right of the spine and in front of it."""
    if c.x > -10 or c.y > 15 or c.right < 0.55 or not 25 < c.hu < 180:
        return 0.0
    return c.ml * c.right


def _spleen_score(c: Candidate, survey: Survey) -> float:
    """Medium, far to the left, beside or behind the front of the spine."""
    if c.x < 55 or not -75 < c.y < 60 or c.right > 0.05 or not 25 < c.hu < 200 or c.ml > 900:
        return 0.0
    backness = 1.0 if c.y > -40 else 0.4
    return c.ml * backness * (1.0 if c.fat < 0.75 else 0.5)


def _kidney_score(c: Candidate) -> float:
    """30 to 350 mL, 30 to 95 mm beside the spine, not in front of it, compact, and apart from its surroundings."""
    high, back, across = c.extent_mm
    if not 30 < abs(c.x) < 95 or not -60 < c.y < 40 or not 25 < c.ml < 400 or not 5 < c.hu < 270:
        return 0.0
    if c.cut or high > 160 or back > 85 or across > 85 or c.solidity < 0.25 or min(c.right, 1 - c.right) > 0.02:
        return 0.0
    return c.clear * min(1.0, c.ml / 80)


def _on_side(mask: Mask, side: Side, survey: Survey) -> Mask:
    """What of a mask lies on the patient's side (all of it for none or both)."""
    if side not in (Side.LEFT, Side.RIGHT):
        return mask
    columns = np.arange(mask.shape[2])
    return mask & ((columns < survey.midline) if side is Side.RIGHT else (columns >= survey.midline))


def _place(mask: Mask, survey: Survey) -> str:
    """In words, on which side of the patient a mask lies."""
    if not survey.spine_path:
        return "side that I can't tell (no spine is in view)"
    columns = np.nonzero(mask)[2]
    right = float(np.mean(columns < survey.midline))
    if right > 0.9:
        return "patient's right"
    return (
        "patient's left"
        if right < 0.1
        else (
            "right and left"
            if 0.3 < right < 0.7
            else (
                "patient's right, reaching over the middle"
                if right >= 0.7
                else "patient's left, reaching over the middle"
            )
        )
    )
