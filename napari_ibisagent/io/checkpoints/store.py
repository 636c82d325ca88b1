"""Where checkpoints lie, and the lock beside each that says what it is made of.

``<models>/<name>/`` is a checkpoint as its library reads it, with a lock of every file's size and hash. It is made
in ``<models>/<name>.partial/`` and renamed once it is whole, so a folder of the plain name was whole when it came;
a program that is killed leaves the partial folder, which counts for nothing and is continued by the next fetch.
Leaves out where the files come from (``fetch``, ``bundle``).
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from napari_ibisagent.core.errors import BackendError, InputError, OutputError
from napari_ibisagent.io.atomic import atomic_write_bytes
from napari_ibisagent.io.checkpoints.paths import is_safe
from napari_ibisagent.io.checkpoints.profiles import Profile
from napari_ibisagent.io.locking import lock
from napari_ibisagent.io.resources import resource

MODELS = "IBISAGENT_MODELS"
LOCK = "checkpoint.lock.json"
CHUNK = 1 << 20
_FORMAT = 1
# A checkpoint is many GB; what else the disk is needed for while it comes shouldn't fail for a few MB.
_SPARE = 100 * 10**6

Condition = Literal["no", "partly", "damaged", "yes"]


@dataclass(frozen=True, slots=True)
class StoredFile:
    """A file of a checkpoint: its path beneath the folder, with slashes, its size in bytes and its sha256 in hex."""

    path: str
    size: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Lock:
    """What a checkpoint is made of. ``revision`` is the commit; ``agreed`` (ISO 8601): when the licence was."""

    name: str
    hub: str
    folder: str
    revision: str
    licence: str
    agreed: str
    files: tuple[StoredFile, ...]

    @property
    def size(self) -> int:
        """Of all files, in bytes."""
        return sum(file.size for file in self.files)


@dataclass(frozen=True, slots=True)
class Damage:
    """A file that isn't what the lock says; ``problem`` is a clause that follows its name."""

    path: str
    problem: str


def models_folder() -> Path:
    """The folder of all checkpoints: IBISAGENT_MODELS, else the system's place for a user's data."""
    named = os.environ.get(MODELS)
    if named:
        return Path(named).expanduser()
    if sys.platform == "win32":
        local = os.environ.get("LOCALAPPDATA")
        base = Path(local) if local else Path.home() / "AppData" / "Local"
    elif sys.platform == "darwin":
        base = Path.home() / "Library" / "Application Support"
    else:
        data = os.environ.get("XDG_DATA_HOME", "")
        # The XDG base directory specification says that a relative path is to be ignored.
        base = Path(data) if Path(data).is_absolute() else Path.home() / ".local" / "share"
    return base / "napari-ibisagent" / "models"


def folder_of(name: str) -> Path:
    """Where the checkpoint of that name lies once it is whole; small ones come with this program."""
    own = _own(name)
    return own if (own / LOCK).is_file() else shipped(name) or own


def shipped(name: str) -> Path | None:
    """The folder of a checkpoint that lies in ``resources``, else None."""
    try:
        return resource(f"{name}/{LOCK}").parent
    except BackendError:
        return None


def _own(name: str) -> Path:
    return models_folder() / name


def staging_of(name: str) -> Path:
    """Where the checkpoint of that name is made."""
    return models_folder() / f"{name}.partial"


def installed(profile: Profile) -> Path | None:
    """The folder of a checkpoint that is whole by its lock, else None. Sizes are looked at, hashes aren't."""
    return folder_of(profile.name) if condition(profile.name) == "yes" else None


def condition(name: str) -> Condition:
    """Whether a checkpoint is there: no, partly fetched, damaged (its lock or a size is wrong), or yes."""
    folder = folder_of(name)
    if (folder / LOCK).is_file():
        try:
            lock = read_lock(name)
        except InputError:
            return "damaged"
        return "damaged" if any(_by_size(folder, file) for file in lock.files) else "yes"
    return "partly" if staging_of(name).is_dir() else "no"


def read_lock(name: str) -> Lock:
    """The lock of a checkpoint that is there. Raises InputError where there is none or it can't be read."""
    path = folder_of(name) / LOCK
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise InputError(f"{name} isn't installed. Fetch it with: ibisagent models fetch {name}") from error
    except (OSError, ValueError) as error:
        raise InputError(f"The lock {path} can't be read ({error}). {fetch_again(name)}") from error
    lock = lock_from(content, path)
    if lock.name != name:
        raise InputError(f"The lock {path} is that of {lock.name}. {fetch_again(name)}")
    return lock


def fetch_again(name: str) -> str:
    """What to do about a damaged checkpoint."""
    return f"Fetch what is damaged again with: ibisagent models fetch {name} --again"


def lock_to(lock: Lock) -> dict[str, Any]:
    """A lock as JSON."""
    return {"format": _FORMAT, **asdict(lock)}


def lock_from(content: Any, source: Path) -> Lock:
    """The lock that JSON from ``source`` says. Raises InputError where that isn't one, or a path leaves the folder."""
    try:
        if content["format"] != _FORMAT:
            raise InputError(f"{source} was written by a newer program. Update napari-ibisagent.")
        files = tuple(StoredFile(str(row["path"]), int(row["size"]), str(row["sha256"])) for row in content["files"])
        texts = {key: str(content[key]) for key in ("name", "hub", "folder", "revision", "licence", "agreed")}
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"{source} isn't the lock of a checkpoint. Fetch the checkpoint again.") from error
    sound = all(
        is_safe(file.path) and file.path != LOCK and re.fullmatch("[0-9a-f]{64}", file.sha256) for file in files
    )
    if not sound or not is_safe(texts["name"]) or "/" in texts["name"]:
        raise InputError(f"{source} names files outside of its folder, or hashes that aren't. Don't use it.")
    return Lock(files=files, **texts)


def verify(name: str) -> tuple[Damage, ...]:
    """Reads every file and compares it with the lock. Raises InputError where there is no lock to compare with."""
    folder = folder_of(name)
    return tuple(damage for file in read_lock(name).files if (damage := _by_hash(folder, file)) is not None)


def _by_size(folder: Path, file: StoredFile) -> Damage | None:
    path = folder / file.path
    if not path.is_file():
        return Damage(file.path, "is missing")
    size = path.stat().st_size
    return None if size == file.size else Damage(file.path, f"has {size} bytes instead of {file.size}")


def _by_hash(folder: Path, file: StoredFile) -> Damage | None:
    damage = _by_size(folder, file)
    if damage is not None:
        return damage
    try:
        found = sha256_of(folder / file.path)
    except OSError as error:
        return Damage(file.path, f"can't be read ({error.strerror or error})")
    return None if found == file.sha256 else Damage(file.path, "was changed: its hash isn't that of the lock")


def sha256_of(path: Path) -> str:
    """The sha256 of a file, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def remove(name: str) -> int:
    """Deletes a checkpoint, also one that came only partly; returns how many bytes that freed.

    Raises InputError where there is nothing, or a folder that this program didn't make.
    """
    folder, staging = _own(name), staging_of(name)
    if shipped(name) is not None and not folder.exists():
        raise InputError(f"{name} comes with this program; there is nothing to remove.")
    if condition(name) == "no":
        if folder.exists():
            raise InputError(f"{folder} has no lock, so it wasn't fetched by this program. Delete it yourself.")
        raise InputError(f"{name} isn't installed; there is nothing to remove.")
    freed = 0
    with alone(name):
        for path in (folder, staging, _former_of(name)):
            freed += _size_of(path)
            _delete(path)
    return freed


def _size_of(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def _delete(path: Path) -> None:
    """Deletes a folder if it is there; of a link to one, the link alone."""
    try:
        if path.is_symlink():
            path.unlink()
        elif path.exists():
            shutil.rmtree(path)
    except OSError as error:
        raise OutputError(
            f"{path} can't be deleted ({error.strerror or error}). Close the programs that use it, and try again."
        ) from error


def _former_of(name: str) -> Path:
    return models_folder() / f"{name}.old"


@contextmanager
def alone(name: str) -> Iterator[None]:
    """Keeps other programs off a checkpoint while it is made or removed. Raises OutputError where one is at it.

    Where the system has no such locks (Windows, some network drives) nobody is kept off.
    """
    path = models_folder() / f".{name}.busy"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = path.open("wb")
    except OSError as error:
        raise OutputError(
            f"{path.parent} can't be written ({error.strerror or error}). Choose another folder with {MODELS}."
        ) from error
    with file:
        busy = f"Another program is fetching or removing {name} just now. Wait until it is done."
        lock(file.fileno(), busy, f"The checkpoint {name}")
        yield


def check_room(what: str, needed: int, folder: Path, remedy: str = f"choose another disk with {MODELS}") -> None:
    """Raises OutputError where ``needed`` bytes and something to spare don't fit on the disk of ``folder``."""
    place = folder.absolute()
    while not place.exists() and place != place.parent:
        place = place.parent
    free = shutil.disk_usage(place).free
    if needed > 0 and free < needed + _SPARE:
        raise OutputError(
            f"{what} needs {gigabytes(needed + _SPARE)} in {folder}, where {gigabytes(free)} are free. "
            f"Free {gigabytes(needed + _SPARE - free)}, or {remedy}."
        )


def gigabytes(size: float) -> str:
    """A number of bytes for a person: "16.60 GB", "156 MB", "3 kB"."""
    for unit, factor, form in (("GB", 1e9, ".2f"), ("MB", 1e6, ".0f")):
        if size >= factor:
            return f"{size / factor:{form}} {unit}"
    return f"{size / 1e3:.0f} kB"


def put_in_place(lock: Lock) -> Path:
    """Makes the staging folder, which holds all of the lock's files, the checkpoint; returns its folder.

    What else lies there is deleted: a checkpoint has no file that its lock doesn't know.
    """
    staging, folder, former = staging_of(lock.name), _own(lock.name), _former_of(lock.name)
    if folder.exists() and not folder.is_symlink() and not (folder / LOCK).is_file() and any(folder.iterdir()):
        raise OutputError(f"{folder} has no lock, so it wasn't fetched by this program. Move it elsewhere first.")
    _clear(staging, {file.path for file in lock.files})
    atomic_write_bytes(staging / LOCK, (json.dumps(lock_to(lock), indent=1) + "\n").encode())
    try:
        _delete(former)
        if folder.exists() or folder.is_symlink():
            folder.rename(former)
        staging.rename(folder)
    except OSError as error:
        raise OutputError(
            f"{folder} can't be put in its place ({error.strerror or error}). Close the programs that use it, and "
            "fetch again; nothing has to be downloaded twice."
        ) from error
    _delete(former)
    return folder


def _clear(staging: Path, wanted: set[str]) -> None:
    for path in sorted(staging.rglob("*"), reverse=True):  # what is in a folder comes before the folder
        if path.is_dir() and not path.is_symlink():
            if not any(path.iterdir()):
                path.rmdir()
        elif path.relative_to(staging).as_posix() not in wanted:
            path.unlink()
