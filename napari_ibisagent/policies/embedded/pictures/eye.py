"""The optic disc and its cup in a picture of the back of an eye, and fluid in an OCT of the retina."""

from __future__ import annotations

import numpy as np
from scipy import ndimage as ndi

from napari_ibisagent.core.masks import Mask
from napari_ibisagent.policies.embedded.absent import Absent
from napari_ibisagent.policies.embedded.morphology import largest_part
from napari_ibisagent.policies.embedded.pictures.retina_layers import retina_of
from napari_ibisagent.policies.embedded.pictures.shades import two_shades
from napari_ibisagent.policies.embedded.pictures.shapes import (
    Blob,
    blobs,
    border_step,
    ellipse_of,
    ovalness,
)
from napari_ibisagent.policies.embedded.pictures.sighting import Look, Sighting
from napari_ibisagent.policies.embedded.pictures.small import Grey, Small

# A disc is 1.5 to 2 mm wide; a picture of 30 to 50 degrees shows 9 to 15 mm of the retina: a share of the field's
# area from 0.01 to 0.05, with some margin for myopic and small discs.
_DISC_SHARE = (0.006, 0.07)
# Vessels come together in the disc: their density there against the whole field's.
_VESSELS = 1.4


def optic_disc(look: Look) -> Sighting | Absent:
    """The bright round head of the optic nerve, from which the vessels come."""
    found = _disc(look.small)
    if isinstance(found, Absent):
        return found
    disc, vessels = found
    facts = (
        "bright, round, of a disc's size",
        f"vessels are {vessels:.1f} times as dense there as elsewhere",
    )
    return Sighting(look.small.on_view(disc), facts, min(0.9, 0.5 + 0.2 * vessels / 2))


def optic_cup(look: Look) -> Sighting | Absent:
    """The pale hollow within the optic disc."""
    found = _disc(look.small)
    if isinstance(found, Absent):
        return Absent(f"The cup lies in the optic disc. {found.reason}")
    disc, _ = found
    picture = _reflected(look.small)
    inner = ndi.binary_erosion(disc)
    if np.count_nonzero(inner) < 30:
        return Absent("The optic disc is too small in this picture to tell its cup.")
    smooth = np.asarray(ndi.gaussian_filter(picture, 1.0), np.float32)
    cup = largest_part(inner & (smooth > two_shades(smooth[inner])))
    cup = np.asarray(ndi.binary_fill_holes(ndi.binary_closing(cup, iterations=2)) & disc)
    share = np.count_nonzero(cup) / np.count_nonzero(disc)
    # A cup takes 5 to 80 % of its disc (cup to disc ratio 0.2 to 0.9).
    if not 0.05 < share < 0.8 or ovalness(cup) < 0.6:
        return Absent("Within the optic disc nothing looks like a cup: no compact part is paler than its rim.")
    facts = (f"the palest part of the optic disc, {100 * share:.0f} % of it",)
    return Sighting(look.small.on_view(cup), facts, 0.5)


def retinal_fluid(look: Look) -> Sighting | Absent:
    """Dark cysts with borders of their own between the retina's surface and its bright pigment epithelium."""
    small = look.small
    retina = retina_of(small)
    if retina is None:
        return Absent("No band of retina is seen from edge to edge.")
    smooth = np.asarray(ndi.gaussian_filter(small.grey, 1.0), np.float32)
    thick = float(np.median(retina.bottom - retina.top))
    rows = np.arange(small.shape[0])[:, np.newaxis]
    inner = (rows > retina.top - 0.5 * thick) & (rows < retina.bottom - 0.1 * thick)
    ground = float(np.median(smooth[rows < retina.top - 0.5 * thick] if retina.top.min() > 8 else smooth[~retina.band]))
    tissue = float(np.median(smooth[retina.band]))
    dark = (smooth < ground + 0.4 * (tissue - ground)) & inner
    fluid = _cysts(smooth, np.asarray(dark), tissue - ground)
    if not fluid.any():
        return Absent("Within the retina nothing is as dark as fluid and closed on all sides.")
    count = int(ndi.label(fluid)[1])
    facts = (f"{count} closed dark part(s) within the retina", "as dark as the vitreous")
    return Sighting(small.on_view(fluid), facts, 0.55)


def _cysts(smooth: Grey, dark: Mask, range_: float) -> Mask:
    """Closed dark parts that aren't layers: not much longer than high, with a step on all sides."""
    parts, _ = ndi.label(ndi.binary_opening(dark))
    result = np.zeros(dark.shape, bool)
    for number, window in enumerate(ndi.find_objects(parts), start=1):
        part = np.asarray(parts == number)
        tall, wide = (w.stop - w.start for w in window)
        size = np.count_nonzero(part)
        if size < 12 or wide > 4 * tall or size > 0.1 * dark.size:
            continue
        step, weakest = border_step(-smooth, part, np.ones(dark.shape, bool))
        if step > 0.25 * range_ and weakest > 0.1 * range_ and ovalness(part) > 0.55:
            result |= ndi.binary_dilation(part)
    return np.asarray(result)


def _reflected(small: Small) -> Grey:
    """Green and red together: the disc is pale in both, its cup most in green."""
    if small.colour is None:
        return small.grey
    return np.asarray((small.colour[..., 0] + small.colour[..., 1]) / 2, np.float32)


def _disc(small: Small) -> tuple[Mask, float] | Absent:
    """(disc, density of vessels in and round it over that of the field)."""
    field = ndi.binary_erosion(ndi.binary_fill_holes(small.field), iterations=5)
    if np.count_nonzero(field) < 2000:
        return Absent("The picture shows too little of the eye's back.")
    picture = _reflected(small)
    width = 2 * float(np.sqrt(np.count_nonzero(field) / np.pi))
    # Light falls off from the middle; what is wider than a third of the field is light, not anatomy.
    weight = ndi.gaussian_filter(field.astype(np.float32), width / 5) + 1e-3
    even = np.asarray(picture - ndi.gaussian_filter(picture * field, width / 5) / weight, np.float32)
    # Vessels cross the disc; closing them first keeps it whole.
    closed = np.asarray(ndi.gaussian_filter(_closed(even, round(width / 30)), 1.0), np.float32)
    vessels = _vessels(picture, width) * field
    best: tuple[float, Blob, float] | None = None
    for blob in blobs(closed, np.asarray(field), bright=True, shares=_DISC_SHARE, levels=24):
        ellipse = ellipse_of(blob.mask)
        if blob.oval < 0.8 or ellipse.long > 1.5 * ellipse.short or blob.border:
            continue
        near = ndi.binary_dilation(blob.mask, iterations=max(1, round(0.3 * ellipse.short)))
        dense = float(vessels[near].mean() / max(float(vessels[field].mean()), 1e-6))
        worth = blob.contrast * blob.oval**2 * min(dense, 3.0)
        if dense > _VESSELS and blob.even > 0 and (best is None or worth > best[0]):
            best = (worth, blob, dense)
    if best is None or best[1].contrast < 0.15:
        return Absent("No bright round part of a disc's size with vessels coming from it is seen.")
    return best[1].mask, best[2]


def _vessels(picture: Grey, width: float) -> Grey:
    """How much darker than a closing over a twenty-fifth of the field: thin dark lines."""
    smooth = np.asarray(ndi.gaussian_filter(picture, 0.7), np.float32)
    return np.asarray(_closed(smooth, round(width / 25)) - smooth, np.float32)


def _closed(picture: Grey, width: int) -> Grey:
    """Grey closing: dark parts narrower than ``width`` are filled."""
    size = max(3, width) | 1
    return np.asarray(ndi.grey_closing(picture, size=(size, size)), np.float32)
