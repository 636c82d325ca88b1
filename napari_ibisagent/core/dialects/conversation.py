"""From an episode to the messages that a model reads: one sentence and one picture a turn, of any dialect.

Without history a model reads the system prompt and the newest picture alone. With history the messages only grow: those
of one turn are the beginning of those of the next, so that a server's or our own cache of what was read still serves.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from string import Template
from typing import Literal

from napari_ibisagent.core.actions import Action, Discard, Revert, Turn
from napari_ibisagent.core.episode import Episode, Step, Verdict
from napari_ibisagent.core.overlay import Picture
from napari_ibisagent.core.packed import PackedMask

Role = Literal["system", "user", "assistant"]


@dataclass(frozen=True, eq=False, slots=True)
class Message:
    """One message; ``picture`` (H, W, 3) uint8 comes before the text."""

    role: Role
    text: str
    picture: Picture | None = None


@dataclass(frozen=True, slots=True)
class Templates:
    """The sentences that a model is spoken to with. ``$prompt`` stands for the user's sentence, ``$step`` for the turn.

    first, refine: with the first picture, and with each later one. mistake: what was wrong with the last answer, as
    ``$problem``. overridden, rejected, by_hand: what a person did since, put before ``refine``; ``$actions`` are the
    person's, in the dialect, and ``$reason`` is the person's. taken_back: the clicks that the agent has taken back so
    far, as ``$actions``; one that reads no history would make them again.
    """

    system: str
    first: str
    refine: str
    mistake: str
    overridden: str
    rejected: str
    by_hand: str
    taken_back: str = ""

    @classmethod
    def names(cls) -> tuple[str, ...]:
        """The names of all sentences."""
        return tuple(field.name for field in fields(cls))


@dataclass(frozen=True, slots=True)
class Mistake:
    """An answer that couldn't be taken, and a sentence that says why; it goes back to the model."""

    text: str
    problem: str


@dataclass(frozen=True, slots=True)
class Speech:
    """How a model is spoken to: its sentences, how a turn is written, and whether it reads what was before."""

    templates: Templates
    render: Callable[[Turn], str]
    history: bool = False


def messages(
    episode: Episode,
    look: Callable[[PackedMask | None], Picture],
    speech: Speech,
    mistake: Mistake | None = None,
) -> tuple[Message, ...]:
    """What a model reads before its next turn. ``look`` draws a mask over the slice, as the observation is drawn."""
    found = [Message("system", speech.templates.system)] if speech.templates.system else []
    steps = episode.steps
    if speech.history:
        for number, step in enumerate(steps):
            if step.by_hand:
                continue  # the next picture and sentence say so
            found.append(_asked(episode, number, look, speech))
            found.append(Message("assistant", speech.render(Turn(step.thought, step.proposed))))
    found.append(_asked(episode, len(steps), look, speech))
    if mistake is not None:
        found.append(Message("assistant", mistake.text))
        found.append(Message("user", Template(speech.templates.mistake).safe_substitute(problem=mistake.problem)))
    return tuple(found)


def _asked(episode: Episode, number: int, look: Callable[[PackedMask | None], Picture], speech: Speech) -> Message:
    """The user's message after ``number`` steps."""
    templates, before = speech.templates, episode.steps[:number]
    mask = before[-1].mask if before else episode.given
    sentence = templates.refine if before or mask is not None else templates.first
    words = list(dict.fromkeys(_word(step, speech) for step in _since_the_agent_spoke(before)))
    if lost := _taken_back(before):
        words.append(Template(templates.taken_back).safe_substitute(actions=_written(lost, speech)))
    words.append(Template(sentence).safe_substitute(prompt=episode.prompt, step=number + 1))
    return Message("user", "\n".join(word for word in words if word), look(mask))


def _since_the_agent_spoke(before: tuple[Step, ...]) -> tuple[Step, ...]:
    """The agent's last step and what a person did after it."""
    for back, step in enumerate(reversed(before), start=1):
        if not step.by_hand:
            return before[-back:]
    return before


def _taken_back(before: tuple[Step, ...]) -> tuple[Action, ...]:
    """The clicks and boxes that the agent has taken back itself, each once."""
    lost: dict[Action, None] = {}
    in_force: tuple[Action, ...] = ()
    for step in before:
        if not step.by_hand and any(isinstance(action, Revert | Discard) for action in step.actions):
            lost |= dict.fromkeys(action for action in in_force if action not in step.prompts)
        in_force = step.prompts
    return tuple(lost)


def _word(step: Step, speech: Speech) -> str:
    """What a model is told about a person's part in a step; empty where there was none."""
    templates = speech.templates
    if step.verdict is Verdict.REJECTED:
        return Template(templates.rejected).safe_substitute(reason=step.reason).strip()
    if step.verdict is Verdict.OVERRIDDEN:
        return Template(templates.overridden).safe_substitute(actions=_written(step.actions, speech))
    return templates.by_hand if step.by_hand else ""


def _written(actions: tuple[Action, ...], speech: Speech) -> str:
    return speech.render(Turn("", actions)) if actions else ""
