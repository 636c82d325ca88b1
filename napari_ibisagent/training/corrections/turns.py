"""What a person made of an agent's steps: which turns are examples to follow, and which proposals were refused. Pure.

An accepted turn is an example, a refused one is not. Where a person put something else in its place that is the
example, without a thought: the thought argued for another click. What nobody looked at is no example. A painted mask is
no turn of anybody's: what follows begins anew from it, as a ``Piece`` of its own.
"""

from __future__ import annotations

from dataclasses import dataclass

from napari_ibisagent.core.actions import Action, Terminate, Turn
from napari_ibisagent.core.episode import Author, Episode, Outcome, Step, Verdict
from napari_ibisagent.core.packed import PackedMask


@dataclass(frozen=True, slots=True)
class Judged:
    """A turn and the mask after it. ``learn``: it is an example to follow.

    ``refused``: what the policy wanted here and a person refused; of a step that was rejected it is the turn itself.
    """

    turn: Turn
    mask: PackedMask | None
    learn: bool
    refused: Turn | None = None

    @property
    def rejected(self) -> bool:
        """Whether nothing was done in this step."""
        return self.refused is self.turn


@dataclass(frozen=True, slots=True)
class Piece:
    """Turns that follow each other, from a mask that was there before (None: from nothing)."""

    given: PackedMask | None
    turns: tuple[Judged, ...]


def pieces_of(episode: Episode, answer: str | None = None) -> tuple[Piece, ...]:
    """The pieces of an episode as it is now; one that holds no turn is left out. ``answer``: the closing words."""
    pieces: list[Piece] = []
    given, turns = episode.given, list[Judged]()
    for step in episode.steps:
        if step.verdict is Verdict.REJECTED and (step.author is Author.HUMAN or not _done(step.proposed)):
            continue  # a person took their own click back, or there is nothing to show
        judged = _judged(step)
        if judged is None:
            pieces.append(Piece(given, tuple(turns)))
            given, turns = step.mask, []
        else:
            turns.append(judged)
    closing = _closing(episode, answer)
    turns += () if closing is None else (closing,)
    return tuple(piece for piece in (*pieces, Piece(given, tuple(turns))) if piece.turns)


def _judged(step: Step) -> Judged | None:
    """A step as an example; None where it is no turn: painted, or without an action."""
    wanted = Turn(step.thought, _done(step.proposed))
    if step.verdict is Verdict.REJECTED:
        return Judged(wanted, step.mask, learn=False, refused=wanted)
    done = _done(step.actions)
    if not done:
        return None
    if step.verdict is Verdict.OVERRIDDEN:
        return Judged(Turn("", done), step.mask, learn=True, refused=wanted if wanted.actions else None)
    if step.author is Author.HUMAN:
        return Judged(Turn("", done), step.mask, learn=True)
    return Judged(Turn(step.thought, done), step.mask, learn=step.verdict is Verdict.ACCEPTED)


def _done(actions: tuple[Action, ...]) -> tuple[Action, ...]:
    return tuple(action for action in actions if not isinstance(action, Terminate))


def _closing(episode: Episode, answer: str | None) -> Judged | None:
    """The turn that ends the episode, where the agent ended it, or a person who kept the mask.

    The command line makes the mask an object without asking. So the agent's end is an example only where a person had
    a hand in the last step as well.
    """
    kept = episode.kept_as is not None and episode.pending is None
    if episode.outcome is Outcome.DONE:
        done = [step.verdict for step in episode.steps if step.verdict is not Verdict.REJECTED]
        seen = done[-1:] != [Verdict.UNREVIEWED]
        return Judged(Turn(episode.thought, (Terminate(),), answer), episode.mask, learn=kept and seen)
    if kept and episode.outcome in (None, Outcome.CANCELLED):
        # Only in the window is a mask kept that no agent called done.
        return Judged(Turn("", (Terminate(),), answer), episode.mask, learn=True)
    return None
