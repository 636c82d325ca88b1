"""``ibisagent train rl`` and ``train trial``: learning by playing whole episodes, and measuring how an agent acts."""

from __future__ import annotations

import math
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from napari_ibisagent.cli.console import console
from napari_ibisagent.cli.faults import exit_codes
from napari_ibisagent.cli.train_parts import check_installed, tell
from napari_ibisagent.core.errors import InputError
from napari_ibisagent.registry import DEFAULT_SEGMENTER


class RewardName(StrEnum):
    """The presets of rewards."""

    default = "default"
    paper = "paper"
    published = "published"


class CreditName(StrEnum):
    """What a turn is credited with."""

    turn = "turn"
    episode = "episode"


def rl(
    folders: Annotated[
        list[Path] | None,
        typer.Argument(readable=False, help="Folders of trajectories to play on; none: made-up slices (nano)."),
    ] = None,
    *,
    start: Annotated[Path, typer.Option("--from", readable=False, help="The checkpoint to go on from.")],
    output: Annotated[Path, typer.Option("--output", "-o", readable=False, help="A folder; a run in it goes on.")],
    steps: Annotated[int, typer.Option(min=1, help="Steps of the optimiser.")] = 150,
    exercises: Annotated[int, typer.Option(min=1, help="Exercises a step.")] = 8,
    group: Annotated[int, typer.Option(min=2, help="How often each is played.")] = 8,
    rate: Annotated[float, typer.Option(min=0, help="AdamW's rate; it falls evenly towards nothing.")] = 2e-5,
    warm_up: Annotated[int, typer.Option(min=0, help="Steps in which the rate rises first.")] = 5,
    temperature: Annotated[float, typer.Option(min=0.01, help="Of the answers.")] = 1.0,
    top_p: Annotated[
        float, typer.Option(min=0.01, max=1, help="Say only the likeliest words that are together so probable.")
    ] = 1.0,
    kl: Annotated[
        float, typer.Option(min=0, help="What it costs, a nat of a token, to speak unlike the agent it began as.")
    ] = 0.0,
    reward: Annotated[RewardName, typer.Option(help="Which rewards.")] = RewardName.default,
    part: Annotated[
        list[str] | None,
        typer.Option(help="Only this part counts: format, answer, placement, progress or length; several times."),
    ] = None,
    weight: Annotated[
        list[str] | None,
        typer.Option(help="Of a part of the reward, where it isn't the preset's: length=0.05; several times."),
    ] = None,
    only: Annotated[
        list[str] | None,
        typer.Option(help="Made-up slices (nano) that show this structure, which is asked for; several times."),
    ] = None,
    held: Annotated[
        int,
        typer.Option(min=0, help="Beside --only: slices of the rest, a step, on which it is to speak as before."),
    ] = 0,
    hold: Annotated[float, typer.Option(min=0, help="What it costs there, a nat of a token, if it doesn't.")] = 1.0,
    credit: Annotated[CreditName, typer.Option(help="A turn's: what came from it on, or the episode's.")] = (
        CreditName.turn
    ),
    by_spread: Annotated[bool, typer.Option(help="Divide by the group's spread, as GRPO did first.")] = False,
    passes: Annotated[int, typer.Option(min=1, help="Over what a step played.")] = 1,
    segmenter: Annotated[str, typer.Option(help="The click tool that it plays with.")] = "geodesic",
    eye: Annotated[
        bool | None, typer.Option(help="Train the eye as well; else only where it plays on made-up slices.")
    ] = None,
    history: Annotated[bool, typer.Option(help="With folders: it reads all earlier turns.")] = False,
    turns: Annotated[int, typer.Option(min=1, help="With folders: turns of an episode at most.")] = 8,
    max_pixels: Annotated[int, typer.Option(min=784, help="With folders: pictures are made smaller.")] = 262_144,
    max_new_tokens: Annotated[int, typer.Option(min=1, help="With folders: of an answer.")] = 256,
    device: Annotated[str, typer.Option(help="With folders: cuda, mps, cpu or auto.")] = "auto",
    seed: Annotated[int, typer.Option(min=0, help="Of exercises and answers.")] = 0,
    trials: Annotated[int, typer.Option(min=1, help="Unseen exercises that it is measured on.")] = 100,
    measure_every: Annotated[int, typer.Option(min=0, help="Steps between two measurements; 0: never.")] = 50,
    save_every: Annotated[int, typer.Option(min=1, help="Steps between two checkpoints.")] = 25,
) -> None:
    """Train an agent further by letting it play whole episodes (GRPO over many turns), all of its weights.

    The runner plays with the click tool in process; every turn of the agent's is rewarded and learns. For models of
    billions of parameters see docs/training-rl-elsewhere.md. A run that was killed goes on with the same command.

    [bold]Examples[/bold]

    ibisagent train rl --from nano/sft -o nano/rl --segmenter embedded --only spine --held 24 --hold 0.15
    --weight length=0.05 --exercises 16 --steps 8 --rate 1e-4 --warm-up 1 --passes 3 --top-p 0.8 --no-eye

    ibisagent train rl trajectories/ --from tuned/ -o played/ --device cuda
    """
    with exit_codes():
        check_installed("torch", "transformers", "accelerate", "safetensors")
        if folders and (only or held):
            raise InputError("--only and --held choose made-up slices. Leave them out, or the folders of trajectories.")
        from napari_ibisagent.training.precision import faster_in_16_bits
        from napari_ibisagent.training.rl.advantages import Credit
        from napari_ibisagent.training.rl.regime import Regime

        regime = Regime(
            steps=steps,
            exercises=exercises,
            group=group,
            rate=rate,
            warm_up=warm_up,
            temperature=temperature,
            top_p=top_p,
            kl=kl,
            held=held,
            hold=hold,
            credit=Credit(credit.value),
            by_spread=by_spread,
            passes=passes,
            bf16=not folders and faster_in_16_bits("cpu"),
            eye=not folders if eye is None else eye,
            seed=seed,
            measure_every=measure_every,
            save_every=save_every,
        )
        parts, weights = tuple(part or ()), _weights(weight or [])
        if folders:
            from napari_ibisagent.evaluation.rewards import reward_config
            from napari_ibisagent.policies.qwen_vl.loading import Machine
            from napari_ibisagent.training.rl.school import rehearse
            from napari_ibisagent.training.sft.school import Course, gather

            course = Course(
                history=history,
                max_pixels=max_pixels,
                segmenter=segmenter,
                trials=trials,
                turns=turns,
                tokens=max_new_tokens,
                seed=seed,
            )
            config = reward_config(reward.value).weighted(**weights)
            config = config.only(*parts) if parts else config
            rehearse(gather(folders, start, course, Machine(device, "float32")), config, regime, output, tell=tell)
        else:
            from napari_ibisagent.training.nano.school import practise, speech
            from napari_ibisagent.training.nano.school import trial as measured

            practise(
                *(regime, start, output),
                reward=reward.value,
                parts=parts,
                weights=weights,
                tool=segmenter,
                only=tuple(only or ()),
                measure=lambda model: measured(model, count=trials, spoken=speech(start)).as_dict(),
                tell=tell,
            )
        console().print(f"The agent is in {output}.", markup=False)


def _weights(given: list[str]) -> dict[str, float]:
    """By the names of the parts. Raises InputError."""
    found: dict[str, float] = {}
    for one in given:
        part, _, written = one.partition("=")
        try:
            weight = float(written)
        except ValueError:
            weight = math.nan
        if not math.isfinite(weight):
            raise InputError(f"--weight takes a part and a number, as in length=0.05, and not {one!r}.")
        found[part.strip()] = weight
    return found


def trial(
    checkpoint: Annotated[Path, typer.Argument(readable=False, help="A nano agent's folder.")],
    count: Annotated[int, typer.Option(min=1, help="Unseen slices.")] = 200,
    segmenter: Annotated[str, typer.Option(help="The click tool.")] = DEFAULT_SEGMENTER,
    steps: Annotated[int, typer.Option(min=1, help="Turns at most.")] = 8,
    wrongly_given: Annotated[
        float, typer.Option(min=0, max=1, help="Share that begins with the mask of something else.")
    ] = 0.0,
    temperature: Annotated[float, typer.Option(min=0, help="Of the answers; 0: greedily, as it is used.")] = 0.0,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Measure how a nano agent acts in whole episodes on made-up slices that no training draws.

    [bold]Example[/bold]

    ibisagent train trial nano/rl
    """
    with exit_codes():
        import json

        check_installed("torch", "transformers", "safetensors")
        from napari_ibisagent.training.nano.school import open_nano, speech
        from napari_ibisagent.training.nano.school import trial as measured

        agent, spoken = open_nano(checkpoint), speech(checkpoint)
        found = measured(
            *(agent, segmenter),
            spoken=spoken,
            count=count,
            steps=steps,
            wrongly_given=wrongly_given,
            temperature=temperature,
        ).as_dict()
        if as_json:
            typer.echo(json.dumps(found))
        else:
            tell({"step": 0, **found})


def pack(
    checkpoint: Annotated[Path, typer.Argument(readable=False, help="A nano agent's folder.")],
    output: Annotated[Path, typer.Option("--output", "-o", readable=False, help="Where the packed one goes.")],
) -> None:
    """Write a nano agent as it comes with the program: 16-bit weights, and a lock with the hash of each file.

    [bold]Example[/bold]

    ibisagent train pack nano/rl -o resources/nano
    """
    with exit_codes():
        check_installed("torch", "transformers", "safetensors")
        from napari_ibisagent.training.nano.packing import pack as packed

        console().print(f"The packed agent is in {packed(checkpoint, output)}.", markup=False)
