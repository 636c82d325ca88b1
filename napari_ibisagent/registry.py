"""Names of policies, segmenters and propagators, and the only dynamic import of the package.

A backend is one module with ``build(**options)``; its file name is its key. Third parties add theirs through
the entry-point groups ``napari_ibisagent.policies``, ``.segmenters`` and ``.propagators``, each entry naming
such a module or such a function. The name of a checkpoint's profile (``ibisagent models list``) stands for its
backend with the folder that was fetched and the options that it was made for.
"""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any, Literal

from napari_ibisagent.core.errors import BackendError, InputError, UnknownNameError
from napari_ibisagent.io.checkpoints.profiles import Profile, read_profiles
from napari_ibisagent.io.checkpoints.store import installed

Kind = Literal["policies", "segmenters", "propagators"]
# What is used where nobody chooses; both need no download. docs/benchmarks.md compares the click tools.
DEFAULT_POLICY, DEFAULT_SEGMENTER = "embedded", "embedded"
_PACKAGE = "napari_ibisagent"
# Policies that need a truth or a script, which only a program has.
_FOR_PROGRAMS = frozenset(("oracle", "scripted"))
# The plain types that an option can be declared with, what is taken for each, and how a person calls it.
_TYPES: dict[str, tuple[type, ...]] = {
    "bool": (bool,),
    "int": (int,),
    "float": (float, int),
    "str": (str,),
    "None": (type(None),),
}
_WORDS = {"bool": "true or false", "int": "a whole number", "float": "a number", "str": "text"}


def names(kind: Kind) -> tuple[str, ...]:
    """All names of a kind, ours first, each alphabetically."""
    ours = sorted(_own(kind))
    return (*ours, *sorted(set(_foreign(kind)) - set(ours)))


def profiles(kind: Kind) -> tuple[str, ...]:
    """The names of the checkpoints of a kind, fetched or not."""
    return tuple(name for name, profile in read_profiles().items() if profile.kind == kind)


def choices(kind: Kind) -> tuple[str, ...]:
    """What a person can choose from: the names that need no program, and the checkpoints that were fetched."""
    fetched = (row.name for row in read_profiles().values() if row.kind == kind and installed(row) is not None)
    return (*(name for name in names(kind) if name not in _FOR_PROGRAMS), *fetched)


def load(kind: Kind, name: str, **options: Any) -> Any:
    """Builds the backend of that name.

    Raises UnknownNameError for a name that isn't there, InputError for an option that it doesn't take, and
    BackendError, with the reason, where it can't run on this machine.
    """
    profile = _profile(kind, name)
    if profile is not None:
        folder = options["folder"] if "folder" in options else _folder(profile)
        return _built(kind, profile.backend, _as_made_for(profile, folder) | options)
    return _built(kind, name, options)


def _built(kind: Kind, name: str, options: dict[str, Any]) -> Any:
    build = _build_of(kind, name)
    accepted = inspect.signature(build).parameters
    unknown = [key for key in options if key not in accepted]
    if unknown and not any(p.kind is p.VAR_KEYWORD for p in accepted.values()):
        takes = ", ".join(accepted) or "none"
        raise InputError(f"{name} has no option {', '.join(unknown)}. Its options are: {takes}.")
    for key, value in options.items():
        _check_type(name, key, value, accepted.get(key))
    return build(**options)


def _check_type(name: str, key: str, value: Any, parameter: inspect.Parameter | None) -> None:
    """Raises InputError where a plain value isn't of the type that the option is declared with.

    "no" is text, and text counts as true where nobody looks: an option that guards something must not be opened so.
    Options of other types are their backend's own business.
    """
    annotation = "" if parameter is None else parameter.annotation
    # A module that doesn't postpone its annotations holds the types themselves.
    words = annotation.__name__ if isinstance(annotation, type) else str(annotation)
    declared = {word.strip() for word in words.split("|")}
    if not declared <= _TYPES.keys():
        return
    if any(type(value) in _TYPES[word] for word in declared):
        return
    wanted = " or ".join(_WORDS[word] for word in sorted(declared - {"None"}))
    raise InputError(f"The option {key}={value!r} of {name} isn't {wanted}. Correct it.")


def _profile(kind: Kind, name: str) -> Profile | None:
    """The profile of that name, unless a backend is called so."""
    if name in names(kind):
        return None
    found = read_profiles().get(name)
    return found if found is not None and found.kind == kind else None


def _as_made_for(profile: Profile, folder: str) -> dict[str, Any]:
    """The options that a profile's backend is built with. A file of prompts lies among the checkpoint's own."""
    spoken = {"dialect": profile.dialect, "overlay": profile.overlay} if profile.kind == "policies" else {}
    made = {**{key: value for key, value in spoken.items() if value}, **profile.options}
    if "prompts" in made:
        made["prompts"] = str(Path(folder) / made["prompts"])
    return {**made, "folder": folder, "name": profile.name}


def _folder(profile: Profile) -> str:
    folder = installed(profile)
    if folder is None:
        raise BackendError(_not_fetched(profile))
    return str(folder)


def _not_fetched(profile: Profile) -> str:
    if profile.hub is None:
        return f"{profile.name} isn't on the hub. Give the folder that you have: folder=PATH."
    return f"{profile.name} isn't fetched yet. Type: ibisagent models fetch {profile.name}"


def _build_of(kind: Kind, name: str) -> Any:
    if name not in names(kind):
        raise UnknownNameError(
            f"There is no {kind[:-3] + 'y' if kind == 'policies' else kind[:-1]} called {name!r}. "
            f"Known are: {', '.join((*names(kind), *profiles(kind)))}."
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
    profile = _profile(kind, name)
    if profile is not None and installed(profile) is None:
        return _not_fetched(profile)
    if profile is not None:
        return None if profile.backend in names(kind) else f"{profile.backend} isn't part of this version"
    try:
        build = _build_of(kind, name)
    except BackendError as error:
        return str(error)
    check = getattr(inspect.getmodule(build), "available", None)
    return check() if callable(check) else None
