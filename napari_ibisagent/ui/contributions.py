"""The reader that napari finds in the manifest, and a volume as the image layer that napari shows.

Needs neither napari nor Qt itself. Leaves out the writer (``writers``) and the sample data (``samples``).
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from shlex import quote
from typing import Any

import numpy as np

from napari_ibisagent.core.errors import IbisError, ScanError, SeriesChoiceError
from napari_ibisagent.core.volume import Volume
from napari_ibisagent.core.window import Window, default_window
from napari_ibisagent.ui.scan import SCAN, Scan

LayerData = tuple[Any, dict[str, Any], str]

# What a CT stores: air is -1000 HU, dense metal ends where 12 bits end.
_HU_RANGE = (-1024.0, 3071.0)


def get_reader(path: str | Sequence[str]) -> Callable[[str | Sequence[str]], list[LayerData]] | None:
    """A function that opens a scan, or None for several paths at once; a fault of the file is raised by it."""
    return read_layers if isinstance(path, str) else None


def read_layers(path: str | Sequence[str]) -> list[LayerData]:
    """The scan of a path as one image layer, turned to the radiological view. Raises ScanError."""
    from napari_ibisagent.io.read import read_scan

    one = Path(path if isinstance(path, str) else path[0])
    try:
        return [image_layer(read_scan(one), one)]
    except SeriesChoiceError as error:
        listing = "; ".join(f"{key}: {text}" for key, text in error.choices)
        told = ScanError(
            one,
            f"holds {len(error.choices)} series ({listing})",
            f"Open one of them from a terminal: ibisagent gui {quote(str(one))} --series {error.choices[0][0]}",
        )
        _tell(told)
        raise told from error
    except IbisError as error:
        _tell(error)
        raise


def image_layer(volume: Volume, path: Path | None, series: str | None = None) -> LayerData:
    """A volume as napari's (data, attributes, kind); the data aren't copied.

    ``path`` is where the scan was read from, None for one that comes from no file; ``series`` which one of several.
    The contrast limits come from the middle slice: without them napari would look for the range itself.
    """
    attributes: dict[str, Any] = {
        "name": volume.name,
        "scale": volume.spacing_mm,
        "metadata": {SCAN: Scan(volume, None if path is None else path.absolute(), series)},
    }
    if volume.is_colour:
        attributes["rgb"] = True
    else:
        attributes |= {"colormap": "gray", "contrast_limits": _limits(_middle_window(volume))}
    return volume.data, attributes, "image"


def contrast_range(volume: Volume) -> tuple[float, float]:
    """(low, high) that the contrast slider should run over, wider than the limits that a layer opens with.

    All that a CT can store, all that uint8 can, else the middle slice's range; never a pass over all slices.
    A napari reader can't hand this over with its layer: whoever has the layer sets its contrast_limits_range.
    """
    low, high = _limits(_middle_window(volume))
    if volume.modality == "CT":
        least, most = _HU_RANGE
    elif volume.data.dtype == np.uint8:
        least, most = 0.0, 255.0
    else:
        middle = _middle(volume)
        finite = middle[np.isfinite(middle)]
        least, most = (float(finite.min()), float(finite.max())) if finite.size else (low, high)
    return min(low, least), max(high, most)


def _middle(volume: Volume) -> Any:
    return volume.data[volume.shape[0] // 2]


def _middle_window(volume: Volume) -> Window:
    return default_window(_middle(volume), volume.modality)


def _limits(window: Window) -> tuple[float, float]:
    return window.level - window.width / 2, window.level + window.width / 2


def _tell(error: IbisError) -> None:
    """Shows the sentence in napari: its own notice says only that a plugin failed, and hides the reason.

    Nothing is imported for it: outside of napari, the one who called gets the error.
    """
    if "napari" in sys.modules:
        from napari.utils.notifications import show_error

        show_error(str(error))
