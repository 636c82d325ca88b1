"""``Terms``: how episodes are played and rewarded, from one small file that every process of a cluster reads."""

from __future__ import annotations

import tomllib
from dataclasses import asdict, dataclass, fields
from functools import cache
from pathlib import Path

from napari_ibisagent import registry
from napari_ibisagent.agent.stop import Limits
from napari_ibisagent.core.dialects import dialect
from napari_ibisagent.core.dialects.conversation import Speech
from napari_ibisagent.core.errors import InputError
from napari_ibisagent.core.overlay import overlay_preset
from napari_ibisagent.core.protocols import Manner, Segmenter
from napari_ibisagent.evaluation.rewards import RewardConfig, reward_config
from napari_ibisagent.io.prompts import read_templates
from napari_ibisagent.training.rl.driver import Driver
from napari_ibisagent.training.rl.named_exercises import NamedExercises, named_exercises


@dataclass(frozen=True, slots=True)
class Terms:
    """The terms.

    exercises: see ``named_exercises``. tool: the click tool, by its name. dialect, history, prompts (a file of
    templates; empty: the dialect's own), overlay (a preset; empty: the dialect's own): how the agent was fine-tuned to
    be spoken to. max_pixels: pictures are made smaller than that. steps: an episode has so many turns at most. reward:
    a preset of ``evaluation.rewards``.
    """

    exercises: str
    tool: str = registry.DEFAULT_SEGMENTER
    dialect: str = "ibis"
    history: bool = True
    prompts: str = ""
    overlay: str = ""
    max_pixels: int = 262_144
    steps: int = 8
    reward: str = "default"

    @property
    def config(self) -> RewardConfig:
        """The reward."""
        return reward_config(self.reward)

    def driver(self) -> Driver:
        """A driver of one episode after another; those of a process share their tool. Raises InputError.

        Nothing goes back to the model to be repaired, and wanting the same click again ends no episode before the
        turns are used up: trainers that only add to a conversation can't take the one back, nor stop at the other.
        """
        if self.steps < 1:
            raise InputError(f"An episode can't have {self.steps} turns. Set steps to 1 or more.")
        speech = Speech(read_templates(self.dialect, self.prompts or None), dialect(self.dialect).render, self.history)
        if self.overlay:
            overlay_preset(self.overlay)  # an unknown name is told now, and not in the first episode
        limits = Limits(self.steps, repeats=self.steps + 1)
        return Driver(_tool(self.tool), speech, self.dialect, Manner(self.overlay), limits)

    def named(self) -> NamedExercises:
        """The exercises, read once a process. Raises InputError."""
        return _named(self.exercises)


def read_terms(path: str | Path) -> Terms:
    """The terms of a TOML file; folders and files in it are relative to it. Raises InputError."""
    path = Path(path)
    try:
        found = tomllib.loads(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise InputError(f"The terms {path} can't be read: {error}.") from error
    usual = asdict(Terms(""))
    known = [field.name for field in fields(Terms)]
    for name, value in found.items():
        if name not in known:
            raise InputError(f"{path} has the unknown term {name}. Known are: {', '.join(known)}.")
        if type(value) is not type(usual[name]):
            raise InputError(f"{name} in {path} should be {type(usual[name]).__name__}, not {value!r}.")
    if not found.get("exercises"):
        raise InputError(f"{path} doesn't say what is played. Set exercises to a folder of trajectories.")
    for name in ("exercises", "prompts"):
        beside = path.parent / str(found.get(name, ""))
        if found.get(name) and beside.exists():
            found[name] = str(beside.resolve())
    return Terms(**found)


@cache
def _tool(name: str) -> Segmenter:
    tool: Segmenter = registry.load("segmenters", name)
    return tool


@cache
def _named(where: str) -> NamedExercises:
    return named_exercises(where)
