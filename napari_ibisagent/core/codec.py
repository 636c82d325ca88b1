"""Events as plain JSON values and back. Each value carries its type's name, each enum its text."""

from __future__ import annotations

import functools
import types
from dataclasses import fields, is_dataclass
from enum import StrEnum
from typing import Any, Union, get_args, get_origin, get_type_hints

from napari_ibisagent.core import actions, episode, history, session, target

_KINDS: dict[str, type] = {
    kind.__name__: kind
    for kind in (
        *(actions.Click, actions.Box, actions.Revert, actions.Terminate),
        *(target.Target, episode.PackedMask),
        *(episode.Prompted, episode.Thought, episode.Proposed, episode.Accepted, episode.Overridden),
        *(episode.Rejected, episode.Segmented, episode.Painted, episode.Terminated, episode.Failed),
        *(session.ScanRef, session.SegmentedObject, session.Patch, session.Opened, session.ObjectAdded),
        *(session.ObjectChanged, session.ObjectRemoved, session.RuleChanged, session.Committed),
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
    """The value that ``to_json`` wrote. Raises ValueError where it isn't one."""
    if isinstance(value, list):
        return tuple(from_json(item) for item in value)
    if not isinstance(value, dict):
        return value
    kind = _KINDS.get(str(value.get("type")))
    if kind is None:
        raise ValueError(f"The type {value.get('type')!r} isn't known to this version.")
    enums = _enums(kind)
    try:
        return kind(
            **{
                name: enums[name](item) if name in enums else from_json(item)
                for name, item in value.items()
                if name != "type"
            }
        )
    except TypeError as error:
        raise ValueError(f"The {kind.__name__} is not in the form of this version: {error}.") from error


@functools.cache
def _enums(kind: type) -> dict[str, type[StrEnum]]:
    """The fields of a dataclass that hold an enum."""
    found: dict[str, type[StrEnum]] = {}
    for name, hint in get_type_hints(kind).items():
        options = get_args(hint) if get_origin(hint) in (Union, types.UnionType) else (hint,)
        for option in options:
            if isinstance(option, type) and issubclass(option, StrEnum):
                found[name] = option
    return found
