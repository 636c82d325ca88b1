"""The pictures in training at one moment, each somewhere in its own series of clicks.

Every pass through the network is a training step: a batch holds pictures before their first click, after their
fifth, with a prior mask or a box; after each step each gets its next click against the network's own error, and
the ones whose series is over are replaced by new scenes.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from scipy import ndimage as ndi
from torch import Tensor
from torch.nn import functional

from napari_ibisagent.core.masks import Mask, bounding_box
from napari_ibisagent.segmenters._encoding import (
    CHANNELS,
    PICTURE_CHANNELS,
    discs,
    likeness_base,
    picture_channels,
    unlikeness,
)
from napari_ibisagent.training.clicknet.clicks import next_click
from napari_ibisagent.training.clicknet.fields import smooth_field
from napari_ibisagent.training.clicknet.scenes import Scene

PRIOR, POSITIVE, NEGATIVE, BOX, LIKE, UNLIKE = range(PICTURE_CHANNELS, CHANNELS)
# The chance that a series goes on after a step, and that a step brings no new click (a second look).
_GOES_ON, _LOOKS_AGAIN = 0.78, 0.15
_MOST_CLICKS = 12
# Pixels farther from the target than this count a fifth in the loss.
_NEAR = 12


class Slots:
    """``count`` pictures of ``side`` pixels: ``inputs`` (B, CHANNELS, H, W), ``targets``, ``weights`` (B, 1, H, W)."""

    def __init__(self, scenes: Iterator[Scene], count: int, side: int, seed: int) -> None:
        self._scenes = scenes
        self.side = side
        self._rng = np.random.default_rng(seed)
        self.inputs = np.zeros((count, CHANNELS, side, side), np.float32)
        self.targets = np.zeros((count, 1, side, side), np.float32)
        self.weights = np.zeros((count, 1, side, side), np.float32)
        self.clicks = np.zeros(count, np.intp)
        self._bases = np.zeros((count, PICTURE_CHANNELS, side, side), np.float32)
        for index in range(count):
            self._renew(index)

    def advance(self, logits: Tensor) -> None:
        """Takes the answers (B, 1, H, W) as the priors of the next step, with new clicks; renews what is finished."""
        probability = torch.sigmoid(logits.detach().float().cpu())
        masks = (probability > 0.5).numpy()
        self.inputs[:, PRIOR] = self._degraded(probability).numpy()[:, 0]
        for index in range(len(self.clicks)):
            if self._rng.random() >= _GOES_ON or self.clicks[index] >= _MOST_CLICKS:
                self._renew(index)
            elif self._rng.random() >= _LOOKS_AGAIN:
                self._click(index, masks[index, 0])

    def _renew(self, index: int) -> None:
        """A new scene with its first prompt: a click, a box (some with a click), or a prior mask and a correction."""
        scene = next(self._scenes)
        picture = picture_channels(scene.image)
        self.inputs[index] = 0
        self.inputs[index, :PICTURE_CHANNELS] = picture
        self.inputs[index, LIKE : UNLIKE + 1] = 1
        self._bases[index] = likeness_base(picture)
        self.targets[index, 0] = scene.target
        near = ndi.distance_transform_cdt(~scene.target) <= _NEAR
        self.weights[index, 0] = 0.2 + 0.8 * near
        self.clicks[index] = 0
        prior = np.zeros_like(scene.target)
        kind = self._rng.random()
        if kind < 0.12:
            self._box(index, scene.target)
        elif kind > 0.8:
            other = self.targets[int(self._rng.integers(len(self.clicks))), 0] > 0.5
            prior = other if self._rng.random() < 0.15 else spoilt(self._rng, scene.target)
            self.inputs[index, PRIOR] = prior
        if kind > 0.09:
            self._click(index, prior)

    def _click(self, index: int, mask: Mask) -> None:
        click = next_click(self._rng, mask, self.targets[index, 0] > 0.5)
        if click is None:
            return
        row, column, positive = click
        disc, look = (POSITIVE, LIKE) if positive else (NEGATIVE, UNLIKE)
        places, maps = [(row, column)], self.inputs[index]
        np.maximum(maps[disc], discs(mask.shape, places), out=maps[disc])
        np.minimum(maps[look], unlikeness(self._bases[index], places), out=maps[look])
        self.clicks[index] += 1

    def _box(self, index: int, target: Mask) -> None:
        """A box round the target, seldom tight."""
        box = bounding_box(target)
        if box is None:
            return
        loose = 0.12 * max(part.stop - part.start for part in box) + 1
        off = self._rng.uniform(-0.4, 1, 4) * loose
        top, left = (max(0, int(part.start - o)) for part, o in zip(box, off[:2], strict=True))
        bottom, right = (int(part.stop + 1 + o) for part, o in zip(box, off[2:], strict=True))
        self.inputs[index, BOX, top:bottom, left:right] = 1

    def _degraded(self, probability: Tensor) -> Tensor:
        """Some priors as if they came from fewer pixels, as those of the coarse pass do, and some with hard edges."""
        factor = int(self._rng.choice((1, 1, 2, 4, 6)))
        count = probability.shape[0]
        if factor > 1:
            size = (probability.shape[2], probability.shape[3])
            small = functional.avg_pool2d(probability, factor, ceil_mode=True)
            soft = functional.interpolate(small, size=size, mode="bilinear", align_corners=False)
            half = torch.from_numpy(self._rng.random(count) < 0.5)
            probability = torch.where(half[:, None, None, None], soft, probability)
        hard = torch.from_numpy(self._rng.random(count) < 0.15)
        return torch.where(hard[:, None, None, None], (probability > 0.5).float(), probability)


def spoilt(rng: np.random.Generator, target: Mask) -> Mask:
    """A mask as a person or the slice nearby would give it: larger, smaller, moved, or with a part wrong."""
    kind, far = int(rng.integers(4)), int(rng.integers(1, 7))
    if kind == 0:
        return np.asarray(ndi.distance_transform_cdt(~target) <= far)
    if kind == 1:
        return np.asarray(ndi.distance_transform_cdt(np.pad(target, 1))[1:-1, 1:-1] > far)
    if kind == 2:
        return np.roll(target, tuple(rng.integers(-8, 9, 2)), axis=(0, 1))
    area = smooth_field(rng, target.shape[0], 3) > 0.6
    return np.asarray((target & ~area) | (~target & area) if rng.random() < 0.3 else target & ~area)
