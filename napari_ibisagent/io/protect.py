"""Places that may be written: never an input, never inside of a folder that is an input, and one that can be made.

Asked before the work is done, so that nobody waits for a result that has nowhere to go. Leaves out the writing
itself (``atomic``, ``journal``).
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from napari_ibisagent.core.errors import OutputError


def check_protected(path: Path, protect: Iterable[str | Path]) -> None:
    """Raises OutputError when the file ``path`` is an input, under whatever name, or lies in an input's folder."""
    try:
        if path.is_dir():
            raise OutputError(f"{path} is a folder. Name a file in it, for example {path.name}/labels.nii.gz.")
        target = path.resolve()
        for original in map(Path, protect):
            _check_other(path, target, original)
    except OSError as error:
        raise _unreachable(path, error) from error


def check_file(path: Path, protect: Iterable[str | Path]) -> None:
    """Raises OutputError where ``check_protected`` does, and when nothing can be written beside ``path``."""
    check_protected(path, protect)
    _check_writable(path.parent)


def check_folder(folder: Path, protect: Iterable[str | Path]) -> None:
    """Raises OutputError when ``folder`` is or lies in an input's folder, or can't be made or written."""
    try:
        target = folder.resolve()
        for original in map(Path, protect):
            place = original.resolve()
            if place.is_dir() and target.is_relative_to(place):
                raise OutputError(f"{folder} lies in the folder of the original scan. Choose another folder.")
    except OSError as error:
        raise _unreachable(folder, error) from error
    _check_writable(folder)


def _check_other(path: Path, target: Path, original: Path) -> None:
    place = original.resolve()
    if target == place or (target.exists() and place.exists() and target.samefile(place)):
        raise OutputError(f"{path.name} is an original file, which is never changed. Choose another name.")
    if place.is_dir() and target.is_relative_to(place):
        raise OutputError(f"{path} lies in the folder of the original scan. Choose another folder.")


def _check_writable(folder: Path) -> None:
    """Looks at the nearest folder that exists: the ones beneath it can be made if it can be written."""
    try:
        nearest = folder.resolve()
        while not nearest.exists() and nearest != nearest.parent:
            nearest = nearest.parent
        if not nearest.is_dir():
            raise OutputError(f"{folder} can't be a folder: {nearest} is a file. Choose another folder.")
    except OSError as error:
        raise _unreachable(folder, error) from error
    if not os.access(nearest, os.W_OK | os.X_OK):
        raise OutputError(f"{folder} can't be written: you may not write in {nearest}. Choose another folder.")


def _unreachable(path: Path, error: OSError) -> OutputError:
    return OutputError(f"{path} can't be written ({error.strerror or error}). Choose another place.")
