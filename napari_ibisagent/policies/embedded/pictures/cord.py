"""The spinal cord in axial MR: a small oval in a brighter ring of fluid, in the middle of the body."""

from __future__ import annotations

import numpy as np
from scipy import ndimage as ndi

from napari_ibisagent.core.view import Plane
from napari_ibisagent.policies.embedded.absent import Absent
from napari_ibisagent.policies.embedded.pictures.shapes import Blob, blobs, ellipse_of, symmetry_axis
from napari_ibisagent.policies.embedded.pictures.sighting import Look, Sighting

# A cord has 30 to 120 square mm (cervical enlargement about 80, thoracic about 45).
_AREA_MM2 = (30.0, 130.0)
# How far from the body's middle it may lie, in mm.
_AWAY_MM = 20.0


def spinal_cord(look: Look) -> Sighting | Absent:
    """The cord in an axial slice of a weighting in which fluid is bright (T2, T2*)."""
    small = look.small
    if look.view.plane is not Plane.AXIAL:
        return Absent("My rule for the spinal cord needs an axial slice.")
    if small.pixel_mm is None:
        return Absent("The picture states no size; the spinal cord is told by its size.")
    pixel = small.pixel_mm**2
    whole = np.ones(small.shape, bool)
    smooth = np.asarray(ndi.gaussian_filter(small.grey, 0.5 / small.pixel_mm), np.float32)
    body = ndi.binary_fill_holes(ndi.binary_opening(ndi.gaussian_filter(small.grey, 2) > 0.06, iterations=2))
    if np.count_nonzero(body) * pixel < 1000:
        return Absent("The slice shows too little of the body.")
    alike, (y, x, angle) = symmetry_axis(small.grey, np.asarray(body))
    shares = (_AREA_MM2[0] / pixel / whole.size, _AREA_MM2[1] / pixel / whole.size)
    # Fluid is the brightest thing but fat: the ring is brighter than four fifths of the body.
    fluid = float(np.percentile(smooth[body], 80))
    best: tuple[float, Blob] | None = None
    for blob in blobs(smooth, whole, bright=False, shares=shares, levels=24):
        ellipse = ellipse_of(blob.mask)
        away = abs((ellipse.x - x) * np.sin(angle) - (ellipse.y - y) * np.cos(angle)) * small.pixel_mm
        if blob.oval < 0.82 or blob.even < 0.1 or away > _AWAY_MM or ellipse.long > 2.6 * ellipse.short:
            continue
        reach = max(1, round(2.0 / small.pixel_mm))
        ring = ndi.binary_dilation(blob.mask, iterations=reach) & ~blob.mask
        if float(np.median(smooth[ring])) < fluid:
            continue
        worth = blob.even * blob.oval**2 * (1 - 0.5 * away / _AWAY_MM)
        if best is None or worth > best[0]:
            best = (worth, blob)
    if best is None or best[1].contrast < 0.2 or alike < 0.4:
        return Absent("No small oval in a ring of bright fluid lies in the middle of the body.")
    blob = best[1]
    facts = (
        f"an oval of {np.count_nonzero(blob.mask) * pixel:.0f} square mm (30 to 130 expected)",
        f"a brighter ring on all sides, {100 * blob.contrast:.0f} % of the range",
        "in the middle of the body",
    )
    return Sighting(small.on_view(blob.mask), facts, min(0.7, 0.35 + 0.5 * blob.contrast))
