"""The IBISAgent dialect: ``<think>…</think><action>…</action>``, with ``<answer>…</answer>`` at the end.

``parse`` is tolerant of what the published checkpoints and their training data differ in (DESIGN section 6):
either stop word, any white space and case, several clicks in an action, "point" or "click". It is strict about
what would move a click: a coordinate that isn't a plain number in [0, 1] is a DialectError and never a guess.
``Box (…)``, ``Revert`` and ``Discard`` are ours; published checkpoints never write them.
"""

from __future__ import annotations

import re

from napari_ibisagent.core.actions import Action, Box, Click, Discard, Revert, Terminate, Turn
from napari_ibisagent.core.dialects.tags import untagged
from napari_ibisagent.core.errors import DialectError

# A model's answer is some hundred characters; anything this long is a fault, not an answer.
_MAX_CHARACTERS = 100_000

_TAG = re.compile(r"<\s*(/?)\s*(think|action|answer)\s*>", re.IGNORECASE)
_ACTION = re.compile(
    r"\s*(?:(?P<sign>positive|negative)\s+(?:point|click)\s*:?\s*\((?P<point>[^()]*)\)"
    r"|box\s*:?\s*\((?P<box>[^()]*)\)"
    r"|(?P<revert>revert)"
    r"|(?P<discard>discard)"
    r"|(?P<stop>terminat(?:e|ion)))\s*(?:[.,;]|\band\b)?\s*",
    re.IGNORECASE,
)
_NUMBER = re.compile(r"\+?(?:\d+(?:\.\d*)?|\.\d+)(?:e[+-]?\d+)?", re.IGNORECASE)

_FRACTION = r"(0\.\d{4}|1\.0000)"
_PLACE = rf"\({_FRACTION}, {_FRACTION}\)"
_ONE = rf"((Positive|Negative) Point {_PLACE}|Box \({_FRACTION}, {_FRACTION}, {_FRACTION}, {_FRACTION}\))"
# What a server may hold a model to; ``parse`` reads far more.
GRAMMAR = (
    rf"<think>[^<]{{1,2000}}</think><action>({_ONE}(, {_ONE}){{0,7}}</action>"
    r"|Terminate</action><answer>[^<]{1,200}</answer>)"
)


def parse(text: str) -> Turn:
    """The turn that a policy's text stands for.

    Raises DialectError, and nothing else, whatever the text: no action, two action blocks, an unknown
    action, a coordinate that isn't a number in [0, 1].
    """
    if len(text) > _MAX_CHARACTERS:
        raise DialectError(f"The answer has {len(text)} characters; a turn has some hundred.", text[:200])
    blocks = _blocks(text)
    if "action" not in blocks:
        raise DialectError("The answer has no <action>…</action>. Write one action between these tags.", text)
    actions = _actions(blocks["action"], text)
    return Turn(blocks.get("think", "").strip(), actions, _stripped(blocks.get("answer")))


def render(turn: Turn) -> str:
    """The text of a turn; ``parse(render(turn)) == turn`` for coordinates of four decimals.

    Tags inside of the thought or answer would be read as the turn's own, so they are taken out.
    """
    parts = []
    if turn.thought.strip():
        parts.append(f"<think>{untagged(turn.thought, _TAG)}</think>")
    parts.append(f"<action>{', '.join(_render_action(a) for a in turn.actions)}</action>")
    if turn.answer is not None:
        parts.append(f"<answer>{untagged(turn.answer, _TAG)}</answer>")
    return "".join(parts)


def _stripped(text: str | None) -> str | None:
    return None if text is None else text.strip()


def _blocks(text: str) -> dict[str, str]:
    """The content of each tag. A closing tag that is missing (a cut answer) ends at the next tag or the end."""
    blocks: dict[str, str] = {}
    opened: str | None = None
    start = 0
    for tag in _TAG.finditer(text):
        name = tag.group(2).lower()
        if opened is not None and (name == opened or not tag.group(1)):
            if opened in blocks:
                raise DialectError(f"The answer has two <{opened}> blocks. Write one.", text)
            blocks[opened] = text[start : tag.start()]
            opened = None
        if not tag.group(1):
            opened, start = name, tag.end()
    if opened is not None:
        if opened == "action":
            raise DialectError("The <action> isn't closed: the answer was cut off.", text)
        blocks.setdefault(opened, text[start:])
    return blocks


def _actions(block: str, text: str) -> tuple[Action, ...]:
    actions: list[Action] = []
    position = 0
    while position < len(block):
        match = _ACTION.match(block, position)
        if match is None or match.end() == position:
            rest = block[position : position + 60].strip()
            if not rest:
                break
            raise DialectError(
                f"The action {rest!r} isn't known. Write Positive Point (x, y), Negative Point (x, y) or Terminate.",
                text,
            )
        actions.append(_action(match, text))
        position = match.end()
    if not actions:
        raise DialectError("The <action> is empty. Write a click or Terminate.", text)
    return tuple(actions)


def _action(match: re.Match[str], text: str) -> Action:
    if match["stop"]:
        return Terminate()
    if match["revert"]:
        return Revert()
    if match["discard"]:
        return Discard()
    try:
        if match["box"] is not None:
            x0, y0, x1, y1 = _numbers(match["box"], 4, text)
            return Box(x0, y0, x1, y1)
        x, y = _numbers(match["point"], 2, text)
        return Click(x, y, positive=match["sign"].lower() == "positive")
    except ValueError as error:
        raise DialectError(str(error), text) from error


def _numbers(block: str, count: int, text: str) -> list[float]:
    parts = [part.strip() for part in block.split(",")]
    if len(parts) != count or not all(_NUMBER.fullmatch(part) for part in parts):
        raise DialectError(f"({block}) isn't {count} numbers from 0 to 1 with a comma between them.", text)
    return [float(part) for part in parts]


def _render_action(action: Action) -> str:
    match action:
        case Click(x, y, positive):
            return f"{'Positive' if positive else 'Negative'} Point ({x:.4f}, {y:.4f})"
        case Box(x0, y0, x1, y1):
            return f"Box ({x0:.4f}, {y0:.4f}, {x1:.4f}, {y1:.4f})"
        case Revert():
            return "Revert"
        case Discard():
            return "Discard"
        case Terminate():
            return "Terminate"
