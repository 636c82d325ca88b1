"""A coarse look at a whole CT: body, lungs, bone, spine, midline. The landmarks that every rule starts from.

Everything is done on block means at about 3 mm, so that a large scan takes about a second, and no full-size
copy of it is made. Thresholds in HU are those of the standard texts (air -1000, lung -950 to -500, fat about
-100, water 0, soft tissue 20 to 80 without contrast, bone above 150).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage as ndi

from napari_ibisagent.core.masks import Mask
from napari_ibisagent.core.volume import Volume
from napari_ibisagent.policies.embedded.ct.canal import Path, canal_path, without_gaps
from napari_ibisagent.policies.embedded.morphology import closed, eroded, large_parts, largest_part, opened

_COARSE_MM = 3.0
# Standard deviation of HU among neighbours: organs full of contrast keep below 30, bone is above 60.
_EVEN = 45.0
# The share of a region's surroundings that is clearly brighter than its inside: of bones a sixth and more, of vessels
# and organs full of contrast, which only touch bones, less than a tenth.
_SHELL = 0.11
Grid = tuple[int, int, int]


@dataclass(frozen=True, eq=False)
class Survey:
    """A CT at coarse resolution.

    hu: (Z, Y, X) float32 block means; factors: voxels per block along (z, y, x); spacing: mm of a block
    (z, y, x). x runs from the patient's right to the left, y from front to back, z from head to feet.
    """

    hu: NDArray[np.float32]
    factors: Grid
    spacing: tuple[float, float, float]

    @staticmethod
    def of(volume: Volume) -> Survey:
        """The survey of a CT volume (Z, Y, X)."""
        factors = tuple(
            max(1, min(round(_COARSE_MM / mm), n)) for mm, n in zip(volume.spacing_mm, volume.shape, strict=True)
        )
        grid = (factors[0], factors[1], factors[2])
        spacing = tuple(mm * f for mm, f in zip(volume.spacing_mm, grid, strict=True))
        return Survey(block_means(volume.data, grid), grid, (spacing[0], spacing[1], spacing[2]))

    @property
    def voxel_ml(self) -> float:
        """mL of a coarse voxel."""
        return float(np.prod(self.spacing)) / 1000

    def ml(self, mask: Mask) -> float:
        """Volume of a coarse mask in mL."""
        return int(np.count_nonzero(mask)) * self.voxel_ml

    def core_mean(self, mask: Mask, window: tuple[slice, ...] = (slice(None),)) -> float:
        """Mean HU of a coarse mask (of a window), away from its border, where blocks hold other tissue too."""
        core = ndi.binary_erosion(mask, border_value=1)
        return float(self.hu[window][core if core.any() else mask].mean())

    def ball(self, radius_mm: float) -> Mask:
        """An ellipsoid footprint of a radius in mm; flat where a voxel is larger than the radius."""
        reach = [int(radius_mm / mm) for mm in self.spacing]
        axes = np.ogrid[tuple(slice(-r, r + 1) for r in reach)]
        distance = sum((axis * mm) ** 2 for axis, mm in zip(axes, self.spacing, strict=True))
        return np.asarray(distance <= radius_mm**2 + 1e-6)

    @cached_property
    def lungs(self) -> Mask:
        """Lung tissue: dark parts that, away from their borders, are denser than gas."""
        parts, _ = ndi.label(self.hu < -450)
        result = np.zeros(self.hu.shape, bool)
        for number, window in enumerate(ndi.find_objects(parts), start=1):
            part = parts[window] == number
            if self.ml(part) < 15:
                continue
            core = ndi.binary_erosion(part, border_value=1)
            inside = self.hu[window][core if core.any() else part]
            # Air round the patient and gas in the bowel are about -1000 HU throughout; aerated lung is not.
            if -945 < float(np.median(inside)) < -550:
                result[window] |= part
        return result | (closed(result, self.ball(4)) & (self.hu < -250))

    @cached_property
    def body(self) -> Mask:
        """The largest part above -300 HU with the lungs, filled slice by slice, without the table."""
        body = largest_part(opened(self.hu > -300, self.ball(6)) | self.lungs)
        return np.stack([ndi.binary_fill_holes(layer) for layer in body])

    @cached_property
    def soft(self) -> NDArray[np.float32]:
        """Smoothed HU (Z, Y, X) for telling soft tissues apart; over 4 mm, in noisy scans up to 8."""
        width = 4.0 * float(np.clip(self.noise / 15, 1, 2))
        sigma = [width / mm / 2 if n > 1 else 0.0 for mm, n in zip(self.spacing, self.hu.shape, strict=True)]
        return np.asarray(ndi.gaussian_filter(np.clip(self.hu, -200, 400), sigma))

    @cached_property
    def _local(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Mean and standard deviation of HU (Z, Y, X) over the next neighbours."""
        clipped = np.clip(self.hu, -200, 400)
        size = tuple(min(3, n) for n in self.hu.shape)
        mean = ndi.uniform_filter(clipped, size)
        return mean, np.sqrt(np.maximum(ndi.uniform_filter(clipped**2, size) - mean**2, 0))

    @property
    def unrest(self) -> NDArray[np.float32]:
        """Local standard deviation of HU (Z, Y, X) over the next neighbours: low inside of solid organs."""
        return self._local[1]

    @cached_property
    def noise(self) -> float:
        """What of the unrest is noise: that of the calmer quarter of the soft tissue, in HU."""
        mean, unrest = self._local
        flesh = unrest[(mean > 10) & (mean < 80) & self.body]
        return float(np.percentile(flesh, 25)) if flesh.size else 0.0

    def even(self, limit: float) -> Mask:
        """(Z, Y, X) where neighbours differ by less than ``limit`` HU, or by what noise alone makes in this scan."""
        return np.asarray(self.unrest < max(limit, 1.4 * self.noise))

    @cached_property
    def bone(self) -> Mask:
        """Everything in the body above 160 HU in parts of at least 1 mL, but organs and vessels full of contrast."""
        bright = (self.hu > 160) & self.body
        return large_parts(bright & ~self.contrast, 1 / self.voxel_ml)

    @cached_property
    def contrast(self) -> Mask:
        """Kidneys, heart and vessels full of contrast: as bright as spongy bone, but thick and even inside."""
        thick = (self.soft > 120) & self.body & ~self.vertebral_core
        cores = large_parts(eroded(thick & (self.unrest < _EVEN), self.ball(3.5)), 0.7 / self.voxel_ml)
        parts, _ = ndi.label(cores)
        result = np.zeros_like(thick)
        margin = [int(12 / mm) + 1 for mm in self.spacing]
        for number, window in enumerate(ndi.find_objects(parts), start=1):
            near = tuple(slice(max(w.start - m, 0), w.stop + m) for w, m in zip(window, margin, strict=True))
            core, hu = parts[near] == number, self.hu[near]
            whole = ndi.binary_dilation(core, self.ball(12))
            shell = hu[whole & ~ndi.binary_dilation(core, self.ball(5.5))]
            inside = float(hu[core].mean())
            # Round the calm marrow of a femoral head there is its shell; blood above 700 HU is none but metal.
            hard = inside > 700 or (shell.size and float(np.mean(shell > inside + 60)) >= _SHELL)
            if not hard and not self._vertebral(window):
                result[near] |= ndi.binary_dilation(core, self.ball(10)) & thick[near]
        return result

    def _vertebral(self, window: tuple[slice, ...]) -> bool:
        """Whether a calm bright part is of a vertebra: right before the core of one, and no higher than that."""
        height = (window[0].stop - window[0].start) * self.spacing[0]
        middle = (window[0].start + window[0].stop) // 2
        beside = bool(self.round_canal(48, 45, 30)[middle][window[1:]].mean() > 0.7)
        return beside and height < min(35.0, 0.6 * self.hu.shape[0] * self.spacing[0])

    @cached_property
    def near_canal(self) -> Mask:
        """Where a vertebra with its arch can be: 50 mm in front of the canal, 55 behind, 48 to the sides."""
        return self.round_canal(50, 55, 48)

    @cached_property
    def vertebral_core(self) -> Mask:
        """What of the spine can't be a vessel: the middle of the vertebral bodies and the arches."""
        return self.round_canal(32, 45, 24)

    def round_canal(self, front: float, behind: float, side: float) -> Mask:
        """An ellipse (half axes in mm) round the canal in each slice in which it runs, and below it to the end."""
        near = np.zeros(self.hu.shape, bool)
        for z in range(min(self.canal, default=self.hu.shape[0]), self.hu.shape[0]):
            y, x = self.canal[min(z, max(self.canal))]
            back = (np.arange(self.hu.shape[1]) - y) * self.spacing[1]
            rows = np.where(back < 0, back / front, back / behind)[:, np.newaxis]
            columns = ((np.arange(self.hu.shape[2]) - x) * self.spacing[2] / side)[np.newaxis]
            near[z] = rows**2 + columns**2 <= 1
        return near

    @cached_property
    def is_head(self) -> bool:
        """Whether bone encloses more than half of the body in most slices: a skull, which no trunk has."""
        enclosed = [
            np.count_nonzero(ndi.binary_fill_holes(layer > 250) & body) > 0.5 * np.count_nonzero(body)
            for layer, body in zip(self.hu, self.body, strict=True)
            if body.any()
        ]
        return bool(enclosed) and int(sum(enclosed)) > 0.5 * len(enclosed)

    @property
    def implausible(self) -> str | None:
        """Why this can't be a patient at the size that the scan states, or None."""
        if not self.body.any():
            return "There is no body in this scan: nothing is denser than -300 HU."
        sides = [np.nonzero(self.body.any(axis=axes))[0] for axes in ((0, 2), (0, 1))]
        deep, wide = ((s[-1] - s[0] + 1) * mm for s, mm in zip(sides, self.spacing[1:], strict=True))
        if not (30 < deep < 700 and 30 < wide < 900):
            size = f"{wide:.0f} mm wide and {deep:.0f} mm deep"
            return f"What is seen is {size}: that is no patient, or the size that the scan states is wrong."
        return None

    @cached_property
    def midline(self) -> float:
        """x index of the patient's middle: of the spine where there is one, else of the body."""
        if self.spine_path:
            return float(np.median([x for _, x in self.spine_path.values()]))
        columns = np.nonzero(self.body.any(axis=(0, 1)))[0]
        return float(columns.mean()) if columns.size else (self.hu.shape[2] - 1) / 2

    @cached_property
    def canal(self) -> Path:
        """For each slice z in which the spinal canal runs, the (y, x) of its middle, without gaps."""
        return without_gaps(canal_path(self.hu, self.body, self.spacing))

    @cached_property
    def spine_path(self) -> Path:
        """For each slice z in which the spine runs, the (y, x) of a vertebra's middle: 10 mm before its canal's."""
        return {z: (max(y - 10 / self.spacing[1], 0.0), x) for z, (y, x) in self.canal.items()}

    def middle_at(self, z: float) -> float:
        """x index of the patient's middle at a slice: of the spine where there is one, else of the body."""
        return self.spine_at(z)[1] if self.spine_path else self.midline

    def spine_at(self, z: float) -> tuple[float, float]:
        """(y, x) of the spine at a slice, from the nearest one where it is seen; else the body's middle."""
        if self.spine_path:
            return self.spine_path[min(self.spine_path, key=lambda seen: abs(seen - z))]
        rows = np.nonzero(self.body.any(axis=(0, 2)))[0]
        return (float(rows.mean()) if rows.size else 0.0), self.midline


def block_means(data: NDArray[Any], factors: Grid) -> NDArray[np.float32]:
    """(Z, Y, X) averaged over blocks; what doesn't fill a block at the far ends is left out.

    Slabs of slices are taken one after another, so that no full-size float copy is made.
    """
    fz, fy, fx = factors
    z, y, x = (n // f for n, f in zip(data.shape, factors, strict=True))
    result = np.empty((z, y, x), np.float32)
    for at in range(z):
        slab = data[at * fz : (at + 1) * fz, : y * fy, : x * fx]
        blocks = np.asarray(slab).reshape(fz, y, fy, x, fx)
        result[at] = blocks.mean(axis=(0, 2, 4), dtype=np.float32)
    return result
