"""``ibisagent export-training``: what people corrected, as examples that an agent can learn from."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from napari_ibisagent.cli.console import console
from napari_ibisagent.cli.faults import BAD_INPUT, exit_codes

if TYPE_CHECKING:
    from rich.console import Console

    from napari_ibisagent.training.corrections.export import Told, Wish

_WIDE = 130


class ThoughtsName(StrEnum):
    """How a person's turns are told, as the command line names it."""

    full = "full"
    brief = "brief"
    none = "none"


class PromptsName(StrEnum):
    """Which sentences go out, as the command line names them."""

    known = "known"
    typed = "typed"


def export_training(
    sessions: Annotated[
        list[Path], typer.Argument(readable=False, help="Journals (.ibis.jsonl), or folders that hold some.")
    ],
    output: Annotated[
        Path, typer.Option("--output", "-o", readable=False, help="A folder that is empty or doesn't exist yet.")
    ],
    have_consent: Annotated[
        bool,
        typer.Option(
            "--i-have-consent",
            help="You have consent for the sessions in which nobody was asked. One that was refused stays out.",
        ),
    ] = False,
    prompts: Annotated[
        PromptsName,
        typer.Option(
            help="known: sentences made anew from the target's name; typed: as they were typed, names and all."
        ),
    ] = PromptsName.known,
    thoughts: Annotated[
        ThoughtsName,
        typer.Option(
            help="A person's click has no thought; it gets one from what is seen: in full sentences, brief for small "
            "models, or none."
        ),
    ] = ThoughtsName.full,
    with_pictures: Annotated[
        bool, typer.Option("--with-pictures", help="Write the slices as PNG too; burnt-in text and faces identify.")
    ] = False,
) -> None:
    """Turn what people accepted, replaced and refused into training data, without names, paths and dates.

    Writes trajectories.jsonl (examples: accepted steps, and what a person put in place of others) and
    preferences.jsonl (what was refused beside what was done). Only sessions with consent go out: tick "May be used for
    training" in the window, or segment with --consent. See docs/corrections.md.

    Exit code: 0 something was exported, 2 nothing was, or bad input.

    [bold]Examples[/bold]

    ibisagent export-training sessions/ -o corrections/

    ibisagent export-training liver.ibis.jsonl -o corrections/ --with-pictures --i-have-consent
    """
    with exit_codes():
        from napari_ibisagent.training.corrections.export import Wish, export, journals_in
        from napari_ibisagent.training.corrections.voice import Voice

        wish = Wish(prompts is PromptsName.typed, with_pictures, have_consent, Voice(thoughts.value))
        all_told = export(journals_in(sessions), output, wish)
        out = console()
        _print(out, all_told)
        done = any(told.lessons for told in all_told)
        if done:
            _print_cautions(out, output, wish)
    if not done:
        typer.echo("Nothing was exported; the reasons stand above.", err=True)
        raise typer.Exit(BAD_INPUT)


def _print(out: Console, all_told: tuple[Told, ...]) -> None:
    from rich.markup import escape
    from rich.table import Table

    if not out.is_terminal:
        out.width = max(out.width, _WIDE)
    table = Table("trajectories", "turns to learn", "pairs", "pictures", "journal", box=None, pad_edge=False)
    for told in all_told:
        learned = sum(lesson.learned for lesson in told.lessons)
        table.add_row(*map(str, (len(told.lessons), learned, told.pairs, told.pictures)), escape(told.journal.name))
    out.print(table)
    for told in all_told:
        for reason in told.left_out:
            out.print(f"left out of {told.journal.name}: {reason}", style="yellow", markup=False)
    silenced = sum(lesson.silenced for told in all_told for lesson in told.lessons)
    if silenced:
        out.print(f"{silenced} thoughts were left out: they repeat what was typed, a name of a file, or a date.")


def _print_cautions(out: Console, output: Path, wish: Wish) -> None:
    if wish.typed:
        out.print("warning: the sentences went out as they were typed. Look for names in them.", style="yellow")
    if wish.pictures:
        words = "warning: text that is burnt into a picture, and a face, identify a patient. Look at all pictures."
        out.print(words, style="yellow")
    out.print(f"The folder is {output}. Thoughts are the model's own words: read them too.", markup=False)
