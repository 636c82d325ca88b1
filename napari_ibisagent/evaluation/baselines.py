"""Classic click tools to compare with: region growing and random walker, behind the Segmenter protocol."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import SimpleITK
from numpy.typing import NDArray
from scipy import ndimage as ndi
from skimage import segmentation, transform

from napari_ibisagent.core.actions import Click, PromptAction
from napari_ibisagent.core.masks import Mask
from napari_ibisagent.core.protocols import OpenedView, Segmentation, Segmenter
from napari_ibisagent.core.view import View

# Their functions carry no types.
sitk: Any = SimpleITK
resize: Any = transform.resize
random_walker: Any = segmentation.random_walker
# Confidence-connected growing: how many standard deviations (the most that keeps the negative clicks out), how often
# they are estimated anew, and the seeds' neighbourhood.
_MULTIPLIERS, _ITERATIONS, _RADIUS = (2.5, 2.0, 1.5, 1.0, 0.6), 3, 2
# The random walker's edge weight, and the side it works on: its time grows faster than the picture.
_BETA, _WALKED_SIDE = 130.0, 160


class RegionGrowing:
    """SimpleITK's confidence-connected growing from the positive clicks, as far as the negative ones allow."""

    name = "confidence-connected"

    def open(self, view: View) -> OpenedView:
        """Smooths the view a little, as is usual before growing."""
        return _Grown(view)


class RandomWalker:
    """skimage's random walker with the clicks as seeds and the view's border as background."""

    name = "random walker"

    def open(self, view: View) -> OpenedView:
        """Scales the view's greys to [0, 1] at the working size."""
        return _Walked(view)


BASELINES: tuple[Segmenter, ...] = (RegionGrowing(), RandomWalker())


class _Grown:
    def __init__(self, view: View) -> None:
        self._view = view
        self._image = sitk.GetImageFromArray(ndi.gaussian_filter(_grey(view), 0.8))

    def segment(self, prompts: Sequence[PromptAction], prior: Mask | None) -> Segmentation:
        """A mask (H, W); ``prior`` is joined in. No score of its own."""
        mask = np.zeros(self._view.shape, bool) if prior is None else prior.copy()
        clicks = {self._view.pixel_of(p.x, p.y): p.positive for p in prompts if isinstance(p, Click)}
        seeds = [pixel for pixel, positive in clicks.items() if positive]
        barred = [pixel for pixel, positive in clicks.items() if not positive]
        if seeds:
            grown = self._grown(seeds, _MULTIPLIERS[0])
            for multiplier in _MULTIPLIERS[1:]:
                if not any(grown[pixel] for pixel in barred):
                    break
                grown = self._grown(seeds, multiplier)
            mask |= grown
        for pixel, positive in clicks.items():
            mask[pixel] = positive
        return Segmentation(mask, 0.0)

    def _grown(self, seeds: list[tuple[int, int]], multiplier: float) -> Mask:
        grown = sitk.ConfidenceConnected(
            self._image,
            seedList=[(column, row) for row, column in seeds],
            numberOfIterations=_ITERATIONS,
            multiplier=multiplier,
            initialNeighborhoodRadius=_RADIUS,
            replaceValue=1,
        )
        return np.asarray(ndi.binary_fill_holes(sitk.GetArrayFromImage(grown) > 0))


class _Walked:
    def __init__(self, view: View) -> None:
        self._view = view
        factor = min(1.0, _WALKED_SIDE / max(view.shape))
        self._size = (max(3, round(view.shape[0] * factor)), max(3, round(view.shape[1] * factor)))
        small = resize(_grey(view), self._size, order=1, anti_aliasing=factor < 1)
        low, high = np.percentile(small, (1, 99))
        self._image = np.clip((small - low) / (high - low if high > low else 1), 0, 1)

    def segment(self, prompts: Sequence[PromptAction], prior: Mask | None) -> Segmentation:
        """A mask (H, W); ``prior`` counts where no click was made. No score of its own."""
        markers = np.zeros(self._size, np.int32)
        markers[[0, -1], :] = markers[:, [0, -1]] = 2
        for click in prompts:
            if isinstance(click, Click):
                row = min(self._size[0] - 1, int(click.y * self._size[0]))
                column = min(self._size[1] - 1, int(click.x * self._size[1]))
                markers[row, column] = 1 if click.positive else 2
        if not (markers == 1).any():
            return Segmentation(np.zeros(self._view.shape, bool) if prior is None else prior.copy(), 0.0)
        chances = random_walker(
            self._image, markers, beta=_BETA, mode="cg_j", tol=1e-4, prob_tol=0.05, return_full_prob=True
        )
        mask = resize(chances[0], self._view.shape, order=1) > 0.5
        for click in prompts:
            if isinstance(click, Click):
                mask[self._view.pixel_of(click.x, click.y)] = click.positive
        return Segmentation(np.asarray(mask), 0.0)


def _grey(view: View) -> NDArray[Any]:
    values = view.image.astype(np.float32)
    values = np.nan_to_num(values if values.ndim == 2 else values.mean(axis=2))
    if view.modality == "CT":
        values = np.clip(values, -250, 300)
    return values
