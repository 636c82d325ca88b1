"""``History``: every state that a session was ever in, as a tree. Undo, redo and branching move its head.

Because states are frozen and share their parts, keeping all of them costs little, and a mask comes back bit
for bit without any model being asked.
"""

from __future__ import annotations

from dataclasses import dataclass

from napari_ibisagent.core.errors import StateError
from napari_ibisagent.core.session import Session, SessionEvent, advance


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
    """The tree of states; ``head`` is the node that the session is at."""

    nodes: tuple[Node, ...] = (Node(None, None, Session()),)
    head: int = 0

    @property
    def session(self) -> Session:
        """The state at the head."""
        return self.nodes[self.head].state

    def path(self) -> tuple[int, ...]:
        """The nodes from the root to the head."""
        path = [self.head]
        while (parent := self.nodes[path[-1]].parent) is not None:
            path.append(parent)
        return tuple(reversed(path))

    def undo(self) -> Reverted | None:
        """The event that goes back to the settled state before this one, or None at the start."""
        node = self.nodes[self.head].parent
        while node is not None and not _settled(self.nodes[node]):
            node = self.nodes[node].parent
        return None if node is None or self.nodes[node].state.scan is None else Reverted(node)

    def redo(self) -> Reverted | None:
        """The event that goes forward again along the newest branch, or None at its end."""
        children = self._newest_children()
        node = children.get(self.head)
        while node is not None and not _settled(self.nodes[node]) and node in children:
            node = children[node]
        return None if node is None else Reverted(node)

    def _newest_children(self) -> dict[int, int]:
        return {node.parent: n for n, node in enumerate(self.nodes) if node.parent is not None}


def _settled(node: Node) -> bool:
    """Whether a person would see this state as a step of its own: nothing is on its way."""
    current = node.state.episode
    return current is None or (current.pending is None and (not current.thought or current.outcome is not None))


def record(history: History, event: Event) -> History:
    """The history after an event. Raises StateError when the event can't follow."""
    if isinstance(event, Reverted):
        if not 0 <= event.to < len(history.nodes):
            raise StateError(f"The history has no state {event.to}.")
        return History(history.nodes, event.to)
    state = advance(history.session, event)
    nodes = (*history.nodes, Node(history.head, event, state))
    return History(nodes, len(nodes) - 1)
