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

_COARSE_MM = 3.0
# A vertebra's cross-section is above this; a femur's or humerus's is below.
_VERTEBRA_MM2 = 700.0
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
        """Smoothed HU (Z, Y, X) for telling soft tissues apart; the smoothing doesn't cross 4 mm."""
        sigma = [4.0 / mm / 2 if n > 1 else 0.0 for mm, n in zip(self.spacing, self.hu.shape, strict=True)]
        return np.asarray(ndi.gaussian_filter(np.clip(self.hu, -200, 400), sigma))

    @cached_property
    def unrest(self) -> NDArray[np.float32]:
        """Local standard deviation of HU (Z, Y, X) over the next neighbours: low inside of solid organs."""
        clipped = np.clip(self.hu, -200, 400)
        size = tuple(min(3, n) for n in self.hu.shape)
        mean = ndi.uniform_filter(clipped, size)
        return np.asarray(np.sqrt(np.maximum(ndi.uniform_filter(clipped**2, size) - mean**2, 0)))

    @cached_property
    def bone(self) -> Mask:
        """Everything in the body above 180 HU in parts of at least 2 mL, but organs full of contrast."""
        bright = (self.hu > 180) & self.body
        return large_parts(bright & ~self.contrast, 2 / self.voxel_ml)

    @cached_property
    def contrast(self) -> Mask:
        """Kidneys, heart and vessels full of contrast: as bright as spongy bone, but thick and without a hard shell."""
        thick = (self.soft > 120) & self.body & ~self.near_spine
        parts, _ = ndi.label(ndi.binary_erosion(thick, self.ball(6), border_value=1))
        result = np.zeros(self.hu.shape, bool)
        margin = [int(12 / mm) + 1 for mm in self.spacing]
        for number, window in enumerate(ndi.find_objects(parts), start=1):
            near = tuple(slice(max(w.start - m, 0), w.stop + m) for w, m in zip(window, margin, strict=True))
            core = parts[near] == number
            if self.ml(core) < 3:
                continue
            whole = ndi.binary_dilation(core, self.ball(10)) & thick[near]
            shell = whole & ~ndi.binary_dilation(core, self.ball(3))
            inside = float(self.hu[near][core].mean())
            if not shell.any() or float(np.mean(self.hu[near][shell] > max(330.0, inside + 60))) < 0.3:
                result[near] |= whole
        return result

    @cached_property
    def near_spine(self) -> Mask:
        """Where a vertebra with its arch can be: 32 mm in front of the spine's middle, 45 behind, 38 to the sides."""
        near = np.zeros(self.hu.shape, bool)
        for z, (y, x) in self.spine_path.items():
            back = (np.arange(self.hu.shape[1]) - y) * self.spacing[1]
            rows = np.where(back < 0, back / 32, back / 45)[:, np.newaxis]
            columns = ((np.arange(self.hu.shape[2]) - x) * self.spacing[2] / 38)[np.newaxis]
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
    def spine_path(self) -> dict[int, tuple[float, float]]:
        """For each slice z where a vertebra is seen, the (y, x) of its middle."""
        path: dict[int, tuple[float, float]] = {}
        for z in range(self.hu.shape[0]):
            found = self._vertebra(z)
            if found is not None:
                path[z] = found
        if len(path) < 0.4 * self.hu.shape[0]:
            return {}
        middle = float(np.median([x for _, x in path.values()]))
        limit = 25 / self.spacing[2]
        return _straight({z: at for z, at in path.items() if abs(at[1] - middle) <= limit}, 25 / self.spacing[1])

    def spine_at(self, z: float) -> tuple[float, float]:
        """(y, x) of the spine at a slice, from the nearest one where it is seen; else the body's middle."""
        if self.spine_path:
            return self.spine_path[min(self.spine_path, key=lambda seen: abs(seen - z))]
        rows = np.nonzero(self.body.any(axis=(0, 2)))[0]
        return (float(rows.mean()) if rows.size else 0.0), self.midline

    @cached_property
    def pelvic(self) -> NDArray[np.bool_]:
        """Which slices (Z,) have a large bone on both sides, away from the middle and below the lungs: hips."""
        columns = (np.arange(self.hu.shape[2]) - self.midline) * self.spacing[2]
        # 250 HU is above what contrast gives to kidneys; ribs are smaller than 450 square mm in a slice.
        hard = self.hu > 250
        sides = ((columns < -40) & (columns > -190), (columns > 40) & (columns < 190))
        found = np.zeros(self.hu.shape[0], bool)
        lowest_lung = max(np.nonzero(self.lungs.any(axis=(1, 2)))[0], default=-1)
        for z in range(lowest_lung + 1, self.hu.shape[0]):
            areas = [np.count_nonzero(largest_part(hard[z][:, side])) for side in sides]
            found[z] = min(areas) * self.spacing[1] * self.spacing[2] > 450
        return found

    def _vertebra(self, z: int) -> tuple[float, float] | None:
        """The middle (y, x) of the bone in the central back of a slice."""
        body = self.body[z]
        rows = np.nonzero(body.any(axis=1))[0]
        columns = np.nonzero(body.any(axis=0))[0]
        if rows.size < 10 or columns.size < 10:
            return None
        bone = self.hu[z] > 120
        centre = (columns[0] + columns[-1]) / 2
        half = min(45 / self.spacing[2], (columns[-1] - columns[0]) / 4)
        left, right = int(max(centre - half, 0)), int(centre + half) + 1
        top = int(rows[0] + 0.4 * (rows[-1] - rows[0]))
        window = bone[top : rows[-1] + 1, left:right]
        found = None
        parts, count = ndi.label(window)
        for number in range(1, count + 1):
            part = ndi.binary_fill_holes(parts == number)
            if np.count_nonzero(part) * self.spacing[1] * self.spacing[2] < _VERTEBRA_MM2:
                continue
            # A vessel full of contrast is as bright, but even; a vertebra has a hard shell and a soft core.
            if float(self.hu[z, top : rows[-1] + 1, left:right][part].std()) < 50:
                continue
            y, x = ndi.center_of_mass(part)
            if found is None or y > found[0]:  # the heart and the aorta lie in front of it
                found = (float(y), float(x))
        return None if found is None else (found[0] + top, found[1] + left)


def _straight(points: dict[int, tuple[float, float]], limit: float) -> dict[int, tuple[float, float]]:
    """The points (y, x) by z that lie at most ``limit`` in front of their common line (Theil and Sen's slope).

    The heart and the aorta, full of contrast, stand in for vertebrae in slices that show a disc.
    """
    z = np.array(sorted(points), float)
    y = np.array([points[int(at)][0] for at in z])
    rows, columns = np.triu_indices(z.size, 1)
    slope = float(np.median((y[columns] - y[rows]) / (z[columns] - z[rows]))) if rows.size else 0.0
    offset = float(np.median(y - slope * z))
    return {at: place for at, place in points.items() if place[0] > slope * at + offset - limit}


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


def opened(mask: Mask, footprint: Mask) -> Mask:
    """Binary opening in which the scan's own border doesn't erode: organs may be cut by the field of view."""
    return np.asarray(ndi.binary_dilation(ndi.binary_erosion(mask, footprint, border_value=1), footprint))


def closed(mask: Mask, footprint: Mask) -> Mask:
    """Binary closing in which the scan's own border doesn't erode."""
    return np.asarray(ndi.binary_erosion(ndi.binary_dilation(mask, footprint), footprint, border_value=1))


def largest_part(mask: Mask) -> Mask:
    """The largest connected part of a mask of any number of axes."""
    parts, count = ndi.label(mask)
    if count < 2:
        return mask
    sizes = np.bincount(parts.ravel())
    sizes[0] = 0
    return np.asarray(parts == int(sizes.argmax()))


def large_parts(mask: Mask, voxels: float) -> Mask:
    """The connected parts of at least that many voxels."""
    parts, _ = ndi.label(mask)
    sizes = np.bincount(parts.ravel())
    keep = sizes >= voxels
    keep[0] = False
    return np.asarray(keep[parts])
