"""Regions of a view at the network's size and back: resampling between boxes. Pure functions."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from napari_ibisagent.core.masks import Mask

Field = NDArray[np.float32]

# Sides of what the network sees are multiples of this: it halves four times.
STEP = 16


@dataclass(frozen=True, slots=True)
class Region:
    """A box of a view in pixels: rows ``top`` to ``bottom``, columns ``left`` to ``right``, the ends left out."""

    top: int
    left: int
    bottom: int
    right: int

    @property
    def shape(self) -> tuple[int, int]:
        """(H, W) in the view's pixels."""
        return self.bottom - self.top, self.right - self.left

    @property
    def slices(self) -> tuple[slice, slice]:
        """Rows and columns, for indexing."""
        return slice(self.top, self.bottom), slice(self.left, self.right)

    def holds(self, row: int, column: int) -> bool:
        """Whether a pixel lies in it."""
        return self.top <= row < self.bottom and self.left <= column < self.right

    def joined(self, other: Region | None) -> Region:
        """The smallest region with both."""
        if other is None:
            return self
        return Region(
            min(self.top, other.top),
            min(self.left, other.left),
            max(self.bottom, other.bottom),
            max(self.right, other.right),
        )

    def grown(self, share: float, least: int, view: tuple[int, int]) -> Region:
        """With ``share`` of its longer side more on each side, at least ``least`` long, within a view (H, W)."""
        height, width = self.shape
        margin = share * max(height, width)
        edges = []
        for start, stop, size in ((self.top, self.bottom, view[0]), (self.left, self.right, view[1])):
            extra = max(margin, (least - (stop - start)) / 2)
            low, high = int(start - extra), int(np.ceil(stop + extra))
            # At the view's border the region moves inwards rather than shrinks.
            low, high = low - max(0, high - size), high - min(0, low)
            edges.append((max(0, low), min(size, high)))
        (top, bottom), (left, right) = edges
        return Region(top, left, bottom, right)

    def size_at(self, longest: int) -> tuple[int, int]:
        """(H, W) in the network's pixels with the longer side ``longest``; the shape is kept up to rounding."""
        height, width = self.shape
        scale = longest / max(height, width)
        rows, columns = (max(STEP, round(side * scale / STEP) * STEP) for side in (height, width))
        return rows, columns

    def place(self, row: int, column: int, size: tuple[int, int]) -> tuple[int, int]:
        """Where a pixel of the view lies among the network's pixels, (row, column); it must be in the region."""
        height, width = self.shape
        return (
            min(size[0] - 1, int((row - self.top + 0.5) * size[0] / height)),
            min(size[1] - 1, int((column - self.left + 0.5) * size[1] / width)),
        )


def region_of(mask: Mask, region: Region) -> Region | None:
    """The smallest region of the view round a mask given on ``region`` at any size; None where it is empty."""
    (rows,), (columns,) = np.nonzero(mask.any(axis=1)), np.nonzero(mask.any(axis=0))
    if rows.size == 0:
        return None
    down, right = region.shape[0] / mask.shape[0], region.shape[1] / mask.shape[1]
    return Region(
        region.top + int(rows[0] * down),
        region.left + int(columns[0] * right),
        region.top + int(np.ceil((rows[-1] + 1) * down)),
        region.left + int(np.ceil((columns[-1] + 1) * right)),
    )


def resample(values: Field, source: Region, target: Region, size: tuple[int, int]) -> Field:
    """Values (h, w) that cover ``source``, on ``target`` at ``size`` (H, W): linear, averaged to shrink, 0 outside."""
    if source == target and values.shape == size:
        return values
    rows = _weights((source.top, source.bottom), values.shape[0], (target.top, target.bottom), size[0])
    columns = _weights((source.left, source.right), values.shape[1], (target.left, target.right), size[1])
    return np.asarray(rows @ values @ columns.T, np.float32)


def _weights(source: tuple[int, int], count: int, target: tuple[int, int], size: int) -> Field:
    """(size, count): the weight of each source sample in each target one."""
    have, want = (source[1] - source[0]) / count, (target[1] - target[0]) / size
    at = target[0] + (np.arange(size) + 0.5) * want
    samples = source[0] + (np.arange(count) + 0.5) * have
    weights = np.maximum(0, 1 - np.abs(at[:, np.newaxis] - samples) / max(have, want))
    total = weights.sum(axis=1, keepdims=True)
    inside = ((at > source[0]) & (at < source[1]))[:, np.newaxis]
    return np.asarray(np.where(inside & (total > 0), weights / np.maximum(total, 1e-9), 0), np.float32)
