"""``ibisagent models``: which checkpoints there are, fetching, verifying, bundling and removing them."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from napari_ibisagent.cli.console import console
from napari_ibisagent.cli.faults import FAULT, exit_codes

if TYPE_CHECKING:
    from datetime import datetime

    from napari_ibisagent.io.checkpoints.fetch import Progress, Report
    from napari_ibisagent.io.checkpoints.profiles import Profile

app = typer.Typer(name="models", help="List, fetch, verify, bundle and remove checkpoints.", no_args_is_help=True)

_Json = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]


@app.callback()
def _parts() -> None:
    """List, fetch, verify, bundle and remove checkpoints of language models and segmentation tools."""


@app.command(name="list")
def list_models(as_json: _Json = False) -> None:
    """All known checkpoints: what they need, whether commercial use is allowed, and which are installed.

    [bold]Example[/bold]

    ibisagent models list
    """
    with exit_codes():
        from napari_ibisagent.io.checkpoints.profiles import read_profiles
        from napari_ibisagent.io.checkpoints.store import models_folder

        profiles = read_profiles().values()
        if as_json:
            rows = [_row(profile) for profile in profiles]
            typer.echo(json.dumps({"folder": str(models_folder()), "models": rows}, ensure_ascii=False))
            return
        console().print(_table(list(profiles)))
        console().print(f"They lie in {models_folder()}. Fetch one with: ibisagent models fetch NAME", markup=False)


@app.command()
def show(name: Annotated[str, typer.Argument(help="Of the checkpoint.")], as_json: _Json = False) -> None:
    """All about one checkpoint: source, licence, needs, how the model is spoken to, and what is installed.

    [bold]Example[/bold]

    ibisagent models show ibisagent-7b
    """
    with exit_codes():
        from napari_ibisagent.io.checkpoints.profiles import profile

        row = _row(profile(name))
        if as_json:
            typer.echo(json.dumps(row, ensure_ascii=False))
            return
        row["commercial"] = _permission(row["commercial"])
        for key, value in row.items():
            if value not in (None, "", {}):
                text = ", ".join(map(str, value)) if isinstance(value, list) else value
                console().print(f"{key.replace('_', ' '):12s} {text}", markup=False)


@app.command()
def fetch(
    name: Annotated[str | None, typer.Argument(help="Of the checkpoint; with --from, none means all.")] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="I agree to the licence.")] = False,
    again: Annotated[
        bool, typer.Option("--again", help="Also if it is installed: mend it, or get its update.")
    ] = False,
    allow_pickle: Annotated[
        bool, typer.Option("--allow-pickle", help="Take weights that can run code when they are loaded.")
    ] = False,
    bundle: Annotated[
        Path | None, typer.Option("--from", readable=False, help="Install from this bundle and not from the hub.")
    ] = None,
) -> None:
    """Download a checkpoint, or install it from a bundle. A download that was interrupted goes on where it stopped.

    [bold]Examples[/bold]

    ibisagent models fetch sam2.1-hiera-large

    ibisagent models fetch --from checkpoints.tar
    """
    with exit_codes():
        if bundle is None:
            _fetch(name, yes, again, allow_pickle)
        else:
            _fetch_from(bundle, name, yes, allow_pickle)


@app.command()
def verify(
    names: Annotated[list[str] | None, typer.Argument(help="None means all that are installed.")] = None,
) -> None:
    """Read every file of installed checkpoints and compare it with its hash; ends with 1 where something is damaged.

    [bold]Example[/bold]

    ibisagent models verify
    """
    with exit_codes():
        from napari_ibisagent.io.checkpoints import store
        from napari_ibisagent.io.checkpoints.profiles import profile, read_profiles

        chosen = [profile(name).name for name in names or ()] or [
            name for name in read_profiles() if store.condition(name) in ("yes", "damaged")
        ]
        if not chosen:
            console().print("No checkpoint is installed.")
        damaged = [name for name in chosen if not _verified(name)]
        if damaged:
            raise typer.Exit(FAULT)


@app.command()
def bundle(
    names: Annotated[list[str], typer.Argument(help="Of the checkpoints.")],
    output: Annotated[
        Path, typer.Option("--output", "-o", readable=False, help="The archive, for example models.tar.")
    ],
) -> None:
    """Write installed checkpoints into one archive, for a machine without a network.

    [bold]Example[/bold]

    ibisagent models bundle ibisagent-7b sam2.1-hiera-large -o checkpoints.tar
    """
    with exit_codes():
        from napari_ibisagent.io.checkpoints.bundle import write_bundle
        from napari_ibisagent.io.checkpoints.profiles import profile

        for name in names:
            profile(name)
        with _progress() as report:
            write_bundle(names, output, report)
        out = console()
        out.print(f"The bundle is {output}. Install it with: ibisagent models fetch --from {output.name}", markup=False)


@app.command()
def remove(name: Annotated[str, typer.Argument(help="Of the checkpoint.")]) -> None:
    """Delete an installed checkpoint, or what an interrupted download left of one.

    [bold]Example[/bold]

    ibisagent models remove sam-vit-h
    """
    with exit_codes():
        from napari_ibisagent.io.checkpoints import store
        from napari_ibisagent.io.checkpoints.profiles import profile

        freed = store.remove(profile(name).name)
        console().print(f"{name} is removed; that freed {store.gigabytes(freed)}.", markup=False)


def _row(profile: Profile) -> dict[str, Any]:
    """A profile as a JSON object, with what is installed of it."""
    from dataclasses import fields

    from napari_ibisagent.io.checkpoints import store

    row = {field.name: getattr(profile, field.name) for field in fields(profile)}
    condition = store.condition(profile.name)
    lock = store.read_lock(profile.name) if condition == "yes" else None
    return row | {
        "files": list(profile.files),
        "options": dict(profile.options),
        "installed": condition,
        "path": None if lock is None else str(store.folder_of(profile.name)),
        "commit": None if lock is None else lock.revision,
        "agreed": None if lock is None else lock.agreed,
    }


_LICENCE = 10
_KINDS = {"policies": "policy", "segmenters": "tool"}


def _table(profiles: Sequence[Profile]) -> Any:
    from rich.table import Table
    from rich.text import Text

    from napari_ibisagent.io.checkpoints.store import condition

    table = Table(box=None, pad_edge=False)
    for heading in ("name", "kind", "size", "memory", "licence", "commercial", "fetched"):
        side: Any = "right" if heading in ("size", "memory") else "left"
        table.add_column(heading, justify=side, no_wrap=True, overflow="fold")
    for row in profiles:
        needs = (f"{row.size_gb:.1f} GB", f"{row.memory_gb:g} GB")
        # A long licence is cut; show and fetch print all of it.
        licence = row.licence if len(row.licence) <= _LICENCE else f"{row.licence[: _LICENCE - 1]}…"
        terms = (licence, _permission(row.commercial), condition(row.name))
        table.add_row(*(Text(cell) for cell in (row.name, _KINDS[row.kind], *needs, *terms)))
    return table


def _permission(commercial: bool | None) -> str:
    return {True: "yes", False: "no", None: "unknown"}[commercial]


def _fetch(name: str | None, yes: bool, again: bool, allow_pickle: bool) -> None:
    from napari_ibisagent.core.errors import InputError
    from napari_ibisagent.io.checkpoints import fetch as download
    from napari_ibisagent.io.checkpoints import store
    from napari_ibisagent.io.checkpoints.profiles import profile

    if name is None:
        raise InputError("Name a checkpoint, for example: ibisagent models fetch sam2.1-hiera-large")
    wanted = profile(name)
    folder = store.installed(wanted)
    if folder is not None and not again:
        console().print(f"{name} is installed in {folder}. To look for a newer one, add --again.", markup=False)
        return
    download.hub_of(wanted)  # where that isn't known, there is nothing to agree to
    agreed = _agreement([wanted], yes)
    plan = download.plan(wanted, allow_pickle=allow_pickle)
    count = f"{len(plan.files)} files, {store.gigabytes(plan.size)}"
    console().print(f"{count} of {plan.source.hub} at {plan.source.commit[:12]}", markup=False)
    with _progress() as report:
        folder = download.fetch(plan, agreed, report)
    console().print(f"{name} is installed in {folder}.", markup=False)


def _fetch_from(path: Path, name: str | None, yes: bool, allow_pickle: bool) -> None:
    from napari_ibisagent.io.checkpoints.bundle import bundle_contents, install_bundle
    from napari_ibisagent.io.checkpoints.profiles import profile

    names = [lock.name for lock in bundle_contents(path)] if name is None else [name]
    agreed = _agreement([profile(each) for each in names], yes)
    with _progress() as report:
        install_bundle(path, names, agreed, report, allow_pickle=allow_pickle)
    console().print(f"Installed: {', '.join(names)}.", markup=False)


def _agreement(profiles: Sequence[Profile], yes: bool) -> datetime:
    """Shows the licences and has them agreed to; returns when. Raises InputError where nobody does."""
    from datetime import UTC, datetime

    from napari_ibisagent.core.errors import InputError

    for wanted in profiles:
        use = {True: "allowed", False: "not allowed", None: "not known to be allowed"}[wanted.commercial]
        out = console()
        out.print(f"{wanted.name}: licence {wanted.licence} ({wanted.licence_url})", markup=False)
        out.print(f"  commercial use is {use}. {wanted.note}".rstrip(), markup=False)
    if not yes:
        if not sys.stdin.isatty():
            raise InputError("The licence has to be agreed to. Read it, and if you do, add --yes to the command.")
        if not typer.confirm("Do you agree?"):
            raise InputError("Without that nothing is fetched.")
    return datetime.now(UTC)


def _verified(name: str) -> bool:
    from napari_ibisagent.io.checkpoints import store

    damages = store.verify(name)
    for damage in damages:
        typer.echo(f"{name}: {damage.path} {damage.problem}.", err=True)
    if damages:
        typer.echo(store.fetch_again(name), err=True)
    else:
        console().print(f"{name}: every file is as it came.", markup=False)
    return not damages


@contextmanager
def _progress() -> Iterator[Report]:
    """A bar on stderr; a line a file where that isn't a terminal."""
    if not sys.stderr.isatty():
        yield _Lines()
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, TextColumn, TimeRemainingColumn, TransferSpeedColumn
    from rich.progress import Progress as Bar

    columns = (BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
    path = TextColumn("{task.description}", markup=False)
    with Bar(path, *columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("", total=None)
        yield lambda at: bar.update(task, description=at.path, completed=at.done, total=at.total)


class _Lines:
    """Says each file once, when it begins."""

    def __init__(self) -> None:
        self._path = ""

    def __call__(self, at: Progress) -> None:
        if at.path != self._path:
            self._path = at.path
            share = 100 * at.done // max(at.total, 1)
            typer.echo(f"{share:3d} % {at.path}", err=True)
