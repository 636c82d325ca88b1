"""Plays every task of a manifest and scores it. The score is the one that training rewards use as well.

What is scored is the slice that was worked on, on its own voxels, or the whole volume where that is the extent. A
policy that answers "not found" has an empty prediction there; where it chose no slice, the slice with the most truth
stands in.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_ibisagent import registry
from napari_ibisagent.agent.carry import whole_mask
from napari_ibisagent.agent.job import Job, Result, perform
from napari_ibisagent.agent.recorder import Recorder
from napari_ibisagent.agent.stop import Limits
from napari_ibisagent.core.carrying import Extent
from napari_ibisagent.core.episode import Episode, Outcome
from napari_ibisagent.core.errors import IbisError
from napari_ibisagent.core.masks import Mask, dice, iou
from napari_ibisagent.core.protocols import Locator, Policy, Segmenter
from napari_ibisagent.core.view import AXES, Plane, slice_of
from napari_ibisagent.core.volume import Volume
from napari_ibisagent.evaluation.manifest import Case, Task
from napari_ibisagent.evaluation.metrics import Scores, score
from napari_ibisagent.io.read import read_mask, read_scan


@dataclass(frozen=True, slots=True)
class Setting:
    """What is evaluated. ``clicks`` is the oracle's budget; other policies have ``max_steps``.

    ``extent`` is "slice" or "volume"; for a volume ``propagator`` carries the key slice's mask on.
    """

    policy: str
    segmenter: str
    clicks: int = 5
    max_steps: int = 20
    reasoning: bool = False
    extent: str = "slice"
    propagator: str = "neighbour"


@dataclass(frozen=True, slots=True)
class Row:
    """One task's result. Times in seconds; ``iou_by_step`` after each step of the episode, on its slice.

    For a volume the overlaps and distances are those of the volume. slices: how many have a mask; doubtful: how many
    of them are marked to be checked; key_dice: the Dice of the slice that was worked on.
    """

    case: str
    modality: str
    target: str
    prompt: str
    outcome: str
    slice: int | None
    iou: float
    dice: float
    hd95_mm: float | None
    surface_dice_2mm: float | None
    steps: int
    seconds: float
    iou_by_step: tuple[float, ...]
    reason: str
    extent: str = "slice"
    slices: int = 0
    doubtful: int = 0
    key_dice: float | None = None

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Skipped:
    """A case or task that was not scored, and why."""

    case: str
    target: str
    reason: str


def evaluate_cases(
    cases: tuple[Case, ...], setting: Setting, *, cancelled: Callable[[], bool] = lambda: False
) -> Iterator[Row | Skipped]:
    """Plays every task; a case that can't be read is passed over with its reason, and the rest goes on."""
    segmenter: Segmenter = registry.load("segmenters", setting.segmenter)
    embedded: Policy = registry.load("policies", "embedded")
    for item in read_tasks(cases):
        if cancelled():
            return
        yield item if isinstance(item, Skipped) else _play(*item, setting, segmenter, embedded)


def read_tasks(cases: Sequence[Case]) -> Iterator[tuple[Case, Task, Volume, Mask] | Skipped]:
    """Every task with its scan and its truth (Z, Y, X); what can't be read is passed over with its reason."""
    for case in cases:
        if case.skipped is not None or case.image is None:
            yield Skipped(case.name, "", case.skipped or "it has no image")
            continue
        try:
            volume = read_scan(case.image)
        except IbisError as error:
            yield Skipped(case.name, "", str(error))
            continue
        for task in case.tasks:
            try:
                truth = _truth(task, volume)
            except IbisError as error:
                yield Skipped(case.name, task.target, str(error))
                continue
            yield case, task, volume, truth


def _truth(task: Task, volume: Volume) -> Mask:
    """(Z, Y, X) of a task, or of all its parts."""
    truth: Mask = np.zeros(volume.shape, bool)
    for part in task.parts or (task,):
        truth |= read_mask(part.mask, volume, part.value)
    return truth


def _play(
    case: Case, task: Task, volume: Volume, truth: Mask, setting: Setting, segmenter: Segmenter, embedded: Policy
) -> Row:
    oracle = setting.policy == "oracle"
    if oracle:
        policy: Policy = registry.load("policies", "oracle", truth=truth, clicks=setting.clicks)
    else:
        policy = embedded if setting.policy == "embedded" else registry.load("policies", setting.policy)
    locator = policy if isinstance(policy, Locator) else embedded
    if not isinstance(locator, Locator):
        raise TypeError("The embedded policy can choose slices.")
    prompt = (task.reasoning_prompt if setting.reasoning else None) or task.prompt
    limits = Limits(steps=setting.clicks + 1 if oracle else setting.max_steps)
    extent = Extent(setting.extent)
    propagator = registry.load("propagators", setting.propagator) if extent is Extent.VOLUME else None
    job = Job(
        *(volume, prompt, Plane.AXIAL, None, policy, segmenter, locator, limits),
        extent=extent,
        propagator=propagator,
    )
    started = time.perf_counter()
    result = perform(job, Recorder())
    seconds = time.perf_counter() - started
    return _row(case, task, volume, truth, result, prompt, seconds)


def _row(case: Case, task: Task, volume: Volume, truth: Mask, result: Result, prompt: str, seconds: float) -> Row:
    episode, view = result.episode, result.view
    index = _fullest(truth) if view is None else view.index
    expected = slice_of(truth, Plane.AXIAL, index)
    found = episode.outcome in (Outcome.DONE, Outcome.STEP_LIMIT)
    empty: NDArray[np.bool_] = np.zeros(expected.shape, bool)
    on_slice = view.to_native(episode.mask_array()) if found and view is not None else empty
    scores = _scores(volume, truth, episode, index, on_slice)
    by_step = (
        ()
        if view is None
        else tuple(
            round(iou(view.to_native(step.mask.array()), expected), 4)
            for step in episode.steps
            if step.mask is not None
        )
    )
    carrying = episode.carrying
    return Row(
        case.name,
        case.modality,
        task.target,
        prompt,
        "failed" if episode.outcome is None else episode.outcome.value,
        None if view is None else view.index,
        scores.iou,
        scores.dice,
        scores.hd95_mm,
        scores.surface_dice_2mm,
        len(episode.steps),
        round(seconds, 4),
        by_step,
        episode.reason,
        episode.extent.value,
        int(on_slice.any()) + (0 if carrying is None else len(carrying.slices)),
        0 if carrying is None else len(carrying.doubtful),
        dice(on_slice, expected),
    )


def _scores(volume: Volume, truth: Mask, episode: Episode, index: int, on_slice: Mask) -> Scores:
    """The scores of the extent that was asked for; ``on_slice`` (rows, columns) is empty where nothing was found."""
    spacing = volume.spacing_mm if volume.has_spacing else None
    if episode.extent is Extent.VOLUME:
        whole = whole_mask(episode, volume) if on_slice.any() else np.zeros(volume.shape, bool)
        return score(whole, truth, spacing)
    _, row_axis, column_axis = AXES[Plane.AXIAL]
    sides = None if spacing is None else (spacing[row_axis], spacing[column_axis])
    return score(on_slice, slice_of(truth, Plane.AXIAL, index), sides)


def _fullest(truth: Mask) -> int:
    return int(truth.sum(axis=(1, 2)).argmax())
