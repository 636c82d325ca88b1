"""The picture that a policy looks at: the windowed view with the current mask drawn over it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_ibisagent.core.errors import UnknownNameError
from napari_ibisagent.core.window import Window

Picture = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class OverlayPreset:
    """A colour (red, green, blue) and how strongly it covers the picture (0 to 1)."""

    colour: tuple[int, int, int]
    alpha: float


# DESIGN section 6: what each published agent was shown at inference or in training.
PRESETS: dict[str, OverlayPreset] = {
    "ibis": OverlayPreset((34, 139, 34), 0.4),
    "ibis_rl": OverlayPreset((0, 255, 0), 128 / 255),
    "medsam_agent": OverlayPreset((0, 255, 0), 0.5),
}

POSITIVE = (0, 177, 12)
NEGATIVE = (211, 7, 0)


def overlay_preset(name: str) -> OverlayPreset:
    """The preset of that name; UnknownNameError lists the known ones."""
    try:
        return PRESETS[name]
    except KeyError:
        known = ", ".join(PRESETS)
        raise UnknownNameError(f"There is no overlay called {name!r}. The overlays are: {known}.") from None


def grey_picture(image: NDArray[Any], window: Window) -> Picture:
    """A view (H, W) or (H, W, 3) as RGB (H, W, 3) uint8; colour is shown as it is."""
    if image.ndim == 3:
        return image.astype(np.uint8, copy=True)
    return np.repeat(window.apply(image)[:, :, np.newaxis], 3, axis=2)


def draw_mask(picture: Picture, mask: NDArray[np.bool_] | None, preset: OverlayPreset) -> Picture:
    """A copy of ``picture`` (H, W, 3) with ``mask`` (H, W) blended over it."""
    result = picture.copy()
    if mask is not None and mask.any():
        grey = np.arange(256, dtype=np.float32) * (1 - preset.alpha)
        for channel, colour in enumerate(preset.colour):
            blend = np.rint(grey + colour * preset.alpha).astype(np.uint8)
            plane = result[:, :, channel]
            plane[mask] = blend[plane[mask]]
    return result


def draw_outline(picture: Picture, mask: NDArray[np.bool_], colour: tuple[int, int, int]) -> Picture:
    """A copy of ``picture`` with the inner border of ``mask`` in a colour."""
    inner = mask.copy()
    inner[1:] &= mask[:-1]
    inner[:-1] &= mask[1:]
    inner[:, 1:] &= mask[:, :-1]
    inner[:, :-1] &= mask[:, 1:]
    result = picture.copy()
    result[mask & ~inner] = colour
    return result
