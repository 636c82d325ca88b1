"""The spinal canal in a CT: the landmark that every other place in the trunk is told from.

In a slice it is soft tissue with bone on nearly all sides and a vertebral body in front; nothing else in the trunk
is. From slice to slice it hardly moves, so the best path through all slices is searched for, which carries it over
discs, over vessels full of contrast, and through fields of view that show half of a patient.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage as ndi

from napari_ibisagent.core.masks import Mask

Path = dict[int, tuple[float, float]]

_DIRECTIONS = 12
# From the middle of the canal (15 to 25 mm wide) bone is met within this distance; spongy bone is above 160 HU.
_WALL_MM, _WALL_HU = 24.0, 160.0
# Where the vertebral body is looked for: its middle lies so far in front of the canal's.
_BODY_MM = 24.0
# A slice shows the canal where so much of the greatest possible score is reached.
_SEEN = 0.2
# Correlation of a vertebral arch with its mirror image; rotated patients and scolioses keep above it.
_EVEN_SIDES = 0.52
# Nerves and fluid have 0 to 50 HU, with some bone in the blocks a little more; a trochanter has 100 to 300.
_DENSE = 80.0
# The share of directions in which the canal is closed by bone, in most slices; between two arches it is open behind.
_CLOSED = 0.5
# A path that isn't the spine's is put aside so often before none is said to be in view.
_TRIES = 3


def canal_path(hu: NDArray[np.float32], body: Mask, spacing: tuple[float, float, float]) -> Path:
    """For each slice z where the spinal canal is seen, the (y, x) of its middle; empty where there is none.

    hu, body: (Z, Y, X); spacing: mm (z, y, x).
    """
    if min(hu.shape[1:]) * min(spacing[1:]) < 80:
        return {}  # a picture of a part that is smaller than a vertebra with its surroundings
    walled = _walled(hu > _WALL_HU, spacing)
    score = _score(hu, body, walled, spacing)
    for _ in range(_TRIES):
        path = _best_path(score, spacing)
        seen = [x for z, (y, x) in enumerate(path) if score[z, y, x] >= _SEEN]
        if not seen:
            return {}
        # Even a bent spine stays near to its middle; below its end the best path would turn to a thigh bone.
        near = np.abs(np.arange(hu.shape[2]) - np.median(seen)) * spacing[2] <= 30
        path = _best_path(score * near, spacing)
        found = {z: (float(y), float(x)) for z, (y, x) in enumerate(path) if near[x] and score[z, y, x] >= _SEEN}
        found = _longest_run(found, 30 / spacing[0])
        if found and _is_canal(found, hu, walled, spacing):
            return _centred(found, hu, spacing) if len(found) >= 0.2 * hu.shape[0] else {}
        score = score * ~near
    return {}


def _is_canal(
    path: Path, hu: NDArray[np.float32], walled: NDArray[np.float32], spacing: tuple[float, float, float]
) -> bool:
    """Whether what a path runs through is a spinal canal: closed, of soft tissue, and even on both sides."""
    closed = float(np.median([walled[z, round(y), round(x)] for z, (y, x) in path.items()]))
    return closed >= _CLOSED and _density(hu, path) <= _DENSE and _evenness(hu, path, spacing) >= _EVEN_SIDES


def _evenness(hu: NDArray[np.float32], path: Path, spacing: tuple[float, float, float]) -> float:
    """How like its mirror image the bone round and behind the path is: the median correlation over the slices.

    Laminae, transverse and spinous processes are alike on both sides; the walls of a hip joint are not.
    """
    bone = np.clip(hu, 60, 300)
    half = max(1, round(6 / spacing[0]))
    found = []
    for z, (y, x) in path.items():
        rows = slice(max(int(y - 10 / spacing[1]), 0), int(y + 40 / spacing[1]) + 1)
        layer = bone[max(z - half, 0) : z + half + 1, rows].mean(axis=0)
        best = -1.0
        for middle in range(round(x) - 3, round(x) + 4):
            side = min(int(36 / spacing[2]), middle, layer.shape[1] - 1 - middle)
            part = layer[:, middle - side : middle + side + 1]
            if side >= 4 and float(part.std()) > 0:
                best = max(best, float(np.corrcoef(part.ravel(), part[:, ::-1].ravel())[0, 1]))
        found.append(best)
    return float(np.median(found))


def _longest_run(path: Path, gap: float) -> Path:
    """The longest part of a path without a gap of more slices than that: beyond, something else was found."""
    runs: list[list[int]] = []
    for z in sorted(path):
        if runs and z - runs[-1][-1] <= gap + 1:
            runs[-1].append(z)
        else:
            runs.append([z])
    return {z: path[z] for z in max(runs, key=len, default=[])}


def _centred(path: Path, hu: NDArray[np.float32], spacing: tuple[float, float, float]) -> Path:
    """The path moved to the middle of the soft tissue within 10 mm of it."""
    rows, columns = np.mgrid[: hu.shape[1], : hu.shape[2]]
    result: Path = {}
    for z, (y, x) in path.items():
        near = ((rows - y) * spacing[1]) ** 2 + ((columns - x) * spacing[2]) ** 2 <= 100
        soft = near & (hu[z] > -30) & (hu[z] < 110)
        result[z] = (float(rows[soft].mean()), float(columns[soft].mean())) if soft.any() else (y, x)
    return result


def _density(hu: NDArray[np.float32], path: Path) -> float:
    """The median HU along a path: of nerves and fluid in a canal, of marrow and trabeculae in a long bone's shaft."""
    mean = ndi.uniform_filter(hu, (1, 3, 3))
    return float(np.median([mean[z, round(y), round(x)] for z, (y, x) in path.items()]))


def without_gaps(path: Path) -> Path:
    """A path with the slices between filled in, and smoothed over five slices."""
    if not path:
        return {}
    seen = sorted(path)
    heights = np.arange(seen[0], seen[-1] + 1)
    rows, columns = (np.interp(heights, seen, [path[z][axis] for z in seen]) for axis in (0, 1))
    rows, columns = (ndi.median_filter(values, 5, mode="nearest") for values in (rows, columns))
    return {int(z): (float(y), float(x)) for z, y, x in zip(heights, rows, columns, strict=True)}


def _score(
    hu: NDArray[np.float32], body: Mask, walled: NDArray[np.float32], spacing: tuple[float, float, float]
) -> NDArray[np.float32]:
    """(Z, Y, X) from 0 to 1: how well each voxel is walled in by bone, times the bone in front of it."""
    # Nerves, fluid and some fat: 0 to 110 HU; the yellow marrow of a long bone, walled in as well, is fat.
    mean = ndi.uniform_filter(hu, (1, 3, 3))
    soft = (hu > -30) & (hu < 130) & (mean > 0) & (mean < 110) & body
    walled = np.where(soft, walled, 0).astype(np.float32)
    reach = max(1, int(7 / spacing[1]))
    rows, columns = np.ogrid[-reach : reach + 1, -reach : reach + 1]
    disc = (rows**2 + columns**2 <= reach**2).astype(np.float32)
    bone = np.clip((hu - 60) / 100, 0, 1).astype(np.float32)
    bone = ndi.convolve(bone, (disc / disc.sum())[np.newaxis], mode="nearest")
    ahead = max(1, round(_BODY_MM / spacing[1]))
    # A vertebral body is 30 mm wide and more, and the canal lies behind its middle; a long bone is slimmer.
    aside = max(1, round(9 / spacing[2]))
    front = np.zeros_like(bone)
    front[:, ahead:, aside:-aside] = np.minimum(bone[:, :-ahead, 2 * aside :], bone[:, :-ahead, : -2 * aside])
    # Over 25 mm in z there is always an arch behind and bone in front, never only a disc.
    slices = 2 * round(12 / spacing[0]) + 1
    score = ndi.uniform_filter(walled, (1, 3, 3)) * front
    return np.asarray(ndi.uniform_filter1d(score, slices, axis=0, mode="nearest"), dtype=np.float32)


def _walled(bone: Mask, spacing: tuple[float, float, float]) -> NDArray[np.float32]:
    """The share of in-plane directions in which bone is met within ``_WALL_MM``."""
    hits = np.zeros(bone.shape, np.float32)
    distances = np.arange(6.0, _WALL_MM + 0.1, min(spacing[1], spacing[2]))
    for angle in np.arange(_DIRECTIONS) * 2 * np.pi / _DIRECTIONS:
        steps = {
            (round(float(np.sin(angle)) * mm / spacing[1]), round(float(np.cos(angle)) * mm / spacing[2]))
            for mm in distances
        }
        hit = np.zeros_like(bone)
        for dy, dx in steps:
            hit |= _moved(bone, dy, dx)
        hits += hit
    return np.asarray(hits / _DIRECTIONS, dtype=np.float32)


def _moved(mask: Mask, dy: int, dx: int) -> Mask:
    """A mask (Z, Y, X) whose voxel (y, x) is the old (y + dy, x + dx); False comes in from outside."""
    result = np.zeros_like(mask)
    _, height, width = mask.shape
    if abs(dy) < height and abs(dx) < width:
        to_rows, from_rows = slice(max(-dy, 0), height - max(dy, 0)), slice(max(dy, 0), height + min(dy, 0))
        to_columns, from_columns = slice(max(-dx, 0), width - max(dx, 0)), slice(max(dx, 0), width + min(dx, 0))
        result[:, to_rows, to_columns] = mask[:, from_rows, from_columns]
    return result


def _best_path(score: NDArray[np.float32], spacing: tuple[float, float, float]) -> list[tuple[int, int]]:
    """(y, x) for each slice: the path of the greatest sum that moves at most 45 degrees from slice to slice."""
    count, height, width = score.shape
    move = max(1, round(spacing[0] / spacing[1]))
    rows, columns = np.mgrid[-move : move + 1, -move : move + 1]
    steps = list(zip(rows.ravel().tolist(), columns.ravel().tolist(), strict=True))
    total = score[0].copy()
    choices = np.zeros((count, height, width), np.int16)
    for z in range(1, count):
        padded = np.pad(total, move, constant_values=-np.inf)
        best = np.full((height, width), -np.inf, np.float32)
        for number, (dy, dx) in enumerate(steps):
            cost = 0.03 * float(np.hypot(dy, dx)) * spacing[1] / spacing[0]
            at = padded[move + dy : move + dy + height, move + dx : move + dx + width] - cost
            better = at > best
            best[better] = at[better]
            choices[z][better] = number
        total = best + score[z]
    y, x = (int(n) for n in np.unravel_index(int(total.argmax()), total.shape))
    path = [(y, x)]
    for z in range(count - 1, 0, -1):
        dy, dx = steps[int(choices[z, y, x])]
        y, x = y + dy, x + dx
        path.append((y, x))
    return path[::-1]
