"""Showing the parts of the window one after another, with pauses in which it paints and hears its user."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from qtpy.QtCore import QObject, QTimer

# Long enough for a window system to ask for the painting of what a part has changed.
_PAUSE_MS = 10


class Turns(QObject):  # type: ignore[misc]
    """Calls functions, each in a turn of the event loop of its own, and a pause after each.

    Each takes some ms, and the painting that follows takes more: together they would hold the window up.
    """

    def __init__(self, functions: Sequence[Callable[[], None]], parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._functions = tuple(functions)
        self._due: list[Callable[[], None]] = []
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.timeout.connect(self._next)

    @property
    def over(self) -> bool:
        """Whether nothing is left to be called."""
        return not self._due

    def call(self) -> None:
        """Each function is called once from now on, in their order, however often this is asked before it is."""
        self._due += [function for function in self._functions if function not in self._due]
        if not self._timer.isActive():
            self._timer.start(0)

    def _next(self) -> None:
        if not self._due:
            return
        try:
            self._due.pop(0)()
        finally:
            self._timer.start(_PAUSE_MS)
