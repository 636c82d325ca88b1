"""Trajectories from one form into another: our folder, one Parquet file, and the two forms of the official code.

Whatever the form, pictures lie beside it in ``pictures/``, or in it (Parquet). What a form can't hold is left out with
the reason. Leaves out the forms themselves (``form``, ``parquet``, ``official``).
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path

import numpy as np
from PIL import Image

from napari_ibisagent.core.errors import InputError, NotAnImageError, OutputError
from napari_ibisagent.core.overlay import Picture
from napari_ibisagent.io.atomic import atomic_write_bytes, write_in_place
from napari_ibisagent.io.pictures import picture_faults
from napari_ibisagent.training.trajectories.form import Trajectory
from napari_ibisagent.training.trajectories.lines import read_lines
from napari_ibisagent.training.trajectories.official import read_official, to_rl, to_synthesis
from napari_ibisagent.training.trajectories.parquet import PARQUET, read_parquet, write_parquet
from napari_ibisagent.training.trajectories.writing import TRAJECTORIES, Folder, grey_png, picture_name, read_folder

# A trajectory and its picture as PNG, where there is one.
Row = tuple[Trajectory, bytes | None]


class Form(StrEnum):
    """How trajectories are written down."""

    FOLDER = "folder"
    PARQUET = "parquet"
    SYNTHESIS = "synthesis"
    RL = "rl"


FILES = {
    Form.FOLDER: TRAJECTORIES,
    Form.PARQUET: PARQUET,
    Form.SYNTHESIS: "synthesis.jsonl",
    Form.RL: "rl.json",
}


@dataclass(frozen=True, slots=True)
class Written:
    """What was written: the file, how many trajectories and pictures are in it or beside it, and what was left out."""

    path: Path
    trajectories: int
    pictures: int
    left_out: tuple[str, ...] = ()


def read_rows(path: Path) -> Iterator[Row]:
    """The trajectories of a folder or a file, in whatever form. Raises InputError."""
    if path.is_dir():
        path = next((path / name for name in FILES.values() if (path / name).is_file()), path / TRAJECTORIES)
    if path.name == TRAJECTORIES or (path.suffix == ".jsonl" and _is_ours(path)):
        for trajectory in read_folder(path):
            name = trajectory.source.picture
            yield trajectory, _content(path.parent / name) if name else None
    elif path.suffix == ".parquet":
        yield from read_parquet(path)
    else:
        for trajectory in read_official(path):
            yield trajectory, _official_picture(trajectory, path.parent)


def write_rows(rows: Iterable[Row], form: Form, output: Path, *, drop_reverted: bool = False) -> Written:
    """Writes trajectories into the folder ``output``, as ``FILES`` says.

    drop_reverted: as in ``to_synthesis``. Raises InputError as ``read_rows`` does while it reads; OutputError where the
    disk refuses, or our own form would be mixed with what the folder holds.
    """
    if form is Form.FOLDER:
        return _write_folder(rows, output)
    if form is Form.PARQUET:
        count = Counter[str]()
        write_parquet(_counted(rows, count), output / PARQUET)
        return Written(output / PARQUET, count["trajectories"], count["pictures"])
    return _write_official(rows, form, output, drop_reverted)


def _write_folder(rows: Iterable[Row], output: Path) -> Written:
    if output.exists() and any(output.iterdir()):
        raise OutputError(f"{output} holds files already. Choose an empty folder, or one that doesn't exist yet.")
    count = Counter[str]()
    with Folder(output) as folder:
        for trajectory, picture in _counted(rows, count):
            folder.keep(replace(trajectory, source=replace(trajectory.source, picture="")), picture)
    return Written(output / TRAJECTORIES, count["trajectories"], count["pictures"])


def _write_official(rows: Iterable[Row], form: Form, output: Path, drop_reverted: bool) -> Written:
    """One object a line, and for the RL form a list round them, so that not all has to be held at once."""
    head, between, foot = ("", "", "") if form is Form.SYNTHESIS else ('{"data": [\n', ",", "]}\n")
    left_out: list[str] = []
    count = Counter[str]()

    def write(temporary: Path) -> None:
        with temporary.open("w", encoding="utf-8", newline="\n") as file:
            file.write(head)
            for trajectory, picture in rows:
                try:
                    line = _official_line(_placed(trajectory, picture), form, drop_reverted)
                except InputError as error:
                    left_out.append(str(error))
                    continue
                if picture is not None:
                    _keep_picture(output, picture)
                file.write(f"{between if count['trajectories'] else ''}{line}\n")
                count.update(trajectories=1, pictures=int(picture is not None))
            file.write(foot)
        if not count["trajectories"]:
            why = f" {left_out[0]}" if left_out else ""
            raise InputError(f"There is no trajectory that the form {form.value!r} can hold.{why}")

    write_in_place(output / FILES[form], write, keep=True)
    return Written(output / FILES[form], count["trajectories"], count["pictures"], tuple(left_out))


def _counted(rows: Iterable[Row], count: Counter[str]) -> Iterator[Row]:
    for trajectory, picture in rows:
        yield trajectory, picture
        count.update(trajectories=1, pictures=int(picture is not None))


def _official_line(trajectory: Trajectory, form: Form, drop_reverted: bool) -> str:
    if not trajectory.clicks:
        raise InputError(f"The trajectory {trajectory.name} has no click, and the official forms hold nothing else.")
    if form is Form.SYNTHESIS:
        return json.dumps(to_synthesis(trajectory, drop_reverted=drop_reverted))
    return json.dumps(to_rl([trajectory], drop_reverted=drop_reverted)["data"][0])


def _placed(trajectory: Trajectory, picture: bytes | None) -> Trajectory:
    """The trajectory with the place that its picture gets."""
    name = "" if picture is None else picture_name(picture)
    return replace(trajectory, source=replace(trajectory.source, picture=name))


def _keep_picture(output: Path, picture: bytes) -> None:
    path = output / picture_name(picture)
    if not path.exists():
        atomic_write_bytes(path, picture)


def _is_ours(path: Path) -> bool:
    """Whether the first line of a file is a trajectory in our own form."""
    try:
        _, first = next(read_lines(path), (0, None))
    except InputError:
        return False
    return isinstance(first, dict) and "steps" in first


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise InputError(f"The picture {path} can't be read: {error.strerror}. Make the trajectories again.") from error


def _official_picture(trajectory: Trajectory, folder: Path) -> bytes | None:
    """The picture (PNG) of an official trajectory, where it lies beside the file; slices of volumes are left out."""
    for ending in ("", ".png", ".jpg", ".jpeg"):
        path = folder / f"{trajectory.source.image}{ending}"
        if trajectory.source.image and path.is_file():
            break
    else:
        return None
    try:
        with picture_faults(path), Image.open(path) as image:
            pixels: Picture = np.asarray(image.convert("RGB"))
    except NotAnImageError:
        return None  # a volume's file
    if pixels.shape[:2] != trajectory.shape:
        raise InputError(
            f"The picture {path} has {pixels.shape[:2]} pixels and its trajectory {trajectory.shape}: they don't "
            "belong together. Put the right picture there."
        )
    return grey_png(pixels)
