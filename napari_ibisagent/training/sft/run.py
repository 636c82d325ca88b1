"""The files of a run that can be killed at any moment: which checkpoint is whole, and whether it is the same run.

transformers writes a checkpoint file by file and its state last, so one without a readable state is a torn one.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from napari_ibisagent.core.errors import InputError
from napari_ibisagent.io.atomic import atomic_write_bytes

RUN, SETTINGS, STATE = "run", "settings.json", "trainer_state.json"
_CHECKPOINT = re.compile(r"checkpoint-(\d+)")


def saved_step(output: Path) -> int:
    """The step from which a run in this folder goes on; 0: it begins."""
    last = last_saved(output)
    return 0 if last is None else _number(last)


def last_saved(output: Path) -> Path | None:
    """The newest checkpoint that is whole."""
    run = output / RUN
    found = [path for path in run.iterdir() if _CHECKPOINT.fullmatch(path.name)] if run.is_dir() else []
    return next((path for path in sorted(found, key=_number, reverse=True) if _is_whole(path)), None)


def check_settings(output: Path, settings: Mapping[str, Any]) -> None:
    """Writes how a run is made. Raises InputError where it would go on from another: their steps don't fit."""
    path = output / RUN / SETTINGS
    now = json.loads(json.dumps(settings))
    if not saved_step(output) or not path.exists():
        atomic_write_bytes(path, json.dumps(now, indent=1).encode())
        return
    try:
        before = json.loads(path.read_text("utf-8"))
    except ValueError as error:
        raise InputError(f"{path} can't be read ({error}). Choose another output folder.") from error
    names = [name for name in sorted({*before, *now}) if before.get(name) != now.get(name)]
    if names:
        changed = [f"{name} was {before.get(name)}, now {now.get(name)}" for name in names]
        raise InputError(
            f"{output} holds a run with other settings ({'; '.join(changed)}). Give the same ones to go on with it, or "
            "another output folder to begin anew."
        )


def _number(path: Path) -> int:
    return int(path.name.rpartition("-")[2])


def _is_whole(path: Path) -> bool:
    try:
        json.loads((path / STATE).read_text("utf-8"))
    except (OSError, ValueError):
        return False
    return True
