"""Lungs in a chest X-ray. Leaves out the parts behind the heart and the diaphragm, and everything else in the chest."""

from __future__ import annotations

import numpy as np
from scipy import ndimage as ndi

from napari_ibisagent.core.masks import Mask
from napari_ibisagent.core.target import Side
from napari_ibisagent.policies.embedded.absent import Absent
from napari_ibisagent.policies.embedded.morphology import largest_part
from napari_ibisagent.policies.embedded.pictures.lung_fields import lung_fields
from napari_ibisagent.policies.embedded.pictures.sighting import Look, Sighting
from napari_ibisagent.policies.embedded.pictures.small import Grey


def lungs(look: Look) -> Sighting | Absent:
    """One or both lungs; the patient's left is taken to be at the picture's right, as radiographs are shown."""
    fields = lung_fields(look.small)
    if fields is None:
        return Absent("No two dark fields lie side by side as lungs do.")
    smooth = _equalised(np.asarray(ndi.gaussian_filter(look.small.grey, max(look.small.shape) / 150), np.float32))
    left, right = (
        _outlined(smooth, field, other) for field, other in ((fields.left, fields.right), (fields.right, fields.left))
    )
    facts = [
        f"two dark fields, {100 * fields.alike:.0f} % alike when mirrored",
        f"{100 * (left.mean() + right.mean()):.0f} % of the picture",
    ]
    sure = min(0.9, 0.4 + 0.4 * fields.alike + fields.contrast)
    if look.side is Side.LEFT or look.side is Side.RIGHT:
        if not look.volume.has_orientation:
            facts.append(
                "the picture doesn't say which side is which; shown as usual, the patient's left is at its right"
            )
            sure *= 0.7
        mask = right if look.side is Side.LEFT else left
    else:
        mask = np.asarray(left | right)
    return Sighting(look.small.on_view(mask), tuple(facts), sure)


def _equalised(grey: Grey) -> Grey:
    """Grey as ranks in [0, 1]: exposure and film curve, which differ between machines, no longer count."""
    bins = np.linspace(0, 1, 257)
    share = np.cumsum(np.histogram(grey, bins)[0]) / grey.size
    return np.asarray(np.interp(grey, bins[1:], share), np.float32)


def _outlined(smooth: Grey, field: Mask, other: Mask) -> Mask:
    """The field out to where the grey is half way to its surroundings, without the other one, ribs closed."""
    reach = max(2, round(0.02 * max(field.shape)))
    near = ndi.binary_dilation(field, iterations=3 * reach) & ~ndi.binary_dilation(other, iterations=reach)
    around = near & ~ndi.binary_dilation(field, iterations=2 * reach)
    if not around.any():
        return field
    half = (float(np.median(smooth[field])) + float(np.median(smooth[around]))) / 2
    grown = largest_part(np.asarray((near & (smooth < half)) | ndi.binary_erosion(field, iterations=reach)))
    pad = 5 * reach
    closed = ndi.binary_closing(np.pad(grown, pad), iterations=4 * reach)[pad:-pad, pad:-pad]
    filled = ndi.binary_fill_holes(closed & near)
    return np.asarray(ndi.binary_opening(filled, iterations=reach))
