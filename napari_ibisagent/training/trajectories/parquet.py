"""Trajectories with their pictures as one Parquet file, for bulk: a row has the JSON form's fields, and the picture.

It is written and read in groups of rows, so that a file of any size needs little memory.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from types import ModuleType
from typing import Any

from napari_ibisagent.core.errors import InputError
from napari_ibisagent.io.atomic import write_in_place
from napari_ibisagent.training.trajectories.form import Trajectory, from_json, to_json

PARQUET = "trajectories.parquet"
# A picture has some 100 kB.
_GROUP = 256


def write_parquet(rows: Iterable[tuple[Trajectory, bytes | None]], path: Path) -> None:
    """Writes trajectories, each with its picture (PNG) or None, all or nothing.

    Raises InputError where pyarrow is missing, OutputError where the disk refuses.
    """
    arrow = _arrow()
    schema = _schema(arrow)

    def write(temporary: Path) -> None:
        with arrow.parquet.ParquetWriter(temporary, schema, compression="zstd") as writer:
            left = iter(rows)
            while values := [{**to_json(one), "picture": picture} for one, picture in islice(left, _GROUP)]:
                writer.write_table(arrow.Table.from_pylist(values, schema))

    write_in_place(path, write, keep=False)


def read_parquet(path: Path) -> Iterator[tuple[Trajectory, bytes | None]]:
    """The trajectories of such a file with their pictures. Raises InputError where it isn't one."""
    arrow = _arrow()
    try:
        with arrow.parquet.ParquetFile(path) as file:
            batches = file.iter_batches(batch_size=_GROUP)
            for number, row in enumerate(row for batch in batches for row in batch.to_pylist()):
                picture = row.pop("picture", None)
                try:
                    trajectory = from_json(row)
                except InputError as error:
                    raise InputError(f"{path}, row {number}: {error}") from error
                yield trajectory, picture
    except (OSError, arrow.ArrowException) as error:
        raise InputError(f"{path} can't be read as Parquet: {error}. Choose another file.") from error


def _arrow() -> Any:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise InputError("Parquet needs the extra: pip install 'napari-ibisagent[train]'") from error
    return pyarrow


def _schema(arrow: ModuleType) -> Any:
    """Written out, since a group of rows may hold nothing but None in a column."""
    text, whole, number = arrow.string(), arrow.int64(), arrow.float64()
    source = {
        **dict.fromkeys(("image", "mask", "modality", "plane", "picture"), text),
        **dict.fromkeys(("value", "index"), whole),
        "window": arrow.list_(number),
    }
    step = {"turn": text, "mask": text, "iou": number, "learn": arrow.bool_()}
    fields = {
        "version": whole,
        **dict.fromkeys(("name", "prompt", "target", "kind", "story", "segmenter"), text),
        "size": arrow.list_(whole),
        "source": arrow.struct(list(source.items())),
        **dict.fromkeys(("given", "truth"), text),
        "steps": arrow.list_(arrow.struct(list(step.items()))),
        "picture": arrow.binary(),
    }
    return arrow.schema(list(fields.items()))
