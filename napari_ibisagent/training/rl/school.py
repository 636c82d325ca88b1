"""Playing on the pictures of trajectories: any checkpoint, its own sentences, and cases held out to be measured on."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from napari_ibisagent.core.errors import InputError
from napari_ibisagent.evaluation.rewards import RewardConfig
from napari_ibisagent.io.prompts import write_templates
from napari_ibisagent.policies.qwen_vl import PROMPTS
from napari_ibisagent.policies.qwen_vl.loading import Opened
from napari_ibisagent.training.rl.loop import reinforce
from napari_ibisagent.training.rl.regime import Regime
from napari_ibisagent.training.sft.school import Lessons, exercises_of
from napari_ibisagent.training.trajectories.exercises import Exercise


def rehearse(
    lessons: Lessons,
    reward: RewardConfig,
    regime: Regime,
    output: Path,
    *,
    tell: Callable[[dict[str, float]], None] = lambda _: None,
) -> Opened:
    """Trains a model further by playing; writes it to ``output`` and returns it. Raises InputError and BackendError."""
    if output.resolve() == lessons.checkpoint.resolve():
        raise InputError(f"{output} is the checkpoint that is trained. Choose another output folder.")
    playable = exercises_of(lessons)

    def exercise(number: int) -> Exercise:
        """All of them in an order of their own each time round."""
        times, place = divmod(number, len(playable))
        order = np.random.default_rng([regime.seed, times]).permutation(len(playable))
        made: Exercise = playable[int(order[place])]()
        return made

    arena = lessons.exam.arena(lessons.opened)
    trained = reinforce(
        *(arena, exercise, reward, regime, output),
        source=lessons.checkpoint,
        about=lessons.about,
        measure=lessons.exam,
        tell=tell,
    )
    write_templates(output / PROMPTS, lessons.templates)
    return trained
