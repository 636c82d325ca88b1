"""The embedded click tool: no weights, no GPU, any modality.

The first positive click grows a region: pixels whose intensity is like the click's (a gate learned round it),
connected to it through passages not much narrower than the place that was clicked, with the gate whose border
shows the strongest step. Every later click corrects the mask near itself: how far is read off from where it
lies, since a click in the middle of an error is as far from the mask's border as the error is wide.

What it leaves out: learned shapes. It knows intensities and distances and nothing of anatomy.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage as ndi

from napari_ibisagent.core.actions import Box, Click, PromptAction
from napari_ibisagent.core.masks import Mask, bounding_box
from napari_ibisagent.core.protocols import Segmentation
from napari_ibisagent.core.view import View

Pixel = tuple[int, int]
Field = NDArray[np.float32]

# Work is done on at most this many pixels a side: four times faster at 512x512 for 0.01 of IoU.
_WORK_SIDE = 256
# Gate widths that the first click tries, in standard deviations of the clicked neighbourhood.
_GATES = (1.5, 2.2, 3.2, 4.5, 6.5)
# A passage narrower than this share of the clicked place's width is a leak.
_NECK = 0.35
# How far a correction reaches, as a share of the click's distance to the mask's border.
_REACH = 1.3
# Within this share of that distance a correction takes nearly every pixel; beyond, similar ones only.
_CORE = 0.8


class EmbeddedSegmenter:
    """See the module. Deterministic; a view is opened in some ms and a click takes some 10 to 20 ms."""

    name = "embedded"

    def open(self, view: View) -> OpenedEmbedded:
        """Smooths the view and measures its local noise, once."""
        return OpenedEmbedded(view)


class OpenedEmbedded:
    """A view with its working picture: smoothed channels, local means and spreads at ``_WORK_SIDE``."""

    def __init__(self, view: View) -> None:
        self._view = view
        self._factor = max(1, -(-max(view.shape) // _WORK_SIDE))
        channels = _shrink(_channels(view.image, view.modality), self._factor)
        self._smooth = np.stack([ndi.gaussian_filter(c, 0.8) for c in channels])
        self._mean = np.stack([ndi.uniform_filter(c, 5) for c in self._smooth])
        squares = np.stack([ndi.uniform_filter(c * c, 5) for c in self._smooth])
        self._spread = np.sqrt(np.maximum(squares - self._mean**2, 0)).sum(axis=0)
        self._floor = max(float(np.percentile(self._spread, 25)), 0.02)
        self._shape = (int(self._smooth.shape[1]), int(self._smooth.shape[2]))

    def segment(self, prompts: Sequence[PromptAction], prior: Mask | None) -> Segmentation:
        """A mask (H, W) from all prompts in order and the prior one; see ``OpenedView``.

        A box is the place to work in: its middle is the first click where no positive click came before.
        The score is the share of the mask's border that lies on a step of intensity.
        """
        start = self._work_mask(prior)
        mask = start.copy()
        positives: list[Pixel] = []
        negatives: list[Pixel] = []
        room: Mask | None = None
        for prompt in prompts:
            if isinstance(prompt, Box):
                room = self._inside(prompt)
                mask &= room
                if positives:
                    continue
                prompt = Click((prompt.x0 + prompt.x1) / 2, (prompt.y0 + prompt.y1) / 2, positive=True)  # noqa: PLW2901
            seed = self._pixel(prompt)
            same, other = (positives, negatives) if prompt.positive else (negatives, positives)
            if mask[seed] != prompt.positive:
                region = self._region(mask, seed, prompt.positive, other, room)
                mask = (mask | region) if prompt.positive else (mask & ~region)
            same.append(seed)
            mask = _clicked_parts(mask, positives, negatives, start)
        return Segmentation(self._finish(mask, start, prior, prompts), self._score(mask))

    # -- regions ------------------------------------------------------------------------------------------

    def _region(self, mask: Mask, seed: Pixel, positive: bool, others: list[Pixel], room: Mask | None) -> Mask:
        """The pixels that a click adds to (positive) or takes from (negative) the mask."""
        if positive and not mask.any():
            return self._grown(seed, np.ones(self._shape, bool) if room is None else room)
        domain = ~mask if positive else mask
        if room is not None:
            domain = domain & room
        return self._correction(seed, domain, others, positive)

    def _correction(self, seed: Pixel, domain: Mask, others: list[Pixel], positive: bool) -> Mask:
        """A region round ``seed`` in ``domain``, as wide as the error that the click lies in the middle of."""
        width = _distance_to_border(domain, seed)
        for other in others:
            width = min(width, float(np.hypot(seed[0] - other[0], seed[1] - other[1])))
        reach = _REACH * width + 1
        window = _window(seed, reach, self._shape)
        here = (seed[0] - window[0].start, seed[1] - window[1].start)
        inside = domain[window]
        like_click = self._unlikeness([seed], window)
        like_others = self._unlikeness(others, window) if others else np.full_like(like_click, np.inf)
        rows, columns = np.ogrid[window]
        distance = np.hypot(rows - seed[0], columns - seed[1])
        similar = ((like_click < 3) | (like_click < like_others)) & (like_click <= like_others + 0.5)
        taken = (distance <= _CORE * width) & (like_click < 6) | similar
        if positive:
            taken |= self._grown(seed, domain, window)[window] & (distance <= 1.2 * width + 1)
        taken &= inside & (distance <= reach)
        taken[here] = True
        region = np.zeros(self._shape, bool)
        part = _part_of(taken, here)
        region[window] = _part_of(ndi.binary_opening(part) | (part & (distance < 2)), here)
        return region

    def _grown(self, seed: Pixel, domain: Mask, window: tuple[slice, slice] | None = None) -> Mask:
        """The region of one click in ``domain``: the gate whose border shows the strongest step wins."""
        window = window or (slice(0, self._shape[0]), slice(0, self._shape[1]))
        here = (seed[0] - window[0].start, seed[1] - window[1].start)
        unlike = self._unlikeness([seed], window)
        inside = domain[window]
        best: tuple[float, Mask] | None = None
        for gate in _GATES:
            region = _through_wide_passages((unlike < gate) & inside, here)
            region = ndi.binary_fill_holes(region) & inside
            step = _border_step(region, unlike, gate)
            if best is None or step > best[0]:
                best = (step, region)
        result = np.zeros(self._shape, bool)
        if best is not None:
            result[window] = best[1]
        result[seed] = True
        return result

    def _unlikeness(self, seeds: list[Pixel], window: tuple[slice, slice]) -> Field:
        """How far each pixel of the window is from the nearest seed's intensity, in that seed's spreads."""
        result = np.full((window[0].stop - window[0].start, window[1].stop - window[1].start), np.inf, np.float32)
        for row, column in seeds:
            spread = max(float(self._spread[row, column]), self._floor)
            away = np.abs(self._smooth[(slice(None), *window)] - self._mean[:, row, column][:, None, None])
            np.minimum(result, away.sum(axis=0) / spread, out=result)
        return result

    # -- between the view and the working picture ------------------------------------------------------------

    def _pixel(self, click: Click) -> Pixel:
        row, column = self._view.pixel_of(click.x, click.y)
        return row // self._factor, column // self._factor

    def _inside(self, box: Box) -> Mask:
        top, left = self._pixel(Click(box.x0, box.y0, positive=True))
        bottom, right = self._pixel(Click(box.x1, box.y1, positive=True))
        room = np.zeros(self._shape, bool)
        room[top : bottom + 1, left : right + 1] = True
        return room

    def _work_mask(self, prior: Mask | None) -> Mask:
        if prior is None:
            return np.zeros(self._shape, bool)
        return np.asarray(_shrink(prior[np.newaxis].astype(np.float32), self._factor)[0] >= 0.5)

    def _finish(self, mask: Mask, start: Mask, prior: Mask | None, prompts: Sequence[PromptAction]) -> Mask:
        """The working mask on the view's own pixels; what nobody changed stays as it was painted."""
        full = self._enlarge(mask)
        if prior is not None:
            same = self._enlarge(mask == start, smooth=False)
            full = np.where(same, prior, full)
        for prompt in prompts:
            if isinstance(prompt, Click):
                full[self._view.pixel_of(prompt.x, prompt.y)] = prompt.positive
        return full

    def _enlarge(self, mask: Mask, smooth: bool = True) -> Mask:
        height, width = self._view.shape
        large = np.repeat(np.repeat(mask, self._factor, axis=0), self._factor, axis=1)[:height, :width]
        if self._factor == 1 or not smooth:
            return np.asarray(large)
        soft = ndi.uniform_filter(large.astype(np.float32), 2 * self._factor - 1)
        return np.asarray(soft >= 0.5)

    def _score(self, mask: Mask) -> float:
        box = bounding_box(mask)
        if box is None:
            return 0.0
        window = tuple(slice(max(s.start - 3, 0), s.stop + 3) for s in box)
        near = mask[window]
        if not near.any() or near.all():
            return 0.0
        picture = self._smooth[(slice(None), *window)]
        rim = near & ~ndi.binary_erosion(near, border_value=1)
        step = sum(ndi.grey_dilation(c, size=(5, 5)) - ndi.grey_erosion(c, size=(5, 5)) for c in picture)
        return float(np.mean(np.asarray(step)[rim] > 4 * self._floor)) if rim.any() else 0.0


def build() -> EmbeddedSegmenter:
    """The embedded click tool; it takes no options."""
    return EmbeddedSegmenter()


def _channels(image: NDArray[Any], modality: str) -> Field:
    """(C, H, W) with outliers clipped and unit spread: grey, or brightness and two colour differences."""
    values = image.astype(np.float32)
    if values.ndim == 3:
        red, green, blue = values[..., 0], values[..., 1], values[..., 2]
        stack = np.stack([(red + green + blue) / 3, 0.7 * (red - blue), 0.5 * (2 * green - red - blue)])
    else:
        stack = values[np.newaxis]
    for channel in stack:
        if modality == "CT":  # soft tissue and bone; steps within air or metal say nothing
            np.clip(channel, -250, 500, out=channel)
        else:
            np.clip(channel, *np.percentile(channel[::2, ::2], (0.5, 99.5)), out=channel)
    spread = float(stack.std())
    return np.asarray(stack / np.float32(spread if spread > 0 else 1.0), np.float32)


def _shrink(stack: Field, factor: int) -> Field:
    """(C, H, W) averaged over blocks of ``factor`` pixels."""
    if factor == 1:
        return stack
    height, width = stack.shape[1:]
    rows, columns = -(-height // factor), -(-width // factor)
    padded = np.pad(stack, ((0, 0), (0, rows * factor - height), (0, columns * factor - width)), mode="edge")
    blocks = padded.reshape(stack.shape[0], rows, factor, columns, factor)
    return np.asarray(blocks.mean(axis=(2, 4), dtype=np.float32))


def _window(seed: Pixel, reach: float, shape: tuple[int, int]) -> tuple[slice, slice]:
    margin = int(min(reach, max(shape))) + 2
    rows, columns = (
        slice(max(at - margin, 0), min(at + margin + 1, size)) for at, size in zip(seed, shape, strict=True)
    )
    return rows, columns


def _part_of(mask: Mask, seed: Pixel) -> Mask:
    """The connected part of ``mask`` that holds the seed; the seed alone where it isn't in the mask."""
    parts, _ = ndi.label(mask)
    if parts[seed]:
        return np.asarray(parts == parts[seed])
    only = np.zeros(mask.shape, bool)
    only[seed] = True
    return only


def _distance_to_border(domain: Mask, seed: Pixel) -> float:
    """Distance in pixels from the seed to the nearest pixel outside of ``domain``; the view's size if none."""
    rows, columns = np.nonzero(~domain)
    if rows.size == 0:
        return float(max(domain.shape))
    return float(np.sqrt(np.min((rows - seed[0]) ** 2 + (columns - seed[1]) ** 2)))


def _through_wide_passages(gate: Mask, seed: Pixel) -> Mask:
    """The part of ``gate`` that the seed reaches without squeezing through a neck."""
    around = tuple(slice(max(at - 1, 0), at + 2) for at in seed)
    gate[around] = True
    part = _part_of(gate, seed)
    box = bounding_box(part)
    if box is None:
        return part
    inner = ndi.distance_transform_edt(np.pad(part[box], 1))[1:-1, 1:-1]
    here = (seed[0] - box[0].start, seed[1] - box[1].start)
    near = tuple(slice(max(at - 2, 0), at + 3) for at in here)
    neck = _NECK * float(inner[near].max())
    cores, _ = ndi.label(inner > neck)
    chosen = cores[here] or cores[near].max()
    if not chosen:
        return part
    region = np.zeros_like(gate)
    region[box] = (ndi.distance_transform_edt(cores != chosen) <= neck + 1) & part[box]
    return region


def _border_step(region: Mask, unlike: Field, gate: float) -> float:
    """How much the picture changes across the region's border, favouring round regions over frayed ones."""
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
    return float(step * min(1.0, 0.5 + roundness) - 0.5 * (area > 0.5 * region.size) - cut / max(length, 1))


def _clicked_parts(mask: Mask, positives: list[Pixel], negatives: list[Pixel], start: Mask) -> Mask:
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
