"""Findings that stand out as one compact part: a breast mass in ultrasound, a polyp in endoscopy, a hot spot in PET.

Each asks two independent cues of the part and is given up where they disagree.
"""

from __future__ import annotations

import numpy as np
from scipy import ndimage as ndi

from napari_ibisagent.core.masks import Mask
from napari_ibisagent.policies.embedded.absent import Absent
from napari_ibisagent.policies.embedded.morphology import largest_part
from napari_ibisagent.policies.embedded.pictures.shapes import (
    Blob,
    blobs,
    border_step,
    ellipse_of,
)
from napari_ibisagent.policies.embedded.pictures.sighting import Look, Sighting
from napari_ibisagent.policies.embedded.pictures.skull import fetal_head
from napari_ibisagent.policies.embedded.pictures.small import Grey, small_of

# A polyp's border is soft; folds and reflections are finer and only disturb.
_POLYP_SIDE = 128


def breast_mass(look: Look) -> Sighting | Absent:
    """A dark oval with a border all round, in tissue that is brighter above, below and beside it."""
    small = look.small
    smooth = np.asarray(ndi.gaussian_filter(small.grey, max(small.shape) / 100), np.float32)
    field = np.asarray(ndi.binary_fill_holes(ndi.binary_closing(np.pad(small.field, 8), iterations=6)))[8:-8, 8:-8]
    rows = np.nonzero(field)[0]
    if rows.size < 1000:
        return Absent("The picture shows too little to look for a mass.")
    best: tuple[float, Blob] | None = None
    for blob in blobs(smooth, field, bright=False, shares=(0.01, 0.3)):
        if blob.border or blob.oval < 0.75 or blob.even < 0.08:
            continue
        ellipse = ellipse_of(blob.mask)
        # Shadows and fluid at the far end are dark too; a mass lies in the nearer three quarters, not at the very top.
        depth = (ellipse.y - rows.min()) / max(float(np.ptp(rows)), 1.0)
        if not 0.1 < depth < 0.75 or ellipse.long > 3 * ellipse.short:
            continue
        worth = blob.even * blob.oval**2 * blob.share**0.25
        if best is None or worth > best[0]:
            best = (worth, blob)
    if best is None or best[1].contrast < 0.2:
        return Absent("No dark oval with a border all round stands out from the tissue.")
    if not _from_linear_probe(field):
        return Absent("The picture is a fan from a curved or sector probe; the breast is looked at with a linear one.")
    if isinstance(fetal_head(look), Sighting):
        return Absent("A fetal skull is seen, so this is no picture of a breast.")
    blob = best[1]
    facts = (
        f"a dark oval ({100 * blob.oval:.0f} % of an ellipse), {100 * blob.share:.0f} % of the picture's field",
        f"darker than its surroundings by {100 * blob.contrast:.0f} % of the range, on all sides",
    )
    return Sighting(small.on_view(blob.mask), facts, min(0.75, 0.3 + blob.contrast))


def _from_linear_probe(field: Mask) -> bool:
    """Whether the field is about as wide at its top as anywhere: a fan is narrower there."""
    widths = field.sum(axis=1)
    rows = np.nonzero(widths)[0]
    top = widths[rows[0] : rows[0] + max(1, round(0.15 * rows.size))]
    return bool(float(top.max()) > 0.8 * float(widths.max()))


def hot_spot(look: Look) -> Sighting | Absent:
    """What takes up most tracer: above 41 % of its maximum, the usual threshold for tumours (Boellaard, 2010)."""
    picture = look.view.image.astype(np.float32)
    picture = picture if picture.ndim == 2 else picture.mean(axis=2)
    thinned = tuple(slice(None, None, max(1, n // 96)) for n in look.volume.shape)
    sample = np.asarray(look.volume.data[thinned], np.float32)
    usual = float(np.median(sample[sample > 0])) if (sample > 0).any() else 0.0
    top = float(picture.max())
    # The highest slices may hold the bladder or an artefact of the last detectors.
    highest = float(np.percentile(sample.max(axis=(1, 2)), 90))
    # A spot goes through several slices, so its maximum is taken from the whole scan.
    if usual <= 0 or top < 4 * usual or top < 0.5 * highest:
        return Absent("Nothing in this slice takes up much more than the rest of the scan.")
    # A tumour that is dead in its middle is a broken ring; it is closed over 15 mm.
    reach = max(1, round(7.5 / look.view.pixel_mm)) if look.view.pixel_mm else max(1, max(picture.shape) // 64)
    closed = ndi.binary_closing(np.pad(picture > 0.41 * max(top, highest), 2 * reach), iterations=reach)
    hot = largest_part(np.asarray(ndi.binary_fill_holes(closed))[2 * reach : -2 * reach, 2 * reach : -2 * reach])
    share = float(hot.mean())
    if hot.sum() < 4 or share > 0.25:
        return Absent("What takes up tracer in this slice isn't one spot.")
    facts = (
        f"{top / usual:.0f} times the scan's usual uptake",
        "brain, heart, kidneys and bladder take up tracer as well; check the place",
    )
    return Sighting(hot, facts, 0.5)


def polyp(look: Look) -> Sighting | Absent:
    """A rounded part that is redder or paler than the mucosa round it, with a border all round."""
    small = small_of(look.view, _POLYP_SIDE)
    if small.colour is None:
        return Absent("This picture has no colour; a polyp is told from mucosa by colour and shade.")
    field = _clear_field(small.colour, small.field)
    if np.count_nonzero(field) < 0.1 * field.size:
        return Absent("The picture shows too little mucosa.")
    best: tuple[float, Blob] | None = None
    shade, tint = _cues(small.colour, field)
    for cue, other in ((shade, tint), (tint, shade)):
        spread = float(np.ptp(np.percentile(other[field], (2, 98)))) or 1.0
        for bright in (True, False):
            for blob in blobs(cue, field, bright=bright, shares=(0.015, 0.25), levels=12):
                if blob.border or blob.oval < 0.82 or blob.even < 0.15:
                    continue
                # A reflection or a shadow changes the shade alone; a polyp's surface has a tint of its own.
                if abs(border_step(other, blob.mask, field)[0]) < 0.15 * spread:
                    continue
                worth = blob.even * blob.oval**3 * blob.share**0.25
                if best is None or worth > best[0]:
                    best = (worth, blob)
    if best is None or best[1].contrast < 0.3:
        return Absent("No rounded part stands out from the mucosa on all sides.")
    blob = best[1]
    facts = (
        f"rounded ({100 * blob.oval:.0f} % of an ellipse), {100 * blob.share:.0f} % of the picture's field",
        f"differs from the mucosa on all sides by {100 * blob.contrast:.0f} % of the range",
    )
    return Sighting(small.on_view(blob.mask), facts, min(0.45, 0.15 + 0.8 * blob.contrast))


def _clear_field(colour: Grey, field: Mask) -> Mask:
    """What is shown, without its edge; reflections are kept: they lie on things."""
    lit = field & (colour.max(axis=2) > 0.12)
    return np.asarray(ndi.binary_erosion(ndi.binary_fill_holes(lit), iterations=2))


def _cues(colour: Grey, field: Mask) -> tuple[Grey, Grey]:
    """Shade and tint, each without its slow change over the picture."""
    size = max(3, max(field.shape) // 40) | 1
    red, green, blue = (ndi.median_filter(colour[..., c], size) for c in range(3))
    shade = np.log(np.maximum(red + green + blue, 0.05))
    tint = np.log(np.maximum(red, 0.05) / np.maximum(green, 0.05))
    wide = max(field.shape) / 5
    weight = ndi.gaussian_filter(field.astype(np.float32), wide) + 1e-3
    first, second = (
        np.asarray(ndi.gaussian_filter(cue - ndi.gaussian_filter(cue * field, wide) / weight, size / 3), np.float32)
        for cue in (shade, tint)
    )
    return first, second
