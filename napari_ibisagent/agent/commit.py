"""The end of an episode: its mask becomes an object, and the user hears what there is to be warned of."""

from __future__ import annotations

from dataclasses import replace
from itertools import count

from napari_ibisagent.agent.checks import quality_warnings, side_warning
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
from napari_ibisagent.core.view import View
from napari_ibisagent.core.volume import Volume

# What is called so was begun by a person without a word.
BY_HAND = "Outlined by hand"


def committing(
    session: Session, volume: Volume, view: View, *, number: int = -1, into: int | None = None
) -> Committed | None:
    """The event that makes an episode's mask an object, or None where there is no mask.

    A mask that was erased to nothing takes the object's voxels on that slice away.
    ``number`` says which episode (from 0; -1: the current one). ``into`` is the label value of the object whose
    voxels on that slice it replaces; None: a new object.
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
    if mask.any() and not kept.any():
        raise OverlapError(
            "Other objects hold every voxel of the mask already. Choose another overlap rule to keep it."
        )
    return Committed(Patch(value, view.plane, view.index, PackedMask.of(kept)), row, number)


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
    return tuple(found)
