"""Downloads a checkpoint from the hub: what is wanted, continued where it stopped, hashed as it comes.

Every file is compared with the hub's hash before it counts. A file on its way is named after that hash, so what is
continued is always the same file. Leaves out the requests (``hub``) and the question whether the user agrees to the
licence, whose answer ``fetch`` demands.
"""

from __future__ import annotations

import hashlib
import http.client
import os
import shutil
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from pathlib import Path
from typing import IO

from napari_ibisagent.core.errors import BackendError, InputError, OutputError
from napari_ibisagent.io.checkpoints import hub, store
from napari_ibisagent.io.checkpoints.paths import is_pickle, is_safe, is_weights
from napari_ibisagent.io.checkpoints.profiles import OWN_PROFILES, Profile
from napari_ibisagent.io.checkpoints.store import Lock, StoredFile

# Seconds before each further try; a try that brought anything starts the count anew.
_WAITS = (1.0, 2.0, 4.0, 8.0)


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a download is: the file that comes just now, and the bytes of all files together."""

    path: str
    done: int
    total: int


Report = Callable[[Progress], None]


@dataclass(frozen=True, slots=True)
class Plan:
    """What a profile stands for at this moment. ``files`` have their paths beneath the checkpoint's own folder."""

    profile: Profile
    source: hub.Snapshot
    files: tuple[hub.HubFile, ...]

    @property
    def size(self) -> int:
        """Of all files, in bytes."""
        return sum(file.size for file in self.files)


def plan(profile: Profile, *, allow_pickle: bool) -> Plan:
    """Asks the hub which files the profile stands for.

    A pickle is left out where there is safetensors, else wanted only with ``allow_pickle``. Raises InputError where
    the repository isn't there, holds nothing that is wanted, or only pickles; BackendError where the hub can't be
    reached.
    """
    source = hub.snapshot(hub_of(profile), profile.revision)
    wanted = _wanted(profile, source)
    if any(is_weights(file.path) and not is_pickle(file.path) for file in wanted):
        wanted = tuple(file for file in wanted if not is_pickle(file.path))
    if not any(is_weights(file.path) for file in wanted):
        raise InputError(
            f"{source.hub} has no weights that match {', '.join(profile.files)}"
            f"{f' in {profile.folder}' if profile.folder else ''}. It may have changed: correct the profile in a file "
            f"that {OWN_PROFILES} names."
        )
    check_pickles(profile.name, (file.path for file in wanted), allow=allow_pickle)
    return Plan(profile, source, wanted)


def hub_of(profile: Profile) -> str:
    """The repository of a profile. Raises InputError, with what to do, where it isn't known."""
    if profile.hub is None:
        raise InputError(
            f"Where {profile.name} is published isn't known for certain. If you know, write the line "
            f'"{profile.name}: {{hub: owner/model}}" into a file such as own.yaml, set {OWN_PROFILES}=own.yaml, and '
            "fetch again. A folder that you have already can be given to the backend as it is."
        )
    return profile.hub


def check_pickles(name: str, paths: Iterable[str], *, allow: bool) -> None:
    """Raises InputError where there is a pickle among ``paths`` and the user didn't allow that."""
    pickles = [path for path in paths if is_pickle(path)]
    if pickles and not allow:
        raise InputError(
            f"{name} comes with {', '.join(pickles)}, which is a pickle: loading it can run whatever code it holds. "
            "If you trust its publisher, say so with --allow-pickle."
        )


def _wanted(profile: Profile, source: hub.Snapshot) -> tuple[hub.HubFile, ...]:
    prefix = f"{profile.folder}/" if profile.folder else ""
    found = []
    for file in source.files:
        local = file.path.removeprefix(prefix)
        if file.path.startswith(prefix) and local != store.LOCK and any(_matches(local, p) for p in profile.files):
            if not is_safe(local):
                raise InputError(f"{source.hub} names a file {local!r}, which would leave its folder. Don't use it.")
            found.append(replace(file, path=local))
    return tuple(found)


def _matches(path: str, pattern: str) -> bool:
    """A star stands for no slash: ``*.json`` means the files of the folder itself."""
    return path.count("/") == pattern.count("/") and fnmatchcase(path, pattern)


def fetch(wanted: Plan, agreed: datetime, report: Report) -> Path:
    """Downloads what the plan says and makes it the checkpoint; returns its folder.

    ``agreed`` is when the user agreed to the licence. Files that came before, or lie in an installed checkpoint, are
    kept where their hash is right. ``report`` is called after every piece; what it raises ends the download, which
    the next one continues. Raises OutputError (no room, no right to write) and BackendError (the hub).
    """
    name = wanted.profile.name
    with store.alone(name):
        staging = store.staging_of(name)
        download = _Download(wanted, staging, report)
        store.check_room(name, wanted.size - download.present(), staging)
        stored = tuple(download.bring(file) for file in wanted.files)
        lock = Lock(
            name,
            wanted.source.hub,
            wanted.profile.folder,
            wanted.source.commit,
            wanted.profile.licence,
            agreed.astimezone(UTC).isoformat(timespec="seconds"),
            stored,
        )
        return store.put_in_place(lock)


class _Digest:
    """Hashes a file as it comes: sha256 for the lock, and git's own hash where the hub has no other."""

    def __init__(self, file: hub.HubFile) -> None:
        self._file = file
        self.begin()

    def begin(self) -> None:
        """Forgets what was seen."""
        self._sha256 = hashlib.sha256()
        self._git = hashlib.sha1(f"blob {self._file.size}\0".encode(), usedforsecurity=False)
        self.size = 0

    def update(self, data: bytes) -> None:
        self.size += len(data)
        self._sha256.update(data)
        if self._file.sha256 is None:
            self._git.update(data)

    def read(self, path: Path) -> None:
        """Takes in what lies on the disk."""
        with path.open("rb") as stream:
            while data := stream.read(store.CHUNK):
                self.update(data)

    def sound(self) -> bool:
        """Whether all of the file was seen, and nothing else."""
        if self.size != self._file.size:
            return False
        if self._file.sha256 is not None:
            return self._sha256.hexdigest() == self._file.sha256
        return self._file.blob is None or self._git.hexdigest() == self._file.blob

    def stored(self) -> StoredFile:
        return StoredFile(self._file.path, self.size, self._sha256.hexdigest())


class _Download:
    """One run over the files of a plan."""

    def __init__(self, wanted: Plan, staging: Path, report: Report) -> None:
        self._plan = wanted
        self._staging = staging
        self._report = report
        self._done = 0

    def present(self) -> int:
        """How many bytes lie on the disk already, judged by names and sizes; parts count as far as they came."""
        before = store.folder_of(self._plan.profile.name)
        found = 0
        for file in self._plan.files:
            whole = (self._staging / file.path, before / file.path)
            if any(path.is_file() and path.stat().st_size == file.size for path in whole):
                found += file.size
            elif self._part_of(file).is_file():
                found += min(self._part_of(file).stat().st_size, file.size)
        return found

    def bring(self, file: hub.HubFile) -> StoredFile:
        """The file in the staging folder, whole and compared with the hub's hash."""
        target = self._staging / file.path
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            digest = self._kept(file, target) or self._reused(file, target) or self._downloaded(file, target)
        except OSError as error:
            raise OutputError(
                f"{target} can't be written ({error.strerror or error}). What came so far is kept: make room or "
                "correct the folder's rights, and fetch again."
            ) from error
        self._done += file.size
        self._say(file, 0)
        return digest.stored()

    def _say(self, file: hub.HubFile, here: int) -> None:
        self._report(Progress(file.path, self._done + here, self._plan.size))

    def _part_of(self, file: hub.HubFile) -> Path:
        """Named after the content: a newer version of a file is never appended to an older one."""
        mark = (file.sha256 or file.blob or self._plan.source.commit)[:16]
        return self._staging / f"{file.path}.{mark}.part"

    def _kept(self, file: hub.HubFile, target: Path) -> _Digest | None:
        """What an earlier run brought in full."""
        if not target.is_file() or target.stat().st_size != file.size:
            return None
        digest = _Digest(file)
        digest.read(target)
        return digest if digest.sound() else None

    def _reused(self, file: hub.HubFile, target: Path) -> _Digest | None:
        """What an installed checkpoint has already; as a second name for the same file where the disk allows that."""
        before = store.folder_of(self._plan.profile.name) / file.path
        digest = self._kept(file, before)
        if digest is None:
            return None
        target.unlink(missing_ok=True)
        try:
            target.hardlink_to(before)
        except OSError:  # this disk knows no second names
            shutil.copyfile(before, target)
        return digest

    def _downloaded(self, file: hub.HubFile, target: Path) -> _Digest:
        part = self._part_of(file)
        for _ in range(2):
            digest = self._complete(file, part)
            if digest.sound():
                part.replace(target)
                return digest
            # What an earlier run left may have been damaged on the disk; once more from the start tells.
            part.unlink()
        raise BackendError(
            f"{file.path} of {self._plan.source.hub} arrived damaged twice: its hash isn't the one that the hub "
            "states. Nothing was installed. Try again later, or through another network."
        )

    def _complete(self, file: hub.HubFile, part: Path) -> _Digest:
        """Downloads what is missing of a file, over as many connections as that takes."""
        digest = _Digest(file)
        if part.is_file() and part.stat().st_size <= file.size:
            digest.read(part)
        waits = list(_WAITS)
        with part.open("r+b" if digest.size else "wb") as out:
            while digest.size < file.size:
                before = digest.size
                try:
                    self._continue(file, out, digest)
                except hub.BrokenOffError as error:
                    waits = list(_WAITS) if digest.size > before else waits
                    if not waits:
                        raise BackendError(
                            f"{str(error).rstrip('.')}, {len(_WAITS) + 1} times in a row. What came so far is kept: "
                            f"go on with: ibisagent models fetch {self._plan.profile.name}"
                        ) from error
                    time.sleep(waits.pop(0))
            out.flush()
            os.fsync(out.fileno())
        return digest

    def _continue(self, file: hub.HubFile, out: IO[bytes], digest: _Digest) -> None:
        """Appends what one connection brings. Raises BrokenOffError where it brings less than the rest."""
        remote = replace(file, path=self._remote(file))
        with hub.open_file(self._plan.source, remote, digest.size) as (stream, start):
            if start != digest.size:  # the server sends the file from its beginning
                digest.begin()
            out.seek(digest.size)
            out.truncate()
            while digest.size < file.size:
                data = _piece(stream, file.size - digest.size)
                out.write(data)
                digest.update(data)
                self._say(file, digest.size)

    def _remote(self, file: hub.HubFile) -> str:
        folder = self._plan.profile.folder
        return f"{folder}/{file.path}" if folder else file.path


def _piece(stream: IO[bytes], most: int) -> bytes:
    """The next bytes of a response; the network's errors are told from the disk's here."""
    try:
        data = stream.read(min(store.CHUNK, most))
    except (OSError, http.client.HTTPException) as error:
        raise hub.BrokenOffError(f"The connection to the hub broke off ({error}).") from error
    if not data:
        raise hub.BrokenOffError("The connection to the hub ended before the file did.")
    return data
