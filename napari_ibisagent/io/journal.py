"""The journal: the append-only file that a session can be rebuilt from. JSON Lines, one event a line.

The first line says what the file is. Every event is written and flushed to the disk before the next one is
made, so a killed process loses at most the event in flight. A torn last line is dropped when the journal is
continued; a broken line anywhere else is an error, since silently skipping it would rebuild another session.
An open journal is locked, so that two windows can't write into the same one; the lock dies with its process.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any

from napari_ibisagent.core.codec import from_json, to_json
from napari_ibisagent.core.errors import IbisError, JournalError, OutputError, StateError
from napari_ibisagent.core.history import Event, History, record
from napari_ibisagent.io.locking import lock

FORMAT = "napari-ibisagent journal"
VERSION = 1
ENDING = ".ibis.jsonl"

# Windows would turn every line end into two bytes without O_BINARY, and the offsets below would lie.
_APPEND = os.O_WRONLY | os.O_APPEND | getattr(os, "O_BINARY", 0)


class Journal:
    """An open journal that events are appended to. Use as a context manager."""

    def __init__(self, path: Path, descriptor: int) -> None:
        self.path = path
        self._descriptor = descriptor

    @classmethod
    def create(cls, path: Path) -> Journal:
        """A new journal; its folder is made. Raises OutputError where the file exists or can't be made."""
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OutputError(
                f"The journal {path} can't be written: its folder can't be made ({error.strerror}). Choose another one."
            ) from error
        try:
            descriptor = os.open(path, _APPEND | os.O_CREAT | os.O_EXCL, 0o600)
        except FileExistsError as error:
            raise OutputError(f"{path} exists already; a journal is never overwritten. Choose another name.") from error
        except OSError as error:
            raise OutputError(
                f"The journal {path} can't be written: {error.strerror}. Choose another folder."
            ) from error
        journal = cls(path, descriptor)
        try:
            _lock(descriptor, path)
            journal._write({"format": FORMAT, "version": VERSION, "time": _now()})
        except OutputError:
            # Without its first line it is no journal: on a full disk each further try would leave an empty file.
            journal.close()
            path.unlink(missing_ok=True)
            raise
        return journal

    @classmethod
    def create_free(cls, folder: Path, stem: str) -> Journal:
        """A new journal ``<stem>.ibis.jsonl``, numbered where that is taken, even by another process just now.

        Raises OutputError where none can be made.
        """
        number = 1
        while True:
            try:
                return cls.create(folder / f"{stem}{'' if number == 1 else f'-{number}'}{ENDING}")
            except OutputError as error:
                if not isinstance(error.__cause__, FileExistsError) or not folder.is_dir():
                    raise
            number += 1

    @classmethod
    def resume(cls, path: Path) -> tuple[Journal, History]:
        """Opens a journal to go on, and the history that it holds. A torn last line is cut off.

        Raises JournalError where it can't be read, OutputError where it can't be written or is open elsewhere.
        """
        try:
            descriptor = os.open(path, _APPEND)
        except (FileNotFoundError, IsADirectoryError) as error:
            raise JournalError(f"The journal {path} can't be read: {error.strerror}.") from error
        except OSError as error:
            raise OutputError(f"The journal {path} can't be continued: {error.strerror}.") from error
        try:
            _lock(descriptor, path)
            history, good_bytes = _fold(path)
            os.ftruncate(descriptor, good_bytes)
        except OSError as error:
            os.close(descriptor)
            raise OutputError(f"The journal {path} can't be continued: {error.strerror}.") from error
        except IbisError:
            os.close(descriptor)
            raise
        return cls(path, descriptor), history

    def append(self, event: Event) -> None:
        """Writes an event and flushes it to the disk. Raises OutputError when the disk refuses."""
        self._write({"time": _now(), "event": to_json(event)})

    def close(self) -> None:
        """Closes the file; appending after that is a fault."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def __enter__(self) -> Journal:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _write(self, line: dict[str, Any]) -> None:
        if self._descriptor < 0:
            raise OutputError(f"The journal {self.path} is closed; nothing more can be written to it.")
        data = (json.dumps(line, separators=(",", ":")) + "\n").encode()
        before = os.fstat(self._descriptor).st_size
        try:
            while data:
                data = data[os.write(self._descriptor, data) :]
            os.fsync(self._descriptor)
        except OSError as error:
            self._take_back(before)
            raise OutputError(
                f"The journal {self.path} can't be written: {error.strerror}. Make room on the disk; what was "
                "written before is safe."
            ) from error

    def _take_back(self, size: int) -> None:
        """Cuts off a line that didn't get through whole; where even that fails, nothing may follow it."""
        try:
            os.ftruncate(self._descriptor, size)
        except OSError:
            self.close()


def _lock(descriptor: int, path: Path) -> None:
    lock(descriptor, f"The journal {path.name} is open in another window. Close that one first.", f"The journal {path}")


def read_journal(path: Path) -> History:
    """The history that a journal holds. A torn last line is left out. Raises JournalError."""
    return _fold(path)[0]


def _fold(path: Path) -> tuple[History, int]:
    """The history, and how many bytes of the file are good."""
    history = History()
    end = 0
    for number, (event, good) in enumerate(_events(path), start=1):
        end = good
        if event is None:
            continue
        try:
            history = record(history, event)
        except (StateError, ValueError) as error:
            raise JournalError(f"Line {number} of {path.name} doesn't follow from the lines before: {error}") from error
    return history, end


def _events(path: Path) -> Iterator[tuple[Event | None, int]]:
    """The events with the offset behind each; None for the first line."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise JournalError(f"The journal {path} can't be read: {error.strerror}.") from error
    offset = 0
    lines = data.split(b"\n")
    for number, line in enumerate(lines, start=1):
        last = number == len(lines)
        if last and not line and number > 1:
            break
        try:
            content = json.loads(line)
            if number == 1:
                _check_header(content, path)
            event = None if number == 1 else _event(content["event"])
        except (ValueError, KeyError, TypeError, UnicodeDecodeError, RecursionError) as error:
            if last and number > 1:
                break  # the process was killed while it wrote this line
            if number == 1:
                raise _no_journal(path) from error
            raise JournalError(
                f"Line {number} of {path.name} is broken ({error}). The lines before it are fine: copy them to a "
                "new file to go on from there."
            ) from error
        if last:
            break  # whole, but its end of line is missing: it may have been cut inside of a number or a text
        offset += len(line) + 1
        yield event, offset


def _event(content: Any) -> Event:
    event = from_json(content)
    if not isinstance(event, Event):
        raise ValueError(f"{content!r:.80} is no event")
    return event


def _check_header(content: Any, path: Path) -> None:
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise _no_journal(path)
    if content.get("version") != VERSION:
        raise JournalError(
            f"{path.name} is a journal of version {content.get('version')}; this program reads {VERSION}. Update it."
        )


def _no_journal(path: Path) -> JournalError:
    return JournalError(f"{path.name} isn't a journal of this program. Choose a file that ends in {ENDING}.")


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")
