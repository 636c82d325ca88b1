"""Options of a policy or click tool on the command line: ``--policy-option KEY=VALUE``, as often as needed."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from napari_ibisagent.core.errors import InputError


def read_options(given: Sequence[str], flag: str) -> dict[str, Any]:
    """The options by name. true, false, null and numbers are taken as such, all else as text. Raises InputError."""
    found: dict[str, Any] = {}
    for entry in given:
        key, separator, value = entry.partition("=")
        if not separator or not key.strip().isidentifier():
            raise InputError(f"{flag} {entry!r} isn't of the form KEY=VALUE, for example {flag} seed=3.")
        found[key.strip()] = _value(value.strip())
    return found


def _value(text: str) -> Any:
    try:
        value = json.loads(text)
    except ValueError:
        return text
    return value if isinstance(value, bool | int | float) or value is None else text
