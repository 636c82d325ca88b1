"""``ibisagent trajectories``: click trajectories from images and masks, for training."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from inspect import signature
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from napari_ibisagent.cli.console import Interrupt, console
from napari_ibisagent.cli.faults import BAD_INPUT, CANCELLED, DONE, exit_codes
from napari_ibisagent.cli.given_options import read_options
from napari_ibisagent.registry import DEFAULT_SEGMENTER

if TYPE_CHECKING:
    from napari_ibisagent.training.trajectories.cases import CaseUnit
    from napari_ibisagent.training.trajectories.form import Trajectory
    from napari_ibisagent.training.trajectories.synthesis import Order, Report
    from napari_ibisagent.training.words.teacher import Ask


# So many reasons and warnings are told one by one.
_MOST_LINES = 12


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
    words: Annotated[int, typer.Option(min=0, help="Further sentences for each target on each slice.")] = 0,
    absent: Annotated[int, typer.Option(min=0, help="Questions for what isn't there, for each scan.")] = 0,
    plain: Annotated[int, typer.Option(min=0, help="Questions that are answered in words, for each scan.")] = 0,
    segmenter: Annotated[str, typer.Option(help="The click tool.")] = DEFAULT_SEGMENTER,
    segmenter_option: Annotated[
        list[str] | None, typer.Option(metavar="KEY=VALUE", help="An option of the click tool; may come several times.")
    ] = None,
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
    least_gain: Annotated[float, typer.Option(min=0, max=1, help="What later clicks gain less than is left out.")] = 0,
    most_turns: Annotated[int, typer.Option(min=1, help="What is longer is left out.")] = 20,
    teacher: Annotated[
        list[str] | None,
        typer.Option(metavar="KEY=VALUE", help="A served model that rewords the thoughts: url=…, model=…"),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of all that is drawn by chance.")] = 0,
    processes: Annotated[int, typer.Option(min=1, help="How many play at once.")] = 1,
    pictures: Annotated[bool, typer.Option(help="Write the pictures as well; training needs them.")] = True,
    parquet: Annotated[bool, typer.Option("--parquet", help="Also write everything as one Parquet file.")] = False,
) -> None:
    """Let an expert that knows the truth click, and write down every step: what a policy learns from.

    A run that was stopped, even by a kill, goes on when the same command is given again; nothing is made twice.
    The paths of images and masks are kept in the trajectories; a file that is named after a patient stays so.

    Exit code: 0 done, 2 bad input or a mask that can't be read, 130 stopped by Ctrl+C.

    [bold]Examples[/bold]

    ibisagent trajectories manifest.json -o trajectories/ --processes 2 --words 2 --absent 1 --plain 1

    ibisagent trajectories scan.nii.gz liver.nii.gz left_kidney.nii.gz -o trajectories/ --stories reflection
    """
    with exit_codes(), Interrupt().watching() as interrupt:
        from napari_ibisagent.core.window import preset
        from napari_ibisagent.io.protect import check_folder
        from napari_ibisagent.training.trajectories.asking import Asking
        from napari_ibisagent.training.trajectories.cases import CaseUnit, Slices, cases_of, planes_of
        from napari_ibisagent.training.trajectories.filters import Filters
        from napari_ibisagent.training.trajectories.simulate import REFLECTION, STRAIGHT, Recipe
        from napari_ibisagent.training.trajectories.synthesis import Order

        cases = cases_of(inputs, target, prompt)
        check_folder(output, [case.image for case in cases if case.image is not None])
        chosen, asking = Slices(slices, planes_of(plane.value), longest), Asking(words, absent, plain, seed)
        units = [CaseUnit(case, chosen, preset(window) if window else None, asking) for case in cases]
        told = REFLECTION if stories is StoryName.reflection else STRAIGHT
        recipe = Recipe(goal=goal, most=clicks, near=near, late=late, slips=slips, stories=told)
        options = tuple(sorted(read_options(segmenter_option or (), "--segmenter-option").items()))
        filters = Filters(most_turns, least_iou, least_gain)
        order = Order(recipe, filters, segmenter, options, seed=seed, pictures=pictures)
        teaching = read_options(teacher or (), "--teacher")
        about = {
            **{"slices": slices, "plane": plane.value, "window": window, "longest": longest, "prompt": prompt},
            **{"words": words, "absent": absent, "plain": plain, "teacher": teaching},
        }
        work = _Work(units, order, about, output, processes, _Rewording.by(teaching))
        try:
            work.go(interrupt)
        finally:
            work.tell(interrupt)
        if parquet and not interrupt():
            _write_parquet(output)
        raise typer.Exit(CANCELLED if interrupt() else BAD_INPUT if work.unread and len(inputs) > 1 else DONE)


@dataclass(slots=True)
class _Rewording:
    """A teacher, where there is one, and what became of the thoughts that it was given."""

    ask: Ask | None = None
    accepted: int = 0
    refused: int = 0

    @staticmethod
    def by(options: dict[str, Any]) -> _Rewording:
        """The teacher with these options; none without any. Raises InputError."""
        from napari_ibisagent.core.errors import InputError
        from napari_ibisagent.training.words.teacher import served

        known = signature(served).parameters
        unknown = [key for key in options if key not in known]
        if unknown:
            raise InputError(f"--teacher has no {', '.join(unknown)}. It takes: {', '.join(known)}.")
        return _Rewording(served(**options) if options else None)

    def __call__(self, trajectory: Trajectory) -> Trajectory:
        """The trajectory in the teacher's words. Raises BackendError where it fails."""
        if self.ask is None:
            return trajectory
        from napari_ibisagent.io.knowledge import load_knowledge
        from napari_ibisagent.training.words.teacher import rewrite

        done = rewrite(trajectory, self.ask, load_knowledge())
        self.accepted += done.accepted
        self.refused += done.refused
        return done.trajectory


@dataclass(slots=True)
class _Work:
    """A run: what is made of which units, how, and where to.

    begun: the folder may be gone on with. unread: what couldn't be read, and why.
    """

    units: list[CaseUnit]
    order: Order
    about: dict[str, Any]
    output: Path
    processes: int
    rewording: _Rewording
    begun: bool = False
    unread: list[str] = field(default_factory=list)

    def go(self, interrupt: Interrupt) -> None:
        """Plays and writes until all is done, or the user stops it. Raises what ``synthesise`` does."""
        from rich.console import Console
        from rich.progress import Progress

        from napari_ibisagent.training.trajectories.synthesis import synthesise
        from napari_ibisagent.training.trajectories.writing import Folder

        scans = {unit.name: str(unit.case.image.resolve()) for unit in self.units if unit.case.image is not None}
        with Folder(self.output) as folder, Progress(console=Console(stderr=True), transient=True) as progress:
            bar = progress.add_task("trajectories", total=None)
            for made in synthesise(
                *(self.units, self.order, folder, self.processes),
                about=self.about,
                scans=scans,
                reworded=self.rewording,
                cancelled=interrupt,
            ):
                self.begun = True
                progress.update(bar, advance=1, description=made.name[:60].replace("[", "("))
                if made.unread:
                    self.unread.append(f"{made.name}: {made.reason}")
        self.begun = True

    def tell(self, interrupt: Interrupt) -> None:
        """Says what the folder holds, and what this run met with."""
        from napari_ibisagent.training.trajectories.synthesis import report
        from napari_ibisagent.training.trajectories.writing import read_folder, read_rejected

        if not self.begun:
            return
        _print(report(read_folder(self.output), read_rejected(self.output)), self.output)
        out = console()
        if self.rewording.ask is not None:
            words = f"{self.rewording.accepted} thoughts reworded, {self.rewording.refused} kept as they were"
            out.print(f"{words}: the teacher's wording said more, or something else.")
        for reason in self.unread[:_MOST_LINES]:
            out.print(f"warning: {reason}", style="yellow", markup=False)
        if interrupt():
            out.print("Stopped. What is written is whole; the same command goes on from here.")


def _write_parquet(output: Path) -> None:
    from napari_ibisagent.training.trajectories.exchange import Form, read_rows, write_rows

    written = write_rows(read_rows(output), Form.PARQUET, output)
    console().print(f"All of it as one file: {written.path}", markup=False)


def _print(found: Report, output: Path) -> None:
    from rich.table import Table
    from rich.text import Text

    table = Table("turns", "trajectories", title=Text(f"{found.trajectories} trajectories in {output}"))
    for turns, count in found.steps.items():
        table.add_row(str(turns), str(count))
    out = console()
    out.print(table)
    if found.mean_iou is not None:
        out.print(f"IoU at the end {found.mean_iou:.3f} on average, {found.mean_clicks:.2f} clicks")
    for title, counts in (("stories", found.stories), ("prompts", found.kinds)):
        if counts:
            out.print(f"{title}: {', '.join(f'{count} {name}' for name, count in counts.items())}", markup=False)
    for reason, count in list(found.reasons.items())[:_MOST_LINES]:
        out.print(f"left out: {count}, {reason}", markup=False)
