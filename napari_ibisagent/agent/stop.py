"""When an episode ends although the agent didn't say so (DESIGN section 6)."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from napari_ibisagent.core.actions import Action, Box, Click, Turn
from napari_ibisagent.core.episode import Episode, Outcome, Step, Terminated, Verdict

MAX_STEPS = 20
SAME_CLICK_LIMIT = 3


@dataclass(frozen=True, slots=True)
class Limits:
    """At most ``steps`` steps of the agent, and at most ``repeats`` times the same action."""

    steps: int = MAX_STEPS
    repeats: int = SAME_CLICK_LIMIT

    def at_most(self, turns: int | None) -> Limits:
        """The same with no more steps than so many; None: no limit."""
        return self if turns is None or turns >= self.steps else replace(self, steps=turns)


DEFAULT_LIMITS = Limits()
# What says that nothing was found is the outcome already; the reason is the rest.
_ABSENT = re.compile(r"^\s*(not[ _]found|not[ _]present|absent|no target)\s*[:.,]?\s*", re.IGNORECASE)


def stopped(episode: Episode, limits: Limits) -> Terminated | None:
    """The event that a stop rule gives before the next turn, or None to go on."""
    if turns_of(episode) >= limits.steps:
        return Terminated(Outcome.STEP_LIMIT, f"The limit of {limits.steps} steps was reached.")
    if _repeats(episode) >= limits.repeats:
        return Terminated(
            Outcome.STEP_LIMIT, f"The agent wanted the same click {limits.repeats} times; it doesn't get on."
        )
    return None


def turns_of(episode: Episode) -> int:
    """How many steps were the agent's turns: not a person's own clicks and strokes."""
    return sum(not step.by_hand for step in episode.steps)


def repeated(episode: Episode, turn: Turn) -> bool:
    """Whether a turn wants the very clicks of the agent's last step again."""
    return bool(turn.prompts) and bool(episode.steps) and _wanted(episode.steps[-1]) == turn.prompts


def _wanted(step: Step) -> tuple[Action, ...]:
    """The clicks and boxes that the agent wanted in a step; none where a person acted."""
    if step.by_hand or step.verdict is Verdict.OVERRIDDEN:
        return ()
    return tuple(a for a in step.proposed if isinstance(a, Click | Box))


def _repeats(episode: Episode) -> int:
    """How many of the last steps wanted the very same clicks; what was taken back in between doesn't make them others.

    An agent that reads no history would go round in such a circle until the limit of steps.
    """
    last: tuple[Action, ...] | None = None
    count = 0
    for step in reversed(episode.steps):
        wanted = _wanted(step)
        if not wanted and step.verdict is not Verdict.OVERRIDDEN and not step.by_hand:
            continue
        if not wanted or (last is not None and wanted != last):
            break
        last = wanted
        count += 1
    return count


def ending(absent: bool, has_mask: bool, answer: str | None) -> Terminated:
    """How an episode ends when the agent says that it is done."""
    if absent:
        return Terminated(Outcome.NOT_FOUND, _ABSENT.sub("", answer or "") or "The agent says that it is not there.")
    if not has_mask:
        return Terminated(Outcome.NOT_FOUND, answer or "The agent ended without a mask.")
    return Terminated(Outcome.DONE, answer or "")
