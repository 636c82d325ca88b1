"""Regions of a working picture, as pure functions: connected parts, necks, borders. For the geodesic click tool."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage as ndi

from napari_ibisagent.core.masks import Mask, bounding_box

Pixel = tuple[int, int]
Field = NDArray[np.float32]

# What covers more than this share of the picture is background: no wider gate is tried after it, and no neck cut.
BACKGROUND = 0.4
# A passage narrower than this share of the clicked place's width is a leak.
_NECK = 0.35


def window_round(seed: Pixel, reach: float, shape: tuple[int, int]) -> tuple[slice, slice]:
    """The rows and columns within ``reach`` of the seed, and two to spare, as far as the picture goes."""
    margin = int(min(reach, max(shape))) + 2
    rows, columns = (
        slice(max(at - margin, 0), min(at + margin + 1, size)) for at, size in zip(seed, shape, strict=True)
    )
    return rows, columns


def part_of(mask: Mask, seed: Pixel) -> Mask:
    """The connected part of ``mask`` that holds the seed; the seed alone where it isn't in the mask."""
    parts, _ = ndi.label(mask)
    if parts[seed]:
        return np.asarray(parts == parts[seed])
    only = np.zeros(mask.shape, bool)
    only[seed] = True
    return only


def distance_to_border(domain: Mask, seed: Pixel) -> float:
    """Distance in pixels from the seed to the nearest pixel outside of ``domain``; the view's size if none."""
    rows, columns = np.nonzero(~domain)
    if rows.size == 0:
        return float(max(domain.shape))
    return float(np.sqrt(np.min((rows - seed[0]) ** 2 + (columns - seed[1]) ** 2)))


def through_wide_passages(gate: Mask, seed: Pixel) -> tuple[Mask, tuple[slice, ...]]:
    """The part of ``gate`` that the seed reaches without squeezing through a neck, and the box that it is cut to.

    The box has three pixels to spare on each side, as far as the picture goes.
    """
    around = tuple(slice(max(at - 1, 0), at + 2) for at in seed)
    gate[around] = True
    part = part_of(gate, seed)
    bounds = bounding_box(part) or (slice(None), slice(None))
    box = tuple(slice(max(b.start - 3, 0), b.stop + 3) for b in bounds)
    part = part[box]
    if np.count_nonzero(part) > BACKGROUND * gate.size:
        return part, box  # the background has no necks worth the time
    inner = ndi.distance_transform_edt(np.pad(part, 1))[1:-1, 1:-1]
    here = (seed[0] - box[0].start, seed[1] - box[1].start)
    near = tuple(slice(max(at - 2, 0), at + 3) for at in here)
    neck = _NECK * float(inner[near].max())
    cores, _ = ndi.label(inner > neck)
    chosen = cores[here] or cores[near].max()
    if not chosen:
        return part, box
    return (ndi.distance_transform_edt(cores != chosen) <= neck + 1) & part, box


def border_step(region: Mask, unlike: Field, gate: float, picture: int) -> float:
    """How much the picture changes across the region's border, favouring round regions over frayed ones.

    region, unlike: cut to a box; a side of the box that the region touches is a side of the ``picture`` (pixels).
    """
    area = int(np.count_nonzero(region))
    ring = ndi.binary_dilation(region, iterations=2) & ~region
    if area == 0 or not ring.any():
        return -np.inf
    rim = region & ~ndi.binary_erosion(region, iterations=2)
    capped = np.minimum(unlike, 2 * gate + 3)
    step = float(capped[ring].mean() - capped[rim].mean()) / np.sqrt(gate + 1)
    length = np.count_nonzero(ring) / 2
    roundness = 4 * np.pi * area / length**2
    cut = sum(int(np.count_nonzero(edge)) for edge in (region[0], region[-1], region[:, 0], region[:, -1]))
    return float(step * min(1.0, 0.5 + roundness) - 0.5 * (area > 0.5 * picture) - cut / max(length, 1))


def clicked_parts(mask: Mask, positives: tuple[Pixel, ...], negatives: tuple[Pixel, ...], start: Mask) -> Mask:
    """The mask with its clicks honoured, and without parts that nobody clicked or gave."""
    for seed in positives:
        mask[seed] = True
    for seed in negatives:
        mask[seed] = False
    parts, count = ndi.label(mask)
    if count < 2:
        return mask
    wanted = np.zeros(count + 1, bool)
    wanted[[int(parts[seed]) for seed in positives if parts[seed]]] = True
    wanted[np.unique(parts[start])] = True
    wanted[0] = False
    return np.asarray(wanted[parts])
