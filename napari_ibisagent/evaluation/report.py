"""Results as figures: per target, in all, and as a table in Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import fmean

from napari_ibisagent.evaluation.runner import Row

# An answer below this IoU is another structure: worse than none.
WRONG_IOU = 0.1


@dataclass(frozen=True, slots=True)
class Line:
    """The means of a group of rows; None where no row has the figure. Times in seconds.

    ``key_dice``: of volumes the Dice of the slice that was worked on; ``dice`` is that of the volume.
    """

    name: str
    tasks: int
    found: int
    wrong: int
    iou: float
    dice: float
    key_dice: float | None
    hd95_mm: float | None
    surface_dice_2mm: float | None
    steps: float
    seconds_a_step: float | None
    seconds_a_case: float


HEADINGS = (
    *("target", "tasks", "found", "wrong", "IoU", "Dice", "key Dice", "HD95 mm", "NSD 2 mm"),
    *("steps", "s a step", "s a case"),
)


def summarise(name: str, rows: Sequence[Row]) -> Line:
    """The means of some rows. HD95 and surface Dice only where the scan states a size and both masks exist."""
    found = [row for row in rows if row.outcome in ("done", "step_limit")]
    steps = sum(row.steps for row in rows)
    return Line(
        name,
        len(rows),
        len(found),
        sum(row.iou < WRONG_IOU for row in found),
        fmean(row.iou for row in rows),
        fmean(row.dice for row in rows),
        _mean(row.key_dice for row in rows if row.extent == "volume"),
        _mean(row.hd95_mm for row in rows),
        _mean(row.surface_dice_2mm for row in rows),
        steps / len(rows),
        sum(row.seconds for row in rows) / steps if steps else None,
        fmean(row.seconds for row in rows),
    )


def lines_by_target(rows: Sequence[Row]) -> list[Line]:
    """A line for each target, in alphabetical order, then the mean of all tasks."""
    targets = sorted({row.target for row in rows})
    lines = [summarise(target, [row for row in rows if row.target == target]) for target in targets]
    return [*lines, summarise("all", rows)] if rows else []


def cells(line: Line) -> tuple[str, ...]:
    """A line as texts, in the order of ``HEADINGS``."""
    return (
        line.name,
        str(line.tasks),
        str(line.found),
        str(line.wrong),
        f"{line.iou:.3f}",
        f"{line.dice:.3f}",
        "" if line.key_dice is None else f"{line.key_dice:.3f}",
        "" if line.hd95_mm is None else f"{line.hd95_mm:.1f}",
        "" if line.surface_dice_2mm is None else f"{line.surface_dice_2mm:.3f}",
        f"{line.steps:.1f}",
        "" if line.seconds_a_step is None else f"{line.seconds_a_step:.3f}",
        f"{line.seconds_a_case:.2f}",
    )


def iou_at(rows: Sequence[Row], steps: Sequence[int]) -> dict[int, float]:
    """Mean IoU after so many steps; an episode that ended earlier counts with its last mask."""
    played = [row.iou_by_step for row in rows if row.iou_by_step]
    return {n: fmean(values[min(n, len(values)) - 1] for values in played) for n in steps} if played else {}


def markdown(lines: Sequence[Line]) -> str:
    """The table in Markdown."""
    head = f"| {' | '.join(HEADINGS)} |\n|---|{'---:|' * (len(HEADINGS) - 1)}\n"
    return head + "".join(f"| {' | '.join(cells(line))} |\n" for line in lines)


def _mean(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return fmean(known) if known else None
