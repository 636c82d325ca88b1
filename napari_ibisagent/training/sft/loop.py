"""``fine_tune``: supervised fine-tuning with transformers' Trainer, whole or with LoRA (peft); a killed run goes on.

The loss is on the assistant's tokens of turns that are to be learned. The eye is frozen unless it is asked for. What is
saved is safetensors; a checkpoint of the run holds the optimiser as well, so that a run that was killed goes on at the
step that was saved last, with the same examples in the same order.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import Dataset

from napari_ibisagent.core.errors import BackendError, InputError
from napari_ibisagent.policies.qwen_vl.loading import Opened
from napari_ibisagent.training.batches import Example, Positions, to_learn
from napari_ibisagent.training.curve import Curve
from napari_ibisagent.training.muon import MatricesApart
from napari_ibisagent.training.precision import plain_attention
from napari_ibisagent.training.sft.near_numbers import near_numbers
from napari_ibisagent.training.sft.run import RUN, check_settings, last_saved, saved_step
from napari_ibisagent.training.sft.watcher import Measure, Tell, watcher

# Attention and feed-forward of the language model; the eye has layers of the same names.
_ADAPTED = r".*language_model\.layers\.\d+\.(self_attn\.[qkvo]_proj|mlp\.(gate|up|down)_proj)"
# What lies beside the weights and isn't changed by training.
_COPIED = (
    *("generation_config.json", "preprocessor_config.json", "video_preprocessor_config.json", "processor_config.json"),
    *("tokenizer*.json", "vocab.json", "merges.txt", "added_tokens.json", "special_tokens_map.json"),
    *("chat_template.*", "LICENSE*", "NOTICE*"),
)
# Settings that a run may be gone on with under other values: they change nothing that is learned.
_FREE = ("batch", "accumulate", "recompute", "save_every", "evaluate_every", "workers", "board")


@dataclass(frozen=True, slots=True)
class Schooling:
    """How a model is trained.

    steps: of the optimiser; warm_up: of them, the share in which the rate rises; then it falls to nothing as a cosine.
    batch: examples at once; accumulate: so many batches make a step. muon: matrices learn by Muon at so many times the
    rate; 0: all by AdamW. lora: the rank of low-rank adapters on the language model; 0: all of its weights are trained.
    eye: train the eye as well (whole models only). bf16: compute in 16 bits. near_numbers: the true answer of a number
    is a bell of that spread over its neighbours, see there; 0: it alone. recompute: less memory for more time.
    save_every: steps between two checkpoints; a killed run loses at most those. evaluate_every: steps between two
    measurements; 0: none. workers: processes that make examples. board: write TensorBoard's files.
    """

    steps: int
    batch: int = 8
    accumulate: int = 1
    rate: float = 1e-4
    muon: float = 0.0
    warm_up: float = 0.05
    decay: float = 0.01
    lora: int = 8
    eye: bool = False
    seed: int = 0
    save_every: int = 200
    evaluate_every: int = 0
    bf16: bool = False
    near_numbers: float = 0.0
    recompute: bool = False
    workers: int = 0
    board: bool = True


def fine_tune(
    opened: Opened,
    shelf: Dataset[Example],
    schooling: Schooling,
    output: Path,
    *,
    source: Path | None = None,
    about: Mapping[str, Any] | None = None,
    measure: Measure | None = None,
    tell: Tell = lambda _: None,
) -> Opened:
    """Trains ``opened.model``, writes the whole model to ``output``, and returns it ready to be read to.

    source: the folder of the checkpoint that it was opened from, see ``save``. about: what else makes the run what it
    is, such as its data: a run of other settings isn't gone on with. measure: figures of how the model acts, taken
    every ``evaluate_every`` steps. tell: gets every entry of the curve. Raises InputError and BackendError.
    """
    settings = {name: value for name, value in asdict(schooling).items() if name not in _FREE}
    settings["examples a step"] = schooling.batch * schooling.accumulate
    check_settings(output, settings | dict(about or {}))
    model = prepared(opened, schooling)
    curve = Curve(output, saved_step(output))

    def both(figures: dict[str, float]) -> None:
        curve.add(figures)
        tell(figures)

    board = output / "board" if schooling.board else None
    trainer = _trainer(
        *(opened, model, shelf, schooling, output / RUN),
        watcher(opened, measure, schooling.evaluate_every, both, board),
    )
    last = last_saved(output)
    if last is None or saved_step(output) < schooling.steps:
        try:
            with plain_attention(model, opened.device, schooling.bf16):
                trainer.train(resume_from_checkpoint=None if last is None else str(last))
        except torch.OutOfMemoryError as error:
            raise BackendError(_too_large(opened.device, output)) from error
    else:
        trainer._load_from_checkpoint(str(last))  # all steps were done; only the writing was not
    # Without what computes in 16 bits round about it.
    trained = merged(trainer.accelerator.unwrap_model(model, keep_fp32_wrapper=False)).eval()
    save(opened, trained, output, source)
    return Opened(trained, opened.tokenizer, opened.images, opened.device)


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
    if schooling.eye:
        raise InputError("With LoRA only the language model is trained. Leave the eye as it is, or train all (lora 0).")
    try:
        from peft import LoraConfig, get_peft_model
    except ImportError as error:
        raise InputError(
            "LoRA needs the extra: pip install 'napari-ibisagent[train]'. Or train all (lora 0)."
        ) from error
    rank = schooling.lora
    config = LoraConfig(r=rank, lora_alpha=2 * rank, lora_dropout=0.05, target_modules=_ADAPTED)
    torch.manual_seed(schooling.seed)  # the adapters begin at random
    try:
        return get_peft_model(model, config).train()
    except ValueError as error:
        raise InputError(
            f"LoRA finds no layer that it knows in a {type(model).__name__}. Train all of it (lora 0)."
        ) from error


def merged(model: Any) -> Any:
    """The whole model, adapters worked into its weights."""
    return model.merge_and_unload() if hasattr(model, "merge_and_unload") else model


def load_into(model: Any, folder: Path) -> None:
    """The weights that ``save_pretrained`` wrote to a folder, all of them. Raises InputError.

    Names on the disk may be others than in the model: Qwen2.5-VL is saved in its hub's form. So transformers reads it.
    """
    try:
        saved = type(model).from_pretrained(folder, dtype=model.dtype, local_files_only=True)
        model.load_state_dict(saved.state_dict())
    except (OSError, RuntimeError, ValueError) as error:
        raise InputError(f"The checkpoint {folder} isn't of this model. Choose another output folder.") from error


def save(opened: Opened, model: Any, folder: Path, source: Path | None = None) -> None:
    """Writes model, tokenizer and image processor as a checkpoint that the policy opens.

    source: the checkpoint that training began from. What training doesn't change is copied from there as it is: opened,
    the image processor has the bounds of a picture budget, which belong to who plays and not to the checkpoint. The
    weights get the precision that they had there.
    """
    if source is None:
        model.save_pretrained(folder)
        opened.tokenizer.save_pretrained(folder)
        opened.images.save_pretrained(folder)
        return
    from transformers import AutoConfig

    dtype = AutoConfig.from_pretrained(source, local_files_only=True).dtype
    model.to(model.dtype if dtype is None else dtype).save_pretrained(folder)
    for pattern in _COPIED:
        for path in source.glob(pattern):
            shutil.copyfile(path, folder / path.name)


def _trainer(
    opened: Opened, model: Any, shelf: Dataset[Example], schooling: Schooling, run: Path, callback: Any
) -> Any:
    from transformers import Trainer, TrainingArguments
    from transformers.trainer_callback import PrinterCallback

    class Teacher(Trainer):
        """transformers' own, but with Muon where that is asked for, and a run that goes on has all of its weights.

        Trainer (5.24) loads a whole model by the names in the file and passes over those that it doesn't know. Of a
        Qwen2.5-VL these are nearly all, see ``load_into``.
        """

        def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
            whole = self.model if model is None else model
            if hasattr(whole, "peft_config"):
                super()._load_from_checkpoint(resume_from_checkpoint, model)
            else:
                load_into(whole, Path(resume_from_checkpoint))

        def create_optimizer(self, model: Any = None) -> torch.optim.Optimizer:
            if schooling.muon <= 0:
                made: torch.optim.Optimizer = super().create_optimizer(model)
                return made
            learned: Any = self.model if model is None else model
            matrices = MatricesApart(learned.named_parameters(), schooling.rate, schooling.muon, schooling.decay)
            self.optimizer = matrices
            return matrices

    if ":" in opened.device:
        raise InputError("Training takes the first card that it sees. Say cuda, and choose by CUDA_VISIBLE_DEVICES.")
    settings: Any = TrainingArguments  # it carries no types
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
        activation_checkpointing=schooling.recompute,
        activation_checkpointing_kwargs={"use_reentrant": False} if schooling.recompute else None,
        use_cpu=opened.device == "cpu",
        dataloader_num_workers=schooling.workers,
        dataloader_persistent_workers=schooling.workers > 0,
        remove_unused_columns=False,
        report_to="none",
        disable_tqdm=True,
        log_level="error",
    )
    # Several cards in one process would share a batch by its first axis, which is another one in positions and patches.
    arguments._n_gpu = min(arguments.n_gpu, 1)
    make: Any = Teacher
    near = schooling.near_numbers
    trainer = make(
        model=model,
        args=arguments,
        train_dataset=shelf,
        data_collator=Collator(opened),
        callbacks=[callback],
        compute_loss_func=near_numbers(opened.tokenizer, near) if near > 0 else None,
    )
    trainer.remove_callback(PrinterCallback)
    return trainer


def _too_large(device: str, output: Path) -> str:
    return (
        f"The memory of {device} doesn't suffice for this training. Take fewer examples at once (a smaller batch, and "
        "accumulate more of them), recompute, smaller pictures, or LoRA of a lower rank. What was saved stays in "
        f"{output}."
    )
