"""How good a click tool is by itself: simulated clicks on the best slice of every label, tool against tool.

Each tool gets its clicks from the same rule (``core.clicks.next_click``), against its own errors, as a person
would give them.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from statistics import fmean, median
from typing import Any

import numpy as np
from scipy import ndimage as ndi
from skimage import transform

from napari_ibisagent.core.actions import Click
from napari_ibisagent.core.clicks import next_click
from napari_ibisagent.core.masks import Mask, iou
from napari_ibisagent.core.protocols import Segmenter
from napari_ibisagent.core.view import Plane, View, slice_of, view_of
from napari_ibisagent.evaluation.manifest import Case
from napari_ibisagent.evaluation.runner import Skipped, read_tasks

resize: Any = transform.resize  # it carries no types
# Views are shrunk to at most this many pixels a side.
LONGEST = 512
# Clicks given to each tool; a goal that isn't reached by then counts as this many.
MOST_CLICKS = 20
GOALS = (0.80, 0.85)
AFTER = (1, 2, 3, 5, 10)


@dataclass(frozen=True, eq=False, slots=True)
class Question:
    """One label's largest connected part (H, W) on the view that shows most of the label."""

    case: str
    modality: str
    target: str
    view: View
    truth: Mask


@dataclass(frozen=True, slots=True)
class Played:
    """One tool on one question: IoU and score after each click, and the time of each click in ms."""

    tool: str
    case: str
    modality: str
    target: str
    ious: tuple[float, ...]
    scores: tuple[float, ...]
    milliseconds: tuple[float, ...]
    opened_ms: float

    def iou_after(self, clicks: int) -> float:
        """A tool that had nothing left to correct keeps its last IoU."""
        return self.ious[min(clicks, len(self.ious)) - 1]

    def clicks_to(self, goal: float) -> int | None:
        """The first click after which the IoU reached a goal; None: never."""
        return next((n for n, value in enumerate(self.ious, 1) if value >= goal), None)


@dataclass(frozen=True, slots=True)
class ClickLine:
    """The means of one tool over some questions."""

    tool: str
    group: str
    questions: int
    iou_after: tuple[float, ...]
    clicks_to: tuple[float, ...]
    never: tuple[float, ...]
    median_ms: float


def questions(cases: Sequence[Case]) -> Iterator[Question | Skipped]:
    """A question for every label that can be read and isn't empty."""
    for item in read_tasks(cases):
        if isinstance(item, Skipped):
            yield item
            continue
        case, task, volume, truth = item
        if not truth.any():
            yield Skipped(case.name, task.target, "its mask is empty")
            continue
        index = int(truth.sum(axis=(1, 2)).argmax())
        view = view_of(volume, Plane.AXIAL, index)
        mask = view.from_native(np.ascontiguousarray(slice_of(truth, Plane.AXIAL, index)))
        view, mask = shrunk(view, mask)
        yield Question(case.name, case.modality, task.target, view, _largest(mask))


def play(tool: Segmenter, question: Question, clicks: int = MOST_CLICKS) -> Played:
    """Clicks until nothing is left to correct or the clicks are used up."""
    started = time.perf_counter()
    opened = tool.open(question.view)
    opened_ms = (time.perf_counter() - started) * 1000
    mask = np.zeros(question.truth.shape, bool)
    prompts: list[Click] = []
    ious: list[float] = []
    scores: list[float] = []
    times: list[float] = []
    for _ in range(clicks):
        click = next_click(mask, question.truth)
        if click is None:
            break
        prompts.append(click)
        started = time.perf_counter()
        found = opened.segment(tuple(prompts), None)
        times.append((time.perf_counter() - started) * 1000)
        mask = found.mask
        ious.append(iou(mask, question.truth))
        scores.append(found.score)
    return Played(
        tool.name,
        question.case,
        question.modality,
        question.target,
        tuple(ious),
        tuple(scores),
        tuple(times),
        opened_ms,
    )


def lines(played: Sequence[Played], group: Callable[[Played], str]) -> list[ClickLine]:
    """A line for each tool and group, in the order in which they were played, groups in alphabetical order."""
    tools = list(dict.fromkeys(p.tool for p in played))
    return [
        _line(tool, name, [p for p in played if p.tool == tool and group(p) == name])
        for name in sorted({group(p) for p in played})
        for tool in tools
    ]


HEADINGS = (
    *("pictures", "tool", "labels", *(f"IoU {n}" for n in AFTER)),
    *(text for goal in GOALS for text in (f"clicks to {goal:.2f}", "never")),
    "ms a click",
)


def cells(line: ClickLine) -> tuple[str, ...]:
    """A line as texts, in the order of ``HEADINGS``."""
    goals = zip(line.clicks_to, line.never, strict=True)
    return (
        *(line.group, line.tool, str(line.questions), *(f"{value:.3f}" for value in line.iou_after)),
        *(text for clicks, never in goals for text in (f"{clicks:.1f}", f"{never:.0%}")),
        f"{line.median_ms:.1f}",
    )


def markdown(rows: Sequence[ClickLine]) -> str:
    """The table in Markdown."""
    head = f"| {' | '.join(HEADINGS)} |\n|---|---|{'---:|' * (len(HEADINGS) - 2)}\n"
    return head + "".join(f"| {' | '.join(cells(row))} |\n" for row in rows)


def trust(played: Sequence[Played]) -> tuple[float, float, int]:
    """How far a tool's score can be trusted: correlation with the true IoU, mean error, and the number of masks."""
    scores = np.array([score for p in played for score in p.scores])
    truths = np.array([value for p in played for value in p.ious])
    if scores.size < 2 or scores.std() == 0 or truths.std() == 0:
        return 0.0, float(np.abs(scores - truths).mean()) if scores.size else 0.0, int(scores.size)
    return float(np.corrcoef(scores, truths)[0, 1]), float(np.abs(scores - truths).mean()), int(scores.size)


def _line(tool: str, group: str, played: Sequence[Played]) -> ClickLine:
    reached = [[p.clicks_to(goal) for p in played] for goal in GOALS]
    return ClickLine(
        tool,
        group,
        len(played),
        tuple(fmean(p.iou_after(n) for p in played) for n in AFTER),
        tuple(fmean(MOST_CLICKS if n is None else n for n in numbers) for numbers in reached),
        tuple(sum(n is None for n in numbers) / len(numbers) for numbers in reached),
        median(t for p in played for t in p.milliseconds),
    )


def _largest(mask: Mask) -> Mask:
    parts, count = ndi.label(mask)
    if count < 2:
        return mask
    return np.asarray(parts == np.bincount(parts.reshape(-1))[1:].argmax() + 1)


def shrunk(view: View, mask: Mask, longest: int = LONGEST) -> tuple[View, Mask]:
    """The view and its mask with at most ``longest`` pixels a side, averaged."""
    small = shrunk_view(view, longest)
    return small, shrunk_mask(mask, small.shape)


def shrunk_view(view: View, longest: int = LONGEST) -> View:
    """The view with at most ``longest`` pixels a side, averaged."""
    scale = longest / max(view.shape)
    if scale >= 1:
        return view
    shape = (max(1, round(view.shape[0] * scale)), max(1, round(view.shape[1] * scale)))
    image = resize(view.image, shape, order=1, anti_aliasing=True, preserve_range=True)
    kept = np.rint(image).astype(view.image.dtype) if view.image.dtype.kind in "iu" else image.astype(np.float32)
    pixel = None if view.pixel_mm is None else view.pixel_mm / scale
    return View(kept, view.plane, view.index, shape, pixel, view.modality)


def shrunk_mask(mask: Mask, shape: tuple[int, int]) -> Mask:
    """A mask on so many pixels (H, W), each of which takes the side of most of its old ones."""
    if mask.shape == shape:
        return mask
    return np.asarray(resize(mask.astype(np.float32), shape, order=1, anti_aliasing=True) > 0.5)
