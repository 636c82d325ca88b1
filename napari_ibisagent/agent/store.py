"""The state that a user interface shows: one session on one scan. Knows no toolkit and no thread.

Views subscribe and get (old, new) after every change; they send intents by calling methods. Nothing else keeps
state, so undo, a restart from the journal and a replay look the same to a view. The gate is a state as well: a
proposal that waits is an episode with something pending, whether it waits for a second or was found in a journal.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from napari_ibisagent.agent.autosave import Autosave
from napari_ibisagent.agent.commit import committing, home_of
from napari_ibisagent.core.actions import Action, Click
from napari_ibisagent.core.episode import Amended, Episode, PackedMask, Painted, Prompted, StepDeleted
from napari_ibisagent.core.errors import StateError
from napari_ibisagent.core.history import Event, History, Reverted, record
from napari_ibisagent.core.masks import Mask
from napari_ibisagent.core.measures import key_slice
from napari_ibisagent.core.session import (
    Consented,
    ObjectChanged,
    ObjectRemoved,
    OverlapRule,
    RuleChanged,
    SegmentedObject,
    Session,
    labels_in_slice,
)
from napari_ibisagent.core.target import Target
from napari_ibisagent.core.view import Plane, View, view_of
from napari_ibisagent.core.volume import Volume

Listener = Callable[[Session, Session], None]


class Store:
    """A session with its scan. Use from one thread only."""

    def __init__(self, volume: Volume, history: History | None = None, autosave: Autosave | None = None) -> None:
        self.volume = volume
        self.history = history or History()
        self._autosave = autosave
        self._listeners: list[Listener] = []
        self._views: dict[tuple[Plane, int], View] = {}

    @property
    def session(self) -> Session:
        """The state now."""
        return self.history.session

    @property
    def episode(self) -> Episode | None:
        """The current episode."""
        return self.session.episode

    @property
    def trouble(self) -> str:
        """Why what was done last isn't saved, or nothing."""
        return "" if self._autosave is None else self._autosave.trouble

    def subscribe(self, listener: Listener) -> Callable[[], None]:
        """Calls ``listener(old, new)`` after every change, until the returned function is called."""
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener)

    def record(self, event: Event) -> None:
        """Folds an event in, saves it and tells the views. Raises StateError where it can't follow."""
        old = self.session
        self.history = record(self.history, event)
        if self._autosave is not None:
            self._autosave.append(event)
        for listener in tuple(self._listeners):
            listener(old, self.session)

    def view(self, episode: Episode) -> View:
        """The slice of an episode; the last few are kept, since a coronal one may have to be resampled."""
        place = (episode.plane, episode.index)
        if place not in self._views:
            while len(self._views) >= 4:
                del self._views[next(iter(self._views))]
            self._views[place] = view_of(self.volume, *place)
        return self._views[place]

    # -- undo, redo, branches ----------------------------------------------------------------------------

    def undo(self) -> bool:
        """Goes back one state; False at the start."""
        return self._move(self.history.undo())

    def redo(self) -> bool:
        """Goes forward again along the branch that was undone; False at its end."""
        return self._move(self.history.redo())

    def settle(self) -> bool:
        """Drops what a run left half done; False where there is nothing of the kind."""
        return self._move(self.history.settle())

    def branch(self, episode: int, step: int) -> None:
        """Goes back to where step ``step`` (0: none yet) of an episode was just done.

        Where there was no such state, since a step before it was deleted, the steps after it are deleted as well.
        Raises StateError where there is no such step.
        """
        node, last = self.history.node_of_step(episode, step), len(self.session.episodes) - 1
        if node is not None:
            self.record(Reverted(node))
        elif episode == last:
            for number in range(len(self.session.episodes[last].steps), step, -1):
                self.record(StepDeleted(number))
        else:
            raise StateError(f"A step before step {step} was deleted, and that prompt is not the current one any more.")

    def other_branches(self, episode: int, step: int) -> tuple[int, ...]:
        """The nodes where other branches end that left the way to here between that step and the next one."""
        node = self.history.node_of_step(episode, step)
        return () if node is None else self.history.other_ends(node)

    # -- the human's hand --------------------------------------------------------------------------------

    def amend(self, actions: tuple[Action, ...]) -> None:
        """Changes the proposal that waits. Raises StateError where none does."""
        self.record(Amended(actions))

    def flip(self) -> None:
        """Turns the signs of the clicks in the proposal that waits. Raises StateError where none does."""
        if self.episode is None or self.episode.pending is None:
            raise StateError("There is no proposal to flip.")
        pending = self.episode.pending
        self.amend(tuple(replace(a, positive=not a.positive) if isinstance(a, Click) else a for a in pending.actions))

    def paint(self, plane: Plane, index: int, native: Mask) -> None:
        """The mask (rows, columns) of a slice as a person left it. On another slice than the current one it begins
        an episode of its own."""
        self.begin_by_hand(plane, index)
        episode = self.episode
        if episode is None:
            raise StateError("There is no slice to paint on.")
        self.record(Painted(PackedMask.of(self.view(episode).from_native(native))))

    def clear(self) -> None:
        """Takes the mask on the table away, as a step of the human's. Raises StateError without an episode."""
        if self.episode is None:
            raise StateError("There is no mask to clear.")
        episode = self.episode
        self.record(Painted(PackedMask.of(replace(episode, steps=(), given=None).mask_array())))

    def begin_by_hand(self, plane: Plane, index: int) -> bool:
        """Begins an episode of the human alone, without a sentence, unless the current one is about this slice and
        isn't kept yet. Says whether it did."""
        episode = self.episode
        if episode is not None and (episode.plane, episode.index) == (plane, index) and episode.kept_as is None:
            return False
        shape = view_of(self.volume, plane, index).shape
        self.record(Prompted("", plane, index, shape))
        return True

    # -- objects -----------------------------------------------------------------------------------------

    def keep(self, number: int = -1, *, into: int | None = None, as_new: bool = False) -> SegmentedObject | None:
        """Makes the mask of an episode an object, or a slice of one. None: there is no mask.

        ``into`` is the label value of that object; None: the one of the episode's name, or a new one.
        Raises OverlapError where the rule or a lock forbids it, and then nothing has been recorded.
        """
        session = self.session
        if not session.episodes:
            return None
        if not -len(session.episodes) <= number < len(session.episodes):
            raise StateError(f"There is no prompt {number + 1} to keep a mask of.")
        episode = session.episodes[number]
        if into is None and not as_new:
            into = self._home(session, episode)
        event = committing(session, self.volume, self.view(episode), number=number, into=into)
        if event is None:
            return None
        self.record(event)
        return self.session.object_of(event.patch.value)

    @staticmethod
    def _home(session: Session, episode: Episode) -> int | None:
        """The label value of the object that a mask goes into by itself."""
        if episode.carrying is not None and episode.carrying.into is not None:
            return episode.carrying.into  # its key slice was kept before the others were done
        home = home_of(session, episode)
        return None if home is None else home.value

    def correct(self, value: int, place: tuple[Plane, int] | None = None) -> None:
        """Puts an object's mask on the table, to be worked on: that of a slice, or of its key slice where the object
        isn't on that one. Raises StateError where it is locked, has no voxels or isn't there."""
        row = self.session.object_of(value)
        if row.locked:
            raise StateError(f"{row.name} is locked. Unlock it to correct it.")
        on_it = {(patch.plane, patch.index) for patch in self.session.patches_of(value)}
        plane, index = place if place is not None and place in on_it else self.key_slice(value)
        labels = labels_in_slice(self.session, self.volume.shape, plane, index)
        view = view_of(self.volume, plane, index)
        mask = PackedMask.of(view.from_native(labels == value))
        self.record(Prompted(row.name, plane, index, view.shape, self.target_of(value), given=mask))

    def target_of(self, value: int) -> Target | None:
        """What an object was asked for as, None where nobody asked or it has another name now."""
        name = self.session.object_of(value).name
        targets = (e.target for e in reversed(self.session.episodes) if e.kept_as == value)
        return next((target for target in targets if target is not None and target.full_name == name), None)

    def key_slice(self, value: int) -> tuple[Plane, int]:
        """The slice that shows most of an object. Raises StateError where it has no voxels."""
        place = key_slice(value, self.session)
        if place is None:
            raise StateError(f"{self.session.object_of(value).name} has no voxels.")
        return place

    def change_object(self, row: SegmentedObject) -> None:
        """Another name, colour, lock or visibility. Raises StateError for an object that isn't there."""
        if row != self.session.object_of(row.value):
            self.record(ObjectChanged(row))

    def remove_object(self, value: int) -> None:
        """Deletes an object with its voxels. Raises StateError where it is locked or isn't there."""
        if self.session.object_of(value).locked:
            raise StateError(f"{self.session.object_of(value).name} is locked. Unlock it to delete it.")
        self.record(ObjectRemoved(value))

    def change_rule(self, rule: OverlapRule) -> None:
        """Another overlap rule, from now on."""
        if rule is not self.session.rule:
            self.record(RuleChanged(rule))

    # -- training ----------------------------------------------------------------------------------------

    def consent(self, given: bool) -> None:
        """Whether the session may be used for training, from the first step on; no undo changes it."""
        if self.session.consent is not given:
            self.record(Consented(given))

    def _move(self, event: Reverted | None) -> bool:
        if event is None:
            return False
        self.record(event)
        return True
