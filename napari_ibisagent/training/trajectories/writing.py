"""A folder of trajectories: ``trajectories.jsonl``, ``rejected.jsonl``, ``settings.json`` and ``pictures/``.

Each line is flushed to the disk before the next one is made, its picture before it. Who goes on with a folder after a
kill finds whole lines only; what is in it already isn't made again.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from hashlib import blake2b
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from napari_ibisagent.core.errors import InputError, OutputError
from napari_ibisagent.core.overlay import Picture
from napari_ibisagent.io.atomic import atomic_write_bytes
from napari_ibisagent.io.shown import png
from napari_ibisagent.training.trajectories.form import Trajectory, from_json, to_line
from napari_ibisagent.training.trajectories.lines import Lines, read_lines
from napari_ibisagent.training.trajectories.parquet import PARQUET
from napari_ibisagent.training.trajectories.settings import SETTINGS, belong, settle
from napari_ibisagent.training.trajectories.strict_values import naming, text

TRAJECTORIES, REJECTED, PICTURES = "trajectories.jsonl", "rejected.jsonl", "pictures"
# Files that a run was killed in the middle of; nobody else writes here while a folder is open.
_LEFTOVERS = (f"{PICTURES}/.*.png", f".{SETTINGS}.*", f".{PARQUET}.*")


class Folder:
    """A folder that this process alone appends trajectories to. Use as a context manager. Raises OutputError."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OutputError(f"{path} can't be written: {error.strerror}. Choose another folder.") from error
        self._kept = Lines(path / TRAJECTORIES)
        try:
            self._left_out = Lines(path / REJECTED)
        except OutputError:
            self._kept.close()
            raise
        self._pictures: set[str] = set()
        for pattern in _LEFTOVERS:
            for leftover in path.glob(pattern):
                with suppress(OSError):
                    leftover.unlink()

    def done(self) -> frozenset[str]:
        """The names of what was made already, kept or rejected."""
        return frozenset(name for file in (TRAJECTORIES, REJECTED) for name in _names(self.path / file))

    def settle(self, settings: Mapping[str, Any]) -> None:
        """Keeps how its trajectories are made. Raises InputError where they were made in another way before."""
        begun = any((self.path / name).stat().st_size for name in (TRAJECTORIES, REJECTED))
        settle(self.path, settings, begun=begun)

    def belong(self, scans: Mapping[str, str]) -> None:
        """Keeps which scan (its path) a name stands for. Raises InputError where one stood for another scan before."""
        belong(self.path, scans)

    def keep(self, trajectory: Trajectory, picture: bytes | None) -> None:
        """Appends a trajectory, after its picture (PNG) where there is one."""
        if picture is not None:
            trajectory = replace(trajectory, source=replace(trajectory.source, picture=self._picture(picture)))
        self._kept.append(to_line(trajectory))

    def reject(self, name: str, reason: str) -> None:
        """Appends the name of what was left out, and why."""
        self._left_out.append(json.dumps({"name": name, "reason": reason}, ensure_ascii=False) + "\n")

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
        name = picture_name(data)
        if name not in self._pictures and not (self.path / name).exists():
            atomic_write_bytes(self.path / name, data)
        self._pictures.add(name)
        return name


def _names(path: Path) -> Iterator[str]:
    for number, values in read_lines(path):
        with naming(f"{path}, line {number}"):
            name = text(values["name"])
        yield name


def picture_name(data: bytes) -> str:
    """Where a picture (PNG) lies in its folder. It is called by its pixels: nothing of the patient's is in the name."""
    return f"{PICTURES}/{blake2b(data, digest_size=10).hexdigest()}.png"


def read_folder(path: Path) -> Iterator[Trajectory]:
    """The trajectories of a folder, or of a JSON Lines file. Raises InputError, with the number of the broken line."""
    file = path / TRAJECTORIES if path.is_dir() else path
    if not file.is_file():
        raise InputError(f"There are no trajectories in {path}. Make some with: ibisagent trajectories … -o {path}")
    for number, values in read_lines(file):
        try:
            yield from_json(values)
        except InputError as error:
            raise InputError(f"{file}, line {number}: {error}") from error


def read_rejected(path: Path) -> tuple[tuple[str, str], ...]:
    """(name, reason) of what was left out."""
    return tuple((str(values["name"]), str(values["reason"])) for _, values in read_lines(path / REJECTED))


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
