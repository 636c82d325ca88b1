"""``make_slice``: a made-up axial slice with its truth, as varied as it can be told apart by eye.

Organs are bent ellipses in the frame of a standard patient, seen as radiologists see them (the patient's right is on
the left), moved, turned, stretched and left out at random; then brightness, shading, blur and noise are drawn. Later
organs cover earlier ones. What it leaves out: everything that would make it look like a patient.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from scipy import ndimage as ndi

from napari_ibisagent.core.masks import Mask

SIDE = 112
# An organ that shows fewer pixels than this counts as not shown, although a trace of it is there.
_LEAST = 24

Field = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Organ:
    """Where an organ lies in the standard patient (x, y in [-1, 1] across the body), its half axes, and its grey.

    grey: (mean, spread). turn: its tilt in degrees. wobble: how far its outline is bent, as a share of its size.
    chance: how often it is shown.
    """

    name: str
    place: tuple[float, float]
    axes: tuple[float, float]
    grey: tuple[float, float]
    turn: float = 0.0
    wobble: float = 0.12
    chance: float = 0.8


ABDOMEN = (
    Organ("stomach", (0.32, -0.42), (0.32, 0.24), (0.36, 0.10), 25, 0.15),
    Organ("liver", (-0.44, -0.18), (0.42, 0.44), (0.56, 0.06), 20, 0.14, 0.9),
    Organ("gallbladder", (-0.20, -0.46), (0.15, 0.18), (0.22, 0.06), 20, 0.08, 0.6),
    Organ("spleen", (0.66, 0.04), (0.18, 0.30), (0.66, 0.06), -15, 0.12),
    Organ("right kidney", (-0.42, 0.42), (0.18, 0.23), (0.78, 0.07), -20, 0.10),
    Organ("left kidney", (0.42, 0.42), (0.18, 0.23), (0.78, 0.07), 20, 0.10),
    Organ("spine", (0.0, 0.56), (0.20, 0.20), (0.95, 0.04), 0, 0.08, 1.0),
    Organ("aorta", (0.06, 0.18), (0.13, 0.13), (0.84, 0.08), 0, 0.04, 0.9),
)
CHEST = (
    Organ("right lung", (-0.50, 0.02), (0.36, 0.56), (0.08, 0.03), 5, 0.12, 0.9),
    Organ("left lung", (0.50, 0.02), (0.36, 0.56), (0.08, 0.03), -5, 0.12, 0.9),
    Organ("heart", (0.12, -0.22), (0.32, 0.30), (0.62, 0.07), 30, 0.10, 0.85),
    Organ("spine", (0.0, 0.60), (0.20, 0.20), (0.95, 0.04), 0, 0.08, 1.0),
    Organ("aorta", (0.10, 0.28), (0.13, 0.13), (0.84, 0.08), 0, 0.04, 0.85),
)
# A lesion lies within its organ: name, organ, how large it may be, its grey relative to the organ's, how often.
_LESIONS = (
    ("liver lesion", "liver", (0.13, 0.19), (-0.26, 0.05), 0.45),
    ("lung nodule", "right lung", (0.12, 0.18), (0.45, 0.06), 0.3),
    ("lung nodule", "left lung", (0.12, 0.18), (0.45, 0.06), 0.3),
)
LESIONS = tuple(dict.fromkeys(name for name, *_ in _LESIONS))
NAMES = tuple(dict.fromkeys((*(o.name for o in (*ABDOMEN, *CHEST)), *(name for name, *_ in _LESIONS))))


@dataclass(frozen=True, eq=False, slots=True)
class MadeUp:
    """A made-up slice: ``image`` (H, W) uint8, and the truth (H, W) of each structure that it shows, by name."""

    image: NDArray[np.uint8]
    structures: dict[str, Mask]


@dataclass(frozen=True, slots=True)
class Framing:
    """How a body lies in its picture: its half width and how far it may lie off the middle, as shares of the
    picture's side, and the spread of its turn in degrees.
    """

    reach: tuple[float, float]
    shift: float
    turn: float


CENTRED = Framing((0.40, 0.47), 0.03, 5)
# Anywhere, cut off by the picture's border or small in it: where a thing is can't be known without looking.
ANYWHERE = Framing((0.28, 0.65), 0.28, 10)


def make_slice(rng: Generator, side: int = SIDE, framing: Framing = CENTRED) -> MadeUp:
    """A slice of ``side`` x ``side`` pixels of a new patient, abdomen or chest."""
    organs = ABDOMEN if rng.random() < 0.6 else CHEST
    rows, columns = np.mgrid[0:side, 0:side].astype(np.float32)
    # Into the frame of the standard patient: where the body lies, how large it is and how it is turned.
    reach = side * rng.uniform(*framing.reach)
    x = (columns - side / 2 - rng.uniform(-framing.shift, framing.shift) * side) / reach
    y = (rows - side / 2 - rng.uniform(-framing.shift, framing.shift) * side) / (reach * rng.uniform(0.78, 0.92))
    x, y = _turned(x, y, rng.normal(0, framing.turn))
    body = _ellipse(x, y, rng, 0.04)
    grey: Field = np.where(body < 1, np.float32(rng.uniform(0.30, 0.42)), np.float32(0.02))
    grey[(body < 1) & (body > 0.82)] = rng.uniform(0.12, 0.2)
    labels = np.zeros((side, side), np.uint8)
    shown: list[str] = []

    def draw(name: str, inside: Mask, value: float) -> None:
        if name not in shown:
            shown.append(name)
        labels[inside] = shown.index(name) + 1
        grey[inside] = value

    shift = rng.normal(0, 0.025, 2)
    for organ in organs:
        if rng.random() < organ.chance:
            draw(organ.name, _organ(organ, x, y, shift, rng) & (body < 0.9), _grey(organ.grey, rng))
    for lesion in _LESIONS:
        _lesion(lesion, labels, shown, grey, reach, draw, rng)
    if "spine" in shown:
        _canal(labels, shown.index("spine") + 1, grey)
    structures = {name: labels == number for number, name in enumerate(shown, 1)}
    return MadeUp(_pictured(grey, rng), {n: m for n, m in structures.items() if np.count_nonzero(m) >= _LEAST})


def _organ(organ: Organ, x: Field, y: Field, shift: NDArray[np.float64], rng: Generator) -> Mask:
    """Where an organ of this patient lies (H, W)."""
    centre = np.array(organ.place) + shift + rng.normal(0, 0.035, 2)
    across, down = np.array(organ.axes) * rng.uniform(0.8, 1.2, 2) * rng.uniform(0.85, 1.1)
    u, v = _turned(x - centre[0], y - centre[1], organ.turn + rng.normal(0, 12))
    return np.asarray(_ellipse(u / across, v / down, rng, organ.wobble) < 1)


def _lesion(
    lesion: tuple[str, str, tuple[float, float], tuple[float, float], float],
    labels: NDArray[np.uint8],
    shown: list[str],
    grey: Field,
    reach: float,
    draw: Callable[[str, Mask, float], None],
    rng: Generator,
) -> None:
    name, organ, sizes, contrast, chance = lesion
    if organ not in shown or rng.random() >= chance:
        return
    home = labels == shown.index(organ) + 1
    radius = rng.uniform(*sizes) * reach
    room = np.argwhere(ndi.distance_transform_edt(home) > radius)
    if not len(room):
        return
    row, column = room[rng.integers(len(room))]
    rows, columns = np.mgrid[0 : labels.shape[0], 0 : labels.shape[1]].astype(np.float32)
    u, v = (columns - column) / radius, (rows - row) / (radius * rng.uniform(0.75, 1.0))
    value = float(np.clip(grey[row, column] + rng.normal(*contrast), 0.02, 1))
    draw(name, (_ellipse(u, v, rng, 0.12) < 1) & home, value)


def _canal(labels: NDArray[np.uint8], number: int, grey: Field) -> None:
    """The dark core of a vertebra; it belongs to the spine."""
    bone = ndi.distance_transform_edt(labels == number)
    grey[bone > 0.62 * max(float(bone.max()), 1.0)] -= 0.28


def _turned(x: Field, y: Field, degrees: float) -> tuple[Field, Field]:
    cosine, sine = np.float32(np.cos(np.radians(degrees))), np.float32(np.sin(np.radians(degrees)))
    return cosine * x + sine * y, cosine * y - sine * x


def _ellipse(u: Field, v: Field, rng: Generator, wobble: float) -> Field:
    """The radius relative to a bent circle's: below 1 inside."""
    angle = np.arctan2(v, u)
    bend = np.ones_like(angle)
    for lobes in (2, 3, 5):
        bend += np.float32(wobble * rng.normal(0, 0.5) / lobes**0.5) * np.cos(
            lobes * angle + np.float32(rng.uniform(0, 6.283))
        )
    return np.asarray(np.hypot(u, v) / np.maximum(bend, 0.4), np.float32)


def _grey(grey: tuple[float, float], rng: Generator) -> float:
    return float(np.clip(rng.normal(*grey), 0.02, 1))


def _pictured(grey: Field, rng: Generator) -> NDArray[np.uint8]:
    """The greys as a scanner would show them: texture, shading, partial volume, noise, brightness."""
    side = grey.shape[0]
    seen = ndi.gaussian_filter(grey, rng.uniform(0.4, 0.9))
    texture = ndi.gaussian_filter(rng.standard_normal(grey.shape, dtype=np.float32), 1.5)
    seen = seen + texture * np.float32(rng.uniform(0, 0.08))
    ramp = np.linspace(-1, 1, side, dtype=np.float32)
    seen *= 1 + np.float32(rng.normal(0, 0.06)) * ramp + np.float32(rng.normal(0, 0.06)) * ramp[:, np.newaxis]
    seen += rng.standard_normal(grey.shape, dtype=np.float32) * np.float32(rng.uniform(0.005, 0.04))
    seen = np.clip(seen, 0, 1) ** np.float32(np.exp(rng.normal(0, 0.12)))
    seen = np.clip(seen * rng.uniform(0.85, 1.05) + rng.uniform(0, 0.06), 0, 1)
    return np.asarray(np.rint(seen * 255), np.uint8)
