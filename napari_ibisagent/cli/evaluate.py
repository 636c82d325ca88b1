"""``ibisagent evaluate``: plays every case of a manifest and prints how good the masks are."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from napari_ibisagent.cli.console import Interrupt, console
from napari_ibisagent.cli.evaluate_absent import evaluate_absent
from napari_ibisagent.cli.evaluate_tools import evaluate_tools
from napari_ibisagent.cli.faults import CANCELLED, DONE, exit_codes
from napari_ibisagent.cli.segment import ExtentName
from napari_ibisagent.registry import DEFAULT_POLICY, DEFAULT_SEGMENTER

if TYPE_CHECKING:
    from napari_ibisagent.evaluation.manifest import Case
    from napari_ibisagent.evaluation.runner import Row, Setting, Skipped

# The columns that a narrow terminal leaves out, so that the others aren't broken over several lines.
_WIDE = 110
_LEFT_OUT = ("HD95 mm", "NSD 2 mm", "s a step", "s a case")


def evaluate(
    manifest: Annotated[Path, typer.Argument(readable=False, help="A manifest (JSON) of images with their truth.")],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", readable=False, help="Where the results go (JSON).")
    ] = None,
    policy: Annotated[str, typer.Option(help="Who decides; oracle clicks from the truth.")] = DEFAULT_POLICY,
    segmenter: Annotated[str, typer.Option(help="The click tool.")] = DEFAULT_SEGMENTER,
    clicks: Annotated[int, typer.Option(min=1, help="The oracle's clicks on each label.")] = 20,
    max_steps: Annotated[int, typer.Option(min=1, help="The step limit of other policies.")] = 20,
    extent: Annotated[ExtentName, typer.Option(help="One slice of each case, or the whole volume.")] = ExtentName.slice,
    absent: Annotated[bool, typer.Option("--absent", help="Ask for what isn't there instead.")] = False,
    wholes: Annotated[
        bool, typer.Option("--wholes", help="Ask for lungs, spine and pelvis too where the truth has their parts.")
    ] = False,
    reasoning: Annotated[bool, typer.Option("--reasoning", help="Ask with the reasoning prompts.")] = False,
    markdown: Annotated[Path | None, typer.Option(readable=False, help="Also write the table as Markdown.")] = None,
) -> None:
    """Play every case of a manifest; print IoU, Dice, HD95, surface Dice at 2 mm, steps and times per target.

    "wrong" counts answers with an IoU below 0.1. Distances need scans that state their size. With --policy oracle
    the click tool alone is measured, beside classic ones: simulated clicks on the best slice of every label. With
    --absent every case is asked for what it can't show; the right answer is "not found".

    [bold]Examples[/bold]

    ibisagent evaluate manifest.json --policy oracle -o oracle.json

    ibisagent evaluate manifest.json --policy embedded --reasoning -o embedded.json

    ibisagent evaluate manifest.json --absent -o absent.json
    """
    with exit_codes(), Interrupt().watching() as interrupt:
        from napari_ibisagent.evaluation.manifest import read_manifest
        from napari_ibisagent.evaluation.report import lines_by_target
        from napari_ibisagent.evaluation.report import markdown as as_markdown
        from napari_ibisagent.evaluation.runner import Setting

        cases = read_manifest(manifest)
        _check_places(manifest, cases, output, markdown)
        if wholes:
            from napari_ibisagent.evaluation.wholes import with_wholes
            from napari_ibisagent.io.knowledge import load_knowledge

            cases = with_wholes(cases, load_knowledge())
        asked: dict[str, Any] = {"policy": policy, "segmenter": segmenter}
        if policy == "oracle":
            results, table = evaluate_tools(cases, segmenter, clicks, interrupt)
            asked |= {"clicks": clicks}
        elif absent:
            results, table = evaluate_absent(cases, policy, segmenter, max_steps, interrupt)
            asked |= {"max_steps": max_steps, "absent": True}
        else:
            setting = Setting(policy, segmenter, max_steps=max_steps, reasoning=reasoning, extent=extent.value)
            rows, skipped = _run(cases, setting, interrupt)
            _print(rows, skipped)
            results, table = _results(rows, skipped), as_markdown(lines_by_target(rows))
            asked |= {"max_steps": max_steps, "reasoning": reasoning, "extent": extent.value, "wholes": wholes}
        if output is not None:
            _write(output, json.dumps(_heading(manifest, asked) | results, indent=1))
        if markdown is not None:
            _write(markdown, table)
    raise typer.Exit(CANCELLED if interrupt() else DONE)


def _check_places(manifest: Path, cases: tuple[Case, ...], output: Path | None, markdown: Path | None) -> None:
    """Refuses, before the run, places that can't be written or hold an input of it."""
    from napari_ibisagent.core.errors import OutputError
    from napari_ibisagent.io.protect import check_file

    images = [case.image for case in cases if case.image is not None]
    inputs = {manifest, *images, *(task.mask for case in cases for task in case.tasks)}
    for place in (output, markdown):
        if place is not None:
            check_file(place, inputs)
    if output is not None and markdown is not None and output.resolve() == markdown.resolve():
        raise OutputError(f"{output} can't be both the JSON and the Markdown. Name two files.")


def _run(cases: tuple[Case, ...], setting: Setting, interrupt: Interrupt) -> tuple[list[Row], list[Skipped]]:
    from rich.console import Console
    from rich.progress import Progress

    from napari_ibisagent.evaluation.runner import Row, evaluate_cases

    total = sum(max(1, len(case.tasks)) if case.skipped is None else 1 for case in cases)
    rows: list[Row] = []
    skipped: list[Skipped] = []
    with Progress(console=Console(stderr=True), transient=True) as progress:
        bar = progress.add_task("evaluating", total=total)
        for item in evaluate_cases(cases, setting, cancelled=interrupt):
            if isinstance(item, Row):
                rows.append(item)
            else:
                skipped.append(item)
            progress.update(bar, advance=1, description=f"{item.case} {item.target}")
    return rows, skipped


def _print(rows: list[Row], skipped: list[Skipped]) -> None:
    from rich.table import Table

    from napari_ibisagent.evaluation.report import HEADINGS, cells, iou_at, lines_by_target

    lines = lines_by_target(rows)
    out = console()
    if not out.is_terminal:
        out.width = max(out.width, _WIDE)
    shown = [n for n, heading in enumerate(HEADINGS) if out.width >= _WIDE or heading not in _LEFT_OUT]
    table = Table(*(HEADINGS[n] for n in shown))
    for line in lines:
        table.add_row(*(cells(line)[n] for n in shown))
    out.print(table)
    if len(shown) < len(HEADINGS):
        out.print(f"A terminal of {_WIDE} columns, -o or --markdown shows {', '.join(_LEFT_OUT)} as well.")
    reached = iou_at(rows, (1, 2, 3, 5, 10))
    out.print("mean IoU after steps: " + ", ".join(f"{n}: {value:.3f}" for n, value in reached.items()))
    out.print(f"{len(rows)} tasks scored, {len(skipped)} cases or tasks passed over")
    for item in skipped:
        out.print(f"  {item.case} {item.target}: {item.reason}", markup=False)


def _write(path: Path, text: str) -> None:
    """Writes a result; an earlier one is kept under another name, which is said."""
    from napari_ibisagent.io.atomic import write_in_place

    kept = write_in_place(path, lambda temporary: temporary.write_bytes(text.encode()), keep=True)
    if kept is not None:
        console().print(f"{path.name} existed already; the earlier file was kept as {kept.name}.", markup=False)


def _heading(manifest: Path, asked: dict[str, Any]) -> dict[str, Any]:
    """What was measured, with what, and where."""
    import os
    import platform

    from napari_ibisagent import __version__

    machine = {"processor": platform.machine(), "cores": os.cpu_count(), "python": platform.python_version()}
    return {"version": __version__, "manifest": manifest.name, "setting": asked, "machine": machine}


def _results(rows: list[Row], skipped: list[Skipped]) -> dict[str, Any]:
    from dataclasses import asdict

    from napari_ibisagent.evaluation.report import lines_by_target

    return {
        "summary": [asdict(line) for line in lines_by_target(rows)],
        "tasks": [row.as_dict() for row in rows],
        "skipped": [asdict(item) for item in skipped],
    }
