"""``Episode``: the steps for one prompt, as a fold over events. ``advance(episode, event) -> episode`` is pure.

The events of one step, in order: ``Thought`` (may be missing), ``Proposed``, a verdict (``Accepted``,
``Overridden`` or ``Rejected``), ``Segmented``. ``Painted`` is a step of the human alone. ``Terminated`` and
``Failed`` end the episode; a further ``Proposed`` or ``Painted`` opens it again, since the user may always go on.

Undo and branches are not here: ``history`` keeps every state and moves between them.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum

import numpy as np

from napari_ibisagent.core import masks
from napari_ibisagent.core.actions import Action, Box, Click, PromptAction, Revert, Turn
from napari_ibisagent.core.errors import StateError
from napari_ibisagent.core.target import Target
from napari_ibisagent.core.view import Plane


class Author(StrEnum):
    """Who did something."""

    AGENT = "agent"
    HUMAN = "human"


class Verdict(StrEnum):
    """What became of a proposal. ``UNREVIEWED``: it went on without a person looking at it."""

    ACCEPTED = "accepted"
    OVERRIDDEN = "overridden"
    REJECTED = "rejected"
    UNREVIEWED = "unreviewed"


class Outcome(StrEnum):
    """How an episode ended."""

    DONE = "done"
    NOT_FOUND = "not_found"
    STEP_LIMIT = "step_limit"
    CANCELLED = "cancelled"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class PackedMask:
    """A mask in its text form: small, comparable, hashable. ``shape`` is (H, W) of the view."""

    shape: tuple[int, ...]
    runs: str

    @staticmethod
    def of(mask: masks.Mask) -> PackedMask:
        """The packed form of a mask of any shape."""
        return PackedMask(tuple(int(n) for n in mask.shape), masks.encode(mask))

    def array(self) -> masks.Mask:
        """The mask as a new array. Raises ValueError where the text is broken."""
        return masks.decode(self.runs, self.shape)


@dataclass(frozen=True, slots=True)
class Prompted:
    """The user's sentence, the slice that it is about, and the mask that was there already (or none)."""

    text: str
    plane: Plane
    index: int
    shape: tuple[int, int]
    target: Target | None = None
    given: PackedMask | None = None


@dataclass(frozen=True, slots=True)
class Thought:
    """What the policy thought before its next action."""

    text: str


@dataclass(frozen=True, slots=True)
class Proposed:
    """The actions that the policy wants to do; the tool waits for a verdict. ``ms`` is the policy's time."""

    actions: tuple[Action, ...]
    answer: str | None = None
    ms: float = 0.0
    author: Author = Author.AGENT


@dataclass(frozen=True, slots=True)
class Accepted:
    """The proposal goes to the tool. ``by`` the agent means that nobody reviewed it."""

    by: Author = Author.HUMAN


@dataclass(frozen=True, slots=True)
class Overridden:
    """A person replaced the proposed actions by their own."""

    actions: tuple[Action, ...]


@dataclass(frozen=True, slots=True)
class Rejected:
    """A person refused the proposal; the reason goes back to the policy as the user's word."""

    reason: str = ""


@dataclass(frozen=True, slots=True)
class Segmented:
    """What the tool made of the prompts: a mask, its score in [0, 1], and the tool's time."""

    mask: PackedMask
    score: float
    ms: float = 0.0


@dataclass(frozen=True, slots=True)
class Painted:
    """A person changed the mask by hand; ``mask`` is the whole result."""

    mask: PackedMask


@dataclass(frozen=True, slots=True)
class Terminated:
    """The episode ended in order."""

    outcome: Outcome
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Failed:
    """The policy or the tool failed; the reason says with what and what to do."""

    reason: str


EpisodeEvent = (
    Prompted | Thought | Proposed | Accepted | Overridden | Rejected | Segmented | Painted | Terminated | Failed
)


@dataclass(frozen=True, slots=True)
class Step:
    """One turn with its mask, its author and its verdict.

    ``proposed`` is what the policy wanted, ``actions`` what was done. ``prompts`` are all clicks and boxes in force
    after the step, ``prior`` is the mask that was given or painted before them: from these two the tool can
    recompute ``mask`` at any time.
    """

    thought: str
    proposed: tuple[Action, ...]
    actions: tuple[Action, ...]
    author: Author
    verdict: Verdict
    prompts: tuple[PromptAction, ...]
    prior: PackedMask | None
    mask: PackedMask | None
    score: float | None = None
    ms: float = 0.0
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Pending:
    """A proposal on its way through the gate and the tool."""

    turn: Turn
    ms: float
    author: Author
    verdict: Verdict | None = None
    actions: tuple[Action, ...] = ()


@dataclass(frozen=True, slots=True)
class Episode:
    """The steps for one prompt.

    ``given`` is the mask that the episode began with; ``thought`` is the newest one that no step holds yet, so
    at the end it is the agent's closing thought.
    """

    prompt: str
    plane: Plane
    index: int
    shape: tuple[int, int]
    target: Target | None = None
    given: PackedMask | None = None
    steps: tuple[Step, ...] = ()
    thought: str = ""
    pending: Pending | None = None
    outcome: Outcome | None = None
    reason: str = ""

    @property
    def mask(self) -> PackedMask | None:
        """The mask on the table."""
        return self.steps[-1].mask if self.steps else self.given

    @property
    def prompts(self) -> tuple[PromptAction, ...]:
        """All clicks and boxes in force."""
        return self.steps[-1].prompts if self.steps else ()

    @property
    def prior(self) -> PackedMask | None:
        """The mask that the prompts in force started from."""
        return self.steps[-1].prior if self.steps else self.given

    def mask_array(self) -> masks.Mask:
        """The mask on the table as a new (H, W) array, empty when there is none."""
        return np.zeros(self.shape, bool) if self.mask is None else self.mask.array()


def begin(event: Prompted) -> Episode:
    """The episode that a prompt opens."""
    return Episode(event.text, event.plane, event.index, event.shape, event.target, event.given)


def advance(episode: Episode, event: EpisodeEvent) -> Episode:
    """The episode after an event. Raises StateError when the event can't follow."""
    match event:
        case Prompted():
            raise StateError("A prompt opens a new episode; it can't continue one.")
        case Thought(text):
            return replace(episode, thought=text)
        case Proposed():
            return _proposed(episode, event)
        case Accepted(by):
            verdict = Verdict.ACCEPTED if by is Author.HUMAN else Verdict.UNREVIEWED
            return _judged(episode, verdict, None)
        case Overridden(actions):
            return _judged(episode, Verdict.OVERRIDDEN, actions)
        case Rejected(reason):
            return _rejected(episode, reason)
        case Segmented():
            return _segmented(episode, event)
        case Painted(mask):
            return _painted(episode, mask)
        case Terminated(outcome, reason):
            return replace(episode, pending=None, outcome=outcome, reason=reason)
        case Failed(reason):
            return replace(episode, pending=None, outcome=Outcome.FAILED, reason=reason)


def prompts_after(episode: Episode, actions: tuple[Action, ...]) -> tuple[PromptAction, ...]:
    """The clicks and boxes in force once ``actions`` are done. A revert first drops those of the last turn."""
    before = episode.prompts
    if any(isinstance(a, Revert) for a in actions):
        shorter = (s.prompts for s in reversed(episode.steps) if s.prior == episode.prior)
        before = next((p for p in shorter if len(p) < len(before) and before[: len(p)] == p), ())
    return before + tuple(a for a in actions if isinstance(a, Click | Box))


def _proposed(episode: Episode, event: Proposed) -> Episode:
    if episode.pending is not None:
        raise StateError("A proposal is already waiting for its verdict.")
    turn = Turn(episode.thought, event.actions, event.answer)
    pending = Pending(turn, event.ms, event.author)
    return replace(episode, pending=pending, thought="", outcome=None, reason="")


def _judged(episode: Episode, verdict: Verdict, actions: tuple[Action, ...] | None) -> Episode:
    pending = episode.pending
    if pending is None or pending.verdict is not None:
        raise StateError("There is no proposal to judge.")
    done = pending.turn.actions if actions is None else actions
    return replace(episode, pending=replace(pending, verdict=verdict, actions=done))


def _rejected(episode: Episode, reason: str) -> Episode:
    pending = episode.pending
    if pending is None or pending.verdict is not None:
        raise StateError("There is no proposal to reject.")
    step = Step(
        pending.turn.thought,
        pending.turn.actions,
        (),
        pending.author,
        Verdict.REJECTED,
        episode.prompts,
        episode.prior,
        episode.mask,
        episode.steps[-1].score if episode.steps else None,
        pending.ms,
        reason,
    )
    return replace(episode, steps=(*episode.steps, step), pending=None)


def _segmented(episode: Episode, event: Segmented) -> Episode:
    pending = episode.pending
    if pending is None or pending.verdict is None:
        raise StateError("A mask came without an accepted proposal.")
    if event.mask.shape != episode.shape:
        raise StateError(f"The mask has the shape {event.mask.shape}, the view {episode.shape}.")
    step = Step(
        pending.turn.thought,
        pending.turn.actions,
        pending.actions,
        Author.HUMAN if pending.verdict is Verdict.OVERRIDDEN else pending.author,
        pending.verdict,
        prompts_after(episode, pending.actions),
        episode.prior,
        event.mask,
        event.score,
        pending.ms + event.ms,
    )
    return replace(episode, steps=(*episode.steps, step), pending=None)


def _painted(episode: Episode, mask: PackedMask) -> Episode:
    if mask.shape != episode.shape:
        raise StateError(f"The painted mask has the shape {mask.shape}, the view {episode.shape}.")
    # Prompts from before the brush would undo it: the painted mask is the new start.
    step = Step("", (), (), Author.HUMAN, Verdict.ACCEPTED, (), mask, mask)
    return replace(episode, steps=(*episode.steps, step), pending=None, thought="", outcome=None, reason="")
