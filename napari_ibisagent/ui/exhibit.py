"""What the canvas shows of a session: one slice with its mask, clicks and boxes. Pure; ``layers`` draws it."""

from __future__ import annotations

from dataclasses import dataclass

from napari_ibisagent.core.actions import Action, Box, Click
from napari_ibisagent.core.carrying import Carried
from napari_ibisagent.core.episode import Author, Episode, PackedMask
from napari_ibisagent.core.session import Session
from napari_ibisagent.core.view import Plane


@dataclass(frozen=True, slots=True)
class Mark:
    """A click or a box on the canvas, and the step (from 1) that it belongs to. ``done`` False: only proposed."""

    action: Click | Box
    author: Author
    done: bool
    number: int


@dataclass(frozen=True, slots=True)
class Shown:
    """Which state is looked at: an episode (from 0) and how many of its steps."""

    episode: int
    step: int


@dataclass(frozen=True, slots=True)
class Exhibit:
    """A slice with what is drawn on it. ``mask`` (H, W) of the view, or None.

    ``carried``: the other slices of the plane that the mask was carried to.
    """

    plane: Plane
    index: int
    mask: PackedMask | None
    marks: tuple[Mark, ...] = ()
    carried: tuple[Carried, ...] = ()

    @property
    def proposed(self) -> tuple[Mark, ...]:
        """The marks that wait for a verdict."""
        return tuple(mark for mark in self.marks if not mark.done)


def exhibit_of(session: Session, shown: Shown | None) -> Exhibit | None:
    """What is drawn: the step that the user looks back at, else the state now. None before the first prompt.

    A mask that became an object is drawn by the object from then on.
    """
    if shown is not None and shown.episode < len(session.episodes):
        episode = session.episodes[shown.episode]
        steps = episode.steps[: shown.step]
        mask = steps[-1].mask if steps else episode.given
        return Exhibit(episode.plane, episode.index, mask, _marks(episode, shown.step))
    current = session.episode
    if current is None:
        return None
    if current.kept_as is not None and current.pending is None:
        return Exhibit(current.plane, current.index, None)
    marks = _marks(current, len(current.steps)) + _proposed(current)
    carried = () if current.carrying is None else current.carrying.slices
    return Exhibit(current.plane, current.index, current.mask, marks, carried)


def _marks(episode: Episode, count: int) -> tuple[Mark, ...]:
    """The clicks and boxes in force after ``count`` steps, each with the step that made it."""
    in_force = episode.steps[count - 1].prompts if count else ()
    found: list[Mark] = []
    for number, step in enumerate(episode.steps[:count], start=1):
        found += [Mark(a, step.author, True, number) for a in _drawable(step.actions) if a in in_force]
    return tuple(found)


def _proposed(episode: Episode) -> tuple[Mark, ...]:
    pending = episode.pending
    if pending is None:
        return ()
    author = Author.HUMAN if pending.amended else pending.author
    return tuple(Mark(a, author, False, len(episode.steps) + 1) for a in _drawable(pending.actions))


def _drawable(actions: tuple[Action, ...]) -> list[Click | Box]:
    return [a for a in actions if isinstance(a, Click | Box)]
