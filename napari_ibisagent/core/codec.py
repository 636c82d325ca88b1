"""Events as plain JSON values and back. Each value carries its type's name, each enum its text."""

from __future__ import annotations

import functools
import types
from dataclasses import fields, is_dataclass
from enum import StrEnum
from typing import Any, Union, get_args, get_origin, get_type_hints

from napari_ibisagent.core import actions, carrying, episode, history, session, target

_KINDS: dict[str, type] = {
    kind.__name__: kind
    for kind in (
        *(actions.Click, actions.Box, actions.Revert, actions.Discard, actions.Terminate),
        *(target.Target, episode.PackedMask),
        *(episode.Prompted, episode.Located, episode.Thought, episode.Proposed, episode.Amended, episode.Accepted),
        *(episode.Overridden, episode.StepDeleted),
        *(episode.Rejected, episode.Segmented, episode.Painted, episode.Terminated, episode.Failed),
        *(session.ScanRef, session.SegmentedObject, session.Patch, session.Opened, session.Consented),
        *(session.ObjectAdded, session.ObjectChanged, session.ObjectRemoved, session.RuleChanged, session.Committed),
        *(carrying.CarryBegun, carrying.Carried, carrying.CarryEnded),
        history.Reverted,
    )
}


def to_json(value: Any) -> Any:
    """A value of the event types as JSON: dataclasses become objects with a "type", tuples lists."""
    if is_dataclass(value) and not isinstance(value, type):
        return {"type": type(value).__name__} | {f.name: to_json(getattr(value, f.name)) for f in fields(value)}
    if isinstance(value, StrEnum):
        return value.value
    if isinstance(value, tuple):
        return [to_json(item) for item in value]
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise TypeError(f"A {type(value).__name__} can't be written to a journal.")


def from_json(value: Any) -> Any:
    """The value that ``to_json`` wrote. Raises ValueError where it isn't one, or a field is of another kind."""
    if isinstance(value, list):
        return tuple(from_json(item) for item in value)
    if not isinstance(value, dict):
        return value
    kind = _KINDS.get(str(value.get("type")))
    if kind is None:
        raise ValueError(f"The type {value.get('type')!r} isn't known to this version.")
    hints = _hints(kind)
    given = {name: item for name, item in value.items() if name != "type"}
    unknown = given.keys() - hints.keys()
    if unknown:
        raise ValueError(f"A {kind.__name__} has no {', '.join(sorted(unknown))} in this version.")
    try:
        read = kind(
            **{name: _fitted(from_json(item), hints[name], f"{kind.__name__}.{name}") for name, item in given.items()}
        )
    except TypeError as error:
        raise ValueError(f"The {kind.__name__} is not in the form of this version: {error}.") from error
    if isinstance(read, episode.PackedMask):
        read.array()  # a mask that can't be unpacked is found now and not when it is needed
    return read


@functools.cache
def _hints(kind: type) -> dict[str, Any]:
    return get_type_hints(kind)


def _fitted(value: Any, hint: Any, where: str) -> Any:
    """The value as its field's type has it (enums from their text). Raises ValueError where it doesn't fit."""
    origin, options = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        for option in options:
            try:
                return _fitted(value, option, where)
            except ValueError:
                continue
    elif origin is tuple and isinstance(value, tuple):
        if len(options) == 2 and options[1] is Ellipsis:
            return tuple(_fitted(item, options[0], where) for item in value)
        if len(options) == len(value):
            return tuple(_fitted(item, option, where) for item, option in zip(value, options, strict=True))
    elif isinstance(hint, type):
        if issubclass(hint, StrEnum):
            return hint(value)
        if hint is float and isinstance(value, int) and not isinstance(value, bool):
            return float(value)
        if isinstance(value, hint) and not (isinstance(value, bool) and hint is not bool):
            return value
    raise ValueError(f"{where} can't be {value!r:.60}.")
