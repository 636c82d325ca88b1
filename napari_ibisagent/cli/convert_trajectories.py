"""``ibisagent convert-trajectories``: trajectories from one form into another, the official code's among them."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from napari_ibisagent.cli.console import console
from napari_ibisagent.cli.faults import exit_codes

if TYPE_CHECKING:
    from napari_ibisagent.training.trajectories.exchange import Written

# So many of what was left out are told one by one.
_TOLD = 5


class FormName(StrEnum):
    """The forms, as the command line names them."""

    folder = "folder"
    parquet = "parquet"
    synthesis = "synthesis"
    rl = "rl"


def convert_trajectories(
    source: Annotated[
        Path,
        typer.Argument(
            readable=False, help="A folder of trajectories, or a file: ours (.jsonl, .parquet) or of the official code."
        ),
    ],
    output: Annotated[
        Path, typer.Option("--output", "-o", readable=False, help="The folder that it is written to, with pictures/.")
    ],
    to: Annotated[
        FormName,
        typer.Option(
            help="folder: ours; parquet: ours in one file; synthesis, rl: the two forms of the official code."
        ),
    ] = FormName.folder,
    drop_reverted: Annotated[
        bool,
        typer.Option(
            "--drop-reverted", help="Official forms: leave out clicks that were taken back, which those can't hold."
        ),
    ] = False,
) -> None:
    """Turn trajectories from one form into another. The sign of every click is kept.

    The official forms hold clicks on an empty mask and nothing else: no thought, no given mask, no closing answer. A
    trajectory that they can't hold is left out, with the reason.

    [bold]Examples[/bold]

    ibisagent convert-trajectories trajectories/ -o official/ --to synthesis --drop-reverted

    ibisagent convert-trajectories their_trajectories.json -o trajectories/
    """
    with exit_codes():
        from napari_ibisagent.core.errors import InputError
        from napari_ibisagent.training.trajectories.exchange import Form, read_rows, write_rows

        if not source.exists():
            raise InputError(f"There is no file {source}. Correct the path.")
        _print(write_rows(read_rows(source), Form(to.value), output, drop_reverted=drop_reverted))


def _print(written: Written) -> None:
    out = console()
    pictures = f"{written.pictures} with their picture"
    out.print(f"{written.trajectories} trajectories in {written.path}, {pictures}", markup=False)
    for reason in written.left_out[:_TOLD]:
        out.print(f"left out: {reason}", style="yellow", markup=False)
    if len(written.left_out) > _TOLD:
        out.print(f"and {len(written.left_out) - _TOLD} more were left out", style="yellow")
