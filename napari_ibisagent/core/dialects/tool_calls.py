"""The tool-call dialect: ``<tool_call>{"name": …, "arguments": {…}}</tool_call>``, as MedSAM-Agent speaks it.

``add_bbox`` {"bbox_2d": [x0, y0, x1, y1]}, ``add_point`` {"point_2d": [x, y], "point_type": "positive" | "negative"}
and ``stop_action`` {}, with integers from 0 to 999 across the picture (DESIGN section 6). What stands before the first
call is the thought. Ours are ``revert_action``, ``discard_mask``, and an ``answer`` of ``stop_action``; published
checkpoints never write them. As in ``ibis``, a number that isn't one in the range is a DialectError and never a guess.
"""

from __future__ import annotations

import json
import re
from typing import Any

from napari_ibisagent.core.actions import Action, Box, Click, Discard, Revert, Terminate, Turn
from napari_ibisagent.core.dialects.tags import untagged
from napari_ibisagent.core.errors import DialectError

_MAX_CHARACTERS = 100_000
# Coordinates run from 0 at one edge to this at the other.
LAST = 999

_CALL = re.compile(r"<\s*tool_call\s*>(.*?)(?:<\s*/\s*tool_call\s*>|(?=<\s*tool_call\s*>)|\Z)", re.I | re.S)
_TAG = re.compile(r"<\s*/?\s*(?:tool_call|think)\s*>", re.IGNORECASE)
_CORNERS, _POINT, _SIGN, _ANSWER = "bbox_2d", "point_2d", "point_type", "answer"

_WHOLE = r"(0|[1-9]\d{0,2})"
_POINT_CALL = (
    rf'"add_point", "arguments": \{{"{_POINT}": \[{_WHOLE}, {_WHOLE}\], "{_SIGN}": "(positive|negative)"\}}\}}'
)
_BOX_CALL = rf'"add_bbox", "arguments": \{{"{_CORNERS}": \[{_WHOLE}(, {_WHOLE}){{3}}\]\}}\}}'
_STOP_CALL = rf'"stop_action", "arguments": \{{("{_ANSWER}": "[^"\\<]{{1,200}}")?\}}\}}'
# What a server may hold a model to; ``parse`` reads more.
GRAMMAR = rf'[^<]{{1,2000}}\n<tool_call>\n\{{"name": ({_POINT_CALL}|{_BOX_CALL}|{_STOP_CALL})\n</tool_call>'


def parse(text: str) -> Turn:
    """The turn that a policy's text stands for.

    Raises DialectError, and nothing else, whatever the text: no call, a call that isn't JSON, an unknown tool, a
    coordinate that isn't a whole number from 0 to 999.
    """
    if len(text) > _MAX_CHARACTERS:
        raise DialectError(f"The answer has {len(text)} characters; a turn has some hundred.", text[:200])
    calls = list(_CALL.finditer(text))
    if not calls:
        raise DialectError(
            'The answer has no <tool_call>{"name": …, "arguments": {…}}</tool_call>. Call one tool.', text
        )
    thought = _TAG.sub("", text[: calls[0].start()]).strip()
    actions: list[Action] = []
    answer: str | None = None
    for call in calls:
        action, said = _action(_call(call[1], text), text)
        actions.append(action)
        answer = answer if said is None else said
    return Turn(thought, tuple(actions), answer)


def render(turn: Turn) -> str:
    """The text of a turn; ``parse(render(turn)) == turn`` for coordinates that are multiples of 1/999.

    Tags inside of the thought would be read as the turn's own, so they are taken out. An answer needs a Terminate.
    """
    lines = [thought] if (thought := untagged(turn.thought, _TAG)) else []
    for action in turn.actions:
        # A tag inside of the answer would end the call.
        call = json.dumps(_rendered(action, turn.answer), ensure_ascii=False).replace("<", r"\u003c")
        lines.append(f"<tool_call>\n{call}\n</tool_call>")
    return "\n".join(lines)


def _call(block: str, text: str) -> dict[str, Any]:
    try:
        call = json.loads(block)
    except (ValueError, RecursionError) as error:
        raise DialectError(f"The tool call {block.strip()[:60]!r} isn't JSON ({error}).", text) from error
    if not isinstance(call, dict) or not isinstance(call.get("name"), str):
        raise DialectError('A tool call needs the form {"name": …, "arguments": {…}}.', text)
    if not isinstance(call.get("arguments", {}), dict):
        raise DialectError(f"The arguments of {call['name']} aren't a JSON object.", text)
    return call


def _action(call: dict[str, Any], text: str) -> tuple[Action, str | None]:
    """The action of a call, and the closing answer that came with it."""
    arguments = call.get("arguments", {})
    match call["name"].strip().lower():
        case "add_bbox":
            return _box(_numbers(arguments, _CORNERS, 4, text), text), None
        case "add_point":
            x, y = _numbers(arguments, _POINT, 2, text)
            return Click(x, y, _sign(arguments.get(_SIGN), text)), None
        case "stop_action":
            answer = arguments.get(_ANSWER)
            return Terminate(), answer.strip() if isinstance(answer, str) else None
        case "revert_action":
            return Revert(), None
        case "discard_mask":
            return Discard(), None
    known = "add_bbox, add_point and stop_action"
    raise DialectError(f"There is no tool called {call['name'][:60]!r}. The tools are {known}.", text)


def _box(corners: list[float], text: str) -> Box:
    try:
        return Box(*corners)
    except ValueError as error:
        raise DialectError(str(error), text) from error


def _sign(value: Any, text: str) -> bool:
    word = value.strip().lower() if isinstance(value, str) else value
    if word not in ("positive", "negative"):
        raise DialectError(f"The {_SIGN} of add_point isn't known. Write positive or negative.", text)
    return bool(word == "positive")


def _numbers(arguments: dict[str, Any], key: str, count: int, text: str) -> list[float]:
    values = arguments.get(key)
    if not isinstance(values, list) or len(values) != count or not all(_in_range(value) for value in values):
        raise DialectError(f"{key} needs {count} whole numbers from 0 to {LAST} across the picture.", text)
    return [value / LAST for value in values]


def _in_range(value: Any) -> bool:
    """A whole number from 0 to 999; JSON's true is none, and its NaN is below nothing."""
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= LAST and value == int(value)


def _rendered(action: Action, answer: str | None) -> dict[str, Any]:
    match action:
        case Box(x0, y0, x1, y1):
            return {"name": "add_bbox", "arguments": {_CORNERS: _places(x0, y0, x1, y1)}}
        case Click(x, y, positive):
            sign = "positive" if positive else "negative"
            return {"name": "add_point", "arguments": {_POINT: _places(x, y), _SIGN: sign}}
        case Revert():
            return {"name": "revert_action", "arguments": {}}
        case Discard():
            return {"name": "discard_mask", "arguments": {}}
        case Terminate():
            return {"name": "stop_action", "arguments": {} if answer is None else {_ANSWER: answer}}


def _places(*values: float) -> list[int]:
    return [round(v * LAST) for v in values]
