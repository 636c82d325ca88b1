"""Carrying an episode's mask through the volume: from the key slice that was done to the events of all others.

A generator of events like the runner's: ``CarryBegun``, a ``Carried`` for each slice, ``CarryEnded``. The policy's
evidence, where it has any, says how far the target reaches and guards each slice; it is set aside where it doesn't fit
the key slice's mask, which a person may have made or corrected.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from napari_ibisagent.agent.checks import carried_side
from napari_ibisagent.core.carrying import Carried, CarryBegun, CarryEnded, End, Extent
from napari_ibisagent.core.episode import Episode, EpisodeEvent, Outcome
from napari_ibisagent.core.errors import BackendError, StateError
from napari_ibisagent.core.masks import Mask, dice
from napari_ibisagent.core.packed import PackedMask
from napari_ibisagent.core.protocols import CarriedSlice, Carry, EvidenceSource, Policy, Propagator, Segmenter
from napari_ibisagent.core.view import AXES, slice_of, view_of
from napari_ibisagent.core.volume import Volume

# Below this agreement (Dice) of evidence and mask on the key slice they are about different things.
_FITS = 0.5
# So many slices in a row without evidence are the end of an organ; one alone may be a gap in the evidence.
_GAP = 2
# "in the whole volume", "in all slices", "in 3D", "through the volume", and what joins them to the sentence.
_WHOLE = re.compile(
    r"[\s,]*\b(?:(?:in|on|through|throughout|across|over)\s+)?"
    r"(?:(?:the\s+)?(?:whole|entire|full|complete)\s+(?:volume|scan|stack|series)"
    r"|(?:throughout|through)\s+the\s+(?:volume|scan|stack|series)"
    r"|(?:in|on|through|across)\s+(?:all|every)(?:\s+(?:of\s+)?the)?\s+slices?"
    r"|(?:in|as)\s+(?:3\s?-?\s?d|three\s+dimensions))\b",
    re.IGNORECASE,
)


def asks_for_volume(sentence: str) -> tuple[str, bool]:
    """The sentence without the words that ask for the whole volume, and whether there were any.

    Those words say how far the answer reaches; a policy that doesn't know them would take them for part of the name.
    """
    rest = _WHOLE.sub(" ", sentence)
    if rest == sentence:
        return sentence, False
    rest = re.sub(r"\s+([.,;:!?])", r"\1", " ".join(rest.split())).lstrip(" ,;:")
    return (rest, True) if rest.strip(" .!?") else (sentence, False)


def may_be_carried(episode: Episode, volume_shape: tuple[int, ...]) -> bool:
    """Whether there is a mask to carry, and another slice to carry it to."""
    idle = episode.pending is None and episode.located and not episode.under_way
    return idle and volume_shape[AXES[episode.plane][0]] > 1 and bool(episode.mask_array().any())


def goes_on_by_itself(episode: Episode) -> bool:
    """Whether the whole volume was asked for and the agent is done with the key slice, and sure of it."""
    done = episode.outcome is Outcome.DONE and not episode.reason.startswith("unsure")
    return done and wanted(episode)


def wanted(episode: Episode) -> bool:
    """Whether the whole volume was asked for and is still to be done."""
    return episode.extent is Extent.VOLUME and episode.carrying is None


@dataclass(frozen=True, eq=False, slots=True)
class Crew:
    """Who carries: the policy with its evidence, the tool and the propagator."""

    policy: Policy
    tool: Segmenter
    propagator: Propagator


def carry(episode: Episode, volume: Volume, crew: Crew, cancelled: Callable[[], bool]) -> Iterator[EpisodeEvent]:
    """The events of carrying the mask on the table through the volume.

    Raises StateError, before the first event, where there is none or something is still under way.
    """
    if not may_be_carried(episode, volume.shape):
        raise StateError("There is no finished mask to carry, or no other slice to carry it to.")
    begun = False
    done = 0
    try:
        evidence = _Evidence(episode, volume, crew.policy)
        first, last = evidence.reach(cancelled)
        yield CarryBegun(crew.propagator.name, first, last, evidence.note)
        begun = True
        mask = episode.mask_array()
        task = Carry(volume, episode.plane, episode.index, mask, crew.tool, first, last, evidence.on)
        for found in crew.propagator.propagate(task, cancelled):
            yield _event_of(found, episode, volume)
            done += 1
    except BackendError as error:
        if not begun:
            yield CarryBegun(crew.propagator.name, episode.index, episode.index)
        yield CarryEnded(f"{error} {_kept(done)}", End.FAILED)
        return
    if cancelled():
        yield CarryEnded(f"Cancelled by the user. {_kept(done)}", End.CANCELLED)
    else:
        yield CarryEnded(_where(done))


def whole_mask(episode: Episode, volume: Volume) -> Mask:
    """The mask on the table with all slices that it was carried to, (Z, Y, X) bool."""
    whole = np.zeros(volume.shape, bool)
    masks = {episode.index: episode.mask_array()}
    if episode.carrying is not None:
        masks |= {done.index: done.mask.array() for done in episode.carrying.slices}
    for index, mask in masks.items():
        slice_of(whole, episode.plane, index)[...] = view_of(volume, episode.plane, index).to_native(mask)
    return whole


def early_end(episode: Episode, why: str, how: End = End.CANCELLED) -> CarryEnded:
    """The event that ends what is under way before it is complete; what was done so far stays."""
    return CarryEnded(f"{why} {_kept(0 if episode.carrying is None else len(episode.carrying.slices))}", how)


class _Evidence:
    """The policy's evidence for one prompt on all slices of a plane, each asked for once."""

    def __init__(self, episode: Episode, volume: Volume, policy: Policy) -> None:
        self._episode, self._volume = episode, volume
        self._source = policy if isinstance(policy, EvidenceSource) and episode.prompt else None
        self._known: dict[int, PackedMask | None] = {}
        self.note = self._fitting()

    def on(self, index: int) -> Mask | None:
        """(H, W) of a slice, None where there is no idea."""
        if self._source is None:
            return None
        if index not in self._known:
            found = self._source.evidence(self._volume, self._episode.prompt, self._episode.plane, index)
            if found is not None and found.shape != self._episode.shape:
                raise BackendError(
                    f"The policy's evidence on slice {index} has the shape {found.shape}, the view "
                    f"{self._episode.shape}. Report this to its makers; choose another policy."
                )
            self._known[index] = None if found is None else PackedMask.of(found)
        packed = self._known[index]
        return None if packed is None else packed.array()

    def reach(self, cancelled: Callable[[], bool]) -> tuple[int, int]:
        """The first and the last slice that may hold the target."""
        count = self._volume.shape[AXES[self._episode.plane][0]]
        ends = []
        for step, edge in ((-1, -1), (1, count)):
            last, at = self._episode.index, self._episode.index + step
            while self._source is not None and at != edge and abs(at - last) <= _GAP and not cancelled():
                found = self.on(at)
                last = at if found is None or found.any() else last
                at += step
            ends.append(edge - step if self._source is None else last)
        return ends[0], ends[1]

    def _fitting(self) -> str:
        """Whether the evidence is used, in words; sets it aside where it isn't about the mask of the key slice."""
        without = "Each slice goes by its neighbour's mask and the look of the key slice"
        if self._source is None:
            return f"{without}; the agent has no evidence of its own."
        found = self.on(self._episode.index)
        if found is None:
            self._source = None
            return f"{without}; the agent has no evidence of its own."
        fit = dice(found, self._episode.mask_array())
        if fit < _FITS:
            self._source = None
            return f"{without}: the agent's evidence fits the mask of the key slice to {fit:.2f} only."
        return "The agent's evidence guards each slice."


def _event_of(found: CarriedSlice, episode: Episode, volume: Volume) -> Carried:
    """A slice as it is kept; a wrong side is a reason to look at it as well."""
    room = None if found.room is None else PackedMask.of(found.room)
    mask = PackedMask.of(found.mask)
    side = carried_side(volume, view_of(volume, episode.plane, found.index), found.mask, episode.target)
    note = " ".join(part for part in (side, found.note) if part)
    return Carried(found.index, mask, round(found.confidence, 4), note, found.prior, found.prompts, room)


def _kept(done: int) -> str:
    return f"{done} further slice{' was' if done == 1 else 's were'} done and kept."


def _where(done: int) -> str:
    return f"{done} further slice{'' if done == 1 else 's'}." if done else "No other slice shows the target."
