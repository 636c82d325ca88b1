"""``ibisagent bench``: how long a step takes on this machine, part by part, beside the plain loop."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Any

import typer

from napari_ibisagent.cli.console import console
from napari_ibisagent.cli.faults import exit_codes
from napari_ibisagent.cli.given_options import read_options

if TYPE_CHECKING:
    from napari_ibisagent.core.protocols import Segmenter
    from napari_ibisagent.evaluation.bench.policy import Comparison
    from napari_ibisagent.policies.qwen_vl.loading import Opened

bench = typer.Typer(name="bench", help="Time policies and click tools on this machine.", no_args_is_help=True)
_SAM2 = ("random:tiny", "random:large")


@bench.command()
def policy(
    model: Annotated[
        str, typer.Argument(help="A fetched checkpoint's name, its folder, or random:tiny, random:small, random:7b.")
    ] = "random:small",
    segmenter: Annotated[
        str, typer.Option(help="A click tool, or random:tiny or random:large for a SAM 2 of random weights.")
    ] = "random:tiny",
    turns: Annotated[int, typer.Option(min=1, help="Turns to play.")] = 4,
    tokens: Annotated[int, typer.Option(min=1, help="Tokens of each answer.")] = 128,
    side: Annotated[int, typer.Option(min=32, help="Pixels on a side of the slice.")] = 512,
    history: Annotated[bool, typer.Option(help="Whether the model reads what was before.")] = True,
    rounds: Annotated[int, typer.Option(min=1, help="How often; the best counts.")] = 2,
    device: Annotated[str, typer.Option(help="auto, cuda, mps or cpu.")] = "auto",
    dtype: Annotated[str, typer.Option(help="auto, bfloat16, float16 or float32.")] = "auto",
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Time a model's turns, ours beside the plain loop that keeps nothing from one turn to the next.

    Same weights, pictures and turns in both. Random weights say nothing of sense and take as long as trained ones.

    [bold]Example[/bold]

    ibisagent bench policy ibisagent-7b --segmenter sam2.1-hiera-large
    """
    with exit_codes():
        from napari_ibisagent.evaluation.bench.policy import Course, compare
        from napari_ibisagent.io.prompts import read_templates

        opened, tool = _model(model, device, dtype), _tool(segmenter, device)
        found = compare(opened, tool, read_templates("ibis"), Course(turns, tokens, side, history), rounds)
        said = {"model": model, "segmenter": segmenter, "device": opened.device, "history": history}
        _print_policy(found, said | {"turns": turns, "tokens": tokens, "side": side}, as_json)


@bench.command()
def segmenter(
    name: Annotated[str, typer.Argument(help="A click tool, or random:tiny, random:large.")] = "embedded",
    side: Annotated[int, typer.Option(min=32, help="Pixels on a side of the slice.")] = 512,
    clicks: Annotated[int, typer.Option(min=2, help="Clicks on it.")] = 5,
    rounds: Annotated[int, typer.Option(min=1, help="How often; medians are printed.")] = 3,
    device: Annotated[str, typer.Option(help="auto, cuda or cpu; for models with random weights.")] = "auto",
    option: Annotated[
        list[str] | None, typer.Option(metavar="KEY=VALUE", help="An option of the tool; may come several times.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Time a click tool: looking at a slice, the first click, each further one, and all of it anew for each click.

    [bold]Example[/bold]

    ibisagent bench segmenter sam2.1-hiera-large
    """
    with exit_codes():
        from dataclasses import asdict

        from napari_ibisagent.evaluation.bench.policy import bench_view
        from napari_ibisagent.evaluation.bench.segmenter import time_tool

        tool = _tool(name, device, **read_options(option or (), "--option"))
        times = {
            key: round(value, 1) for key, value in asdict(time_tool(tool, bench_view(side), clicks, rounds)).items()
        }
        if as_json:
            typer.echo(json.dumps({"segmenter": name, "side": side, **times}))
            return
        console().print(
            f"{name}, {side}x{side}: open {times['open_ms']} ms, first click {times['first_ms']} ms, each further one "
            f"{times['later_ms']} ms; of the plain loop, which looks anew each time: {times['plain_step_ms']} ms",
            markup=False,
        )


def _model(name: str, device: str, dtype: str) -> Opened:
    from pathlib import Path

    from napari_ibisagent import registry
    from napari_ibisagent.policies.qwen_vl.loading import Machine, open_checkpoint

    if name.startswith("random:"):
        return _random(name.partition(":")[2], device, dtype)
    if Path(name).is_dir():
        return open_checkpoint(name, Machine(device, dtype), 262_144)
    opened: Opened = registry.load("policies", name, device=device, dtype=dtype).opened
    return opened


def _random(size: str, device: str, dtype: str) -> Opened:
    from napari_ibisagent.evaluation.bench.random_models import opened_random

    return opened_random(size, device, dtype)


def _tool(name: str, device: str, **options: Any) -> Segmenter:
    from napari_ibisagent import registry

    if name in _SAM2:
        from napari_ibisagent.evaluation.bench.random_models import random_sam2_tool

        return random_sam2_tool(name.partition(":")[2], None if device == "auto" else device)
    tool: Segmenter = registry.load("segmenters", name, **options)
    return tool


def _print_policy(found: Comparison, said: dict[str, Any], as_json: bool) -> None:
    ours, plain = found.ours, found.plain
    rate = said["tokens"] * len(ours.seconds) / max(sum(lap["decode"] for lap in ours.seconds), 1e-9)
    figures = {
        "seconds_a_turn": {"ours": round(ours.turn_s, 3), "plain": round(plain.turn_s, 3)},
        "ratio": round(found.ratio, 2),
        "tokens_a_second": round(rate, 1),
        "memory_gb": round(found.memory_gb, 2),
    }
    if as_json:
        rounded = {
            who: [{part: round(value, 4) for part, value in lap.items()} for lap in laps.seconds]
            for who, laps in (("ours", ours), ("plain", plain))
        }
        typer.echo(json.dumps({**said, **figures, "laps": rounded}))
        return
    from rich.table import Table

    from napari_ibisagent.evaluation.bench.policy import PARTS

    out = console()
    table = Table("turn", "loop", *PARTS, "all", box=None, pad_edge=False)
    for number, pair in enumerate(zip(ours.seconds, plain.seconds, strict=True), start=1):
        for who, lap in zip(("ours", "plain"), pair, strict=True):
            table.add_row(str(number), who, *(f"{lap[part]:.3f}" for part in PARTS), f"{sum(lap.values()):.3f}")
    out.print(f"{said['model']} on {said['device']}, {said['segmenter']}; seconds", markup=False)
    out.print(table)
    out.print(
        f"{figures['seconds_a_turn']['ours']} s a turn, the plain loop {figures['seconds_a_turn']['plain']} s: "
        f"{figures['ratio']} times longer. {figures['tokens_a_second']} tokens/s; {figures['memory_gb']} GB at most. "
        "The plain loop's prefill is part of its decode.",
        markup=False,
    )
