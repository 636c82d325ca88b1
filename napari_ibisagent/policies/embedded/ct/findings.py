"""What a rule for CT answers: where a structure was found with the evidence for it, or why it wasn't."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from napari_ibisagent.core.masks import Mask
from napari_ibisagent.core.target import Side
from napari_ibisagent.policies.embedded.ct.survey import Survey

# The mean HU (least, greatest) and the volume in mL (least, greatest) that are plausible.
Plausible = tuple[tuple[float, float], tuple[float, float]]


@dataclass(frozen=True, eq=False, slots=True)
class Finding:
    """Where a structure was found: a coarse mask (Z, Y, X) of the survey, and what speaks for it.

    ``gate`` is the range of HU that its voxels have where that is known beforehand, else it is learned from
    the mask. ``parts``: how many separate parts a slice may show (0: any number). ``solid``: the mask's inside
    belongs to it whatever its density is (marrow, a vessel with a flap). ``key``: the coarse slices (first, last)
    among which the one that shows it best is chosen, None for all. ``sure``: how far the rule can be trusted, 0 to 1.
    """

    mask: Mask
    facts: tuple[str, ...]
    gate: tuple[float, float] | None = None
    parts: int = 1
    solid: bool = False
    key: tuple[int, int] | None = None
    sure: float = 1.0


def on_side(mask: Mask, side: Side, survey: Survey) -> Mask:
    """What of a coarse mask lies on the patient's side (all of it for none or both), told from the spine."""
    if side not in (Side.LEFT, Side.RIGHT):
        return mask
    columns = np.arange(mask.shape[2])[np.newaxis]
    middle = np.array([survey.middle_at(z) for z in range(mask.shape[0])])[:, np.newaxis]
    right = (columns < middle)[:, np.newaxis]
    return mask & (right if side is Side.RIGHT else ~right)


def place(mask: Mask, survey: Survey) -> str:
    """In words, on which side of the patient a mask lies."""
    if not survey.spine_path:
        return "side that I can't tell (no spine is in view)"
    columns = np.nonzero(mask)[2]
    right = float(np.mean(columns < survey.midline))
    for least, words in (
        (0.9, "patient's right"),
        (0.7, "patient's right, reaching over the middle"),
        (0.3, "right and left"),
        (0.1, "patient's left, reaching over the middle"),
    ):
        if right > least:
            return words
    return "patient's left"
