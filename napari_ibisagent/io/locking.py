"""A file for one process alone, where the system has such locks."""

from __future__ import annotations

import errno

from napari_ibisagent.core.errors import OutputError

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]


def lock(descriptor: int, taken: str, what: str) -> None:
    """Takes an open file for this process alone.

    Raises OutputError: with the sentence ``taken`` where another process has it, and naming ``what`` where it can't be
    locked. Where the system has no such locks (Windows, some network drives) it stays unlocked.
    """
    if fcntl is None:
        return
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise OutputError(taken) from error
    except OSError as error:
        if error.errno not in (errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP):
            raise OutputError(f"{what} can't be locked: {error.strerror}. Choose a place on another disk.") from error
