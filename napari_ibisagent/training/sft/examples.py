"""From a trajectory to examples: what the model would have read before each turn, and what it should have said.

The episode is folded again from the trajectory's steps, and read by the same code as in acting. Without history each
turn is an example of its own; with history the whole conversation is one, whose wrong turns carry no loss.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

from torch.utils.data import Dataset

from napari_ibisagent.core.actions import Terminate, Turn
from napari_ibisagent.core.dialects.conversation import Speech, messages
from napari_ibisagent.core.episode import (
    Accepted,
    Author,
    Episode,
    Prompted,
    Proposed,
    Rejected,
    Segmented,
    Thought,
    advance,
    begin,
)
from napari_ibisagent.core.errors import InputError
from napari_ibisagent.core.overlay import OverlayPreset, Picture, draw_mask
from napari_ibisagent.core.packed import PackedMask
from napari_ibisagent.core.view import Plane
from napari_ibisagent.policies.qwen_vl.loading import Opened
from napari_ibisagent.policies.qwen_vl.prompt import Reading, read_messages, unmarked
from napari_ibisagent.policies.qwen_vl.reader import closing
from napari_ibisagent.training.batches import Example
from napari_ibisagent.training.trajectories.form import CORRECTED, Trajectory, TrajectoryStep


@dataclass(frozen=True, slots=True)
class Told:
    """A turn with the episode before it, and whether it is to be learned."""

    episode: Episode
    turn: Turn
    learn: bool


def told(trajectory: Trajectory) -> Iterator[Told]:
    """The turns of a trajectory in order, each with the episode before it."""
    episode = begin(
        Prompted(
            *(trajectory.prompt, Plane(trajectory.source.plane), trajectory.source.index, trajectory.shape),
            given=trajectory.given,
        )
    )
    for step in trajectory.steps:
        yield Told(episode, step.turn, step.learn)
        if step.turn.terminates:
            return
        episode = _after(episode, step, refused=_refused(trajectory, episode, step))


class Maker:
    """Makes examples for one checkpoint, spoken to in one way."""

    def __init__(self, opened: Opened, speech: Speech, overlay: OverlayPreset) -> None:
        self._opened, self._speech, self._overlay = opened, speech, overlay

    def turns(self, trajectory: Trajectory) -> list[int]:
        """The turns (from 0) that have an example each. With history the last one to be learned stands for all."""
        learned = [n for n, step in enumerate(trajectory.steps) if step.learn]
        return learned[-1:] if self._speech.history else learned

    def example(self, trajectory: Trajectory, turn: int, picture: Picture) -> Example:
        """The example of a turn; ``picture`` (H, W, 3) uint8 without a mask."""

        def look(mask: PackedMask | None) -> Picture:
            return draw_mask(picture, None if mask is None else mask.array(), self._overlay)

        upto = list(islice(told(trajectory), turn + 1))
        needed = upto if self._speech.history else upto[-1:]
        readings = [read_messages(messages(one.episode, look, self._speech), self._opened) for one in needed]
        if self._speech.history:
            return _conversation(needed, readings, self._opened, self._speech)
        return Example.of(readings[0], _said(needed[0].turn, self._opened, self._speech))


class Shelf(Dataset[Example]):
    """Trajectories as a dataset: an item is an example, made when it is asked for.

    most: so many of them at most, taken evenly. Raises InputError where there is none.
    """

    def __init__(
        self,
        trajectories: Sequence[Trajectory],
        picture: Callable[[Trajectory], Picture],
        maker: Maker,
        most: int | None = None,
    ) -> None:
        self._trajectories, self._picture, self._maker = trajectories, picture, maker
        self._items = [(n, turn) for n, one in enumerate(trajectories) for turn in maker.turns(one)]
        if not self._items:
            raise InputError("None of these trajectories has a turn to learn from.")
        if most is not None:
            self._items = self._items[:: -(-len(self._items) // most)]

    def __len__(self) -> int:
        return len(self._items)

    def __getitem__(self, item: int) -> Example:
        n, turn = self._items[item]
        trajectory = self._trajectories[n]
        return self._maker.example(trajectory, turn, self._picture(trajectory))


def _said(turn: Turn, opened: Opened, speech: Speech) -> tuple[int, ...]:
    """The tokens of a turn, with the one that ends it."""
    text = unmarked(speech.render(turn))
    return (*opened.tokenizer(text, add_special_tokens=False)["input_ids"], closing(opened))


def _conversation(turns: list[Told], readings: list[Reading], opened: Opened, speech: Speech) -> Example:
    """One example of all turns. With history each reading begins with the one before and what was said then."""
    last = readings[-1]
    ids = (*last.ids, *_said(turns[-1].turn, opened, speech))
    learned = [False] * len(ids)
    for one, reading in zip(turns, readings, strict=True):
        said = _said(one.turn, opened, speech)
        start = len(reading.ids)
        if ids[:start] != reading.ids or ids[start : start + len(said)] != said:
            raise InputError(
                "The chat template of this checkpoint changes what was said before; train it with history=false."
            )
        if one.learn:
            learned[start : start + len(said)] = [True] * len(said)
    return Example(ids, tuple(learned), last.pictures)


def _refused(trajectory: Trajectory, episode: Episode, step: TrajectoryStep) -> bool:
    """Whether a person refused a turn: then nothing was done, and the agent is told of it in its next one.

    Only corrections hold such turns. The form has no word for them; but what the tool made of a click is another mask.
    """
    return trajectory.story == CORRECTED and not step.learn and step.mask == episode.mask


def _after(episode: Episode, step: TrajectoryStep, *, refused: bool) -> Episode:
    if step.turn.thought:
        episode = advance(episode, Thought(step.turn.thought))
    actions = tuple(a for a in step.turn.actions if not isinstance(a, Terminate))
    episode = advance(episode, Proposed(actions))
    if refused:
        return advance(episode, Rejected())
    episode = advance(episode, Accepted(Author.AGENT))
    if step.mask is None:
        raise InputError("A turn that clicks has no mask after it; make the trajectories again.")
    return advance(episode, Segmented(step.mask, 0.0))
