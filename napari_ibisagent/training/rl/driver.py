"""``Driver``: one episode played turn by turn from outside, for trainers that call the model themselves.

What plays is ``agent.runner.run``. It keeps nothing but the episode, so nothing has to be held open between two
answers, neither a thread nor a generator: where no answer is at hand the policy leaves the runner, and with the next
answer the runner goes on from the episode as it was.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from napari_ibisagent.agent.runner import Stage, run
from napari_ibisagent.agent.stop import DEFAULT_LIMITS, Limits
from napari_ibisagent.core.actions import PromptAction
from napari_ibisagent.core.dialects import dialect
from napari_ibisagent.core.dialects.conversation import Message, Speech, messages
from napari_ibisagent.core.episode import Episode, Outcome, Prompted, Proposed, Terminated, advance, begin
from napari_ibisagent.core.errors import BackendError, StateError
from napari_ibisagent.core.masks import Mask
from napari_ibisagent.core.protocols import Manner, OpenedView, Segmentation, Segmenter, Situation
from napari_ibisagent.core.view import View
from napari_ibisagent.core.volume import Volume
from napari_ibisagent.evaluation.rewards import RewardConfig, rewards
from napari_ibisagent.evaluation.turn_facts import facts
from napari_ibisagent.policies.qwen_vl.memory import Memory
from napari_ibisagent.training.trajectories.exercises import Exercise


@dataclass(frozen=True, eq=False, slots=True)
class Feedback:
    """What an answer led to.

    messages: all that the model reads before its next answer; empty once the episode is over. taken: whether the answer
    could be taken as a turn. outcome: how the episode ended, None as long as it goes on.
    """

    messages: tuple[Message, ...]
    taken: bool
    outcome: Outcome | None

    @property
    def done(self) -> bool:
        """Whether the episode is over."""
        return self.outcome is not None


class Driver:
    """Plays one exercise after another: ``begin``, then ``answer`` until it is over; ``reward`` at any time.

    With a speech of history the messages only grow: those of the next turn are those of this one, the answer, and one
    message more. Without repairs (``Manner``) that holds for every episode. Not for two threads at once.
    """

    def __init__(
        self,
        tool: Segmenter,
        speech: Speech,
        dialect_name: str = "ibis",
        manner: Manner | None = None,
        limits: Limits = DEFAULT_LIMITS,
    ) -> None:
        self._tool, self._dialect, self._limits = tool, dialect_name, limits
        self._manner = Manner() if manner is None else manner
        self._memory = Memory(dialect(dialect_name).parse, speech)
        self._playing: _Playing | None = None

    @property
    def episode(self) -> Episode:
        """The episode as it is. Raises StateError before ``begin``."""
        return self._at.episode

    @property
    def exercise(self) -> Exercise:
        """What is played. Raises StateError before ``begin``."""
        return self._at.exercise

    @property
    def answers(self) -> int:
        """How many answers were given."""
        at = self._at
        return len(at.taken) + len(at.waiting)

    def begin(self, exercise: Exercise) -> tuple[Message, ...]:
        """Begins an episode, whatever became of the last one; what the model reads first."""
        view = exercise.view
        volume = Volume.from_picture(view.image, modality=view.modality, name=exercise.name)
        episode = begin(Prompted(exercise.prompt, view.plane, view.index, view.shape, given=exercise.given))
        policy = _Answers(self._dialect, self._manner, ())
        stage = Stage(volume, view, policy, _WhenAsked(self._tool, view), exercise.window)
        self._memory.clear()
        self._playing = _Playing(exercise, stage, episode)
        return self._go_on().messages

    def answer(self, text: str) -> Feedback:
        """Plays the model's next answer.

        Raises StateError where the episode is over or hasn't begun, and BackendError where the tool fails: such an
        episode has no reward.
        """
        at = self._at
        if at.episode.outcome is not None:
            raise StateError("The episode is over. Begin another one.")
        at.waiting.append(text)
        return self._go_on()

    def rewards(self, config: RewardConfig) -> tuple[float, ...]:
        """One number an answer. Raises BackendError where the tool failed."""
        at = self._at
        truth = at.exercise.truth
        readable = [*at.taken, *(False for _ in at.waiting)]
        return rewards(facts(at.episode, truth, readable, silent=config.silent), not truth.any(), config)

    def reward(self, config: RewardConfig) -> float:
        """The sum over the answers so far. Raises BackendError where the tool failed."""
        return float(sum(self.rewards(config)))

    @property
    def _at(self) -> _Playing:
        if self._playing is None:
            raise StateError("No episode has begun.")
        return self._playing

    def _go_on(self) -> Feedback:
        """Runs until an answer is wanted or the episode is over."""
        at = self._at
        stage = replace(at.stage, policy=_Answers(self._dialect, self._manner, at.waiting))
        taken, situation = False, None
        try:
            for event in run(at.episode, stage, limits=self._limits):
                at.episode = advance(at.episode, event)
                taken = taken or isinstance(event, Proposed | Terminated)
        except _NoAnswerYetError as wanted:
            situation = wanted.situation
        if taken and at.waiting:
            self._memory.remember(at.waiting[-1])
        if taken or at.episode.outcome is not None:
            # What went back to the model first, because it couldn't be taken, belongs to the same turn.
            at.taken += [False] * (len(at.waiting) - taken) + [True] * taken
            at.waiting.clear()
        if taken and at.episode.outcome is Outcome.FAILED:
            raise BackendError(at.episode.reason)
        read = () if situation is None else self._read(situation)
        return Feedback(read, taken, at.episode.outcome)

    def _read(self, situation: Situation) -> tuple[Message, ...]:
        return messages(situation.episode, situation.look, self._memory.speech(), situation.mistake)


class _Playing:
    """An episode on its way. taken: for each answer before the turn at hand whether it could be taken; waiting: the
    answers to that turn."""

    def __init__(self, exercise: Exercise, stage: Stage, episode: Episode) -> None:
        self.exercise, self.stage, self.episode = exercise, stage, episode
        self.taken: list[bool] = []
        self.waiting: list[str] = []


class _NoAnswerYetError(Exception):
    """Leaves the runner, which catches none of it. Carries what there is to be read."""

    def __init__(self, situation: Situation) -> None:
        super().__init__("No answer is at hand.")
        self.situation = situation


class _Answers:
    """A policy that gives the answers to one turn, in order, and then leaves."""

    name = "in training"

    def __init__(self, dialect_name: str, manner: Manner, texts: Sequence[str]) -> None:
        self.dialect, self.manner = dialect_name, manner
        self._texts = iter(tuple(texts))

    def act(self, situation: Situation) -> Iterator[str]:
        """The next answer at once."""
        text = next(self._texts, None)
        if text is None:
            raise _NoAnswerYetError(situation)
        yield text


class _WhenAsked:
    """A view that the tool looks at when it is first asked: an episode may end without a click."""

    def __init__(self, tool: Segmenter, view: View) -> None:
        self._tool, self._view = tool, view
        self._opened: OpenedView | None = None

    def segment(self, prompts: Sequence[PromptAction], prior: Mask | None) -> Segmentation:
        """See ``OpenedView``."""
        if self._opened is None:
            self._opened = self._tool.open(self._view)
        return self._opened.segment(prompts, prior)
