"""The menu beside the scan's name: what is said of the whole session, and not of a step or an object of it."""

from __future__ import annotations

from qtpy.QtCore import QSize, Signal
from qtpy.QtWidgets import QMenu, QToolButton, QWidget

from napari_ibisagent.ui.look import Look, icon

_ICON = QSize(16, 16)
_CONSENT = "May be used for training"


class SessionMenu(QToolButton):  # type: ignore[misc]
    """Shows whether the session may be used for training; ``consented`` says what the user wants."""

    consented = Signal(bool)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setIconSize(_ICON)
        self.setFixedSize(24, 24)
        self.setToolTip("More for this session")
        self.setAccessibleName("More for this session")
        self.setPopupMode(QToolButton.ToolButtonPopupMode.InstantPopup)
        menu = QMenu(self)
        menu.setToolTipsVisible(True)
        self.consent = menu.addAction(_CONSENT)
        self.consent.setCheckable(True)
        self.consent.setToolTip(
            "Written into the session. Only then does ibisagent export-training use it, without names and dates."
        )
        self.consent.triggered.connect(self.consented)
        self.setMenu(menu)

    def show_session(self, consent: bool | None, ready: bool) -> None:
        """Shows what the session says. None: nobody was asked. Not ``ready``: there is no session yet."""
        self.consent.setChecked(consent is True)
        self.setEnabled(ready)

    def set_look(self, look: Look) -> None:
        """Takes the colours of a theme."""
        self.setIcon(icon("menu", look.muted))
        self.setStyleSheet(
            "QToolButton { padding: 0px; border-radius: 4px; } QToolButton::menu-indicator { image: none; }"
            f"QToolButton:hover {{ background: {look.raised}; }}"
        )
