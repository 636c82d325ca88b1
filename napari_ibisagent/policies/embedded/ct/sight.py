"""From evidence to a goal: the mask, on one view, that the policy expects the tool to reach."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage as ndi

from napari_ibisagent.core.masks import Mask
from napari_ibisagent.core.view import AXES, Plane, View, slice_of, view_of
from napari_ibisagent.core.volume import Volume
from napari_ibisagent.policies.embedded.ct.findings import Finding
from napari_ibisagent.policies.embedded.ct.survey import Survey

# Parts of a slice's evidence smaller than this share of its largest part are left out where any number is allowed.
_SMALL_PART = 0.06


def best_slice(finding: Finding, survey: Survey, plane: Plane, count: int) -> int:
    """The slice (of ``count``) of a plane in which the evidence covers the most."""
    axis = AXES[plane][0]
    areas = finding.mask.sum(axis=tuple(a for a in range(3) if a != axis))
    if (
        finding.parts == 0 and not finding.solid
    ):  # of a tissue, a slice with far more than the usual is more often a fault of the evidence
        areas = np.where(areas > 2.5 * np.median(areas[areas > 0]), 0, areas)
    if finding.key is not None and axis == 0:
        first, last = finding.key
        preferred = np.zeros_like(areas)
        preferred[first : last + 1] = areas[first : last + 1]
        areas = preferred if preferred.any() else areas
    factor = survey.factors[axis]
    return min(int(areas.argmax()) * factor + factor // 2, count - 1)


def evidence_in(finding: Finding, survey: Survey, view: View) -> Mask:
    """The evidence (H, W) on a view's own pixels: near the coarse mask, and like what is inside of it."""
    coarse = _coarse_slice(finding.mask, survey, view)
    if not coarse.any():
        return coarse
    pixel = view.pixel_mm or 1.0
    smooth = ndi.gaussian_filter(view.image.astype(np.float32), min(1.0 / pixel, 2.0))
    if finding.solid:
        return _main_parts(_solid(finding, coarse, smooth, survey, view), finding.parts)
    low, high = finding.gate or _gate(smooth, coarse)
    reach = max(1, round(4 / pixel))
    near = ndi.distance_transform_edt(~coarse) <= reach
    goal = near & (smooth >= low) & (smooth <= high)
    if finding.parts:
        goal = ndi.binary_opening(goal, iterations=max(1, round(1.5 / pixel)))
        goal = ndi.binary_fill_holes(goal)
    elif pixel < 1.5:  # a tissue: single fine pixels of it are not worth a click, single coarse ones may be
        goal = ndi.binary_opening(ndi.binary_closing(goal))
    return _main_parts(goal & ~_far_from(coarse, 2 * reach), finding.parts)


goal_in_view = evidence_in


def volume_evidence(finding: Finding, survey: Survey, volume: Volume) -> Mask:
    """The evidence (Z, Y, X) at full resolution: that of every axial slice."""
    result = np.zeros(volume.shape, bool)
    factor = survey.factors[0]
    for z in np.nonzero(finding.mask.any(axis=(1, 2)))[0]:
        last = int(z) == finding.mask.shape[0] - 1
        for index in range(int(z) * factor, volume.shape[0] if last else (int(z) + 1) * factor):
            view = view_of(volume, Plane.AXIAL, index)
            result[index] = view.to_native(evidence_in(finding, survey, view))
    return result


def _solid(finding: Finding, coarse: Mask, smooth: NDArray[np.float32], survey: Survey, view: View) -> Mask:
    """The coarse slice with its border drawn anew by HU, within half a coarse voxel; its inside stays."""
    _, row_axis, column_axis = AXES[view.plane]
    reach = max(survey.factors[row_axis], survey.factors[column_axis]) // 2
    if not reach:
        return coarse
    low, high = finding.gate or _gate(smooth, coarse)
    rounded = ndi.gaussian_filter(coarse.astype(np.float32), reach) > 0.5
    inside = ndi.binary_erosion(rounded, iterations=reach, border_value=1)
    near = ndi.binary_dilation(rounded, iterations=reach)
    return np.asarray(inside | (near & (smooth >= low) & (smooth <= high)))


def _coarse_slice(mask: Mask, survey: Survey, view: View) -> Mask:
    """The slice of a coarse mask under a view, on the view's pixels."""
    sliced, row_axis, column_axis = AXES[view.plane]
    index = min(view.index // survey.factors[sliced], mask.shape[sliced] - 1)
    blocks = slice_of(mask, view.plane, index)
    rows = np.minimum(np.arange(view.native[0]) // survey.factors[row_axis], blocks.shape[0] - 1)
    columns = np.minimum(np.arange(view.native[1]) // survey.factors[column_axis], blocks.shape[1] - 1)
    return view.from_native(blocks[rows[:, np.newaxis], columns])


def _gate(smooth: NDArray[np.float32], coarse: Mask) -> tuple[float, float]:
    """The HU range of an organ: what is safely inside of the coarse mask, and out to its true border.

    A border between two tissues lies where the blurred picture is half-way between them; so where much of the
    surroundings is clearly darker (fat, lung) or brighter, the range reaches half-way to that.
    """
    inside = ndi.binary_erosion(coarse, iterations=2)
    values = smooth[inside if np.count_nonzero(inside) > 20 else coarse]
    middle = float(np.median(values))
    spread = max(1.4826 * float(np.median(np.abs(values - middle))), 6.0)
    low, high = middle - 3 * spread, middle + 3.5 * spread
    far = ndi.distance_transform_edt(~coarse)
    around = smooth[(far > 2) & (far < 8)]
    for darker, select in ((True, around < middle - 40), (False, around > middle + 40)):
        if np.count_nonzero(select) < 0.2 * around.size:
            continue
        half = (middle + float(np.median(around[select]))) / 2
        low, high = (min(low, half), high) if darker else (low, max(high, half))
    return low, max(high, float(np.percentile(smooth[coarse], 90)))


def _far_from(coarse: Mask, pixels: int) -> Mask:
    return np.asarray(ndi.distance_transform_edt(~coarse) > pixels)


def _main_parts(goal: Mask, parts: int) -> Mask:
    """The ``parts`` largest connected parts; with 0 all but the smallest ones."""
    labels, count = ndi.label(goal)
    if count < 2:
        return goal
    sizes = np.bincount(labels.ravel())
    sizes[0] = 0
    keep = np.zeros(count + 1, bool)
    if parts:
        keep[np.argsort(sizes)[-parts:]] = True
        keep &= sizes >= 0.2 * sizes.max()
    else:
        keep = sizes >= max(_SMALL_PART * sizes.max(), 1)
    return np.asarray(keep[labels])
