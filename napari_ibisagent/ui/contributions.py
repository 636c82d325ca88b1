"""What napari asks of a plugin besides widgets: a reader and sample data. Needs neither napari nor Qt itself."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from napari_ibisagent.core.volume import Volume
from napari_ibisagent.core.window import default_window

LayerData = tuple[Any, dict[str, Any], str]


def get_reader(path: str | Sequence[str]) -> Callable[[str | Sequence[str]], list[LayerData]] | None:
    """A function that opens a scan, or None for several paths at once; a fault of the file is raised by it."""
    return read_layers if isinstance(path, str) else None


def read_layers(path: str | Sequence[str]) -> list[LayerData]:
    """The scan of a path as one image layer, turned to the radiological view. Raises ScanError."""
    from napari_ibisagent.io.read import read_scan

    one = Path(path if isinstance(path, str) else path[0])
    return [image_layer(read_scan(one))]


def phantom_layers() -> list[LayerData]:
    """The abdominal CT phantom with its true labels."""
    from napari_ibisagent.evaluation.phantom import make_phantom

    made = make_phantom()
    labels = (made.labels, {"name": "phantom truth", "scale": made.volume.spacing_mm, "opacity": 0.35}, "labels")
    return [image_layer(made.volume), labels]


def image_layer(volume: Volume) -> LayerData:
    """A volume as napari's (data, attributes, kind); the data aren't copied."""
    attributes: dict[str, Any] = {"name": volume.name, "scale": volume.spacing_mm}
    if volume.is_colour:
        attributes["rgb"] = True
    else:
        middle = volume.data[volume.shape[0] // 2]
        window = default_window(middle, volume.modality)
        low = window.level - window.width / 2
        attributes |= {"colormap": "gray", "contrast_limits": (low, low + window.width)}
    return volume.data, attributes, "image"
