"""The user's settings: what napari's preferences page for the plugin holds, as one frozen value.

The page itself is made by napari from ``configurations`` in the manifest; its texts, limits and defaults stand
there, and a test holds the two together.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, TypeVar

from napari_ibisagent.core.errors import InputError

_PLUGIN, _SECTION = "napari-ibisagent", "ibisagent"
_Choice = TypeVar("_Choice", bound=StrEnum)
_Number = TypeVar("_Number", int, float)


class Autosave(StrEnum):
    """Where the journal of a session goes."""

    USER_FOLDER = "user data folder"
    BESIDE_SCAN = "beside the scan"


class StartMode(StrEnum):
    """What the dock starts with: each step is reviewed, or the agent runs until it stops."""

    REVIEW = "review"
    RUN = "run"


@dataclass(frozen=True, slots=True)
class Settings:
    """The settings, with the values that hold where the user chose nothing.

    steps: the agent's step limit for one prompt. mask_opacity: of the working mask, from 0 to 1.
    """

    autosave: Autosave = Autosave.USER_FOLDER
    mode: StartMode = StartMode.REVIEW
    steps: int = 20
    mask_opacity: float = 0.35

    def __post_init__(self) -> None:
        if self.steps < 1:
            raise InputError(f"The setting steps is {self.steps}; it has to be 1 or more. Mend it in the preferences.")
        if not 0 <= self.mask_opacity <= 1:
            raise InputError(
                f"The setting mask_opacity is {self.mask_opacity}; it has to lie from 0 to 1. "
                "Mend it in the preferences."
            )


def read_settings() -> Settings:
    """The settings as napari has them now.

    The defaults hold where napari isn't installed (the package is used as a library) and where the plugin is
    switched off in napari's plugin manager. Raises InputError for a value that makes no sense.
    """
    try:
        from napari.settings import get_plugin_settings
    except ImportError:
        return Settings()
    everything: Mapping[str, Any] = get_plugin_settings()
    if _PLUGIN not in everything:
        return Settings()
    return settings_of(getattr(everything[_PLUGIN], _SECTION).model_dump())


def settings_of(values: Mapping[str, Any]) -> Settings:
    """The settings of a mapping; the default of each name that it doesn't hold, other names are left alone.

    Raises InputError for a value that makes no sense.
    """
    defaults = Settings()
    return Settings(
        autosave=_choice(Autosave, "autosave", values.get("autosave", defaults.autosave)),
        mode=_choice(StartMode, "mode", values.get("mode", defaults.mode)),
        steps=_number(int, "steps", values.get("steps", defaults.steps)),
        mask_opacity=_number(float, "mask_opacity", values.get("mask_opacity", defaults.mask_opacity)),
    )


def _choice(kind: type[_Choice], name: str, value: Any) -> _Choice:
    try:
        return kind(value)
    except ValueError:
        known = ", ".join(kind)
        raise InputError(f"The setting {name} is {value!r}; it can be: {known}. Mend it in the preferences.") from None


def _number(kind: type[_Number], name: str, value: Any) -> _Number:
    try:
        return kind(value)
    except (TypeError, ValueError):
        raise InputError(f"The setting {name} is {value!r}, which is no number. Mend it in the preferences.") from None
