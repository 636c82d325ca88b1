"""Masks as COCO's compressed run lengths: column-major, starting with the zeros, in printable letters.

Each run but the first three is written as the difference to the one two before it, in groups of five bits, the lowest
first, each with a bit that says whether more follow, shifted to the letters from "0" on. Facts: the COCO API's
``maskApi.c``. What it leaves out: everything but reading and writing.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from napari_ibisagent.core.masks import Mask

_FIRST_LETTER = 48
# Bits of a number: no run is that long, and adding up a broken text's endless one takes minutes.
_MOST_BITS = 60


def encode(mask: Mask) -> str:
    """The letters for a mask (H, W)."""
    flat = np.asarray(mask, dtype=bool).reshape(-1, order="F")
    changes = np.flatnonzero(flat[1:] != flat[:-1]) + 1
    runs = np.diff(np.concatenate(([0], changes, [flat.size]))).tolist()
    if flat.size and flat[0]:
        runs.insert(0, 0)
    return "".join(_letters(run - runs[n - 2] if n > 2 else run) for n, run in enumerate(runs))


def decode(letters: str, shape: tuple[int, int]) -> Mask:
    """The mask (H, W) that the letters stand for. Raises ValueError where they are broken or of another size."""
    runs: list[int] = []
    for number in _numbers(letters):
        runs.append(number + (runs[-2] if len(runs) > 2 else 0))
    height, width = shape
    if any(run < 0 for run in runs) or sum(runs) != height * width:
        raise ValueError(f"A stored mask doesn't hold the {height * width} pixels that its size {shape} needs.")
    lengths: NDArray[np.int64] = np.array(runs, dtype=np.int64)
    values = np.arange(lengths.size) % 2 == 1
    return np.ascontiguousarray(np.repeat(values, lengths).reshape(shape, order="F"))


def _letters(number: int) -> str:
    letters = []
    while True:
        low = number & 31
        number >>= 5
        more = number != (-1 if low & 16 else 0)
        letters.append(chr(_FIRST_LETTER + low + (32 if more else 0)))
        if not more:
            return "".join(letters)


def _numbers(letters: str) -> list[int]:
    numbers: list[int] = []
    number = place = 0
    for letter in letters:
        bits = ord(letter) - _FIRST_LETTER
        if not 0 <= bits < 64:
            raise ValueError(f"A stored mask can't be read: {letter!r} isn't one of its letters.")
        number |= (bits & 31) << place
        place += 5
        if place > _MOST_BITS:
            raise ValueError("A stored mask can't be read: it has a number that is longer than any mask.")
        if bits & 32:
            continue
        numbers.append(number - (1 << place) if bits & 16 else number)
        number = place = 0
    if place:
        raise ValueError("A stored mask can't be read: it breaks off in the middle.")
    return numbers
