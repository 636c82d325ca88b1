"""The aorta in a CT: round discs in front of the spine that follow each other from slice to slice."""

from __future__ import annotations

import numpy as np
from scipy import ndimage as ndi

from napari_ibisagent.core.masks import Mask
from napari_ibisagent.policies.embedded.survey import Survey

# HU above which a vessel may stand out: without contrast only from fat, with contrast from all else.
_VESSEL_LAYERS = (10.0, 90.0, 150.0, 220.0)
Disc = tuple[int, float, float, Mask]


def aorta_chain(survey: Survey) -> list[Disc]:
    """The longest run of discs (z, y, x, mask (Y, X)) along the front of the spine, or none."""
    heights = range(min(survey.spine_path), max(survey.spine_path) + 1)
    return _longest_chain([disc for z in heights for disc in _discs(survey, z)], survey)


def _discs(survey: Survey, z: int) -> list[Disc]:
    """Round parts (z, y, x, mask) in front of the vertebra of a slice, where the aorta can run."""
    y, x = survey.spine_at(z)
    dy, dx = survey.spacing[1], survey.spacing[2]
    rows = slice(max(int(y - 85 / dy), 0), max(int(y + 5 / dy), 1))
    columns = slice(max(int(x - 30 / dx), 0), int(x + 60 / dx))
    hu = survey.hu[z, rows, columns]
    found = []
    for least in _VESSEL_LAYERS:
        window = hu > least
        parts, count = ndi.label(ndi.binary_erosion(ndi.binary_opening(window)))
        for number in range(1, count + 1):
            part = ndi.binary_dilation(parts == number) & window
            area = np.count_nonzero(part) * dy * dx
            if not 120 < area < 1600 or _roundness(part) < 0.65:
                continue
            at_y, at_x = ndi.center_of_mass(part)
            # The aorta lies on or left of the middle of the spine, the vena cava right of it.
            if (at_x + columns.start - x) * dx < -8 or float(hu[part].std()) > 60:
                continue
            mask = np.zeros(survey.hu.shape[1:], bool)
            mask[rows, columns] = part
            found.append((z, float(at_y + rows.start), float(at_x + columns.start), mask))
    return found


def _roundness(part: Mask) -> float:
    """The share of a part's own bounding circle (by its second moments) that it fills; 1 for a disc."""
    rows, columns = np.nonzero(part)
    if rows.size < 4:
        return 0.0
    spread = np.cov(np.stack([rows, columns]).astype(float)) + np.eye(2) / 12
    small, large = np.linalg.eigvalsh(spread)
    return float(np.sqrt(small / large))


def _longest_chain(discs: list[Disc], survey: Survey) -> list[Disc]:
    """The longest run of discs from slice to slice that stay in place, at most one a slice."""
    near = 7.0
    chains: list[list[Disc]] = []
    for disc in discs:
        for chain in chains:
            last = chain[-1]
            gap_mm = (disc[0] - last[0]) * survey.spacing[0]
            moved = np.hypot((disc[1] - last[1]) * survey.spacing[1], (disc[2] - last[2]) * survey.spacing[2])
            if disc[0] > last[0] and gap_mm <= max(12.0, survey.spacing[0]) and moved < near:
                chain.append(disc)
                break
        else:
            chains.append([disc])
    return max(chains, key=lambda chain: (len(chain), np.mean([d[2] for d in chain]))) if chains else []
