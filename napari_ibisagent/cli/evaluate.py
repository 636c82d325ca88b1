"""``ibisagent evaluate``: plays every case of a manifest and prints how good the masks are."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from napari_ibisagent.cli.console import CANCELLED, DONE, Interrupt, console, exit_codes

if TYPE_CHECKING:
    from napari_ibisagent.evaluation.runner import Row, Setting, Skipped


def evaluate(
    manifest: Annotated[Path, typer.Argument(help="A manifest (JSON) of images with their truth.")],
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Where the results go (JSON).")] = None,
    policy: Annotated[str, typer.Option(help="Who decides; oracle clicks from the truth.")] = "embedded",
    segmenter: Annotated[str, typer.Option(help="The click tool.")] = "embedded",
    clicks: Annotated[int, typer.Option(min=1, help="The oracle's clicks.")] = 5,
    max_steps: Annotated[int, typer.Option(min=1, help="The step limit of other policies.")] = 20,
    reasoning: Annotated[bool, typer.Option("--reasoning", help="Ask with the reasoning prompts.")] = False,
    markdown: Annotated[Path | None, typer.Option(help="Also write the table as Markdown.")] = None,
) -> None:
    """Play every case of a manifest; print IoU, Dice, HD95, surface Dice at 2 mm, steps and times per target.

    "wrong" counts answers with an IoU below 0.1. Distances need scans that state their size.

    [bold]Examples[/bold]

    ibisagent evaluate manifest.json --policy oracle --clicks 5 -o oracle.json

    ibisagent evaluate manifest.json --policy embedded --reasoning -o embedded.json
    """
    with exit_codes(), Interrupt().watching() as interrupt:
        from napari_ibisagent.evaluation.runner import Setting

        setting = Setting(policy, segmenter, clicks, max_steps, reasoning)
        rows, skipped = _run(manifest, setting, interrupt)
        _print(rows, skipped, markdown)
        if output is not None:
            _save(output, manifest, setting, rows, skipped)
    raise typer.Exit(CANCELLED if interrupt() else DONE)


def _run(manifest: Path, setting: Setting, interrupt: Interrupt) -> tuple[list[Row], list[Skipped]]:
    from rich.console import Console
    from rich.progress import Progress

    from napari_ibisagent.evaluation.manifest import read_manifest
    from napari_ibisagent.evaluation.runner import Row, evaluate_cases

    cases = read_manifest(manifest)
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


def _print(rows: list[Row], skipped: list[Skipped], markdown: Path | None) -> None:
    from rich.table import Table

    from napari_ibisagent.evaluation.report import HEADINGS, cells, iou_at, lines_by_target
    from napari_ibisagent.evaluation.report import markdown as as_markdown
    from napari_ibisagent.io.atomic import atomic_write_bytes

    lines = lines_by_target(rows)
    table = Table(*HEADINGS)
    for line in lines:
        table.add_row(*cells(line))
    out = console()
    out.print(table)
    reached = iou_at(rows, (1, 2, 3, 5, 10))
    out.print("mean IoU after steps: " + ", ".join(f"{n}: {value:.3f}" for n, value in reached.items()))
    out.print(f"{len(rows)} tasks scored, {len(skipped)} cases or tasks passed over")
    for item in skipped:
        out.print(f"  {item.case} {item.target}: {item.reason}", markup=False)
    if markdown is not None:
        atomic_write_bytes(markdown, as_markdown(lines).encode())


def _save(path: Path, manifest: Path, setting: Setting, rows: list[Row], skipped: list[Skipped]) -> None:
    import os
    import platform
    from dataclasses import asdict

    from napari_ibisagent import __version__
    from napari_ibisagent.evaluation.report import lines_by_target
    from napari_ibisagent.io.atomic import atomic_write_bytes

    results: dict[str, Any] = {
        "version": __version__,
        "manifest": manifest.name,
        "setting": asdict(setting),
        "machine": {"processor": platform.machine(), "cores": os.cpu_count(), "python": platform.python_version()},
        "summary": [asdict(line) for line in lines_by_target(rows)],
        "tasks": [row.as_dict() for row in rows],
        "skipped": [asdict(item) for item in skipped],
    }
    atomic_write_bytes(path, json.dumps(results, indent=1).encode())
