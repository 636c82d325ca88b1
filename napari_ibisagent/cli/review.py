"""``--review``: a person at the terminal says what should become of each proposal."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

import typer

from napari_ibisagent.cli.console import describe
from napari_ibisagent.core.errors import CancelledError

if TYPE_CHECKING:
    from napari_ibisagent.agent.runner import Verdicts
    from napari_ibisagent.core.episode import EpisodeEvent


def reviewed(event: EpisodeEvent) -> Verdicts | None:
    """Asks the person at the terminal what should become of a proposal."""
    from napari_ibisagent.core.actions import Click
    from napari_ibisagent.core.episode import Accepted, Overridden, Proposed, Rejected

    if not isinstance(event, Proposed):
        return None
    answer = _ask(f"  {describe(event.actions)}  [a]ccept, [f]lip, [x] reject", "a").lower()
    if answer.startswith("f"):
        return Overridden(tuple(Click(a.x, a.y, not a.positive) if isinstance(a, Click) else a for a in event.actions))
    if answer.startswith("x"):
        return Rejected(answer[1:].strip() or _ask("  Why? In a few words, or Enter for no reason", ""))
    return Accepted()


def _ask(question: str, default: str) -> str:
    """An answer from the terminal. Raises CancelledError where nobody is there to answer."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # while nothing runs, Ctrl+C answers at once
    try:
        return str(typer.prompt(question, default=default, show_default=bool(default))).strip()
    except typer.Abort:
        raise CancelledError("Cancelled by the user.") from None
    finally:
        signal.signal(signal.SIGINT, before)
