"""``write_rows``: the data set of a cluster's trainer, a row an exercise; pictures and truths stay where they are."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from napari_ibisagent.core.errors import InputError
from napari_ibisagent.io.atomic import atomic_write_bytes
from napari_ibisagent.training.rl.terms import Terms, read_terms

# What the loop is called in verl's configuration.
AGENT = "ibisagent"
# An episode begins with its own words; these are for trainers that want some.
_PROMPT = [{"role": "user", "content": "(the words of the exercise)"}]


def rows_for_swift(terms: Terms) -> Iterator[dict[str, Any]]:
    """A row for each exercise, as ms-swift reads them."""
    for name in terms.named().names():
        yield {"messages": _PROMPT, "exercise": name}


def rows_for_verl(terms: Terms) -> Iterator[dict[str, Any]]:
    """A row for each exercise, as verl reads them."""
    for number, name in enumerate(terms.named().names()):
        yield {
            "data_source": AGENT,
            "agent_name": AGENT,
            "exercise": name,
            "prompt": _PROMPT,
            "reward_model": {"style": "rule", "ground_truth": ""},
            "extra_info": {"index": number},
        }


def write_rows(terms: str | Path, output: str | Path) -> Path:
    """Writes the rows of a file of terms: ``.jsonl`` for ms-swift, ``.parquet`` for verl. Raises InputError."""
    read, path = read_terms(terms), Path(output)
    if path.suffix == ".jsonl":
        lines = [json.dumps(row, ensure_ascii=False) + "\n" for row in rows_for_swift(read)]
        atomic_write_bytes(path, "".join(lines).encode())
        return path
    if path.suffix != ".parquet":
        raise InputError(f"{path} should end in .jsonl (for ms-swift) or .parquet (for verl).")
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise InputError("Parquet needs the package pyarrow: pip install pyarrow") from error
    buffer = io.BytesIO()
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(list(rows_for_verl(read))), buffer)
    atomic_write_bytes(path, buffer.getvalue())
    return path
