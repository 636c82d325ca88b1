"""How families of policies are spoken to and parsed: one file a dialect."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from napari_ibisagent.core.actions import Turn
from napari_ibisagent.core.dialects import ibis, tool_calls
from napari_ibisagent.core.errors import UnknownNameError


@dataclass(frozen=True, slots=True)
class Dialect:
    """``parse(text) -> Turn`` raises DialectError alone; ``render(turn) -> text``.

    overlay: a name of a preset. grammar: a regular expression that every answer in the plain form matches as a whole,
    for servers that can hold a model to one; without look-around and back references, which those don't know.
    """

    name: str
    parse: Callable[[str], Turn]
    render: Callable[[Turn], str]
    overlay: str
    grammar: str


_KNOWN = {
    known.name: known
    for known in (
        Dialect("ibis", ibis.parse, ibis.render, "ibis", ibis.GRAMMAR),
        Dialect("tool_calls", tool_calls.parse, tool_calls.render, "medsam_agent", tool_calls.GRAMMAR),
    )
}


def dialect(name: str) -> Dialect:
    """The dialect of that name; UnknownNameError lists the known ones."""
    try:
        return _KNOWN[name]
    except KeyError:
        raise UnknownNameError(f"There is no dialect {name!r}. Known are: {', '.join(_KNOWN)}.") from None
