"""What the conversation shows, as plain values: one card for a sentence, a step, a proposal, an outcome, a warning.

Pure: the same session gives the same cards. Drawing them is ``conversation``'s part.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Kind(StrEnum):
    """What a card is about."""

    USER = "user"  # a sentence of the user's
    STEP = "step"  # a step that was done
    PROPOSAL = "proposal"  # a step that waits for its verdict
    OUTCOME = "outcome"  # how an episode ended
    WARNING = "warning"  # the user has to look at something
    NOTE = "note"  # a word of the program's own: help, what was kept, what can't be done
    QUESTION = "question"  # the program asks, the buttons answer


class Tone(StrEnum):
    """The colour of a card's edge."""

    NEUTRAL = "neutral"
    USER = "user"
    GOOD = "good"
    CARE = "care"
    BAD = "bad"


@dataclass(frozen=True, slots=True)
class Button:
    """A button of a card: the intent that it emits, its text (with the key in brackets), and a tool tip.

    ``equal``: one of several answers of which none is to stand out; else the first one of a row does.
    """

    intent: str
    text: str
    tip: str = ""
    equal: bool = False


@dataclass(frozen=True, slots=True)
class Card:
    """One card, from top to bottom: head (number, signs, facts), text, buttons; the menu lies behind "⋯".

    key: the same for the same thing, so that a card is changed and not made anew.
    episode, step: which one (from 0), or -1; what an intent of the card is about.
    number: the step's number from 1, or 0 where there is none.
    signs: "+" and "−" of the clicks, "▭" for a box, "↶" for a revert, "✎" for paint, in order.
    facts: short words for the head's second line, such as "score 0.82", "+12.4 cm²", "35 ms", "agent", "accepted".
    current: the state on the canvas is this card's.
    """

    key: str
    kind: Kind
    text: str = ""
    tone: Tone = Tone.NEUTRAL
    episode: int = -1
    step: int = -1
    number: int = 0
    title: str = ""
    signs: tuple[str, ...] = ()
    facts: tuple[str, ...] = ()
    buttons: tuple[Button, ...] = ()
    menu: tuple[Button, ...] = ()
    current: bool = False
