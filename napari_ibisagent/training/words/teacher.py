"""Thoughts written anew by a served model, so that they vary more than patterns do. Optional, and checked.

Only words are sent, one thought at a time with the name of its target: no picture, no mask, no coordinates. So a
teacher can't know more than the thought says; where it says more all the same (a number, another place, another
structure, the other sign), or not what was asked for, the thought stays as it was and the refusal is counted.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from napari_ibisagent.core.dialects.conversation import Message
from napari_ibisagent.core.errors import InputError
from napari_ibisagent.core.knowledge import Structure
from napari_ibisagent.core.knowledge.lexicon import lexicon_of
from napari_ibisagent.io.chat import Server, served_model, stream
from napari_ibisagent.io.hosts import check_url, remote_allowed
from napari_ibisagent.io.keys import key_for
from napari_ibisagent.training.trajectories.form import Trajectory, TrajectoryStep

# What answers messages with a text.
Ask = Callable[[Sequence[Message]], str]

_MOST_WORDS = 60
_SYSTEM = (
    "You reword a sentence or two that an annotator thinks while outlining a structure in a medical image. Say the same"
    " in other words, in the first person and in plain English. Keep the name of the structure and every place in the"
    " picture that is named. Add nothing: no number, no other structure, no other place, no reason that isn't there."
    " Answer with the new wording only, without quotation marks."
)
_TAG = re.compile(r"[<>{}\[\]`]")
_NUMBERS = frozenset("two three four five six seven eight nine ten half third quarter percent percentage".split())
# Words for places, with those that mean the same.
_PLACES = {
    **dict.fromkeys(("upper", "top", "above", "uppermost", "topmost"), "upper"),
    **dict.fromkeys(("lower", "bottom", "below", "lowermost", "beneath", "under"), "lower"),
    **dict.fromkeys(("left", "leftmost", "leftward", "leftwards"), "left"),
    **dict.fromkeys(("right", "rightmost", "rightward", "rightwards"), "right"),
    **dict.fromkeys(("centre", "center", "middle", "midst", "central", "centrally"), "centre"),
}
_SIGNS = {"positive": "positive", "positively": "positive", "negative": "negative", "negatively": "negative"}


@dataclass(frozen=True, slots=True)
class Rewritten:
    """A trajectory with its thoughts written anew. ``refusals``: for each thought that was kept, why."""

    trajectory: Trajectory
    accepted: int
    refusals: tuple[str, ...]

    @property
    def refused(self) -> int:
        """How many thoughts stayed as they were."""
        return len(self.refusals)


def rewrite(
    trajectory: Trajectory, ask: Ask, knowledge: tuple[Structure, ...], most_words: int = _MOST_WORDS
) -> Rewritten:
    """The trajectory with each of its thoughts written anew by ``ask``, where what comes back may be used.

    Nothing else changes. Raises what ``ask`` raises (BackendError): a server that fails is no refusal.
    """
    steps: list[TrajectoryStep] = []
    refusals: list[str] = []
    for step in trajectory.steps:
        thought = step.turn.thought
        if not thought.strip():
            steps.append(step)
            continue
        said = _cleaned(ask(_messages(thought, trajectory.target)))
        reason = problem(said, thought, trajectory.target, knowledge, most_words)
        refusals += [reason] if reason else []
        steps.append(step if reason else replace(step, turn=replace(step.turn, thought=said)))
    asked = sum(bool(step.turn.thought.strip()) for step in trajectory.steps)
    return Rewritten(replace(trajectory, steps=tuple(steps)), asked - len(refusals), tuple(refusals))


def problem(
    said: str, thought: str, target: str, knowledge: tuple[Structure, ...], most_words: int = _MOST_WORDS
) -> str:
    """Why a rewritten thought can't be used, as a sentence; "" where it can."""
    words, before = _words(said, target), _words(thought, target)
    if not words:
        return "The answer is empty."
    if _TAG.search(said):
        return "The answer holds a tag or other marks of a program."
    if any(letter.isdigit() for letter in _without(said, target)) or (_NUMBERS & set(words)) - set(before):
        return "The answer names a number."
    if len(said.split()) > most_words:
        return f"The answer has more than {most_words} words."
    if added := _meant(words, _PLACES) - _meant(before, _PLACES):
        return f"The answer names another place ({', '.join(sorted(added))})."
    if _meant(before, _PLACES) and not _meant(words, _PLACES):
        return "The answer doesn't say where."
    if _meant(words, _SIGNS) - _meant(before, _SIGNS):
        return "The answer turns the click's sign."
    others = _named(said, knowledge) - _named(f"{thought} {target}", knowledge)
    return f"The answer names another structure ({', '.join(sorted(others))})." if others else ""


def served(
    url: str | None = None,
    model: str | None = None,
    allow_remote_host: bool | None = None,
    temperature: float = 0.7,
    seed: int = 0,
    max_new_tokens: int = 512,
    stall_s: float = 120.0,
    retries: int = 3,
) -> Ask:
    """A teacher behind a chat-completions server, found and guarded as the policy ``openai_compatible`` is.

    url, model, allow_remote_host: else from the environment (IBISAGENT_SERVER_URL, _MODEL, _ALLOW_REMOTE_HOST); the key
    comes from IBISAGENT_SERVER_KEY or the keyring. Raises InputError for an address that is none, or another machine's
    without leave; what is returned raises BackendError where the server fails.
    """
    address = url or os.environ.get("IBISAGENT_SERVER_URL", "")
    if not address:
        raise InputError("Which server? Give url=http://localhost:8000/v1, or set IBISAGENT_SERVER_URL.")
    allowed = remote_allowed(allow_remote_host, "IBISAGENT_SERVER_ALLOW_REMOTE_HOST")
    checked = check_url(address, allow_remote_host=allowed)
    server = Server(checked, key_for(checked, "IBISAGENT_SERVER_KEY"), stall_s=stall_s, retries=retries)
    names = [name] if (name := model or os.environ.get("IBISAGENT_SERVER_MODEL", "")) else []
    settings = {"max_tokens": max_new_tokens, "temperature": temperature, "seed": seed}

    def ask(messages: Sequence[Message]) -> str:
        if not names:
            names.append(served_model(server))
        return "".join(stream(server, names[0], messages, settings, {}))

    return ask


def _messages(thought: str, target: str) -> tuple[Message, Message]:
    return Message("system", _SYSTEM), Message("user", f"The structure: {target}\nReword this: {thought}")


def _cleaned(said: str) -> str:
    """An answer in one line, without what a reasoning model thought before it, and without quotation marks."""
    return " ".join(said.rpartition("</think>")[2].split()).strip("\"“”'")


def _without(text: str, target: str) -> str:
    return re.sub(re.escape(target), " ", text, flags=re.IGNORECASE)


def _words(text: str, target: str) -> list[str]:
    """The words of a text in lower case, without those of its target: the left of a left kidney is no place."""
    return re.findall(r"[a-z]+", _without(text, target).lower())


def _meant(words: Sequence[str], meanings: dict[str, str]) -> set[str]:
    return {meanings[word] for word in words if word in meanings}


def _named(text: str, knowledge: tuple[Structure, ...]) -> set[str]:
    """The names of all structures that a text names."""
    lexicon = lexicon_of(knowledge)
    sentence, at = lexicon.folded(text).split(), 0
    found: set[str] = set()
    while at < len(sentence):
        mention = lexicon.mention(sentence, at)
        found |= {one.name for one in mention.structures} if mention else set()
        at = mention.end if mention else at + 1
    return found
