"""The agent loop: a plain generator of events. Whoever drives it folds, stores and draws them.

The gate: the driver answers a ``Proposed`` with ``send(verdict)``. A plain ``for`` loop sends nothing, which means
that the agent goes on unreviewed. The runner does no I/O, knows no thread and keeps nothing but the episode.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator
from dataclasses import dataclass

import numpy as np

from napari_ibisagent.agent.stop import DEFAULT_LIMITS, Limits, ending, stopped
from napari_ibisagent.core.actions import Action, Terminate, Turn
from napari_ibisagent.core.dialects import parser
from napari_ibisagent.core.episode import (
    Accepted,
    Author,
    Episode,
    EpisodeEvent,
    Failed,
    Outcome,
    Overridden,
    PackedMask,
    Painted,
    Proposed,
    Rejected,
    Segmented,
    Terminated,
    Thought,
    advance,
    prompts_after,
)
from napari_ibisagent.core.errors import BackendError, CancelledError, DialectError
from napari_ibisagent.core.overlay import PRESETS, OverlayPreset, draw_mask, grey_picture
from napari_ibisagent.core.protocols import OpenedView, Policy, Segmentation, Situation
from napari_ibisagent.core.view import View
from napari_ibisagent.core.volume import Volume
from napari_ibisagent.core.window import Window, default_window

Verdicts = Accepted | Overridden | Rejected | Painted
Run = Generator[EpisodeEvent, Verdicts | None, Episode]


def _never() -> bool:
    return False


def _ignore(_: str) -> None:
    return None


@dataclass(frozen=True, eq=False, slots=True)
class Stage:
    """What an episode plays on: the scan, the slice, who decides, who segments, and what the policy is shown."""

    volume: Volume
    view: View
    policy: Policy
    tool: OpenedView
    window: Window | None = None
    overlay: OverlayPreset = PRESETS["ibis"]


def run(
    episode: Episode,
    stage: Stage,
    *,
    limits: Limits = DEFAULT_LIMITS,
    cancelled: Callable[[], bool] = _never,
    on_text: Callable[[str], None] = _ignore,
) -> Run:
    """Plays an episode to its end, from wherever it is; returns the last state.

    Yields the events in the order in which they happen. After a ``Proposed`` the driver may send a verdict:
    Accepted, Overridden, Rejected, or Painted (the human drew instead). ``cancelled`` is asked between two
    pieces of the policy's text and before the tool runs; ``on_text`` gets those pieces.
    """
    picture = grey_picture(stage.view.image, stage.window or default_window(stage.view.image, stage.view.modality))
    try:
        while True:
            rule = stopped(episode, limits)
            if rule is not None:
                return (yield from _emit(episode, rule))
            observation = draw_mask(picture, episode.mask_array() if episode.mask else None, stage.overlay)
            started = time.perf_counter()
            turn = _turn(Situation(episode, stage.volume, stage.view, observation), stage, cancelled, on_text)
            spent = _since(started)
            if turn.thought:
                episode = yield from _emit(episode, Thought(turn.thought))
            agreed = True
            if turn.prompts or turn.reverts:
                episode, agreed = yield from _step(episode, turn, spent, stage, cancelled)
            if turn.terminates and agreed:
                has_mask = bool(episode.mask_array().any())
                return (yield from _emit(episode, ending(turn.says_absent, has_mask, turn.answer)))
    except CancelledError:
        return (yield from _emit(episode, Terminated(Outcome.CANCELLED, "Cancelled by the user.")))
    except (BackendError, DialectError) as error:
        return (yield from _emit(episode, Failed(str(error))))


def _emit(episode: Episode, event: EpisodeEvent) -> Run:
    """Yields an event and returns the episode after it."""
    after = advance(episode, event)
    yield event
    return after


def _turn(situation: Situation, stage: Stage, cancelled: Callable[[], bool], on_text: Callable[[str], None]) -> Turn:
    pieces = []
    for piece in stage.policy.act(situation):
        if cancelled():
            raise CancelledError("Cancelled by the user.")
        pieces.append(piece)
        on_text(piece)
    return parser(stage.policy.dialect)("".join(pieces))


def _step(
    episode: Episode, turn: Turn, spent: float, stage: Stage, cancelled: Callable[[], bool]
) -> Generator[EpisodeEvent, Verdicts | None, tuple[Episode, bool]]:
    """One proposal through the gate and the tool; also says whether the proposal was taken as it was."""
    actions = tuple(a for a in turn.actions if not isinstance(a, Terminate))
    proposal = Proposed(actions, turn.answer, spent)
    episode = advance(episode, proposal)
    verdict = (yield proposal) or Accepted(Author.AGENT)
    episode = yield from _emit(episode, verdict)
    if isinstance(verdict, Rejected | Painted):
        return episode, False
    done = verdict.actions if isinstance(verdict, Overridden) else actions
    if cancelled():
        raise CancelledError("Cancelled by the user.")
    result, spent = segment(episode, done, stage.tool)
    segmented = Segmented(PackedMask.of(result.mask), round(float(result.score), 4), spent)
    return (yield from _emit(episode, segmented)), isinstance(verdict, Accepted)


def segment(episode: Episode, actions: tuple[Action, ...], tool: OpenedView) -> tuple[Segmentation, float]:
    """What the tool makes of ``actions``, and its time in ms. Replay recomputes masks through here as well.

    After a revert to where nothing was clicked the mask is the prior one, and no tool is asked.
    """
    started = time.perf_counter()
    prompts = prompts_after(episode, actions)
    prior = None if episode.prior is None else episode.prior.array()
    if not prompts:
        mask = np.zeros(episode.shape, bool) if prior is None else prior
        return Segmentation(mask, 0.0 if prior is None else 1.0), _since(started)
    result = tool.segment(prompts, prior)
    if result.mask.shape != episode.shape:
        raise BackendError(
            f"The tool answered with a mask of {result.mask.shape} pixels for a view of {episode.shape}. "
            "Report this to its makers; choose another tool."
        )
    return result, _since(started)


def _since(started: float) -> float:
    return round((time.perf_counter() - started) * 1000, 3)
