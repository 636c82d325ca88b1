"""JSON values of foreign files, read strictly: what isn't as it should be is an InputError that names the place."""

from __future__ import annotations

import math
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from napari_ibisagent.core.errors import InputError

# A size beyond this is a fault of the file, and its mask would fill the memory.
_MOST_PIXELS = 1 << 28
_REMEDY = "Make it again, or take it out of the file."


@contextmanager
def naming(what: str) -> Iterator[None]:
    """Whatever goes wrong with a file's values, as an InputError that begins with ``what``."""
    try:
        yield
    except KeyError as error:
        raise InputError(f"{what} lacks {error}. {_REMEDY}") from error
    except (TypeError, ValueError, IndexError, AttributeError, OverflowError, zlib.error) as error:
        raise InputError(f"{what} can't be read: {str(error).rstrip('.')}. {_REMEDY}") from error


def pair(values: Any) -> tuple[float, float]:
    """Two finite numbers. Raises ValueError, or TypeError where it isn't even a list."""
    first, second = items(values)
    for value in (first, second):
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            raise ValueError(f"it has {_shown(value)} where a number is needed")
    return float(first), float(second)


def size(values: Any) -> tuple[int, int]:
    """Two sides in pixels, in the order of the file. Raises as ``pair``, and where no picture is of that size."""
    first, second = pair(values)
    if min(first, second) < 1 or first % 1 or second % 1 or first * second > _MOST_PIXELS:
        raise ValueError(f"its size is {values!r}, which isn't that of a picture")
    return int(first), int(second)


def text(value: Any) -> str:
    """The text that a value is. Raises TypeError."""
    if not isinstance(value, str):
        raise TypeError(f"it has {_shown(value)} where text is needed")
    return value


def flag(value: Any) -> bool:
    """The truth value that a value is. Raises TypeError."""
    if not isinstance(value, bool):
        raise TypeError(f"it has {_shown(value)} where true or false is needed")
    return value


def items(value: Any) -> list[Any]:
    """The list that a value is. Raises TypeError."""
    if not isinstance(value, list | tuple):
        raise TypeError(f"it has {_shown(value)} where a list is needed")
    return list(value)


def _shown(value: Any) -> str:
    """A value in a message: a mask in the wrong place would fill the screen."""
    return repr(value)[:60]
