"""The pictures that a model is given: of a bounded size, as pixels and nothing else."""

from __future__ import annotations

import io
import math

from PIL import Image

from napari_ibisagent.core.overlay import Picture


def fitted(picture: Picture, most_pixels: int) -> Image.Image:
    """A picture (H, W, 3) uint8 with its aspect kept and at most so many pixels; never enlarged."""
    image = Image.fromarray(picture)
    share = math.sqrt(most_pixels / (image.width * image.height))
    if share >= 1:
        return image
    size = max(1, int(image.width * share)), max(1, int(image.height * share))
    return image.resize(size, Image.Resampling.BICUBIC, reducing_gap=3.0)


def png(image: Image.Image) -> bytes:
    """The pixels as PNG, without any metadata."""
    bare = Image.frombytes(image.mode, image.size, image.tobytes())
    file = io.BytesIO()
    bare.save(file, "PNG")
    return file.getvalue()
