"""White matter, cortex and lateral ventricles of the brain in axial T1 slices, by shade and depth."""

from __future__ import annotations

import numpy as np
from scipy import ndimage as ndi

from napari_ibisagent.core.masks import Mask
from napari_ibisagent.core.target import Side
from napari_ibisagent.core.view import Plane
from napari_ibisagent.policies.embedded.absent import Absent
from napari_ibisagent.policies.embedded.pictures.brain import head_in
from napari_ibisagent.policies.embedded.pictures.brain_shades import shades_of
from napari_ibisagent.policies.embedded.pictures.deep_brain import deep_mask
from napari_ibisagent.policies.embedded.pictures.heads import Head
from napari_ibisagent.policies.embedded.pictures.sighting import Look, Sighting


def tissue(look: Look) -> Sighting | Absent:
    """Cerebral white matter, grey matter (cortex) or ventricles in an axial T1 slice, one or both sides."""
    head = head_in(look)
    if isinstance(head, Absent):
        return head
    if look.view.plane is not Plane.AXIAL:
        return Absent(f"My rule for the {look.name} needs an axial slice.")
    shades = shades_of(look.small, head, look.volume)
    if shades is None:
        return Absent(
            "The shades of this brain aren't those of a T1 picture (white matter brightest, deep to grey matter), so "
            f"I can't tell the {look.name} by its grey."
        )
    fluid, grey, white = shades
    if look.key == "lateral_ventricle":
        mask = _ventricles(fluid, head)
        words = "dark as fluid, deep in the brain, next to its middle"
    else:
        mask = white if "white" in look.key else grey
        words = "the brightest shade, deep" if "white" in look.key else "the middle shade"
        deep = deep_mask(look)
        mask = mask if deep is None else np.asarray(mask & ~deep)
    if not mask.any():
        return Absent(f"No part of this slice looks like the {look.name}.")
    sided = one_side(mask, look, head)
    if isinstance(sided, Absent):
        return sided
    if not sided.any():
        return Absent(f"No {look.name} is seen on the patient's {look.side.value} in this slice.")
    facts = (words, "three shades of a T1 picture: fluid, grey matter, white matter")
    # The cortex is a thin band, whose borders blur with fluid.
    return Sighting(look.small.on_view(sided), facts, 0.4 if look.key in ("cerebral_cortex", "gray_matter") else 0.6)


def one_side(mask: Mask, look: Look, head: Head) -> Mask | Absent:
    """The part of a mask on the patient's side that was asked for; all of it for both or none."""
    if look.side not in (Side.LEFT, Side.RIGHT):
        return mask
    if not look.volume.has_orientation:
        return Absent(f"This picture doesn't say which side is the patient's {look.side.value}.")
    y, x, angle = head.middle
    rows, columns = np.ogrid[: mask.shape[0], : mask.shape[1]]
    # The line between the hemispheres runs up and down a standing slice; its normal is turned to point to the right.
    across = (columns - x) * np.sin(angle) - (rows - y) * np.cos(angle)
    across = across if np.sin(angle) > 0 else -across
    # Columns run from the patient's right to the left.
    return np.asarray(mask & ((across > 0) if look.side is Side.LEFT else (across < 0)))


def _ventricles(fluid: Mask, head: Head) -> Mask:
    """Deep parts of fluid near the middle of the brain."""
    depth = ndi.distance_transform_edt(head.brain)
    y, x, angle = head.middle
    rows, columns = np.ogrid[: fluid.shape[0], : fluid.shape[1]]
    away = np.abs((columns - x) * np.sin(angle) - (rows - y) * np.cos(angle))
    deepest = float(depth.max())
    parts, _ = ndi.label(fluid)
    result = np.zeros(fluid.shape, bool)
    for number in range(1, int(parts.max()) + 1):
        part = np.asarray(parts == number)
        size = np.count_nonzero(part)
        # Furrows are fluid as well, but reach the surface; a ventricle lies deep and near the middle.
        if size < 0.002 * np.count_nonzero(head.brain):
            continue
        if float(depth[part].min()) > 0.25 * deepest and float(away[part].mean()) < 0.45 * deepest:
            result |= part
    return result
