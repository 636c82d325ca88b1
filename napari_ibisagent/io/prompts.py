"""Prompt templates: ours in ``resources/prompts/``, one file a dialect, or a checkpoint's own file of the same form."""

from __future__ import annotations

import json
import tomllib
from dataclasses import asdict
from pathlib import Path

from napari_ibisagent.core.dialects.conversation import Templates
from napari_ibisagent.core.errors import InputError
from napari_ibisagent.io.atomic import atomic_write_bytes
from napari_ibisagent.io.resources import resource


def read_templates(dialect: str, path: str | Path | None = None) -> Templates:
    """The templates of a dialect, or those of a TOML file at ``path``.

    What a file leaves out is taken from the dialect's own. Raises InputError where it can't be read or holds
    something else.
    """
    ours = _read(resource(f"prompts/{dialect}.toml"))
    return Templates(**(ours if path is None else ours | _read(Path(path))))


def write_templates(path: Path, templates: Templates) -> None:
    """Writes templates as a file that ``read_templates`` reads. Raises OutputError."""
    lines = [f"{name} = {_quoted(words)}\n" for name, words in asdict(templates).items()]
    atomic_write_bytes(path, "".join(lines).encode())


def _quoted(words: str) -> str:
    """As TOML wants it: JSON's escapes, and one that JSON doesn't need."""
    return json.dumps(words, ensure_ascii=False).replace("\x7f", r"\u007f")


def _read(path: Path) -> dict[str, str]:
    try:
        found = tomllib.loads(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise InputError(f"The prompt templates {path} can't be read: {error}.") from error
    unknown = [name for name in found if name not in Templates.names()]
    if unknown:
        known = ", ".join(Templates.names())
        raise InputError(f"{path} has the unknown template {', '.join(unknown)}. Known are: {known}.")
    wrong = [name for name, words in found.items() if not isinstance(words, str)]
    if wrong:
        raise InputError(f"{', '.join(wrong)} in {path} isn't text. Put it between quotes.")
    return {name: words.strip() for name, words in found.items()}
