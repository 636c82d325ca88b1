"""Threads, in one place: plays a generator of events in a worker and hands each event to the main thread.

Each run has a generation number; what a cancelled or superseded run still sends is dropped. The gate is a queue: in
review the worker waits for the verdict on each proposal, and only the main thread touches store and layers.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Generator

from qtpy.QtCore import QObject, Signal

from napari_ibisagent.agent.runner import Verdicts
from napari_ibisagent.core.episode import Accepted, Author, Episode, EpisodeEvent, Proposed
from napari_ibisagent.core.errors import IbisError

Play = Generator[EpisodeEvent, Verdicts | None, Episode | None]
MakePlay = Callable[[Callable[[], bool], Callable[[str], None]], Play]


class Bridge(QObject):  # type: ignore[misc]
    """Runs one play at a time. Signals arrive in the main thread, in order."""

    happened = Signal(object)
    typed = Signal(str)
    ended = Signal(str)  # "" in order, else the sentence of an error
    _from_worker = Signal(int, str, object)

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.review = True
        self._generation = 0
        self._cancelled = threading.Event()
        self._answers: queue.Queue[Verdicts | None] = queue.Queue()
        self._thread: threading.Thread | None = None
        self._from_worker.connect(self._receive)

    @property
    def running(self) -> bool:
        """Whether a play is under way."""
        return self._thread is not None

    def start(self, make: MakePlay) -> None:
        """Drops what may still run and plays ``make(cancelled, on_text)`` in a new worker."""
        self.drop()
        self._generation += 1
        self._cancelled, self._answers = threading.Event(), queue.Queue()
        self._thread = threading.Thread(
            target=self._work,
            args=(self._generation, make, self._cancelled, self._answers),
            name=f"ibisagent-{self._generation}",
            daemon=True,
        )
        self._thread.start()

    def answer(self, verdict: Verdicts) -> None:
        """The verdict on the proposal that waits."""
        self._answers.put(verdict)

    def set_review(self, review: bool) -> None:
        """Review each step, or run on; a proposal that waits goes on unreviewed."""
        self.review = review
        if not review and self.running:
            self._answers.put(Accepted(Author.AGENT))

    def cancel(self) -> None:
        """Asks the play to end; it says so through its last event."""
        self._cancelled.set()
        self._answers.put(None)

    def drop(self) -> None:
        """Ends the play and hears nothing more of it."""
        self.cancel()
        self._generation += 1
        self._thread = None

    def _work(
        self,
        generation: int,
        make: MakePlay,
        cancelled: threading.Event,
        answers: queue.Queue[Verdicts | None],
    ) -> None:
        """In the worker. The play sees the gate's answers; everything else goes out as signals."""
        verdict: Verdicts | None = None
        problem = ""
        try:
            events = make(cancelled.is_set, lambda text: self._from_worker.emit(generation, "typed", text))
            while True:
                event = events.send(verdict)
                self._from_worker.emit(generation, "happened", event)
                waits = isinstance(event, Proposed) and self.review and not cancelled.is_set()
                verdict = answers.get() if waits else None
        except StopIteration:
            pass
        except IbisError as error:
            problem = str(error)
        self._from_worker.emit(generation, "ended", problem)

    def _receive(self, generation: int, kind: str, content: object) -> None:
        """In the main thread: what a superseded run sent is dropped here."""
        if generation != self._generation:
            return
        if kind == "happened":
            self.happened.emit(content)
        elif kind == "typed":
            self.typed.emit(str(content))
        else:
            self._thread = None
            self.ended.emit(str(content))
