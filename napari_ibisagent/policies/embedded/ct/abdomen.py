"""Rules for the solid organs of the upper abdomen in a CT: liver, spleen, kidneys; and the gallbladder."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from napari_ibisagent.core.knowledge import Structure
from napari_ibisagent.core.target import Side
from napari_ibisagent.policies.embedded.absent import Absent
from napari_ibisagent.policies.embedded.ct.candidates import (
    Candidate,
    even_candidates,
    kidney_candidates,
    least_kidney_ml,
)
from napari_ibisagent.policies.embedded.ct.findings import Finding, place
from napari_ibisagent.policies.embedded.ct.survey import Survey

# So much of a kidney's surroundings has to be darker than it: all round with contrast, without it its coat of fat.
_KIDNEY_APART = 0.48


def liver(_: Structure, __: Side, survey: Survey) -> Finding | Absent:
    """The liver: the largest even part on the right, in front of the spine."""
    return _best("liver", liver_score, survey, 100)


def spleen(_: Structure, __: Side, survey: Survey) -> Finding | Absent:
    """The spleen: an even part far on the left, beside or behind the front of the spine."""
    return _best("spleen", _spleen_score, survey, 25)


def kidneys(_: Structure, side: Side, survey: Survey) -> Finding | Absent:
    """One kidney or both: beside the spine, in a coat of fat or brighter than all round."""
    if not survey.spine_path:
        return Absent("The spine, beside which the kidneys lie, is not in the field of view.")
    found: dict[Side, tuple[float, Candidate]] = {}
    for candidate in kidney_candidates(survey):
        score = _kidney_score(candidate, survey)
        where = Side.RIGHT if candidate.x < 0 else Side.LEFT
        if score > _KIDNEY_APART and (where not in found or score > found[where][0]):
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
        (f"beside the spine on the {place(mask, survey)}", f"{100 * fat:.0f} % of its surface lies in fat"),
        parts=len(found),
    )


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
    return Finding(mask, (f"on the {place(mask, survey)}",))


def liver_score(c: Candidate, survey: Survey) -> float:
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


def _kidney_score(c: Candidate, survey: Survey) -> float:
    """Beside the vertebral bodies, not in front of them nor behind them, compact, and apart from its surroundings.

    Places from the sections of adults: the middle of a kidney lies 30 to 90 mm beside that of the spine, from 45 mm
    before it to 25 behind; it is 80 to 130 mm high and at most 95 mm deep and wide, however it is tilted.
    """
    high, back, across = c.extent_mm
    least = least_kidney_ml(survey)
    if not 30 < abs(c.x) < 90 or not -45 < c.y < 25 or not least < c.ml < 450 or not 5 < c.hu < 270:
        return 0.0
    if c.cut or high > 170 or max(back, across) > 95 or c.solidity < 0.2 or min(c.right, 1 - c.right) > 0.02:
        return 0.0
    if c.air > 0.1:  # its coat of fat parts a kidney from lung and bowel gas; a spleen touches the lung's base
        return 0.0
    whole = c.window[0].start > 0 and c.window[0].stop < survey.hu.shape[0]
    if whole and high < 50:
        return 0.0
    # A thin slab shows neither height nor size, and a loop of bowel in it looks much the same.
    thin = survey.hu.shape[0] * survey.spacing[0] < 30
    return c.clear * min(1.0, c.ml / min(80.0, 3 * least)) * (0.75 if thin else 1.0)
