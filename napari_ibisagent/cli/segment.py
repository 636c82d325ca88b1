"""``ibisagent segment``: a scan and a sentence in, reviewed steps and saved labels out."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from napari_ibisagent.cli.console import (
    CANCELLED,
    DONE,
    FAULT,
    NOT_FOUND,
    Interrupt,
    console,
    describe,
    exit_codes,
    print_event,
)

if TYPE_CHECKING:
    from napari_ibisagent.agent.job import Result
    from napari_ibisagent.agent.recorder import Recorder
    from napari_ibisagent.agent.runner import Verdicts
    from napari_ibisagent.core.episode import Episode, EpisodeEvent
    from napari_ibisagent.core.volume import Volume


class PlaneName(StrEnum):
    """The planes, as the command line names them."""

    axial = "axial"
    coronal = "coronal"
    sagittal = "sagittal"


@dataclass(frozen=True)
class Request:
    """What the user asked for on the command line."""

    scan: Path
    prompt: str
    output: Path | None
    plane: str
    index: str
    policy: str
    segmenter: str
    truth: Path | None
    truth_label: int | None
    max_steps: int
    journal: Path | None
    pictures: Path | None
    series: str | None
    frame: int | None
    window: str | None
    review: bool


def segment(
    scan: Annotated[Path, typer.Argument(help="NIfTI, DICOM (folder, file or zip), NRRD, MHA, PNG, JPEG or TIFF.")],
    prompt: Annotated[str, typer.Option("--prompt", "-p", help='What to segment, such as "segment the liver".')],
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="Where the labels go: .nii.gz, .nii, .nrrd, .mha (.png for a picture)."),
    ] = None,
    plane: Annotated[PlaneName, typer.Option(help="The plane to work in.")] = PlaneName.axial,
    index: Annotated[
        str, typer.Option("--slice", help="Slice number from 0 (head, front or right side first), or auto.")
    ] = "auto",
    policy: Annotated[str, typer.Option(help="Who decides; see ibisagent doctor.")] = "embedded",
    segmenter: Annotated[str, typer.Option(help="The click tool; see ibisagent doctor.")] = "embedded",
    truth: Annotated[
        Path | None, typer.Option(help="A mask of the truth: for --policy oracle, or to print the Dice.")
    ] = None,
    truth_label: Annotated[
        int | None, typer.Option(min=1, help="The label value in the truth; else all but 0.")
    ] = None,
    max_steps: Annotated[int, typer.Option(min=1, help="The agent's step limit.")] = 20,
    journal: Annotated[
        Path | None, typer.Option(help="Folder for the journal; without it, it lies beside the output.")
    ] = None,
    pictures: Annotated[Path | None, typer.Option(help="Folder for a picture of each step.")] = None,
    series: Annotated[str | None, typer.Option(help="Which of several DICOM series.")] = None,
    frame: Annotated[int | None, typer.Option(min=0, help="Which time point, channel or movie frame.")] = None,
    window: Annotated[str | None, typer.Option(help="CT window: abdomen, lung, bone, brain, …")] = None,
    review: Annotated[bool, typer.Option("--review", help="Ask before each step.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")] = False,
) -> None:
    """Segment what a sentence asks for, step by step, and save it on the scan's own grid.

    Exit code: 0 done (or stopped at the step limit, with a warning), 3 not found, 2 bad input,
    130 cancelled, 1 a fault.

    [bold]Examples[/bold]

    ibisagent segment ct.nii.gz -p "segment the spleen" -o spleen.nii.gz

    ibisagent segment dicom_folder/ -p "which organ filters blood and lies on the right? outline it" -o k.nrrd

    ibisagent segment ct.nii.gz -p "segment the liver" --plane coronal --pictures steps/ --json

    ibisagent segment photo.png -p "the bright round spot" -o spot.png --review
    """
    request = Request(
        *(scan, prompt, output, plane.value, index, policy, segmenter, truth, truth_label, max_steps),
        *(journal, pictures, series, frame, window, review),
    )

    def report(sentence: str) -> None:
        if as_json:
            typer.echo(json.dumps({"outcome": "failed", "error": sentence, "steps": [], "warnings": []}))

    with exit_codes(report):
        code = _segment(request, as_json)
    raise typer.Exit(code)


def _segment(request: Request, as_json: bool) -> int:
    """Runs a request and prints what came of it; returns the exit code."""
    from napari_ibisagent.core.errors import InputError
    from napari_ibisagent.io.read import read_mask, read_scan

    if not request.prompt.strip():
        raise InputError('The prompt is empty. Say what to segment, for example -p "segment the liver".')
    if request.review and as_json:
        raise InputError("--review asks on the terminal and --json prints nothing but JSON. Choose one of them.")
    volume = read_scan(request.scan, series=request.series, frame=request.frame)
    _check_output(request, volume)
    truth = None if request.truth is None else read_mask(request.truth, volume, request.truth_label or "nonzero")
    out = None if as_json else console()
    if out is not None:
        for warning in volume.warnings:
            out.print(f"warning: {warning}", style="yellow")
    with Interrupt().watching() as interrupt:
        result, recorder, journal = _perform(request, volume, truth, interrupt, out)
    summary = _summary(request, volume, result, recorder)
    if request.pictures is not None and result.view is not None and result.episode.steps:
        from napari_ibisagent.io.snapshots import write_snapshots

        write_snapshots(result.episode, result.view, request.pictures, _window(request))
    if as_json:
        typer.echo(json.dumps(summary, ensure_ascii=False))
    elif out is not None:
        _print_summary(out, summary, journal)
        if truth is not None and result.view is not None:
            _print_truth(out, result, truth)
    return {"done": DONE, "step_limit": DONE, "not_found": NOT_FOUND, "cancelled": CANCELLED}.get(
        summary["outcome"], FAULT
    )


def _perform(
    request: Request, volume: Volume, truth: Any, interrupt: Interrupt, out: Any
) -> tuple[Result, Recorder, Path | None]:
    from napari_ibisagent import registry
    from napari_ibisagent.agent.job import Job, perform
    from napari_ibisagent.agent.recorder import Recorder
    from napari_ibisagent.agent.stop import Limits
    from napari_ibisagent.core.protocols import Locator
    from napari_ibisagent.core.session import Opened
    from napari_ibisagent.core.view import Plane
    from napari_ibisagent.io.journal import Journal
    from napari_ibisagent.io.scanref import scan_ref

    # The oracle's own click limit is the step limit: reaching it isn't a failure to stop.
    options = {"truth": truth, "clicks": request.max_steps} if request.policy == "oracle" else {}
    limits = Limits(steps=request.max_steps + (1 if request.policy == "oracle" else 0))
    policy = registry.load("policies", request.policy, **options)
    segmenter = registry.load("segmenters", request.segmenter)
    locator = policy if isinstance(policy, Locator) else registry.load("policies", "embedded")
    path = _journal_path(request, volume)
    journal = None if path is None else Journal.create(path)
    recorder = Recorder(journal=journal)
    try:
        reference = scan_ref(volume, request.scan, request.series, request.frame)
        recorder.record(Opened(reference, request.policy, request.segmenter))
        job = Job(
            volume,
            request.prompt,
            Plane(request.plane),
            _index(request.index),
            policy,
            segmenter,
            locator,
            limits,
            _window(request),
        )

        def listen(event: EpisodeEvent, episode: Episode) -> Verdicts | None:
            if out is None:
                return None
            pixel = None if not volume.has_spacing else _pixel_mm2(volume, request.plane)
            print_event(out, event, episode, pixel)
            return _reviewed(event) if request.review else None

        return perform(job, recorder, listen=listen, cancelled=interrupt), recorder, path
    finally:
        if journal is not None:
            journal.close()


def _reviewed(event: EpisodeEvent) -> Verdicts | None:
    """Asks the person at the terminal what should become of a proposal."""
    from napari_ibisagent.core.actions import Click
    from napari_ibisagent.core.episode import Accepted, Overridden, Proposed, Rejected

    if not isinstance(event, Proposed):
        return None
    answer = typer.prompt(f"  {describe(event.actions)}  [a]ccept, [f]lip, [x] reject", default="a").strip().lower()
    if answer.startswith("f"):
        return Overridden(tuple(Click(a.x, a.y, not a.positive) if isinstance(a, Click) else a for a in event.actions))
    if answer.startswith("x"):
        return Rejected(answer[1:].strip() or typer.prompt("  reason", default=""))
    return Accepted()


def _summary(request: Request, volume: Volume, result: Result, recorder: Recorder) -> dict[str, Any]:
    """The JSON object of the issue's form; saves the labels on the way."""
    import numpy as np

    from napari_ibisagent.core.codec import to_json
    from napari_ibisagent.core.masks import label_volumes
    from napari_ibisagent.core.session import labels_of
    from napari_ibisagent.io.labels import write_labels

    episode, warnings = result.episode, [*volume.warnings, *result.warnings]
    pixel = None if result.view is None else result.view.pixel_mm2
    voxels, saved = 0, None
    if result.value is not None:
        labels = labels_of(recorder.session, volume.shape)
        voxels = label_volumes(labels).get(result.value, 0)
        if request.output is not None:
            names = {row.value: row.name for row in recorder.session.objects}
            done = write_labels(labels, volume, request.output, names=names, protect=_inputs(request))
            saved = str(done.path)
            if done.kept_as is not None:
                warnings.append(f"{done.path.name} existed already; the earlier file was kept as {done.kept_as.name}.")
    steps = [
        {
            "thought": step.thought,
            "actions": [to_json(action) for action in step.actions],
            "score": step.score,
            "area_mm2": None
            if pixel is None or step.mask is None
            else round(int(np.count_nonzero(step.mask.array())) * pixel, 2),
            "ms": step.ms,
            "author": step.author.value,
            "verdict": step.verdict.value,
        }
        for step in episode.steps
    ]
    return {
        "outcome": "failed" if episode.outcome is None else episode.outcome.value,
        "reason": episode.reason,
        "target": None if result.target is None else result.target.full_name,
        "plane": episode.plane.value,
        "slice": None if result.view is None else result.view.index,
        "steps": steps,
        "voxels": voxels,
        "volume_ml": None if volume.voxel_ml is None else round(voxels * volume.voxel_ml, 4),
        "output": saved,
        "warnings": warnings,
    }


def _print_summary(out: Any, summary: dict[str, Any], journal: Path | None) -> None:
    from rich.markup import escape

    for warning in summary["warnings"]:
        out.print(f"[yellow]warning: {escape(warning)}[/yellow]")
    if summary["voxels"]:
        size = f"{summary['voxels']} voxels" + (
            "" if summary["volume_ml"] is None else f", {summary['volume_ml']:.1f} mL"
        )
        out.print(
            f"{escape(str(summary['target'] or 'object'))} in {summary['plane']} slice {summary['slice']}: {size}"
        )
    if summary["output"]:
        out.print(f"labels:  {escape(summary['output'])}")
    if journal is not None:
        out.print(f"journal: {escape(str(journal))}")


def _print_truth(out: Any, result: Result, truth: Any) -> None:
    from napari_ibisagent.core.masks import dice, iou
    from napari_ibisagent.core.view import slice_of

    if result.view is None:
        return
    expected = slice_of(truth, result.view.plane, result.view.index)
    mask = result.view.to_native(result.episode.mask_array())
    out.print(f"against the truth in this slice: Dice {dice(mask, expected):.3f}, IoU {iou(mask, expected):.3f}")


def _pixel_mm2(volume: Volume, plane: str) -> float | None:
    from napari_ibisagent.core.view import Plane, view_of

    return view_of(volume, Plane(plane), 0).pixel_mm2


def _index(text: str) -> int | None:
    from napari_ibisagent.core.errors import InputError

    if text.strip().lower() == "auto":
        return None
    try:
        return int(text)
    except ValueError:
        raise InputError(f"--slice {text} isn't a number. Give a slice number from 0, or auto.") from None


def _window(request: Request) -> Any:
    from napari_ibisagent.core.window import preset

    return None if request.window is None else preset(request.window)


def _inputs(request: Request) -> list[Path]:
    return [path for path in (request.scan, request.truth) if path is not None]


def _check_output(request: Request, volume: Volume) -> None:
    """Refuses an output that can't be written before the agent has worked for it."""
    from napari_ibisagent.io.labels import check_output

    _index(request.index)
    _window(request)
    if request.output is not None:
        check_output(request.output, volume, _inputs(request))


def _journal_path(request: Request, volume: Volume) -> Path | None:
    """A new journal's path: in the folder that was asked for, else beside the output, else none."""
    from napari_ibisagent.io.journal import ENDING

    folder = request.journal or (None if request.output is None else request.output.parent)
    if folder is None:
        return None
    stamp = datetime.now().strftime("%Y%m%d-%H%M%S")
    stem = f"{volume.name}-{stamp}"
    number = 1
    path = folder / f"{stem}{ENDING}"
    while path.exists():
        number += 1
        path = folder / f"{stem}-{number}{ENDING}"
    return path
