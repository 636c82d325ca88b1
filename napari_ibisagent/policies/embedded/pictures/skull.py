"""The head of a fetus in ultrasound: its skull is a bright ellipse. Found by trying ellipses, then the best refined.

The skull's cross-section is an ellipse with a short axis of 0.70 to 0.90 of the long one (the cephalic index: Hadlock
and others, 1981); with some margin for oblique cuts. Leaves out everything inside the head.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage as ndi

from napari_ibisagent.core.masks import Mask
from napari_ibisagent.policies.embedded.absent import Absent
from napari_ibisagent.policies.embedded.pictures.shapes import Ellipse
from napari_ibisagent.policies.embedded.pictures.sighting import Look, Sighting
from napari_ibisagent.policies.embedded.pictures.small import Grey

_RATIOS = (0.65, 0.74, 0.83, 0.92)
_COARSE = 80
# Width of the skull's line as a share of the picture's larger side.
_WIDTH = 0.02
_POINTS = 48
# Half of the long axis, as a share of the picture's larger side.
_SIZES = np.geomspace(0.1, 0.5, 9)
_ANGLES = np.arange(6) * np.pi / 6
# How much of the ellipse must lie on a bright line, and how much brighter than inside and outside it is (of the range).
_COVERED = 0.55
_STANDS_OUT = 0.14
# Flatter than the flattest skulls, with a margin for oblique cuts.
_FLATTEST = 0.64


@dataclass(frozen=True, slots=True)
class _Fit:
    ellipse: Ellipse
    score: float


def fetal_head(look: Look) -> Sighting | Absent:
    """The head's inside with the skull."""
    grey = np.asarray(ndi.gaussian_filter(look.small.grey, 1.0), np.float32)
    fit = _best_ellipse(grey, look.small.field)
    if fit is None:
        return Absent("The picture is too small to see a skull in it.")
    covered, contrast, sectors = _quality(grey, fit.ellipse)
    flat = fit.ellipse.short < _FLATTEST * fit.ellipse.long
    if flat or covered < _COVERED or contrast < _STANDS_OUT or sectors < 6:
        return Absent(
            "No bright line as closed, oval and clear as a fetal skull is seen: the best ellipse lies on one over "
            f"{100 * covered:.0f} % of its length."
        )
    # The line runs along the skull's middle; the head ends on its outside.
    half, e = 0.5 * _WIDTH * max(grey.shape), fit.ellipse
    mask = look.small.on_view(Ellipse(e.y, e.x, e.long + half, e.short + half, e.angle).mask(look.small.shape))
    facts = (
        f"a bright ellipse over {100 * covered:.0f} % of its length",
        f"axes in a ratio of {e.short / e.long:.2f} (0.70 to 0.90 is usual for a skull)",
    )
    return Sighting(mask, facts, min(0.9, 0.3 + 0.6 * covered))


def ridges(grey: Grey, width: float) -> Grey:
    """(h, w, 3) bright lines of about ``width`` pixels: strength in [0, 1], and it times cosine and sine of twice the
    line's angle from x towards y, so that blurring and comparing directions stay linear.
    """
    yy, xy, xx = (ndi.gaussian_filter(grey, width / 1.4, order=order) for order in ((2, 0), (1, 1), (0, 2)))
    root = np.hypot((xx - yy) / 2, xy)
    strength = np.maximum(root - (xx + yy) / 2, 0)
    strength = np.clip(strength / max(float(np.percentile(strength, 97)), 1e-6), 0, 1)
    turn = strength / np.maximum(root, 1e-9)
    return np.asarray(np.stack([strength, turn * (xx - yy) / 2, turn * xy], axis=2), np.float32)


def _best_ellipse(grey: Grey, field: Mask) -> _Fit | None:
    """The ellipse whose outline lies most on bright lines that run along it; None in a tiny picture."""
    largest = max(grey.shape)
    if min(grey.shape) < 32:
        return None
    step = max(1.0, largest / _COARSE)
    bright = np.clip(grey / max(float(np.percentile(grey, 98)), 1e-3), 0, 1)
    shown = bright**0.5 * ndi.binary_erosion(field, iterations=2)
    lines = np.asarray(ridges(grey, _WIDTH * largest) * shown[..., np.newaxis], np.float32)
    rows, columns = ((np.arange(round(n / step)) * step).astype(int) for n in grey.shape)
    blurred = ndi.gaussian_filter(lines, (step / 1.5, step / 1.5, 0))
    coarse = np.asarray(blurred[rows[:, np.newaxis], columns] / max(float(blurred.max()), 1e-6), np.float32)
    starts = _candidates(coarse)
    fits = [_refined(lines, Ellipse(e.y * step, e.x * step, e.long * step, e.short * step, e.angle)) for e in starts]
    return max(fits, key=lambda fit: fit.score)


def _outline(ellipses: NDArray[np.float64], points: int, scale: float = 1.0) -> tuple[NDArray[np.float64], ...]:
    """(rows, columns), each (n, points), of ellipses (n, 5): y, x, long, short, angle."""
    turn = np.arange(points) * 2 * np.pi / points
    y, x, long, short, angle = (column[:, np.newaxis] for column in ellipses.T)
    along, across = scale * long * np.cos(turn), scale * short * np.sin(turn)
    return y + along * np.sin(angle) + across * np.cos(angle), x + along * np.cos(angle) - across * np.sin(angle)


def _sampled(picture: Grey, rows: NDArray[np.float64], columns: NDArray[np.float64]) -> Grey:
    """Nearest values, 0 outside of the picture."""
    height, width = picture.shape[:2]
    r, c = np.rint(rows).astype(np.intp), np.rint(columns).astype(np.intp)
    valid = (r >= 0) & (r < height) & (c >= 0) & (c < width)
    values = picture[np.clip(r, 0, height - 1), np.clip(c, 0, width - 1)]
    return np.asarray(values * valid.reshape(valid.shape + (1,) * (values.ndim - valid.ndim)), np.float32)


def _score(lines: Grey, ellipses: NDArray[np.float64], points: int) -> NDArray[np.float64]:
    """(n,): how far the lines (h, w, 3) along each outline exceed what would be there by chance, in standard errors.

    The error of a mean falls with the root of the outline's length.
    """
    chance = float(lines[..., 0].mean()) / 2
    on = along_lines(lines, ellipses, points).mean(axis=1)
    return np.asarray((on - chance) * np.sqrt(ellipses[:, 2] + ellipses[:, 3]), np.float64)


def along_lines(lines: Grey, ellipses: NDArray[np.float64], points: int) -> Grey:
    """(n, points) in [0, 1]: the strength of lines along the outlines of ellipses (n, 5)."""
    turn = np.arange(points) * 2 * np.pi / points
    long, short, angle = (ellipses[:, at, np.newaxis] for at in (2, 3, 4))
    tangent = 2 * (np.arctan2(short * np.cos(turn), -long * np.sin(turn)) + angle)
    found = _sampled(lines, *_outline(ellipses, points))
    return np.asarray(
        (found[..., 0] + found[..., 1] * np.cos(tangent) + found[..., 2] * np.sin(tangent)) / 2, np.float32
    )


def _candidates(coarse: Grey, count: int = 24) -> list[Ellipse]:
    """The ellipses on the coarse grid with most of their outline on ridges, far enough from each other."""
    height, width = coarse.shape[:2]
    ys, xs = np.meshgrid(np.arange(2, height, 4.0), np.arange(2, width, 4.0), indexing="ij")
    kept: list[tuple[float, Ellipse]] = []
    for size in _SIZES * max(height, width):
        for ratio in _RATIOS:
            for angle in _ANGLES:
                shape = np.broadcast_to([size, size * ratio, angle], (ys.size, 3))
                ellipses = np.column_stack([ys.ravel(), xs.ravel(), shape])
                score = _score(coarse, ellipses, _POINTS // 2)
                at = int(score.argmax())
                kept.append((float(score[at]), Ellipse(*(float(v) for v in ellipses[at]))))
    kept.sort(key=lambda pair: -pair[0])
    chosen: list[Ellipse] = []
    for _, ellipse in kept:
        if all(
            abs(np.log(ellipse.long / e.long)) + np.hypot(ellipse.y - e.y, ellipse.x - e.x) / e.long > 0.2
            for e in chosen
        ):
            chosen.append(ellipse)
        if len(chosen) == count:
            break
    return chosen


def _refined(ridge: Grey, start: Ellipse) -> _Fit:
    """The best ellipse near a start, by trying changes of all five numbers that become smaller."""
    best = np.array([start.y, start.x, start.long, start.short, start.angle])
    value = -1.0
    for reach in (0.12, 0.08, 0.05, 0.03, 0.02, 0.01):
        for _ in range(3):
            scale = best[2] * np.array([1, 1, 1, 1, 0]) + np.array([0, 0, 0, 0, 2.0])
            moves = reach * scale * np.vstack([np.zeros(5), np.eye(5), -np.eye(5), _DIAGONALS])
            tried = best + moves
            ratio = tried[:, 3] / tried[:, 2]
            score = _score(ridge, tried, _POINTS * 2)
            score[(ratio < 0.6) | (ratio > 1.0)] = -1
            at = int(score.argmax())
            if score[at] <= value:
                break
            best, value = tried[at], float(score[at])
    return _Fit(Ellipse(*(float(v) for v in best)), value)


# Growing on one side only, and all over.
_DIAGONALS = np.array(
    [[sy, sx, 1, 1, 0] for sy in (-1, 0, 1) for sx in (-1, 0, 1)] + [[0, 0, -1, -1, 0], [0, 0, 1, -1, 0]], float
)


def _quality(grey: Grey, ellipse: Ellipse) -> tuple[float, float, int]:
    """(share of the outline on a bright line, its mean contrast to both sides, how many eighths of it are seen)."""
    row = np.array([[ellipse.y, ellipse.x, ellipse.long, ellipse.short, ellipse.angle]])
    line = np.max([_sampled(grey, *_outline(row, 96, scale))[0] for scale in (0.96, 1.0, 1.04)], axis=0)
    inside = np.mean([_sampled(grey, *_outline(row, 96, scale))[0] for scale in (0.76, 0.82, 0.88)], axis=0)
    outside = np.mean([_sampled(grey, *_outline(row, 96, scale))[0] for scale in (1.14, 1.2, 1.26)], axis=0)
    step = line - np.maximum(inside, outside)
    seen = step > 0.06
    eighths = seen.reshape(8, 12).mean(axis=1) > 0.4
    return float(seen.mean()), float(step.mean()), int(eighths.sum())
