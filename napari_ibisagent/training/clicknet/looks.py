"""How generated tissue looks, and what a scanner or a camera does to it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage as ndi
from skimage import transform

from napari_ibisagent.training.clicknet.fields import Field, fractal_field, smooth_field
from napari_ibisagent.training.clicknet.shapes import Random, grid, log_uniform

resize: Any = transform.resize  # it carries no types


@dataclass(frozen=True, eq=False, slots=True)
class Look:
    """A tissue: its mean (C,), the depth of its texture, and the texture's grain (cells a side) and roughness."""

    mean: NDArray[np.float32]
    depth: float = 0.0
    grain: float = 8.0
    rough: float = 0.5

    def draw(self, rng: Random, side: int, channels: int) -> Field:
        """(C, H, W) of this tissue, everywhere."""
        flat = np.broadcast_to(self.mean[:, None, None], (channels, side, side))
        if self.depth <= 0:
            return flat
        pattern = np.float32(self.depth) * fractal_field(rng, side, self.grain, self.rough)
        return np.asarray(flat + pattern, np.float32)

    def varied(self, rng: Random, amount: float) -> Look:
        """Another tissue, not far from this one."""
        return replace(self, mean=self.mean + rng.normal(0, amount, self.mean.shape).astype(np.float32) * 0.5)

    def shifted(self, rng: Random, most: float) -> Look:
        """Far brighter or darker, as air or bone are beside soft tissue; mostly darker."""
        by = rng.uniform(0.2, most) * (-1 if rng.random() < 0.8 else 1)
        return replace(self, mean=(self.mean + np.float32(by)).astype(np.float32))


def random_look(rng: Random, channels: int, plain: bool = False) -> Look:
    """Any tissue. Means spread by about 1."""
    mean = rng.normal(0, 0.7) + rng.normal(0, 0.35, channels) * (channels > 1)
    if rng.random() < 0.06:  # metal, gas, contrast medium
        mean = mean + rng.choice((-1, 1)) * rng.uniform(1, 5)
    depth = 0.0 if plain or rng.random() < 0.35 else log_uniform(rng, 0.03, 0.5)
    return Look(np.asarray(mean * np.ones(channels), np.float32), depth, log_uniform(rng, 2, 40), rng.uniform(0.3, 0.9))


def near_look(rng: Random, mean: NDArray[np.float32]) -> Look:
    """A tissue that differs from a mean by a little, up or down."""
    by = log_uniform(rng, 0.15, 0.9) * rng.choice((-1, 1))
    other = random_look(rng, mean.size)
    tint = rng.normal(0, 0.15, mean.size) * (mean.size > 1)
    return replace(other, mean=np.asarray(mean + by + tint, np.float32))


def photograph(rng: Random, values: Field) -> Field:
    """The picture (H, W) or (H, W, 3) of painted values (C, H, W): blur, shading, noise, resolution, scale."""
    picture = values
    if rng.random() < 0.85:
        sigma = log_uniform(rng, 0.3, 2.2)
        picture = np.stack([ndi.gaussian_filter(channel, sigma) for channel in picture])
    side = picture.shape[-1]
    if rng.random() < 0.5:
        picture = picture + np.float32(rng.uniform(0, 0.5)) * smooth_field(rng, side, rng.uniform(1, 3))
    if rng.random() < 0.3:
        low = picture.min()
        picture = low + (picture - low) * np.exp(np.float32(rng.uniform(0, 0.35)) * smooth_field(rng, side, 2))
    picture = _noisy(rng, picture)
    if rng.random() < 0.3:
        picture = _coarse(rng, picture)
    if rng.random() < 0.08:
        picture = _streaks(rng, picture)
    if rng.random() < 0.15:
        picture = _field_of_view(rng, picture)
    picture = _tone(rng, picture)
    image = picture[0] if picture.shape[0] == 1 else np.moveaxis(picture, 0, 2)
    return np.ascontiguousarray(image, np.float32)


def _noisy(rng: Random, picture: Field) -> Field:
    kind, side = rng.random(), picture.shape[-1]
    amount = np.float32(log_uniform(rng, 0.01, 0.35))
    noise = rng.standard_normal(picture.shape).astype(np.float32)
    if kind < 0.4:
        if rng.random() < 0.5:  # a reconstruction's correlated noise
            noise = np.stack([ndi.gaussian_filter(channel, rng.uniform(0.5, 1.2)) for channel in noise])
            noise /= max(float(noise.std()), 1e-6)
        return picture + amount * noise
    low = float(picture.min())
    if kind < 0.55:  # Rician
        return np.asarray(np.hypot(picture - low + amount * noise, amount * np.roll(noise, side // 2, -1)) + low)
    if kind < 0.75:  # speckle: multiplicative, with a grain
        sigma = rng.uniform(0.5, 2.0), rng.uniform(0.5, 2.5)
        grain = ndi.gaussian_filter(noise[0], sigma)
        grain /= max(float(grain.std()), 1e-6)
        return np.asarray(low + (picture - low) * np.exp(np.float32(rng.uniform(0.1, 0.6)) * grain))
    if kind < 0.85:  # counts
        bright = picture - low
        return np.asarray(picture + amount * np.sqrt(bright) * noise)
    return picture


def _coarse(rng: Random, picture: Field) -> Field:
    """Fewer pixels on one axis or both, drawn large again."""
    factors = [1, int(rng.integers(2, 5)), int(rng.integers(2, 5))]
    if rng.random() < 0.6:
        factors[int(rng.integers(1, 3))] = 1
    _, height, width = picture.shape
    small = ndi.uniform_filter(picture, factors)[:, :: factors[1], :: factors[2]]
    order = int(rng.integers(0, 2))
    large = [resize(channel, (height, width), order=order, mode="edge") for channel in small]
    return np.asarray(np.stack(large), np.float32)


def _streaks(rng: Random, picture: Field) -> Field:
    """Thin lines across: hairs, wires, streaks, instrument marks."""
    side = picture.shape[-1]
    y, x = grid(side)
    for _ in range(int(rng.integers(1, 8))):
        angle = rng.uniform(0, np.pi)
        bend = np.float32(rng.uniform(0, 0.15)) * smooth_field(rng, side, 2)
        away = np.abs(y * np.cos(angle) + x * np.sin(angle) + bend - np.float32(rng.uniform(-0.9, 0.9)))
        line = np.exp(-((away * side / 2 / rng.uniform(0.5, 1.3)) ** 2))
        picture = picture + np.float32(rng.normal(0, 1)) * line
    return np.asarray(picture, np.float32)


def _field_of_view(rng: Random, picture: Field) -> Field:
    """Nothing outside a disc or a fan."""
    y, x = grid(picture.shape[-1])
    if rng.random() < 0.5:
        outside = np.hypot(y - rng.uniform(-0.2, 0.2), x - rng.uniform(-0.2, 0.2)) > rng.uniform(0.8, 1.3)
    else:
        top = rng.uniform(-1.6, -0.9)
        outside = np.abs(np.arctan2(x - rng.uniform(-0.2, 0.2), y - top)) > rng.uniform(0.5, 1.0)
    return np.where(outside, np.float32(picture.min() - rng.uniform(0, 1)), picture)


def _tone(rng: Random, picture: Field) -> Field:
    """A bent scale, clipped ends, either sign."""
    low, high = np.percentile(picture, (rng.uniform(0, 2), rng.uniform(98, 100)))
    if high <= low:
        return picture
    scaled = (picture - np.float32(low)) / np.float32(high - low)
    if rng.random() < 0.5:
        scaled = np.clip(scaled, 0, 1)
    if rng.random() < 0.4:
        scaled = np.sign(scaled) * np.abs(scaled) ** np.float32(log_uniform(rng, 0.5, 2))
    return np.asarray(-scaled if rng.random() < 0.3 else scaled, np.float32)
