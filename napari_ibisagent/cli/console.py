"""What every command shares at the terminal: Ctrl+C, and steps printed as they happen."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console

    from napari_ibisagent.core.carrying import Carried
    from napari_ibisagent.core.episode import Episode, EpisodeEvent, Step
    from napari_ibisagent.core.packed import PackedMask


class Interrupt:
    """Ctrl+C asks for a clean end; a second one within the same run ends at once."""

    def __init__(self) -> None:
        self._asked = False

    def __call__(self) -> bool:
        """Whether the user has asked to cancel."""
        return self._asked

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self._asked:
            raise KeyboardInterrupt
        self._asked = True

    @contextmanager
    def watching(self) -> Iterator[Interrupt]:
        """Takes Ctrl+C over for a block and gives it back after."""
        before = signal.signal(signal.SIGINT, self._handle)
        try:
            yield self
        finally:
            signal.signal(signal.SIGINT, before)


def console() -> Console:
    """A rich console on stdout; plain text where that isn't a terminal."""
    from rich.console import Console

    return Console(file=sys.stdout, highlight=False, soft_wrap=not sys.stdout.isatty())


def print_event(out: Console, event: EpisodeEvent, episode: Episode, pixel_mm2: float | None) -> None:
    """One event of an episode, as a person at the terminal wants to follow it."""
    from rich.markup import escape

    from napari_ibisagent.core import carrying
    from napari_ibisagent.core import episode as kinds

    match event:
        case kinds.Thought(text):
            out.print(f"[dim]{escape(text)}[/dim]")
        case kinds.Segmented():
            out.print(escape(step_line(episode.steps[-1], len(episode.steps), pixel_mm2)), style="bold")
        case kinds.Rejected(reason):
            out.print(f"  rejected{': ' + escape(reason) if reason else ''}")
        case kinds.Terminated(outcome, reason):
            colour = "green" if outcome is kinds.Outcome.DONE else "yellow"
            out.print(f"[{colour}]{outcome.value.replace('_', ' ')}[/{colour}]: {escape(reason)}")
        case kinds.Failed(reason):
            out.print(f"[red]failed[/red]: {escape(reason)}")
        case carrying.CarryBegun(_, first, last, note):
            out.print(escape(f"carried through slices {first} to {last} at most. {note}"))
        case carrying.Carried(note=note):
            out.print(escape(carried_line(event, episode, pixel_mm2)), style="yellow" if note else "")
        case carrying.CarryEnded(reason, how):
            colour = "green" if how is carrying.End.COMPLETE else "yellow"
            out.print(f"[{colour}]{how.value}[/{colour}]: {escape(reason)}")


def step_line(step: Step, number: int, pixel_mm2: float | None) -> str:
    """A step in a line: number, actions, score, area, time."""
    area = _area(step.mask, pixel_mm2)
    score = 0.0 if step.score is None else step.score
    return f"step {number:2d}  {describe(step.actions)}  score {score:.2f}  {area}  {step.ms:.0f} ms"


def carried_line(done: Carried, episode: Episode, pixel_mm2: float | None) -> str:
    """A slice that the mask was carried to, in a line: its number, how far it is, confidence, area, what is odd."""
    state = episode.carrying
    count = "" if state is None else f" ({len(state.slices)} of at most {state.last - state.first})"
    note = f"  {done.note}" if done.note else ""
    return f"slice {done.index}{count}  confidence {done.confidence:.2f}  {_area(done.mask, pixel_mm2)}{note}"


def _area(mask: PackedMask | None, pixel_mm2: float | None) -> str:
    import numpy as np

    pixels = 0 if mask is None else int(np.count_nonzero(mask.array()))
    return f"{pixels} pixels" if pixel_mm2 is None else f"{pixels * pixel_mm2 / 100:.1f} cm²"


def describe(actions: tuple[object, ...]) -> str:
    """Actions in short: +(0.33, 0.39), -(…), box, revert, discard."""
    from napari_ibisagent.core.actions import Box, Click, Discard, Revert

    words = []
    for action in actions:
        if isinstance(action, Click):
            words.append(f"{'+' if action.positive else '-'}({action.x:.2f}, {action.y:.2f})")
        elif isinstance(action, Box):
            words.append(f"box({action.x0:.2f}, {action.y0:.2f}, {action.x1:.2f}, {action.y1:.2f})")
        elif isinstance(action, Revert):
            words.append("revert")
        elif isinstance(action, Discard):
            words.append("discard the mask")
    return " ".join(words) or "nothing"
