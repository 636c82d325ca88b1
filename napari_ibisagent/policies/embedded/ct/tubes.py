"""Round tubes that run along the spine in a CT, as the aorta does: circles of the clearest edge, linked through slices.

For each place in front of the spine and each radius the share of the circle's edge that stands out is measured;
the best path through all slices is then taken. So a tube is followed past places where a side of it touches a
like tissue, with and without contrast, and with a flap inside of it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage as ndi

from napari_ibisagent.core.masks import Mask
from napari_ibisagent.policies.embedded.ct.survey import Survey

# Side of a pixel of the patches, mm, and how far they reach beyond the places looked at.
_STEP, _MARGIN = 1.5, 30.0
_DIRECTIONS = 16
# A step of so many HU over the edge counts in full: half of that between flesh and fat.
_CLEAR_HU = 60.0
# Beyond these a difference says nothing: blood with more or less contrast in it is inside all the same.
_CLIP = (-150.0, 130.0)
# With contrast a vessel is told by its brightness too; from here on all is bright, however much contrast there is.
_BRIGHT_HU, _DARK_HU = 150.0, 20.0


# From a slice to the next: steps of the radius, and of the place in units of 0.4 mm a mm, with what they cost. A
# vessel keeps its width and runs nearly upright; an aorta that is bent does neither everywhere.
_MOVES = ((0, 1, 0.0), (1, 1, 0.03), (0, 2, 0.08), (1, 2, 0.1))


@dataclass(frozen=True, slots=True)
class Lane:
    """Where a tube's middle may run: mm before the canal (near, far), beside it (from, to; left is positive)."""

    ahead: tuple[float, float]
    beside: tuple[float, float]
    radii: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Disc:
    """The tube in slice z of a survey: its middle (y, x) in voxels, its radius in mm, and how clear its edge is."""

    z: int
    y: float
    x: float
    radius: float
    clear: float


def follow(survey: Survey, lane: Lane, allowed: NDArray[np.bool_] | None = None) -> list[Disc]:
    """The best tube (from head to feet) through all slices in which the canal runs.

    ``allowed``: (slices, rows, columns) on the grid of ``places``, where its middle may be.
    """
    heights = sorted(survey.canal)
    if not heights:
        return []
    measured = [_clearness(_patch(survey, z, lane), lane) for z in heights]
    clear = np.stack([edges for edges, _ in measured])
    clear *= _brightness(np.stack([inside for _, inside in measured]), survey, lane)
    if allowed is not None:
        clear = np.where(allowed[:, np.newaxis], clear, 0)
    near = max(1, round(0.4 * survey.spacing[0] / _STEP))
    totals = [clear[0]]
    for layer in clear[1:]:
        arrived = [
            ndi.maximum_filter(totals[-1], (2 * wider + 1, 2 * far * near + 1, 2 * far * near + 1)) - cost
            for wider, far, cost in _MOVES
        ]
        totals.append(layer + np.maximum.reduce(arrived))
    at = tuple(int(n) for n in np.unravel_index(int(totals[-1].argmax()), clear.shape[1:]))
    found = []
    for number in range(len(heights) - 1, -1, -1):
        if number < len(heights) - 1:
            at = _came_from(totals[number], at, near)
        r, row, column = at
        y, x = survey.canal[heights[number]]
        rows, columns = places(lane)
        found.append(
            Disc(
                heights[number],
                y + float(rows[row]) / survey.spacing[1],
                x + float(columns[column]) / survey.spacing[2],
                lane.radii[r],
                float(clear[number][at]),
            )
        )
    return found[::-1]


def places(lane: Lane) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The rows (mm behind the canal, negative: before it) and columns (mm to the left of it) that are looked at."""
    return np.arange(-lane.ahead[1], -lane.ahead[0] + 0.1, _STEP), np.arange(*lane.beside, _STEP)


def disc_mask(discs: list[Disc], survey: Survey, grown_mm: float = 0.0) -> Mask:
    """The discs as a coarse mask (Z, Y, X), grown by some mm."""
    result = np.zeros(survey.hu.shape, bool)
    rows, columns = np.ogrid[: survey.hu.shape[1], : survey.hu.shape[2]]
    for disc in discs:
        off = ((rows - disc.y) * survey.spacing[1]) ** 2 + ((columns - disc.x) * survey.spacing[2]) ** 2
        result[disc.z] |= off <= (disc.radius + grown_mm) ** 2
    return result


def _came_from(total: NDArray[np.float32], at: tuple[int, ...], near: int) -> tuple[int, ...]:
    """Where in the slice before the best path to (radius, row, column) came from."""
    best: tuple[float, tuple[int, ...]] | None = None
    for wider, far, cost in _MOVES:
        reach = (wider, far * near, far * near)
        window = tuple(slice(max(n - k, 0), n + k + 1) for n, k in zip(at, reach, strict=True))
        inside = np.unravel_index(int(total[window].argmax()), total[window].shape)
        value = float(total[window][inside]) - cost
        if best is None or value > best[0]:
            best = (value, tuple(int(n) + w.start for n, w in zip(inside, window, strict=True)))
    return at if best is None else best[1]


def _patch(survey: Survey, z: int, lane: Lane) -> NDArray[np.float32]:
    """HU (rows, columns) round the lane in a slice, in steps of ``_STEP`` mm, smoothed over about 3 mm."""
    y, x = survey.canal[z]
    rows, columns = places(lane)
    edge = round(_MARGIN / _STEP)
    rows = np.arange(-edge, rows.size + edge) * _STEP + rows[0]
    columns = np.arange(-edge, columns.size + edge) * _STEP + columns[0]
    grid = np.meshgrid(y + rows / survey.spacing[1], x + columns / survey.spacing[2], indexing="ij")
    layer = np.clip(survey.hu[z], -250, 600)
    return np.asarray(ndi.map_coordinates(layer, grid, order=1, mode="nearest"), dtype=np.float32)


def _clearness(patch: NDArray[np.float32], lane: Lane) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Of each circle (radii, rows, columns): the share of its edge that stands out, with flesh inside; its mean HU."""
    edge = round(_MARGIN / _STEP)
    height, width = patch.shape[0] - 2 * edge, patch.shape[1] - 2 * edge
    clipped = np.clip(patch, *_CLIP)
    edges = np.zeros((len(lane.radii), height, width), np.float32)
    inside = np.zeros_like(edges)

    def at(picture: NDArray[np.float32], radius: float, angle: float) -> NDArray[np.float32]:
        dy = edge + round(float(np.sin(angle)) * radius / _STEP)
        dx = edge + round(float(np.cos(angle)) * radius / _STEP)
        return picture[dy : dy + height, dx : dx + width]

    for number, radius in enumerate(lane.radii):
        flesh = np.zeros((height, width), np.float32)
        for angle in np.arange(_DIRECTIONS) * 2 * np.pi / _DIRECTIONS:
            inner, outer = at(clipped, radius - 2.5, angle), at(clipped, radius + 2.5, angle)
            edges[number] += np.clip(np.abs(inner - outer) / _CLEAR_HU, 0, 1)
            middle = at(patch, radius * 0.5, angle)
            inside[number] += middle
            flesh += (inner > -10) & (middle > -10)
        edges[number] *= np.clip(flesh / _DIRECTIONS * 2 - 1, 0, 1)
    edges /= _DIRECTIONS
    inside /= _DIRECTIONS
    return edges, inside


def _brightness(inside: NDArray[np.float32], survey: Survey, lane: Lane) -> NDArray[np.float32] | float:
    """From 0 to 1: how bright each circle is against blood with contrast in it; 1 where the lane holds none."""
    rows, columns = places(lane)
    blood = np.zeros(survey.hu.shape, bool)
    for z, (y, x) in survey.canal.items():
        top, bottom = (max(int(y + mm / survey.spacing[1]), 0) for mm in (rows[0], rows[-1]))
        # Below the lungs the kidneys lie beside the great vessels, and shine for another reason.
        ends = (columns[0], columns[-1]) if survey.lungs[z].any() else (max(columns[0], -28.0), min(columns[-1], 28.0))
        left, right = (max(int(x + mm / survey.spacing[2]), 0) for mm in ends)
        blood[z, top : bottom + 1, left : right + 1] = survey.contrast[z, top : bottom + 1, left : right + 1]
    if survey.ml(blood) < 3:
        return 1.0
    usual = min(float(np.median(survey.hu[blood])), _BRIGHT_HU)
    return np.asarray(np.clip((inside - _DARK_HU) / max(usual - _DARK_HU, 10.0), 0, 1), dtype=np.float32)
