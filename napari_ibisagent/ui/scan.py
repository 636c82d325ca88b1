"""What ties a napari layer to a scan: the volume and the file that it came from. Needs neither napari nor Qt."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from napari_ibisagent.core.volume import Volume

# Where a layer's metadata hold its ``Scan``, and (labels only) the names of its label values.
SCAN, NAMES = "ibisagent", "ibisagent_names"


@dataclass(frozen=True, eq=False, slots=True)
class Scan:
    """An open scan. ``path`` None: it comes from no file (sample data, an array). ``series``: as in ``read_scan``."""

    volume: Volume
    path: Path | None = None
    series: str | None = None


def scan_of(metadata: Mapping[str, Any]) -> Scan | None:
    """The scan in a layer's metadata, or None."""
    found = metadata.get(SCAN)
    return found if isinstance(found, Scan) else None
