"""Replaying a history: every mask again from its prompts, on every branch, without asking a policy.

Also the labels of a run that was ended before its mask became an object.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from napari_ibisagent.agent.commit import committing
from napari_ibisagent.agent.plays import without
from napari_ibisagent.agent.runner import segmented
from napari_ibisagent.core.actions import Action
from napari_ibisagent.core.carrying import Carried
from napari_ibisagent.core.episode import Episode, Outcome, PackedMask, Prompted, Segmented, StepDeleted
from napari_ibisagent.core.history import History
from napari_ibisagent.core.masks import Mask, iou
from napari_ibisagent.core.protocols import OpenedView, Segmenter, made_again
from napari_ibisagent.core.session import Committed, Session, advance
from napari_ibisagent.core.view import Plane, view_of
from napari_ibisagent.core.volume import Volume


@dataclass(frozen=True, slots=True)
class MaskCheck:
    """A recomputed mask beside the recorded one. ``index``: the slice that it was carried to, None for a step's."""

    prompt: str
    step: int
    actions: tuple[Action, ...]
    identical: bool
    iou: float
    index: int | None = None


def rescued(history: History, volume: Volume) -> tuple[Session, bool]:
    """The session, with the last episode's mask as an object where the run was killed or cancelled before that.

    The flag says that the agent wasn't done with that mask. Raises OverlapError like ``committing``.
    """
    session, episode = history.session, history.session.episode
    if episode is None or episode.outcome in (Outcome.NOT_FOUND, Outcome.FAILED):
        return session, False
    if episode.kept_as is not None or _committed_earlier(history):
        return session, False
    event = committing(session, volume, view_of(volume, episode.plane, episode.index))
    if event is None:
        return session, False
    early = episode.outcome in (None, Outcome.CANCELLED) or episode.under_way
    return advance(session, event), early


def _committed_earlier(history: History) -> bool:
    """Whether the last episode's mask is an object by an event that doesn't say whose mask it is (older journals)."""
    for node in reversed(history.path()):
        event = history.nodes[node].event
        if isinstance(event, Prompted) or (isinstance(event, Committed) and event.episode is None):
            return isinstance(event, Committed)
    return False


def recompute(history: History, volume: Volume, tool: Segmenter) -> Iterator[MaskCheck]:
    """Checks every mask that a tool made, in the order in which they were made.

    A carried mask that doesn't say what it was made from is left out: it can only be taken as it is.
    """
    opened: dict[tuple[Plane, int], OpenedView] = {}
    for node in history.nodes:
        before = None if node.parent is None else history.nodes[node.parent].state.episode
        if before is not None and isinstance(node.event, Carried):
            yield from _carried(before, node.event, tool.open(view_of(volume, before.plane, node.event.index)))
            continue
        if before is None or not isinstance(node.event, Segmented | StepDeleted):
            continue
        place = (before.plane, before.index)
        if place not in opened:
            opened[place] = tool.open(view_of(volume, *place))
        if isinstance(node.event, StepDeleted):
            number, made = node.event.number, without(before, node.event.number, opened[place])
            for at, ((step, again), recorded) in enumerate(zip(made, node.event.again, strict=True)):
                yield _compared(before.prompt, number + at, step.actions, again.mask, recorded.mask)
        elif before.pending is not None:
            actions = before.pending.actions
            again = segmented(before, actions, opened[place])
            yield _compared(before.prompt, len(before.steps) + 1, actions, again.mask, node.event.mask)


def _carried(before: Episode, event: Carried, tool: OpenedView) -> Iterator[MaskCheck]:
    """The mask that was carried to a slice, again from its neighbour's or its prompts alone, if it has either."""
    if before.carrying is None:
        return
    prior: Mask | None = None
    if event.prior is not None:
        neighbour = before.carrying.on(event.prior)
        prior = before.mask_array() if neighbour is None else neighbour.mask.array()
    room = None if event.room is None else event.room.array()
    if event.prompts:
        again, _ = made_again(tool, event.prompts, prior, room)
        mask = again.mask
    elif prior is not None:
        mask = prior if room is None else prior & room
    else:
        return
    number = len(before.carrying.slices) + 1
    yield _compared(before.prompt, number, event.prompts, PackedMask.of(mask), event.mask, event.index)


def _compared(
    prompt: str,
    step: int,
    actions: tuple[Action, ...],
    again: PackedMask,
    recorded: PackedMask,
    index: int | None = None,
) -> MaskCheck:
    same = again == recorded
    return MaskCheck(prompt, step, actions, same, 1.0 if same else iou(again.array(), recorded.array()), index)
