"""Writing a file all or nothing: a temporary file beside it, flushed to disk, then put in its place.

Leaves out the formats; a caller writes the temporary file with whatever library it likes.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from napari_ibisagent.core.errors import OutputError
from napari_ibisagent.io.names import split_name


def atomic_write_bytes(path: Path, data: bytes) -> None:
    """Write ``data`` to ``path``, replacing what is there; a crash leaves the old or the new, never a part.

    Raises OutputError, and nothing is changed, when it can't be written.
    """
    path = Path(path)
    write_in_place(path, lambda temporary: _write(temporary, data), keep=False)


def write_in_place(path: Path, write: Callable[[Path], object], *, keep: bool) -> Path | None:
    """Let ``write`` fill a temporary file, then put it at ``path``; returns where the old file was kept.

    With ``keep`` an existing file is first kept as ``<stem>.1<ending>`` (the next free number). The temporary
    file is hidden, lies in the same folder and has the same ending, from which libraries choose the format.
    Raises OutputError, and nothing is changed, when the disk refuses.
    """
    stem, ending = split_name(path)
    temporary = path.with_name(f".{stem[:80]}.{secrets.token_hex(4)}{ending or path.suffix}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write(temporary)
        _flush(temporary)
        kept = _exchange(temporary, path, keep=keep)
        _flush_folder(path.parent)
    except OSError as error:
        raise OutputError(
            f"{path} can't be written ({error.strerror or error}); nothing was changed. "
            "Choose another folder, or free some space, and save again."
        ) from error
    finally:
        with suppress(OSError):  # it is gone already, or its folder never came to be
            temporary.unlink()
    return kept


def _write(path: Path, data: bytes) -> None:
    path.write_bytes(data)


def _flush(path: Path) -> None:
    with path.open("rb+") as file:
        os.fsync(file.fileno())


def _flush_folder(folder: Path) -> None:
    """Make a rename durable. Windows can't open folders; some network drives can't flush them."""
    try:
        handle = os.open(folder, os.O_RDONLY)
    except OSError:
        return
    try:
        os.fsync(handle)
    except OSError:
        return
    finally:
        os.close(handle)


def _exchange(temporary: Path, path: Path, *, keep: bool) -> Path | None:
    """Put ``temporary`` at ``path``; on failure ``path`` is what it was."""
    kept = _keep(path) if keep and path.exists() else None
    try:
        os.replace(temporary, path)  # noqa: PTH105  (named so that a test can make the disk refuse)
    except OSError:
        if kept is not None:
            _undo_keep(kept, path)
        raise
    return kept


def _keep(path: Path) -> Path:
    """Give the file at ``path`` a second name; where the disk knows no hard links, it is renamed."""
    stem, ending = split_name(path)
    if not ending:
        stem, ending = path.stem, path.suffix
    number = 1
    while True:
        kept = path.with_name(f"{stem}.{number}{ending}")
        number += 1
        if kept.exists() or kept.is_symlink():
            continue
        try:
            kept.hardlink_to(path)
        except FileExistsError:
            continue
        except OSError:
            path.rename(kept)
        return kept


def _undo_keep(kept: Path, path: Path) -> None:
    if path.exists():
        kept.unlink()
    else:
        kept.rename(path)
