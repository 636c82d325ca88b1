"""``ibisagent replay``: re-reads a journal, recomputes every mask, and says whether each is identical."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from napari_ibisagent.cli.console import FAULT, console, describe, exit_codes


def replay(
    journal: Annotated[Path, typer.Argument(help="A journal (.ibis.jsonl).")],
    scan: Annotated[
        Path | None,
        typer.Option(help="The scan, where it no longer lies at the place that the journal names."),
    ] = None,
    segmenter: Annotated[str | None, typer.Option(help="Another tool than the one that was used.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Recompute every mask of a journal from its prompts and say whether each is identical.

    No policy is asked. Exit code: 0 all identical, 1 some differ, 2 bad input.

    [bold]Example[/bold]

    ibisagent replay demo-output/demo.ibis.jsonl
    """
    with exit_codes():
        rows = _replay(journal, scan, segmenter)
        same = all(row["identical"] for row in rows)
        if as_json:
            typer.echo(json.dumps({"identical": same, "masks": rows}))
        else:
            out = console()
            for row in rows:
                verdict = "identical" if row["identical"] else f"DIFFERS (IoU {row['iou']:.4f})"
                out.print(f'"{row["prompt"]}" step {row["step"]}: {row["actions"]}: {verdict}', markup=False)
            out.print(f"{sum(r['identical'] for r in rows)} of {len(rows)} masks are identical.")
    raise typer.Exit(0 if same else FAULT)


def _replay(path: Path, scan: Path | None, tool_name: str | None) -> list[dict[str, Any]]:
    from napari_ibisagent import registry
    from napari_ibisagent.agent.replay import recompute
    from napari_ibisagent.core.errors import InputError
    from napari_ibisagent.io.journal import read_journal
    from napari_ibisagent.io.read import read_scan
    from napari_ibisagent.io.scanref import digest_of

    history = read_journal(path)
    reference = history.session.scan
    if reference is None:
        return []
    place = scan or Path(reference.path)
    if not place.exists() and (path.parent / place.name).exists():
        place = path.parent / place.name
    volume = read_scan(place, series=reference.series, frame=reference.frame)
    if digest_of(volume) != reference.digest:
        raise InputError(
            f"{place.name} isn't the scan that {path.name} is about: its voxels differ. Name the right one with --scan."
        )
    tool = registry.load("segmenters", tool_name or history.session.segmenter)
    return [
        {
            "prompt": check.prompt,
            "step": check.step,
            "actions": describe(check.actions),
            "identical": check.identical,
            "iou": check.iou,
        }
        for check in recompute(history, volume, tool)
    ]
