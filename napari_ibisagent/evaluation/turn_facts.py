"""``facts``: what each turn of a played episode did, as a reward sees it. What it is worth: ``rewards``.

Overlaps come from ``metrics.score``, so that reward and metric can't drift apart. An episode keeps the turns that
acted; the one that ended it, and answers that nobody could read, are told from its outcome and from ``readable``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from napari_ibisagent.core.actions import Box, Click
from napari_ibisagent.core.episode import Author, Episode, Outcome, PackedMask, Step, Verdict
from napari_ibisagent.core.errors import BackendError, StateError
from napari_ibisagent.core.masks import Mask, error_regions
from napari_ibisagent.evaluation.metrics import score

_ENDED = (Outcome.DONE, Outcome.NOT_FOUND)


@dataclass(frozen=True, slots=True)
class TurnFacts:
    """What one turn did.

    well_formed: it could be read and has a thought; where it ends the episode, a closing answer as well.
    iou_before, iou_after: the IoU with the truth of the mask on the table, 0 to 1; 1 where both are empty. has_mask:
    whether that mask has any pixel, after the turn. acts: whether it clicked, drew a box, reverted or discarded.
    clicks: how many it placed; hits: how many of them lie in an error of their sign, that is positive ones in what
    was missed and negative ones in what was spilled. A box is no click: no place is right or wrong for it.
    terminates: it ended the episode; says_absent: by saying that the target isn't there, or with nothing drawn.
    tool_failed: the tool gave no mask for it. Raises ValueError where the numbers contradict each other.
    """

    well_formed: bool
    iou_before: float
    iou_after: float
    has_mask: bool
    acts: bool = False
    clicks: int = 0
    hits: int = 0
    terminates: bool = False
    says_absent: bool = False
    tool_failed: bool = False

    def __post_init__(self) -> None:
        if not 0 <= self.hits <= self.clicks or (self.clicks and not self.acts):
            raise ValueError(f"A turn can't have {self.hits} hits of {self.clicks} clicks (acts: {self.acts}).")
        if not (0 <= self.iou_before <= 1 and 0 <= self.iou_after <= 1):
            raise ValueError(f"An IoU lies between 0 and 1, not {self.iou_before} and {self.iou_after}.")
        if self.says_absent and not self.terminates:
            raise ValueError("Only a turn that ends the episode can say that the target isn't there.")


def facts(
    episode: Episode, truth: Mask, readable: Sequence[bool] | None = None, *, silent: bool = False
) -> tuple[TurnFacts, ...]:
    """The turns of an episode that an agent played alone, in order; ``truth`` (H, W) bool of its view.

    ``readable``: for each answer of the policy, in order, whether it could be read; the facts are then one an answer.
    None: all could be, and the answer that ended the episode did nothing else. ``silent``: a failure of the tool
    becomes a turn, as the published reward has it; the click that failed is lost with its proposal.

    Raises BackendError where the tool or the policy failed, StateError where a person took part or the answers don't
    fit the episode, GridError where the truth has another shape than the view.
    """
    if not all(_the_agents_own(step) for step in episode.steps):
        raise StateError("A person worked on this episode. Only what an agent did alone can be rewarded.")
    turns = _of_steps(episode, truth)
    ended = episode.outcome in _ENDED
    answers = [True] * (len(turns) + ended) if readable is None else list(readable)
    without_step = sum(answers) - len(turns)
    if without_step not in (0, 1) or (without_step and not ended and episode.outcome is not Outcome.FAILED):
        raise StateError(f"{sum(answers)} answers that could be read don't fit an episode of {len(turns)} steps.")
    now = turns[-1] if turns else _start(episode, truth)
    if ended:
        turns = _closed(episode, turns, now, own_answer=without_step == 1)
    elif episode.outcome is Outcome.FAILED and (without_step or not answers or answers[-1]):
        # Where no answer is left over the policy itself failed, and there is nothing to be scored.
        if not silent or not (without_step or readable is None):
            raise BackendError(f"An episode in which the tool or the policy failed has no reward: {episode.reason}")
        turns.append(replace(_idle(now), well_formed=True, acts=True, tool_failed=True))
        answers += [True] * (readable is None)
    return _in_order(turns, answers, _start(episode, truth))


def _the_agents_own(step: Step) -> bool:
    return step.author is Author.AGENT and step.verdict in (Verdict.ACCEPTED, Verdict.UNREVIEWED)


def _of_steps(episode: Episode, truth: Mask) -> list[TurnFacts]:
    turns = []
    before = _start(episode, truth).iou_after
    for number, step in enumerate(episode.steps):
        mask = _array(step.mask, episode.shape)
        after = score(mask, truth, None).iou
        clicks = [action for action in step.actions if isinstance(action, Click)]
        missed, spilled = error_regions(_clicked_on(episode, number), truth)
        hits = sum(_lies_in(click, missed if click.positive else spilled) for click in clicks)
        turns.append(
            TurnFacts(bool(step.thought), before, after, bool(mask.any()), acts=True, clicks=len(clicks), hits=hits)
        )
        before = after
    return turns


def _clicked_on(episode: Episode, number: int) -> Mask:
    """The mask (H, W) that the clicks of step ``number`` (from 0) were added to: after its own revert or discard."""
    step = episode.steps[number]
    own = sum(isinstance(action, Click | Box) for action in step.actions)
    before = step.prompts[: len(step.prompts) - own]
    same = (s.mask for s in reversed(episode.steps[:number]) if s.prior == step.prior and s.prompts == before)
    return _array(next(same, step.prior), episode.shape)


def _lies_in(click: Click, region: Mask) -> bool:
    """Whether the pixel under a click, as ``View.pixel_of`` has it, belongs to a region (H, W)."""
    height, width = region.shape
    return bool(region[min(int(click.y * height), height - 1), min(int(click.x * width), width - 1)])


def _start(episode: Episode, truth: Mask) -> TurnFacts:
    """A turn that did nothing, on the mask that the episode began with."""
    mask = _array(episode.given, episode.shape)
    overlap = score(mask, truth, None).iou
    return TurnFacts(False, overlap, overlap, bool(mask.any()))


def _idle(last: TurnFacts) -> TurnFacts:
    """An answer that nobody could read, after ``last``: everything stays as it was."""
    return TurnFacts(False, last.iou_after, last.iou_after, last.has_mask)


def _closed(episode: Episode, turns: list[TurnFacts], now: TurnFacts, *, own_answer: bool) -> list[TurnFacts]:
    """The turns with the end in them: an answer of its own, or said along with the last step."""
    if not own_answer and not turns:
        raise StateError("The episode has ended, but no answer that could be read says so.")
    absent = episode.outcome is Outcome.NOT_FOUND
    # The outcome "not found" has its reason whatever the agent wrote; "done" has the answer, which may be empty.
    answered = absent or bool(episode.reason)
    thought = bool(episode.thought) if own_answer else now.well_formed
    closing = replace(
        _idle(now) if own_answer else now, well_formed=thought and answered, terminates=True, says_absent=absent
    )
    return [*turns, closing] if own_answer else [*turns[:-1], closing]


def _in_order(turns: list[TurnFacts], answers: Sequence[bool], start: TurnFacts) -> tuple[TurnFacts, ...]:
    """The turns with the answers that couldn't be read in their places."""
    rest = iter(turns)
    ordered: list[TurnFacts] = []
    for read in answers:
        last = ordered[-1] if ordered else start
        ordered.append(next(rest) if read else _idle(last))
    return tuple(ordered)


def _array(mask: PackedMask | None, shape: tuple[int, int]) -> Mask:
    return np.zeros(shape, bool) if mask is None else mask.array()
