"""Many episodes at once, each played by the runner itself, with one model that answers all of them in a batch.

Every episode has a thread. Its policy hands in what it would read and waits; when all episodes that still run wait, the
model writes to all of them at once. So what is measured and trained on is exactly what the plugin plays: the same
messages, the same stop rules, the same tool.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial

import torch

from napari_ibisagent.agent.runner import Stage, run
from napari_ibisagent.agent.stop import DEFAULT_LIMITS, Limits
from napari_ibisagent.core.actions import PromptAction
from napari_ibisagent.core.dialects import dialect
from napari_ibisagent.core.dialects.conversation import Speech, messages
from napari_ibisagent.core.episode import Episode, Outcome, Prompted, begin
from napari_ibisagent.core.errors import BackendError, DialectError
from napari_ibisagent.core.masks import Mask
from napari_ibisagent.core.protocols import Manner, OpenedView, Segmentation, Segmenter, Situation
from napari_ibisagent.core.volume import Volume
from napari_ibisagent.policies.qwen_vl.chance import Choice
from napari_ibisagent.policies.qwen_vl.loading import Opened
from napari_ibisagent.policies.qwen_vl.memory import Memory
from napari_ibisagent.policies.qwen_vl.prompt import Reading, read_messages
from napari_ibisagent.policies.qwen_vl.reader import failing, text_of
from napari_ibisagent.training.batches import Positions
from napari_ibisagent.training.sampling import answers
from napari_ibisagent.training.trajectories.exercises import Exercise

# Enough for a nano agent's answer.
_SHORT = Choice(max_new_tokens=64)


@dataclass(frozen=True, slots=True)
class Said:
    """One answer: what was read, the tokens that were written, their text, and whether that can be parsed."""

    reading: Reading
    tokens: tuple[int, ...]
    text: str
    readable: bool


@dataclass(frozen=True, eq=False, slots=True)
class Played:
    """An episode at its end, with all that the model said."""

    exercise: Exercise
    episode: Episode
    said: tuple[Said, ...]

    @property
    def malformed(self) -> bool:
        """Whether the last answer couldn't be parsed, which ended the episode."""
        return bool(self.said) and not self.said[-1].readable


@dataclass
class _Asked:
    """A reading that waits for its answer."""

    number: int
    reading: Reading
    tokens: tuple[int, ...] | None = None


@dataclass
class _Desk:
    """Where episodes hand in their readings. ``running``: how many episodes aren't over.

    reading: one at a time makes one, since the pictures that were prepared last are kept for all.
    """

    running: int
    waiting: list[_Asked] = field(default_factory=list)
    changed: threading.Condition = field(default_factory=threading.Condition)
    reading: threading.Lock = field(default_factory=threading.Lock)
    failed: BaseException | None = None

    def ask(self, number: int, reading: Reading) -> tuple[int, ...]:
        """Waits for the answer. Raises BackendError where the model failed."""
        asked = _Asked(number, reading)
        with self.changed:
            self.waiting.append(asked)
            self.changed.notify_all()
            self.changed.wait_for(lambda: asked.tokens is not None or self.failed is not None)
        if asked.tokens is None:
            raise BackendError(f"The model failed: {self.failed}.") from self.failed
        return asked.tokens

    def fail(self, error: BaseException) -> None:
        """Nobody is answered any more."""
        with self.changed:
            self.failed = error
            self.changed.notify_all()

    def leave(self) -> None:
        """An episode is over."""
        with self.changed:
            self.running -= 1
            self.changed.notify_all()


class _Player:
    """The policy of one episode: what the desk answers."""

    name = "in training"

    def __init__(self, number: int, desk: _Desk, arena: Arena) -> None:
        self._number, self._desk, self._arena = number, desk, arena
        self.dialect = arena.dialect
        self.manner = Manner(arena.overlay, arena.repairs)
        self.said: list[Said] = []
        self._memory = Memory(dialect(arena.dialect).parse, arena.speech)

    def act(self, situation: Situation) -> Iterator[str]:
        """The whole answer at once."""
        opened = self._arena.opened
        read = messages(situation.episode, situation.look, self._memory.speech(), situation.mistake)
        with self._desk.reading:
            reading = read_messages(read, opened)
        tokens = self._desk.ask(self._number, reading)
        text = text_of(tokens, opened)
        self.said.append(Said(reading, tokens, text, _readable(text, self.dialect)))
        self._memory.remember(text)
        yield text


@dataclass(frozen=True, eq=False, slots=True)
class Arena:
    """Who plays, how it is spoken to, and with which tool. repairs: see ``Manner``."""

    opened: Opened
    speech: Speech
    tool: Segmenter
    dialect: str = "ibis"
    overlay: str = ""
    limits: Limits = DEFAULT_LIMITS
    choice: Choice = _SHORT
    threads: int = 2
    repairs: int = 0

    def play(self, exercises: Sequence[Exercise], seed: int = 0) -> list[Played]:
        """Plays every exercise once, all at the same time. The same seed gives the same episodes.

        Raises BackendError where the model or the tool fails: nothing is scored silently.
        """
        desk = _Desk(len(exercises))
        dice = torch.Generator(self.opened.device).manual_seed(seed)
        positions = Positions(self.opened)
        turn = threading.BoundedSemaphore(self.threads)
        views = {id(one): _Shared(partial(self.tool.open, one.view), turn) for one in exercises}
        with ThreadPoolExecutor(max(1, len(exercises))) as pool:
            try:
                # Where no further thread can be had, those that began would wait for the rest forever.
                futures = [pool.submit(self._episode, n, e, desk, views[id(e)]) for n, e in enumerate(exercises)]
                with failing(self.opened.device):
                    self._answer(desk, positions, dice)
            except BaseException as error:
                desk.fail(error)
                raise
            return [future.result() for future in futures]

    def _answer(self, desk: _Desk, positions: Positions, dice: torch.Generator) -> None:
        while True:
            with desk.changed:
                desk.changed.wait_for(lambda: len(desk.waiting) == desk.running)
                asked = sorted(desk.waiting, key=lambda one: one.number)
                desk.waiting.clear()
            if not asked:
                return
            written = answers([one.reading for one in asked], self.opened, positions, self.choice, dice)
            with desk.changed:
                for one, tokens in zip(asked, written, strict=True):
                    one.tokens = tokens
                desk.changed.notify_all()

    def _episode(self, number: int, exercise: Exercise, desk: _Desk, opened: _Shared) -> Played:
        try:
            view = exercise.view
            player = _Player(number, desk, self)
            stage = Stage(flat(exercise), view, player, opened, exercise.window)
            episode = begin(Prompted(exercise.prompt, view.plane, view.index, view.shape, given=exercise.given))
            play = run(episode, stage, limits=self.limits)
            while True:
                try:
                    next(play)
                except StopIteration as end:
                    episode = end.value
                    break
            played = Played(exercise, episode, tuple(player.said))
            if episode.outcome is Outcome.FAILED and not played.malformed:
                raise BackendError(episode.reason)
            return played
        finally:
            desk.leave()


class _Shared:
    """A view that a tool looks at once, when it is first asked by one of the episodes that begin with it.

    turn: so many views are worked on at once, as there are threads for; one by one thread at a time.
    """

    def __init__(self, open_: Callable[[], OpenedView], turn: threading.BoundedSemaphore) -> None:
        self._open, self._turn = open_, turn
        self._alone = threading.Lock()
        self._opened: OpenedView | None = None

    def segment(self, prompts: Sequence[PromptAction], prior: Mask | None) -> Segmentation:
        """See ``OpenedView``."""
        with self._alone, self._turn:
            if self._opened is None:
                self._opened = self._open()
            return self._opened.segment(prompts, prior)


def _readable(text: str, spoken: str) -> bool:
    try:
        dialect(spoken).parse(text)
    except DialectError:
        return False
    return True


def flat(exercise: Exercise) -> Volume:
    """The exercise's picture as a volume of one slice."""
    return Volume.from_picture(exercise.view.image, modality=exercise.view.modality, name=exercise.name)
