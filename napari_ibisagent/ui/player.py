"""The agent and the tool at work for one scan: plays in a worker, with the backends that were chosen.

Knows no store and no layer: it is given an episode, and tells what happens to it.
"""

from __future__ import annotations

import threading
from typing import Any

from qtpy.QtCore import QObject, Signal

from napari_ibisagent import registry
from napari_ibisagent.agent import plays
from napari_ibisagent.agent.stop import Limits
from napari_ibisagent.core.episode import Episode, Located
from napari_ibisagent.core.protocols import notice_of
from napari_ibisagent.core.volume import Volume
from napari_ibisagent.ui.backends import Backends
from napari_ibisagent.ui.bridge import Bridge, MakePlay
from napari_ibisagent.ui.story import readable


class Player(QObject):  # type: ignore[misc]
    """Plays one thing at a time; a new one takes the place of what still runs."""

    happened = Signal(object)  # an event
    thinking = Signal(str)  # a further piece of the agent's thought
    silent = Signal()  # the thought is over
    noticed = Signal(str)  # what has to be known of policy and tool, once they are loaded
    ended = Signal(str, bool)  # "" in order, else the sentence of an error; whether the agent goes on after it

    def __init__(self, volume: Volume, backends: Backends, lock: threading.Lock, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.policy, self.segmenter = registry.DEFAULT_POLICY, registry.DEFAULT_SEGMENTER
        self.propagator = "neighbour"
        self.asks_agent = False
        self._volume = volume
        self._backends = backends
        self._studio: tuple[tuple[str, str], plays.Studio] | None = None
        self._said = self._noticed = ""
        self._agent_next = False
        self._bridge = Bridge(lock, self)
        self._bridge.happened.connect(self._happened)
        self._bridge.typed.connect(self._typed)
        self._bridge.ended.connect(self._ended)

    @property
    def running(self) -> bool:
        """Whether the agent or the tool is at work."""
        return self._bridge.running

    @property
    def passes(self) -> float:
        """How many proposals may still go on unreviewed."""
        return self._bridge.passes

    def allow(self, passes: float) -> None:
        """So many proposals may go on unreviewed from now on: 0 is review, infinity is run."""
        self._bridge.allow(passes)

    def play(self, episode: Episode, limits: Limits, passes: float) -> None:
        """The agent goes on with an episode."""
        self._bridge.allow(passes)
        self._start(lambda ears: plays.play(episode, self._studio_now(), limits, ears), agent=True)

    def finish(self, episode: Episode, *, agent_next: bool) -> None:
        """The tool alone: what a person has clicked and accepted."""
        self._start(lambda _: plays.finish(episode, self._studio_now()), agent=False)
        self._agent_next = agent_next

    def delete(self, episode: Episode, number: int) -> None:
        """Step ``number`` (from 1) is taken out; the tool computes the later ones again."""
        self._start(lambda _: plays.delete(episode, self._studio_now(), number), agent=False)

    def carry(self, episode: Episode) -> None:
        """The mask on the table is carried through the volume."""
        self._start(lambda ears: plays.carry_on(episode, self._studio_now(), ears), agent=False)

    def drop(self) -> bool:
        """Ends what runs and hears nothing more of it; says whether the agent was at work."""
        at_work = self.running and (self.asks_agent or self._agent_next)
        self._agent_next = False
        self._bridge.drop()
        self.silent.emit()
        return at_work

    def _start(self, make: MakePlay, *, agent: bool) -> None:
        self.asks_agent = agent
        self._agent_next = False
        self._said = ""
        self._bridge.start(make)

    def _studio_now(self) -> plays.Studio:
        """In the worker: loads the backends at their first use, and again when others were chosen meanwhile."""
        chosen = (self.policy, self.segmenter)
        if self._studio is None or self._studio[0] != chosen:
            policy, tool = self._backends.get("policies", chosen[0]), self._backends.get("segmenters", chosen[1])
            propagator = self._backends.get("propagators", self.propagator)
            self._studio = (chosen, plays.Studio(self._volume, policy, tool, propagator))
        return self._studio[1]

    def _happened(self, event: Any) -> None:
        notice = "" if self._studio is None else notice_of(self._studio[1].policy, self._studio[1].tool)
        if notice != self._noticed:
            self._noticed = notice
            self.noticed.emit(notice)
        if not isinstance(event, Located):
            self._said = ""
            self.silent.emit()
        self.happened.emit(event)

    def _typed(self, text: str) -> None:
        before, self._said = readable(self._said), self._said + text
        self.thinking.emit(readable(self._said)[len(before) :])

    def _ended(self, problem: str) -> None:
        then, self._agent_next = self._agent_next and not problem, False
        self.silent.emit()
        self.ended.emit(problem, then)
