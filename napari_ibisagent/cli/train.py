"""``ibisagent train``: what the agent's parts learn from, one command a part."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from napari_ibisagent.cli.console import console
from napari_ibisagent.cli.faults import exit_codes
from napari_ibisagent.cli.train_parts import check_installed, tell
from napari_ibisagent.cli.train_rl import pack, rl, trial
from napari_ibisagent.cli.train_sft import sft

if TYPE_CHECKING:
    from napari_ibisagent.training.clicknet.loop import Point

train = typer.Typer(name="train", help="Train parts of the agent (needs the extra: train).", no_args_is_help=True)


train.command()(sft)
train.command()(rl)
train.command()(trial)
train.command()(pack)


@train.callback()
def _parts() -> None:
    """Train parts of the agent (needs the extra: train)."""


@train.command()
def clicknet(
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for weights, curve and clicknet.onnx.")],
    minutes: Annotated[float, typer.Option(min=0.01, help="How long to train.")] = 90,
    steps: Annotated[
        int | None, typer.Option(min=1, help="Train for so many steps, however long they take, instead.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of the pictures, the clicks and the first weights.")] = 0,
    label_maps: Annotated[
        Path | None, typer.Option(readable=False, help="Folder of label maps (NIfTI) whose shapes are drawn as well.")
    ] = None,
    start: Annotated[
        Path | None, typer.Option("--from", readable=False, help="weights.safetensors of an earlier run to go on from.")
    ] = None,
    batch: Annotated[int, typer.Option(min=2, help="Pictures a step.")] = 16,
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
) -> None:
    """Train the embedded click tool on generated pictures, and write the file that it runs.

    No picture of a patient is used; of label maps only the shapes.

    [bold]Example[/bold]

    ibisagent train clicknet --minutes 90 --seed 0 --label-maps label_maps/ -o clicknet/
    """
    with exit_codes():
        check_installed("torch", "onnx", "safetensors")
        from napari_ibisagent.training.clicknet.export import export
        from napari_ibisagent.training.clicknet.labelmaps import read_label_maps
        from napari_ibisagent.training.clicknet.loop import Recipe
        from napari_ibisagent.training.clicknet.loop import train as train_network

        maps = () if label_maps is None else read_label_maps(label_maps)
        recipe = Recipe(minutes, seed, batch, device=device, steps=steps)
        network = train_network(recipe, maps, output, _report, start)
        export(network, output / "clicknet.onnx")
        console().print(f"The click tool's file is {output / 'clicknet.onnx'}.", markup=False)


@train.command()
def nano(
    output: Annotated[Path, typer.Option("--output", "-o", readable=False, help="A folder; a run in it goes on.")],
    exercises: Annotated[int, typer.Option(min=20, help="Made-up slices to learn from.")] = 24_000,
    sight: Annotated[int, typer.Option(min=1, help="Steps in which its eye learns to see first.")] = 800,
    pointing: Annotated[int, typer.Option(min=1, help="Steps in which it then learns to say where things are.")] = 1500,
    steps: Annotated[int, typer.Option(min=1, help="Steps of fine-tuning, 32 turns each.")] = 1500,
    reflection: Annotated[bool, typer.Option(help="Learn from wrong turns that are taken back as well.")] = True,
    segmenter: Annotated[str, typer.Option(help="The click tool of its trajectories.")] = "geodesic",
    seed: Annotated[int, typer.Option(min=0, help="Of pictures, words, weights and order.")] = 0,
    processes: Annotated[int, typer.Option(min=1, help="How many make trajectories at once.")] = 1,
    trials: Annotated[int, typer.Option(min=1, help="Unseen slices that it is measured on.")] = 100,
    measure_every: Annotated[int, typer.Option(min=0, help="Steps between two measurements of acting.")] = 500,
) -> None:
    """Train the nano agent, a vision-language model of three million parameters, on made-up anatomy.

    From nothing: slices, trajectories, words, an eye that sees (OUTPUT/sft/sighted), pointing (OUTPUT/sft/pointed), and
    fine-tuning (OUTPUT/sft). A run that was killed goes on with the same command.

    [bold]Example[/bold]

    ibisagent train nano -o nano/ --seed 0
    """
    with exit_codes():
        check_installed("torch", "transformers", "accelerate", "safetensors", "tensorboard")
        from napari_ibisagent.training.nano import school

        course = school.Curriculum(
            exercises=exercises,
            tool=segmenter,
            reflection=reflection,
            looking=school.Looking(sight=sight, pointing=pointing),
            steps=steps,
            seed=seed,
            processes=processes,
            measure_every=measure_every,
        )
        pictures = output / "trajectories"
        learned = school.write_trajectories(course, pictures)
        console().print(f"{len(learned)} trajectories in {pictures}", markup=False)
        agent = output / "sft"
        school.attend(
            *(course, learned, pictures, agent),
            measure=lambda model: school.trial(model, count=trials).as_dict(),
            tell=tell,
        )
        console().print(f"The agent is in {agent}.", markup=False)


def _report(point: Point) -> None:
    overlaps = ", ".join(f"{n}: {value:.3f}" for n, value in point.iou.items())
    console().print(
        f"step {point.step}, {point.seconds:.0f} s: loss {point.loss:.3f}, IoU after clicks {overlaps}, "
        f"foretold within {point.foretold_error:.3f}",
        markup=False,
    )
