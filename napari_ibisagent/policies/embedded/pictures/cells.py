"""Nuclei: bright parts in fluorescence, dark purple ones in stained tissue. All of them together."""

from __future__ import annotations

import numpy as np
from scipy import ndimage as ndi

from napari_ibisagent.core.masks import Mask
from napari_ibisagent.policies.embedded.absent import Absent
from napari_ibisagent.policies.embedded.pictures.kinds import Sort
from napari_ibisagent.policies.embedded.pictures.shades import two_shades
from napari_ibisagent.policies.embedded.pictures.shapes import ovalness
from napari_ibisagent.policies.embedded.pictures.sighting import Look, Sighting
from napari_ibisagent.policies.embedded.pictures.small import Grey, Small, small_of

# Nuclei are small: 5 to 15 micrometres. They are looked for on a larger copy than other things.
_SIDE = 768
# Optical densities of haematoxylin and eosin in red, green, blue (Ruifrok and Johnston, 2001), of length one.
_STAINS = np.array([[0.65, 0.70, 0.29], [0.07, 0.99, 0.11]])


def nuclei(look: Look) -> Sighting | Absent:
    """All nuclei of the view."""
    small = small_of(look.view, _SIDE)
    stained = look.kind.sort is Sort.HISTOLOGY
    if stained and small.colour is None:
        return Absent("This picture has no colour; nuclei in stained tissue are told by their purple.")
    signal = _haematoxylin(small.colour) if stained and small.colour is not None else _shine(small)
    smooth = np.asarray(ndi.gaussian_filter(signal, 2.0 if stained else 1.0), np.float32)
    mask = _parts(smooth, stained)
    kept, ovals, count = _plausible(mask)
    if count < 1 or ovals < 0.6:
        return Absent("No compact parts stand out as nuclei do.")
    step = float(smooth[kept].mean() - smooth[~kept].mean()) / max(float(smooth[~kept].std()), 1e-6)
    if step < 1.5:
        return Absent("What stands out differs too little from the rest to be nuclei.")
    words = "dark purple" if stained else "bright"
    facts = (f"{count} compact {words} part(s)", f"{step:.1f} standard deviations from the rest")
    return Sighting(small.on_view(kept), facts, 0.55 if stained else 0.8)


def _shine(small: Small) -> Grey:
    """Grey above the ground; the root keeps dim nuclei beside bright ones."""
    ground = ndi.gaussian_filter(ndi.minimum_filter(ndi.gaussian_filter(small.grey, 2), max(small.shape) // 8 | 1), 10)
    return np.asarray(np.sqrt(np.clip(small.grey - ground, 0, 1)), np.float32)


def _haematoxylin(colour: Grey) -> Grey:
    """How much haematoxylin there is, by the two stains' densities."""
    density = -np.log(np.clip(colour, 0.02, 1)).reshape(-1, 3)
    stains = _STAINS / np.linalg.norm(_STAINS, axis=1, keepdims=True)
    amounts = density @ np.linalg.pinv(stains)
    return np.asarray(np.clip(amounts[:, 0], 0, None).reshape(colour.shape[:2]), np.float32)


def _parts(smooth: Grey, stained: bool) -> Mask:
    """Above Otsu's threshold; in stained tissue, whose ground is uneven, above the neighbourhood's mean as well."""
    mask = smooth > two_shades(smooth)
    if stained:
        mask &= smooth > ndi.uniform_filter(smooth, max(smooth.shape) // 4)
    mask = ndi.binary_opening(mask, iterations=2 if stained else 1)
    return np.asarray(ndi.binary_fill_holes(mask))


def _plausible(mask: Mask) -> tuple[Mask, float, int]:
    """(parts that may be nuclei, their mean ovalness weighted by size, how many)."""
    parts, _ = ndi.label(mask)
    sizes = np.bincount(parts.ravel())
    sizes[0] = 0
    usual = float(np.median(sizes[sizes >= 12])) if (sizes >= 12).any() else 0.0
    result = np.zeros(mask.shape, bool)
    total, weight, count = 0.0, 0.0, 0
    for number, window in enumerate(ndi.find_objects(parts), start=1):
        if sizes[number] < max(12, 0.15 * usual) or sizes[number] > 0.1 * mask.size:
            continue
        part = np.asarray(parts[window] == number)
        result[window] |= part
        total += ovalness(part) * sizes[number]
        weight += sizes[number]
        count += 1
    return result, total / weight if weight else 0.0, count
