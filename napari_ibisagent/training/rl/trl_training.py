"""``train_with_trl``: GRPO by TRL's own trainer on one GPU; the episodes are those of the plugin.

What TRL 1.16 does otherwise than our reference loop: the agent always reads the whole conversation, and every token of
an episode has the episode's advantage.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from napari_ibisagent.core.dialects import dialect
from napari_ibisagent.core.errors import InputError
from napari_ibisagent.io.prompts import read_templates
from napari_ibisagent.policies.qwen_vl import PROMPTS
from napari_ibisagent.policies.qwen_vl.loading import Machine, Opened, open_checkpoint
from napari_ibisagent.training.curve import Curve
from napari_ibisagent.training.rl.terms import Terms
from napari_ibisagent.training.rl.trl_environment import SpokenEnvironment, ToolEnvironment, episode_reward
from napari_ibisagent.training.rl.trl_speech import processor_of, spoken_template
from napari_ibisagent.training.rl.wire import plain
from napari_ibisagent.training.sft.loop import Schooling, load_into, merged, prepared, save
from napari_ibisagent.training.sft.run import RUN, check_settings, last_saved, saved_step
from napari_ibisagent.training.sft.watcher import Tell, watcher

# What a run may be gone on with under other values: it changes nothing that is learned, or only how long.
_FREE = ("steps", "batch", "save_every", "settings")


@dataclass(frozen=True, slots=True)
class TrlRegime:
    """How TRL trains.

    steps: of the optimiser. exercises: a step plays so many, each ``group`` times; batch: conversations a backward
    pass. tokens: a whole conversation after its first picture, all later pictures among it. lora, eye: see
    ``Schooling``; a whole model (lora 0) is opened in 32 bits, since steps this small are lost in 16. tools: the model
    calls tools in its own template (``ToolEnvironment``). settings: any others of TRL's ``GRPOConfig``; they go before
    ours.
    """

    steps: int
    exercises: int = 4
    group: int = 8
    batch: int = 2
    tokens: int = 8192
    temperature: float = 1.0
    rate: float = 1e-5
    lora: int = 16
    eye: bool = False
    tools: bool = False
    seed: int = 0
    save_every: int = 50
    settings: Mapping[str, Any] = field(default_factory=dict)


def train_with_trl(
    checkpoint: Path,
    terms: Terms,
    regime: TrlRegime,
    output: Path,
    machine: Machine | None = None,
    tell: Tell = lambda _: None,
) -> Opened:
    """Trains a checkpoint, writes the whole model to ``output`` and returns it; goes on where it was killed.

    tell: gets every entry of the curve. Raises InputError, and BackendError where the click tool fails: nothing is
    rewarded then.
    """
    from transformers.trainer_callback import PrinterCallback

    trainer_of = _trainer()
    if output.resolve() == checkpoint.resolve():
        raise InputError(f"{output} is the checkpoint that is trained. Choose another output folder.")
    own = checkpoint / PROMPTS
    if not terms.prompts and own.is_file():
        terms = replace(terms, prompts=str(own))
    machine = machine or Machine(dtype="auto" if regime.lora else "float32")
    opened = open_checkpoint(str(checkpoint), machine, terms.max_pixels)
    model = prepared(opened, Schooling(regime.steps, lora=regime.lora, eye=regime.eye, seed=regime.seed))
    settled = {name: value for name, value in asdict(regime).items() if name not in _FREE}
    check_settings(output, asdict(terms) | settled | {"checkpoint": str(checkpoint.resolve())})
    last, curve = last_saved(output), Curve(output, saved_step(output))

    def both(figures: dict[str, float]) -> None:
        curve.add(figures)
        tell(figures)

    trainer = trainer_of(
        model=model,
        args=_arguments(opened, terms, regime, output / RUN),
        reward_funcs=[episode_reward],
        train_dataset=rows(terms, with_system=not regime.tools),
        processing_class=_processor(opened, terms, regime),
        environment_factory=partial(ToolEnvironment if regime.tools else SpokenEnvironment, terms),
        callbacks=[watcher(opened, None, 0, both, None)],
    )
    trainer.remove_callback(PrinterCallback)
    trainer.train(resume_from_checkpoint=None if last is None else str(last))
    trained = merged(trainer.accelerator.unwrap_model(model, keep_fp32_wrapper=False)).eval()
    save(opened, trained, output, checkpoint)
    if terms.prompts:
        shutil.copyfile(terms.prompts, output / PROMPTS)
    return Opened(trained, opened.tokenizer, opened.images, opened.device)


def rows(terms: Terms, *, with_system: bool = True) -> Any:
    """A row for each exercise: its name, and the message before its first picture, which the environment adds."""
    from datasets import Dataset

    system = plain(read_templates(terms.dialect, terms.prompts or None).system) if with_system else ""
    first = [{"role": "system", "content": system}] if system else []
    prompt = [*first, {"role": "user", "content": ""}]
    make: Any = Dataset.from_list  # it carries no types
    return make([{"prompt": prompt, "exercise": name} for name in terms.named().names()])


def _processor(opened: Opened, terms: Terms, regime: TrlRegime) -> Any:
    own = opened.tokenizer.chat_template
    if not regime.tools:
        return processor_of(opened, spoken_template(own), dialect(terms.dialect).parse)
    from trl.chat_template_utils import qwen3_vl_chat_template, supports_tool_calling

    # Qwen2.5-VL's own template has no tools; that of its successor speaks the same ChatML.
    processor = processor_of(opened, own or qwen3_vl_chat_template)
    return processor if supports_tool_calling(processor) else processor_of(opened, qwen3_vl_chat_template)


def _arguments(opened: Opened, terms: Terms, regime: TrlRegime, run: Path) -> Any:
    from trl import GRPOConfig

    played = regime.exercises * regime.group
    if played % regime.batch:
        raise InputError(f"{played} episodes a step can't be learned in batches of {regime.batch}. Change one of them.")
    # Without a reference model (beta 0), a token's mean over all of them, no division by the group's spread: as our
    # reference loop. A spoken answer that ends the episode, or would be one too many, is taken with the reward.
    usual: dict[str, Any] = {
        "output_dir": str(run),
        "max_steps": regime.steps,
        "per_device_train_batch_size": regime.batch,
        "gradient_accumulation_steps": played // regime.batch,
        "num_generations": regime.group,
        "max_completion_length": regime.tokens,
        "max_tool_calling_iterations": terms.steps if regime.tools else terms.steps - 1,
        "temperature": regime.temperature,
        "learning_rate": regime.rate,
        "lr_scheduler_type": "constant_with_warmup",
        "warmup_steps": min(5, regime.steps),
        "beta": 0.0,
        "loss_type": "dapo",
        "scale_rewards": "none",
        "epsilon": 0.2,
        "epsilon_high": 0.28,
        "bf16": opened.device.startswith("cuda"),
        "use_cpu": opened.device == "cpu",
        "save_steps": regime.save_every,
        "save_total_limit": 2,
        "logging_steps": 1,
        "disable_dropout": True,
        "report_to": "none",
        "disable_tqdm": True,
        "log_level": "error",
        "seed": regime.seed,
    }
    config: Any = GRPOConfig
    return config(**usual | dict(regime.settings))


def _trainer() -> Any:
    """TRL's trainer, which reads all weights of a run that goes on. Raises InputError where TRL is missing."""
    try:
        from trl import GRPOTrainer
    except ImportError as error:
        raise InputError("TRL isn't installed. Install it with: pip install 'napari-ibisagent[trl]'") from error

    class Trainer(GRPOTrainer):  # type: ignore[misc]  # carries no types
        """See ``sft.loop.load_into``: a whole Qwen2.5-VL is saved under other names than it has in the model."""

        def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
            whole = self.model if model is None else model
            if hasattr(whole, "peft_config"):
                super()._load_from_checkpoint(resume_from_checkpoint, model)
            else:
                load_into(whole, Path(resume_from_checkpoint))

    return Trainer
