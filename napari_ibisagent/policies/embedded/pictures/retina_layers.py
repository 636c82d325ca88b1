"""The retina in an OCT picture: a bright band from one edge of the picture to the other between two dark grounds."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage as ndi

from napari_ibisagent.core.masks import Mask
from napari_ibisagent.policies.embedded.pictures.small import Grey, Small


@dataclass(frozen=True, eq=False, slots=True)
class Retina:
    """top, bottom: (w,) rows of the band's borders (vitreous; behind the bright pigment epithelium). band: (h, w)."""

    top: NDArray[np.float64]
    bottom: NDArray[np.float64]
    band: Mask


def retina_of(small: Small) -> Retina | None:
    """The retina, or None where no band crosses the whole picture."""
    height, width = small.shape
    if height < 32 or width < 32:
        return None
    smooth = np.asarray(ndi.gaussian_filter(small.grey, (1.5, 3.0)), np.float32)
    line = _brightest_line(smooth)
    # The pigment epithelium is the steadiest bright line of the eye and rises by less than a third of a picture.
    if float(np.ptp(line)) > 0.4 * height:
        return None
    ground = float(np.percentile(smooth, 20))
    bright = float(np.median(smooth[line, np.arange(width)]))
    if bright < ground + 0.3:
        return None
    level = ground + 0.25 * (bright - ground)
    top, bottom = _borders(smooth, line, level)
    thick = bottom - top
    # 250 to 600 micrometres of a picture about 2 mm high, more when swollen.
    if not 0.06 * height < float(np.median(thick)) < 0.6 * height:
        return None
    rows = np.arange(height)[:, np.newaxis]
    band = (rows >= top) & (rows <= bottom)
    typical = float(np.median(smooth[band]))
    for ground_part in (rows < top - height / 50, rows > bottom + height / 50):
        dark = small.grey[ground_part]
        # Vitreous and sclera are dark, but never empty: the detector's noise is seen there.
        if dark.size < 0.04 * smooth.size or np.mean(dark <= 0) > 0.4:
            return None
        if float(np.percentile(smooth[ground_part], 90)) > 0.65 * typical:
            return None
    if float(np.mean(smooth[line, np.arange(width)] > level)) < 0.95:
        return None
    return Retina(top, bottom, band)


def _brightest_line(smooth: Grey) -> NDArray[np.intp]:
    """(w,) rows of the brightest path from the left to the right edge that climbs at most one row a column."""
    height, width = smooth.shape
    total = smooth[:, 0].astype(np.float64)
    came = np.zeros((height, width), np.int8)
    for column in range(1, width):
        padded = np.pad(total, 1, constant_values=-np.inf)
        choices = np.stack([padded[:-2] - 0.05, padded[1:-1], padded[2:] - 0.05])
        pick = choices.argmax(axis=0)
        came[:, column] = pick - 1
        total = choices[pick, np.arange(height)] + smooth[:, column]
    line = np.zeros(width, np.intp)
    line[-1] = int(total.argmax())
    for column in range(width - 1, 0, -1):
        line[column - 1] = line[column] + came[line[column], column]
    return line


def _borders(smooth: Grey, line: NDArray[np.intp], level: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(top, bottom) rows (w,): where the picture stays dark for a tenth of its height, up and down from the line."""
    height, width = smooth.shape
    gap = max(3, height // 10)
    top, bottom = np.zeros(width), np.zeros(width)
    lit = smooth > level
    for column in range(width):
        rows = np.nonzero(lit[:, column])[0]
        rows = rows if rows.size else np.array([line[column]])
        at = int(np.searchsorted(rows, line[column]))
        at = min(at, rows.size - 1)
        breaks = np.nonzero(np.diff(rows) > gap)[0]
        first = breaks[breaks < at].max(initial=-1) + 1
        last = breaks[breaks >= at].min(initial=rows.size - 1)
        top[column], bottom[column] = rows[first], rows[last]
    # A wide median keeps a cyst or a shadow from denting the border.
    size = max(3, width // 10) | 1
    return (
        np.asarray(ndi.median_filter(top, size, mode="nearest"), np.float64),
        np.asarray(ndi.median_filter(bottom, size, mode="nearest"), np.float64),
    )
