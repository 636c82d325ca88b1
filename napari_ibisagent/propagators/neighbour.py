"""Slice by slice outwards, with the neighbour's mask as the prior and clicks where it is wrong.

On each slice there is an expectation: the policy's evidence where it has any, else what goes on from the neighbour's
mask and looks like the key slice's (``_look``). The tool gets the neighbour's mask and clicks into the largest
difference of its answer and the expectation, until that gains nothing more; where there is evidence, also a box round
that and clicks without the neighbour's mask, and the better answer counts. The mask is held inside of a room round
the expectation, so that a leak ends there. It stops where the organ ends. What is odd on a slice is said in its note.

What it leaves out: any look at slices further away; a mistake on one slice without evidence is carried on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from scipy import ndimage as ndi

from napari_ibisagent.core.actions import Click, PromptAction
from napari_ibisagent.core.clicks import box_round, clicks_into_missed, next_click
from napari_ibisagent.core.distance import deepest
from napari_ibisagent.core.masks import Mask, dice
from napari_ibisagent.core.protocols import CarriedSlice, Carry, OpenedView, made_again
from napari_ibisagent.core.view import AXES, View, view_of
from napari_ibisagent.propagators._look import Look, expected, grown

# At most so many clicks a slice; further ones gain less than they cost.
_CLICKS = 4
# An agreement (Dice) with the expectation that no click mends: about the agreement of two readers.
_GOOD = 0.95
# A click that gains less agreement than this is the last one.
_GAIN = 0.01
# Room round the evidence, in mm: its border is known to about a voxel of 3 to 5 mm.
_MARGIN_MM = 5.0
# An organ's surface seldom leans more than 60 degrees from one slice to the next: its border moves by at most twice
# the distance of the slices.
_LEAN = 2.0
# More than this share of the mask cut off is a leak.
_LEAK = 0.1
# Below this share of the confidence on the key slice, which somebody saw, a slice is doubtful; without evidence it
# ends below the second one.
_DOUBTFUL, _LOST = 0.6, 0.25
# Without evidence: it ends where less than this share of the neighbour's mask goes on, or of the key slice's is left.
_GOES_ON, _LEFT = 0.25, 0.02
# Without evidence: away from the key slice, which shows most of it, it should not grow beyond this again; a mask with
# less than this share under the key slice's has wandered off. After so many odd slices in a row the thing is lost.
_LARGER, _UNDER, _ODD = 1.25, 0.1, 3


class NeighbourPropagator:
    """See the module. Deterministic, as far as the tool is."""

    name = "neighbour"

    def propagate(self, carry: Carry, cancelled: Callable[[], bool]) -> Iterator[CarriedSlice]:
        """One slice on either side in turn, until both ends are reached; see ``Propagator``."""
        start = _start_of(carry)
        ways = [_way(carry, start, -1), _way(carry, start, +1)]
        while ways:
            for way in tuple(ways):
                if cancelled():
                    return
                found = next(way, None)
                if found is None:
                    ways.remove(way)
                else:
                    yield found


@dataclass(frozen=True, eq=False, slots=True)
class _Goal:
    """What is expected on a slice: the mask (H, W), the room round it, and whether it is evidence."""

    mask: Mask
    room: Mask
    seen: bool


@dataclass(frozen=True, eq=False, slots=True)
class _Followed:
    """What the tool made of a slice: mask (H, W), score, the prompts, how many pixels spilled out of the room, the
    agreement (Dice) with the goal, and whether it was begun from nothing instead of from the neighbour's mask."""

    mask: Mask
    score: float
    prompts: tuple[PromptAction, ...]
    spilled: int
    agreement: float
    anew: bool


@dataclass(frozen=True, eq=False, slots=True)
class _Start:
    """What is known of the key slice: how the thing looks, its mask (H, W) and the pixels in it, and the tool's score
    for that very mask."""

    look: Look
    mask: Mask
    area: int
    score: float


def _start_of(carry: Carry) -> _Start:
    view = view_of(carry.volume, carry.plane, carry.index)
    answer = carry.tool.open(view).segment((_confirming(carry.mask, carry.mask),), carry.mask)
    return _Start(Look.of(view, carry.mask), carry.mask, int(np.count_nonzero(carry.mask)), answer.score)


def _way(carry: Carry, start: _Start, step: int) -> Iterator[CarriedSlice]:
    """The slices in one direction, until the end of the organ or the bound."""
    prior, at, odd = carry.mask, carry.index, 0
    end = carry.last if step > 0 else carry.first
    for index in range(carry.index + step, end + step, step):
        view = view_of(carry.volume, carry.plane, index)
        evidence = carry.evidence(index)
        goal = _goal_of(carry, start.look, view, prior, evidence)
        if not goal.mask.any():
            return
        answer = _followed(carry.tool.open(view), prior, goal)
        agreement = dice(answer.mask, goal.mask if goal.seen else prior)
        confidence = round(float(np.clip(answer.score * agreement, 0.0, 1.0)), 4)
        if not goal.seen and (_is_over(answer.mask, prior, start.area) or confidence < _LOST * start.score):
            return
        missing = evidence is not None and not goal.seen
        note = _oddity(goal, answer, prior, start, view)
        odd = odd + 1 if note and not goal.seen else 0
        if missing:
            note = "Evidence is seen before and behind this slice, but not on it."
        elif not note and confidence < _DOUBTFUL * start.score:
            note = f"The confidence is only {confidence:.2f}."
        yield CarriedSlice(index, answer.mask, confidence, note, None if answer.anew else at, answer.prompts, goal.room)
        if not answer.mask.any() or odd >= _ODD:
            return
        prior, at = answer.mask, index


def _goal_of(carry: Carry, look: Look, view: View, prior: Mask, evidence: Mask | None) -> _Goal:
    """The evidence, or what goes on from the neighbour where there is none (yet the organ hasn't ended)."""
    pixel = view.pixel_mm or 1.0
    if evidence is not None and evidence.any():
        return _Goal(evidence, grown(evidence, max(_MARGIN_MM / pixel, 2.0)), True)
    between = carry.volume.spacing_mm[AXES[carry.plane][0]] if view.pixel_mm else 1.0
    reach = _LEAN * between / pixel + 1
    return _Goal(expected(look.alike(view), prior, reach), grown(prior, reach), False)


def _followed(opened: OpenedView, prior: Mask, goal: _Goal) -> _Followed:
    """The tool's best answer and its clicks, from the neighbour's mask; where there is evidence, also begun anew.

    A tool changes a prior mask only where it is clicked on, so that where the organ's form changes fast, a box round
    the evidence and clicks from nothing agree better.
    """
    from_prior = _refined(opened, prior, goal)
    if not goal.seen or from_prior.agreement >= _GOOD:
        return from_prior
    anew = _refined(opened, None, goal)
    return max(from_prior, anew, key=lambda answer: answer.agreement)


def _refined(opened: OpenedView, prior: Mask | None, goal: _Goal) -> _Followed:
    """Clicks into the largest difference from the goal, until they gain nothing; from a prior mask or from nothing.

    The first click confirms what prior and goal have in common: a tool must know where the thing is before it can be
    told where it isn't. From nothing a box comes first.
    """
    mask = np.zeros_like(goal.mask) if prior is None else prior & goal.room
    best = _Followed(mask, 0.0, (), 0, dice(mask, goal.mask), prior is None)
    parts, _ = ndi.label(goal.mask)
    lead: tuple[PromptAction, ...] = (box_round(goal.mask),) if prior is None else ()
    for _ in range(_CLICKS):
        click = None if best.agreement >= _GOOD else next_click(best.mask, goal.mask)
        if click is None and best.prompts:
            break
        if prior is not None and not best.prompts and (click is None or not click.positive):
            lead = (_confirming(prior, goal.mask),)
        several = clicks_into_missed(best.mask, parts) if click is not None and click.positive else ()
        prompts = (*best.prompts, *lead, *(several or (() if click is None else (click,))))
        answer, spilled = made_again(opened, prompts, prior, goal.room)
        agreement = dice(answer.mask, goal.mask)
        if best.prompts and agreement < best.agreement + _GAIN:
            break
        best, lead = _Followed(answer.mask, answer.score, prompts, spilled, agreement, prior is None), ()
    return best


def _confirming(prior: Mask, goal: Mask) -> Click:
    """A positive click at the deepest point of what neighbour and goal have in common, or else of the goal."""
    spot = deepest(prior & goal) or deepest(goal)
    row, column = (0, 0) if spot is None else spot[:2]
    height, width = goal.shape
    return Click(round((column + 0.5) / width, 4), round((row + 0.5) / height, 4), True)


def _is_over(mask: Mask, prior: Mask, full: int) -> bool:
    """Without evidence: whether next to nothing of the neighbour's mask goes on, or of the key slice's is left."""
    area = int(np.count_nonzero(mask))
    return dice(mask, prior) < _GOES_ON or area < _LEFT * full or area < _GOES_ON * int(np.count_nonzero(prior))


def _oddity(goal: _Goal, answer: _Followed, prior: Mask, start: _Start, view: View) -> str:
    """What is wrong with the mask of a slice by its form, place or look; or nothing."""
    area = int(np.count_nonzero(answer.mask))
    if area == 0:
        return "The tool made no mask here."
    if answer.spilled > _LEAK * area:
        return "The mask leaked to the neighbourhood and was cut off there."
    if np.count_nonzero(start.look.alike(view) & answer.mask) < area / 2:
        return "It looks otherwise here than on the slice that was worked on."
    if not goal.seen and area > max(_LARGER * int(np.count_nonzero(prior)), start.area):
        return "The mask grows again, away from the slice that showed most of it."
    if not goal.seen and area > _LARGER * start.area:
        return "The mask is larger than on the slice that showed most of it."
    if not goal.seen and np.count_nonzero(answer.mask & start.mask) < _UNDER * area:
        return "The mask lies beside the slice that was worked on, and not behind it."
    return ""


def build() -> NeighbourPropagator:
    """The propagator that carries from neighbour to neighbour; it takes no options."""
    return NeighbourPropagator()
