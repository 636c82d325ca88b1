"""From a session to what can be learned from it: trajectories, and why the rest is left out. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from napari_ibisagent.core.episode import Episode, Verdict
from napari_ibisagent.core.knowledge import Structure
from napari_ibisagent.core.session import Session
from napari_ibisagent.training.corrections.privacy import Private, Task, modality_of, private_words, task_of
from napari_ibisagent.training.corrections.turns import Piece, pieces_of
from napari_ibisagent.training.corrections.voice import Voice, told
from napari_ibisagent.training.trajectories.form import CORRECTED, Source, Trajectory, TrajectoryStep


@dataclass(frozen=True, slots=True)
class Lesson:
    """A trajectory, and the piece of an episode that it was made from. ``silenced``: thoughts that were left out."""

    trajectory: Trajectory
    piece: Piece
    silenced: int = 0

    @property
    def learned(self) -> int:
        """How many of its turns are examples."""
        return sum(step.learn for step in self.trajectory.steps)


@dataclass(frozen=True, slots=True)
class LeftOut:
    """An episode (from 1) without an example, and why; the reason goes on after "request 3"."""

    request: int
    reason: str


def lessons_of(
    session: Session, knowledge: tuple[Structure, ...], name: str, *, typed: bool, voice: Voice = Voice.NONE
) -> Iterator[Lesson | LeftOut]:
    """What can be learned from a session as it is now; branches that were left are not looked at.

    name: of the scan, as it goes out; each trajectory adds a number. typed: sentences go out as they were typed. voice:
    how what a person did is told.
    """
    private = private_words(session, knowledge, typed=typed)
    for number, episode in enumerate(session.episodes, start=1):
        task = task_of(episode, knowledge, typed=typed)
        if task is None:
            yield LeftOut(number, _no_task(episode))
            continue
        found = [piece for piece in pieces_of(episode, task.target or None) if any(t.learn for t in piece.turns)]
        if not found:
            yield LeftOut(number, "has no step that a person accepted or made.")
        for part, piece in enumerate(found, start=1):
            yield _lesson(session, episode, piece, task, private, f"{name}-{number}-{part}", voice)


def _lesson(
    session: Session, episode: Episode, piece: Piece, task: Task, private: Private, name: str, voice: Voice
) -> Lesson:
    clean = private.without(piece)
    steps = told(clean, task.target, episode.shape, voice, name).turns
    trajectory = Trajectory(
        name=name,
        prompt=task.prompt,
        target=task.target,
        shape=episode.shape,
        steps=tuple(TrajectoryStep(j.turn, j.mask, None, j.learn) for j in steps),
        source=Source(modality=modality_of(session), plane=episode.plane.value, index=episode.index),
        kind=task.kind,
        story=CORRECTED if _corrected(episode) else "direct",
        given=clean.given,
        segmenter=session.segmenter,
    )
    thoughts = zip(piece.turns, clean.turns, strict=True)
    return Lesson(trajectory, clean, sum(old.turn.thought != new.turn.thought for old, new in thoughts))


def _no_task(episode: Episode) -> str:
    if not episode.prompt.strip():
        return "was begun by hand: there is no sentence to learn from."
    return (
        "asks for more, or for something else, than a structure that is known by name; "
        "--prompts typed exports its sentence as it was typed."
    )


def _corrected(episode: Episode) -> bool:
    """Whether a person did more than accept."""
    return any(step.by_hand or step.verdict in (Verdict.OVERRIDDEN, Verdict.REJECTED) for step in episode.steps)
