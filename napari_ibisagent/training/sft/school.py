"""From folders of trajectories and a checkpoint to a trained one: what ``ibisagent train sft`` does.

``gather`` reads, opens and splits; ``tutor`` trains, measures and writes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

from napari_ibisagent import registry
from napari_ibisagent.agent.stop import MAX_STEPS, Limits
from napari_ibisagent.core.dialects import dialect
from napari_ibisagent.core.dialects.conversation import Speech, Templates
from napari_ibisagent.core.errors import InputError
from napari_ibisagent.core.overlay import Picture, overlay_preset
from napari_ibisagent.io.prompts import read_templates, write_templates
from napari_ibisagent.policies.qwen_vl import PROMPTS
from napari_ibisagent.policies.qwen_vl.chance import Choice
from napari_ibisagent.policies.qwen_vl.loading import Machine, Opened, open_checkpoint
from napari_ibisagent.training.arena import Arena
from napari_ibisagent.training.sft.exam import Exam, exercise_of
from napari_ibisagent.training.sft.examples import Maker, Shelf
from napari_ibisagent.training.sft.loop import Schooling, fine_tune
from napari_ibisagent.training.sft.split import drawn, split
from napari_ibisagent.training.sft.watcher import Tell
from napari_ibisagent.training.trajectories.exercises import Exercise
from napari_ibisagent.training.trajectories.form import Trajectory
from napari_ibisagent.training.trajectories.writing import TRAJECTORIES, picture_of, read_folder

# Turns held out that the loss is measured on.
_TURNS = 256


@dataclass(frozen=True, slots=True)
class Course:
    """How a model is spoken to, what it sees, and what it is measured on; all of it as when it is played.

    prompts: a file of templates; None: the checkpoint's own, else the dialect's. overlay: a preset; empty: the
    dialect's. max_pixels: pictures are made smaller than that. held_out: the share of the trajectories that it doesn't
    learn. segmenter: the click tool that it acts with. trials: episodes held out; turns, tokens: of an episode, and of
    an answer, at most.
    """

    dialect: str = "ibis"
    history: bool = False
    prompts: Path | None = None
    overlay: str = ""
    max_pixels: int = 262_144
    held_out: float = 0.1
    segmenter: str = registry.DEFAULT_SEGMENTER
    trials: int = 32
    turns: int = MAX_STEPS
    tokens: int = 512
    seed: int = 0


@dataclass(frozen=True, eq=False, slots=True)
class Lessons:
    """What is learned, by which model, and what it is measured on. about: what makes the run what it is.

    learned: the trajectories that aren't held out. trajectories: how many there are, and how many of them are.
    """

    opened: Opened
    checkpoint: Path
    templates: Templates
    shelf: Shelf
    exam: Exam
    learned: Sequence[Trajectory]
    trajectories: tuple[int, int]
    about: dict[str, Any]


def gather(folders: Sequence[Path], checkpoint: Path, course: Course, machine: Machine) -> Lessons:
    """Reads all folders, and opens the checkpoint. Raises InputError and BackendError."""
    overlay = course.overlay or dialect(course.dialect).overlay
    speech, preset = _speech(course, checkpoint), overlay_preset(overlay)
    tool = registry.load("segmenters", course.segmenter)
    found = [trajectory for folder in folders for trajectory in _read(folder)]
    learned, held = split(found, course.held_out, course.seed)
    opened = open_checkpoint(str(checkpoint), machine, course.max_pixels)
    maker = Maker(opened, speech, preset)

    def arena(model: Opened) -> Arena:
        limits, choice = Limits(steps=course.turns), Choice(max_new_tokens=course.tokens)
        return Arena(model, speech, tool, course.dialect, overlay, limits, choice)

    examined = Shelf(held, _picture, maker, _TURNS) if any(map(maker.turns, held)) else None
    about = {
        "checkpoint": str(checkpoint.resolve()),
        "trajectories": _digest(folders),
        "sentences": hashlib.blake2b(repr(speech.templates).encode(), digest_size=8).hexdigest(),
        "overlay": overlay,
    }
    about |= {name: getattr(course, name) for name in ("dialect", "history", "max_pixels", "held_out")}
    return Lessons(
        *(opened, checkpoint, speech.templates, Shelf(learned, _picture, maker)),
        *(Exam(examined, _trials(held, course), arena), learned, (len(found), len(held)), about),
    )


def tutor(lessons: Lessons, schooling: Schooling, output: Path, *, tell: Tell = lambda _: None) -> Opened:
    """Trains the model, and writes it with the sentences that it was spoken to with; goes on where it was killed.

    Raises InputError and BackendError.
    """
    if output.resolve() == lessons.checkpoint.resolve():
        raise InputError(f"{output} is the checkpoint that is trained. Choose another output folder.")
    trained = fine_tune(
        *(lessons.opened, lessons.shelf, schooling, output),
        source=lessons.checkpoint,
        about=lessons.about,
        measure=lessons.exam,
        tell=tell,
    )
    write_templates(output / PROMPTS, lessons.templates)
    return trained


def exercises_of(lessons: Lessons) -> list[Callable[[], Exercise]]:
    """What can be played of the trajectories that aren't held out; each is read when it is called for.

    Raises InputError where there is nothing.
    """

    def made(trajectory: Trajectory) -> Exercise:
        found = exercise_of(trajectory, _picture(trajectory))
        assert found is not None  # told by the same two fields below
        return found

    playable = [one for one in lessons.learned if one.truth is not None and one.kind != "plain"]
    if not playable:
        raise InputError("None of these trajectories says what is true, so none can be played.")
    return [partial(made, one) for one in playable]


def _speech(course: Course, checkpoint: Path) -> Speech:
    own = checkpoint / PROMPTS
    templates = read_templates(course.dialect, course.prompts or (own if own.is_file() else None))
    return Speech(templates, dialect(course.dialect).render, course.history)


def _read(folder: Path) -> Iterator[Trajectory]:
    """The trajectories of a folder; each names its picture wherever that lies. Raises InputError."""
    base = folder if folder.is_dir() else folder.parent
    for trajectory in read_folder(folder):
        name = trajectory.source.picture
        if not name:
            raise InputError(
                f"{trajectory.name} in {folder} has no picture with it. Make the trajectories again with pictures "
                "(--pictures; of corrections, --with-pictures)."
            )
        place = base / name
        if not place.is_file():
            raise InputError(f"The picture {place} of {trajectory.name} isn't there. Make the trajectories again.")
        yield replace(trajectory, source=replace(trajectory.source, picture=str(place.resolve())))


def _picture(trajectory: Trajectory) -> Picture:
    """A trajectory's picture; ``_read`` made its place whole."""
    return picture_of(trajectory, Path())


def _trials(held: Sequence[Trajectory], course: Course) -> list[Exercise]:
    """Exercises of trajectories held out, drawn by the seed."""
    order = sorted(held, key=lambda trajectory: drawn(course.seed, trajectory.name))
    made = (exercise_of(trajectory, _picture(trajectory)) for trajectory in order)
    return list(islice((exercise for exercise in made if exercise is not None), course.trials))


def _digest(folders: Sequence[Path]) -> str:
    digest = hashlib.blake2b(digest_size=8)
    for folder in folders:
        digest.update((folder / TRAJECTORIES if folder.is_dir() else folder).read_bytes())
    return digest.hexdigest()
