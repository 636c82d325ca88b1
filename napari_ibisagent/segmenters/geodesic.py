"""The geodesic click tool: no weights at all. The baseline of the embedded network, and what to choose without it.

The first positive click grows a region: pixels whose intensity is like the click's (a gate learned round it),
connected to it through passages not much narrower than the place that was clicked, with the gate whose border
shows the strongest step. Every later click corrects the mask near itself: how far is read off from where it
lies, since a click in the middle of an error is as far from the mask's border as the error is wide.

What it leaves out: learned shapes. It knows intensities and distances and nothing of anatomy.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage as ndi

from napari_ibisagent.core.actions import Box, Click, PromptAction
from napari_ibisagent.core.masks import Mask, bounding_box
from napari_ibisagent.core.protocols import Segmentation
from napari_ibisagent.core.view import View
from napari_ibisagent.segmenters._prior import check_prior
from napari_ibisagent.segmenters._regions import (
    BACKGROUND,
    Field,
    Pixel,
    border_step,
    clicked_parts,
    distance_to_border,
    part_of,
    through_wide_passages,
    window_round,
)

# Work is done on at most this many pixels a side: four times faster at 512x512 for 0.01 of IoU.
_WORK_SIDE = 320
# Gate widths that the first click tries, in standard deviations of the clicked neighbourhood.
_GATES = (1.5, 2.2, 3.2, 4.5, 6.5)
# How far a correction reaches, as a share of the click's distance to the mask's border.
_REACH = 1.3
# Within this share of that distance a correction takes nearly every pixel; beyond, similar ones only.
_CORE = 0.8
# How much a step in HU below -250 counts against one in soft tissue.
_LUNG_WEIGHT = 0.1
# Where a click is at most this unlike the ones before it, it may be in a further part of the target.
_ALIKE = 1.5
# How many states after some prompts are remembered of a view; each is some 70 kB.
_REMEMBERED = 64
# What the score makes of: the share of the border on a clear step, compactness, root of the area's share, clicks
# (up to five), and a constant. Least squares on all structures of three phantoms with one to five simulated
# clicks; docs/benchmarks.md says how well it holds on real pictures.
_SCORE_WEIGHTS = (0.462, 0.533, -0.478, 0.213, -0.167)


class GeodesicSegmenter:
    """See the module. Deterministic; a view is opened in some ms and a click takes some 10 to 20 ms."""

    name = "geodesic"

    def open(self, view: View) -> OpenedGeodesic:
        """Smooths the view and measures its local noise, once."""
        return OpenedGeodesic(view)


@dataclass(frozen=True, eq=False, slots=True)
class _Clicked:
    """The working mask after some prompts, the box to stay in, and the clicked pixels."""

    mask: Mask
    room: Mask | None = None
    positives: tuple[Pixel, ...] = ()
    negatives: tuple[Pixel, ...] = ()


class OpenedGeodesic:
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
        self._step = sum(ndi.maximum_filter(c, 5) - ndi.minimum_filter(c, 5) for c in self._smooth)
        self._shape = (int(self._smooth.shape[1]), int(self._smooth.shape[2]))
        self._known: dict[tuple[bytes, tuple[PromptAction, ...]], _Clicked] = {}

    def segment(self, prompts: Sequence[PromptAction], prior: Mask | None) -> Segmentation:
        """A mask (H, W) from all prompts in order and the prior one; see ``OpenedView``.

        A box is the place to work in: its middle is the first click where no positive click came before.
        The score is a rough estimate of the IoU from what the mask looks like: see ``_SCORE_WEIGHTS``.
        What the first prompts led to is remembered, so that one more click costs one correction. Raises GridError for a
        prior of another shape.
        """
        check_prior(prior, self._view)
        start = self._work_mask(prior)
        key = b"" if prior is None else np.packbits(prior).tobytes()
        state = _Clicked(start)
        done = 0
        for count in range(len(prompts), 0, -1):
            known = self._known.get((key, tuple(prompts[:count])))
            if known is not None:
                state, done = known, count
                break
        for count in range(done, len(prompts)):
            state = self._after(state, prompts[count], start)
            self._remember((key, tuple(prompts[: count + 1])), state)
        mask = self._settled(state, start)
        return Segmentation(self._finish(mask, start, prior, prompts), self._score(mask, len(prompts)))

    def _after(self, state: _Clicked, prompt: PromptAction, start: Mask) -> _Clicked:
        """The working mask after one more prompt."""
        mask, room = state.mask, state.room
        if isinstance(prompt, Box):
            room = self._inside(prompt)
            mask = mask & room
            if state.positives:
                return _Clicked(mask, room, state.positives, state.negatives)
            prompt = Click((prompt.x0 + prompt.x1) / 2, (prompt.y0 + prompt.y1) / 2, positive=True)
        seed = self._pixel(prompt)
        positives, negatives = state.positives, state.negatives
        if mask[seed] != prompt.positive:
            region = self._region(_Clicked(mask, room, positives, negatives), seed, prompt.positive)
            mask = (mask | region) if prompt.positive else (mask & ~region)
        if prompt.positive:
            positives = (*positives, seed)
        else:
            negatives = (*negatives, seed)
        return _Clicked(clicked_parts(mask.copy(), positives, negatives, start), room, positives, negatives)

    def _remember(self, key: tuple[bytes, tuple[PromptAction, ...]], state: _Clicked) -> None:
        if len(self._known) >= _REMEMBERED:
            self._known.pop(next(iter(self._known)))
        self._known[key] = state

    # -- regions ------------------------------------------------------------------------------------------

    def _region(self, state: _Clicked, seed: Pixel, positive: bool) -> Mask:
        """The pixels that a click adds to (positive) or takes from (negative) the working mask."""
        room = np.ones(self._shape, bool) if state.room is None else state.room
        if positive and not state.mask.any():
            return self._grown(seed, room)
        domain = (~state.mask if positive else state.mask) & room
        same, others = (state.positives, state.negatives) if positive else (state.negatives, state.positives)
        if positive and (not same or self._unlike_at(seed, same) < _ALIKE):
            apart = self._grown(seed, domain)
            if not (ndi.binary_dilation(apart, iterations=2) & state.mask).any():
                return apart  # a further part of the target, not a correction of this one
        return self._correction(seed, domain, others, positive)

    def _correction(self, seed: Pixel, domain: Mask, others: tuple[Pixel, ...], positive: bool) -> Mask:
        """A region round ``seed`` in ``domain``, as wide as the error that the click lies in the middle of."""
        width = distance_to_border(domain, seed)
        for other in others:
            width = min(width, float(np.hypot(seed[0] - other[0], seed[1] - other[1])))
        reach = _REACH * width + 1
        window = window_round(seed, reach, self._shape)
        here = (seed[0] - window[0].start, seed[1] - window[1].start)
        inside = domain[window]
        like_click = self._unlikeness((seed,), window)
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
        part = part_of(taken, here)
        region[window] = part_of(ndi.binary_opening(part) | (part & (distance < 2)), here)
        return region

    def _grown(self, seed: Pixel, domain: Mask, window: tuple[slice, slice] | None = None) -> Mask:
        """The region of one click in ``domain``: the gate whose border shows the strongest step wins."""
        window = window or (slice(0, self._shape[0]), slice(0, self._shape[1]))
        here = (seed[0] - window[0].start, seed[1] - window[1].start)
        unlike = self._unlikeness((seed,), window)
        inside = domain[window]
        result = np.zeros(self._shape, bool)
        best = -np.inf
        for gate in _GATES:
            alike = (unlike < gate) & inside
            if best > -np.inf and np.count_nonzero(alike) > BACKGROUND * unlike.size:
                break  # wider gates let in yet more of the background
            region, box = through_wide_passages(alike, here)
            region = ndi.binary_fill_holes(region) & inside[box]
            step = border_step(region, unlike[box], gate, unlike.size)
            if step > best:
                best = step
                result[window] = False
                result[window][box] = region
        result[seed] = True
        return result

    def _unlikeness(self, seeds: tuple[Pixel, ...], window: tuple[slice, slice]) -> Field:
        """How far each pixel of the window is from the nearest seed's intensity, in that seed's spreads."""
        result = np.full((window[0].stop - window[0].start, window[1].stop - window[1].start), np.inf, np.float32)
        for row, column in seeds:
            spread = max(float(self._spread[row, column]), self._floor)
            away = np.abs(self._smooth[(slice(None), *window)] - self._mean[:, row, column][:, None, None])
            np.minimum(result, away.sum(axis=0) / spread, out=result)
        return result

    def _settled(self, state: _Clicked, start: Mask) -> Mask:
        """The mask with its border moved, by up to two pixels, to where the picture is half-way between its sides.

        The gates stop short of blurred borders. What was painted stays.
        """
        mask, room = state.mask, state.room
        box = bounding_box(mask)
        if box is None:
            return mask
        window = tuple(slice(max(s.start - 8, 0), s.stop + 8) for s in box)
        near = mask[window]
        share = ndi.uniform_filter(near.astype(np.float32), 9)
        nearer = np.zeros(near.shape, np.float32)
        for channel in self._smooth[(slice(None), *window)]:
            both = ndi.uniform_filter(channel, 9)
            inside = ndi.uniform_filter(channel * near, 9)
            within = inside / np.maximum(share, 1e-3)
            outside = (both - inside) / np.maximum(1 - share, 1e-3)
            nearer += np.abs(channel - outside) - np.abs(channel - within)
        band = ndi.binary_dilation(near, iterations=2) & ~ndi.binary_erosion(near, iterations=2, border_value=1)
        moved = np.where(band & ~start[window], nearer > 0, near)
        moved = ndi.binary_opening(moved) | (moved & near & ~ndi.binary_opening(near))
        settled = mask.copy()
        settled[window] = moved if room is None else moved & room[window]
        if start.any():
            settled = np.where(ndi.binary_dilation(mask != start, iterations=3), settled, mask)
        return clicked_parts(settled, state.positives, state.negatives, start)

    def _unlike_at(self, seed: Pixel, seeds: tuple[Pixel, ...]) -> float:
        """How unlike the place of one click is to that of the nearest-looking other one."""
        return float(self._unlikeness(seeds, (slice(seed[0], seed[0] + 1), slice(seed[1], seed[1] + 1)))[0, 0])

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

    def _score(self, mask: Mask, prompts: int) -> float:
        box = bounding_box(mask)
        if box is None:
            return 0.0
        window = tuple(slice(max(s.start - 3, 0), s.stop + 3) for s in box)
        near = mask[window]
        rim = near & ~ndi.binary_erosion(near, border_value=1)
        if not rim.any():
            return 0.0
        area = int(np.count_nonzero(near))
        measures = (
            float(np.mean(np.asarray(self._step)[window][rim] > 12 * self._floor)),
            min(1.0, 4 * np.pi * area / int(np.count_nonzero(rim)) ** 2),
            float(np.sqrt(area / mask.size)),
            min(prompts, 5) / 5,
            1.0,
        )
        return float(np.clip(sum(m * w for m, w in zip(measures, _SCORE_WEIGHTS, strict=True)), 0.0, 1.0))


def build() -> GeodesicSegmenter:
    """The geodesic click tool; it takes no options."""
    return GeodesicSegmenter()


def _channels(image: NDArray[Any], modality: str) -> Field:
    """(C, H, W) with outliers clipped and unit spread: grey, or brightness and two colour differences."""
    values = image.astype(np.float32)
    if not np.isfinite(values).all():
        finite = values[np.isfinite(values)]
        low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 0.0)
        values = np.nan_to_num(values, nan=low, posinf=high, neginf=low)
    if values.ndim == 3:
        red, green, blue = values[..., 0], values[..., 1], values[..., 2]
        stack = np.stack([(red + green + blue) / 3, 0.7 * (red - blue), 0.5 * (2 * green - red - blue)])
    else:
        stack = values[np.newaxis]
    for channel in stack:
        if modality == "CT":  # soft tissue counts in full, lung against air a little, metal not at all
            np.clip(channel, -1024, 500, out=channel)
            channel[channel < -250] = -250 + _LUNG_WEIGHT * (channel[channel < -250] + 250)
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
