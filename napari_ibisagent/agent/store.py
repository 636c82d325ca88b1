"""The state that a user interface shows: one session on one scan. Knows no toolkit and no thread.

Views subscribe and get (old, new) after every change; they send intents by calling methods. Nothing else keeps
state, so undo, a restart from the journal and a replay look the same to a view.
"""

from __future__ import annotations

from collections.abc import Callable

from napari_ibisagent.agent.commit import committing
from napari_ibisagent.agent.recorder import Recorder
from napari_ibisagent.core.episode import Episode
from napari_ibisagent.core.history import Event
from napari_ibisagent.core.session import Session
from napari_ibisagent.core.view import View
from napari_ibisagent.core.volume import Volume

Listener = Callable[[Session, Session], None]


class Store:
    """A session with its scan. Use from one thread only."""

    def __init__(self, volume: Volume, recorder: Recorder) -> None:
        self.volume = volume
        self._recorder = recorder
        self._listeners: list[Listener] = []

    @property
    def session(self) -> Session:
        """The state now."""
        return self._recorder.session

    @property
    def episode(self) -> Episode | None:
        """The current episode."""
        return self.session.episode

    def subscribe(self, listener: Listener) -> Callable[[], None]:
        """Calls ``listener(old, new)`` after every change, until the returned function is called."""
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener)

    def record(self, event: Event) -> None:
        """Folds an event in, writes it to the journal and tells the views. Raises as ``Recorder.record`` does."""
        old = self.session
        self._recorder.record(event)
        new = self.session
        for listener in tuple(self._listeners):
            listener(old, new)

    @property
    def can_undo(self) -> bool:
        """Whether there is a settled state to go back to."""
        return self._recorder.history.undo() is not None

    @property
    def can_redo(self) -> bool:
        """Whether something was undone that can be done again."""
        return self._recorder.history.redo() is not None

    def undo(self) -> bool:
        """Goes back one settled state; False at the start."""
        return self._move(self._recorder.history.undo())

    def redo(self) -> bool:
        """Goes forward again along the newest branch; False at its end."""
        return self._move(self._recorder.history.redo())

    def commit(self, view: View) -> bool:
        """Makes the mask on the table an object, under the overlap rule; False where there is no mask.

        Raises OverlapError where the rule forbids it, and then nothing has been recorded.
        """
        event = committing(self.session, self.volume, view)
        if event is not None:
            self.record(event)
        return event is not None

    def _move(self, event: Event | None) -> bool:
        if event is None:
            return False
        self.record(event)
        return True
