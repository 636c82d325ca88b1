"""``Session``: everything done on one scan, as a fold over events. Objects, their overlaps, the episodes.

Labels are not kept as an array: ``patches`` lists which slice of which object holds which voxels, and
``labels_of`` draws them. That keeps states small enough to keep all of them (``history``).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_ibisagent.core import episode as episodes
from napari_ibisagent.core.episode import Episode, EpisodeEvent, PackedMask, Prompted
from napari_ibisagent.core.errors import OverlapError, StateError
from napari_ibisagent.core.masks import Mask
from napari_ibisagent.core.view import AXES, Plane, slice_of

# Colours for new objects (Okabe and Ito's palette, told apart with colour-blind eyes), then again from the start.
PALETTE = ("#e69f00", "#56b4e9", "#009e73", "#f0e442", "#0072b2", "#d55e00", "#cc79a7")


class OverlapRule(StrEnum):
    """What a new mask does to the voxels of other objects. Locked objects are always kept."""

    OVERWRITE = "overwrite"
    KEEP = "keep"
    FORBID = "forbid"


@dataclass(frozen=True, slots=True)
class ScanRef:
    """Which scan a session is about: enough to find it again and to know it again.

    ``digest`` is a checksum of its voxels and grid; ``path`` is where it lay. ``series`` and ``frame`` are
    what was chosen from it; ``modality`` is what it was taken for, which tools may go by.
    """

    path: str
    name: str
    shape: tuple[int, ...]
    digest: str
    series: str | None = None
    frame: int | None = None
    modality: str = ""


@dataclass(frozen=True, slots=True)
class SegmentedObject:
    """An object of the table: its label ``value`` (from 1), name, colour (#rrggbb), lock and visibility."""

    value: int
    name: str
    colour: str
    locked: bool = False
    visible: bool = True


@dataclass(frozen=True, slots=True)
class Patch:
    """The voxels (rows, columns) of one object on one slice; they replace what it had on that slice.

    ``carried``: the mask came there from another slice, and nobody worked on this one.
    """

    value: int
    plane: Plane
    index: int
    mask: PackedMask
    carried: bool = False


@dataclass(frozen=True, slots=True)
class Erased:
    """All voxels of an object are taken away."""

    value: int


@dataclass(frozen=True, slots=True)
class Opened:
    """The first event: the scan, and the policy and tool in use."""

    scan: ScanRef
    policy: str
    segmenter: str


@dataclass(frozen=True, slots=True)
class Consented:
    """Whether the session may be used for training: a person's word on all of it, also on what was done before."""

    given: bool


@dataclass(frozen=True, slots=True)
class ObjectAdded:
    """A new object; its value must be free."""

    value: int
    name: str
    colour: str


@dataclass(frozen=True, slots=True)
class ObjectChanged:
    """An object's name, colour, lock or visibility, as a whole new row of the table."""

    row: SegmentedObject


@dataclass(frozen=True, slots=True)
class ObjectRemoved:
    """An object and its voxels are taken away."""

    value: int


@dataclass(frozen=True, slots=True)
class RuleChanged:
    """Another overlap rule, from now on."""

    rule: OverlapRule


@dataclass(frozen=True, slots=True)
class Committed:
    """A mask becomes an object's voxels on a slice; the patch holds what ``resolve_overlap`` left of it.

    ``added`` is the object's row where it is new: one thing that a user does is one event, and one undo.
    ``episode`` (from 0) says whose mask it is. ``more``: the slices that the mask was carried to.
    """

    patch: Patch
    added: SegmentedObject | None = None
    episode: int | None = None
    more: tuple[Patch, ...] = ()


SessionEvent = Opened | Consented | ObjectAdded | ObjectChanged | ObjectRemoved | RuleChanged | Committed | EpisodeEvent


@dataclass(frozen=True, slots=True)
class Session:
    """Everything done on one scan. The last episode is the current one.

    ``consent``: whether it may be used for training; None: nobody was asked.
    """

    scan: ScanRef | None = None
    policy: str = ""
    segmenter: str = ""
    objects: tuple[SegmentedObject, ...] = ()
    rule: OverlapRule = OverlapRule.KEEP
    patches: tuple[Patch | Erased, ...] = ()
    episodes: tuple[Episode, ...] = ()
    consent: bool | None = None

    @property
    def episode(self) -> Episode | None:
        """The current episode, or None before the first prompt."""
        return self.episodes[-1] if self.episodes else None

    def object_of(self, value: int) -> SegmentedObject:
        """The object with that label value; StateError when there is none."""
        for row in self.objects:
            if row.value == value:
                return row
        raise StateError(f"There is no object with the label value {value}.")

    def patches_of(self, value: int) -> tuple[Patch, ...]:
        """The patches of an object since it was last erased, in order; a later one replaces those of its slice."""
        found: list[Patch] = []
        for patch in self.patches:
            if patch.value == value:
                found = [] if isinstance(patch, Erased) else [*found, patch]
        return tuple(found)

    def free_value(self) -> int:
        """The smallest label value from 1 that no object has."""
        used = {row.value for row in self.objects}
        return next(n for n in range(1, len(used) + 2) if n not in used)


def advance(session: Session, event: SessionEvent) -> Session:
    """The session after an event. Raises StateError when the event can't follow."""
    match event:
        case Opened(scan, policy, segmenter):
            return replace(session, scan=scan, policy=policy, segmenter=segmenter)
        case Consented(given):
            return replace(session, consent=given)
        case ObjectAdded(value, name, colour):
            return _with_object(session, SegmentedObject(value, name, colour))
        case ObjectChanged(row):
            session.object_of(row.value)
            return replace(session, objects=tuple(row if o.value == row.value else o for o in session.objects))
        case ObjectRemoved(value):
            session.object_of(value)
            return replace(
                session,
                objects=tuple(o for o in session.objects if o.value != value),
                patches=(*session.patches, Erased(value)),
                episodes=tuple(_no_longer(e, value) for e in session.episodes),
            )
        case RuleChanged(rule):
            return replace(session, rule=rule)
        case Committed(patch, added, episode, more):
            after = session if added is None else _with_object(session, added)
            after.object_of(patch.value)
            if any(other.value != patch.value for other in more):
                raise StateError("The slices of one mask belong to one object.")
            patches = (*after.patches, patch, *more)
            return replace(after, patches=patches, episodes=_kept(after.episodes, episode, patch.value))
        case Prompted():
            return replace(session, episodes=(*session.episodes, episodes.begin(event)))
        case _:
            if session.episode is None:
                raise StateError("There is no episode yet: a prompt has to come first.")
            current = episodes.advance(session.episode, event)
            return replace(session, episodes=(*session.episodes[:-1], current))


def _kept(known: tuple[Episode, ...], number: int | None, value: int) -> tuple[Episode, ...]:
    """The episodes once the mask of one of them is an object."""
    if number is None:
        return known
    if not 0 <= number < len(known):
        raise StateError(f"There is no prompt {number + 1} to keep a mask of.")
    return (*known[:number], replace(known[number], kept_as=value), *known[number + 1 :])


def _no_longer(episode: Episode, value: int) -> Episode:
    """An episode once an object is gone: its value may be given to another one, which these masks then are not."""
    if episode.kept_as == value:
        episode = replace(episode, kept_as=None)
    if episode.carrying is not None and episode.carrying.into == value:
        episode = replace(episode, carrying=replace(episode.carrying, into=None))
    return episode


def _with_object(session: Session, row: SegmentedObject) -> Session:
    if any(known.value == row.value for known in session.objects):
        raise StateError(f"The label value {row.value} is taken.")
    return replace(session, objects=(*session.objects, row))


def resolve_overlap(labels: NDArray[Any], mask: Mask, value: int, session: Session) -> Mask:
    """What of ``mask`` the object may take, by the session's rule and the locks.

    labels, mask: (rows, columns) of one slice. Raises OverlapError under *forbid* when it meets others.
    """
    locked = [row.value for row in session.objects if row.locked and row.value != value]
    if session.object_of(value).locked:
        raise OverlapError(f"{session.object_of(value).name} is locked. Unlock it to change it.")
    others = (labels != 0) & (labels != value)
    if session.rule is OverlapRule.OVERWRITE:
        return np.asarray(mask & ~np.isin(labels, locked))
    if session.rule is OverlapRule.FORBID and np.any(mask & others):
        met = ", ".join(session.object_of(int(v)).name for v in np.unique(labels[mask & others]))
        raise OverlapError(f"The mask would cover voxels of {met}. Choose another overlap rule, or correct it.")
    return np.asarray(mask & ~others)


def draw_patch(labels: NDArray[Any], patch: Patch | Erased) -> None:
    """Draws one patch into labels (Z, Y, X), in place."""
    if isinstance(patch, Erased):
        labels[labels == patch.value] = 0
        return
    region = slice_of(labels, patch.plane, patch.index)
    region[region == patch.value] = 0
    region[patch.mask.array()] = patch.value


def labels_of(session: Session, shape: tuple[int, int, int]) -> NDArray[Any]:
    """The labels (Z, Y, X) of a session, as uint8 where that is enough, else uint16."""
    most = max((patch.value for patch in session.patches), default=0)
    labels = np.zeros(shape, np.uint8 if most < 256 else np.uint16)
    drawn: dict[int, list[Patch]] = {}
    for patch in session.patches:
        if isinstance(patch, Patch):
            draw_patch(labels, patch)
            drawn.setdefault(patch.value, []).append(patch)
            continue
        # A pass over the whole volume would touch memory that is still empty, and take 50 ms and more.
        for known in drawn.pop(patch.value, ()):
            draw_patch(slice_of(labels, known.plane, known.index), patch)
    return labels


def labels_in_slice(session: Session, shape: tuple[int, int, int], plane: Plane, index: int) -> NDArray[Any]:
    """The labels (rows, columns) of one slice; the whole volume is drawn only where planes are mixed."""
    if any(isinstance(patch, Patch) and patch.plane is not plane for patch in session.patches):
        return slice_of(labels_of(session, shape), plane, index)
    _, row_axis, column_axis = AXES[plane]
    labels = np.zeros((shape[row_axis], shape[column_axis]), np.uint16)
    for patch in session.patches:
        if isinstance(patch, Erased):
            labels[labels == patch.value] = 0
        elif patch.index == index:
            labels[labels == patch.value] = 0
            labels[patch.mask.array()] = patch.value
    return labels
