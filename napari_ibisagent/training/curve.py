"""``Curve``: what a training run says of itself, as JSON Lines; a run that goes on after a kill cuts it back first."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path

from napari_ibisagent.io.atomic import atomic_write_bytes

CURVE = "curve.jsonl"


class Curve:
    """The figures of a run by step. Begun anew, or cut back to the step ``done`` that the run goes on from."""

    def __init__(self, folder: Path, done: int = 0) -> None:
        self._path = folder / CURVE
        kept = [entry for entry in read_curve(folder) if 0 < entry["step"] <= done]
        atomic_write_bytes(self._path, "".join(map(_line, kept)).encode())

    def add(self, figures: Mapping[str, float]) -> None:
        """Appends the figures of a step; ``figures["step"]`` says of which."""
        with self._path.open("a", encoding="utf-8") as file:
            file.write(_line(figures))


def read_curve(folder: Path) -> Iterator[dict[str, float]]:
    """The entries of a folder's curve, in order; a line that a kill tore is left out."""
    path = folder / CURVE
    for line in path.read_text("utf-8").splitlines() if path.exists() else ():
        if line.endswith("}"):
            yield json.loads(line)


def _line(figures: Mapping[str, float]) -> str:
    return json.dumps(dict(figures)) + "\n"
