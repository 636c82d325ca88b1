"""The end of an episode: its mask becomes an object, and the user hears what there is to be warned of."""

from __future__ import annotations

from dataclasses import replace
from itertools import count

import numpy as np

from napari_ibisagent.agent.carry import whole_mask
from napari_ibisagent.agent.checks import carrying_warnings, in_words, quality_warnings, side_warning
from napari_ibisagent.core.carrying import Carrying
from napari_ibisagent.core.episode import Episode, Outcome, PackedMask
from napari_ibisagent.core.errors import OverlapError, StateError
from napari_ibisagent.core.session import (
    PALETTE,
    Committed,
    Patch,
    SegmentedObject,
    Session,
    labels_in_slice,
    resolve_overlap,
)
from napari_ibisagent.core.view import View, view_of
from napari_ibisagent.core.volume import Volume

# What is called so was begun by a person without a word.
BY_HAND = "Outlined by hand"


def committing(
    session: Session, volume: Volume, view: View, *, number: int = -1, into: int | None = None
) -> Committed | None:
    """The event that makes an episode's mask an object, or None where there is no mask.

    A mask that was erased to nothing takes the object's voxels on that slice away.
    ``number`` says which episode (from 0; -1: the current one). ``into`` is the label value of the object whose
    voxels on that slice it replaces; None: a new object. The slices that the mask was carried to come along, but for
    those where somebody has worked on the object already.
    Raises OverlapError where the overlap rule or a lock forbids it, StateError where there is no such episode.
    """
    if not session.episodes:
        return None
    known = len(session.episodes)
    if not -known <= number < known:
        raise StateError(f"There is no prompt {number + 1} to keep a mask of.")
    number %= known
    episode = session.episodes[number]
    mask = view.to_native(episode.mask_array())
    if not mask.any() and (into is None or not _emptied(session, episode, into)):
        return None
    row = None if into is not None else _new_row(session, name_of(episode))
    value = row.value if row is not None else session.object_of(into or 0).value
    after = session if row is None else replace(session, objects=(*session.objects, row))
    labels = labels_in_slice(session, volume.shape, view.plane, view.index)
    kept = resolve_overlap(labels, mask, value, after)
    more = _further(after, volume, episode, value)
    if mask.any() and not kept.any() and not any(patch.mask.array().any() for patch in more):
        raise OverlapError(
            "Other objects hold every voxel of the mask already. Choose another overlap rule to keep it."
        )
    return Committed(Patch(value, view.plane, view.index, PackedMask.of(kept)), row, number, more)


def _further(session: Session, volume: Volume, episode: Episode, value: int) -> tuple[Patch, ...]:
    """The patches of the slices that an episode's mask was carried to, in the order of the slices."""
    if episode.carrying is None:
        return ()
    worked_on = worked_on_by_hand(session, episode, value)
    found = []
    for done in sorted(episode.carrying.slices, key=lambda done: done.index):
        if done.index in worked_on:
            continue
        mask = view_of(volume, episode.plane, done.index).to_native(done.mask.array())
        labels = labels_in_slice(session, volume.shape, episode.plane, done.index)
        kept = resolve_overlap(labels, mask, value, session)
        found.append(Patch(value, episode.plane, done.index, PackedMask.of(kept), carried=True))
    return tuple(found)


def worked_on_by_hand(session: Session, episode: Episode, value: int) -> frozenset[int]:
    """The slices of the episode's plane, but for its own, that an object got by more than carrying."""
    last = {p.index: p.carried for p in session.patches_of(value) if p.plane is episode.plane}
    return frozenset(index for index, carried in last.items() if not carried and index != episode.index)


def lost_in_keeping(before: Session, after: Session, episode: Episode, volume: Volume, value: int) -> str:
    """What of an episode's mask didn't become its object's, in words: to other objects, or to what was there by hand.

    ``before`` and ``after`` are the sessions round the ``Committed``; nothing where all of the mask did.
    """
    there = worked_on_by_hand(before, episode, value)
    patches = [p for p in after.patches[len(before.patches) :] if isinstance(p, Patch)]
    kept = sum(int(np.count_nonzero(patch.mask.array())) for patch in patches)
    whole = whole_mask(replace(episode, carrying=_without(episode, there)), volume)
    wanted = int(np.count_nonzero(whole))
    skipped = [] if episode.carrying is None else sorted(there & {done.index for done in episode.carrying.slices})
    found = []
    if kept < wanted:
        found.append(f"{wanted - kept} of its {wanted} voxels stay with other objects, by the overlap rule.")
    if skipped:
        found.append(f"what you made of {in_words(skipped)} stays as it is.")
    return " ".join(found)


def _without(episode: Episode, indices: frozenset[int]) -> Carrying | None:
    """What was carried, without some slices."""
    carrying = episode.carrying
    rest = () if carrying is None else tuple(done for done in carrying.slices if done.index not in indices)
    return None if carrying is None else replace(carrying, slices=rest)


def _emptied(session: Session, episode: Episode, value: int) -> bool:
    """Whether a person erased all of an object's mask on a slice where it has voxels."""
    on_it = [p for p in session.patches_of(value) if (p.plane, p.index) == (episode.plane, episode.index)]
    return episode.given is not None and episode.mask != episode.given and bool(on_it)


def name_of(episode: Episode) -> str:
    """What an object made of this episode is called."""
    return episode.target.full_name if episode.target else _plain(episode.prompt) or BY_HAND


def home_of(session: Session, episode: Episode) -> SegmentedObject | None:
    """The object of that name, where there is one already: another slice of the same thing.

    Among several of that name it is one that has voxels on the episode's slice.
    """
    if not episode.prompt:
        return None  # a person began by hand: what it is part of, nobody has said
    name, place = _plain(name_of(episode)), (episode.plane, episode.index)
    known = [row for row in session.objects if _plain(row.name) == name]
    here = (row for row in known if any((p.plane, p.index) == place for p in session.patches_of(row.value)))
    return next(here, known[0] if known else None)


def _plain(text: str) -> str:
    """A text as a name: on one line, and not too long."""
    return " ".join(text.split())[:60]


def _new_row(session: Session, name: str) -> SegmentedObject:
    value, taken = session.free_value(), {row.name for row in session.objects}
    if name == BY_HAND and name in taken:
        name = next(numbered for n in count(2) if (numbered := f"{BY_HAND} {n}") not in taken)
    return SegmentedObject(value, name, PALETTE[(value - 1) % len(PALETTE)])


def warnings_of(episode: Episode, volume: Volume, view: View) -> tuple[str, ...]:
    """A wrong side, an agent that is unsure or was stopped: sentences that the user should see."""
    found = quality_warnings(episode)
    if episode.outcome in (Outcome.DONE, Outcome.STEP_LIMIT):
        side = side_warning(volume, view, view.to_native(episode.mask_array()), episode.target)
        found += [side] if side else []
    found += carrying_warnings(episode)
    return tuple(found)
