"""The plugin's widget: ties viewer, desks, mouse, keys and dock together. The composition root of the window.

One desk for each scan that is open; one of them is in front. What isn't a scan's is here: which desk, which tool,
the mode and the backends.
"""

from __future__ import annotations

import threading
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Image
from napari.utils.theme import get_theme
from platformdirs import user_data_path
from qtpy.QtCore import QEvent, Qt, QTimer
from qtpy.QtGui import QShowEvent
from qtpy.QtWidgets import QFileDialog, QMainWindow

from napari_ibisagent import registry
from napari_ibisagent.core.carrying import Extent
from napari_ibisagent.core.episode import Episode
from napari_ibisagent.core.errors import IbisError
from napari_ibisagent.core.volume import Volume
from napari_ibisagent.io.knowledge import load_knowledge
from napari_ibisagent.io.protect import check_folder
from napari_ibisagent.ui.backends import Backends
from napari_ibisagent.ui.bridge import Bridge
from napari_ibisagent.ui.canvas import Mouse, Tool
from napari_ibisagent.ui.cards import Card, Tone
from napari_ibisagent.ui.contributions import contrast_range
from napari_ibisagent.ui.desk import Desk
from napari_ibisagent.ui.dock import Backend, Dock, Front
from napari_ibisagent.ui.help import HelpPopup
from napari_ibisagent.ui.keys import Keyboard
from napari_ibisagent.ui.look import look_of
from napari_ibisagent.ui.naparis_canvas import canvas_of, free_in_its_own_context
from napari_ibisagent.ui.orientation import Compass
from napari_ibisagent.ui.scan import Scan, scan_of
from napari_ibisagent.ui.settings import Autosave, Settings, StartMode, read_settings
from napari_ibisagent.ui.story import ASK, note
from napari_ibisagent.ui.through import GO_TO
from napari_ibisagent.ui.turns import Turns

if TYPE_CHECKING:
    from napari.viewer import Viewer

EXAMPLES = ["segment the left kidney", "which organ clears old red blood cells?", "segment the liver on this slice"]
_FORMATS = "Labels (*.nii.gz *.nii *.nrrd *.seg.nrrd *.mha *.png *.tif)"
_NEED_LEAVE = frozenset(("go_on", "carry", "reset", "undo", "redo", "keep", "place"))
_PAINT_MODES = {Tool.BRUSH: "paint", Tool.ERASE: "erase", Tool.LASSO: "polygon"}


class IbisWidget(Dock):
    """The dock in a viewer. Works on every scan that is opened in it, whoever read it."""

    def __init__(self, napari_viewer: Viewer, sessions: Path | None = None, backends: Backends | None = None) -> None:
        """``sessions``: the folder for journals, None: the user's data folder. ``backends``: built by a program."""
        super().__init__()
        self._viewer = napari_viewer
        self._backends = backends or Backends()
        self._sessions = sessions or user_data_path("napari-ibisagent", appauthor=False) / "sessions"
        self._locks = (threading.Lock(), threading.Lock())
        self._desks: list[Desk] = []
        self._desk: Desk | None = None
        self._known: dict[str, tuple[Backend, ...]] = {"policies": (), "segmenters": ()}
        self._notes: tuple[Card, ...] = ()
        self._closing = ExitStack()
        self._compass: Compass | None = None
        self._help: HelpPopup | None = None
        self._settings = self._read_settings()
        self._choice = Front(
            policy=registry.DEFAULT_POLICY,
            segmenter=registry.DEFAULT_SEGMENTER,
            review=self._settings.mode is StartMode.REVIEW,
            steps=self._settings.steps,
        )
        self._keyboard = Keyboard(self.press)
        self._mouse = Mouse(
            napari_viewer,
            lambda: None if self._desk is None or not self._desk.ready else self._desk.layers,
            lambda: None if self._desk is None else self._desk.exhibit(),
            self,
        )
        self._turns = Turns((self._show_dock, self._show_canvas), self)
        self._wire()
        for layer in tuple(napari_viewer.layers):
            self._adopt(layer)
        self.refresh()

    # -- for programs ------------------------------------------------------------------------------------

    @property
    def desk(self) -> Desk | None:
        """The desk in front."""
        return self._desk

    @property
    def episode(self) -> Episode | None:
        """The current episode of the desk in front."""
        return None if self._desk is None else self._desk.episode

    def close_session(self) -> None:
        """Ends what runs and lets go of the viewer, its keys and the journals. A second call does nothing."""
        self._closing.close()
        self._desk = None

    # -- intents -----------------------------------------------------------------------------------------

    def press(self, intent: str) -> None:
        """Does what a key, a button or a menu entry asks for."""
        desk = self._desk
        if intent == "help":
            self._show_help()
        elif intent == "write":
            self.composer.setFocus(Qt.FocusReason.ShortcutFocusReason)
        elif desk is None or not desk.ready or (intent in _NEED_LEAVE and intent not in desk.can()):
            return
        elif intent in tuple(Tool):
            self._use_tool(Tool(intent))
        elif intent == "cancel" and not (desk.running or "cancel" in desk.can()):
            self._use_tool(Tool.NONE)
        elif intent == "reject":
            if "reject" in desk.can():
                desk.reject(self.composer.take())
        elif intent.startswith("nudge_"):
            desk.nudge(intent)
        elif intent == "pause":
            self._choose_review(True)
        elif intent == "keep":
            self._use_tool(Tool.NONE)
            by_hand = desk.episode is not None and not desk.episode.prompt
            desk.keep(into=self.objects.current_value() if by_hand else None)
        elif intent in ("accept", "flip", "go_on", "carry", "cancel", "place", "reset", "undo", "redo"):
            getattr(desk, intent)()

    def ask(self, sentence: str) -> None:
        """A sentence of the user's."""
        if self._desk is not None and self._desk.ready:
            self._desk.ask(sentence)
            self.conversation.to_bottom()

    def _card_intent(self, intent: str, content: Any) -> None:
        desk = self._desk
        if intent == "example":
            self.composer.setPlainText(str(content))
            self.composer.setFocus(Qt.FocusReason.OtherFocusReason)
        elif desk is None:
            return
        elif intent in ("resume", "anew"):
            desk.answer(intent == "resume")
        elif intent.startswith("jump:"):
            desk.jump(int(intent.removeprefix("jump:")))
        elif intent.startswith(ASK):
            self.ask(intent.removeprefix(ASK))
        elif intent.startswith("keep_into:"):
            desk.keep(content, into=int(intent.removeprefix("keep_into:")))
        elif intent == "keep_new":
            desk.keep(content, as_new=True)
        elif intent.startswith(GO_TO):
            desk.go_to_slice(content, int(intent.removeprefix(GO_TO)))
        elif intent == "ask_again":
            whole = desk.session.episodes[content.episode].extent is Extent.VOLUME
            self.composer.setPlainText(f"{content.text} in the whole volume" if whole else content.text)
            self.composer.setFocus(Qt.FocusReason.OtherFocusReason)
        elif intent in ("show", "branch", "delete", "work_on", "keep"):
            getattr(desk, intent)(content)
        else:
            self.press(intent)

    def _use_tool(self, tool: Tool) -> None:
        """Chooses what the mouse does; the same tool again lays it down."""
        if self._desk is None:
            return
        if tool is not Tool.NONE and self._desk.in_3d():
            tool = Tool.NONE
        self._mouse.tool = Tool.NONE if tool is self._mouse.tool else tool
        if self._mouse.tool in _PAINT_MODES:
            self._desk.layers.brush(_PAINT_MODES[self._mouse.tool])
        else:
            self._desk.layers.rest()
        self.refresh()

    def _turned(self, _: Any = None) -> None:
        """No tool works in 3D."""
        if self._viewer.dims.ndisplay != 2:
            self._use_tool(Tool.NONE)

    def _choose_scan(self, number: int) -> None:
        if 0 <= number < len(self._desks):
            self._take_front(self._desks[number])

    def _choose_review(self, review: bool) -> None:
        self._choice = replace(self._choice, review=review)
        for desk in self._desks:
            desk.set_review(review)
        self.refresh()

    def _choose_extent(self, whole: bool) -> None:
        self._choice = replace(self._choice, whole=whole)
        for desk in self._desks:
            desk.extent = Extent.VOLUME if whole else Extent.SLICE
        self.refresh()

    def _choose_steps(self, steps: int) -> None:
        self._choice = replace(self._choice, steps=steps)
        for desk in self._desks:
            desk.steps = steps

    def _choose_backend(self, part: str, name: str) -> None:
        chosen = self._choice
        self._choice = replace(chosen, policy=name) if part == "policy" else replace(chosen, segmenter=name)
        for desk in self._desks:
            desk.use(self._choice.policy, self._choice.segmenter)
        self.refresh()

    # -- scans -------------------------------------------------------------------------------------------

    def _adopt(self, layer: Any) -> None:
        """Takes an image layer as a scan: ours with its volume, others as they are, of unknown sides."""
        if not isinstance(layer, Image) or any(desk.image is layer for desk in self._desks):
            return
        scan = scan_of(layer.metadata) or _plain_scan(layer)
        if scan is None or any(desk.scan.volume is scan.volume for desk in self._desks):
            return  # no scan, or a copy of the layer of one that is open
        desk = Desk(self._viewer, layer, scan, self._backends, self._locks, self._folders(scan), self)
        desk.layers.opacity = self._settings.mask_opacity
        desk.steps = self._choice.steps
        desk.use(self._choice.policy, self._choice.segmenter)
        desk.set_review(self._choice.review)
        desk.extent = Extent.VOLUME if self._choice.whole else Extent.SLICE
        desk.changed.connect(self._changed)
        desk.player.thinking.connect(partial(self._thinking, desk))
        desk.player.silent.connect(partial(self._silent, desk))
        desk.layers.made.connect(self._keyboard.bind)
        self._keyboard.bind(layer)
        layer.events.name.connect(self._changed)
        if not scan.volume.is_colour and scan_of(layer.metadata) is not None:
            layer.contrast_limits_range = contrast_range(scan.volume)
        self._desks.append(desk)
        self._take_front(desk)

    def _dismiss(self, layer: Any) -> None:
        """A layer was removed; where it was a scan, its session is closed. All of it is in its journal."""
        self._keyboard.release(layer)
        for desk in [desk for desk in self._desks if desk.image is layer]:
            for own in desk.layers.own:
                self._keyboard.release(own)
            for left in desk.layers.passing:
                # napari hasn't finished with the one that is being removed.
                QTimer.singleShot(0, self, partial(_remove, self._viewer.layers, left))
            desk.close()
            self._desks.remove(desk)
            layer.events.name.disconnect(self._changed)
            if desk is self._desk:
                self._desk = None
                self._take_front(self._desks[-1] if self._desks else None)
            desk.deleteLater()
        self._changed()

    def _take_front(self, desk: Desk | None) -> None:
        self._silent(self._desk)
        self._desk = desk
        for known in self._desks:
            known.in_front = known is desk
        self._mouse.tool = Tool.NONE
        if self._compass is not None:
            self._compass.set_scan(None if desk is None else desk.image)
        QTimer.singleShot(0, self, self._arrange)
        self._show_examples()
        self.refresh()

    def _show_examples(self) -> None:
        lead = "Open a scan, then say" if self._desk is None else "Say"
        self.conversation.set_examples(EXAMPLES, f"{lead} what you want, for example:")

    def _arrange(self) -> None:
        """The scan in front is seen, and no other one."""
        for known in self._desks:
            if not known.in_front:
                known.layers.put_back()
        if self._desk is not None:
            self._desk.layers.bring_front()

    def _folders(self, scan: Scan) -> tuple[Path, ...]:
        """Where a scan's journal goes, then where others may lie."""
        if scan.path is None:
            return (self._sessions,)
        beside = scan.path.parent
        try:
            check_folder(beside, (scan.path,))
        except IbisError:
            return (self._sessions, beside)
        if self._settings.autosave is Autosave.BESIDE_SCAN:
            return (beside, self._sessions)
        return (self._sessions, beside)

    # -- showing -----------------------------------------------------------------------------------------

    def refresh(self) -> None:
        """Brings everything to the state as it is."""
        self._show_dock()
        self._show_canvas()

    def _show_dock(self) -> None:
        desk = self._desk
        self.show_front(self._front_now())
        if desk is None:
            self.conversation.show_cards(self._notes)
        else:
            self.conversation.show_cards((*self._notes, *desk.cards()))
            self.objects.show_objects(desk.session, desk.scan.volume, self.objects.current_value())

    def _show_canvas(self) -> None:
        if self._desk is not None and self._desk.ready:
            session = self._desk.session
            self._desk.layers.show_objects(session, session)  # made again where the user has deleted it
            self._desk.layers.show_exhibit(self._desk.exhibit())

    def _changed(self, _: Any = None) -> None:
        """Several events of one turn of the event loop are shown once."""
        self._turns.call()

    def _front_now(self) -> Front:
        desk = self._desk
        front = replace(
            self._choice,
            scans=tuple(known.image.name for known in self._desks),
            scan=-1 if desk is None else self._desks.index(desk),
            policies=self._known["policies"],
            segmenters=self._known["segmenters"],
        )
        if desk is None:
            return replace(front, status="Drag a scan into the window, or take one from File > Open Sample.")
        done, limit = desk.progress
        return replace(
            front,
            running=desk.running,
            done=done,
            limit=limit,
            status=desk.status(),
            trouble=desk.trouble,
            ready=desk.ready,
            hint=self._hint(desk),
            tool=self._mouse.tool,
            positive=desk.positive,
            can=desk.can(),
            consent=desk.session.consent,
        )

    def _hint(self, desk: Desk) -> str:
        episode = desk.episode
        if not desk.ready:
            return "One moment…" if desk.opener.earlier is None else "Answer the question above first."
        if episode is not None and episode.waits:
            return "A reason, then Reject (X); or another request."
        return "What should be segmented?"

    def _thinking(self, desk: Desk, text: str) -> None:
        if desk is self._desk:
            self.conversation.stream(text)

    def _silent(self, desk: Desk | None) -> None:
        if desk is self._desk:
            self.conversation.end_stream()

    def _show_help(self) -> None:
        if self._help is None:
            self._help = HelpPopup(self)
        self._help.show_beside(self)

    def _show_theme(self, _: Any = None) -> None:
        theme = get_theme(self._viewer.theme)
        self.set_look(look_of(theme.background.as_hex(format="long"), theme.text.as_hex(format="long")))

    def showEvent(self, event: QShowEvent) -> None:  # noqa: N802
        """Once the dock lies in a window there are a canvas and a status bar to write on."""
        super().showEvent(event)
        window = self.window()
        if self._compass is None and isinstance(window, QMainWindow):
            self._compass = Compass(self._viewer, window)
            self._closing.callback(self._compass.close)
            self._closing.callback(free_in_its_own_context(self._viewer, canvas_of(window)))
            self._compass.set_scan(None if self._desk is None else self._desk.image)

    def changeEvent(self, event: QEvent) -> None:  # noqa: N802
        """napari's cross only takes the widget out of the window: its session and its keys have to end with it."""
        super().changeEvent(event)
        if event.type() == QEvent.Type.ParentChange and self.parent() is None:
            self.close_session()
            self.deleteLater()

    # -- setting up --------------------------------------------------------------------------------------

    def _wire(self) -> None:
        viewer, objects = self._viewer, self.objects
        self.wanted.connect(self.press)
        self.composer.sent.connect(self.ask)
        self.composer.escaped.connect(lambda: self.press("cancel"))
        self.conversation.intent.connect(self._card_intent)
        self.scan_chosen.connect(self._choose_scan)
        self.review_chosen.connect(self._choose_review)
        self.steps_chosen.connect(self._choose_steps)
        self.extent_chosen.connect(self._choose_extent)
        self.more.consented.connect(lambda given: self._with_store(lambda store: store.consent(given)))
        self.policy_chosen.connect(partial(self._choose_backend, "policy"))
        self.segmenter_chosen.connect(partial(self._choose_backend, "segmenter"))
        self._mouse.clicked.connect(lambda x, y: self._with_desk(lambda desk: desk.click(x, y)))
        self._mouse.boxed.connect(lambda box: self._with_desk(lambda desk: desk.act((box,))))
        self._mouse.moved.connect(lambda *moved: self._with_desk(lambda desk: desk.move(*moved)))
        objects.renamed.connect(lambda value, name: self._change_row(value, name=name))
        objects.recoloured.connect(lambda value, colour: self._change_row(value, colour=colour))
        objects.lock_changed.connect(lambda value, locked: self._change_row(value, locked=locked))
        objects.visibility_changed.connect(lambda value, visible: self._change_row(value, visible=visible))
        objects.removed.connect(lambda value: self._with_store(lambda store: store.remove_object(value)))
        objects.rule_changed.connect(lambda rule: self._with_store(lambda store: store.change_rule(rule)))
        objects.go_to.connect(lambda value: self._with_desk(lambda d: d.go_to_object(value)))
        objects.save.connect(self._save)
        objects.correct.connect(lambda value: self._with_desk(lambda d: d.correct(value)))
        self.composer.set_knowledge(load_knowledge())
        self._keyboard.bind(viewer)
        for event, listener in (
            (viewer.layers.events.inserted, self._inserted),
            (viewer.layers.events.removed, self._removed),
            (viewer.events.theme, self._show_theme),
            (viewer.dims.events.ndisplay, self._turned),
        ):
            event.connect(listener)
            self._closing.callback(event.disconnect, listener)
        self._closing.callback(self._keyboard.release_all)
        self._closing.callback(self._mouse.close)
        self._closing.callback(_close_all, self._desks)
        self.destroyed.connect(self._closing.close)
        self._look_for_backends()
        self._show_theme()
        self._show_examples()

    def _save(self) -> None:
        """Asks where the labels should go."""
        desk = self._desk
        if desk is None:
            return
        folder = Path.cwd() if desk.scan.path is None else desk.scan.path.parent
        proposed = folder / f"{desk.scan.volume.name}-labels.nii.gz"
        chosen, _ = QFileDialog.getSaveFileName(self, "Save the labels", str(proposed), _FORMATS)
        if chosen:
            desk.save(Path(chosen))

    def _with_desk(self, deed: Any) -> None:
        if self._desk is not None:
            deed(self._desk)

    def _with_store(self, deed: Any) -> None:
        self._with_desk(lambda desk: desk.with_store(deed))
        self._changed()  # a refused change is taken back in the table

    def _change_row(self, value: int, **parts: Any) -> None:
        self._with_store(lambda store: store.change_object(replace(store.session.object_of(value), **parts)))

    def _inserted(self, event: Any) -> None:
        self._adopt(event.value)

    def _removed(self, event: Any) -> None:
        self._dismiss(event.value)

    def _read_settings(self) -> Settings:
        try:
            return read_settings()
        except IbisError as error:
            self._notes = (note("settings", str(error), Tone.CARE),)
            return Settings()

    def _look_for_backends(self) -> None:
        """Which backends can run is found out in a worker: some import a lot to know."""
        asker = Bridge(threading.Lock(), self)
        asker.happened.connect(self._found_backends)
        backends = self._backends

        def look(_: Any) -> Any:
            for kind in ("policies", "segmenters"):
                yield kind, tuple(Backend(name, backends.why_not(kind, name)) for name in backends.names(kind))

        asker.start(look)
        self._closing.callback(asker.drop)

    def _found_backends(self, found: tuple[str, tuple[Backend, ...]]) -> None:
        self._known[found[0]] = found[1]
        self._changed()


def _remove(layers: Any, layer: Any) -> None:
    if layer in layers:
        layers.remove(layer)


def _close_all(desks: list[Desk]) -> None:
    for desk in desks:
        desk.close()


def _plain_scan(layer: Image) -> Scan | None:
    """An image that another reader opened: its array as it lies, as one volume of unknown sides and size."""
    data = layer.data
    # What is read piece by piece (dask, zarr) would be read whole here, on the main thread.
    if layer.multiscale or layer.ndim not in (2, 3) or not isinstance(data, np.ndarray):
        return None
    if data.dtype.kind not in "biuf" or (layer.rgb and (data.dtype != np.uint8 or data.shape[-1] < 3)):
        return None
    if layer.rgb:
        data = data[..., :3]
    volume = data if layer.ndim == 3 else data[np.newaxis]
    affine = np.diag([-1.0, -1.0, -1.0, 1.0])
    source = np.swapaxes(volume, 0, 2)
    taken = Volume.from_source(source, affine, name=layer.name, has_spacing=False, has_orientation=False)
    return Scan(taken)
