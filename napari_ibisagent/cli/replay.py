"""``ibisagent replay``: re-reads a journal, recomputes every mask, and gives back the labels that it holds."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from napari_ibisagent.cli.console import console, describe
from napari_ibisagent.cli.faults import FAULT, exit_codes

if TYPE_CHECKING:
    from napari_ibisagent.core.history import History
    from napari_ibisagent.core.volume import Volume


@dataclass(frozen=True, slots=True)
class _Asked:
    """A journal, and what the user says about its scan."""

    journal: Path
    scan: Path | None
    segmenter: str | None
    output: Path | None


def replay(
    journal: Annotated[Path, typer.Argument(readable=False, help="A journal (.ibis.jsonl).")],
    scan: Annotated[
        Path | None,
        typer.Option(readable=False, help="The scan, where it no longer lies at the place that the journal names."),
    ] = None,
    segmenter: Annotated[str | None, typer.Option(help="Another tool than the one that was used.")] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", readable=False, help="Write the labels that the journal holds, as segment does."
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Recompute every mask of a journal from its prompts and say whether each is identical.

    No policy is asked. With -o the labels are written too, so that the work of a killed run can be had back; where
    it was ended before it was done, the last mask is taken. Exit code: 0 all identical, 1 some differ, 2 bad input.

    [bold]Examples[/bold]

    ibisagent replay demo-output/demo.ibis.jsonl

    ibisagent replay ct-20260101-120000.ibis.jsonl -o labels.nii.gz
    """

    def report(code: int, sentence: str) -> None:
        if as_json:
            typer.echo(json.dumps(empty_replay(code, sentence), ensure_ascii=False))

    with exit_codes(report):
        found = _replay(_Asked(journal, scan, segmenter, output))
        if as_json:
            typer.echo(json.dumps(found, ensure_ascii=False))
        else:
            _print(found)
    raise typer.Exit(0 if found["identical"] else FAULT)


def empty_replay(code: int, reason: str) -> dict[str, Any]:
    """The JSON object where nothing could be compared."""
    return {"identical": None, "masks": [], "reason": reason, "output": None, "warnings": []}


def _print(found: dict[str, Any]) -> None:
    out = console()
    rows = found["masks"]
    for row in rows:
        verdict = "identical" if row["identical"] else f"DIFFERS (IoU {row['iou']:.4f})"
        place = f"step {row['step']}" if row["slice"] is None else f"carried to slice {row['slice']}"
        out.print(f'"{row["prompt"]}" {place}: {row["actions"]}: {verdict}', markup=False)
    if rows:
        out.print(f"{sum(row['identical'] for row in rows)} of {len(rows)} masks are identical.")
    else:
        out.print("There is nothing to check: the journal holds no mask that a tool made.")
    for warning in found["warnings"]:
        out.print(f"warning: {warning}", style="yellow", markup=False)
    if found["output"] is not None:
        out.print(f"labels: {found['output']}", markup=False)


def _replay(asked: _Asked) -> dict[str, Any]:
    from napari_ibisagent import registry
    from napari_ibisagent.agent.replay import recompute
    from napari_ibisagent.core.errors import InputError
    from napari_ibisagent.io.journal import read_journal
    from napari_ibisagent.io.labels import check_output

    history = read_journal(asked.journal)
    found: dict[str, Any] = {"identical": True, "masks": [], "reason": "", "output": None, "warnings": []}
    if history.session.scan is None:
        if asked.output is not None:
            raise InputError(f"{asked.journal.name} holds no labels: no scan was opened in it. Leave -o out.")
        return found
    volume, place = _scan(history, asked)
    if asked.output is not None:
        check_output(asked.output, volume, [place, asked.journal])
    tool = registry.load("segmenters", asked.segmenter or history.session.segmenter)
    for check in recompute(history, volume, tool):
        found["masks"].append(
            {
                "prompt": check.prompt,
                "step": check.step,
                "slice": check.index,
                "actions": describe(check.actions),
                "identical": check.identical,
                "iou": check.iou,
            }
        )
    found["identical"] = all(row["identical"] for row in found["masks"])
    if asked.output is not None:
        found |= _save(history, volume, asked.output, [place, asked.journal])
    return found


def _scan(history: History, asked: _Asked) -> tuple[Volume, Path]:
    """The scan that the journal is about, and where it lies."""
    from napari_ibisagent.core.errors import InputError
    from napari_ibisagent.io.scanref import read_scan_of

    if history.session.scan is None:
        raise InputError(f"{asked.journal.name} names no scan. Choose another journal.")
    return read_scan_of(history.session.scan, asked.journal, asked.scan, "Name the right one with --scan.")


def _save(history: History, volume: Volume, output: Path, protect: list[Path]) -> dict[str, Any]:
    """Writes the labels of a journal; the mask of an episode that was ended early counts, with a warning."""
    from napari_ibisagent.agent.replay import rescued
    from napari_ibisagent.core.errors import InputError
    from napari_ibisagent.core.session import labels_of
    from napari_ibisagent.io.labels import write_labels

    whole, is_early = rescued(history, volume)
    names = {row.value: row.name for row in whole.objects}
    if not names:
        raise InputError("The journal holds no labels: no mask was made in it. Leave -o out.")
    saved = write_labels(labels_of(whole, volume.shape), volume, output, names=names, protect=protect)
    warnings = []
    if is_early:
        warnings.append(
            "The run ended before the agent was done; its last mask was saved. Look at it before you use it."
        )
    if saved.kept_as is not None:
        warnings.append(f"{saved.path.name} existed already; the earlier file was kept as {saved.kept_as.name}.")
    return {"output": str(saved.path), "warnings": warnings}
