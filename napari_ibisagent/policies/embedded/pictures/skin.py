"""A lesion on skin: what differs in colour from the skin at the picture's edges, in one part near the middle.

Dermoscopy pictures are taken with the lesion in the middle and skin around it. A lesion that fills the picture, and
several lesions, are left out.
"""

from __future__ import annotations

import numpy as np
from scipy import ndimage as ndi

from napari_ibisagent.core.masks import Mask
from napari_ibisagent.policies.embedded.absent import Absent
from napari_ibisagent.policies.embedded.pictures.shades import two_shades
from napari_ibisagent.policies.embedded.pictures.shapes import border_step, ovalness
from napari_ibisagent.policies.embedded.pictures.sighting import Look, Sighting
from napari_ibisagent.policies.embedded.pictures.small import Grey, Small

# The lesion's colour must differ from the skin's by this many times the skin's own variation.
_DISTINCT = 2.5


def skin_lesion(look: Look) -> Sighting | Absent:
    """The one lesion in a close picture of skin."""
    small = look.small
    if small.colour is None:
        return Absent("This picture has no colour; a skin lesion is found by its colour.")
    rim = _rim(small)
    difference, noise = _difference(small.colour, rim)
    lesion = _lesion(difference, small.field)
    if lesion is None:
        return Absent("Nothing in the middle of the picture differs from the skin around it.")
    share = np.count_nonzero(lesion) / lesion.size
    step, weakest = border_step(difference, lesion, small.field)
    inside = float(difference[lesion].mean())
    if inside < _DISTINCT * noise or step < noise or weakest <= 0:
        return Absent(
            f"What differs most from the skin does so by {inside / noise:.1f} times the skin's own variation; "
            f"{_DISTINCT} is needed."
        )
    if not 0.004 < share < 0.85:
        return Absent(f"What differs from the skin takes {100 * share:.1f} % of the picture: no single lesion on skin.")
    facts = (
        f"its colour differs from the skin by {inside / noise:.1f} times the skin's variation",
        f"{100 * share:.0f} % of the picture, near its middle",
    )
    sure = 0.5 + 0.1 * min(inside / noise - _DISTINCT, 3.0) + 0.1 * (ovalness(lesion) > 0.8)
    return Sighting(small.on_view(lesion), facts, min(0.8, sure))


def _rim(small: Small) -> Mask:
    """The outer tenth of what is shown."""
    depth = ndi.distance_transform_edt(np.pad(small.field, 1))[1:-1, 1:-1]
    return np.asarray(small.field & (depth < 0.08 * min(small.shape)))


def _difference(colour: Grey, rim: Mask) -> tuple[Grey, float]:
    """(h, w) distance from the skin's colour in optical density, smoothed, and the skin's own variation.

    Density (minus logarithm) makes a shade of the light the same step everywhere; only what is darker counts, since
    pigment and blood absorb.
    """
    density = -np.log(np.clip(colour, 0.02, 1))
    skin = np.median(density[rim], axis=0)
    # Hairs and scale marks are thinner than a fiftieth of the picture.
    size = max(3, max(colour.shape[:2]) // 50) | 1
    above = np.stack([ndi.median_filter(density[..., c] - skin[c], size) for c in range(3)], axis=2)
    difference = np.sqrt((np.maximum(above, 0) ** 2).sum(axis=2)) - np.sqrt((np.maximum(-above, 0) ** 2).sum(axis=2))
    difference = ndi.gaussian_filter(difference, size / 2)
    noise = 1.4826 * float(np.median(np.abs(difference[rim] - np.median(difference[rim]))))
    return np.asarray(difference, np.float32), max(noise, 0.02)


def _lesion(difference: Grey, field: Mask) -> Mask | None:
    """The part above Otsu's threshold with the most difference, weighted by its nearness to the middle."""
    inside = difference[field]
    if inside.size < 100 or float(np.ptp(inside)) < 1e-3:
        return None
    found = (difference > two_shades(inside)) & field
    reach = max(1, max(found.shape) // 100)
    found = ndi.binary_opening(found, iterations=reach)
    parts, count = ndi.label(found)
    if count == 0:
        return None
    rows, columns = (np.arange(n) / n - 0.5 for n in found.shape)
    near = np.exp(-4 * (rows[:, np.newaxis] ** 2 + columns[np.newaxis] ** 2) / 0.25)
    worth = ndi.sum(np.maximum(difference, 0) * near, parts, np.arange(1, count + 1))
    main = parts == int(np.argmax(worth)) + 1
    main = ndi.binary_dilation(
        ndi.binary_closing(np.pad(main, 16), iterations=5 * reach)[16:-16, 16:-16], iterations=reach
    )
    return np.asarray(ndi.binary_fill_holes(main))
