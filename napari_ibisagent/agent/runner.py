"""The agent loop: a plain generator of events. Whoever drives it folds, stores and draws them.

The gate: the driver answers a ``Proposed`` with ``send(verdict)``. A plain ``for`` loop sends nothing, which means
that the agent goes on unreviewed. The runner does no I/O, knows no thread and keeps nothing but the episode.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator
from dataclasses import dataclass

import numpy as np

from napari_ibisagent.agent.stop import DEFAULT_LIMITS, Limits, ending, repeated, stopped
from napari_ibisagent.core.actions import Action, Terminate, Turn
from napari_ibisagent.core.dialects import dialect
from napari_ibisagent.core.dialects.conversation import Mistake
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
    prior_after,
    prompts_after,
)
from napari_ibisagent.core.errors import BackendError, CancelledError, DialectError, StateError
from napari_ibisagent.core.overlay import OverlayPreset, Picture, draw_mask, grey_picture, overlay_preset
from napari_ibisagent.core.protocols import OpenedView, Policy, Segmentation, Situation, manner_of
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
    """What an episode plays on: the scan, the slice, who decides, who segments, and what the policy is shown.

    overlay: None: the one that the policy was made for.
    """

    volume: Volume
    view: View
    policy: Policy
    tool: OpenedView
    window: Window | None = None
    overlay: OverlayPreset | None = None


def run(
    episode: Episode,
    stage: Stage,
    *,
    limits: Limits = DEFAULT_LIMITS,
    cancelled: Callable[[], bool] = _never,
    on_text: Callable[[str], None] = _ignore,
    verdict: Verdicts | None = None,
) -> Run:
    """Plays an episode to its end, from wherever it is; returns the last state.

    ``verdict`` is the word on a proposal that waits already (after an undo, a restart); nothing is yielded for
    the proposal again. Raises StateError where none waits.

    Yields the events in the order in which they happen. After a ``Proposed`` the driver may send a verdict:
    Accepted, Overridden, Rejected, or Painted (the human drew instead). ``cancelled`` is asked between two
    pieces of the policy's text and before the tool runs; ``on_text`` gets those pieces.
    """
    if verdict is not None and episode.pending is None:
        raise StateError("There is no proposal to judge.")
    play = _Play(episode, stage, cancelled, on_text)
    limits = limits.at_most(play.manner.turns)
    try:
        if episode.pending is not None:
            yield from play.finish_pending(verdict)
        while play.episode.outcome is None or play.episode is episode:
            rule = stopped(play.episode, limits)
            if rule is not None:
                yield from play.tell(rule)
            else:
                yield from play.turn()
    except CancelledError:
        yield from play.tell(Terminated(Outcome.CANCELLED, "Cancelled by the user."))
    except BackendError as error:
        yield from play.tell(Failed(str(error)))
    except DialectError as error:
        # What follows the first sentence tells the model what to write.
        wrong = str(error).partition(". ")[0].rstrip(".")
        name = stage.policy.name
        yield from play.tell(
            Failed(f"{name} gave no answer that can be used: {wrong}. Ask it again, or choose another.")
        )
    return play.episode


class _Play:
    """The episode as it is being played: every event goes through ``tell``, which folds it in and yields it."""

    def __init__(
        self, episode: Episode, stage: Stage, cancelled: Callable[[], bool], on_text: Callable[[str], None]
    ) -> None:
        self.episode = episode
        self._stage = stage
        self._cancelled = cancelled
        self._on_text = on_text
        view = stage.view
        self._picture = grey_picture(view.image, stage.window or default_window(view.image, view.modality))
        self._dialect, self.manner = dialect(stage.policy.dialect), manner_of(stage.policy)
        self._overlay = stage.overlay or overlay_preset(self.manner.overlay or self._dialect.overlay)

    def tell(self, event: EpisodeEvent) -> Generator[EpisodeEvent, Verdicts | None, Verdicts | None]:
        """Folds an event in, yields it, and returns what the driver answers."""
        self.episode = advance(self.episode, event)
        return (yield event)

    def turn(self) -> Generator[EpisodeEvent, Verdicts | None, None]:
        """Asks the policy for a turn, and brings it through the gate and the tool."""
        started = time.perf_counter()
        turn = self._asked()
        spent = _since(started)
        if turn.thought:
            yield from self.tell(Thought(turn.thought))
        agreed = True
        if turn.prompts or turn.reverts or turn.discards:
            agreed = yield from self._step(turn, spent)
        if turn.terminates and agreed:
            yield from self._end(turn)

    def _asked(self) -> Turn:
        """The policy's turn. An answer that can't be taken goes back to it as often as its manner says."""
        mistake: Mistake | None = None
        left = self.manner.repairs
        while True:
            text = self._heard(mistake)
            try:
                turn = self._dialect.parse(text)
            except DialectError as error:
                if left <= 0:
                    raise
                mistake = Mistake(text, str(error))
            else:
                if left <= 0 or not repeated(self.episode, turn):
                    return turn
                mistake = Mistake(
                    text, "That is the same action as before, and it changes nothing. Choose another one."
                )
            left -= 1
            self._on_text("\n")

    def _heard(self, mistake: Mistake | None) -> str:
        stage, pieces = self._stage, []
        for piece in stage.policy.act(Situation(self.episode, stage.volume, stage.view, self._look, mistake)):
            if self._cancelled():
                raise CancelledError("Cancelled by the user.")
            if piece:  # a policy that waits lets itself be cancelled between empty ones
                pieces.append(piece)
                self._on_text(piece)
        return "".join(pieces)

    def _look(self, mask: PackedMask | None) -> Picture:
        return draw_mask(self._picture, None if mask is None else mask.array(), self._overlay)

    def _step(self, turn: Turn, spent: float) -> Generator[EpisodeEvent, Verdicts | None, bool]:
        """One proposal through the gate and the tool; says whether it was taken as it was."""
        actions = tuple(a for a in turn.actions if not isinstance(a, Terminate))
        answer = (turn.answer or "") if turn.terminates else None
        verdict = yield from self.tell(Proposed(actions, answer, spent))
        return (yield from self._judged(verdict))

    def finish_pending(self, verdict: Verdicts | None) -> Generator[EpisodeEvent, Verdicts | None, None]:
        """Brings a proposal that was made earlier through the gate and the tool."""
        pending = self.episode.pending
        if pending is None:
            raise StateError("There is no proposal to go on from.")
        agreed = yield from self._judged(verdict)
        if agreed and pending.turn.answer is not None:
            yield from self._end(pending.turn)

    def _judged(self, verdict: Verdicts | None) -> Generator[EpisodeEvent, Verdicts | None, bool]:
        """The verdict and what the tool makes of it; says whether the proposal was taken as it was."""
        if self.episode.waits:
            yield from self.tell(verdict or Accepted(Author.AGENT))
        pending = self.episode.pending
        if pending is None:  # rejected, or painted instead
            return False
        if self._cancelled():
            raise CancelledError("Cancelled by the user.")
        yield from self.tell(segmented(self.episode, pending.actions, self._stage.tool))
        return not pending.amended

    def _end(self, turn: Turn) -> Generator[EpisodeEvent, Verdicts | None, None]:
        has_mask = bool(self.episode.mask_array().any())
        yield from self.tell(ending(turn.says_absent, has_mask, turn.answer))


def segmented(episode: Episode, actions: tuple[Action, ...], tool: OpenedView) -> Segmented:
    """The event of what the tool makes of ``actions``; its score is rounded as the journal keeps it."""
    result, spent = segment(episode, actions, tool)
    return Segmented(PackedMask.of(result.mask), round(float(result.score), 4), spent)


def segment(episode: Episode, actions: tuple[Action, ...], tool: OpenedView) -> tuple[Segmentation, float]:
    """What the tool makes of ``actions``, and its time in ms. Replay recomputes masks through here as well.

    After a revert to where nothing was clicked the mask is the prior one, and no tool is asked.
    """
    started = time.perf_counter()
    prompts, packed = prompts_after(episode, actions), prior_after(episode, actions)
    prior = None if packed is None else packed.array()
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
