"""Which trajectories are of use: ``rejected`` gives the reason against one."""

from __future__ import annotations

from dataclasses import dataclass

from napari_ibisagent.training.trajectories.form import Trajectory

TOO_LONG, LOW_IOU, NO_GAIN, NO_END = "too long", "low final IoU", "no gain", "no end"


@dataclass(frozen=True, slots=True)
class Filters:
    """steps: more turns are too long. iou: the least at the end. gain: the least IoU that the clicks after the first
    one gain together; what was taken back counts as neither."""

    steps: int = 20
    iou: float = 0.7
    gain: float = 0.0


def rejected(trajectory: Trajectory, filters: Filters) -> str | None:
    """Why a trajectory is left out; None: it is kept."""
    if trajectory.kind == "plain":
        return None
    if len(trajectory.steps) > filters.steps:
        return TOO_LONG
    wanted = trajectory.truth is not None and bool(trajectory.truth.array().any())
    if wanted and (trajectory.iou or 0.0) < filters.iou:
        return LOW_IOU
    overlaps = _in_force(trajectory)
    if wanted and len(overlaps) > 1 and overlaps[-1] < overlaps[0] + filters.gain:
        return NO_GAIN
    if not trajectory.steps or not trajectory.steps[-1].turn.terminates:
        return NO_END
    return None


def _in_force(trajectory: Trajectory) -> list[float]:
    """The IoU after each click that stays."""
    overlaps: list[float] = []
    for step in trajectory.steps:
        if step.turn.discards:
            overlaps.clear()
        if step.turn.reverts:
            del overlaps[-1:]
        if step.turn.prompts:
            overlaps.append(step.iou or 0.0)
    return overlaps
