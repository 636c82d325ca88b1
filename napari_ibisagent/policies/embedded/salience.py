"""Things that are only described: "the bright round spot", "the dark region on the left". Any picture will do.

The description's words are taken as they are: brightness, shape, size, place. A thing is a connected part that
stands out at some threshold; the one that fits the words best is the evidence, if it fits well enough.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage as ndi

from napari_ibisagent.core.masks import Mask, bounding_box
from napari_ibisagent.core.view import Plane, View

_BRIGHT = {"bright", "brightest", "white", "light", "hyperdense", "hyperintense", "shining", "pale"}
_DARK = {"dark", "darkest", "black", "hypodense", "hypointense"}
_ROUND = {"round", "rounded", "circular", "oval", "disc", "disk", "circle", "ball"}
_SMALL = {"small", "smallest", "tiny", "little"}
_LARGE = {"large", "largest", "big", "biggest"}
_THINGS = {
    *("spot", "region", "area", "thing", "lesion", "mass", "blob", "structure", "object", "disc", "disk"),
    *("circle", "nodule", "shape", "patch", "part", "ball"),
}
_PLACES = {
    **dict.fromkeys(("top", "upper"), (None, 0.2)),
    **dict.fromkeys(("bottom", "lower"), (None, 0.8)),
    **dict.fromkeys(("centre", "center", "middle", "central"), (0.5, 0.5)),
}
# Words that may stand in such a sentence without changing what it asks for.
_NEUTRAL = frozenset(
    """
    a an and all at click find in is it label mark me near of on one outline picture please segment select show
    side that the there this to which what where image very patient's
    """.split()
)
_WORK_SIDE = 160
# So much of a thing lies where the sentence says that it does.
_IN_ROOM = 0.7
_LEVELS = (60, 70, 80, 87, 93, 97, 99, 99.6)
# A step of this share of the picture's range is seen well (contrast 0.63 of 1); more is seen better still.
_FAINT = 0.35


@dataclass(frozen=True, slots=True)
class Description:
    """What the words ask for. polarity: +1 bright, -1 dark. size: -1 small, +1 large, 0 unsaid.

    x, y: the wanted place in the view, in [0, 1], None where unsaid. words: how it was read.
    """

    polarity: int
    round: bool
    size: int
    x: float | None
    y: float | None
    words: str


@dataclass(frozen=True, eq=False, slots=True)
class Thing:
    """A part of the picture that fits a description. fit: how well, in [0, 1]."""

    mask: Mask
    fit: float
    facts: tuple[str, ...]


def describe(prompt: str, plane: Plane, oriented: bool) -> Description | None:
    """The description in a prompt, or None when it isn't one, or says more than is understood here.

    Left and right are the patient's where the scan says which side is which, else the picture's.
    """
    words = re.findall(r"[a-z']+", prompt.lower())
    known = _BRIGHT | _DARK | _ROUND | _SMALL | _LARGE | _THINGS | set(_PLACES) | {"left", "right"} | _NEUTRAL
    if any(word not in known for word in words):
        return None
    polarity = (1 if _BRIGHT & set(words) else 0) - (1 if _DARK & set(words) else 0)
    if polarity == 0 or not _THINGS & set(words):
        return None
    x: float | None = None
    y: float | None = None
    for word in words:
        if word in _PLACES:
            x, y = _PLACES[word][0] if _PLACES[word][0] is not None else x, _PLACES[word][1]
        elif word in ("left", "right"):
            mirrored = oriented and plane is not Plane.SAGITTAL
            x = 0.2 if (word == "left") != mirrored else 0.8
    size = (1 if _LARGE & set(words) else 0) - (1 if _SMALL & set(words) else 0)
    side_of = "patient" if oriented and plane is not Plane.SAGITTAL else "picture"
    how = f" (left and right as the {side_of}'s)" if {"left", "right"} & set(words) else ""
    text = ("bright" if polarity > 0 else "dark") + (", round" if _ROUND & set(words) else "")
    return Description(polarity, bool(_ROUND & set(words)), size, x, y, text + how)


def find_thing(description: Description, view: View, room: Mask | None = None) -> Thing | None:
    """The part of a view that fits best, or None where nothing fits well enough.

    ``room`` (H, W): most of the part has to lie in it.
    """
    step = max(1, -(-max(view.shape) // _WORK_SIDE))
    image = view.image.astype(np.float32)
    grey = image.mean(axis=2) if image.ndim == 3 else image
    small = ndi.uniform_filter(grey, step)[::step, ::step] if step > 1 else grey
    small = ndi.gaussian_filter(small, 1.0) * description.polarity
    allowed = None if room is None else room[step // 2 :: step, step // 2 :: step][: small.shape[0], : small.shape[1]]
    best: Thing | None = None
    for level in np.unique(np.percentile(small, _LEVELS)):
        parts, count = ndi.label(small > level)
        for number, window in enumerate(ndi.find_objects(parts), start=1):
            if allowed is not None and allowed[window][parts[window] == number].mean() < _IN_ROOM:
                continue
            thing = _rated(description, small, parts[window] == number, window, count)
            if thing is not None and (best is None or thing.fit > best.fit):
                best = thing
    if best is None or best.fit < 0.25:
        return None
    rows, columns = (np.minimum(np.arange(n) // step, m - 1) for n, m in zip(view.shape, small.shape, strict=True))
    return Thing(best.mask[rows[:, np.newaxis], columns], best.fit, best.facts)


def _rated(
    description: Description, picture: NDArray[np.float32], part: Mask, window: tuple[slice, ...], count: int
) -> Thing | None:
    """A connected part with its fit, or None where it can't be meant at all."""
    share = np.count_nonzero(part) / picture.size
    if not 0.0006 < share < 0.5 or count == 0:
        return None
    mask = np.zeros(picture.shape, bool)
    mask[window] = part
    ring = ndi.binary_dilation(mask, iterations=3) & ~ndi.binary_dilation(mask)
    if not ring.any():
        return None
    spread = float(np.percentile(picture, 99) - np.percentile(picture, 1)) or 1.0
    step = max(0.0, float(picture[mask].mean() - picture[ring].mean()) / spread)
    contrast = 1 - float(np.exp(-step / _FAINT))
    roundness = _roundness(part)
    row, column = ndi.center_of_mass(mask)
    x, y = (column + 0.5) / picture.shape[1], (row + 0.5) / picture.shape[0]
    fit = contrast
    if description.round:
        fit *= roundness**2
    for wanted, at in ((description.x, x), (description.y, y)):
        if wanted is not None:
            fit *= float(np.exp(-(((at - wanted) / 0.3) ** 2)))
    if description.size:
        fit *= min(1.0, share / 0.05) if description.size > 0 else min(1.0, 0.02 / share)
    cut = bounding_box(mask)
    if cut and any(s.start == 0 or s.stop == n for s, n in zip(cut, picture.shape, strict=True)):
        fit *= 0.5  # what runs out of the picture is more often its background
    facts = (
        f"{100 * share:.1f} % of the view at ({x:.2f}, {y:.2f})",
        f"contrast to its surroundings {contrast:.2f} of 1",
        f"roundness {roundness:.2f}",
    )
    return Thing(mask, fit, facts)


def _roundness(part: Mask) -> float:
    """Area over that of the ellipse's circle: 1 for a disc, less for long or frayed parts."""
    rows, columns = np.nonzero(part)
    if rows.size < 4:
        return 0.5
    radius = np.sqrt(np.max((rows - rows.mean()) ** 2 + (columns - columns.mean()) ** 2)) + 0.5
    return float(min(1.0, rows.size / (np.pi * radius**2)))
