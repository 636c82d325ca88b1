"""What a slice of a head shows in MR: the brain itself, and bright lesions on one side of it.

Lesions are told by brightness and by the difference from the other side of the brain, two cues that must agree.
Leaves out lesions that are darker than brain, or alike on both sides.
"""

from __future__ import annotations

import numpy as np
from scipy import ndimage as ndi

from napari_ibisagent.core.masks import Mask
from napari_ibisagent.policies.embedded.absent import Absent
from napari_ibisagent.policies.embedded.pictures.heads import Head, head_of
from napari_ibisagent.policies.embedded.pictures.shapes import Blob, Ellipse, blobs, ellipse_of, mirrored
from napari_ibisagent.policies.embedded.pictures.sighting import Look, Sighting
from napari_ibisagent.policies.embedded.pictures.small import Grey

# A lesion that this rule may claim takes 0.4 to 45 % of the brain in a slice: smaller ones are like vessels and noise.
_LESION_SHARE = (0.004, 0.45)
# By so many of the brain's own deviations (from the median deviation) it is brighter than brain, and than the same
# place on the other side.
_BRIGHTER = 2.2
_ASYMMETRY = 1.2
# Share of the brain below which a bright part at its edge, or on its middle line, is taken for a vessel: the sagittal
# sinus is some 10 mm wide, a seventh of half a brain.
_SMALL, _SINUS = 0.03, 0.15


def brain(look: Look) -> Sighting | Absent:
    """The brain within its skull."""
    head = head_in(look)
    if isinstance(head, Absent):
        return head
    facts = (
        "inside of a dark skull" if head.skull else "one oval without a skull",
        f"both halves alike: correlation {head.alike:.2f}",
    )
    return Sighting(look.small.on_view(head.brain), facts, 0.75 if head.skull else 0.6)


def bright_lesion(look: Look) -> Sighting | Absent:
    """The brightest part of the brain that the other side doesn't have: tumour and oedema in FLAIR, tumour in T1 with
    contrast.
    """
    head = head_in(look)
    if isinstance(head, Absent):
        return head
    smooth = np.asarray(ndi.gaussian_filter(look.small.grey, 1.5), np.float32)
    core = _core(head, look)
    middle = float(np.median(smooth[core]))
    spread = max(1.4826 * float(np.median(np.abs(smooth[core] - middle))), 0.02)
    excess = np.asarray((smooth - mirrored(smooth, *head.middle)) / spread, np.float32)
    best: tuple[float, Blob] | None = None
    for blob in blobs(smooth, core, bright=True, shares=_LESION_SHARE):
        above = (float(smooth[blob.mask].mean()) - middle) / spread
        other = float(excess[blob.mask].mean())
        if above < _BRIGHTER or other < _ASYMMETRY or blob.oval < 0.5:
            continue
        # Sinuses, meninges and what is left of the scalp are small at the edge of the brain, or long.
        ellipse = ellipse_of(blob.mask)
        at_edge = blob.border or _from_middle(ellipse, head) < _SINUS
        if (at_edge and blob.share < _SMALL) or ellipse.long > 3.5 * ellipse.short:
            continue
        worth = blob.contrast * float(np.sqrt(blob.share)) * min(other / above, 1.0)
        if best is None or worth > best[0]:
            best = (worth, blob)
    if best is None:
        return Absent("No part of the brain is clearly brighter than both the rest and its mirror image.")
    blob = best[1]
    above = (float(smooth[blob.mask].mean()) - middle) / spread
    mask = _grown(smooth, blob.mask, middle, core)
    facts: tuple[str, ...] = (
        f"{above:.1f} deviations brighter than the brain",
        f"{float(excess[blob.mask].mean()):.1f} deviations brighter than the same place on the other side",
        f"{100 * np.count_nonzero(mask) / np.count_nonzero(core):.1f} % of the brain in this slice",
    )
    sure = min(0.8, 0.35 + 0.1 * above)
    if look.key == "edema":
        facts += ("tumour and oedema are both bright and can't be told apart in one picture",)
        sure -= 0.2
    return Sighting(look.small.on_view(mask), facts, sure)


def _from_middle(ellipse: Ellipse, head: Head) -> float:
    """How far from the line between the hemispheres a part's centre lies, over half the brain's width."""
    y, x, angle = head.middle
    away = abs((ellipse.x - x) * np.sin(angle) - (ellipse.y - y) * np.cos(angle))
    return float(away) / ellipse_of(head.brain).short


def _grown(smooth: Grey, seed: Mask, middle: float, core: Mask) -> Mask:
    """The seed out to where the picture has fallen half way to the brain's usual grey."""
    half = (float(np.median(smooth[seed])) + middle) / 2
    parts, _ = ndi.label(ndi.binary_opening((smooth > half) & core) | seed)
    return np.asarray(ndi.binary_fill_holes(np.isin(parts, np.unique(parts[seed]))))


def _core(head: Head, look: Look) -> Mask:
    """The brain without its border, where skull, scalp and meninges would shine in.

    Scalp and skull are 12 to 15 mm thick, a sixth of a head's half width; where they are there but couldn't be told
    from the brain, that much is left out, and a little more.
    """
    grey, outline = look.small.grey, head.outline
    depth = ndi.distance_transform_edt(outline)
    deepest = float(depth.max())
    rim, middle = outline & (depth < 0.12 * deepest), outline & (depth > 0.4 * deepest)
    scalp = float(np.mean(grey[rim])) > 1.15 * float(np.median(grey[middle]))
    if scalp:
        # Near the vertex the scalp is cut obliquely and is thicker: what is as bright and joined to it goes as well.
        half = (float(np.mean(grey[rim])) + float(np.median(grey[middle]))) / 2
        parts, _ = ndi.label((ndi.gaussian_filter(grey, 1.0) > half) & outline)
        joined = np.isin(parts, np.setdiff1d(np.unique(parts[rim]), [0]))
        joined = ndi.binary_dilation(joined, iterations=max(1, round(0.03 * deepest)))
        return np.asarray(head.brain & (depth > 0.22 * deepest) & ~joined)
    reach = max(2, round(0.03 * max(look.small.shape))) if head.skull else 2
    return np.asarray(ndi.binary_erosion(head.brain, iterations=reach))


def head_in(look: Look) -> Head | Absent:
    """The head that a view shows, or that it shows none."""
    head = head_of(look.small)
    if head is None:
        return Absent("This view doesn't show a head whole and alike on both sides.")
    return head
