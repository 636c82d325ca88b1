"""``fine_tune``: supervised fine-tuning with transformers' Trainer, whole or with LoRA (peft); a killed run goes on.

The loss is on the assistant's tokens of turns that are to be learned. The eye is frozen unless it is asked for. What is
saved is safetensors; a checkpoint of the run holds the optimiser as well, so that a run that was killed goes on at the
step that was saved last, with the same examples in the same order.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import Dataset

from napari_ibisagent.core.errors import InputError
from napari_ibisagent.policies.qwen_vl.loading import Opened
from napari_ibisagent.training.batches import Example, Positions, to_learn

_RUN = "run"


@dataclass(frozen=True, slots=True)
class Schooling:
    """How a model is trained.

    steps: of the optimiser; warm_up: of them, the share in which the rate rises; then it falls to nothing as a cosine.
    lora: the rank of low-rank adapters on the language model; 0: all of its weights are trained. eye: train the eye as
    well (whole models only). save_every: steps between two checkpoints; a killed run loses at most those.
    """

    steps: int
    batch: int = 8
    accumulate: int = 1
    rate: float = 1e-4
    warm_up: float = 0.05
    decay: float = 0.01
    lora: int = 8
    eye: bool = False
    seed: int = 0
    save_every: int = 200
    evaluate_every: int = 0
    bf16: bool = False
    workers: int = 0
    board: bool = True


def fine_tune(
    opened: Opened,
    shelf: Dataset[Example],
    schooling: Schooling,
    output: Path,
    *,
    measure: Callable[[Opened], dict[str, float]] | None = None,
    tell: Callable[[dict[str, float]], None] = lambda _: None,
) -> Opened:
    """Trains ``opened.model``, writes the whole model to ``output``, and returns it ready to be read to.

    measure: figures of how the model acts, taken every ``evaluate_every`` steps. tell: gets every log entry.
    """
    from transformers import Trainer, TrainingArguments
    from transformers.trainer_utils import get_last_checkpoint

    model = prepared(opened, schooling)
    run = output / _RUN
    settings: Any = TrainingArguments
    arguments = settings(
        output_dir=str(run),
        max_steps=schooling.steps,
        per_device_train_batch_size=schooling.batch,
        gradient_accumulation_steps=schooling.accumulate,
        learning_rate=schooling.rate,
        lr_scheduler_type="cosine",
        warmup_steps=round(schooling.warm_up * schooling.steps),
        weight_decay=schooling.decay,
        adam_beta2=0.95,
        max_grad_norm=1.0,
        logging_steps=max(1, min(50, schooling.steps // 10)),
        save_strategy="steps",
        save_steps=schooling.save_every,
        save_total_limit=2,
        seed=schooling.seed,
        data_seed=schooling.seed,
        bf16=schooling.bf16,
        use_cpu=opened.device == "cpu",
        dataloader_num_workers=schooling.workers,
        dataloader_persistent_workers=schooling.workers > 0,
        remove_unused_columns=False,
        report_to=["tensorboard"] if schooling.board else [],
        disable_tqdm=True,
        log_level="error",
    )
    trainer: Any = Trainer(
        model=model,
        args=arguments,
        train_dataset=shelf,
        data_collator=Collator(opened),
        callbacks=[_watcher(opened, measure, schooling.evaluate_every, tell)],
    )
    trainer.remove_callback(_printer())
    latest: Any = get_last_checkpoint  # it carries no types
    last = latest(str(run)) if run.is_dir() else None
    trainer.train(resume_from_checkpoint=last)
    trained = merged(model)
    save(opened, trained, output)
    return Opened(trained.eval(), opened.tokenizer, opened.images, opened.device)


class Collator:
    """Examples to a batch; it travels to the processes that load data."""

    def __init__(self, opened: Opened) -> None:
        self._opened = opened
        self._positions = Positions(opened)

    def __call__(self, examples: Sequence[Example]) -> dict[str, torch.Tensor]:
        """The tensors of a batch, with labels."""
        return to_learn(examples, self._opened, self._positions)


def prepared(opened: Opened, schooling: Schooling) -> Any:
    """The model with what is trained set free, and low-rank adapters where they are asked for. Raises InputError."""
    model = opened.model
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(schooling.eye or ".visual." not in f".{name}")
    if schooling.lora <= 0:
        return model.train()
    try:
        from peft import LoraConfig, get_peft_model
    except ImportError as error:
        raise InputError("LoRA needs the extra: pip install 'napari-ibisagent[train]'. Or say --lora 0.") from error
    linear = r".*language_model\.layers\.\d+\.(self_attn\.[qkvo]_proj|mlp\.(gate|up|down)_proj)"
    rank = schooling.lora
    config = LoraConfig(r=rank, lora_alpha=2 * rank, lora_dropout=0.05, target_modules=linear)
    return get_peft_model(model, config).train()


def merged(model: Any) -> Any:
    """The whole model, adapters worked into its weights."""
    return model.merge_and_unload() if hasattr(model, "merge_and_unload") else model


def save(opened: Opened, model: Any, folder: Path) -> None:
    """Writes model, tokenizer and image processor as a checkpoint that the policy opens."""
    model.save_pretrained(folder)
    opened.tokenizer.save_pretrained(folder)
    opened.images.save_pretrained(folder)


def _printer() -> Any:
    from transformers.trainer_callback import PrinterCallback

    return PrinterCallback


def _watcher(
    opened: Opened,
    measure: Callable[[Opened], dict[str, float]] | None,
    every: int,
    tell: Callable[[dict[str, float]], None],
) -> Any:
    from transformers import TrainerCallback

    class Watcher(TrainerCallback):
        """Measures how the model acts, and passes on what is logged."""

        trainer: Any = None

        def on_step_end(self, args: Any, state: Any, control: Any, model: Any = None, **_: Any) -> None:
            if measure is None or not every or (state.global_step % every and state.global_step != state.max_steps):
                return
            model.eval()
            figures = measure(Opened(model, opened.tokenizer, opened.images, opened.device))
            model.train()
            state.log_history.append({"step": state.global_step, **figures})
            for name, value in figures.items():
                self._board(f"acting/{name}", value, state.global_step)
            tell({"step": state.global_step, **figures})

        def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> None:
            tell({"step": state.global_step, **(logs or {})})

        def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            self._writer = None
            if args.report_to and state.is_world_process_zero:
                from torch.utils.tensorboard import SummaryWriter

                self._writer = SummaryWriter(str(Path(args.output_dir) / "acting"))

        def on_train_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            if self._writer is not None:
                self._writer.close()

        def _board(self, name: str, value: float, step: int) -> None:
            if self._writer is not None:
                self._writer.add_scalar(name, value, step)

    return Watcher()
