"""The command line: a thin composition root, one module a command. Heavy imports happen inside the commands."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from typing import Any

import typer

from napari_ibisagent import __version__
from napari_ibisagent.cli.bench import bench
from napari_ibisagent.cli.convert_trajectories import convert_trajectories
from napari_ibisagent.cli.demo import demo, phantom
from napari_ibisagent.cli.doctor import doctor
from napari_ibisagent.cli.evaluate import evaluate
from napari_ibisagent.cli.export_training import export_training
from napari_ibisagent.cli.faults import BAD_INPUT, DONE, fault_of, usage_sentence
from napari_ibisagent.cli.gui import gui
from napari_ibisagent.cli.models import app as models
from napari_ibisagent.cli.replay import empty_replay, replay
from napari_ibisagent.cli.segment import segment
from napari_ibisagent.cli.summary import empty_summary
from napari_ibisagent.cli.train import train
from napari_ibisagent.cli.trajectories import trajectories

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
for command in (
    segment,
    gui,
    demo,
    phantom,
    replay,
    evaluate,
    doctor,
    trajectories,
    convert_trajectories,
    export_training,
):
    app.command()(command)
app.add_typer(train)
app.add_typer(models)
app.add_typer(bench)

_EMPTY = {"segment": empty_summary, "replay": empty_replay}


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
    arguments = sys.argv[1:]
    empty = next((_EMPTY[word] for word in arguments if word in _EMPTY), None)
    if empty is None or "--json" not in arguments:
        app()
    else:
        sys.exit(_main_json(empty))


def _main_json(empty: Callable[[int, str], dict[str, Any]]) -> int:
    """Runs a command whose stdout is one JSON object, also where its arguments are wrong; returns the exit code."""
    try:
        return int(app(standalone_mode=False) or DONE)
    except Exception as error:  # noqa: BLE001  (whatever it is, the object is printed)
        sentence = usage_sentence(error)
        code, sentence = fault_of(error) if sentence is None else (BAD_INPUT, sentence)
        typer.echo(sentence, err=True)
        typer.echo(json.dumps(empty(code, sentence), ensure_ascii=False))
        return code
