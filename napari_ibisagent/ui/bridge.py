"""Threads, in one place: plays generators in a worker and hands what comes of them to the main thread.

Each play has a generation number; what a cancelled or superseded one still sends is dropped. Plays follow each other:
a new one begins when the one before has let go, since tools and policies needn't be safe for two at once.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

from qtpy.QtCore import QObject, Signal

from napari_ibisagent.agent.plays import Ears
from napari_ibisagent.core.errors import IbisError

MakePlay = Callable[[Ears], Iterator[Any]]


class Bridge(QObject):  # type: ignore[misc]
    """Runs one play at a time. Its signals arrive in the main thread, in order."""

    happened = Signal(object)
    typed = Signal(str)
    ended = Signal(str)  # "" in order, else the sentence of an error
    _from_worker = Signal(int, str, object)

    def __init__(self, lock: threading.Lock, parent: QObject | None = None) -> None:
        """``lock``: bridges that share one never play at the same time."""
        super().__init__(parent)
        self._generation = 0
        self._passes: float = 0
        self._cancelled = threading.Event()
        self._one_at_a_time = lock
        self._running = False
        self._from_worker.connect(self._receive)

    @property
    def running(self) -> bool:
        """Whether a play is under way."""
        return self._running

    @property
    def passes(self) -> float:
        """How many proposals may still go on unreviewed."""
        return self._passes

    def allow(self, passes: float) -> None:
        """So many proposals may go on unreviewed from now on: 0 is review, infinity is run."""
        self._passes = passes

    def start(self, make: MakePlay) -> None:
        """Drops what may still run and plays what ``make`` returns in a new worker."""
        self.drop()
        self._cancelled = threading.Event()
        self._running = True
        arguments = (self._generation, make, self._cancelled)
        threading.Thread(target=self._work, args=arguments, name=f"ibisagent-{self._generation}", daemon=True).start()

    def drop(self) -> None:
        """Ends the play and hears nothing more of it."""
        self._cancelled.set()
        self._generation += 1
        self._running = False

    def _work(self, generation: int, make: MakePlay, cancelled: threading.Event) -> None:
        """In the worker. An error of the program's own is raised there, after the window has heard of it."""
        problem = ""
        try:
            with self._one_at_a_time:
                ears = Ears(cancelled.is_set, lambda text: self._tell(generation, "typed", text), self._pass)
                for event in () if cancelled.is_set() else make(ears):
                    self._tell(generation, "happened", event)
                    if cancelled.is_set():
                        break
        except IbisError as error:
            problem = str(error)
        except Exception as error:
            problem = f"The program has a fault ({type(error).__name__}: {error}). What was done so far is safe."
            raise
        finally:
            self._tell(generation, "ended", problem)

    def _tell(self, generation: int, kind: str, content: object) -> None:
        try:
            self._from_worker.emit(generation, kind, content)
        except RuntimeError:
            return  # the window was closed meanwhile: nobody is left to hear it

    def _pass(self) -> bool:
        """In the worker, at a proposal: one of the passes is used up."""
        if self._passes <= 0:
            return False
        self._passes -= 1
        return True

    def _receive(self, generation: int, kind: str, content: object) -> None:
        """In the main thread: what a superseded play sent is dropped here."""
        if generation != self._generation:
            return
        if kind == "happened":
            self.happened.emit(content)
        elif kind == "typed":
            self.typed.emit(str(content))
        else:
            self._running = False
            self.ended.emit(str(content))
