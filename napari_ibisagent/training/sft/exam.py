"""``Exam``: what a model that learns is measured on: the loss on turns held out, and how it acts in whole episodes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch.nn import functional

from napari_ibisagent.core.overlay import Picture
from napari_ibisagent.core.view import Plane, View
from napari_ibisagent.core.window import Window
from napari_ibisagent.policies.qwen_vl.loading import Opened
from napari_ibisagent.policies.qwen_vl.reader import failing
from napari_ibisagent.training.acting import figures
from napari_ibisagent.training.arena import Arena
from napari_ibisagent.training.batches import IGNORED, Positions, to_learn
from napari_ibisagent.training.sft.examples import Shelf
from napari_ibisagent.training.trajectories.exercises import Exercise
from napari_ibisagent.training.trajectories.form import Trajectory

# Of a picture whose values are greys already.
_GREYS = Window(127.5, 255.0)


@dataclass(frozen=True, eq=False, slots=True)
class Exam:
    """See the module. shelf: turns held out; exercises: what is played; arena: how, by which model.

    batch: examples at once; at_once: episodes at once.
    """

    shelf: Shelf | None
    exercises: Sequence[Exercise]
    arena: Callable[[Opened], Arena]
    batch: int = 8
    at_once: int = 16

    def __call__(self, opened: Opened) -> dict[str, float]:
        """The figures by name; see ``acting.Figures``. Raises BackendError."""
        found = {} if self.shelf is None else {"held_out_loss": loss_on(self.shelf, opened, self.batch)}
        arena, played = self.arena(opened), []
        for first in range(0, len(self.exercises), self.at_once):
            played += arena.play(self.exercises[first : first + self.at_once])
        return found | (figures(played).as_dict() if played else {})


def loss_on(shelf: Shelf, opened: Opened, batch: int) -> float:
    """The mean cross entropy of all tokens that are to be learned, in nats. Raises BackendError."""
    positions, total, count = Positions(opened), 0.0, 0
    for first in range(0, len(shelf), batch):
        examples = [shelf[number] for number in range(first, min(first + batch, len(shelf)))]
        made = {name: value.to(opened.device) for name, value in to_learn(examples, opened, positions).items()}
        labels = made.pop("labels")[:, 1:]
        learned = labels != IGNORED
        with failing(opened.device), torch.inference_mode():
            scores = opened.model(**made, use_cache=False).logits[:, :-1][learned].float()
            total += float(functional.cross_entropy(scores, labels[learned], reduction="sum"))
        count += int(learned.sum())
    return total / max(count, 1)


def exercise_of(trajectory: Trajectory, picture: Picture) -> Exercise | None:
    """A trajectory's exercise, to be played anew on its picture (H, W, 3); None where nobody knows the truth.

    The tool then sees the window's greys, not the scan's own values. A plain question has no mask to be measured by.
    """
    if trajectory.truth is None or trajectory.kind == "plain":
        return None
    source = trajectory.source
    grey = bool((picture == picture[:, :, :1]).all())
    image = np.ascontiguousarray(picture[:, :, 0]) if grey else picture
    return Exercise(
        name=trajectory.name,
        view=View(image, Plane(source.plane), source.index, trajectory.shape, None),
        truth=trajectory.truth.array(),
        target=trajectory.target,
        prompt=trajectory.prompt,
        window=_GREYS if grey else None,
        source=source,
        kind=trajectory.kind,
        given=trajectory.given,
    )
