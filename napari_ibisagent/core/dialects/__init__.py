"""How families of policies are spoken to and parsed: one file a dialect."""

from __future__ import annotations

from collections.abc import Callable

from napari_ibisagent.core.actions import Turn
from napari_ibisagent.core.dialects import ibis
from napari_ibisagent.core.errors import UnknownNameError

_PARSERS: dict[str, Callable[[str], Turn]] = {"ibis": ibis.parse}


def parser(dialect: str) -> Callable[[str], Turn]:
    """The ``parse(text) -> Turn`` of a dialect; UnknownNameError lists the known ones."""
    try:
        return _PARSERS[dialect]
    except KeyError:
        raise UnknownNameError(f"There is no dialect {dialect!r}. Known are: {', '.join(_PARSERS)}.") from None
