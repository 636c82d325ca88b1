"""``ibisagent demo`` and ``ibisagent phantom``: the main job on a scan that the program makes itself."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from napari_ibisagent.cli.console import Interrupt, console, print_event
from napari_ibisagent.cli.faults import DONE, FAULT, exit_codes

# One that names its target, one that has to be reasoned, and one for something that isn't in the field of view.
_PROMPTS = (
    ("segment the liver", "liver"),
    ("which organ filters blood and lies on the right? outline it", "right kidney"),
    ("segment the urinary bladder", None),
)
_LABELS = "labels.nii.gz"


@dataclass(frozen=True)
class _Scene:
    """The scan of a demo, with the truth where it is known."""

    path: Path
    truth: Any = None


def demo(
    scan: Annotated[Path | None, typer.Option(readable=False, help="An own CT; without it, a phantom is made.")] = None,
    out: Annotated[Path, typer.Option(readable=False, help="Folder for labels, pictures and the journal.")] = Path(
        "demo-output"
    ),
    seed: Annotated[int, typer.Option(min=0, help="Another phantom patient.")] = 0,
    modality: Annotated[
        str | None, typer.Option(help="CT, where the scan's file doesn't say it, as NRRD and MHA don't.")
    ] = None,
) -> None:
    """Watch the agent segment a scan step by step. No GPU, no download.

    Three prompts are run: one that names its target, one that must be reasoned, one for something absent. Without
    a scan an abdominal CT phantom is made, whose truth is known, so that the Dice can be printed.

    [bold]Examples[/bold]

    ibisagent demo

    ibisagent demo --scan abdomen.nii.gz --out my-demo
    """
    with exit_codes():
        code = _demo(scan, out, seed, modality)
    raise typer.Exit(code)


def phantom(
    output: Annotated[
        Path, typer.Option("--output", "-o", readable=False, help="Where the CT goes: .nii.gz, .nii, .nrrd or .mha.")
    ],
    labels: Annotated[Path | None, typer.Option(readable=False, help="Where the true labels go.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Another patient.")] = 0,
) -> None:
    """Make an abdominal CT phantom: HU-true, organs on the right sides, truth known.

    [bold]Example[/bold]

    ibisagent phantom -o phantom.nii.gz --labels truth.nii.gz
    """
    from napari_ibisagent.evaluation.phantom import make_phantom
    from napari_ibisagent.io.labels import write_labels, write_volume

    with exit_codes():
        made = make_phantom(seed)
        write_volume(made.volume, output)
        if labels is not None:
            write_labels(made.labels, made.volume, labels, names=made.names, protect=[output])


def _demo(scan: Path | None, folder: Path, seed: int, modality: str | None) -> int:
    from napari_ibisagent import registry
    from napari_ibisagent.agent.recorder import Recorder
    from napari_ibisagent.core.session import Opened
    from napari_ibisagent.io.journal import Journal
    from napari_ibisagent.io.labels import check_output
    from napari_ibisagent.io.protect import check_folder
    from napari_ibisagent.io.read import read_scan
    from napari_ibisagent.io.scanref import scan_ref

    out = console()
    check_folder(folder, [] if scan is None else [scan])
    scene = _phantom_scene(folder, seed, out) if scan is None else _Scene(scan)
    volume = read_scan(scene.path, modality=modality)
    check_output(folder / _LABELS, volume, [scene.path])
    policy = registry.load("policies", registry.DEFAULT_POLICY)
    segmenter = registry.load("segmenters", registry.DEFAULT_SEGMENTER)
    with Journal.create_free(folder, "demo") as journal, Interrupt().watching() as interrupt:
        recorder = Recorder(journal=journal)
        recorder.record(Opened(scan_ref(volume, scene.path), policy.name, segmenter.name))
        faults = 0
        for number, (prompt, organ) in enumerate(_PROMPTS, start=1):
            out.print(f"\n[bold cyan]{number}. {prompt}[/bold cyan]")
            faults += _play(number, prompt, organ, volume, scene, recorder, folder, (policy, segmenter), interrupt, out)
            if interrupt():
                break
        _save(volume, recorder, scene, folder, out)
    out.print(f"journal:  {journal.path}   (ibisagent replay {journal.path})", markup=False)
    return FAULT if faults else DONE


def _play(
    number: int,
    prompt: str,
    organ: str | None,
    volume: Any,
    scene: _Scene,
    recorder: Any,
    folder: Path,
    backends: tuple[Any, Any],
    interrupt: Interrupt,
    out: Any,
) -> int:
    """One prompt of the demo; returns 1 where the agent failed."""
    from napari_ibisagent.agent.job import Job, perform
    from napari_ibisagent.core.episode import Episode, EpisodeEvent, Outcome
    from napari_ibisagent.core.masks import dice
    from napari_ibisagent.core.view import Plane, slice_of, view_of

    policy, segmenter = backends
    pixel = view_of(volume, Plane.AXIAL, 0).pixel_mm2
    job = Job(volume, prompt, Plane.AXIAL, None, policy, segmenter, policy)

    def listen(event: EpisodeEvent, episode: Episode) -> None:
        print_event(out, event, episode, pixel)

    result = perform(job, recorder, listen=listen, cancelled=interrupt)
    for warning in result.warnings:
        out.print(f"warning: {warning}", style="yellow", markup=False)
    if result.view is not None and result.episode.steps:
        _save_pictures(result, folder / "pictures" / f"{number}", scene, out)
        if scene.truth is not None and organ is not None:
            expected = slice_of(scene.truth.mask(organ), result.view.plane, result.view.index)
            mask = result.view.to_native(result.episode.mask_array())
            out.print(f"against the truth in slice {result.view.index}: Dice {dice(mask, expected):.3f}")
    elif scene.truth is not None and organ is None:
        out.print("Right: there is no urinary bladder in this phantom.")
    return int(result.episode.outcome is Outcome.FAILED)


def _save_pictures(result: Any, folder: Path, scene: _Scene, out: Any) -> None:
    """Writes the pictures of the steps; what goes wrong is a warning, since the labels are still to be saved."""
    from napari_ibisagent.core.errors import IbisError
    from napari_ibisagent.io.snapshots import free_folder, write_snapshots

    try:
        pictures = free_folder(folder, [scene.path])
        write_snapshots(result.episode, result.view, pictures)
        out.print(f"pictures: {pictures / 'contact_sheet.png'}", markup=False)
    except (IbisError, OSError, MemoryError) as error:
        out.print(f"warning: the pictures are incomplete or missing: {error}", style="yellow", markup=False)


def _phantom_scene(folder: Path, seed: int, out: Any) -> _Scene:
    """Makes the phantom and writes it, so that the demo reads a file as for any other scan."""
    from napari_ibisagent.evaluation.phantom import make_phantom
    from napari_ibisagent.io.labels import write_volume

    made = make_phantom(seed)
    path = folder / "phantom.nii.gz"
    write_volume(made.volume, path)
    z, y, x = made.volume.shape
    out.print(f"An abdominal CT phantom of {z} slices of {y} x {x} pixels: {path}", markup=False)
    return _Scene(path, made)


def _save(volume: Any, recorder: Any, scene: _Scene, folder: Path, out: Any) -> None:
    from napari_ibisagent.core.session import labels_of
    from napari_ibisagent.io.labels import write_labels

    names = {row.value: row.name for row in recorder.session.objects}
    if not names:
        return
    saved = write_labels(
        labels_of(recorder.session, volume.shape),
        volume,
        folder / _LABELS,
        names=names,
        protect=[scene.path],
    )
    listing = ", ".join(f"{value} {name}" for value, name in names.items())
    out.print(f"\nlabels:   {saved.path}   ({listing})", markup=False)
