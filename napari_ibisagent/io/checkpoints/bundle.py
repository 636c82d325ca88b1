"""One archive with checkpoints, for a machine without a network: written from what is installed, and installed there.

An uncompressed tar (weights don't compress) whose first member holds the locks of all checkpoints; their files
follow. It is read as a stream, member by member, and nothing of it is believed: only plain files that a lock names
are taken, at the path, of the size and with the hash that it gives.
"""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from collections.abc import Callable, Iterator, Sequence, Set
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any

from napari_ibisagent.core.errors import InputError, OutputError
from napari_ibisagent.io.atomic import write_in_place
from napari_ibisagent.io.checkpoints import store
from napari_ibisagent.io.checkpoints.fetch import Progress, Report, check_pickles
from napari_ibisagent.io.checkpoints.store import Lock, StoredFile
from napari_ibisagent.io.protect import check_file

CONTENTS = "ibisagent-bundle.json"
_FORMAT = 1
_CONTENTS_LIMIT = 64 << 20
_FRAME = 2 * tarfile.BLOCKSIZE


def write_bundle(names: Sequence[str], output: Path, report: Report) -> None:
    """Writes the checkpoints of those names into one archive, all or nothing; a file of that name is replaced.

    Raises InputError where one isn't installed or is damaged, and OutputError where the archive can't be written.
    """
    locks = tuple(store.read_lock(name) for name in dict.fromkeys(names))
    check_file(output, [store.folder_of(lock.name) for lock in locks])
    needed = sum(file.size + _FRAME for lock in locks for file in lock.files)
    store.check_room(output.name, needed, output.parent, "choose another disk")
    write_in_place(output, lambda temporary: _write(locks, temporary, _Meter(locks, report)), keep=False)


class _Meter:
    """Counts bytes over all files of some checkpoints."""

    def __init__(self, locks: Sequence[Lock], report: Report) -> None:
        self._done, self._total = 0, sum(lock.size for lock in locks)
        self._report = report

    def add(self, path: str, size: int) -> None:
        self._done += size
        self._report(Progress(path, self._done, self._total))


def _write(locks: Sequence[Lock], path: Path, meter: _Meter) -> None:
    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as archive:
        contents = {"format": _FORMAT, "checkpoints": [store.lock_to(lock) for lock in locks]}
        _add(archive, CONTENTS, io.BytesIO(data := json.dumps(contents, indent=1).encode()), len(data))
        for lock in locks:
            for file in lock.files:
                _add_file(archive, lock, file, meter)


def _add_file(archive: tarfile.TarFile, lock: Lock, file: StoredFile, meter: _Meter) -> None:
    path = store.folder_of(lock.name) / file.path
    try:
        with path.open("rb") as stream:
            hashed = _Hashed(stream, lambda size: meter.add(file.path, size))
            if path.stat().st_size == file.size:
                _add(archive, f"{lock.name}/{file.path}", hashed, file.size)
    except FileNotFoundError as error:
        raise InputError(f"{file.path} of {lock.name} is missing. {store.fetch_again(lock.name)}") from error
    if hashed.hex() != file.sha256:
        raise InputError(f"{file.path} of {lock.name} was changed since it came. {store.fetch_again(lock.name)}")


def _add(archive: tarfile.TarFile, name: str, stream: Any, size: int) -> None:
    """Owner, rights and times stay out, so that the same checkpoints make the same archive."""
    member = tarfile.TarInfo(name)
    member.size = size
    member.mode = 0o644
    archive.addfile(member, stream)


class _Hashed:
    """A stream that hashes and counts what is read from it."""

    def __init__(self, stream: IO[bytes], count: Callable[[int], None]) -> None:
        self._stream, self._count = stream, count
        self._sha256 = hashlib.sha256()

    def read(self, size: int) -> bytes:
        data = self._stream.read(size)
        self._sha256.update(data)
        self._count(len(data))
        return data

    def hex(self) -> str:
        return self._sha256.hexdigest()


def bundle_contents(path: Path) -> tuple[Lock, ...]:
    """The locks of the checkpoints in an archive. Raises InputError where it isn't a bundle."""
    with _opened(path) as archive:
        return _contents(archive, path)


def install_bundle(path: Path, names: Sequence[str], agreed: datetime, report: Report, *, allow_pickle: bool) -> None:
    """Installs the checkpoints of those names from an archive; each is whole or isn't there.

    ``agreed`` is when the user agreed to their licences here. Raises InputError where the archive is no bundle, is
    damaged, or lacks one of the names, and OutputError where there is no room.
    """
    held = bundle_contents(path)
    locks = _chosen(held, names, path)
    for lock in locks:
        check_pickles(lock.name, (file.path for file in lock.files), allow=allow_pickle)
    store.check_room(path.name, sum(lock.size for lock in locks), store.models_folder())
    meter = _Meter(locks, report)
    listed = {f"{lock.name}/{file.path}" for lock in held for file in lock.files}
    with _opened(path) as archive:
        _contents(archive, path)
        for lock in locks:
            _install(archive, lock, path, listed, agreed, meter)


def _chosen(locks: Sequence[Lock], names: Sequence[str], path: Path) -> tuple[Lock, ...]:
    lacking = set(names) - {lock.name for lock in locks}
    if lacking:
        held = ", ".join(lock.name for lock in locks)
        raise InputError(f"{path.name} doesn't hold {', '.join(sorted(lacking))}. It holds: {held}.")
    return tuple(lock for lock in locks if lock.name in names)


def _install(
    archive: tarfile.TarFile, lock: Lock, path: Path, listed: Set[str], agreed: datetime, meter: _Meter
) -> None:
    with store.alone(lock.name):
        awaited = {f"{lock.name}/{file.path}": file for file in lock.files}
        while awaited:
            member = _next(archive, path)
            if member is None:
                raise InputError(f"{path.name} ends before {next(iter(awaited))}. Copy the bundle again.")
            file = awaited.pop(member.name, None)
            if file is not None:
                _take(archive, member, store.staging_of(lock.name) / file.path, file, path, meter)
            elif member.name not in listed:
                raise InputError(f"{path.name} holds {member.name!r}, which its list doesn't name. Don't use it.")
        store.put_in_place(replace(lock, agreed=agreed.astimezone(UTC).isoformat(timespec="seconds")))


def _take(
    archive: tarfile.TarFile, member: tarfile.TarInfo, target: Path, file: StoredFile, path: Path, meter: _Meter
) -> None:
    """Writes a member to ``target``, which a lock named; the member's own path, rights and owner are never used."""
    plain = member.type in (tarfile.REGTYPE, tarfile.AREGTYPE) and not member.issparse()
    stream = archive.extractfile(member) if plain and member.size == file.size else None
    if stream is None:
        raise InputError(f"{member.name} in {path.name} isn't the file that the bundle's lock describes. Don't use it.")
    hashed = _Hashed(stream, lambda size: meter.add(file.path, size))
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        target.unlink(missing_ok=True)  # what an earlier fetch left may be a second name of an installed file
        with target.open("xb") as out:
            while data := _read(hashed, path):
                out.write(data)
    except OSError as error:
        raise OutputError(
            f"{target} can't be written ({error.strerror or error}). Make room, or choose another folder with "
            f"{store.MODELS}."
        ) from error
    if hashed.hex() != file.sha256:
        target.unlink()
        raise InputError(f"{member.name} in {path.name} is damaged. Copy the bundle again.")


def _read(stream: _Hashed, path: Path) -> bytes:
    try:
        return stream.read(store.CHUNK)
    except (tarfile.TarError, OSError) as error:
        raise _unreadable(path, error) from error


def _next(archive: tarfile.TarFile, path: Path) -> tarfile.TarInfo | None:
    try:
        return archive.next()
    except (tarfile.TarError, OSError) as error:
        raise _unreadable(path, error) from error


def _unreadable(path: Path, error: Exception) -> InputError:
    reason = getattr(error, "strerror", None) or error
    return InputError(f"{path} can't be read as a bundle ({reason}). Copy it again.")


@contextmanager
def _opened(path: Path) -> Iterator[tarfile.TarFile]:
    """As a stream ("r|"): nothing is looked up twice, and no compression is tried."""
    try:
        archive = tarfile.open(path, "r|")  # noqa: SIM115
    except (tarfile.TarError, OSError) as error:
        raise _unreadable(path, error) from error
    with archive:
        yield archive


def _contents(archive: tarfile.TarFile, path: Path) -> tuple[Lock, ...]:
    member = _next(archive, path)
    if member is None or member.name != CONTENTS or not member.isreg() or member.size > _CONTENTS_LIMIT:
        raise InputError(f"{path.name} is no bundle of checkpoints. Write one with: ibisagent models bundle")
    stream = archive.extractfile(member)
    try:
        content = json.loads(b"" if stream is None else stream.read())
        if content["format"] != _FORMAT:
            raise InputError(f"{path.name} was written by a newer program. Update napari-ibisagent.")
        return tuple(store.lock_from(row, path) for row in content["checkpoints"])
    except (tarfile.TarError, OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path.name} has no readable list of what it holds. Copy the bundle again.") from error
