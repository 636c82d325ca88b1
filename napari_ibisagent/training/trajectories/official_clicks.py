"""A click as the official forms hold it: its pixel, its normalised place, its sign, and the mask that came of it.

The official code gives the pixel and that pixel's upper left corner, divided by the size; the dialect gives four
decimals. A corner that these would move into the pixel beside it is read as the pixel's centre.
"""

from __future__ import annotations

from typing import Any

from napari_ibisagent.core.actions import Box, Click, Turn
from napari_ibisagent.core.errors import InputError
from napari_ibisagent.core.masks import Mask
from napari_ibisagent.core.packed import PackedMask
from napari_ibisagent.training.trajectories.form import Trajectory, TrajectoryStep
from napari_ibisagent.training.trajectories.strict_values import pair

# How far, in pixels, the two ways of giving a click may lie apart: corner or centre of a pixel, and some rounding.
_APART = 1.0


def clicked(trajectory: Trajectory, drop_reverted: bool) -> list[tuple[Click, Mask]]:
    """The clicks in force at the end, each with its mask (H, W).

    drop_reverted: leave out reverts along with what they take back. Raises InputError for all that the forms can't
    hold.
    """
    name, kept = trajectory.name, list[tuple[int, TrajectoryStep]]()
    if trajectory.given is not None and _array(trajectory.given, trajectory, "given mask").any():
        raise InputError(f"The trajectory {name} begins with a given mask, which the official forms can't hold.")
    for number, step in enumerate(trajectory.steps):
        if step.turn.discards:
            raise InputError(f"Step {number} of the trajectory {name} discards, which the official forms can't hold.")
        if step.turn.reverts:
            if not drop_reverted:
                raise InputError(
                    f"Step {number} of the trajectory {name} reverts, which the official forms can't hold. "
                    "Have the reverts dropped together with what they take back."
                )
            del kept[-1:]
        if step.turn.prompts:
            kept.append((number, step))
    return [_one_click(trajectory, number, step) for number, step in kept]


def _one_click(trajectory: Trajectory, number: int, step: TrajectoryStep) -> tuple[Click, Mask]:
    where, first = f"Step {number} of the trajectory {trajectory.name}", step.turn.prompts[0]
    if any(isinstance(prompt, Box) for prompt in step.turn.prompts):
        raise InputError(f"{where} draws a box, and the official forms hold nothing but clicks.")
    if not isinstance(first, Click) or len(step.turn.prompts) > 1:
        raise InputError(f"{where} has several clicks, and the official forms hold one a step, each with its mask.")
    if step.mask is None:
        raise InputError(f"{where} has no mask, and the official forms hold a mask with every click.")
    return first, _array(step.mask, trajectory, f"mask of step {number}")


def _array(mask: PackedMask, trajectory: Trajectory, what: str) -> Mask:
    if mask.shape != trajectory.shape:
        raise InputError(
            f"The {what} of the trajectory {trajectory.name} has the size {mask.shape}, its view {trajectory.shape}. "
            "Make the trajectory again."
        )
    try:
        return mask.array()
    except ValueError as error:
        raise InputError(f"The {what} of the trajectory {trajectory.name} is broken: {error}") from error


def written(click: Click, shape: tuple[int, int]) -> tuple[list[float], list[int]]:
    """([x, y] to four decimals, [x, y] of the pixel of a picture (H, W) that these lie in)."""
    norm, (height, width) = [round(click.x, 4), round(click.y, 4)], shape
    return norm, [min(int(norm[0] * width), width - 1), min(int(norm[1] * height), height - 1)]


def read_step(place: tuple[float, float], sign: Any, mask: Mask) -> TrajectoryStep:
    """The step of a click at (x, y) and its mask (H, W). Raises ValueError where the sign is none."""
    if sign not in (True, False):
        raise ValueError(f"its is_positive is {sign!r}, and neither true nor false")
    return TrajectoryStep(Turn("", (Click(*place, positive=bool(sign)),)), PackedMask.of(mask))


def place(norm: Any, pixel: Any, shape: tuple[int, int]) -> tuple[float, float]:
    """(x, y) to four decimals of a click on a picture (H, W). Raises ValueError where the two don't say the same."""
    height, width = shape
    x, y = (_along(at, where, size) for at, where, size in zip(pair(norm), pair(pixel), (width, height), strict=True))
    return x, y


def _along(norm: float, pixel: float, size: int) -> float:
    if not 0 <= norm <= 1:
        raise ValueError(f"it has the coordinate {norm}, outside of the picture (0 to 1)")
    if not (0 <= pixel < size and abs(norm * size - pixel) <= _APART):
        raise ValueError(f"it clicks on {norm} and on the pixel {pixel}, which don't fit together on {size} pixels")
    rounded, inside = round(norm, 4), min(round(pixel), size - 1)
    return rounded if min(int(rounded * size), size - 1) == inside else round((inside + 0.5) / size, 4)


def in_mask(pixel: Any, mask: PackedMask | None) -> bool:
    """Whether the pixel [x, y] belongs to the mask (H, W); it has to lie on it."""
    if mask is None:
        return False
    (x, y), (height, width) = pair(pixel), mask.shape
    return bool(mask.array()[min(round(y), height - 1), min(round(x), width - 1)])
