"""``Episode``: the steps for one prompt, as a fold over events. ``advance(episode, event) -> episode`` is pure.

The events of one step, in order: ``Thought`` (may be missing), ``Proposed``, any number of ``Amended``, a verdict
(``Accepted``, ``Overridden`` or ``Rejected``), ``Segmented``. ``Painted`` is a step of the human alone.
``StepDeleted`` takes one out again. ``Terminated`` and ``Failed`` end the episode; any further event opens it again,
since the user may always go on. ``CarryBegun``, ``Carried``, ``CarryEnded`` carry the mask on the table through the
volume (``carrying``); another mask on the table ends what was carried from the one before.

Undo and branches are not here: ``history`` keeps every state and moves between them.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum

import numpy as np

from napari_ibisagent.core import masks, packed
from napari_ibisagent.core.actions import Action, Box, Click, Discard, PromptAction, Revert, Turn
from napari_ibisagent.core.carrying import Carried, CarryBegun, CarryEnded, Carrying, Extent, begun, further
from napari_ibisagent.core.errors import StateError
from napari_ibisagent.core.target import Target
from napari_ibisagent.core.view import Plane

PackedMask = packed.PackedMask


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
class Prompted:
    """The user's sentence, the slice that it is about, and the mask that was there already (or none).

    An empty sentence: a person began by hand, and the agent wasn't asked.
    ``located`` False: the slice is the one that was shown, and a ``Located`` is still to come.
    ``extent``: whether the mask of that slice is all that is wanted, or is to be carried through the volume.
    """

    text: str
    plane: Plane
    index: int
    shape: tuple[int, int]
    target: Target | None = None
    given: PackedMask | None = None
    located: bool = True
    extent: Extent = Extent.SLICE


@dataclass(frozen=True, slots=True)
class Located:
    """The slice that was chosen for the sentence, and the target as it was understood."""

    index: int
    shape: tuple[int, int]
    target: Target | None = None


@dataclass(frozen=True, slots=True)
class Thought:
    """What the policy thought before its next action."""

    text: str


@dataclass(frozen=True, slots=True)
class Proposed:
    """The actions that the policy wants to do; the tool waits for a verdict. ``ms`` is the policy's time.

    ``answer``: the agent's closing words where it wants to end after this step (may be empty), else None.
    """

    actions: tuple[Action, ...]
    answer: str | None = None
    ms: float = 0.0
    author: Author = Author.AGENT


@dataclass(frozen=True, slots=True)
class Amended:
    """A person moved or flipped the proposed clicks; the proposal still waits for its verdict."""

    actions: tuple[Action, ...]


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
class StepDeleted:
    """A person took out step ``number`` (from 1). ``again``: what the tool makes of the later steps without it.

    ``again`` has one entry for each later step that went to the tool, in order.
    """

    number: int
    again: tuple[Segmented, ...] = ()


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
    Prompted
    | Located
    | Thought
    | Proposed
    | Amended
    | Accepted
    | Overridden
    | Rejected
    | Segmented
    | Painted
    | StepDeleted
    | Terminated
    | Failed
    | CarryBegun
    | Carried
    | CarryEnded
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

    @property
    def by_hand(self) -> bool:
        """Whether it is a person's own click, box or stroke, and no word on a proposal of the agent's."""
        return self.author is Author.HUMAN and self.verdict is Verdict.ACCEPTED


@dataclass(frozen=True, slots=True)
class Pending:
    """A proposal on its way through the gate and the tool. ``actions``: the turn's, or what a person made of them."""

    turn: Turn
    ms: float
    author: Author
    verdict: Verdict | None = None
    actions: tuple[Action, ...] = ()

    @property
    def amended(self) -> bool:
        """Whether a person changed what the policy wanted."""
        return self.actions != self.turn.actions


@dataclass(frozen=True, slots=True)
class Episode:
    """The steps for one prompt.

    ``given`` is the mask that the episode began with; ``thought`` is the newest one that no step holds yet, so
    at the end it is the agent's closing thought. ``kept_as`` is the label value of the object that the mask on
    the table was made, if it was. ``carrying``: the slices that the mask on the table was carried to.
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
    located: bool = True
    kept_as: int | None = None
    extent: Extent = Extent.SLICE
    carrying: Carrying | None = None

    @property
    def under_way(self) -> bool:
        """Whether its mask is being carried through the volume; so it stays where that was interrupted."""
        return self.carrying is not None and self.carrying.end is None

    @property
    def waits(self) -> bool:
        """Whether a proposal waits for its verdict."""
        return self.pending is not None and self.pending.verdict is None

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
    return Episode(
        *(event.text, event.plane, event.index, event.shape, event.target, event.given),
        located=event.located,
        extent=event.extent,
    )


def advance(episode: Episode, event: EpisodeEvent) -> Episode:
    """The episode after an event. Raises StateError when the event can't follow."""
    if episode.under_way and not isinstance(event, Carried | CarryEnded):
        raise StateError("The mask is still being carried through the volume. End that first.")
    match event:
        case Prompted():
            raise StateError("A prompt opens a new episode; it can't continue one.")
        case Located():
            return _located(episode, event)
        case Thought(text):
            return replace(episode, thought=text, outcome=None, reason="")
        case Proposed():
            return _proposed(episode, event)
        case Amended() | Accepted() | Overridden() | Rejected():
            return _judged(episode, event)
        case Segmented():
            return _segmented(episode, event)
        case Painted(mask):
            return _painted(episode, mask)
        case StepDeleted(number, again):
            return without_step(episode, number, again)
        case Terminated(outcome, reason):
            return replace(episode, pending=None, outcome=outcome, reason=reason)
        case Failed(reason):
            return replace(episode, pending=None, outcome=Outcome.FAILED, reason=reason)
        case CarryBegun() | Carried() | CarryEnded():
            return _through_the_volume(episode, event)


def _through_the_volume(episode: Episode, event: CarryBegun | Carried | CarryEnded) -> Episode:
    if isinstance(event, CarryBegun):
        return _carried_on(episode, event)
    return replace(episode, carrying=further(episode.carrying, event, episode.index, episode.shape))


def prior_after(episode: Episode, actions: tuple[Action, ...]) -> PackedMask | None:
    """The mask that the prompts in force start from once ``actions`` are done: none after a discard."""
    return None if any(isinstance(a, Discard) for a in actions) else episode.prior


def prompts_after(episode: Episode, actions: tuple[Action, ...]) -> tuple[PromptAction, ...]:
    """The clicks and boxes in force once ``actions`` are done. A revert first drops those of the last turn, a discard
    all of them."""
    before = episode.prompts
    if any(isinstance(a, Discard) for a in actions):
        before = ()
    elif any(isinstance(a, Revert) for a in actions):
        shorter = (s.prompts for s in reversed(episode.steps) if s.prior == episode.prior)
        before = next((p for p in shorter if len(p) < len(before) and before[: len(p)] == p), ())
    return before + tuple(a for a in actions if isinstance(a, Click | Box))


def before_step(episode: Episode, number: int) -> Episode:
    """The episode as it was before step ``number`` (from 1), open again. Raises StateError where there is none."""
    if not 1 <= number <= len(episode.steps):
        raise StateError(f"The episode has no step {number}; it has {len(episode.steps)}.")
    return replace(
        _reopened(episode), steps=episode.steps[: number - 1], thought="", pending=None, kept_as=None, carrying=None
    )


def again(episode: Episode, step: Step, result: Segmented | None) -> Episode:
    """``step`` once more, on another episode. ``result``: the tool's new mask where the step went to the tool."""
    if step.verdict is Verdict.REJECTED:
        prompts, prior, mask, score = episode.prompts, episode.prior, episode.mask, _last_score(episode)
    elif result is None:
        prompts, prior, mask, score = (), step.prior, step.mask, None
    else:
        _fitting(episode, result.mask)
        prompts, prior = prompts_after(episode, step.actions), prior_after(episode, step.actions)
        mask, score = result.mask, result.score
    redone = replace(step, prompts=prompts, prior=prior, mask=mask, score=score)
    return replace(episode, steps=(*episode.steps, redone), carrying=None)


def went_to_tool(step: Step) -> bool:
    """Whether the step's mask came from the tool: it was neither rejected nor painted."""
    return step.verdict is not Verdict.REJECTED and bool(step.proposed or step.actions)


def without_step(episode: Episode, number: int, results: tuple[Segmented, ...]) -> Episode:
    """The episode without step ``number``. Raises StateError where the results don't fit the later steps."""
    later = episode.steps[number:]
    if len(results) != sum(went_to_tool(step) for step in later):
        raise StateError(f"{len(results)} masks don't fit the steps after step {number}.")
    rest = iter(results)
    shorter = before_step(episode, number)
    for step in later:
        shorter = again(shorter, step, next(rest) if went_to_tool(step) else None)
    return shorter


def _located(episode: Episode, event: Located) -> Episode:
    if episode.steps or episode.pending is not None:
        raise StateError("An episode can't move to another slice once it has steps.")
    same = event.index == episode.index and event.shape == episode.shape
    return replace(
        _reopened(episode),
        index=event.index,
        shape=event.shape,
        target=event.target,
        given=episode.given if same else None,
        thought="",
    )


def _proposed(episode: Episode, event: Proposed) -> Episode:
    if episode.pending is not None:
        raise StateError("A proposal is already waiting for its verdict.")
    # What the agent thought last isn't a person's reason for their own click.
    thought = episode.thought if event.author is Author.AGENT else ""
    turn = Turn(thought, event.actions, event.answer)
    pending = Pending(turn, event.ms, event.author, actions=event.actions)
    return replace(_reopened(episode), pending=pending, thought="")


def _reopened(episode: Episode) -> Episode:
    return replace(episode, outcome=None, reason="", located=True)


def _judged(episode: Episode, event: Amended | Accepted | Overridden | Rejected) -> Episode:
    pending = episode.pending
    if pending is None or pending.verdict is not None:
        raise StateError("There is no proposal to judge.")
    match event:
        case Amended(actions):
            judged = replace(pending, actions=actions)
        case Accepted(by):
            alone = Verdict.ACCEPTED if by is Author.HUMAN else Verdict.UNREVIEWED
            judged = replace(pending, verdict=Verdict.OVERRIDDEN if pending.amended else alone)
        case Overridden(actions):
            judged = replace(pending, verdict=Verdict.OVERRIDDEN, actions=actions)
        case Rejected(reason):
            return _rejected(episode, pending, reason)
    return replace(episode, pending=judged)


def _fitting(episode: Episode, mask: PackedMask) -> None:
    """Raises StateError where a mask isn't one of the episode's view."""
    if mask.shape != episode.shape:
        raise StateError(f"The mask has the shape {mask.shape}, the view {episode.shape}.")


def _last_score(episode: Episode) -> float | None:
    return episode.steps[-1].score if episode.steps else None


def _rejected(episode: Episode, pending: Pending, reason: str) -> Episode:
    step = Step(
        pending.turn.thought,
        pending.turn.actions,
        (),
        pending.author,
        Verdict.REJECTED,
        episode.prompts,
        episode.prior,
        episode.mask,
        _last_score(episode),
        pending.ms,
        reason,
    )
    return replace(episode, steps=(*episode.steps, step), pending=None)


def _segmented(episode: Episode, event: Segmented) -> Episode:
    pending = episode.pending
    if pending is None or pending.verdict is None:
        raise StateError("A mask came without an accepted proposal.")
    _fitting(episode, event.mask)
    step = Step(
        pending.turn.thought,
        pending.turn.actions,
        pending.actions,
        Author.HUMAN if pending.verdict is Verdict.OVERRIDDEN else pending.author,
        # A person who moves their own click overrides nobody.
        Verdict.ACCEPTED if pending.author is Author.HUMAN else pending.verdict,
        prompts_after(episode, pending.actions),
        prior_after(episode, pending.actions),
        event.mask,
        event.score,
        pending.ms + event.ms,
    )
    return replace(episode, steps=(*episode.steps, step), pending=None, kept_as=None, carrying=None)


def _carried_on(episode: Episode, event: CarryBegun) -> Episode:
    if episode.pending is not None:
        raise StateError("A proposal is still under way; a mask can be carried on once that is over.")
    if not episode.mask_array().any():
        raise StateError("There is no mask to carry through the volume.")
    carrying = begun(event, episode.index, episode.kept_as)
    return replace(episode, carrying=carrying, kept_as=None)


def _painted(episode: Episode, mask: PackedMask) -> Episode:
    _fitting(episode, mask)
    # Prompts from before the brush would undo it: the painted mask is the new start.
    step = Step("", (), (), Author.HUMAN, Verdict.ACCEPTED, (), mask, mask)
    steps = (*episode.steps, step)
    return replace(_reopened(episode), steps=steps, pending=None, thought="", kept_as=None, carrying=None)
