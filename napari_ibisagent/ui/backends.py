"""Policies and click tools for the window: their names, why one can't run here, and one instance of each in use."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from napari_ibisagent import registry


@dataclass
class Backends:
    """The backends in use. Loading may take long: for workers, one at a time."""

    _loaded: dict[tuple[registry.Kind, str], Any] = field(default_factory=dict)

    def put(self, kind: registry.Kind, name: str, backend: Any) -> None:
        """Takes a backend that a program has built itself, under a name of its own."""
        self._loaded[kind, name] = backend

    def names(self, kind: registry.Kind) -> tuple[str, ...]:
        """What a person can choose from, with what was put in by a program."""
        known = registry.choices(kind)
        return (*known, *(name for of, name in self._loaded if of == kind and name not in known))

    def get(self, kind: registry.Kind, name: str) -> Any:
        """The backend of that name, loaded at its first use. Raises BackendError where it can't run."""
        if (kind, name) not in self._loaded:
            self._loaded[kind, name] = registry.load(kind, name)
        return self._loaded[kind, name]

    def why_not(self, kind: registry.Kind, name: str) -> str:
        """Why a backend can't run here, in words, or nothing."""
        return "" if (kind, name) in self._loaded else registry.why_not(kind, name) or ""
