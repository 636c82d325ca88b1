"""``History``: every state that a session was ever in, as a tree. Undo, redo and branching move its head.

Because states are frozen and share their parts, keeping all of them costs little, and a mask comes back bit
for bit without any model being asked.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise

from napari_ibisagent.core.episode import Accepted, Author, Episode, Painted, Prompted, Proposed, Step
from napari_ibisagent.core.errors import StateError
from napari_ibisagent.core.session import Consented, Opened, Session, SessionEvent, advance


@dataclass(frozen=True, slots=True)
class Reverted:
    """The head moves to another node of the history: undo, redo, or a branch from there."""

    to: int


Event = SessionEvent | Reverted


@dataclass(frozen=True, slots=True)
class Node:
    """A state, the event that led to it, and the node before (None for the root)."""

    parent: int | None
    event: SessionEvent | None
    state: Session


@dataclass(frozen=True, slots=True)
class History:
    """The tree of states; ``head`` is the node that the session is at, ``tip`` the end of the branch that it is on."""

    nodes: tuple[Node, ...] = (Node(None, None, Session()),)
    head: int = 0
    tip: int = 0

    @property
    def session(self) -> Session:
        """The state at the head."""
        return self.nodes[self.head].state

    def path(self) -> tuple[int, ...]:
        """The nodes from the root to the head."""
        return self._path_to(self.head)

    def undo(self) -> Reverted | None:
        """The event that goes back to the last state that a person saw as one, or None at the start."""
        child, node = self.head, self.nodes[self.head].parent
        while node is not None and not self._rests(node, child):
            child, node = node, self.nodes[node].parent
        return None if node is None or self.nodes[node].state.scan is None else Reverted(node)

    def redo(self) -> Reverted | None:
        """The event that goes forward again along the branch that was undone, or None at its end."""
        path = self._path_to(self.tip)
        ahead = path[path.index(self.head) + 1 :]
        for node, child in pairwise(ahead):
            if self._rests(node, child):
                return Reverted(node)
        # What was dropped half done isn't gone forward to: nobody would finish it.
        return Reverted(ahead[-1]) if ahead and self._complete(ahead[-1]) else None

    def settle(self) -> Reverted | None:
        """The event that drops what is half done (a thought, a click on its way through the tool), or None."""
        return None if self._complete(self.head) else self.undo()

    def node_of_step(self, episode: int, number: int) -> int | None:
        """The node on the way to the head where step ``number`` (0: none yet) of an episode (from 0) was just done.

        None: there was no such state, since a step before it was deleted later on. Raises StateError where there is
        no such step.
        """
        now = self.session.episodes
        if not 0 <= episode < len(now) or not 0 <= number <= len(now[episode].steps):
            raise StateError(f"Prompt {episode + 1} has no step {number} to go back to.")
        wanted = now[episode].steps[:number]
        for node in self.path():
            episodes = self.nodes[node].state.episodes
            if len(episodes) > episode:
                then = episodes[episode]
                if then.located and then.pending is None and then.steps == wanted:
                    return node
        return None

    def other_ends(self, node: int) -> tuple[int, ...]:
        """The newest ends of the branches that leave the way to the head at a node, or after it before the next step.

        Oldest branch first. What was dropped half done is no branch.
        """
        on_path, steps = self.path(), _steps_of(self.nodes[node].state)
        forks = {n for n in on_path if n >= node and _steps_of(self.nodes[n].state) == steps}
        starts = [n for n, found in enumerate(self.nodes) if found.parent in forks and n not in on_path]
        ends = [(start, self._last_rest(self._newest_end(start))) for start in starts]
        return tuple(end for start, end in ends if end >= start)

    def _last_rest(self, node: int) -> int:
        """A node, or the last one before it where nothing is half done."""
        if self._complete(node):
            return node
        way = self._path_to(node)
        return next((n for n, child in reversed(tuple(pairwise(way))) if self._rests(n, child)), 0)

    def _complete(self, node: int) -> bool:
        """Whether nothing is half done at a node, as long as nobody goes on from it."""
        episode = self.nodes[node].state.episode
        return _settled(episode) or _waits(episode)

    def _path_to(self, node: int) -> tuple[int, ...]:
        """The nodes from the root to a node."""
        path = [node]
        while (parent := self.nodes[path[-1]].parent) is not None:
            path.append(parent)
        return tuple(reversed(path))

    def _opens_by_hand(self, node: int, child: int) -> bool:
        """Whether a node only made room for what a person then did: a stroke or a click and its room are one deed."""
        room, deed = self.nodes[node].event, self.nodes[child].event
        by_hand = isinstance(deed, Painted) or (isinstance(deed, Proposed) and deed.author is Author.HUMAN)
        return isinstance(room, Prompted) and not room.text and by_hand

    def _newest_end(self, node: int) -> int:
        """The end of the newest branch from a node."""
        newest = {found.parent: n for n, found in enumerate(self.nodes)}
        while node in newest:
            node = newest[node]
        return node

    def _rests(self, node: int, child: int) -> bool:
        """Whether undo and redo stop at a node: nothing is on its way there, or a person gave the verdict there."""
        episode, event = self.nodes[node].state.episode, self.nodes[child].event
        if isinstance(event, Opened):
            return False  # another policy or tool is no deed on the scan
        pending = None if episode is None else episode.pending
        if pending is None or not _waits(episode):
            return _settled(episode) and not self._opens_by_hand(node, child)
        # A person's own click goes to the tool at once, unless it was placed first and moved.
        own = pending.author is Author.HUMAN and not pending.amended
        return event != Accepted(Author.AGENT) and not (own and isinstance(event, Accepted))


def _settled(episode: Episode | None) -> bool:
    """Whether nothing is on its way. The slices of one carrying are one deed."""
    if episode is not None and episode.under_way:
        return False
    if episode is None or episode.outcome is not None:
        return True
    return episode.located and episode.pending is None and not episode.thought


def _waits(episode: Episode | None) -> bool:
    return episode is not None and episode.waits


def _steps_of(session: Session) -> tuple[int, tuple[Step, ...]]:
    """How many prompts there are, and the steps of the last of them."""
    return len(session.episodes), () if session.episode is None else session.episode.steps


def record(history: History, event: Event) -> History:
    """The history after an event. Raises StateError when the event can't follow."""
    if isinstance(event, Reverted):
        if not 0 <= event.to < len(history.nodes):
            raise StateError(f"The history has no state {event.to}.")
        tip = history.tip if event.to in history._path_to(history.tip) else history._newest_end(event.to)
        return History(history.nodes, event.to, tip)
    if isinstance(event, Consented):
        # It is about the session as a whole and no moment of it: undo must neither take it back nor bring it back.
        told = tuple(replace(node, state=advance(node.state, event)) for node in history.nodes)
        return replace(history, nodes=told)
    state = advance(history.session, event)
    nodes = (*history.nodes, Node(history.head, event, state))
    return History(nodes, len(nodes) - 1, len(nodes) - 1)
