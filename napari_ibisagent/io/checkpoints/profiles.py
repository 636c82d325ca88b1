"""Profiles of checkpoints: what ``resources/models.yaml`` and a file of the user's say, checked field by field.

Leaves out the files themselves (``store``) and whether a backend of that name is installed (``registry``).
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from types import MappingProxyType, NoneType
from typing import Any, Literal

from napari_ibisagent.core.errors import InputError, UnknownNameError
from napari_ibisagent.io.checkpoints.paths import is_safe
from napari_ibisagent.io.resources import resource

OWN_PROFILES = "IBISAGENT_PROFILES"
SHIPPED = "models.yaml"


@dataclass(frozen=True, slots=True)
class Profile:
    """A published checkpoint. Sizes are in GB of 10^9 bytes.

    ``backend`` is the key of the policy or segmenter that runs it and ``options`` are that one's keyword arguments.
    ``hub`` is None where nobody knows for certain where the files are published. ``files`` are patterns of names
    beneath ``folder``. ``commercial`` says whether commercial use is allowed, None where that isn't known.
    """

    name: str
    kind: Literal["policies", "segmenters"]
    backend: str
    title: str
    hub: str | None
    folder: str
    revision: str
    files: tuple[str, ...]
    licence: str
    licence_url: str
    commercial: bool | None
    size_gb: float
    memory_gb: float
    dialect: str | None
    overlay: str | None
    options: Mapping[str, Any]
    paper: str
    note: str


_KEYS = tuple(field.name for field in fields(Profile) if field.name != "name")
_TYPES: dict[str, tuple[type, ...]] = {
    "hub": (str, NoneType),
    "files": (list,),
    "commercial": (bool, NoneType),
    "size_gb": (int, float),
    "memory_gb": (int, float),
    "dialect": (str, NoneType),
    "overlay": (str, NoneType),
    "options": (dict,),
}
_WORDS = {str: "text", NoneType: "null", list: "a list", bool: "true or false", int: "a number", dict: "a mapping"}
_PATTERNS = {
    "kind": (r"policies|segmenters", "is policies or segmenters"),
    "backend": (r"[a-z][a-z0-9_]*", "is the key of a backend, such as qwen_vl"),
    "hub": (r"[\w.-]+/[\w.-]+", "is an id such as owner/model"),
    "revision": (r"[\w./-]+", "is a branch, a tag or a commit"),
    "licence_url": (r"https?://\S+", "is an address that begins with https://"),
}
_NAME = re.compile(r"[a-z0-9][a-z0-9._+-]*")


def read_profiles() -> Mapping[str, Profile]:
    """All profiles by name: the shipped ones, with what the file named by IBISAGENT_PROFILES adds or overrides.

    Raises InputError, naming file and profile, for whatever isn't as it should be.
    """
    shipped = resource(SHIPPED)
    found = _read(shipped)
    sources = dict.fromkeys(found, shipped)
    own = os.environ.get(OWN_PROFILES)
    if own:
        for name, entry in _read(Path(own)).items():
            found[name] = found.get(name, {}) | entry
            sources[name] = Path(own)
    return MappingProxyType({name: _profile(name, entry, sources[name]) for name, entry in found.items()})


def profile(name: str) -> Profile:
    """The profile of that name; UnknownNameError lists the known ones."""
    known = read_profiles()
    if name not in known:
        raise UnknownNameError(f"There is no checkpoint called {name!r}. Known are: {', '.join(known)}.")
    return known[name]


def _read(path: Path) -> dict[str, dict[str, Any]]:
    import yaml

    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(
            f"The profiles {path} can't be read ({error.strerror or error}). Correct {OWN_PROFILES}, or unset it."
        ) from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InputError(
            f"The profiles {path} aren't YAML: {' '.join(str(error).split())}. Correct the file."
        ) from error
    if not isinstance(content, dict) or not all(isinstance(entry, dict) for entry in content.values()):
        raise InputError(
            f"The profiles {path} should map names to fields. Give the file the form of {resource(SHIPPED)}."
        )
    return {str(name): entry for name, entry in content.items()}


def _profile(name: str, entry: Mapping[str, Any], source: Path) -> Profile:
    where = f"The profile {name!r} in {source.name}"
    if not _NAME.fullmatch(name) or name.endswith((".partial", ".old")):
        raise InputError(f"{where} needs another name: small letters, digits, and . _ + - between them.")
    unknown = [str(key) for key in entry if key not in _KEYS]
    if unknown:
        raise InputError(f"{where} has the unknown key {', '.join(unknown)}. The keys are: {', '.join(_KEYS)}.")
    missing = [key for key in _KEYS if key not in entry]
    if missing:
        raise InputError(f"{where} lacks {', '.join(missing)}. Add what is missing.")
    for key in _KEYS:
        _check_type(where, key, entry[key])
        _check_value(where, key, entry[key])
    values = dict(entry)
    values["files"] = tuple(entry["files"])
    values["options"] = MappingProxyType(dict(entry["options"]))
    return Profile(name=name, **values)


def _check_type(where: str, key: str, value: Any) -> None:
    allowed = _TYPES.get(key, (str,))
    # In Python true is a number; in a profile it isn't.
    if isinstance(value, allowed) and (bool in allowed or not isinstance(value, bool)):
        return
    words = " or ".join(_WORDS[kind] for kind in allowed if kind is not float)
    raise InputError(f"{where} has {key}: {value!r}, which should be {words}. Correct it.")


def _check_value(where: str, key: str, value: Any) -> None:
    """The rules beyond the type. ``folder`` and ``files`` become paths on this disk, so they stay inside."""
    if key in _PATTERNS and value is not None:
        pattern, rule = _PATTERNS[key]
        if not re.fullmatch(pattern, value):
            raise InputError(f"{where} has {key}: {value!r}, but {key} {rule}. Correct it.")
    if key in ("size_gb", "memory_gb") and not 0 < value < 1e6:
        raise InputError(f"{where} has {key}: {value!r}, which should be more than 0. Correct it.")
    if key == "folder" and value and not is_safe(value):
        raise InputError(f"{where} has folder: {value!r}, which isn't a folder in the repository. Correct it.")
    if key == "files" and not (value and all(isinstance(item, str) and is_safe(item) for item in value)):
        raise InputError(f"{where} has files: {value!r}, which should be patterns such as *.safetensors. Correct it.")
    if key == "options" and not all(isinstance(item, str) for item in value):
        raise InputError(f"{where} has options whose names aren't text. Correct it.")
