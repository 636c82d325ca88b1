"""One scan at work: carries out what the user wants on its store, through its layers and its worker.

Every intent is a method. Whatever runs when the user takes something into their own hand is dropped first, and goes
on afterwards from what they made.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from napari.components import ViewerModel
from napari.layers import Image
from qtpy.QtCore import QObject, Signal

from napari_ibisagent.agent.autosave import Autosave
from napari_ibisagent.agent.carry import asks_for_volume, early_end
from napari_ibisagent.agent.checks import side_warning
from napari_ibisagent.agent.commit import lost_in_keeping
from napari_ibisagent.agent.stop import Limits, turns_of
from napari_ibisagent.agent.store import Store
from napari_ibisagent.core.actions import Click, PromptAction
from napari_ibisagent.core.carrying import End, Extent
from napari_ibisagent.core.episode import (
    Accepted,
    Author,
    Episode,
    Failed,
    Located,
    Outcome,
    Overridden,
    Pending,
    Prompted,
    Proposed,
    Rejected,
    Terminated,
)
from napari_ibisagent.core.errors import IbisError
from napari_ibisagent.core.history import History, Reverted
from napari_ibisagent.core.session import Opened, Session
from napari_ibisagent.core.view import Plane, pixel_mm_of, view_of
from napari_ibisagent.io.labels import Saved
from napari_ibisagent.ui.backends import Backends
from napari_ibisagent.ui.cards import Card, Tone
from napari_ibisagent.ui.exhibit import Exhibit, Shown, exhibit_of
from napari_ibisagent.ui.layers import ScanLayers
from napari_ibisagent.ui.opener import Opener
from napari_ibisagent.ui.outlook import choices_now, possible, question, status_of, warnings_now
from napari_ibisagent.ui.player import Player
from napari_ibisagent.ui.scan import Scan
from napari_ibisagent.ui.story import Scene, note, story_of

_NUDGE = 0.01
# In review the user is the limit; this one only ends what has no end.
_REVIEW_LIMIT = 100
_NUDGES = {"nudge_up": (0.0, -_NUDGE), "nudge_down": (0.0, _NUDGE), "nudge_left": (-_NUDGE, 0.0)}
_NUDGES["nudge_right"] = (_NUDGE, 0.0)


class Desk(QObject):  # type: ignore[misc]
    """A scan with its session. ``changed`` says that there is something new to show."""

    changed = Signal()

    def __init__(
        self,
        viewer: ViewerModel,
        image: Image,
        scan: Scan,
        backends: Backends,
        locks: tuple[threading.Lock, threading.Lock],
        folders: tuple[Path, ...],
        parent: QObject | None = None,
    ) -> None:
        """``locks``: for runs, for opening scans. ``folders``: the first takes new journals, all are searched."""
        super().__init__(parent)
        self.scan = scan
        self.image = image
        self.layers = ScanLayers(viewer, image, scan, self)
        self.store: Store | None = None
        self.review, self.steps, self.positive = True, 20, True
        self.extent = Extent.SLICE
        self.in_front = False
        sides = {plane: pixel_mm_of(scan.volume, plane) for plane in Plane}
        self._area = {plane: None if side is None else side**2 for plane, side in sides.items()}
        self.shown: Shown | None = None
        self._autosave: Autosave | None = None
        self._known_branches: tuple[History, dict[tuple[int, int], tuple[int, ...]]] | None = None
        self._limit = 0
        self._notes: tuple[Card, ...] = tuple(
            note(f"scan-{n}", w, Tone.CARE) for n, w in enumerate(scan.volume.warnings)
        )
        self.player = Player(scan.volume, backends, locks[0], self)
        self.player.happened.connect(self._happened)
        self.player.ended.connect(self._ended)
        self.player.noticed.connect(lambda notice: self._say("policy", notice, Tone.CARE))
        self.opener = Opener(scan, folders, locks[1], self)
        self.opener.opened.connect(self._opened)
        self.opener.asked.connect(self.changed)
        self.opener.refused.connect(self._refused)
        self.opener.broken.connect(self._found_broken)
        self.opener.saved.connect(self._saved)
        self.opener.not_saved.connect(lambda problem: self._say("saved", f"Not saved: {problem}", Tone.BAD))
        self.layers.painted.connect(self.paint)
        self.layers.clicked.connect(self.click)
        self.layers.moved.connect(self.move)

    # -- what there is to show ---------------------------------------------------------------------------

    @property
    def running(self) -> bool:
        """Whether the agent or the tool is at work."""
        return self.player.running

    @property
    def ready(self) -> bool:
        """Whether the session is open."""
        return self.store is not None

    @property
    def session(self) -> Session:
        """The state now; an empty one before the session is open."""
        return Session() if self.store is None else self.store.session

    @property
    def episode(self) -> Episode | None:
        """The current episode."""
        return self.session.episode

    @property
    def progress(self) -> tuple[int, int]:
        """Steps or slices done and at most to do, (0, 0) while that isn't known."""
        episode = self.episode
        if episode is not None and episode.carrying is not None and episode.under_way:
            return len(episode.carrying.slices), episode.carrying.last - episode.carrying.first
        if episode is None or not episode.located or self._limit in (0, _REVIEW_LIMIT):
            return 0, 0
        return turns_of(episode), self._limit

    @property
    def trouble(self) -> str:
        """Why what was done last isn't saved, or nothing."""
        return "" if self.store is None else self.store.trouble

    def status(self) -> str:
        """What goes on, in a few words."""
        if self.store is None:
            return "Waits for your answer." if self.opener.earlier is not None else "Looking at the scan…"
        return status_of(self.episode, self.running, self.shown)

    def exhibit(self) -> Exhibit | None:
        """What the canvas shows."""
        return exhibit_of(self.session, self.shown)

    def cards(self) -> tuple[Card, ...]:
        """What the conversation shows."""
        store = self.store
        if store is None:
            earlier = self.opener.earlier
            return self._notes if earlier is None else (*self._notes, question(earlier))
        episodes = enumerate(store.session.episodes)
        scene = Scene(
            running=self.running,
            shown=self.shown,
            pixel_mm2={number: self._area[episode.plane] for number, episode in episodes},
            branches=self._branches(store),
            choices=choices_now(store),
            warnings=warnings_now(store),
            notes=self._notes,
        )
        return story_of(store.session, scene)

    def can(self) -> frozenset[str]:
        """The intents that can be done now."""
        return possible(self.store, self.running)

    # -- opening and closing -----------------------------------------------------------------------------

    def answer(self, resume_it: bool) -> None:
        """The user's answer to whether an earlier session is to be gone on with."""
        self.opener.answer(resume_it)
        self.changed.emit()

    def close(self) -> None:
        """Ends what runs and lets go of the journal; nothing that was done is lost."""
        self.player.drop()
        self.layers.close()
        self.opener.close()
        if self._autosave is not None:
            self._autosave.close()

    def _opened(self, autosave: Autosave, history: History | None) -> None:
        self._autosave = autosave
        self.store = Store(self.scan.volume, history, autosave)
        self.store.subscribe(self._changed)
        self.layers.prepare()
        self._changed(Session(), self.store.session)
        self._end_carrying("The program was ended in the middle of it.")
        self._tell_backends()
        self._go_to_episode()

    def _found_broken(self, sentences: tuple[str, ...]) -> None:
        for number, sentence in enumerate(sentences):
            self._say(f"scan-broken-{number}", sentence, Tone.CARE)

    def _refused(self, problem: str) -> None:
        text = f"The earlier session can't be gone on with: {problem} It stays where it is."
        self._say("opening", text, Tone.CARE)

    # -- asking and the gate -----------------------------------------------------------------------------

    def ask(self, prompt: str) -> None:
        """Begins an episode for a sentence; the policy chooses the slice on the plane that is shown.

        The whole volume is done where that was chosen, or where the sentence asks for it.
        """
        store = self.store
        if store is None:
            return
        self._leave_episode()
        plane, index = self._place()
        sentence, whole = asks_for_volume(prompt)
        extent = Extent.VOLUME if whole else self.extent
        shape = view_of(store.volume, plane, index).shape
        store.record(Prompted(sentence, plane, index, shape, located=False, extent=extent))
        self._run()

    def carry(self) -> None:
        """Carries the mask on the table through the volume, slice by slice."""
        if self.store is None or self.episode is None or "carry" not in self.can():
            return
        self._leave_run()
        self._tell_backends()
        self.player.carry(self.episode)
        self.changed.emit()

    def accept(self) -> None:
        """The proposal goes to the tool. What the user can't see is shown first."""
        episode = self.episode
        if episode is not None and episode.waits and (self.shown or self._place() != (episode.plane, episode.index)):
            self.shown = None
            self._go_to_episode()
            self._say("unseen", "Here is the proposed click. Accept it once you have seen it.", Tone.CARE)
            return
        self._judge(Accepted(Author.HUMAN))

    def reject(self, reason: str = "") -> None:
        """The proposal is refused; the reason goes back to the policy."""
        self._judge(Rejected(reason))

    def flip(self) -> None:
        """Turns the sign of the proposal that waits, or else of the user's next click."""
        if self.store is not None and self.episode is not None and self.episode.waits:
            if self._proposal() is not None:
                self.store.flip()
        else:
            self.positive = not self.positive
            self.changed.emit()

    def nudge(self, intent: str) -> None:
        """Moves the clicks of the proposal that waits a little."""
        pending = self._proposal()
        if self.store is None or pending is None:
            return
        dx, dy = _NUDGES[intent]
        self.store.amend(tuple(_shifted(a, dx, dy) if isinstance(a, Click) else a for a in pending.actions))

    def move(self, click: Click, x: float, y: float) -> None:
        """A proposed click was dragged elsewhere."""
        pending = self._proposal()
        if self.store is None or pending is None:
            return
        moved = replace(click, x=x, y=y)
        self.store.amend(tuple(moved if action == click else action for action in pending.actions))

    def go_on(self) -> None:
        """The agent goes on from the state as it is, for the number of steps set."""
        if self.store is None or self.episode is None or self.running or "go_on" not in self.can():
            return
        free = self.steps
        if self.episode.waits:
            self.store.record(Accepted(Author.AGENT))
            free -= 1
        self._run(math.inf if not self.review else free)

    def set_review(self, review: bool) -> None:
        """Review each step, or run for the number of steps set; also in the middle of a run.

        A proposal that waits goes on where the user sees it, and not on a scan in the back.
        """
        self.review = review
        self.player.allow(0 if review else self.steps)
        pending = self._proposal()
        if not review and self.in_front and pending is not None and pending.author is Author.AGENT:
            self.go_on()
        self.changed.emit()

    def cancel(self) -> None:
        """Ends the run at once, whatever the policy or the tool are at; what was done stays."""
        if self.store is None or not (self.running or (self.episode is not None and self.episode.waits)):
            return
        waits = self.episode is not None and self.episode.waits
        at_work = self.player.drop()
        if self._end_carrying("Cancelled by the user."):
            self.changed.emit()
            return
        if waits or (at_work and self.episode is not None and self.episode.outcome is None):
            self.store.record(Terminated(Outcome.CANCELLED, "Cancelled by the user."))
        else:
            self.store.settle()  # the tool alone was at work
        self.changed.emit()

    # -- the user's own hand -----------------------------------------------------------------------------

    def click(self, x: float, y: float) -> None:
        """A click of the user's on the slice that is shown; where a proposal waits it takes its place."""
        self.act((Click(x, y, self.positive),))

    def act(self, actions: tuple[PromptAction, ...]) -> None:
        """Clicks or a box of the user's own."""
        store = self.store
        if store is None or self.in_3d():
            return
        with_agent = self._take_over()
        episode = store.episode
        if episode is not None and episode.pending is not None and episode.waits:
            own = episode.pending.author is Author.HUMAN
            store.record(Overridden(actions))
            if own:
                self._finish(with_agent)
            else:
                self._run(self.player.passes)
            return
        store.record(Proposed(actions, author=Author.HUMAN))
        store.record(Accepted(Author.HUMAN))
        self._finish(with_agent)

    def place(self) -> None:
        """A click of the user's in the middle of the slice, to be moved by the keyboard and accepted."""
        if self.store is None or self.in_3d():
            return
        self._take_over()
        if self.episode is not None and not self.episode.waits:
            self.store.record(Proposed((Click(0.5, 0.5, self.positive),), author=Author.HUMAN))

    def paint(self, plane: Plane, index: int, native: Any) -> None:
        """The user painted or erased on a slice."""
        if self.store is None:
            return
        pending = self._proposal()
        waited = pending is not None and pending.author is Author.AGENT
        with_agent = self._take_over() or waited
        self.store.paint(plane, index, native)
        self.layers.redraw()
        if with_agent and self.episode is not None and self.episode.prompt:
            self._run(self.player.passes)

    def reset(self) -> None:
        """Clears the mask and its clicks."""
        if self.store is not None and "reset" in self.can():
            self._leave_run()
            self.store.clear()

    # -- undo, branches, looking back --------------------------------------------------------------------

    def undo(self) -> None:
        """Back by one state; what is half done goes first."""
        self._travel(lambda store: store.settle() or store.undo())

    def redo(self) -> None:
        """Forward by one state."""
        self._travel(lambda store: store.redo())

    def branch(self, card: Card) -> None:
        """Back to a step of the current episode; what followed stays in its own branch."""
        self._travel(lambda store: store.branch(card.episode, card.step))

    def jump(self, node: int) -> None:
        """To where another branch ends."""
        self._travel(lambda store: store.record(Reverted(node)))

    def delete(self, card: Card) -> None:
        """Takes a step of the current episode out; the tool computes the later ones again."""
        store = self.store
        if store is None:
            return
        self._leave_run()
        episode = store.episode
        if episode is not None and 1 <= card.step <= len(episode.steps):
            self.player.delete(episode, card.step)
            self.changed.emit()

    def work_on(self, card: Card) -> None:
        """Begins anew from the mask of an earlier step."""
        self._leave_episode()
        if self.store is not None and self._begin_from(Shown(card.episode, card.step)):
            self._go_to_episode()

    def show(self, card: Card) -> None:
        """Shows the state of a card on the canvas, on its slice."""
        if not 0 <= card.episode < len(self.session.episodes) or card.step < 0:
            return
        latest = len(self.session.episodes) - 1
        newest = card.episode == latest and card.step >= len(self.session.episodes[latest].steps)
        self.shown = None if newest else Shown(card.episode, card.step)
        episode = self.session.episodes[card.episode]
        self.layers.go_to(episode.plane, episode.index)
        self.changed.emit()

    # -- objects -----------------------------------------------------------------------------------------

    def keep(self, card: Card | None = None, *, into: int | None = None, as_new: bool = False) -> None:
        """Makes the mask of an episode an object, or a slice of one: of ``into``, or of the one of its name."""
        store = self.store
        number = -1 if card is None else card.episode
        if store is None or not store.session.episodes:
            return
        if number in (-1, len(store.session.episodes) - 1):
            self._leave_run()
        episode, before = store.session.episodes[number], store.session
        row = self._try(lambda: store.keep(number, into=into, as_new=as_new))
        if row is not None:
            lost = lost_in_keeping(before, store.session, episode, store.volume, row.value)
            if lost:
                self._say("kept", f"{row.name} was kept; {lost}", Tone.CARE)
            view, target = store.view(episode), store.target_of(row.value)
            side = side_warning(store.volume, view, view.to_native(episode.mask_array()), target)
            if side is not None:
                self._say("side", f"{row.name} was kept. {side}", Tone.CARE)

    def go_to_slice(self, card: Card, index: int) -> None:
        """Shows another slice of the plane that a card is about."""
        if 0 <= card.episode < len(self.session.episodes):
            self.shown = None
            self.layers.go_to(self.session.episodes[card.episode].plane, index)
            self.changed.emit()

    def with_store(self, deed: Callable[[Store], Any]) -> None:
        """A change of the object table; a refusal is told to the user."""
        store = self.store
        if store is not None:
            self._try(lambda: deed(store))

    def go_to_object(self, value: int) -> None:
        """Shows an object on its key slice."""
        self.with_store(lambda store: self.layers.go_to(*store.key_slice(value)))

    def correct(self, value: int) -> None:
        """Puts an object's mask on the table, to be worked on."""
        if any(row.value == value and row.locked for row in self.session.objects):
            self._say("refused", "That object is locked. Unlock it to correct it.", Tone.CARE)
            return
        self._leave_episode()
        self.with_store(lambda store: store.correct(value, self.layers.place()))
        self._go_to_episode()

    def save(self, path: Path) -> None:
        """Writes the labels on the scan's own grid; the user hears where they went."""
        self.opener.save(self.session, path)

    def _saved(self, saved: Saved) -> None:
        text = f"Saved as {saved.path}."
        if saved.kept_as is not None:
            text += f" The file that was there is now {saved.kept_as.name}."
        episode = self.episode
        if episode is not None and episode.mask is not None and episode.kept_as is None:
            text += " The mask on the table isn't kept as an object yet, so it isn't in the file."
        self._say("saved", text, Tone.GOOD)

    # -- backends ----------------------------------------------------------------------------------------

    def use(self, policy: str, segmenter: str) -> None:
        """Another policy or tool, from the next turn on."""
        player = self.player
        if (policy, segmenter) == (player.policy, player.segmenter):
            return
        player.policy, player.segmenter = policy, segmenter
        self._leave_run()

    def _tell_backends(self) -> None:
        """Writes down which policy and tool are at work from now on, where they are others than before."""
        store, ref, chosen = self.store, self.opener.ref, (self.player.policy, self.player.segmenter)
        if store is not None and ref is not None:
            known = (store.session.policy, store.session.segmenter)
            if store.session.scan is None or known != chosen:
                store.record(Opened(ref, *chosen))

    # -- the worker --------------------------------------------------------------------------------------

    def _run(self, passes: float | None = None) -> None:
        """The agent plays on from the state as it is."""
        if self.store is None or self.episode is None:
            return
        self._tell_backends()
        episode, done = self.episode, turns_of(self.episode)
        self._limit = done + self.steps if not self.review else _REVIEW_LIMIT
        limits = Limits(max(self._limit, done + 1))
        free = 0 if self.review else math.inf
        self.player.play(episode, limits, free if passes is None else passes)
        self.changed.emit()

    def _finish(self, agent_next: bool) -> None:
        """Brings what the user has clicked and accepted through the tool; then the agent may go on."""
        self._tell_backends()
        if self.episode is not None:
            self.player.finish(self.episode, agent_next=agent_next)
        self.changed.emit()

    def _judge(self, verdict: Accepted | Rejected) -> None:
        store, episode = self.store, self.episode
        if store is None or episode is None or not episode.waits:
            return
        own = episode.pending is not None and episode.pending.author is Author.HUMAN
        store.record(verdict)
        if not own:
            self._run()
        elif isinstance(verdict, Accepted):
            self._finish(False)

    def _happened(self, event: Any) -> None:
        if self.store is None:
            return
        self.store.record(event)
        if isinstance(event, Located):
            self._go_to_episode()

    def _ended(self, problem: str, agent_next: bool) -> None:
        if problem and self.store is not None:
            if self.episode is not None and self.episode.under_way:
                self._end_carrying(problem, End.FAILED)
            elif self.player.asks_agent and self.episode is not None:
                self.store.record(Failed(problem))
            else:
                self.store.settle()
                self._say("problem", problem, Tone.BAD)
        if agent_next and self.episode is not None and self.episode.prompt:
            self._run(self.player.passes)
        self.changed.emit()

    # -- small things ------------------------------------------------------------------------------------

    def _changed(self, old: Session, new: Session) -> None:
        # A run goes on behind the step that is looked at; what the user does leads back to now.
        if not self.running and old.episodes != new.episodes:
            self.shown = None
        if old.objects != new.objects or old.patches != new.patches or len(old.episodes) != len(new.episodes):
            self._notes = tuple(card for card in self._notes if card.key.startswith("note-scan"))
        self.layers.show_objects(old, new)
        self.changed.emit()

    def _leave_run(self) -> bool:
        """Drops what runs and what it left half done; says whether the agent was at work."""
        running = self.player.drop()
        if self.store is not None and self.episode is not None:
            if not self.episode.located and self.episode.outcome is None:
                self.store.record(Terminated(Outcome.CANCELLED, "You went on to something else."))
            elif not self._end_carrying("You went on to something else."):
                self.store.settle()
        return running

    def _end_carrying(self, why: str, how: End = End.CANCELLED) -> bool:
        """Ends what was being carried through the volume; the slices done stay. Says whether there was anything."""
        episode = self.episode
        if self.store is None or episode is None or not episode.under_way:
            return False
        self.store.record(early_end(episode, why, how))
        return True

    def _take_carried(self, place: tuple[Plane, int]) -> None:
        """The user's hand falls on a slice that the mask was carried to: the whole is kept as an object, and that
        slice of it put on the table, so that nothing of the rest is lost."""
        store, episode = self.store, self.episode
        if store is None or episode is None or episode.carrying is None:
            return
        if place[0] is not episode.plane or episode.carrying.on(place[1]) is None:
            return
        if episode.kept_as is None:
            self.keep()
        value = None if self.episode is None else self.episode.kept_as
        if value is None:
            return  # it was refused, and the user heard why
        self._try(lambda: store.correct(value, place))
        name = store.session.object_of(value).name
        self._say("carried", f"All slices were kept as {name}, so that you can correct slice {place[1]}.", Tone.NEUTRAL)

    def _leave_episode(self) -> None:
        """Ends the current episode where it is still open."""
        running = self._leave_run()
        episode = self.episode
        if self.store is not None and episode is not None and episode.outcome is None and (running or episode.waits):
            self.store.record(Terminated(Outcome.CANCELLED, "You went on to something else."))

    def _take_over(self) -> bool:
        """The user's hand on the slice that is shown: a run is dropped, an episode of their own begins where the
        current one is about another slice. Says whether the agent was at work on this one."""
        store = self.store
        if store is None:
            return False
        shown, self.shown = self.shown, None
        running, place = self._leave_run(), self._place()
        if shown is not None and self._place_of(shown) == place:
            if shown.episode == len(self.session.episodes) - 1:
                self._try(lambda: store.branch(shown.episode, shown.step))
            else:
                self._leave_episode()
                self._begin_from(shown)
            return False
        episode = self.episode
        if episode is not None and episode.waits and (episode.plane, episode.index) != place:
            self._leave_episode()
        self._take_carried(place)
        began = store.begin_by_hand(*place)
        return running and not began

    def _begin_from(self, shown: Shown) -> bool:
        """Begins anew from the mask of an earlier step; says whether there was one."""
        exhibit, store = exhibit_of(self.session, shown), self.store
        if store is None or exhibit is None or exhibit.mask is None:
            return False
        old = store.session.episodes[shown.episode]
        store.record(Prompted(old.prompt, old.plane, old.index, old.shape, old.target, exhibit.mask))
        return True

    def _place_of(self, shown: Shown) -> tuple[Plane, int] | None:
        episodes = self.session.episodes
        found = episodes[shown.episode] if 0 <= shown.episode < len(episodes) else None
        return None if found is None else (found.plane, found.index)

    def _proposal(self) -> Pending | None:
        """The proposal that waits for the user's word."""
        episode = self.episode
        resting = not self.running or self.player.passes <= 0  # else it goes on by itself
        return episode.pending if episode is not None and episode.waits and resting else None

    def in_3d(self) -> bool:
        """Whether no single slice is shown; the user is told what to do about it."""
        if self.layers.place() is None:
            self._say("3d", "Clicks need a slice to lie on. Leave the 3D view with Ctrl+Y.", Tone.CARE)
            return True
        return False

    def _travel(self, move: Callable[[Store], Any]) -> None:
        if self.store is None:
            return
        self.player.drop()
        self._end_carrying("You went back before it was over.")
        self.shown = None
        self._try(lambda: move(self.store) if self.store is not None else None)
        self._go_to_episode()
        self.changed.emit()

    def _try(self, deed: Callable[[], Any]) -> Any:
        """Does something; a refusal becomes a word to the user."""
        try:
            return deed()
        except IbisError as error:
            self._say("refused", str(error), Tone.CARE)
            return None

    def _say(self, key: str, text: str, tone: Tone) -> None:
        kept = tuple(card for card in self._notes if card.key != f"note-{key}")
        self._notes = (*kept, note(key, text, tone)) if text else kept
        self.changed.emit()

    def _go_to_episode(self) -> None:
        """Shows the slice of the current episode; a scan in the back doesn't move the view."""
        if self.episode is not None and self.in_front:
            self.layers.go_to(self.episode.plane, self.episode.index)

    def _place(self) -> tuple[Plane, int]:
        """The slice that is shown; the middle axial one in 3D."""
        return self.layers.place() or (Plane.AXIAL, self.scan.volume.shape[0] // 2)

    def _branches(self, store: Store) -> dict[tuple[int, int], tuple[int, ...]]:
        """Where other branches of the current episode end; looked for once for each state of the history."""
        history = store.history
        if self._known_branches is None or self._known_branches[0] is not history:
            self._known_branches = (history, _branches_of(store))
        return self._known_branches[1]


def _branches_of(store: Store) -> dict[tuple[int, int], tuple[int, ...]]:
    history, episode = store.history, store.episode
    if episode is None or len(history.nodes) == len(history.path()):
        return {}
    number = len(store.session.episodes) - 1
    found = {(number, step): store.other_branches(number, step) for step in range(len(episode.steps) + 1)}
    return {place: ends for place, ends in found.items() if ends}


def _shifted(click: Click, dx: float, dy: float) -> Click:
    return replace(click, x=min(max(round(click.x + dx, 4), 0.0), 1.0), y=min(max(round(click.y + dy, 4), 0.0), 1.0))
