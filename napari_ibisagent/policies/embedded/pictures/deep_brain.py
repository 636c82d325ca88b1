"""Deep structures of the brain in a T1 volume, by their place in a standard brain and by their shade.

The brain's box is stretched to that of a standard brain, as Talairach and Tournoux do (Co-planar stereotaxic atlas of
the human brain, 1988); the ellipsoids below stand for the structures in mm of the MNI space, rounded from atlases.
Works only in a volume whose skull was removed, since the box is the brain's. A place in a standard brain is weak
evidence: the answers are unsure, and pathology that moves the brain is not followed.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage as ndi

from napari_ibisagent.core.masks import Mask, bounding_box
from napari_ibisagent.core.target import Side
from napari_ibisagent.core.view import AXES, View
from napari_ibisagent.core.volume import Volume
from napari_ibisagent.policies.embedded.absent import Absent
from napari_ibisagent.policies.embedded.pictures.brain import head_in
from napari_ibisagent.policies.embedded.pictures.brain_shades import shades_of
from napari_ibisagent.policies.embedded.pictures.sighting import Look, Sighting

# A standard brain in mm: half its width, its front and back end from the anterior commissure, its top.
_HALF_WIDTH, _FRONT, _BACK, _TOP = 69.0, 73.0, -105.0, 80.0
# A brain without skull is so many mm wide and long (children to large adults).
_WIDE, _LONG = (105.0, 165.0), (130.0, 205.0)


@dataclass(frozen=True, slots=True)
class _Place:
    """An ellipsoid in mm: centre (from the middle outwards, forwards, upwards), half axes, and the shade kept."""

    centre: tuple[float, float, float]
    half: tuple[float, float, float]
    shade: str  # "grey", or "tissue": grey and white matter


_PLACES: dict[str, tuple[_Place, ...]] = {
    "thalamus": (_Place((11, -18, 7), (9.5, 14, 9), "tissue"),),
    "caudate": (
        _Place((12, 13, 6), (6.5, 11, 11), "grey"),
        _Place((15, -2, 19), (5, 14, 6), "grey"),
    ),
    "putamen": (_Place((26, 2, 1), (8, 18, 11), "tissue"),),
    "hippocampus": (_Place((26, -22, -14), (9, 19, 8), "grey"),),
    "amygdala": (_Place((23, -5, -19), (8, 8, 8), "grey"),),
    "brainstem": (_Place((0, -28, -32), (17, 15, 32), "tissue"),),
    **dict.fromkeys(("cerebellum", "cerebellar_cortex"), (_Place((22, -63, -36), (36, 32, 25), "tissue"),)),
}
KEYS = frozenset(_PLACES)


def deep_structure(look: Look) -> Sighting | Absent:
    """The part of the view that lies where the structure lies in a standard brain, in its shade."""
    box = _brain_box(look.volume)
    if isinstance(box, Absent):
        return Absent(f"{box.reason} Without it I can't say where the {look.name} lies.")
    head = head_in(look)
    if isinstance(head, Absent):
        return head
    shades = shades_of(look.small, head, look.volume)
    if shades is None:
        return Absent(f"The shades of this slice aren't those of a T1 picture, so I can't tell the {look.name}.")
    at = _standard_mm(look.view, look.small.shape, look.volume, box)
    _, grey, white = shades
    allowed = {"grey": grey, "tissue": np.asarray(grey | white)}
    mask = np.zeros(look.small.shape, bool)
    for place in _PLACES[look.key]:
        mask |= _inside(place, at) & ndi.binary_dilation(allowed[place.shade])
    right = at[0]
    if look.side in (Side.LEFT, Side.RIGHT) and look.key != "brainstem":
        mask &= (right < 0) if look.side is Side.LEFT else (right > 0)
    mask = ndi.binary_fill_holes(ndi.binary_opening(mask))
    if np.count_nonzero(mask) < 6:
        return Absent(f"In a standard brain this slice doesn't cut the {look.name}, or its shade isn't there.")
    facts = (
        "lies where it does in a standard brain of this brain's width and length",
        "has the shade that it has in T1",
        "a place alone is weak evidence: check the border",
    )
    return Sighting(look.small.on_view(np.asarray(mask)), facts, 0.4)


def deep_mask(look: Look) -> Mask | None:
    """(h, w): where the deep structures, the brainstem and the cerebellum lie; None where the place isn't known."""
    box = _brain_box(look.volume)
    if isinstance(box, Absent):
        return None
    at = _standard_mm(look.view, look.small.shape, look.volume, box)
    inside = [_inside(place, at) for places in _PLACES.values() for place in places]
    return np.asarray(np.logical_or.reduce(inside))


def _inside(place: _Place, at: tuple[NDArray[np.float64], ...]) -> Mask:
    """Where points (right, forward, up) in mm lie in an ellipsoid or its mirror image."""
    axes = (np.abs(at[0]), *at[1:])
    return np.asarray(sum(((a - c) / h) ** 2 for a, c, h in zip(axes, place.centre, place.half, strict=True)) <= 1)


def _brain_box(volume: Volume) -> tuple[NDArray[np.float64], NDArray[np.float64]] | Absent:
    """(first, last) voxel index (z, y, x) of the brain in a volume that shows nothing else."""
    if not volume.has_spacing or not volume.has_orientation or min(volume.shape) < 20:
        return Absent("This isn't a volume of a whole brain with size and sides.")
    steps = np.array([max(1, round(3.0 / mm)) for mm in volume.spacing_mm])
    sample = np.asarray(volume.data[tuple(slice(None, None, int(s)) for s in steps)], np.float32)
    ground = float(sample[0, 0, 0])
    if np.mean(sample == ground) < 0.25:
        return Absent("The skull wasn't removed from this volume.")
    lit = ndi.binary_opening(sample > ground + 0.1 * float(np.percentile(sample, 99) - ground))
    box = bounding_box(np.asarray(lit))
    if box is None:
        return Absent("The volume is empty.")
    first = np.array([b.start for b in box]) * steps
    last = np.array([b.stop - 1 for b in box]) * steps
    size = (last - first) * np.array(volume.spacing_mm)
    cut = any(b.start == 0 or b.stop == n for b, n in zip(box[1:], lit.shape[1:], strict=True)) or box[0].start == 0
    if cut or not (_LONG[0] < size[1] < _LONG[1] and _WIDE[0] < size[2] < _WIDE[1] and size[0] > 80):
        return Absent("This volume doesn't show one whole brain without its skull.")
    return first.astype(float), last.astype(float)


def _standard_mm(
    view: View, shape: tuple[int, int], volume: Volume, box: tuple[NDArray[np.float64], NDArray[np.float64]]
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """(right, forward, up) in mm of the standard brain for each shrunk pixel, each broadcastable to (h, w)."""
    first, last = box
    sliced, row_axis, column_axis = AXES[view.plane]
    index: list[NDArray[np.float64]] = [np.array([[float(view.index)]])] * 3
    index[sliced] = np.array([[float(view.index)]])
    index[row_axis] = (((np.arange(shape[0]) + 0.5) / shape[0]) * view.native[0] - 0.5)[:, np.newaxis]
    index[column_axis] = (((np.arange(shape[1]) + 0.5) / shape[1]) * view.native[1] - 0.5)[np.newaxis]
    z, y, x = index
    width, length = (last - first)[2], (last - first)[1]
    # Columns run from the patient's right to the left, rows from front to back, slices from head to feet.
    right = ((first[2] + last[2]) / 2 - x) / width * 2 * _HALF_WIDTH
    forward = _FRONT - (y - first[1]) / length * (_FRONT - _BACK)
    scale_y = (_FRONT - _BACK) / (length * volume.spacing_mm[1])
    scale_x = 2 * _HALF_WIDTH / (width * volume.spacing_mm[2])
    up = _TOP - (z - first[0]) * volume.spacing_mm[0] * (scale_x + scale_y) / 2
    return right, forward, up
