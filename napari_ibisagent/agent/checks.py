"""Checks on a finished mask that the user has to know about: the patient's side, and how sure the agent was."""

from __future__ import annotations

import numpy as np

from napari_ibisagent.core.carrying import End
from napari_ibisagent.core.episode import Episode, Outcome
from napari_ibisagent.core.masks import Mask
from napari_ibisagent.core.target import Side, Target
from napari_ibisagent.core.view import Plane, View, slice_of
from napari_ibisagent.core.volume import Volume

# Nearer to the middle than this share of the body's width a mask is on no side.
_MIDDLE = 0.03


def side_warning(volume: Volume, view: View, mask: Mask, target: Target | None) -> str | None:
    """A sentence where a mask (rows, columns on voxels) of a sided target lies on the patient's other side.

    The patient's middle is the middle of what is brighter than the background, in the slice or, for a sagittal
    view, in the volume. x runs from the patient's right to the left.
    """
    if target is None or target.side is Side.NONE or not mask.any():
        return None
    if target.side is Side.BOTH:
        return _one_side_missing(volume, view, mask, target)
    if not volume.has_orientation:
        return f"This picture doesn't say which side is the patient's {target.side.value}: check the side yourself."
    left, right = _extent(volume, view)
    x = float(view.index) if view.plane is Plane.SAGITTAL else float(np.nonzero(mask)[1].mean())
    offset = (x - (left + right) / 2) / max(right - left, 1.0)
    wrong = offset < -_MIDDLE if target.side is Side.LEFT else offset > _MIDDLE
    if not wrong:
        return None
    lies = "right" if target.side is Side.LEFT else "left"
    return f"You asked for {target.phrase}, but the mask lies on the patient's {lies} side. Check the side."


def _one_side_missing(volume: Volume, view: View, mask: Mask, target: Target) -> str | None:
    """A sentence where a mask of a pair lies on one side only; a sagittal slice shows one side anyway."""
    if view.plane is Plane.SAGITTAL:
        return None
    left, right = _extent(volume, view)
    columns = np.nonzero(mask)[1] - (left + right) / 2
    share = float(np.mean(columns > 0))
    if 0.05 < share < 0.95:
        return None
    return f"You asked for {target.phrase}, but the mask lies on one side only. Check the other side."


def quality_warnings(episode: Episode) -> list[str]:
    """What the outcome itself gives reason to warn about."""
    warnings = []
    if episode.outcome is Outcome.STEP_LIMIT:
        warnings.append(f"The agent was stopped before it said that it was done: {episode.reason}")
    if episode.outcome is Outcome.DONE and episode.reason.startswith("unsure"):
        warnings.append(f"The agent is {episode.reason}")
    return warnings


def carrying_warnings(episode: Episode) -> list[str]:
    """What to check of a mask that was carried through the volume: an early end, and doubtful slices."""
    carrying = episode.carrying
    if carrying is None:
        return []
    warnings = []
    if carrying.end is not End.COMPLETE:
        how = f"{len(carrying.slices) + 1} of at most {carrying.last - carrying.first + 1} slices are done"
        warnings.append(f"The mask isn't carried through the whole volume: {how}. {carrying.reason}".strip())
    if carrying.doubtful:
        warnings.append(f"Check {in_words([done.index for done in carrying.doubtful])}.")
    return warnings


def carried_side(volume: Volume, view: View, mask: Mask, target: Target | None) -> str:
    """A sentence where the mask (H, W) that was carried to a view lies on the wrong side, or nothing."""
    if target is None or target.side not in (Side.LEFT, Side.RIGHT) or not volume.has_orientation:
        return ""
    wrong = side_warning(volume, view, view.to_native(mask), target)
    return f"The mask lies on the side that isn't {target.phrase}'s." if wrong else ""


def in_words(indices: list[int]) -> str:
    """Slice numbers in ascending order, runs joined: "slice 31", "slices 31, 44 to 47"."""
    runs: list[list[int]] = []
    for index in indices:
        if runs and index == runs[-1][-1] + 1:
            runs[-1].append(index)
        else:
            runs.append([index])
    parts: list[str] = []
    for run in runs:
        parts += [str(n) for n in run] if len(run) < 3 else [f"{run[0]} to {run[-1]}"]
    return f"slice{'s' if len(indices) > 1 else ''} {', '.join(parts)}"


def _extent(volume: Volume, view: View) -> tuple[float, float]:
    """The first and last column (x voxel index) of the body."""
    if view.plane is Plane.SAGITTAL:
        middle = volume.data[volume.shape[0] // 2]
    else:
        middle = slice_of(volume.data, view.plane, view.index)
    grey = middle.mean(axis=2) if middle.ndim == 3 else middle
    low, high = (float(v) for v in np.percentile(grey, (1, 99)))
    threshold = -300.0 if volume.modality == "CT" else low + 0.15 * (high - low)
    columns = np.nonzero(np.count_nonzero(grey > threshold, axis=0) > 0.05 * grey.shape[0])[0]
    if columns.size == 0:
        return 0.0, float(grey.shape[1] - 1)
    return float(columns[0]), float(columns[-1])
