"""From a view to what an image encoder takes, by hand: the models' own processors partly need torchvision.

Three ways, each named after whose it is:

- ``sam`` (Kirillov et al. 2023): the longer side is scaled to the model's, PIL's antialiased bilinear; ImageNet's mean
  and spread; the rest of the square, to the right and below, is zeros.
- ``medsam`` (Ma et al. 2024): stretched to the square with cubic splines, and from 0 (darkest) to 1 (brightest).
- ``sam2`` (Ravi et al. 2024): stretched to the square, antialiased bilinear on floats; ImageNet's mean and spread.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from napari_ibisagent.core.overlay import Picture, grey_picture
from napari_ibisagent.core.view import View
from napari_ibisagent.core.window import default_window
from napari_ibisagent.segmenters._sam_prompts import Frame

Pixels = NDArray[np.float32]

# ImageNet's, as red, green, blue of values from 0 to 1; SAM and SAM 2 were trained with these.
_MEAN = np.array([0.485, 0.456, 0.406], np.float32).reshape(3, 1, 1)
_SPREAD = np.array([0.229, 0.224, 0.225], np.float32).reshape(3, 1, 1)


def picture_of(view: View) -> Picture:
    """The view as RGB (H, W, 3) uint8: the picture that a policy sees where nobody chose a window."""
    image = shown(view.image)
    return grey_picture(image, default_window(image, view.modality))


def shown(image: NDArray[Any]) -> NDArray[Any]:
    """A picture that can be windowed: finite, and numbers rather than truth values."""
    if image.dtype == bool:
        return image.astype(np.uint8) * 255
    if np.issubdtype(image.dtype, np.integer) or np.isfinite(image).all():
        return image
    finite = image[np.isfinite(image)]
    low, high = (finite.min(), finite.max()) if finite.size else (0.0, 0.0)
    return np.asarray(np.nan_to_num(image, nan=low, posinf=high, neginf=low))


def sam_pixels(picture: Picture, frame: Frame) -> Pixels:
    """(3, side, side) of a picture (H, W, 3) that keeps its proportions."""
    scaled = Image.fromarray(picture).resize((frame.width, frame.height), Image.Resampling.BILINEAR)
    pixels = np.zeros((3, frame.side, frame.side), np.float32)
    pixels[:, : frame.height, : frame.width] = _normalised(
        np.asarray(scaled, np.float32).transpose(2, 0, 1) / np.float32(255)
    )
    return pixels


def medsam_pixels(picture: Picture, frame: Frame) -> Pixels:
    """(3, side, side) of a picture (H, W, 3) as MedSAM was trained: stretched, and 0 to 1 over its own range."""
    from skimage import transform

    resize: Any = transform.resize
    square = resize(picture, (frame.side, frame.side), order=3, preserve_range=True, anti_aliasing=True)
    pixels = square.astype(np.uint8).astype(np.float32).transpose(2, 0, 1)
    pixels -= pixels.min()
    return np.ascontiguousarray(pixels / max(float(pixels.max()), 1e-8))


def sam2_pixels(picture: Picture, frame: Frame) -> Pixels:
    """(3, side, side) of a picture (H, W, 3), stretched to the square."""
    import torch
    from torch.nn.functional import interpolate

    values = torch.from_numpy(np.ascontiguousarray(picture.transpose(2, 0, 1))).float().div(255)
    square = interpolate(values[None], (frame.side, frame.side), mode="bilinear", antialias=True)[0]
    return _normalised(square.numpy())


def _normalised(values: NDArray[Any]) -> Pixels:
    return np.asarray((values - _MEAN) / _SPREAD, np.float32)
