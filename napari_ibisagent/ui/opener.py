"""Opening a scan's session and saving its labels: what takes long and isn't the agent's, in a worker of its own.

A scan is known again by its checksum. Where there is an earlier session on it the user is asked once; nothing is
begun before the answer.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

from qtpy.QtCore import QObject, Signal

from napari_ibisagent.agent.autosave import Autosave, Earlier, find_earlier, resume
from napari_ibisagent.core.history import History
from napari_ibisagent.core.session import ScanRef, Session, labels_of
from napari_ibisagent.io.labels import Saved, write_labels
from napari_ibisagent.io.scanref import scan_ref
from napari_ibisagent.ui.bridge import Bridge
from napari_ibisagent.ui.scan import Scan


class Opener(QObject):  # type: ignore[misc]
    """Opens one scan's session, once. Its signals arrive in the main thread."""

    broken = Signal(object)  # sentences about earlier sessions that can't be read
    asked = Signal()  # there is an ``earlier`` session
    opened = Signal(object, object)  # its Autosave, and its History or None for a new one
    refused = Signal(str)  # why the earlier session can't be gone on with; a new one is opened
    saved = Signal(object)  # a Saved
    not_saved = Signal(str)

    def __init__(
        self, scan: Scan, folders: tuple[Path, ...], lock: threading.Lock, parent: QObject | None = None
    ) -> None:
        """``folders``: the first takes a new journal, all are searched."""
        super().__init__(parent)
        self.ref: ScanRef | None = None
        self.earlier: Earlier | None = None
        self._scan = scan
        self._folders = folders
        self._is_open = False
        self._bridge = Bridge(lock, self)
        self._bridge.happened.connect(self._happened)
        self._bridge.ended.connect(self._ended)
        self._bridge.start(lambda _: self._recognise())

    def answer(self, resume_it: bool) -> None:
        """The user's answer to whether the earlier session is to be gone on with."""
        earlier, ref = self.earlier, self.ref
        if earlier is None or ref is None:
            return
        self.earlier = None
        if resume_it:
            self._bridge.start(lambda _: iter((resume(earlier, self._folders[0], ref),)))
        else:
            self._begin()

    def save(self, session: Session, path: Path) -> None:
        """Writes the labels of a session on the scan's own grid."""
        scan = self._scan

        def write(_: object) -> Iterator[Saved]:
            names = {row.value: row.name for row in session.objects}
            protect = () if scan.path is None else (scan.path,)
            yield write_labels(labels_of(session, scan.volume.shape), scan.volume, path, names=names, protect=protect)

        self._bridge.start(write)

    def close(self) -> None:
        """Hears nothing more of what may still run."""
        self._bridge.drop()

    def _recognise(self) -> Iterator[Any]:
        """In the worker: the scan's checksum, and whether there is an earlier session on it."""
        import_module("pandas")  # napari asks for it with the first clicks; the window would stand still for 0.3 s
        scan = self._scan
        ref = scan_ref(scan.volume, scan.path or Path(scan.volume.name), scan.series)
        ref = ref if scan.path is not None else replace(ref, path="")
        yield ref
        earlier, broken = find_earlier(ref, self._folders)
        yield broken
        yield earlier

    def _happened(self, found: Any) -> None:
        if isinstance(found, Saved):
            self.saved.emit(found)
        elif isinstance(found, ScanRef):
            self.ref = found
        elif isinstance(found, Earlier):
            self.earlier = found
            self.asked.emit()
        elif isinstance(found, tuple) and all(isinstance(sentence, str) for sentence in found):
            self.broken.emit(found)
        elif isinstance(found, tuple):
            self._open(*found)
        else:
            self._begin()

    def _ended(self, problem: str) -> None:
        if problem and self._is_open:
            self.not_saved.emit(problem)
        elif problem:
            self.refused.emit(problem)
            self._begin()

    def _begin(self) -> None:
        """A new session."""
        if self.ref is not None:
            self._open(Autosave(self._folders[0], self.ref), None)

    def _open(self, autosave: Autosave, history: History | None) -> None:
        self._is_open = True
        self.opened.emit(autosave, history)
