"""Generated pictures with a target: domain randomisation over shapes, looks and what is asked for.

A scene is painted back to front: a background (random smooth regions, an even ground, a packed body or real
anatomy's label map), then objects over it. An object may hold parts of its own (wall and content, spots, levels), so
that a target isn't always of one intensity, and its contrast may fade along its border. What is asked for is one object
with its parts, one part, one region of the background, several like objects, or a piece of one.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage as ndi

from napari_ibisagent.core.masks import Mask
from napari_ibisagent.training.clicknet import looks, shapes
from napari_ibisagent.training.clicknet.fields import Field, fractal_field, smooth_field
from napari_ibisagent.training.clicknet.labelmaps import LabelMap
from napari_ibisagent.training.clicknet.shapes import Random, log_uniform

# A target takes at least so many pixels of the picture, and at most this share of it.
_LEAST_PIXELS, _MOST = 30, 0.85
# A step at the target's border below this many of the picture's local spreads can't be seen.
_VISIBLE = 0.5
_TRIES = 12
# How often all of a body or of its organs may be asked for: one click in it nearly always means less.
_OUTLINES = 0.05


@dataclass(frozen=True, eq=False, slots=True)
class Scene:
    """A picture (H, W) or (H, W, 3) float32 of any scale, and what is asked for in it (H, W) bool."""

    image: Field
    target: Mask


def draw_scene(rng: Random, side: int, maps: tuple[LabelMap, ...] = ()) -> Scene:
    """A random scene; the same generator state gives the same one."""
    while True:
        easel = _Easel(rng, side, colour=rng.random() < 0.22)
        _background(easel, maps)
        _objects(easel)
        image = looks.photograph(rng, easel.values)
        for _ in range(_TRIES):
            target = _target(easel)
            if target is not None and _visible(image, target):
                return Scene(image, target)


@dataclass
class _Easel:
    """What is painted so far: values (C, H, W) and the masks that can be asked for, with how likely each is."""

    rng: Random
    side: int
    colour: bool
    values: Field = field(init=False)
    wholes: list[Mask] = field(default_factory=list)
    parts: list[Mask] = field(default_factory=list)
    ground: list[Mask] = field(default_factory=list)
    flocks: list[Mask] = field(default_factory=list)
    main: Mask | None = None

    def __post_init__(self) -> None:
        self.values = np.zeros((3 if self.colour else 1, self.side, self.side), np.float32)

    def paint(self, mask: Mask, look: looks.Look, share: Field | None = None) -> None:
        """A look inside of a mask; ``share`` (H, W) in [0, 1] says how much of it shows where."""
        drawn = look.draw(self.rng, self.side, self.values.shape[0])
        if share is not None:
            drawn = self.values + share * (drawn - self.values)
        self.values = np.where(mask, drawn, self.values)

    def cover(self, mask: Mask) -> None:
        """What lies under a new object can't be asked for any more."""
        for masks in (self.wholes, self.parts, self.ground, self.flocks):
            masks[:] = [earlier & ~mask for earlier in masks]

    def value_at(self, mask: Mask) -> NDArray[np.float32]:
        """(C,) mean value under a mask."""
        return np.asarray(self.values[:, mask if mask.any() else ~mask].mean(axis=1))


def _background(easel: _Easel, maps: tuple[LabelMap, ...]) -> None:
    rng, side = easel.rng, easel.side
    kind = rng.random()
    labels = maps[int(rng.integers(len(maps)))].slice(rng, side) if maps and kind < 0.36 else None
    if labels is not None:
        _anatomy(easel, labels)
    elif kind < 0.56:
        _packed(easel)
    elif kind < 0.8:
        _regions(easel, np.ones((side, side), bool), int(rng.integers(2, 9)), easel.ground)
    else:
        easel.paint(np.ones((side, side), bool), looks.random_look(rng, easel.values.shape[0]))


def _anatomy(easel: _Easel, labels: NDArray[np.int16]) -> None:
    rng = easel.rng
    rest = labels == 0
    _regions(easel, rest, int(rng.integers(1, 6)), easel.ground)
    tissues = [looks.random_look(rng, easel.values.shape[0]) for _ in range(int(rng.integers(2, 9)))]
    for value in np.unique(labels[labels != 0]):
        mask = labels == value
        look = tissues[int(rng.integers(len(tissues)))]
        easel.paint(mask, look if rng.random() < 0.5 else look.varied(rng, 0.25))
        easel.wholes.append(mask)
    if rng.random() < _OUTLINES:
        easel.wholes.append(np.asarray(ndi.binary_fill_holes(~rest)))


def _packed(easel: _Easel) -> None:
    """Organs side by side with a thin layer of fat between them, few kinds of tissue, small vessels and bones.

    Neighbours often look nearly the same, as the organs of a scan do; only the layer between tells them apart.
    """
    rng, side, channels = easel.rng, easel.side, easel.values.shape[0]
    fat = looks.random_look(rng, channels)
    easel.paint(np.ones((side, side), bool), fat)
    tissues = [looks.near_look(rng, fat.mean) for _ in range(int(rng.integers(1, 4)))]
    cells, count = log_uniform(rng, 1.5, 5), int(rng.integers(5, 18))
    fields = np.stack([smooth_field(rng, side, cells) for _ in range(count)])
    winner = fields.argmax(axis=0)
    ahead = fields.max(axis=0) - np.partition(fields, -2, axis=0)[-2]
    # The layer is some pixels thick; where it narrows, neighbours touch.
    layer = ahead < log_uniform(rng, 0.03, 0.35) * (0.6 + 0.5 * smooth_field(rng, side, 4))
    for index in range(count):
        mask = np.asarray((winner == index) & ~layer)
        if mask.any() and rng.random() < 0.9:
            tissue = tissues[int(rng.integers(len(tissues)))]
            easel.paint(mask, tissue.varied(rng, log_uniform(rng, 0.03, 0.4)))
            easel.wholes.append(mask)
    for _ in range(int(rng.choice((0, 2, 5, 9)))):
        spot = np.asarray(shapes.radial(rng, side, log_uniform(rng, 0.04, 0.16), shapes.place(rng, 0.9), 0.4) < 1)
        if np.count_nonzero(spot) >= _LEAST_PIXELS:
            easel.cover(spot)
            easel.paint(spot, looks.random_look(rng, channels))
            easel.wholes.append(spot)


def _regions(easel: _Easel, room: Mask, count: int, into: list[Mask]) -> None:
    """Fills a room with smooth random regions."""
    rng, side = easel.rng, easel.side
    cells = log_uniform(rng, 1.2, 9)
    fields = np.stack([smooth_field(rng, side, cells) for _ in range(count)])
    winner = fields.argmax(axis=0)
    for index in range(count):
        mask = (winner == index) & room
        if mask.any():
            easel.paint(mask, looks.random_look(rng, easel.values.shape[0]))
            into.append(mask)


def _objects(easel: _Easel) -> None:
    rng, side = easel.rng, easel.side
    if rng.random() < 0.35:  # a body: dark or bright all round
        body = shapes.radial(rng, side, rng.uniform(0.75, 1.1), shapes.place(rng, 0.15), 0.6, 0.5) < 1
        easel.cover(~body)
        easel.paint(~body, looks.random_look(rng, easel.values.shape[0], plain=True).shifted(rng, 4.0))
        if rng.random() < _OUTLINES:
            easel.wholes.append(body)
    if rng.random() < 0.15:
        _flock(easel)
    counts = (0, 0, 1, 2, 3, 5) if easel.wholes else (1, 1, 2, 2, 3, 4, 6, 9)  # a full picture has enough to ask for
    close = rng.random() < 0.45  # as it is seen when the picture was cut out round it
    for left in range(int(rng.choice(counts)) - 1, -1, -1):
        near = close and left == 0
        size, reach = (rng.uniform(0.3, 0.75), 0.2) if near else (log_uniform(rng, 0.07, 0.9), 0.8)
        shape = shapes.ONE_PIECE[int(rng.choice(len(shapes.ONE_PIECE), p=shapes.LIKELY))]
        mask = shape(rng, side, size, reach)
        if np.count_nonzero(mask) >= _LEAST_PIXELS:
            _object(easel, mask)
            easel.main = mask if near else None


def _object(easel: _Easel, mask: Mask) -> None:
    rng = easel.rng
    easel.cover(mask)
    channels = easel.values.shape[0]
    if rng.random() < 0.55:  # not unlike what is round it
        rim = ndi.binary_dilation(mask, iterations=4) & ~mask
        look = looks.near_look(rng, easel.value_at(rim))
    else:
        look = looks.random_look(rng, channels)
    share = None
    if rng.random() < 0.35:  # its contrast fades along the border
        share = np.clip(0.65 + 0.4 * smooth_field(rng, easel.side, rng.uniform(1.5, 4)), 0.25, 1).astype(np.float32)
    easel.paint(mask, look, share)
    easel.wholes.append(mask)
    if rng.random() < 0.45:
        _inside(easel, mask, look)


def _inside(easel: _Easel, mask: Mask, look: looks.Look) -> None:
    """Parts of an object: a wall, layers, a level, spots or regions."""
    rng, side = easel.rng, easel.side
    channels = easel.values.shape[0]
    kind = rng.random()
    depth = ndi.distance_transform_edt(mask)
    deepest = float(depth.max())
    if kind < 0.35:  # a wall and what it holds
        wall = (depth <= max(1.2, deepest * rng.uniform(0.08, 0.5))) & mask
        content = mask & ~wall
        easel.paint(wall, look.varied(rng, 0.8) if rng.random() < 0.6 else looks.random_look(rng, channels))
        if rng.random() < 0.5:
            easel.paint(content, looks.random_look(rng, channels) if rng.random() < 0.5 else look.varied(rng, 0.4))
        easel.parts += [wall, content]
    elif kind < 0.5:  # a level, as of gas over fluid
        y, x = shapes.grid(side)
        angle = rng.uniform(-0.3, 0.3) if rng.random() < 0.6 else rng.uniform(0, 2 * np.pi)
        along = y * np.cos(angle) + x * np.sin(angle)
        over = mask & (along < np.quantile(along[mask], rng.uniform(0.2, 0.8)))
        easel.paint(over, looks.random_look(rng, channels))
        easel.parts += [over, mask & ~over]
    elif kind < 0.75:  # spots
        spots = np.zeros_like(mask)
        radius = deepest * 2 / side
        for _ in range(int(rng.integers(1, 5))):
            inner = np.argwhere(mask)[int(rng.integers(np.count_nonzero(mask)))]
            middle = (float(inner[0] + 0.5) * 2 / side - 1, float(inner[1] + 0.5) * 2 / side - 1)
            spots |= shapes.radial(rng, side, max(radius * rng.uniform(0.15, 0.6), 0.03), middle) < 1
        spots &= mask
        easel.paint(spots, looks.random_look(rng, channels) if rng.random() < 0.6 else look.varied(rng, 0.4))
        easel.parts.append(spots)
    else:
        _regions_of_one(easel, mask, look)


def _regions_of_one(easel: _Easel, mask: Mask, look: looks.Look) -> None:
    """An object of mixed tissue: what is asked for is all of it."""
    rng, side = easel.rng, easel.side
    spread = rng.uniform(0.15, 0.8)
    cells = log_uniform(rng, 2, 14)
    mixed = fractal_field(rng, side, cells, 0.5)
    for low, high in ((-9.0, -0.5), (0.5, 9.0)):
        easel.paint(mask & (mixed > low) & (mixed < high), look.varied(rng, spread))


def _flock(easel: _Easel) -> None:
    rng = easel.rng
    look = looks.random_look(rng, easel.values.shape[0])
    members = shapes.cells(rng, easel.side, log_uniform(rng, 0.1, 0.6))
    for mask in members:
        easel.cover(mask)
        easel.paint(mask, look.varied(rng, 0.12))
        easel.flocks.append(mask)


def _target(easel: _Easel) -> Mask | None:
    """One thing to ask for, or None where the choice came out empty."""
    rng = easel.rng
    masks, multiple = _choose(easel)
    if not masks:
        return None
    if multiple:
        target = np.asarray(np.any(masks, axis=0))
    else:
        # Large ones a little more often: what is left of a covered object is no good question.
        weights = np.array([np.count_nonzero(mask) for mask in masks]) ** 0.25
        if not weights.any():
            return None
        chosen = masks[int(rng.choice(len(masks), p=weights / weights.sum()))]
        pieces, count = ndi.label(chosen)
        if count == 0:
            return None
        sizes = np.bincount(pieces.reshape(-1))[1:]
        if chosen.sum() < 40 or rng.random() < 0.85:
            keep = int(rng.choice(count, p=sizes / sizes.sum())) + 1
            target = pieces == keep
        else:
            target = chosen
        if rng.random() < 0.025:  # a piece of it, cut where nothing shows
            y, x = shapes.grid(easel.side)
            angle = rng.uniform(0, 2 * np.pi)
            along = y * np.cos(angle) + x * np.sin(angle)
            target = target & (along < np.quantile(along[target], rng.uniform(0.35, 0.75)))
        elif rng.random() < 0.12:
            target = np.asarray(ndi.binary_fill_holes(target))
    area = int(np.count_nonzero(target))
    return target if _LEAST_PIXELS <= area <= _MOST * target.size else None


def _choose(easel: _Easel) -> tuple[list[Mask], bool]:
    """Masks to choose from, and whether all of them are asked for together."""
    rng = easel.rng
    kind = rng.random()
    if easel.main is not None and kind < 0.75:
        return [easel.main], False
    if easel.flocks and kind < 0.4:
        return easel.flocks, rng.random() < 0.1
    if easel.parts and kind < 0.5:
        return easel.parts, False
    if easel.wholes and (kind < 0.88 or not easel.ground):
        return easel.wholes, False
    return easel.ground, False


def _visible(image: Field, target: Mask) -> bool:
    """Whether the picture shows the target's border at all, against its own spread nearby."""
    inner = target & ~ndi.binary_erosion(target, iterations=3, border_value=1)
    outer = ndi.binary_dilation(target, iterations=3) & ~target
    if not outer.any():
        return False
    grey = image if image.ndim == 2 else image.mean(axis=2)
    step = abs(float(grey[inner].mean()) - float(grey[outer].mean()))
    if image.ndim == 3:
        step = float(np.abs(image[inner].mean(axis=0) - image[outer].mean(axis=0)).max())
    spread = float(grey[inner].std() + grey[outer].std()) / 2
    coarse = ndi.uniform_filter(grey, 5)
    blurred = float(coarse[inner].std() + coarse[outer].std()) / 2
    return step > _VISIBLE * min(spread, 2 * blurred)
