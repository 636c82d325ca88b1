"""Pure parts of the SAM family: where a view lies in the model's square, prompts in its pixels, which mask to take.

SAM's prompt encoder adds half a pixel to whatever it is given, so that whole numbers mean the centres of pixels. Our
clicks are places on the view from 0 to 1; half a pixel is taken off here, and they land where they were made.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_ibisagent.core.actions import Box, Click, PromptAction
from napari_ibisagent.core.errors import UnknownNameError
from napari_ibisagent.core.masks import Mask

Pixel = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Frame:
    """How a view lies in the model's square of ``side`` pixels: it fills the first ``height`` rows, ``width`` columns.

    stretched: the view fills the whole square, at the cost of its proportions.
    """

    side: int
    height: int
    width: int
    stretched: bool


def fitted(shape: tuple[int, int], side: int) -> Frame:
    """The frame that keeps a view's proportions; ``shape`` is its (H, W)."""
    scale = side / max(shape)
    height, width = (max(1, int(length * scale + 0.5)) for length in shape)
    return Frame(side, height, width, stretched=False)


def stretched(side: int) -> Frame:
    """The frame of a view that is stretched to the square."""
    return Frame(side, side, side, stretched=True)


@dataclass(frozen=True, eq=False, slots=True)
class PromptArrays:
    """Prompts in the model's pixels, x to the right and y down, whole numbers at the centres of pixels.

    points: (N, 2) float32 (x, y). labels: (N,) int64, 1 inside and 0 outside of the target.
    box: (4,) float32 (x0, y0, x1, y1), or None. Either there is a point or a box.
    """

    points: NDArray[np.float32]
    labels: NDArray[np.int64]
    box: NDArray[np.float32] | None


def prompt_arrays(prompts: Sequence[PromptAction], frame: Frame) -> PromptArrays:
    """All clicks, and the last box: the models take one box for a mask."""
    size = np.array([frame.width, frame.height], np.float64)
    clicks = [p for p in prompts if isinstance(p, Click)]
    boxes = [p for p in prompts if isinstance(p, Box)]
    points = np.array([(c.x, c.y) for c in clicks], np.float64).reshape(-1, 2) * size - 0.5
    box = None
    if boxes:
        last = boxes[-1]
        corners = np.array([(last.x0, last.y0), (last.x1, last.y1)]) * size - 0.5
        box = corners.reshape(4).astype(np.float32)
    return PromptArrays(points.astype(np.float32), np.array([c.positive for c in clicks], np.int64), box)


@dataclass(frozen=True, slots=True)
class MaskChoice:
    """Whether the model is asked for three masks, of which the one with the best score is taken, or for one.

    ambiguous: for a first click alone, which may mean a part or the whole. later: for everything after it, and boxes.
    """

    ambiguous: bool
    later: bool

    def three(self, prompts: Sequence[PromptAction], has_prior: bool) -> bool:
        """Whether to ask for three masks, from the prompts so far."""
        alone = len(prompts) == 1 and isinstance(prompts[0], Click) and not has_prior
        return self.ambiguous if alone else self.later


# "auto" is what the models' authors advise. "ibis" is the published agent's loop (DESIGN section 6): three every time.
MASK_CHOICES: dict[str, MaskChoice] = {
    "auto": MaskChoice(ambiguous=True, later=False),
    "best_of_three": MaskChoice(ambiguous=True, later=True),
    "single": MaskChoice(ambiguous=False, later=False),
    "ibis": MaskChoice(ambiguous=True, later=True),
}


def mask_choice(name: str) -> MaskChoice:
    """The preset of that name; UnknownNameError lists the known ones."""
    try:
        return MASK_CHOICES[name]
    except KeyError:
        known = ", ".join(MASK_CHOICES)
        raise UnknownNameError(f"There is no choice of masks called {name!r}. Give masks as one of: {known}.") from None


def best(scores: NDArray[Any]) -> int:
    """The index of the best of some scores (n,); the first one where several are equal."""
    return int(np.argmax(scores))


def honoured(mask: Mask, clicks: dict[Pixel, bool], reach: float) -> Mask:
    """A copy of ``mask`` (H, W) in which every clicked pixel (row, column) lies on its click's side.

    Where the model went against a click a disc of ``reach`` pixels changes sides; the clicked pixels themselves are set
    last, so that no disc overrules another click.
    """
    result = mask.copy()
    rows, columns = np.ogrid[: mask.shape[0], : mask.shape[1]]
    for (row, column), positive in clicks.items():
        if result[row, column] != positive:
            result[(rows - row) ** 2 + (columns - column) ** 2 <= reach**2] = positive
    for pixel, positive in clicks.items():
        result[pixel] = positive
    return result
