"""The part of a run that looks on: it measures how the model acts, and passes on every figure."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from napari_ibisagent.policies.qwen_vl.loading import Opened

Measure = Callable[[Opened], dict[str, float]]
Tell = Callable[[dict[str, float]], None]


def watcher(opened: Opened, measure: Measure | None, every: int, tell: Tell, board: Path | None) -> Any:
    """A ``TrainerCallback`` that measures every so many steps and at the end (0: never), and tells what is logged.

    board: the folder of TensorBoard's files; None: none are written.
    """
    from transformers import TrainerCallback

    class Watcher(TrainerCallback):
        """See the function."""

        _writer: Any = None

        def on_step_end(self, args: Any, state: Any, control: Any, model: Any = None, **_: Any) -> None:
            """Measures, where it is time to."""
            if measure is None or not every or (state.global_step % every and state.global_step != state.max_steps):
                return
            model.eval()
            figures = measure(Opened(model, opened.tokenizer, opened.images, opened.device))
            model.train()
            self._pass_on("acting", state.global_step, figures)

        def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> None:
            """Loss, rate and gradient; what is logged at the end, as the time that it took, is no figure of a step."""
            if "loss" in (logs or {}):
                self._pass_on("learning", state.global_step, logs)

        def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            """Opens the board."""
            if board is not None:
                from torch.utils.tensorboard import SummaryWriter

                # What a killed run wrote after this step is taken out of the curves.
                self._writer = SummaryWriter(str(board), purge_step=state.global_step + 1)

        def on_train_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            """Closes it."""
            if self._writer is not None:
                self._writer.close()

        def _pass_on(self, group: str, step: int, figures: dict[str, float]) -> None:
            if self._writer is not None:
                for name, value in figures.items():
                    self._writer.add_scalar(f"{group}/{name}", value, step)
            tell({"step": step, **figures})

    return Watcher()
