"""The command line: a thin composition root, one module a command. Heavy imports happen inside the commands."""

from __future__ import annotations

import typer

from napari_ibisagent import __version__
from napari_ibisagent.cli.demo import demo, phantom
from napari_ibisagent.cli.doctor import doctor
from napari_ibisagent.cli.evaluate import evaluate
from napari_ibisagent.cli.replay import replay
from napari_ibisagent.cli.segment import segment

_EPILOG = (
    'Start with: ibisagent demo. Then: ibisagent segment scan.nii.gz -p "segment the liver" -o labels.nii.gz. '
    "This software is for research; it is no medical device."
)

app = typer.Typer(
    name="ibisagent",
    help="Step-by-step, language-driven segmentation of medical images.",
    epilog=_EPILOG,
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for command in (segment, demo, phantom, replay, evaluate, doctor):
    app.command()(command)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"ibisagent {__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: bool = typer.Option(
        False, "--version", callback=_version, is_eager=True, help="Print the version and end."
    ),
) -> None:
    """Step-by-step, language-driven segmentation of medical images."""


def main() -> None:
    """The entry point ``ibisagent``."""
    app()
