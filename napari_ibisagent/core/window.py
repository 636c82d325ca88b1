"""Intensity windows: which stored values are black and which are white.

CT presets are the level/width pairs in common radiological use; other pictures take percentiles, as the
published agent does (1st to 99th).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_ibisagent.core.errors import UnknownNameError


@dataclass(frozen=True, slots=True)
class Window:
    """Grey runs from level - width/2 (black) to level + width/2 (white), in stored values (HU for CT)."""

    level: float
    width: float

    def __post_init__(self) -> None:
        if not self.width > 0:
            raise ValueError(f"A window needs a width above 0, not {self.width}.")

    def apply(self, image: NDArray[Any]) -> NDArray[np.uint8]:
        """Grey (same shape) uint8 of stored values."""
        low = self.level - self.width / 2
        grey = np.subtract(image, low, dtype=np.float32)
        grey *= 255.0 / self.width
        np.clip(grey, 0.0, 255.0, out=grey)
        return np.asarray(grey, np.uint8)


CT_PRESETS: dict[str, Window] = {
    "abdomen": Window(40, 400),
    "liver": Window(60, 160),
    "mediastinum": Window(50, 350),
    "lung": Window(-600, 1500),
    "bone": Window(400, 1800),
    "brain": Window(40, 80),
    "angio": Window(300, 600),
}


def preset(name: str) -> Window:
    """The CT preset of that name; UnknownNameError lists the known ones."""
    try:
        return CT_PRESETS[name.lower()]
    except KeyError:
        known = ", ".join(sorted(CT_PRESETS))
        raise UnknownNameError(f"There is no window called {name!r}. The CT windows are: {known}.") from None


def percentile_window(image: NDArray[Any], low: float = 1.0, high: float = 99.0) -> Window:
    """The window from the ``low`` to the ``high`` percentile of the finite values of ``image``."""
    values = image if np.issubdtype(image.dtype, np.integer) else image[np.isfinite(image)]
    if values.size == 0:
        return Window(0.5, 1.0)
    # A percentile of some 100,000 evenly taken values is as good as one of all, and far faster.
    step = max(1, values.size // 100_000)
    bottom, top = (float(v) for v in np.percentile(values.reshape(-1)[::step], (low, high)))
    if top <= bottom:
        bottom, top = float(values.min()), float(values.max())
    return Window((bottom + top) / 2, max(top - bottom, 1e-6))


def default_window(image: NDArray[Any], modality: str) -> Window:
    """The window that a picture is shown with when nobody chose one: the abdomen preset for CT."""
    if modality == "CT":
        return CT_PRESETS["abdomen"]
    if image.dtype == np.uint8:
        return Window(127.5, 255.0)
    return percentile_window(image)
