"""Shapes on a shrunk picture: ellipses by moments, parts that stand out at some threshold, mirror symmetry.

Pure geometry for the rules that find things in pictures; it knows no anatomy.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from scipy import ndimage as ndi

from napari_ibisagent.core.masks import Mask, bounding_box, iou
from napari_ibisagent.policies.embedded.pictures.small import Grey


@dataclass(frozen=True, slots=True)
class Ellipse:
    """Centre (y, x), half axes (long, short) in pixels, and the long axis's angle from x towards y in radians."""

    y: float
    x: float
    long: float
    short: float
    angle: float

    def mask(self, shape: tuple[int, int]) -> Mask:
        """Its inside as a mask (h, w)."""
        return self.radius(shape) <= 1

    def radius(self, shape: tuple[int, int]) -> Grey:
        """(h, w): 0 in its centre, 1 on its border."""
        rows, columns = np.ogrid[: shape[0], : shape[1]]
        dy, dx = rows - self.y, columns - self.x
        cos, sin = np.cos(self.angle), np.sin(self.angle)
        along, across = dx * cos + dy * sin, dy * cos - dx * sin
        square = (along / max(self.long, 0.5)) ** 2 + (across / max(self.short, 0.5)) ** 2
        return np.asarray(np.sqrt(square), np.float32)


@dataclass(frozen=True, eq=False, slots=True)
class Blob:
    """A connected part that stands out.

    mask: (h, w). share: of the region that was searched. oval: its overlap (IoU) with the ellipse of its moments.
    contrast: the step across its border, over the spread of the region. even: the step's weakest quarter of the
    border, over the spread. border: whether it runs out of the region.
    """

    mask: Mask
    share: float
    oval: float
    contrast: float
    even: float
    border: bool


def ellipse_of(mask: Mask) -> Ellipse:
    """The ellipse with the moments of a mask (h, w) that isn't empty."""
    rows, columns = np.nonzero(mask)
    y, x = float(rows.mean()), float(columns.mean())
    yy, xx = float(np.var(rows)) + 1 / 12, float(np.var(columns)) + 1 / 12
    xy = float(np.mean((rows - y) * (columns - x)))
    half, root = (yy + xx) / 2, float(np.hypot((xx - yy) / 2, xy))
    angle = 0.5 * float(np.arctan2(2 * xy, xx - yy))
    return Ellipse(y, x, 2 * float(np.sqrt(half + root)), 2 * float(np.sqrt(max(half - root, 1e-3))), angle)


def ovalness(mask: Mask) -> float:
    """Overlap (IoU) of a mask with the ellipse of its moments: 1 for an ellipse, less for frayed or bent parts."""
    return iou(mask, ellipse_of(mask).mask((int(mask.shape[0]), int(mask.shape[1])))) if mask.any() else 0.0


def blobs(
    picture: Grey, region: Mask, *, bright: bool, shares: tuple[float, float], levels: int = 16
) -> Iterator[Blob]:
    """Parts of ``region`` (h, w) brighter (or darker) than some level, of ``shares`` (least, most) of the region.

    The levels are evenly spaced over the region's range. Holes are filled.
    """
    inside = picture[region]
    if inside.size < 64:
        return
    low, high = (float(v) for v in np.percentile(inside, (2, 98)))
    if high <= low:
        return
    signed = picture if bright else -picture
    # Small things lie beyond the 98th percentile.
    ends = (low, float(np.percentile(inside, 99.8))) if bright else (-high, -float(np.percentile(inside, 0.2)))
    edge = region & ~ndi.binary_erosion(region, iterations=2)
    for level in np.linspace(*ends, levels + 2)[1:-1]:
        parts, _ = ndi.label(region & (signed > level))
        sizes = np.bincount(parts.ravel())
        windows = ndi.find_objects(parts)
        for number in np.nonzero(sizes >= shares[0] * inside.size)[0]:
            if number == 0 or sizes[number] > shares[1] * inside.size:
                continue
            window = windows[number - 1]
            mask = np.zeros(picture.shape, bool)
            mask[window] = ndi.binary_fill_holes(parts[window] == number)
            share = np.count_nonzero(mask) / inside.size
            if share > shares[1]:
                continue
            contrast, even = border_step(signed, mask, region)
            yield Blob(
                mask, share, ovalness(mask), contrast / (high - low), even / (high - low), bool((mask & edge).any())
            )


def border_step(picture: Grey, mask: Mask, region: Mask) -> tuple[float, float]:
    """(mean, weakest quarter) of the step of ``picture`` across the border of a mask, in the picture's units.

    The border is cut into twelve sectors round the middle, so that a step which is there on one side only shows.
    """
    reach = max(2, round(0.12 * float(np.sqrt(np.count_nonzero(mask)))))
    window = tuple(slice(max(at.start - reach - 1, 0), at.stop + reach + 1) for at in bounding_box(mask) or ())
    picture, mask, region = picture[window], mask[window], region[window]
    inner = mask & ~ndi.binary_erosion(mask, iterations=reach)
    outer = ndi.binary_dilation(mask, iterations=reach) & ~mask & region
    if not inner.any() or not outer.any():
        return 0.0, 0.0
    y, x = (float(axis.mean()) for axis in np.nonzero(mask))
    means = []
    for ring in (inner, outer):
        rows, columns = np.nonzero(ring)
        sector = ((np.arctan2(rows - y, columns - x) / (2 * np.pi) + 0.5) * 12).astype(int) % 12
        count = np.bincount(sector, minlength=12)
        total = np.bincount(sector, weights=picture[rows, columns], minlength=12)
        means.append(np.where(count > 0, total / np.maximum(count, 1), np.nan))
    steps = means[0] - means[1]
    steps = steps[np.isfinite(steps)]
    if steps.size == 0:
        return 0.0, 0.0
    return float(steps.mean()), float(np.percentile(steps, 25))


# So many mirror lines, the best on a coarse look, are compared on a finer one.
_FINALISTS = 8


def mirrored(picture: Grey, y: float, x: float, angle: float) -> Grey:
    """(h, w) mirrored at the line through (y, x) whose direction is ``angle`` from x towards y."""
    cos, sin = float(np.cos(2 * angle)), float(np.sin(2 * angle))
    turn = np.array([[-cos, sin], [sin, cos]])
    centre = np.array([y, x])
    return np.asarray(ndi.affine_transform(picture, turn, centre - turn @ centre, order=1), np.float32)


def symmetry_axis(picture: Grey, region: Mask) -> tuple[float, tuple[float, float, float]]:
    """(correlation of the region with its mirror image, (y, x, angle)) for the best of both axes of the region.

    Looks within 15 degrees and a tenth of the short axis of the ellipse of the region (h, w).
    """
    ellipse = ellipse_of(region)
    step = max(1, max(picture.shape) // 96)
    smooth = np.asarray(ndi.gaussian_filter(picture * region, step), np.float32)
    turns, shifts = np.deg2rad(np.arange(-15.0, 16.0, 5.0)), np.linspace(-0.1, 0.1, 5) * ellipse.short

    def best_of(axes: Iterable[tuple[float, float]], step: int) -> tuple[float, tuple[float, float, float]]:
        """The best of some (angle, shift), on every ``step``th pixel."""
        thin, inside = smooth[::step, ::step], region[::step, ::step]
        best = (-1.0, (ellipse.y, ellipse.x, ellipse.angle))
        for angle, shift in axes:
            y, x = ellipse.y + shift * float(np.cos(angle)), ellipse.x - shift * float(np.sin(angle))
            other = mirrored(thin, y / step, x / step, angle)
            both = inside & (other > 0)
            if np.count_nonzero(both) < 0.7 * np.count_nonzero(inside):
                continue
            value = correlation(thin[both], other[both])
            if value > best[0]:
                best = (value, (float(y), float(x), float(angle)))
        return best

    # All of them on few pixels, then the best few on more.
    tried = [
        (axis + turn, shift)
        for axis in (ellipse.angle, ellipse.angle + np.pi / 2)
        for turn in turns
        for shift in shifts
    ]
    ranked = sorted(tried, key=lambda at: -best_of((at,), 2 * step)[0])
    return best_of(ranked[:_FINALISTS], step)


def correlation(a: Grey, b: Grey) -> float:
    """Pearson's correlation; 0 where one of them is constant."""
    a, b = a - a.mean(), b - b.mean()
    norm = float(np.sqrt((a * a).sum() * (b * b).sum()))
    return float((a * b).sum() / norm) if norm > 0 else 0.0
