"""Keeps a session's history and its journal in step: what isn't on the disk didn't happen."""

from __future__ import annotations

from napari_ibisagent.core.history import Event, History, record
from napari_ibisagent.core.session import Session
from napari_ibisagent.io.journal import Journal


class Recorder:
    """The one place where events enter a session. Without a journal nothing is written."""

    def __init__(self, history: History | None = None, journal: Journal | None = None) -> None:
        self.history = history or History()
        self._journal = journal

    @property
    def session(self) -> Session:
        """The state at the head of the history."""
        return self.history.session

    def record(self, event: Event) -> None:
        """Folds an event in and writes it down.

        Raises StateError, before anything is written, where it can't follow; OutputError where the disk refuses,
        and the state stays as it was.
        """
        after = record(self.history, event)
        if self._journal is not None:
            self._journal.append(event)
        self.history = after
