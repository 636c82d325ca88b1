"""The end of an episode: its mask becomes an object, and the user hears what there is to be warned of."""

from __future__ import annotations

from dataclasses import replace

from napari_ibisagent.agent.checks import quality_warnings, side_warning
from napari_ibisagent.core.episode import Episode, Outcome, PackedMask
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


def committing(session: Session, volume: Volume, view: View) -> Committed | None:
    """The event that makes the mask on the table a new object, or None where there is no mask.

    Raises OverlapError where the overlap rule forbids it.
    """
    episode = session.episode
    mask = None if episode is None else view.to_native(episode.mask_array())
    if episode is None or mask is None or not mask.any():
        return None
    value = session.free_value()
    name = episode.target.full_name if episode.target else episode.prompt.strip()[:60]
    row = SegmentedObject(value, name, PALETTE[(value - 1) % len(PALETTE)])
    labels = labels_in_slice(session, volume.shape, view.plane, view.index)
    kept = resolve_overlap(labels, mask, value, replace(session, objects=(*session.objects, row)))
    return Committed(Patch(value, view.plane, view.index, PackedMask.of(kept)), row)


def warnings_of(episode: Episode, volume: Volume, view: View) -> tuple[str, ...]:
    """A wrong side, an agent that is unsure or was stopped: sentences that the user should see."""
    found = quality_warnings(episode)
    if episode.outcome in (Outcome.DONE, Outcome.STEP_LIMIT):
        side = side_warning(volume, view, view.to_native(episode.mask_array()), episode.target)
        found += [side] if side else []
    return tuple(found)
