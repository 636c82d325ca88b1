"""Learning and validation apart, by case: what comes from one scan lies on one side, so nothing is known by heart."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Sequence
from pathlib import PurePath

from napari_ibisagent.core.errors import InputError
from napari_ibisagent.training.corrections.export import scan_of
from napari_ibisagent.training.trajectories.form import Trajectory


def split(trajectories: Sequence[Trajectory], share: float, seed: int) -> tuple[list[Trajectory], list[Trajectory]]:
    """(to learn from, held out): whole cases, at least one of them, until ``share`` of the trajectories is reached.

    Which cases depends on the seed and on nothing else. Raises InputError where there is one case only.
    """
    if share <= 0:
        return list(trajectories), []
    cases = cases_of(trajectories)
    if len(cases) < 2:
        raise InputError("All trajectories are of one case, so none can be held out. Add others, or hold out none (0).")
    order = sorted(cases, key=lambda case: drawn(seed, min(t.name for t in case)))
    held: list[Trajectory] = []
    for case in order[:-1]:  # something has to be learned
        if held and len(held) + len(case) / 2 > share * len(trajectories):
            break
        held += case
    names = {id(trajectory) for trajectory in held}
    return [t for t in trajectories if id(t) not in names], [t for t in trajectories if id(t) in names]


def cases_of(trajectories: Sequence[Trajectory]) -> list[list[Trajectory]]:
    """The trajectories of each case, in order. Of one case are those of one image, of one scan of an export, or of one
    picture; and whoever shares a case with them."""
    leader: dict[str, str] = {}

    def first(mark: str) -> str:
        while (above := leader.setdefault(mark, mark)) != mark:
            mark = above
        return mark

    found = [tuple(_marks(trajectory)) for trajectory in trajectories]
    for marks in found:
        for mark in marks[1:]:
            leader[first(mark)] = first(marks[0])
    cases: dict[str, list[Trajectory]] = {}
    for trajectory, marks in zip(trajectories, found, strict=True):
        cases.setdefault(first(marks[0]), []).append(trajectory)
    return list(cases.values())


def _marks(trajectory: Trajectory) -> Iterator[str]:
    """What says where a trajectory comes from. Pictures are named by their content."""
    source = trajectory.source
    if source.image:
        yield f"image {os.path.normpath(source.image)}"
    if (scan := scan_of(trajectory.name)) is not None:
        yield f"scan {scan}"
    yield f"picture {PurePath(source.picture).name}" if source.picture else f"name {trajectory.name}"


def drawn(seed: int, name: str) -> bytes:
    """What names are ordered by, for an order that nothing but the seed decides."""
    return hashlib.blake2b(f"{seed} {name}".encode(), digest_size=8).digest()
