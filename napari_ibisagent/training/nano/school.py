"""The nano agent's schooling: trajectories of made-up slices, then fine-tuning; both go on after a kill."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from napari_ibisagent import registry
from napari_ibisagent.agent.stop import Limits
from napari_ibisagent.core.dialects import dialect
from napari_ibisagent.core.dialects.conversation import Speech
from napari_ibisagent.core.overlay import overlay_preset
from napari_ibisagent.evaluation.rewards import reward_config
from napari_ibisagent.policies.qwen_vl import PROMPTS
from napari_ibisagent.policies.qwen_vl.loading import Machine, Opened, open_checkpoint
from napari_ibisagent.training.acting import Figures, figures
from napari_ibisagent.training.arena import Arena
from napari_ibisagent.training.nano.model import TEMPLATES, write_untrained
from napari_ibisagent.training.nano.tasks import Invented, units
from napari_ibisagent.training.rl.loop import Regime, reinforce
from napari_ibisagent.training.sft.examples import Maker, Shelf
from napari_ibisagent.training.sft.loop import Schooling, fine_tune
from napari_ibisagent.training.trajectories.filters import Filters
from napari_ibisagent.training.trajectories.form import Trajectory, to_json
from napari_ibisagent.training.trajectories.simulate import REFLECTION, STRAIGHT, Recipe
from napari_ibisagent.training.trajectories.synthesis import Order, synthesise
from napari_ibisagent.training.trajectories.writing import Folder, picture_of, read_folder

# The picture is 112 pixels a side; larger ones are made smaller before it sees them.
PIXELS = 112 * 112
DIALECT, OVERLAY = "ibis", "ibis"
# Of the exercises that it is measured on; no training begins with this seed.
HELD_OUT = 1_000_003
# Slices for practice are drawn from seeds from here on; its episodes end after so many turns.
PRACTICE, PRACTICE_TOOL, _PRACTICE_STEPS = 2_000_003, "geodesic", 6
_WRONGLY_GIVEN = 0.15


@dataclass(frozen=True, slots=True)
class Curriculum:
    """What the nano agent learns from, and how long.

    exercises: made-up slices. tool: the click tool of its trajectories. reflection: whether some tell of wrong turns
    that are taken back. steps: of 32 examples each. Everything is drawn from ``seed``.
    """

    exercises: int = 12_000
    tool: str = "geodesic"
    reflection: bool = True
    steps: int = 3600
    batch: int = 32
    rate: float = 1e-3
    seed: int = 0
    processes: int = 1
    measure_every: int = 500
    save_every: int = 250
    board: bool = True


def speech() -> Speech:
    """How the nano agent is spoken to: without history, as the published agent."""
    return Speech(TEMPLATES, dialect(DIALECT).render)


def write_trajectories(
    curriculum: Curriculum, folder: Path, tell: Callable[[int], None] = lambda _: None
) -> list[Trajectory]:
    """Makes what the folder lacks; returns all of it."""
    stories: Mapping[str, float] = REFLECTION if curriculum.reflection else STRAIGHT
    recipe = Recipe(
        most=5, gain=0.01, near=0.2, late=0.1, slips=0.3, decimals=2, stories=stories, brief=True, varied=False
    )
    order = Order(recipe, Filters(steps=8, iou=0.6), curriculum.tool, seed=curriculum.seed)
    with Folder(folder) as opened:
        portions = units(curriculum.exercises, curriculum.seed)
        for done, _ in enumerate(synthesise(portions, order, opened, curriculum.processes), 1):
            tell(done)
    return list(read_folder(folder))


def attend(
    curriculum: Curriculum,
    trajectories: Sequence[Trajectory],
    pictures: Path,
    output: Path,
    *,
    measure: Callable[[Opened], dict[str, float]] | None = None,
    tell: Callable[[dict[str, float]], None] = lambda _: None,
) -> Opened:
    """Fine-tunes a new nano agent on trajectories; writes it to ``output`` and returns it."""
    untrained = output / "untrained"
    if not (untrained / PROMPTS).exists():
        write_untrained(untrained, list(_texts(trajectories)), curriculum.seed)
    opened = open_nano(untrained)
    maker = Maker(opened, speech(), overlay_preset(OVERLAY))
    shelf = Shelf(trajectories, lambda one: picture_of(one, pictures), maker)
    schooling = Schooling(
        steps=curriculum.steps,
        batch=curriculum.batch,
        rate=curriculum.rate,
        lora=0,
        eye=True,
        seed=curriculum.seed,
        save_every=curriculum.save_every,
        evaluate_every=curriculum.measure_every,
        board=curriculum.board,
    )
    trained = fine_tune(opened, shelf, schooling, output, source=untrained, measure=measure, tell=tell)
    (output / PROMPTS).write_bytes((untrained / PROMPTS).read_bytes())
    return trained


def practise(
    regime: Regime,
    start: Path,
    output: Path,
    *,
    reward: str = "default",
    parts: tuple[str, ...] = (),
    tool: str = PRACTICE_TOOL,
    wrongly_given: float = _WRONGLY_GIVEN,
    measure: Callable[[Opened], dict[str, float]] | None = None,
    tell: Callable[[dict[str, float]], None] = lambda _: None,
) -> Opened:
    """Trains a nano agent further by playing; writes it to ``output`` and returns it.

    parts: of the reward, which ones count; all of them where none is named. wrongly_given: the share of episodes that
    begin with the mask of something else.
    """
    config = reward_config(reward)
    config = config.only(*parts) if parts else config
    opened = open_nano(start)
    arena = Arena(opened, speech(), registry.load("segmenters", tool), DIALECT, OVERLAY, Limits(steps=_PRACTICE_STEPS))
    # Slices that no fine-tuning of this seed has seen.
    made = Invented(0, 0, PRACTICE + regime.seed, wrongly_given)
    about = {"start": str(start.resolve()), "tool": tool, "wrongly given": wrongly_given}
    trained = reinforce(
        *(arena, made.exercise, config, regime, output), source=start, about=about, measure=measure, tell=tell
    )
    (output / PROMPTS).write_bytes((start / PROMPTS).read_bytes())
    return trained


def open_nano(folder: Path) -> Opened:
    """A nano agent's checkpoint."""
    return open_checkpoint(str(folder), Machine("cpu", "float32"), PIXELS)


def trial(
    opened: Opened,
    tool: str = registry.DEFAULT_SEGMENTER,
    *,
    count: int = 200,
    seed: int = HELD_OUT,
    wrongly_given: float = 0.0,
    only: tuple[str, ...] = (),
    inverted: bool = False,
    steps: int = 8,
    at_once: int = 50,
) -> Figures:
    """How it acts, greedily, on exercises that no training has drawn."""
    arena = Arena(opened, speech(), registry.load("segmenters", tool), DIALECT, OVERLAY, Limits(steps=steps))
    made = Invented(0, count, seed, wrongly_given, only, inverted)
    exercises = [made.exercise(number) for number in range(count)]
    played = []
    for first in range(0, count, at_once):
        played += arena.play(exercises[first : first + at_once])
    return figures(played)


def _texts(trajectories: Sequence[Trajectory]) -> Iterator[str]:
    """All that it will read and say."""
    for trajectory in trajectories:
        yield trajectory.prompt
        for step in to_json(trajectory)["steps"]:
            yield step["turn"]
