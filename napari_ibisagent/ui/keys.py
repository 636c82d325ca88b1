"""The keys: one table that the canvas, the button texts and the help popup all read.

napari ignores key bindings in a manifest, and a layer's own keys come before the viewer's (X of an image turns its
plane). So the keys are bound on the viewer and on the layers of the scan, and taken away when the dock closes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from qtpy.QtCore import Qt
from qtpy.QtGui import QKeyEvent, QKeySequence


@dataclass(frozen=True, slots=True)
class Key:
    """An intent, its key as napari writes it, and what it does in a few words."""

    intent: str
    key: str
    words: str


KEYS = (
    Key("accept", "A", "accept the proposed click"),
    Key("flip", "T", "flip the sign of the proposed click, or of your next one"),
    Key("reject", "X", "reject the proposed click; what stands in the composer is the reason"),
    Key("nudge_up", "Shift-Up", "move the proposed click up"),
    Key("nudge_down", "Shift-Down", "move the proposed click down"),
    Key("nudge_left", "Shift-Left", "move the proposed click to the left"),
    Key("nudge_right", "Shift-Right", "move the proposed click to the right"),
    Key("go_on", "G", "go on for the number of steps set"),
    Key("pause", "H", "halt before the next click"),
    Key("cancel", "Escape", "cancel the run; else leave the tool"),
    Key("point", "P", "place clicks with the mouse"),
    Key("place", "Shift-P", "place a click with the keyboard"),
    Key("box", "B", "draw a box"),
    Key("brush", "S", "paint on the mask (scribble)"),
    Key("erase", "E", "erase from the mask"),
    Key("lasso", "L", "paint inside of a lasso: click its corners, double-click to close it"),
    Key("keep", "M", "keep the mask as an object, ready for the next one"),
    Key("reset", "R", "clear the mask and its clicks"),
    Key("undo", "Control-Z", "undo"),
    Key("redo", "Control-Shift-Z", "redo"),
    Key("write", "/", "go to the composer"),
    Key("help", "F1", "this list"),
)
_BY_INTENT = {key.intent: key for key in KEYS}


def label(intent: str, words: str) -> str:
    """The text of a button: "Accept (A)"."""
    return f"{words} ({shown(_BY_INTENT[intent].key)})"


def shown(key: str) -> str:
    """A key as a person reads it: "Ctrl+Shift+Z"."""
    return key.replace("Control", "Ctrl").replace("Escape", "Esc").replace("-", "+")


def short(intent: str) -> str:
    """The key of an intent in as few signs as go under an icon: "P", "^Z", "^⇧Z"."""
    return _BY_INTENT[intent].key.replace("Control-", "^").replace("Shift-", "⇧")


def help_rows() -> tuple[tuple[str, str], ...]:
    """(key, what it does) for the help popup; what napari itself does with a key is told too."""
    ours = tuple((shown(key.key), key.words) for key in KEYS)
    return (*ours, ("Space", "hold to pan (napari)"), ("Enter", "in the composer: send; Shift+Enter breaks the line"))


class Keyboard:
    """Binds the keys to ``press(intent)`` on the things given to it, and gives back what was bound before."""

    def __init__(self, press: Callable[[str], None]) -> None:
        self._press = press
        self._bound: list[tuple[Any, dict[Any, Any], dict[Any, Any]]] = []

    def bind(self, provider: Any) -> None:
        """Binds the keys on a viewer or a layer; a second time is no harm."""
        if any(known is provider for known, *_ in self._bound):
            return
        before = dict(provider.keymap)
        for key in KEYS:
            provider.bind_key(key.key, self._presser(key.intent), overwrite=True)
        ours = {key: deed for key, deed in provider.keymap.items() if before.get(key) is not deed}
        self._bound.append((provider, before, ours))

    def release(self, provider: Any) -> None:
        """Gives a viewer or a layer its keys back; what others have bound meanwhile stays."""
        for at, (known, before, ours) in enumerate(self._bound):
            if known is provider:
                for key, deed in ours.items():
                    if provider.keymap.get(key) is deed:
                        del provider.keymap[key]
                        provider.keymap.update({key: before[key]} if key in before else {})
                del self._bound[at]
                return

    def release_all(self) -> None:
        """Gives everything back."""
        for provider, *_ in tuple(self._bound):
            self.release(provider)

    def _presser(self, intent: str) -> Callable[[Any], None]:
        return lambda _: self._press(intent)


def intent_of(event: QKeyEvent) -> str | None:
    """The intent of a key pressed in the dock outside of a text field, or None."""
    if event.key() in (Qt.Key.Key_Shift, Qt.Key.Key_Control, Qt.Key.Key_Alt, Qt.Key.Key_Meta):
        return None
    pressed = QKeySequence(event.keyCombination()).toString(QKeySequence.SequenceFormat.PortableText)
    return next((key.intent for key in KEYS if shown(key.key) == pressed), None)
