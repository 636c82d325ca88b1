"""A manifest of cases: images, the truth of each target, and the sentences that ask for it.

The form is that of a JSON object with "cases", each with "image", "task", "modality" and "labels" (each with
"name", "mask", "value", "prompt" and "reasoning_prompt"); paths are relative to the manifest.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from napari_ibisagent.core.errors import InputError


@dataclass(frozen=True, slots=True)
class Task:
    """One target of a case: what is asked and where its truth lies; with ``parts``, their truths together."""

    target: str
    mask: Path
    value: int | Literal["nonzero"]
    prompt: str
    reasoning_prompt: str | None
    parts: tuple[Task, ...] = ()


@dataclass(frozen=True, slots=True)
class Case:
    """An image with its targets; ``skipped`` says why it can't be scored, if it can't."""

    name: str
    image: Path | None
    modality: str
    tasks: tuple[Task, ...]
    skipped: str | None
    body_part: str = ""


def family_of(modality: str) -> str:
    """The kind of picture that figures are put together for: "MR FLAIR" and "MR T1" are both MR."""
    first = modality.split(" ", maxsplit=1)[0]
    return first if first in ("CT", "MR") else modality


def read_manifest(path: Path) -> tuple[Case, ...]:
    """The cases of a manifest. Raises InputError where it can't be read or isn't in the form."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"The manifest {path} can't be read: {error.strerror}.") from error
    except ValueError as error:
        raise InputError(f"The manifest {path} isn't JSON: {error}.") from error
    try:
        return tuple(_case(entry, path.parent) for entry in content["cases"])
    except (KeyError, TypeError, AttributeError) as error:
        raise InputError(
            f"The manifest {path} isn't in the form of one: {error!r} is missing or of another kind. Each case "
            'needs "id", "image" and "labels" with "name", "mask", "value" and "prompt".'
        ) from error


def _case(entry: dict[str, Any], root: Path) -> Case:
    tasks = tuple(
        Task(
            label["name"],
            root / label["mask"],
            label["value"],
            label.get("prompt") or f"segment the {label['name']}",
            label.get("reasoning_prompt"),
        )
        for label in entry.get("labels", ())
    )
    image = entry.get("image")
    reason = None
    if image is None:
        reason = "it has no image"
    elif not tasks:
        reason = "it has no truth"
    modality, part = (str(entry.get(name) or "") for name in ("modality", "body_part"))
    return Case(entry["id"], root / image if image else None, modality, tasks, reason, part)
