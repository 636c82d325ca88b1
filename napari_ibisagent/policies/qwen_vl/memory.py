"""What a model said for its turns, letter by letter.

What it reads of itself in a conversation is then what it wrote, and what was kept of it serves again.
"""

from __future__ import annotations

from collections.abc import Callable

from napari_ibisagent.core.actions import Turn
from napari_ibisagent.core.errors import DialectError


class Memory:
    """The texts of one episode's turns. Other turns are written as the dialect writes them."""

    def __init__(self, parse: Callable[[str], Turn], render: Callable[[Turn], str]) -> None:
        self._parse, self._render = parse, render
        self._said: dict[Turn, str] = {}

    def clear(self) -> None:
        """Forgets all."""
        self._said.clear()

    def remember(self, text: str) -> None:
        """Keeps an answer; one that can't be read as a turn is left out, since whoever asked reads it as well."""
        try:
            turn = self._parse(text)
        except DialectError:
            return
        self._said[Turn(turn.thought, turn.actions)] = text

    def render(self, turn: Turn) -> str:
        """The text of a turn."""
        return self._said.get(turn) or self._render(turn)
