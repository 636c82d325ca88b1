"""What came of ``ibisagent segment``: the JSON object, and the same as lines for a person."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_ibisagent.cli.faults import CANCELLED

if TYPE_CHECKING:
    from napari_ibisagent.agent.job import Result
    from napari_ibisagent.core.carrying import Carried, Carrying
    from napari_ibisagent.core.episode import Episode, Step
    from napari_ibisagent.core.packed import PackedMask
    from napari_ibisagent.core.volume import Volume


@dataclass(frozen=True, slots=True)
class Kept:
    """What was saved: the object's voxels, the file of the labels, and what there is to say about it."""

    voxels: int = 0
    output: Path | None = None
    warnings: tuple[str, ...] = ()


def summary_of(volume: Volume, result: Result, kept: Kept) -> dict[str, Any]:
    """The JSON object of an episode that was played."""
    episode, carrying = result.episode, result.episode.carrying
    pixel = None if result.view is None else result.view.pixel_mm2
    outcome, reason = outcome_of(episode)
    return {
        "outcome": outcome,
        "reason": reason,
        "target": None if result.target is None else result.target.full_name,
        "plane": episode.plane.value,
        "slice": None if result.view is None else result.view.index,
        "steps": [_step(step, pixel) for step in episode.steps],
        "extent": episode.extent.value,
        "carried": [] if carrying is None else [_carried(done, pixel) for done in _in_order(carrying)],
        "doubtful": [] if carrying is None else [done.index for done in carrying.doubtful],
        "voxels": kept.voxels,
        "volume_ml": None if volume.voxel_ml is None else round(kept.voxels * volume.voxel_ml, 4),
        "output": None if kept.output is None else str(kept.output),
        "warnings": [*volume.warnings, *result.warnings, *kept.warnings],
    }


def outcome_of(episode: Episode) -> tuple[str, str]:
    """How it all ended, and why: the carrying through the volume, where there was one, counts as well."""
    from napari_ibisagent.core.carrying import End

    carrying = episode.carrying
    if carrying is not None and carrying.end in (End.CANCELLED, End.FAILED):
        return carrying.end.value, carrying.reason
    return "failed" if episode.outcome is None else episode.outcome.value, episode.reason


def _in_order(carrying: Carrying) -> list[Carried]:
    return sorted(carrying.slices, key=lambda done: done.index)


def _carried(done: Carried, pixel_mm2: float | None) -> dict[str, Any]:
    return {
        "slice": done.index,
        "confidence": done.confidence,
        "note": done.note,
        "area_mm2": _area(done.mask, pixel_mm2),
    }


def empty_summary(code: int, reason: str) -> dict[str, Any]:
    """The JSON object, with the same keys, where no episode was played."""
    return {
        "outcome": "cancelled" if code == CANCELLED else "failed",
        "reason": reason,
        "target": None,
        "plane": None,
        "slice": None,
        "steps": [],
        "extent": None,
        "carried": [],
        "doubtful": [],
        "voxels": 0,
        "volume_ml": None,
        "output": None,
        "warnings": [],
    }


def print_summary(out: Any, summary: dict[str, Any], journal: Path | None, already_said: tuple[str, ...]) -> None:
    """The lines for a person; warnings that were printed before the run aren't repeated."""
    from rich.markup import escape

    for warning in summary["warnings"]:
        if warning not in already_said:
            out.print(f"[yellow]warning: {escape(warning)}[/yellow]")
    if summary["voxels"]:
        size = f"{summary['voxels']} voxels" + (
            "" if summary["volume_ml"] is None else f", {summary['volume_ml']:.1f} mL"
        )
        out.print(f"{escape(str(summary['target'] or 'object'))} in {summary['plane']} {_place(summary)}: {size}")
    if summary["output"]:
        out.print(f"labels:  {escape(summary['output'])}")
    if journal is not None:
        out.print(f"journal: {escape(str(journal))}")


def _place(summary: dict[str, Any]) -> str:
    """Where the mask lies: "slice 31", "slices 20 to 44"."""
    found = [summary["slice"], *(row["slice"] for row in summary["carried"])]
    return f"slice {found[0]}" if len(found) == 1 else f"slices {min(found)} to {max(found)}"


def print_truth(out: Any, volume: Volume, result: Result, truth: Any) -> None:
    """How well the mask fits the truth in the slice that was worked on, and in the volume if it was carried there."""
    from napari_ibisagent.agent.carry import whole_mask
    from napari_ibisagent.core.masks import dice, iou
    from napari_ibisagent.core.view import slice_of

    if result.view is None:
        return
    expected = slice_of(truth, result.view.plane, result.view.index)
    mask = result.view.to_native(result.episode.mask_array())
    out.print(f"against the truth in this slice: Dice {dice(mask, expected):.3f}, IoU {iou(mask, expected):.3f}")
    if result.episode.carrying is not None:
        whole = whole_mask(result.episode, volume)
        out.print(f"against the truth in the volume: Dice {dice(whole, truth):.3f}, IoU {iou(whole, truth):.3f}")


def _step(step: Step, pixel_mm2: float | None) -> dict[str, Any]:
    from napari_ibisagent.core.codec import to_json

    return {
        "thought": step.thought,
        "actions": [to_json(action) for action in step.actions],
        "score": step.score,
        "area_mm2": _area(step.mask, pixel_mm2),
        "ms": step.ms,
        "author": step.author.value,
        "verdict": step.verdict.value,
    }


def _area(mask: PackedMask | None, pixel_mm2: float | None) -> float | None:
    import numpy as np

    return None if mask is None or pixel_mm2 is None else round(int(np.count_nonzero(mask.array())) * pixel_mm2, 2)
