"""The nano agent's schooling: it learns to see, to point, to click as trajectories do, and by playing.

All of it goes on after a kill.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType

from torch.utils.data import ConcatDataset, Dataset

from napari_ibisagent import registry
from napari_ibisagent.agent.stop import Limits
from napari_ibisagent.core.dialects import dialect
from napari_ibisagent.core.dialects.conversation import Speech
from napari_ibisagent.core.overlay import overlay_preset
from napari_ibisagent.evaluation.rewards import reward_config
from napari_ibisagent.io.prompts import read_templates, write_templates
from napari_ibisagent.policies.qwen_vl import PROMPTS
from napari_ibisagent.policies.qwen_vl.loading import Machine, Opened, open_checkpoint
from napari_ibisagent.training.acting import Figures, figures
from napari_ibisagent.training.arena import Arena
from napari_ibisagent.training.batches import Example
from napari_ibisagent.training.nano.anatomy import NAMES
from napari_ibisagent.training.nano.eye import Sight, learn_to_see
from napari_ibisagent.training.nano.model import TEMPLATES, write_untrained
from napari_ibisagent.training.nano.pointing import SENTENCES, TURNS, Pointing
from napari_ibisagent.training.nano.tasks import Invented, units
from napari_ibisagent.training.precision import faster_in_16_bits
from napari_ibisagent.training.rl.loop import reinforce
from napari_ibisagent.training.rl.regime import Regime
from napari_ibisagent.training.sft.examples import Maker, Shelf
from napari_ibisagent.training.sft.loop import Schooling, fine_tune, save
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
# Of what it doesn't practise but is to keep.
_REST = 3_000_003
# A step's examples are learned in so many parts: what one needs stays in the processor's cache.
_PARTS = 2
# Pictures to point at are drawn from seeds from here on: for the first lesson so many, and those among trajectories, of
# which no more structures are asked for, so that they are about as long as a turn.
POINTING, _PICTURES, BESIDE, _MOST = 9_000_003, 12_000, 11_000_003, 3
# So many are for the eye; on this share of all pictures to look at the body lies anywhere.
_SEEN, _ANYWHERE = 4000, 0.7


@dataclass(frozen=True, slots=True)
class Looking:
    """How an agent learns to look before it learns to click.

    sight: steps in which its eye learns what lies where (``eye``). pointing: steps in which it then learns to list
    everything that a picture shows with its place (``pointing``), of 32 pictures each, at ``rate``; its eye stays as it
    is from there on. beside: the share of pictures to point at among its trajectories, so that it isn't forgotten.
    """

    sight: int = 800
    pointing: int = 1500
    rate: float = 1.5e-3
    beside: float = 0.33


@dataclass(frozen=True, slots=True)
class Curriculum:
    """What the nano agent learns from, and how long.

    exercises: made-up slices. tool: the click tool of its trajectories. reflection: whether some tell of wrong turns
    that are taken back. looking: what it learns before. steps: of ``batch`` examples each. muon, near_numbers: see
    ``Schooling``. Everything is drawn from ``seed``.
    """

    exercises: int = 24_000
    tool: str = "geodesic"
    reflection: bool = True
    looking: Looking = Looking()
    steps: int = 1500
    batch: int = 32
    rate: float = 5e-4
    muon: float = 2.0
    near_numbers: float = 1.5
    seed: int = 0
    processes: int = 1
    measure_every: int = 500
    save_every: int = 250
    board: bool = True


def speech(folder: Path | None = None) -> Speech:
    """How a nano agent is spoken to: without history, as the published agent, in the sentences of its checkpoint."""
    templates = TEMPLATES if folder is None else read_templates(DIALECT, folder / PROMPTS)
    return Speech(templates, dialect(DIALECT).render)


def write_trajectories(
    curriculum: Curriculum, folder: Path, tell: Callable[[int], None] = lambda _: None
) -> list[Trajectory]:
    """Makes what the folder lacks; returns all of it."""
    stories: Mapping[str, float] = REFLECTION if curriculum.reflection else STRAIGHT
    recipe = Recipe(
        most=5, gain=0.01, near=0.2, late=0.1, slips=0.3, decimals=2, stories=stories, brief=True, varied=False
    )
    order = Order(recipe, Filters(steps=8, iou=0.6), curriculum.tool, seed=curriculum.seed)
    portions = units(curriculum.exercises, curriculum.seed)
    with Folder(folder) as opened:
        for done, _ in enumerate(synthesise(portions, order, opened, curriculum.processes), 1):
            tell(done)
    return list(read_folder(folder))


def attend(
    curriculum: Curriculum,
    trajectories: Sequence[Trajectory],
    pictures: Path,
    output: Path,
    *,
    start: Path | None = None,
    measure: Callable[[Opened], dict[str, float]] | None = None,
    tell: Callable[[dict[str, float]], None] = lambda _: None,
) -> Opened:
    """Fine-tunes a nano agent on trajectories; writes it to ``output`` and returns it.

    start: the checkpoint that it begins from, as ``made_ready`` makes one; None: that is made in ``output``.
    """
    ready = made_ready(curriculum, trajectories, output, tell) if start is None else start
    schooling = _schooling(curriculum, curriculum.steps, curriculum.rate)
    opened = open_nano(ready)
    maker = Maker(opened, speech(), overlay_preset(OVERLAY))
    learned = _beside(curriculum, Shelf(trajectories, lambda one: picture_of(one, pictures), maker), opened)
    output.mkdir(parents=True, exist_ok=True)
    write_templates(output / PROMPTS, TEMPLATES)
    return fine_tune(opened, learned, schooling, output, source=ready, measure=measure, tell=tell)


def made_ready(
    curriculum: Curriculum,
    trajectories: Sequence[Trajectory],
    output: Path,
    tell: Callable[[dict[str, float]], None] = lambda _: None,
) -> Path:
    """The folder of an agent that has learned to look, and hasn't seen a trajectory."""
    start = output / "untrained"
    if not (start / PROMPTS).exists():
        write_untrained(start, [*_texts(trajectories), *SENTENCES], curriculum.seed)
    return _pointed(curriculum, _sighted(curriculum, start, output / "sighted", tell), output / "pointed", tell)


def _sighted(curriculum: Curriculum, start: Path, folder: Path, tell: Callable[[dict[str, float]], None]) -> Path:
    """The folder of an agent whose eye has learned to see; ended before its time, that begins anew."""
    if not (folder / PROMPTS).exists():
        opened = open_nano(start)
        sight = Sight(curriculum.looking.sight, _SEEN, _ANYWHERE, seed=curriculum.seed)
        learn_to_see(opened, overlay_preset(OVERLAY), sight, tell)
        save(opened, opened.model, folder, start)
        write_templates(folder / PROMPTS, TEMPLATES)
    return folder


def _pointed(curriculum: Curriculum, start: Path, folder: Path, tell: Callable[[dict[str, float]], None]) -> Path:
    """The folder of an agent that has learned to say where everything is."""
    if not (folder / PROMPTS).exists():
        opened = open_nano(start)
        shelf = Pointing(_PICTURES, POINTING + curriculum.seed, _ANYWHERE, opened)
        looking = curriculum.looking
        schooling = replace(_schooling(curriculum, looking.pointing, looking.rate), evaluate_every=0)
        fine_tune(opened, shelf, schooling, folder, source=start, tell=tell)
        write_templates(folder / PROMPTS, TEMPLATES)
    return folder


def _schooling(curriculum: Curriculum, steps: int, rate: float) -> Schooling:
    return Schooling(
        steps=steps,
        batch=curriculum.batch // _PARTS,
        accumulate=_PARTS,
        rate=rate,
        muon=curriculum.muon,
        lora=0,
        seed=curriculum.seed,
        save_every=curriculum.save_every,
        evaluate_every=curriculum.measure_every,
        bf16=faster_in_16_bits("cpu"),
        near_numbers=curriculum.near_numbers,
        board=curriculum.board,
    )


def _beside(curriculum: Curriculum, shelf: Shelf, opened: Opened) -> Dataset[Example]:
    """What is learned from, and beside it pictures on which everything is clicked."""
    share = curriculum.looking.beside
    count = max(1, round(len(shelf) * share / (1 - share)))
    pointing = Pointing(count, BESIDE + curriculum.seed, _ANYWHERE, opened, TURNS, _MOST)
    return ConcatDataset([shelf, pointing])


def practise(
    regime: Regime,
    start: Path,
    output: Path,
    *,
    reward: str = "default",
    parts: tuple[str, ...] = (),
    weights: Mapping[str, float] = MappingProxyType({}),
    tool: str = PRACTICE_TOOL,
    wrongly_given: float = _WRONGLY_GIVEN,
    only: tuple[str, ...] = (),
    measure: Callable[[Opened], dict[str, float]] | None = None,
    tell: Callable[[dict[str, float]], None] = lambda _: None,
) -> Opened:
    """Trains a nano agent further by playing; writes it to ``output`` and returns it.

    parts: of the reward, which ones count; all of them where none is named. weights: of its parts, where they aren't
    those of ``reward``. wrongly_given: the share of episodes that begin with the mask of something else. only:
    slices that show one of these structures, which is asked for; all others are what ``regime.held`` is drawn from.
    """
    config = reward_config(reward).weighted(**weights)
    config = config.only(*parts) if parts else config
    opened = open_nano(start)
    limits = Limits(steps=_PRACTICE_STEPS)
    arena = Arena(opened, speech(start), registry.load("segmenters", tool), DIALECT, OVERLAY, limits)
    # Slices that no fine-tuning of this seed has seen.
    made = Invented(0, 0, PRACTICE + regime.seed, wrongly_given, only)
    others = tuple(name for name in NAMES if name not in only) if only else ()
    beside = Invented(0, 0, _REST + regime.seed, wrongly_given, others)
    about = {"start": str(start.resolve()), "tool": tool, "wrongly given": wrongly_given, "only": list(only)}
    trained = reinforce(
        *(arena, made.exercise, config, regime, output),
        beside=beside.exercise,
        source=start,
        about=about,
        measure=measure,
        tell=tell,
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
    spoken: Speech | None = None,
    count: int = 200,
    seed: int = HELD_OUT,
    wrongly_given: float = 0.0,
    only: tuple[str, ...] = (),
    prone: bool = False,
    steps: int = 8,
    temperature: float = 0.0,
    at_once: int = 50,
) -> Figures:
    """How it acts, greedily or by chance, on exercises that no training has drawn.

    spoken: ``speech`` of its checkpoint, where its sentences aren't those of a new one.
    """
    arena = Arena(opened, spoken or speech(), registry.load("segmenters", tool), DIALECT, OVERLAY, Limits(steps=steps))
    arena = replace(arena, choice=replace(arena.choice, temperature=temperature))
    made = Invented(0, count, seed, wrongly_given, only, prone=prone)
    exercises = [made.exercise(number) for number in range(count)]
    played = []
    for first in range(0, count, at_once):
        played += arena.play(exercises[first : first + at_once], seed=first)
    return figures(played)


def _texts(trajectories: Sequence[Trajectory]) -> Iterator[str]:
    """All that it will read and say."""
    for trajectory in trajectories:
        yield trajectory.prompt
        for step in to_json(trajectory)["steps"]:
            yield step["turn"]
