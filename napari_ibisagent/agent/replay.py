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
from napari_ibisagent.core.episode import Outcome, PackedMask, Prompted, Segmented, StepDeleted
from napari_ibisagent.core.history import History
from napari_ibisagent.core.masks import iou
from napari_ibisagent.core.protocols import OpenedView, Segmenter
from napari_ibisagent.core.session import Committed, Session, advance
from napari_ibisagent.core.view import Plane, view_of
from napari_ibisagent.core.volume import Volume


@dataclass(frozen=True, slots=True)
class MaskCheck:
    """A recomputed mask beside the recorded one."""

    prompt: str
    step: int
    actions: tuple[Action, ...]
    identical: bool
    iou: float


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
    return advance(session, event), episode.outcome in (None, Outcome.CANCELLED)


def _committed_earlier(history: History) -> bool:
    """Whether the last episode's mask is an object by an event that doesn't say whose mask it is (older journals)."""
    for node in reversed(history.path()):
        event = history.nodes[node].event
        if isinstance(event, Prompted) or (isinstance(event, Committed) and event.episode is None):
            return isinstance(event, Committed)
    return False


def recompute(history: History, volume: Volume, tool: Segmenter) -> Iterator[MaskCheck]:
    """Checks every mask that a tool made, in the order in which they were made."""
    opened: dict[tuple[Plane, int], OpenedView] = {}
    for node in history.nodes:
        before = None if node.parent is None else history.nodes[node.parent].state.episode
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


def _compared(
    prompt: str, step: int, actions: tuple[Action, ...], again: PackedMask, recorded: PackedMask
) -> MaskCheck:
    same = again == recorded
    return MaskCheck(prompt, step, actions, same, 1.0 if same else iou(again.array(), recorded.array()))
