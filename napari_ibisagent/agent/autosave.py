"""Autosave: every event of a session goes to a journal of its own, so that a crash loses nothing.

The journal is made when there is the first thing to keep. What the disk refuses stays queued and is written as soon
as the disk takes it again; until then ``trouble`` says why. Finding an earlier session on the same scan goes by the
scan's checksum, which is part of the journal's name.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from napari_ibisagent.core.errors import JournalError, OutputError
from napari_ibisagent.core.history import Event, History
from napari_ibisagent.core.session import Opened, ScanRef
from napari_ibisagent.io.journal import ENDING, Journal, read_journal

_DIGITS = 12


class Autosave:
    """The journal of a session, written as the session goes on."""

    def __init__(self, folder: Path, ref: ScanRef, journal: Journal | None = None) -> None:
        """``folder`` is where a new journal goes; ``journal`` is one that is continued."""
        self._folder = folder
        self._ref = ref
        self._journal = journal
        self._queue: list[Event] = []
        self.trouble = ""

    @property
    def path(self) -> Path | None:
        """The file, or None before anything was written."""
        return None if self._journal is None else self._journal.path

    def append(self, event: Event) -> None:
        """Writes an event, after those that couldn't be written before. Never raises: see ``trouble``."""
        self._queue.append(event)
        if self._journal is None and isinstance(event, Opened):
            return  # nothing was done yet
        self._flush()

    def close(self) -> None:
        """Tries once more to write what is still queued, and lets go of the file."""
        if self.trouble:
            self._flush()
        if self._journal is not None:
            self._journal.close()

    def _flush(self) -> None:
        try:
            if self._journal is None:
                self._journal = Journal.create_free(self._folder, _stem(self._ref))
            while self._queue:
                self._journal.append(self._queue[0])
                del self._queue[0]
            self.trouble = ""
        except OutputError as error:
            self.trouble = f"Not saved: {error}"


@dataclass(frozen=True, slots=True)
class Earlier:
    """An earlier session on the same scan: its journal, and what is in it."""

    path: Path
    prompts: int
    objects: int
    modified: float


def find_earlier(ref: ScanRef, folders: Iterable[Path]) -> tuple[Earlier | None, tuple[str, ...]]:
    """The newest journal in the folders that is about this scan and holds work, or None.

    Also a sentence for each newer one that can't be read: it stays where it is, and the user has to know of it.
    """
    found = [path for folder in folders if folder.is_dir() for path in folder.glob(f"*{ref.digest[:_DIGITS]}*{ENDING}")]
    broken: list[str] = []
    for path in sorted(found, key=_modified, reverse=True):
        try:
            history = read_journal(path)
        except JournalError as error:
            broken.append(f"An earlier session on this scan can't be read: {error}")
            continue
        session = history.session
        same = session.scan is not None and session.scan.digest == ref.digest
        if same and len(history.nodes) > 2:
            earlier = Earlier(path, len(session.episodes), len(session.objects), _modified(path))
            return earlier, tuple(broken)
    return None, tuple(broken)


def _modified(path: Path) -> float:
    """When a file was last written, 0 where it has gone meanwhile."""
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0


def resume(earlier: Earlier, folder: Path, ref: ScanRef) -> tuple[Autosave, History]:
    """Goes on with an earlier session. Raises JournalError or OutputError, and then nothing has changed."""
    journal, history = Journal.resume(earlier.path)
    return Autosave(folder, ref, journal), history


def _stem(ref: ScanRef) -> str:
    plain = "".join(c if c.isalnum() or c in "-_." else "_" for c in ref.name)[:60]
    return f"{plain}-{ref.digest[:_DIGITS]}"
