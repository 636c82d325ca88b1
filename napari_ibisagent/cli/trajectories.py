"""``ibisagent trajectories``: click trajectories from images and masks, for training."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from napari_ibisagent.cli.console import Interrupt, console
from napari_ibisagent.cli.faults import CANCELLED, DONE, exit_codes
from napari_ibisagent.registry import DEFAULT_SEGMENTER

if TYPE_CHECKING:
    from napari_ibisagent.training.trajectories.exercises import CaseUnit
    from napari_ibisagent.training.trajectories.synthesis import Order, Report


class PlaneName(StrEnum):
    """The planes that slices are taken from."""

    axial = "axial"
    coronal = "coronal"
    sagittal = "sagittal"
    all = "all"


class StoryName(StrEnum):
    """What episodes tell."""

    direct = "direct"
    reflection = "reflection"


def trajectories(
    inputs: Annotated[
        list[Path],
        typer.Argument(readable=False, help="A manifest (JSON); or an image, and after it the masks of its targets."),
    ],
    output: Annotated[Path, typer.Option("--output", "-o", readable=False, help="The folder; it is gone on with.")],
    target: Annotated[str, typer.Option(help="What the mask shows; else the name of its file.")] = "",
    prompt: Annotated[str, typer.Option(help='What is asked; else "segment the TARGET".')] = "",
    segmenter: Annotated[str, typer.Option(help="The click tool.")] = DEFAULT_SEGMENTER,
    stories: Annotated[
        StoryName, typer.Option(help="Straight episodes, or with wrong turns that are noticed and taken back.")
    ] = StoryName.direct,
    slices: Annotated[int, typer.Option(min=1, help="Slices of each target at most.")] = 3,
    plane: Annotated[PlaneName, typer.Option(help="Where slices are taken.")] = PlaneName.axial,
    window: Annotated[str, typer.Option(help="A CT window, as lung or bone; else by modality.")] = "",
    longest: Annotated[int, typer.Option(min=32, help="Pixels on a view's longer side at most.")] = 512,
    goal: Annotated[float, typer.Option(min=0, max=1, help="The IoU at which the expert stops.")] = 0.9,
    clicks: Annotated[int, typer.Option(min=1, help="Clicks at most.")] = 20,
    near: Annotated[float, typer.Option(min=0, max=1, help="Share of clicks near an error's centre, not on it.")] = 0,
    late: Annotated[float, typer.Option(min=0, max=1, help="Share of corrections that mend the smaller error.")] = 0,
    slips: Annotated[float, typer.Option(min=0, max=1, help="Share of clicks that go astray; not to be learned.")] = 0,
    least_iou: Annotated[float, typer.Option(min=0, max=1, help="What ends below that is left out.")] = 0.7,
    most_turns: Annotated[int, typer.Option(min=1, help="What is longer is left out.")] = 20,
    seed: Annotated[int, typer.Option(min=0, help="Of all that is drawn by chance.")] = 0,
    processes: Annotated[int, typer.Option(min=1, help="How many play at once.")] = 1,
    pictures: Annotated[bool, typer.Option(help="Write the pictures as well; training needs them.")] = True,
    parquet: Annotated[bool, typer.Option("--parquet", help="Also write everything as one Parquet file.")] = False,
) -> None:
    """Let an expert that knows the truth click, and write down every step: what a policy learns from.

    A run that was stopped, even by a kill, goes on when the same command is given again; nothing is made twice.

    [bold]Examples[/bold]

    ibisagent trajectories manifest.json -o trajectories/ --processes 2

    ibisagent trajectories scan.nii.gz liver.nii.gz left_kidney.nii.gz -o trajectories/ --stories reflection
    """
    with exit_codes(), Interrupt().watching() as interrupt:
        from napari_ibisagent.core.window import preset
        from napari_ibisagent.training.trajectories.exercises import CaseUnit, Slices, cases_of, planes_of
        from napari_ibisagent.training.trajectories.filters import Filters
        from napari_ibisagent.training.trajectories.simulate import REFLECTION, STRAIGHT, Recipe
        from napari_ibisagent.training.trajectories.synthesis import Order, report
        from napari_ibisagent.training.trajectories.writing import read_folder, read_rejected, write_parquet

        chosen = Slices(slices, planes_of(plane.value), longest)
        shown = preset(window) if window else None
        units = [CaseUnit(case, chosen, shown) for case in cases_of(inputs, target, prompt)]
        told = REFLECTION if stories is StoryName.reflection else STRAIGHT
        recipe = Recipe(goal=goal, most=clicks, near=near, late=late, slips=slips, stories=told)
        order = Order(recipe, Filters(most_turns, least_iou), segmenter, seed=seed, pictures=pictures)
        finished = _write(units, order, output, processes, interrupt)
        _print(report(read_folder(output), read_rejected(output)), output)
        if parquet and finished:
            console().print(f"All of it as one file: {write_parquet(output)}", markup=False)
        raise typer.Exit(DONE if finished else CANCELLED)


def _write(units: list[CaseUnit], order: Order, output: Path, processes: int, interrupt: Interrupt) -> bool:
    """Plays and writes; says whether all of it was done."""
    from rich.console import Console
    from rich.progress import Progress

    from napari_ibisagent.training.trajectories.synthesis import synthesise
    from napari_ibisagent.training.trajectories.writing import Folder

    with Folder(output) as folder, Progress(console=Console(stderr=True), transient=True) as progress:
        bar = progress.add_task("trajectories", total=None)
        for made in synthesise(units, order, folder, processes):
            progress.update(bar, advance=1, description=made.name[:60])
            if interrupt():
                console().print("Stopped. What is written is whole; the same command goes on from here.")
                return False
    return True


def _print(found: Report, output: Path) -> None:
    from rich.table import Table

    table = Table(title=f"{found.trajectories} trajectories in {output}")
    table.add_column("turns")
    table.add_column("trajectories", justify="right")
    for turns, count in found.steps.items():
        table.add_row(str(turns), str(count))
    out = console()
    out.print(table)
    if found.mean_iou is not None:
        out.print(f"IoU at the end {found.mean_iou:.3f} on average, {found.mean_clicks:.2f} clicks")
    for title, counts in (("stories", found.stories), ("prompts", found.kinds), ("left out", found.reasons)):
        if counts:
            out.print(f"{title}: {', '.join(f'{count} {name}' for name, count in counts.items())}", markup=False)
