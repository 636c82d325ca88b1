"""``Lines``: a file of JSON lines that one process appends to, and ``read_lines``, which reads one.

Each line is on the disk before ``append`` returns. A torn last line, of a process that was killed, is left out by the
reader and cut off by whoever goes on.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from napari_ibisagent.core.errors import InputError, OutputError
from napari_ibisagent.io.locking import lock

# Windows would turn ends of lines into two bytes otherwise.
_FLAGS = os.O_RDWR | os.O_CREAT | os.O_APPEND | getattr(os, "O_BINARY", 0)
# The end of the last whole line is looked for in blocks of so many bytes, from behind.
_BLOCK = 1 << 16


class Lines:
    """An open file for this process alone. Raises OutputError where it can't be written or another one has it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self._descriptor = os.open(path, _FLAGS, 0o666)
        except OSError as error:
            raise OutputError(f"{path} can't be written: {error.strerror}. Choose another folder.") from error
        try:
            taken = f"{path.parent} is being written by another run. Wait for its end, or choose another folder."
            lock(self._descriptor, taken, str(path))
            os.ftruncate(self._descriptor, _whole(self._descriptor))
        except OSError as error:
            self.close()
            raise OutputError(f"{path} can't be gone on with: {error.strerror}. Choose another folder.") from error
        except OutputError:
            self.close()
            raise

    def append(self, line: str) -> None:
        """Writes a line, with its end, and flushes it to the disk. Raises OutputError where the disk refuses."""
        before = os.fstat(self._descriptor).st_size
        data = line.encode()
        try:
            while data:
                data = data[os.write(self._descriptor, data) :]
            os.fsync(self._descriptor)
        except OSError as error:
            with suppress(OSError):  # what stays is a torn line, which the next run cuts off
                os.ftruncate(self._descriptor, before)
            raise OutputError(
                f"{self.path} can't be written: {error.strerror}. What was written before is whole; make some room "
                "and run the same command again."
            ) from error

    def close(self) -> None:
        """Closes the file, also a second time."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


def read_lines(path: Path) -> Iterator[tuple[int, Any]]:
    """(number from 1, values) of each line; none where there is no file. Raises InputError for a line that isn't JSON.

    A last line without an end that isn't whole is left out: the process was killed while it wrote it.
    """
    if not path.exists():
        return
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            try:
                values = json.loads(line)
            except (ValueError, RecursionError) as error:
                if not line.endswith(b"\n"):
                    return
                raise InputError(f"{path}, line {number} isn't JSON: {error}. Take the line out.") from error
            yield number, values


def _whole(descriptor: int) -> int:
    """The size of a file up to the end of its last whole line."""
    end = os.fstat(descriptor).st_size
    while end > 0:
        start = max(0, end - _BLOCK)
        os.lseek(descriptor, start, os.SEEK_SET)
        found = os.read(descriptor, end - start).rfind(b"\n")
        if found >= 0:
            return start + found + 1
        end = start
    return 0
