"""A folder of trajectories: ``trajectories.jsonl``, ``rejected.jsonl`` and ``pictures/``.

Each line is flushed to the disk before the next one is made. A torn last line, of a process that was killed, is cut off
when the folder is opened to go on; what is in it already isn't made again.
"""

from __future__ import annotations

import io
import json
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from napari_ibisagent.core.errors import InputError, OutputError
from napari_ibisagent.core.overlay import Picture
from napari_ibisagent.io.atomic import atomic_write_bytes
from napari_ibisagent.io.shown import png
from napari_ibisagent.training.trajectories.form import Trajectory, from_json, to_json, to_line

TRAJECTORIES, REJECTED, PICTURES, PARQUET = "trajectories.jsonl", "rejected.jsonl", "pictures", "trajectories.parquet"


class Folder:
    """A folder that trajectories are appended to. Use as a context manager. Raises OutputError."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            path.mkdir(parents=True, exist_ok=True)
            self._kept, self._left_out = (_appending(path / name) for name in (TRAJECTORIES, REJECTED))
        except OSError as error:
            raise OutputError(f"{path} can't be written: {error.strerror}. Choose another folder.") from error
        self._pictures: dict[str, str] = {}

    def done(self) -> frozenset[str]:
        """The names of what was made already, kept or rejected."""
        return frozenset(
            str(values["name"]) for name in (TRAJECTORIES, REJECTED) for values in _lines(self.path / name)
        )

    def keep(self, trajectory: Trajectory, picture: bytes | None) -> None:
        """Appends a trajectory, after its picture (PNG) where there is one."""
        if picture is not None:
            trajectory = replace(trajectory, source=replace(trajectory.source, picture=self._picture(picture)))
        _append(self._kept, to_line(trajectory))

    def reject(self, name: str, reason: str) -> None:
        """Appends the name of what was left out, and why."""
        _append(self._left_out, json.dumps({"name": name, "reason": reason}, ensure_ascii=False) + "\n")

    def close(self) -> None:
        """Closes the files."""
        self._kept.close()
        self._left_out.close()

    def __enter__(self) -> Folder:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _picture(self, data: bytes) -> str:
        """Where a picture lies; the same one is written once."""
        import hashlib

        # Of the pixels alone: nothing of the patient's is in the name.
        name = f"{PICTURES}/{hashlib.blake2b(data, digest_size=10).hexdigest()}.png"
        if name not in self._pictures and not (self.path / name).exists():
            atomic_write_bytes(self.path / name, data)
        self._pictures[name] = name
        return name


def read_folder(path: Path) -> Iterator[Trajectory]:
    """The trajectories of a folder, or of a JSON Lines file. Raises InputError, with the number of the broken line."""
    file = path / TRAJECTORIES if path.is_dir() else path
    if not file.is_file():
        raise InputError(f"There are no trajectories in {path}. Make some with: ibisagent trajectories … -o {path}")
    for number, values in enumerate(_lines(file), 1):
        try:
            yield from_json(values)
        except InputError as error:
            raise InputError(f"{file}, line {number}: {error}") from error


def read_rejected(path: Path) -> tuple[tuple[str, str], ...]:
    """(name, reason) of what was left out."""
    return tuple((str(v["name"]), str(v["reason"])) for v in _lines(path / REJECTED))


def picture_of(trajectory: Trajectory, folder: Path) -> Picture:
    """The picture (H, W, 3) uint8 of a trajectory, without a mask. Raises InputError."""
    name = trajectory.source.picture
    if not name:
        raise InputError(
            f"{trajectory.name} has no picture with it. Make the trajectories again without --no-pictures."
        )
    return picture_from((folder if folder.is_dir() else folder.parent) / name, trajectory.shape)


def picture_from(path: Path, shape: tuple[int, int]) -> Picture:
    """A stored picture (H, W, 3) uint8. Raises InputError."""
    try:
        with Image.open(path) as image:
            pixels: NDArray[np.uint8] = np.asarray(image.convert("RGB"))
    except OSError as error:
        raise InputError(f"The picture {path} can't be read ({error}). Make the trajectories again.") from error
    if pixels.shape[:2] != shape:
        raise InputError(f"The picture {path} has {pixels.shape[:2]} pixels, its trajectory {shape}.")
    return pixels


def grey_png(picture: Picture) -> bytes:
    """A picture (H, W, 3) as PNG without metadata, in one channel where it is grey."""
    grey = bool((picture == picture[:, :, :1]).all())
    return png(Image.fromarray(picture[:, :, 0] if grey else picture))


def write_parquet(path: Path) -> Path:
    """The same as one Parquet file, with the pictures in it: for bulk. Raises InputError where pyarrow is missing."""
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise InputError("Parquet needs the extra: pip install 'napari-ibisagent[train]'") from error
    rows: list[dict[str, Any]] = []
    for trajectory in read_folder(path):
        values = to_json(trajectory)
        values["source"]["window"] = values["source"]["window"] or None
        name = trajectory.source.picture
        rows.append({**values, "picture": (path / name).read_bytes() if name else None})
    buffer = io.BytesIO()
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), buffer, compression="zstd")
    atomic_write_bytes(path / PARQUET, buffer.getvalue())
    return path / PARQUET


def _appending(path: Path) -> IO[bytes]:
    file = path.open("ab+")
    file.seek(0)
    data = file.read()
    whole = data.rfind(b"\n") + 1
    if whole != len(data):
        file.truncate(whole)
    file.seek(0, os.SEEK_END)
    return file


def _append(file: IO[bytes], line: str) -> None:
    try:
        file.write(line.encode())
        file.flush()
        os.fsync(file.fileno())
    except OSError as error:
        raise OutputError(
            f"{file.name} can't be written: {error.strerror}. What was written before is whole; free some space and "
            "run the same command again."
        ) from error


def _lines(path: Path) -> Iterator[Any]:
    if not path.exists():
        return
    with path.open(encoding="utf-8") as file:
        for number, line in enumerate(file, 1):
            try:
                yield json.loads(line)
            except ValueError as error:
                raise InputError(f"{path}, line {number} isn't JSON: {error}. Remove the line.") from error
