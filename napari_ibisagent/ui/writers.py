"""The writer that napari finds in the manifest: a labels layer to a file on the scan's own grid.

Which scan that is stands in the layer's metadata; a layer that a person added gets the one open scan of its
shape. Leaves out the formats (``io.labels``) and the endings that napari's own writer has (.tif and the like).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_ibisagent.core.errors import OutputError
from napari_ibisagent.ui.scan import NAMES, Scan, scan_of

_DEFAULT_ENDING = ".nii.gz"


def write_labels_layer(path: str, data: Any, meta: Mapping[str, Any]) -> list[str]:
    """Saves a labels layer on its scan's grid and returns the path written; napari calls this.

    ``data`` (Z, Y, X), or (Y, X) for a scan of one slice; ``meta`` are the layer's attributes. A path without
    an ending gets .nii.gz. Raises OutputError where there is no such scan, or the place or the format won't do.
    """
    from napari_ibisagent.io.labels import write_labels

    target = Path(path)
    if not target.suffix:
        target = target.with_name(target.name + _DEFAULT_ENDING)
    labels = np.asarray(data[0] if meta.get("multiscale") else data)
    metadata: Mapping[str, Any] = meta.get("metadata") or {}
    name = str(meta.get("name") or "This layer")
    scan = scan_of(metadata) or matching_scan(name, labels.shape, _open_scans())
    saved = write_labels(
        _in_three_axes(labels, scan),
        scan.volume,
        target,
        names=metadata.get(NAMES),
        protect=() if scan.path is None else (scan.path,),
    )
    if saved.kept_as is not None:
        _tell(f"{saved.path.name} existed already; the earlier file was kept as {saved.kept_as.name}.")
    return [str(saved.path)]


def matching_scan(name: str, shape: tuple[int, ...], scans: Iterable[Scan]) -> Scan:
    """The one scan on whose grid labels of ``shape`` lie. Raises OutputError where there is none, or a choice."""
    different = {id(scan.volume): scan for scan in scans}
    found = [scan for scan in different.values() if shape in _shapes(scan)]
    if len(found) == 1:
        return found[0]
    size = " x ".join(map(str, shape))
    if not found:
        raise OutputError(
            f"{name} ({size}) belongs to no open scan, so there is no grid to save it on. "
            "Open the scan that it was drawn on in this window, or save it as .tif."
        )
    names = ", ".join(scan.volume.name for scan in found)
    raise OutputError(
        f"{name} ({size}) could belong to several open scans ({names}). Close all but its own, and save it again."
    )


def _shapes(scan: Scan) -> set[tuple[int, ...]]:
    shape = scan.volume.shape
    return {shape, shape[1:]} if shape[0] == 1 else {shape}


def _in_three_axes(labels: NDArray[Any], scan: Scan) -> NDArray[Any]:
    """(Z, Y, X) labels; the one slice of a picture may have been drawn as (Y, X)."""
    return labels[np.newaxis] if labels.ndim == 2 and scan.volume.shape[0] == 1 else labels


def _open_scans() -> list[Scan]:
    """The scans of the image layers in the window in front; none where there is no window."""
    from napari import current_viewer

    viewer = current_viewer()
    if viewer is None:
        return []
    return [scan for layer in viewer.layers if (scan := scan_of(layer.metadata)) is not None]


def _tell(sentence: str) -> None:
    from napari.utils.notifications import show_info

    show_info(sentence)
