"""The plugin's widget: ties viewer, store, bridge, layers and dock together. The composition root of the window."""

from __future__ import annotations

from collections.abc import Callable, Generator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_ibisagent import registry
from napari_ibisagent.agent.commit import warnings_of
from napari_ibisagent.agent.recorder import Recorder
from napari_ibisagent.agent.runner import Stage, Verdicts, run
from napari_ibisagent.agent.stop import Limits
from napari_ibisagent.agent.store import Store
from napari_ibisagent.core.actions import Click
from napari_ibisagent.core.episode import (
    Accepted,
    Episode,
    EpisodeEvent,
    Outcome,
    Overridden,
    Prompted,
    Rejected,
    Terminated,
    Thought,
    begin,
)
from napari_ibisagent.core.errors import IbisError
from napari_ibisagent.core.protocols import Locator
from napari_ibisagent.core.session import Opened, Session
from napari_ibisagent.core.view import AXES, Plane, View, view_of
from napari_ibisagent.core.volume import Volume
from napari_ibisagent.io.scanref import scan_ref
from napari_ibisagent.ui.bridge import Bridge
from napari_ibisagent.ui.dock import Dock
from napari_ibisagent.ui.layers import Layers

if TYPE_CHECKING:
    from napari.viewer import Viewer

_KEYS = {"A": "accept", "T": "flip", "X": "refuse", "C": "keep", "Escape": "cancel"}


class IbisWidget(Dock):
    """The dock in a viewer. A scan opened with the plugin's reader (or ``open_scan``) is what it works on."""

    def __init__(self, napari_viewer: Viewer) -> None:
        super().__init__()
        self._viewer = napari_viewer
        self._store: Store | None = None
        self._layers: Layers | None = None
        self._view: View | None = None
        self._bridge = Bridge(self)
        self._policy: Any = registry.load("policies", "embedded")
        self._segmenter: Any = registry.load("segmenters", "embedded")
        self._bridge.happened.connect(self._happened)
        self._bridge.typed.connect(self.conversation.stream)
        self._bridge.ended.connect(self._ended)
        self.composer.sent.connect(self.ask)
        self.accepted.connect(lambda: self._judge(Accepted()))
        self.flipped.connect(self._flip)
        self.refused.connect(lambda: self._judge(Rejected(self.composer.take())))
        self.cancelled.connect(self._bridge.cancel)
        self.kept.connect(self._keep)
        self.undone.connect(lambda: self._moved("undo"))
        self.redone.connect(lambda: self._moved("redo"))
        self.review_changed.connect(self._bridge.set_review)
        for key, name in _KEYS.items():
            napari_viewer.bind_key(key, lambda _, button=self.buttons[name]: button.click(), overwrite=True)
        napari_viewer.bind_key("Control-Z", lambda _: self.buttons["undo"].click(), overwrite=True)
        napari_viewer.bind_key("Control-Shift-Z", lambda _: self.buttons["redo"].click(), overwrite=True)
        napari_viewer.layers.events.inserted.connect(self._layer_added)
        for layer in napari_viewer.layers:
            self._adopt(layer)
        self._refresh()

    @property
    def episode(self) -> Episode | None:
        """The current episode, None before the first prompt."""
        return None if self._store is None else self._store.episode

    @property
    def running(self) -> bool:
        """Whether the agent is at work."""
        return self._bridge.running

    def close_session(self) -> None:
        """Ends what runs, and lets go of the viewer's keys and layers."""
        self._bridge.drop()
        if self._layers is not None:
            self._layers.close()
        for key in (*_KEYS, "Control-Z", "Control-Shift-Z"):
            self._viewer.keymap.pop(key, None)

    # -- the scan ----------------------------------------------------------------------------------------

    def open_scan(self, volume: Volume, path: Path) -> None:
        """Begins a session on a scan."""
        self._bridge.drop()
        recorder = Recorder()
        recorder.record(Opened(scan_ref(volume, path), self._policy.name, self._segmenter.name))
        self._store = Store(volume, recorder)
        self._store.subscribe(self._changed)
        if self._layers is not None:
            self._layers.close()
        self._layers = Layers(self._viewer, volume)
        self._view = None
        self.scan.setText(f"{volume.name}: {' x '.join(map(str, volume.shape))} voxels, {volume.modality or 'picture'}")
        self._refresh()

    def _layer_added(self, event: Any) -> None:
        self._adopt(event.value)

    def _adopt(self, layer: Any) -> None:
        """Takes a scan that the plugin's reader put into the viewer."""
        volume = layer.metadata.get("ibisagent_volume")
        if isinstance(volume, Volume):
            self.open_scan(volume, Path(layer.metadata.get("ibisagent_path", volume.name)))

    # -- intents -------------------------------------------------------------------------------------------

    def ask(self, prompt: str) -> None:
        """Starts an episode for a sentence, on the plane that is shown; the policy chooses the slice."""
        if self._store is None:
            self.conversation.stream("Open a scan first: drag a file into the window, or File > Open sample.\n")
            return
        self._bridge.review = self.mode.currentIndex() == 0
        volume, limits, plane = self._store.volume, Limits(steps=self.budget.value()), self._plane()

        def make(
            cancelled: Callable[[], bool], on_text: Callable[[str], None]
        ) -> Generator[EpisodeEvent, Verdicts | None, Episode | None]:
            return self._play(volume, prompt, plane, limits, cancelled, on_text)

        self._bridge.start(make)
        self._refresh()

    def _play(
        self,
        volume: Volume,
        prompt: str,
        plane: Plane,
        limits: Limits,
        cancelled: Callable[[], bool],
        on_text: Callable[[str], None],
    ) -> Generator[EpisodeEvent, Verdicts | None, Episode | None]:
        """In the worker: finds the slice, then plays the episode."""
        locator: Locator = self._policy
        location = locator.locate(volume, prompt, plane)
        middle = volume.shape[AXES[plane][0]] // 2
        view = view_of(volume, plane, middle if location.index is None else location.index)
        prompted = Prompted(prompt, plane, view.index, view.shape, location.target)
        yield prompted
        if location.index is None:
            yield Thought(location.reason)
            yield Terminated(Outcome.NOT_FOUND, location.reason)
            return None
        stage = Stage(volume, view, self._policy, self._segmenter.open(view))
        return (yield from run(begin(prompted), stage, limits=limits, cancelled=cancelled, on_text=on_text))

    def _judge(self, verdict: Verdicts) -> None:
        self._bridge.answer(verdict)

    def _flip(self) -> None:
        episode = None if self._store is None else self._store.episode
        if episode is not None and episode.pending is not None:
            wanted = episode.pending.turn.actions
            turned = tuple(Click(a.x, a.y, not a.positive) if isinstance(a, Click) else a for a in wanted)
            self._judge(Overridden(turned))

    def _keep(self) -> None:
        if self._store is None or self._view is None:
            return
        try:
            self._store.commit(self._view)
        except IbisError as error:
            self.conversation.stream(f"{error}\n")

    def _moved(self, way: str) -> None:
        if self._store is not None and not self._bridge.running:
            self._store.undo() if way == "undo" else self._store.redo()

    # -- what happened -----------------------------------------------------------------------------------

    def _happened(self, event: EpisodeEvent) -> None:
        if self._store is None:
            return
        if isinstance(event, Prompted):
            self._view = view_of(self._store.volume, event.plane, event.index)
            if self._layers is not None:
                self._layers.go_to(self._view)
        self._store.record(event)

    def _changed(self, old: Session, new: Session) -> None:
        if self._layers is not None:
            self._layers.show(old, new, self._view)
        self._refresh()

    def _ended(self, problem: str) -> None:
        self._refresh()
        if problem:
            self.conversation.stream(f"{problem}\n")

    def _refresh(self) -> None:
        store = self._store
        if store is None:
            for button in self.buttons.values():
                button.setEnabled(False)
            return
        episode = store.episode
        warnings = () if episode is None or self._view is None else warnings_of(episode, store.volume, self._view)
        self.conversation.show_session(store.session, warnings)
        self.show_state(store.session, store.volume, self._bridge.running, store.can_undo, store.can_redo)

    def _plane(self) -> Plane:
        """The plane that the viewer shows: the axis that isn't displayed."""
        order = self._viewer.dims.order
        hidden = order[0] if len(order) == 3 else 0
        return {0: Plane.AXIAL, 1: Plane.CORONAL, 2: Plane.SAGITTAL}[int(hidden)]
