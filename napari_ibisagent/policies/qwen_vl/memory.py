"""What a model said for its turns, letter by letter.

What it reads of itself in a conversation is then what it wrote, and what was kept of it serves again.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace

from napari_ibisagent.core.actions import Turn
from napari_ibisagent.core.dialects.conversation import Speech
from napari_ibisagent.core.errors import DialectError


class Memory:
    """The texts of one episode's turns. Other turns are written as the dialect writes them."""

    def __init__(self, parse: Callable[[str], Turn], speech: Speech) -> None:
        self._parse, self._speech = parse, speech
        self._said: dict[Turn, list[str]] = {}

    def clear(self) -> None:
        """Forgets all."""
        self._said.clear()

    def remember(self, text: str) -> None:
        """Keeps an answer; one that can't be read as a turn is left out, since whoever asked reads it as well."""
        try:
            turn = self._parse(text)
        except DialectError:
            return
        self._said.setdefault(Turn(turn.thought, turn.actions), []).append(text)

    def speech(self) -> Speech:
        """How the model is spoken to, once: the same turn may have been said twice in other letters, so it counts."""
        told: Counter[Turn] = Counter()

        def render(turn: Turn) -> str:
            texts = self._said.get(turn)
            if texts is None:
                return self._speech.render(turn)
            told[turn] += 1
            return texts[min(told[turn], len(texts)) - 1]

        return replace(self._speech, render=render)
