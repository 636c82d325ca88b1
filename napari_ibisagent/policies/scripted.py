"""A policy that says what it was told to: for tests, demonstrations and for replaying what a model once said."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from napari_ibisagent.core.errors import BackendError, InputError
from napari_ibisagent.core.protocols import Situation


class ScriptedPolicy:
    """Answers with the given texts, one a turn; BackendError when they are used up."""

    name = "scripted"
    dialect = "ibis"

    def __init__(self, turns: Sequence[str]) -> None:
        self._turns = list(turns)
        self._next = 0

    def act(self, situation: Situation) -> Iterator[str]:
        """The next text, a word at a time."""
        if self._next >= len(self._turns):
            raise BackendError(f"The script has {len(self._turns)} turns and all are used up. Add a Terminate.")
        text = self._turns[self._next]
        self._next += 1
        for piece in text.split(" "):
            yield piece + " "


def build(turns: Sequence[str] = ()) -> ScriptedPolicy:
    """A scripted policy; ``turns`` are texts in the IBISAgent dialect. Raises InputError without any."""
    if not turns:
        raise InputError("The scripted policy needs its turns; it is for programs and tests, not for the command line.")
    return ScriptedPolicy(turns)


def available() -> str:
    """Why the command line can't run it."""
    return "for programs and tests only: it says what it was given"
