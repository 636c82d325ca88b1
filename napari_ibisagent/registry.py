"""Names of policies, segmenters and propagators, and the only dynamic import of the package.

A backend is one module with ``build(**options)``; its file name is its key. Third parties add theirs through
the entry-point groups ``napari_ibisagent.policies``, ``.segmenters`` and ``.propagators``, each entry naming
such a module or such a function.
"""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Literal

from napari_ibisagent.core.errors import BackendError, InputError, UnknownNameError

Kind = Literal["policies", "segmenters", "propagators"]
# What is used where nobody chooses; both need no download. docs/benchmarks.md compares the click tools.
DEFAULT_POLICY, DEFAULT_SEGMENTER = "embedded", "embedded"
_PACKAGE = "napari_ibisagent"


def names(kind: Kind) -> tuple[str, ...]:
    """All names of a kind, ours first, each alphabetically."""
    ours = sorted(_own(kind))
    return (*ours, *sorted(set(_foreign(kind)) - set(ours)))


def load(kind: Kind, name: str, **options: Any) -> Any:
    """Builds the backend of that name.

    Raises UnknownNameError for a name that isn't there, InputError for an option that it doesn't take, and
    BackendError, with the reason, where it can't run on this machine.
    """
    build = _build_of(kind, name)
    accepted = inspect.signature(build).parameters
    unknown = [key for key in options if key not in accepted]
    if unknown and not any(p.kind is p.VAR_KEYWORD for p in accepted.values()):
        takes = ", ".join(accepted) or "none"
        raise InputError(f"{name} has no option {', '.join(unknown)}. Its options are: {takes}.")
    return build(**options)


def _build_of(kind: Kind, name: str) -> Any:
    if name not in names(kind):
        raise UnknownNameError(
            f"There is no {kind[:-3] + 'y' if kind == 'policies' else kind[:-1]} called {name!r}. "
            f"Known are: {', '.join(names(kind))}."
        )
    try:
        if name in _own(kind):
            return importlib.import_module(f"{_PACKAGE}.{kind}.{name}").build
        found = _foreign(kind)[name].load()
    except ImportError as error:
        raise BackendError(
            f"{name} can't run here: {error}. Install what it needs, for example with "
            f"pip install 'napari-ibisagent[models]'."
        ) from error
    return getattr(found, "build", found)


def _own(kind: Kind) -> set[str]:
    try:
        package = importlib.import_module(f"{_PACKAGE}.{kind}")
    except ModuleNotFoundError as error:
        if error.name == f"{_PACKAGE}.{kind}":
            return set()
        raise
    return {module.name for module in pkgutil.iter_modules(package.__path__) if not module.name.startswith("_")}


def _foreign(kind: Kind) -> dict[str, EntryPoint]:
    return {entry.name: entry for entry in entry_points(group=f"{_PACKAGE}.{kind}")}


def why_not(kind: Kind, name: str) -> str | None:
    """Why a backend can't run on this machine, in words, or None when it can.

    A backend module may have ``available() -> str | None``; else being importable is enough.
    """
    try:
        build = _build_of(kind, name)
    except BackendError as error:
        return str(error)
    check = getattr(inspect.getmodule(build), "available", None)
    return check() if callable(check) else None
