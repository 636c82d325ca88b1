"""``settings.json``: how a folder of trajectories was made, so that no run goes on with it in another way.

Two recipes in one folder would be a mixture that nobody can describe, and what was made with the first one would pass
for made with the second. Also kept: which scan each name stands for, since what has a known name isn't made again.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from napari_ibisagent.core.errors import InputError
from napari_ibisagent.io.atomic import atomic_write_bytes

SETTINGS = "settings.json"
_VERSION = 1
_OTHERWISE = "Give the same options, or choose another folder."


def settle(folder: Path, settings: Mapping[str, Any], *, begun: bool) -> None:
    """Writes the settings of a folder that holds nothing yet, or compares them with its own. Raises InputError.

    settings: of JSON values. begun: whether the folder holds trajectories, or what was left out.
    """
    now = json.loads(json.dumps(dict(settings)))
    if not begun:  # also where a run ended before its first line: its options may have been wrong
        _write(folder, {"version": _VERSION, "settings": now, "scans": {}})
        return
    kept = _read(folder)
    if kept is None:
        raise InputError(
            f"{folder} holds trajectories without the {SETTINGS} that says how they were made, so it can't be gone on "
            "with. Choose another folder."
        )
    differences = sorted(_differences(kept["settings"], now))
    if differences:
        raise InputError(f"{folder} was made with {'; '.join(differences[:3])}. {_OTHERWISE}")


def belong(folder: Path, scans: Mapping[str, str]) -> None:
    """Keeps which scan (its path) a name stands for. Raises InputError where one stands for another scan already.

    ``settle`` comes first.
    """
    kept = _read(folder)
    if kept is None:
        raise InputError(f"{folder} has no {SETTINGS}. {_OTHERWISE}")
    known: dict[str, str] = kept["scans"]
    for name, scan in scans.items():
        if known.get(name, scan) != scan:
            raise InputError(
                f"{folder} holds trajectories of another scan that is called {name} ({known[name]}). "
                "Rename one of them, or choose another folder."
            )
    if not scans.keys() <= known.keys():
        _write(folder, {**kept, "scans": {**known, **scans}})


def _differences(kept: Any, now: Any, *keys: str) -> Iterator[str]:
    """What differs, each as "goal 0.9 where this run has 0.8"; the name of a group of settings says nothing new."""
    if isinstance(kept, dict) and isinstance(now, dict):
        for key in kept.keys() | now.keys():
            yield from _differences(kept.get(key), now.get(key), *keys, key)
    elif kept != now:
        name = " ".join(keys[1:] or keys).replace("_", " ")
        yield f"{name} {_said(kept)} where this run has {_said(now)}"


def _said(value: Any) -> str:
    return "none" if value is None else json.dumps(value, ensure_ascii=False)


def _read(folder: Path) -> dict[str, Any] | None:
    path = folder / SETTINGS
    if not path.exists():
        return None
    try:
        kept = json.loads(path.read_text(encoding="utf-8"))
        if kept["version"] != _VERSION or not all(isinstance(kept[key], dict) for key in ("settings", "scans")):
            raise ValueError(f"it is of version {kept['version']!r}")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path} can't be read ({error}). Choose another folder.") from error
    return dict(kept)


def _write(folder: Path, values: Mapping[str, Any]) -> None:
    atomic_write_bytes(folder / SETTINGS, (json.dumps(values, ensure_ascii=False, indent=1) + "\n").encode())
