"""What a worker plays for one intent of the user's: plain generators of events, like the runner's.

Each takes the state as it is and ends at the first proposal that a person has to judge; the verdict begins the next
play. So nothing ever waits in a worker, and a proposal can be judged just as well after an undo or a restart.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from napari_ibisagent.agent.carry import Crew, carry, goes_on_by_itself
from napari_ibisagent.agent.runner import Stage, Verdicts, run, segmented
from napari_ibisagent.agent.stop import Limits
from napari_ibisagent.core.episode import (
    Episode,
    EpisodeEvent,
    Failed,
    Located,
    Outcome,
    Proposed,
    Segmented,
    Step,
    StepDeleted,
    Terminated,
    Thought,
    advance,
    again,
    before_step,
    went_to_tool,
)
from napari_ibisagent.core.errors import BackendError, StateError
from napari_ibisagent.core.protocols import Locator, OpenedView, Policy, Propagator, Segmenter
from napari_ibisagent.core.view import AXES, Plane, View, view_of
from napari_ibisagent.core.volume import Volume

# The user means the slice that is shown, and not the one that shows most.
_HERE = re.compile(r"\b(this|the shown|the current) slice\b|\bhere\b", re.IGNORECASE)

Play = Iterator[EpisodeEvent]
# Asked at each proposal: whether it may go on unreviewed.
Passes = Callable[[], bool]


@dataclass(frozen=True, eq=False, slots=True)
class Ears:
    """How a play hears of the user while it runs, and how it is heard: see ``runner.run``."""

    cancelled: Callable[[], bool]
    on_text: Callable[[str], None]
    passes: Passes


class Studio:
    """A scan with a policy and a tool; keeps the last views open, since a tool looks at a view once. For workers.

    Without a ``propagator`` no mask can be carried through the volume.
    """

    def __init__(self, volume: Volume, policy: Policy, tool: Segmenter, propagator: Propagator | None = None) -> None:
        self.volume = volume
        self.policy = policy
        self.tool = tool
        self.propagator = propagator
        self._open: dict[tuple[Plane, int], tuple[View, OpenedView]] = {}

    def stage(self, episode: Episode) -> Stage:
        """What an episode plays on. Raises BackendError where the tool can't open the view."""
        place = (episode.plane, episode.index)
        if place not in self._open:
            while len(self._open) >= 4:
                del self._open[next(iter(self._open))]
            view = view_of(self.volume, *place)
            self._open[place] = (view, self.tool.open(view))
        view, opened = self._open[place]
        return Stage(self.volume, view, self.policy, opened)


def play(episode: Episode, studio: Studio, limits: Limits, ears: Ears, verdict: Verdicts | None = None) -> Play:
    """Goes on with an episode: finds its slice where that is still to be done, then turn after turn.

    ``verdict`` is the word on the proposal that waits, if one does; without a word and without a pass it waits on.
    Where the whole volume was asked for the mask is carried on once the agent is done with its slice.
    """
    if episode.waits and verdict is None and not ears.passes():
        return
    try:
        if not episode.located:
            for event in _locating(episode, studio):
                if ears.cancelled():
                    event = Terminated(Outcome.CANCELLED, "Cancelled by the user.")  # noqa: PLW2901
                episode = advance(episode, event)
                yield event
                if episode.outcome is not None:
                    return
        stage = studio.stage(episode)
    except BackendError as error:
        yield Failed(str(error))
        return
    events = run(episode, stage, limits=limits, cancelled=ears.cancelled, on_text=ears.on_text, verdict=verdict)
    for event in events:
        episode = advance(episode, event)
        yield event
        if isinstance(event, Proposed) and not ears.passes():
            events.close()
            return
    if goes_on_by_itself(episode):
        yield from carry_on(episode, studio, ears)


def carry_on(episode: Episode, studio: Studio, ears: Ears) -> Play:
    """Carries the mask on the table through the volume. Raises StateError where there is none, BackendError where
    no propagator was chosen."""
    if studio.propagator is None:
        raise BackendError("No propagator was chosen to carry the mask through the volume. Choose one.")
    crew = Crew(studio.policy, studio.tool, studio.propagator)
    yield from carry(episode, studio.volume, crew, ears.cancelled)


def finish(episode: Episode, studio: Studio) -> Play:
    """Brings a proposal that was judged already through the tool, and the agent isn't asked: a person's own click."""
    if episode.pending is None:
        raise StateError("There is no proposal to finish.")
    try:
        made = segmented(episode, episode.pending.actions, studio.stage(episode).tool)
    except BackendError as error:
        yield Failed(str(error))
        return
    yield made


def delete(episode: Episode, studio: Studio, number: int) -> Play:
    """Takes step ``number`` (from 1) out; only the tool is asked, for the later steps. Raises StateError."""
    before_step(episode, number)
    try:
        results = tuple(made for _, made in without(episode, number, studio.stage(episode).tool))
    except BackendError as error:
        yield Failed(str(error))
        return
    yield StepDeleted(number, results)


def without(episode: Episode, number: int, tool: OpenedView) -> Iterator[tuple[Step, Segmented]]:
    """The steps after step ``number`` that went to the tool, and what it makes of each when that one is left out."""
    shorter = before_step(episode, number)
    for step in episode.steps[number:]:
        made = None
        if went_to_tool(step):
            made = segmented(shorter, step.actions, tool)
            yield step, made
        shorter = again(shorter, step, made)


def _locating(episode: Episode, studio: Studio) -> Play:
    """The events of choosing the slice: ``Located``, and an end where nothing was found."""
    policy, volume = studio.policy, studio.volume
    if not isinstance(policy, Locator):
        yield Located(episode.index, episode.shape, episode.target)
        return
    found = policy.locate(volume, episode.prompt, episode.plane)
    stays = found.index is None or _HERE.search(episode.prompt)
    index = episode.index if stays or found.index is None else found.index
    if not 0 <= index < volume.shape[AXES[episode.plane][0]]:
        raise BackendError(
            f"The policy {policy.name} chose slice {index}, which the scan doesn't have. Choose another."
        )
    yield Located(index, episode.shape, found.target)
    if found.index is None:
        yield Thought(found.reason)
        yield Terminated(Outcome.NOT_FOUND, found.reason)
