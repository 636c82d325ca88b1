"""Which trajectories are of use: ``rejected`` gives the reason against one."""

from __future__ import annotations

from dataclasses import dataclass

from napari_ibisagent.training.trajectories.form import Trajectory

TOO_LONG, LOW_IOU, NO_GAIN, NO_STEP = "too long", "low final IoU", "no gain", "no step"


@dataclass(frozen=True, slots=True)
class Filters:
    """steps: more turns are too long. iou: the least at the end. gain: the least IoU that the clicks after the first
    one gain together, where it left room for that."""

    steps: int = 20
    iou: float = 0.7
    gain: float = 0.0


def rejected(trajectory: Trajectory, filters: Filters) -> str | None:
    """Why a trajectory is left out; None: it is kept."""
    if trajectory.kind == "plain":
        return None
    if not trajectory.steps:
        return NO_STEP
    if len(trajectory.steps) > filters.steps:
        return TOO_LONG
    if trajectory.truth is None or not trajectory.truth.array().any():
        return None
    if (trajectory.iou or 0.0) < filters.iou:
        return LOW_IOU
    overlaps = [step.iou or 0.0 for step in trajectory.steps if step.turn.prompts]
    if len(overlaps) > 1 and overlaps[-1] < overlaps[0] + filters.gain:
        return NO_GAIN
    return None
