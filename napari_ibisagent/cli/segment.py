"""``ibisagent segment``: a scan and a sentence in, reviewed steps and saved labels out."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from napari_ibisagent.cli.console import Interrupt, console, print_event
from napari_ibisagent.cli.faults import CANCELLED, DONE, FAULT, NOT_FOUND, exit_codes
from napari_ibisagent.cli.given_options import read_options
from napari_ibisagent.cli.review import reviewed
from napari_ibisagent.cli.summary import Kept, empty_summary, print_summary, print_truth, summary_of
from napari_ibisagent.registry import DEFAULT_POLICY, DEFAULT_SEGMENTER

if TYPE_CHECKING:
    from napari_ibisagent.agent.job import Job, Result
    from napari_ibisagent.agent.recorder import Recorder
    from napari_ibisagent.agent.runner import Verdicts
    from napari_ibisagent.core.episode import Episode, EpisodeEvent
    from napari_ibisagent.core.volume import Volume
    from napari_ibisagent.io.journal import Journal


class PlaneName(StrEnum):
    """The planes, as the command line names them."""

    axial = "axial"
    coronal = "coronal"
    sagittal = "sagittal"


class ExtentName(StrEnum):
    """How far an answer reaches, as the command line names it."""

    slice = "slice"
    volume = "volume"


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
    modality: str | None
    review: bool
    whole: bool
    propagator: str
    given: Path | None
    given_label: int | None
    policy_options: dict[str, Any]
    segmenter_options: dict[str, Any]
    consent: bool | None = None


def segment(
    scan: Annotated[
        Path, typer.Argument(readable=False, help="NIfTI, DICOM (folder, file or zip), NRRD, MHA, PNG, JPEG or TIFF.")
    ],
    prompt: Annotated[str, typer.Option("--prompt", "-p", help='What to segment, such as "segment the liver".')],
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            readable=False,
            help="Where the labels go: .nii.gz, .nii, .nrrd, .mha (.png for a picture).",
        ),
    ] = None,
    plane: Annotated[PlaneName, typer.Option(help="The plane to work in.")] = PlaneName.axial,
    index: Annotated[
        str, typer.Option("--slice", help="Slice number from 0 (head, front or right side first), or auto.")
    ] = "auto",
    policy: Annotated[str, typer.Option(help="Who decides; see ibisagent doctor.")] = DEFAULT_POLICY,
    segmenter: Annotated[str, typer.Option(help="The click tool; see ibisagent doctor.")] = DEFAULT_SEGMENTER,
    truth: Annotated[
        Path | None,
        typer.Option(readable=False, help="A mask of the truth: for --policy oracle, or to print the Dice."),
    ] = None,
    truth_label: Annotated[
        int | None, typer.Option(min=1, help="The label value in the truth; else all but 0.")
    ] = None,
    given: Annotated[
        Path | None, typer.Option(readable=False, help="A mask to begin from, on the slice that is worked on.")
    ] = None,
    given_label: Annotated[
        int | None, typer.Option(min=1, help="The label value in the given mask; else all but 0.")
    ] = None,
    max_steps: Annotated[int, typer.Option(min=1, help="The agent's step limit.")] = 20,
    journal: Annotated[
        Path | None, typer.Option(readable=False, help="Folder for the journal; without it, it lies beside the output.")
    ] = None,
    pictures: Annotated[Path | None, typer.Option(readable=False, help="Folder for a picture of each step.")] = None,
    series: Annotated[str | None, typer.Option(help="Which of several DICOM series.")] = None,
    frame: Annotated[int | None, typer.Option(min=0, help="Which time point, channel or movie frame.")] = None,
    window: Annotated[str | None, typer.Option(help="CT window: abdomen, lung, bone, brain, …")] = None,
    modality: Annotated[
        str | None, typer.Option(help="CT, MR, …, where the file doesn't say it, as NRRD and MHA don't.")
    ] = None,
    review: Annotated[bool, typer.Option("--review", help="Ask before each step.")] = False,
    extent: Annotated[
        ExtentName, typer.Option(help="One slice, or from it through the whole volume, slice by slice.")
    ] = ExtentName.slice,
    propagator: Annotated[str, typer.Option(help="What carries a mask through the volume.")] = "neighbour",
    policy_option: Annotated[
        list[str] | None, typer.Option(metavar="KEY=VALUE", help="An option of the policy; may come several times.")
    ] = None,
    segmenter_option: Annotated[
        list[str] | None, typer.Option(metavar="KEY=VALUE", help="An option of the click tool; may come several times.")
    ] = None,
    consent: Annotated[
        bool | None,
        typer.Option(
            "--consent/--no-consent", help="Whether the journal may be used for training; see export-training."
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")] = False,
) -> None:
    """Segment what a sentence asks for, step by step, and save it on the scan's own grid.

    With --extent volume, or "in the whole volume", "in all slices", "in 3D" in the sentence, the mask of the key slice
    is then carried outwards; Ctrl+C keeps the slices done so far.

    Exit code: 0 done (or stopped at the step limit, with a warning), 3 not found, 2 bad input,
    130 cancelled, 1 a fault.

    [bold]Examples[/bold]

    ibisagent segment ct.nii.gz -p "segment the spleen" -o spleen.nii.gz

    ibisagent segment dicom_folder/ -p "which organ filters blood and lies on the right? outline it" -o k.nrrd

    ibisagent segment ct.nii.gz -p "segment the liver" --plane coronal --pictures steps/ --json

    ibisagent segment ct.nii.gz -p "segment the left kidney" --extent volume -o kidney.nii.gz

    ibisagent segment photo.png -p "the bright round spot" -o spot.png --review

    ibisagent segment ct.nii.gz -p "segment the liver" --policy ibisagent-7b --segmenter sam2.1-hiera-large

    ibisagent segment ct.nii.gz -p "segment the liver" --policy openai_compatible
    --policy-option url=http://localhost:8000/v1
    """
    from napari_ibisagent.agent.carry import asks_for_volume

    def report(code: int, sentence: str) -> None:
        if as_json:
            typer.echo(json.dumps(empty_summary(code, sentence), ensure_ascii=False))

    with exit_codes(report):
        sentence, whole = asks_for_volume(prompt)
        request = Request(
            *(scan, sentence, output, plane.value, index, policy, segmenter, truth, truth_label, max_steps),
            *(journal, pictures, series, frame, window, modality, review),
            *(whole or extent is ExtentName.volume, propagator, given, given_label),
            read_options(policy_option or (), "--policy-option"),
            read_options(segmenter_option or (), "--segmenter-option"),
            consent,
        )
        code = _segment(request, as_json)
    raise typer.Exit(code)


def _segment(request: Request, as_json: bool) -> int:
    """Runs a request and prints what came of it; returns the exit code."""
    from napari_ibisagent.io.read import read_scan

    _check_request(request, as_json)
    volume = read_scan(request.scan, series=request.series, frame=request.frame, modality=request.modality)
    pictures = _check_places(request, volume)
    truth = _mask_of("truth", request.truth, request.truth_label, volume)
    given = _mask_of("given", request.given, request.given_label, volume)
    out = None if as_json else console()
    if out is not None:
        for warning in volume.warnings:
            out.print(f"warning: {warning}", style="yellow", markup=False)
    # Ctrl+C is taken over until all is saved: it ends the agent's work, never the saving of what is done.
    with Interrupt().watching() as interrupt:
        result, recorder, journal = _perform(request, volume, truth, given, interrupt, out)
        kept = _save_labels(request, volume, result, recorder, journal)
        kept = replace(kept, warnings=kept.warnings + _save_pictures(request, result, pictures))
        if given is not None and result.view is not None and result.episode.given is None:
            unused = f"The given mask shows nothing on slice {result.view.index}; the agent began from nothing there."
            kept = replace(kept, warnings=(*kept.warnings, unused))
    summary = summary_of(volume, result, kept)
    if out is None:
        typer.echo(json.dumps(summary, ensure_ascii=False))
    else:
        print_summary(out, summary, journal, volume.warnings)
        if truth is not None:
            print_truth(out, volume, result, truth)
    return {"done": DONE, "step_limit": DONE, "not_found": NOT_FOUND, "cancelled": CANCELLED}.get(
        summary["outcome"], FAULT
    )


def _check_request(request: Request, as_json: bool) -> None:
    """Refuses options that make no sense, before anything is read."""
    from napari_ibisagent.core.errors import InputError

    if not request.prompt.strip():
        raise InputError('The prompt is empty. Say what to segment, for example -p "segment the liver".')
    if request.review and as_json:
        raise InputError("--review asks on the terminal and --json prints nothing but JSON. Choose one of them.")
    if request.consent is not None and request.journal is None and request.output is None:
        raise InputError("Consent is written to the journal, and there is none. Give a place with --journal or -o.")
    for name, mask, label in (
        ("truth", request.truth, request.truth_label),
        ("given", request.given, request.given_label),
    ):
        if label is not None and mask is None:
            raise InputError(
                f"--{name}-label names a label of a mask, and there is no --{name}. Give both, or neither."
            )
    _index(request.index)
    _window(request)


def _mask_of(option: str, path: Path | None, label: int | None, volume: Volume) -> Any:
    """The mask (Z, Y, X) that an option names, or None."""
    from napari_ibisagent.core.errors import InputError
    from napari_ibisagent.io.read import read_mask

    if path is None:
        return None
    mask = read_mask(path, volume, label or "nonzero")
    if label is not None and not mask.any():
        raise InputError(
            f"The label {label} occurs nowhere in {path.name}. "
            f"Choose another --{option}-label, or leave it out for all labels."
        )
    return mask


def _perform(
    request: Request, volume: Volume, truth: Any, given: Any, interrupt: Interrupt, out: Any
) -> tuple[Result, Recorder, Path | None]:
    """Plays the episode; returns what came of it, its record, and where its journal lies."""
    from napari_ibisagent.agent.job import perform
    from napari_ibisagent.agent.recorder import Recorder
    from napari_ibisagent.core.protocols import notice_of
    from napari_ibisagent.core.session import Consented, Opened
    from napari_ibisagent.io.scanref import scan_ref

    job = _job(request, volume, truth, given)
    if (notice := notice_of(job.policy, job.segmenter)) and out is not None:
        out.print(f"notice: {notice}", style="yellow", markup=False)
    pixel = None if not volume.has_spacing else _pixel_mm2(volume, request.plane)

    def listen(event: EpisodeEvent, episode: Episode) -> Verdicts | None:
        if out is None:
            return None
        print_event(out, event, episode, pixel)
        return reviewed(event) if request.review else None

    journal = _journal(request, volume)
    recorder = Recorder(journal=journal)
    try:
        reference = scan_ref(volume, request.scan, request.series, request.frame)
        recorder.record(Opened(reference, request.policy, request.segmenter))
        if request.consent is not None:
            recorder.record(Consented(request.consent))
        result = perform(job, recorder, listen=listen, cancelled=interrupt)
        return result, recorder, None if journal is None else journal.path
    finally:
        if journal is not None:
            journal.close()


def _job(request: Request, volume: Volume, truth: Any, given: Any) -> Job:
    from napari_ibisagent import registry
    from napari_ibisagent.agent.job import Job
    from napari_ibisagent.agent.stop import Limits
    from napari_ibisagent.core.carrying import Extent
    from napari_ibisagent.core.protocols import Locator
    from napari_ibisagent.core.view import Plane

    # The oracle's own click limit is the step limit: reaching it isn't a failure to stop.
    options = {"truth": truth, "clicks": request.max_steps} if request.policy == "oracle" else {}
    limits = Limits(steps=request.max_steps + (1 if request.policy == "oracle" else 0))
    policy = registry.load("policies", request.policy, **options | request.policy_options)
    segmenter = registry.load("segmenters", request.segmenter, **request.segmenter_options)
    locator = policy if isinstance(policy, Locator) else registry.load("policies", "embedded")
    plane, index, window = Plane(request.plane), _index(request.index), _window(request)
    extent = Extent.VOLUME if request.whole else Extent.SLICE
    propagator = registry.load("propagators", request.propagator) if request.whole else None
    return Job(
        *(volume, request.prompt, plane, index, policy, segmenter, locator, limits, window, extent, propagator, given)
    )


def _save_labels(request: Request, volume: Volume, result: Result, recorder: Recorder, journal: Path | None) -> Kept:
    """Writes the labels where an output was asked for and an object was made."""
    import numpy as np

    from napari_ibisagent.core.errors import OutputError
    from napari_ibisagent.core.session import labels_of
    from napari_ibisagent.io.labels import write_labels

    if result.value is None:
        return Kept()
    labels = labels_of(recorder.session, volume.shape)
    voxels = int(np.count_nonzero(labels == result.value))
    if request.output is None:
        return Kept(voxels)
    names = {row.value: row.name for row in recorder.session.objects}
    try:
        saved = write_labels(labels, volume, request.output, names=names, protect=_inputs(request))
    except OutputError as error:
        raise OutputError(
            f"{error} The journal holds the labels: ibisagent replay {journal} -o FILE saves them."
        ) from error
    if saved.kept_as is None:
        return Kept(voxels, saved.path)
    notice = f"{saved.path.name} existed already; the earlier file was kept as {saved.kept_as.name}."
    return Kept(voxels, saved.path, (notice,))


def _save_pictures(request: Request, result: Result, folder: Path | None) -> tuple[str, ...]:
    """Writes the pictures of the steps; what goes wrong is a warning, since the labels are saved by now."""
    from napari_ibisagent.core.errors import IbisError
    from napari_ibisagent.io.snapshots import write_snapshots

    if folder is None or result.view is None or not result.episode.steps:
        return ()
    try:
        write_snapshots(result.episode, result.view, folder, _window(request))
    except (IbisError, OSError, MemoryError) as error:
        return (f"The pictures of the steps are incomplete or missing: {error}",)
    if folder == request.pictures:
        return ()
    return (f"{request.pictures} holds the pictures of another run; those of this one are in {folder}.",)


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
    return [path for path in (request.scan, request.truth, request.given) if path is not None]


def _check_places(request: Request, volume: Volume) -> Path | None:
    """Refuses places that can't be written before the agent has worked; returns the folder for pictures."""
    from napari_ibisagent.io.labels import check_output
    from napari_ibisagent.io.protect import check_folder
    from napari_ibisagent.io.snapshots import free_folder

    if request.output is not None:
        check_output(request.output, volume, _inputs(request))
    if request.journal is not None:
        check_folder(request.journal, _inputs(request))
    return None if request.pictures is None else free_folder(request.pictures, _inputs(request))


def _journal(request: Request, volume: Volume) -> Journal | None:
    """A new journal: in the folder that was asked for, else beside the output, else none."""
    from napari_ibisagent.io.journal import Journal

    folder = request.journal or (None if request.output is None else request.output.parent)
    if folder is None:
        return None
    return Journal.create_free(folder, f"{volume.name}-{datetime.now().strftime('%Y%m%d-%H%M%S')}")
