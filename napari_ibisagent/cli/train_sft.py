"""``ibisagent train sft``: fine-tuning of a checkpoint on trajectories."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from napari_ibisagent.cli.console import console
from napari_ibisagent.cli.faults import exit_codes
from napari_ibisagent.cli.train_parts import check_installed, tell
from napari_ibisagent.registry import DEFAULT_SEGMENTER

if TYPE_CHECKING:
    from napari_ibisagent.training.sft.school import Course


class DialectName(StrEnum):
    """The dialects."""

    ibis = "ibis"
    tool_calls = "tool_calls"


def sft(
    folders: Annotated[list[Path], typer.Argument(readable=False, help="Folders of trajectories, with pictures.")],
    start: Annotated[Path, typer.Option("--from", readable=False, help="The folder of the checkpoint to begin from.")],
    output: Annotated[Path, typer.Option("--output", "-o", readable=False, help="A folder; a run in it goes on.")],
    epochs: Annotated[float, typer.Option(min=0.01, help="How often all turns are learned.")] = 2,
    steps: Annotated[int | None, typer.Option(min=1, help="Steps of the optimiser, instead of epochs.")] = None,
    batch: Annotated[int, typer.Option(min=1, help="Turns (with --history: episodes) at once.")] = 4,
    accumulate: Annotated[int, typer.Option(min=1, help="So many batches make a step.")] = 4,
    rate: Annotated[
        float | None, typer.Option(min=0, help="AdamW's rate; else 0.0001 with LoRA, 0.00001 without.")
    ] = None,
    lora: Annotated[int, typer.Option(min=0, help="LoRA's rank on the language model; 0: train all of it.")] = 8,
    eye: Annotated[bool, typer.Option(help="Train the eye as well; with --lora 0 only.")] = False,
    spoken: Annotated[DialectName, typer.Option("--dialect", help="How it answers.")] = DialectName.ibis,
    history: Annotated[bool, typer.Option(help="It reads all earlier turns, or the newest picture alone.")] = False,
    prompts: Annotated[
        Path | None,
        typer.Option(readable=False, help="A file of sentences (TOML); else the checkpoint's or the dialect's own."),
    ] = None,
    overlay: Annotated[str, typer.Option(help="How the mask is drawn; else as the dialect has it.")] = "",
    max_pixels: Annotated[int, typer.Option(min=784, help="Pictures are made smaller than that.")] = 262_144,
    held_out: Annotated[float, typer.Option(min=0, max=0.9, help="Share of trajectories, by case, to test on.")] = 0.1,
    segmenter: Annotated[str, typer.Option(help="The click tool that it is tested with.")] = DEFAULT_SEGMENTER,
    trials: Annotated[int, typer.Option(min=0, help="Episodes held out that it plays at each test.")] = 32,
    turns: Annotated[int, typer.Option(min=1, help="Of these episodes, turns at most.")] = 20,
    max_new_tokens: Annotated[int, typer.Option(min=1, help="Of an answer there.")] = 512,
    measure_every: Annotated[int, typer.Option(min=0, help="Steps between two tests; 0: never.")] = 100,
    save_every: Annotated[int, typer.Option(min=1, help="Steps between two checkpoints.")] = 100,
    device: Annotated[str, typer.Option(help="cuda, mps, cpu or auto.")] = "auto",
    bf16: Annotated[bool | None, typer.Option(help="Compute in 16 bits; else on CUDA only.")] = None,
    recompute: Annotated[bool, typer.Option(help="Take less memory and more time.")] = False,
    workers: Annotated[int, typer.Option(min=0, help="Processes that make examples.")] = 0,
    seed: Annotated[int, typer.Option(min=0, help="Of adapters, order, and what is held out.")] = 0,
) -> None:
    """Fine-tune a Qwen2.5-VL or Qwen3-VL on trajectories, and test on the way how it acts on cases held out.

    The loss is on what the agent says, and not on turns that are flagged as wrong. What comes out is a whole checkpoint
    (safetensors), curve.jsonl and TensorBoard's files (board/). A run that was killed goes on with the same command.

    [bold]Examples[/bold]

    ibisagent train sft trajectories/ --from qwen2.5-vl-7b/ -o tuned/

    ibisagent train sft trajectories/ corrections/ --from nano/sft -o tuned/ --lora 0 --eye --max-pixels 12544
    """
    with exit_codes():
        import warnings

        adapters = ("peft",) if lora else ()
        check_installed("torch", "transformers", "accelerate", "safetensors", "tensorboard", *adapters)
        from transformers.utils import logging

        from napari_ibisagent.policies.qwen_vl.loading import Machine, device_of
        from napari_ibisagent.training.sft.loop import Schooling
        from napari_ibisagent.training.sft.run import saved_step
        from napari_ibisagent.training.sft.school import Course, gather, tutor

        warnings.simplefilter("ignore", FutureWarning)  # peft uses names that transformers gives up
        logging.disable_progress_bar()  # type: ignore[no-untyped-call]
        course = Course(
            dialect=spoken.value,
            history=history,
            prompts=prompts,
            overlay=overlay,
            max_pixels=max_pixels,
            held_out=held_out,
            segmenter=segmenter,
            trials=trials,
            turns=turns,
            tokens=max_new_tokens,
            seed=seed,
        )
        where = device_of(device)
        halved = where.startswith("cuda") if bf16 is None else bf16
        # All of a model's weights learn too little in 16 bits: small changes are lost.
        lessons = gather(folders, start, course, Machine(where, "bfloat16" if halved and lora else "float32"))
        schooling = Schooling(
            steps=steps or max(1, round(epochs * len(lessons.shelf) / (batch * accumulate))),
            batch=batch,
            accumulate=accumulate,
            rate=rate if rate is not None else (1e-4 if lora else 1e-5),
            lora=lora,
            eye=eye,
            seed=seed,
            save_every=save_every,
            evaluate_every=measure_every,
            bf16=halved,
            recompute=recompute,
            workers=workers,
        )
        out = console()
        of, held = lessons.trajectories
        out.print(f"{len(lessons.shelf)} examples of {of - held} trajectories; {held} are held out.", markup=False)
        done = saved_step(output)
        whence = f"The run in {output} goes on after step {done} of" if done else "The run has"
        out.print(f"{whence} {schooling.steps} steps.", markup=False)
        tutor(lessons, schooling, output, tell=tell)
        out.print(f"The checkpoint is in {output}. Play it with: {_how(output, course)}", markup=False)


def _how(output: Path, course: Course) -> str:
    """The command that plays it as it was trained."""
    options = {"folder": output, "dialect": course.dialect, "max_pixels": course.max_pixels}
    options |= {"history": "true"} if course.history else {}
    options |= {"overlay": course.overlay} if course.overlay else {}
    given = " ".join(f"--policy-option {name}={value}" for name, value in options.items())
    return f'ibisagent segment SCAN -p "…" --policy qwen_vl {given}'
