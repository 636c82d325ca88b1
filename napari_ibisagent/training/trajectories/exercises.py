"""``Exercise``: a picture, what is asked of it, and the truth. From manifests, from pairs of image and mask.

Of a volume the slices with enough of the target are taken, spread over its length; views are shrunk to a bounded side.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from napari_ibisagent.core.errors import InputError
from napari_ibisagent.core.masks import Mask, bounding_box
from napari_ibisagent.core.packed import PackedMask
from napari_ibisagent.core.view import AXES, Plane, View, slice_of, view_of
from napari_ibisagent.core.volume import Volume
from napari_ibisagent.core.window import Window, default_window
from napari_ibisagent.evaluation.clicking import shrunk
from napari_ibisagent.evaluation.manifest import Case, Task, read_manifest
from napari_ibisagent.evaluation.runner import Skipped, read_tasks
from napari_ibisagent.training.trajectories.form import Source

# A slice shows enough of a target from this share of the slice with most of it.
_ENOUGH = 0.25
# What a target is mistaken for besides the other targets: its mirror image.
_OTHER_SIDE = "the other side"


_NO_SOURCE = Source()


@dataclass(frozen=True, eq=False, slots=True)
class Exercise:
    """What is played once.

    truth: (H, W) of the view; empty: what is asked for isn't there. wrong: masks (H, W) of other things on the picture,
    which a wrong turn may take for the target. answer: for a plain question, what is said without segmenting. given:
    the mask that an agent finds on the picture.
    """

    name: str
    view: View
    truth: Mask
    target: str
    prompt: str
    window: Window | None = None
    source: Source = _NO_SOURCE
    kind: str = "referring"
    wrong: Mapping[str, Mask] = field(default_factory=dict)
    answer: str = ""
    given: PackedMask | None = None


class Unit(Protocol):
    """Some exercises that one process makes and plays; it travels to the process, its pictures don't."""

    @property
    def name(self) -> str:
        """Its name, the same in every run."""
        ...

    def exercises(self) -> Iterator[Exercise | Skipped]:
        """The exercises, in the same order in every run."""
        ...


@dataclass(frozen=True, slots=True)
class Slices:
    """Which slices are taken: so many a target at most, of which planes, in views of at most ``longest`` pixels."""

    count: int = 3
    planes: tuple[Plane, ...] = (Plane.AXIAL,)
    longest: int = 512


@dataclass(frozen=True, slots=True)
class CaseUnit:
    """The exercises of one case of a manifest: each task with each of its prompts."""

    case: Case
    slices: Slices
    window: Window | None = None

    @property
    def name(self) -> str:
        """The case's."""
        return self.case.name

    def exercises(self) -> Iterator[Exercise | Skipped]:
        """Each task's slices, with its referring and its reasoning prompt."""
        truths: list[tuple[Task, _Truth]] = []
        scan: Volume | None = None
        for item in read_tasks([self.case]):
            if isinstance(item, Skipped):
                yield item
                continue
            _, task, scan, truth = item
            if truth.any():
                truths.append((task, _Truth.of(truth)))
            else:
                yield Skipped(self.case.name, task.target, "its mask is empty")
        if scan is None:
            return
        for task, whole in truths:
            others = [(other.target, one) for other, one in truths if other is not task]
            for plane in self.slices.planes:
                for index in chosen_slices(whole.areas(plane), self.slices.count):
                    yield from self._asked(task, scan, plane, index, whole, others)

    def _asked(
        self,
        task: Task,
        scan: Volume,
        plane: Plane,
        index: int,
        whole: _Truth,
        others: Sequence[tuple[str, _Truth]],
    ) -> Iterator[Exercise]:
        stored = view_of(scan, plane, index)
        view, mask = shrunk(stored, stored.from_native(whole.slice(plane, index)), self.slices.longest)
        if not mask.any():
            return  # too small to be seen in the smaller view
        mistaken = {_OTHER_SIDE: mask[:, ::-1] & ~mask}
        for name, other in others:
            mistaken[name] = shrunk(stored, stored.from_native(other.slice(plane, index)), self.slices.longest)[1]
        mistaken = {name: found for name, found in mistaken.items() if found.any()}
        window = None if view.image.ndim == 3 else self.window or default_window(view.image, view.modality)
        source = Source(
            image=str(self.case.image or ""),
            mask=str(task.mask),
            value=task.value if isinstance(task.value, int) else None,
            modality=scan.modality,
            plane=plane.value,
            index=index,
            window=None if window is None else (window.level, window.width),
        )
        prompts = {"referring": task.prompt, "reasoning": task.reasoning_prompt}
        for kind, prompt in prompts.items():
            if prompt:
                name = f"{self.case.name}/{task.target}/{plane.value}-{index}/{kind}"
                yield Exercise(name, view, mask, task.target, prompt, window, source, kind, mistaken)


@dataclass(frozen=True, eq=False, slots=True)
class _Truth:
    """A truth (Z, Y, X) as what its bounding box holds: a case may have a hundred of them."""

    shape: tuple[int, ...]
    bounds: tuple[slice, ...]
    part: Mask

    @staticmethod
    def of(truth: Mask) -> _Truth:
        bounds = bounding_box(truth) or ()
        return _Truth(truth.shape, bounds, truth[bounds].copy())

    def slice(self, plane: Plane, index: int) -> Mask:
        """(rows, columns) of one slice."""
        sliced, rows, columns = AXES[plane]
        found = np.zeros((self.shape[rows], self.shape[columns]), bool)
        at = self.bounds[sliced]
        if at.start <= index < at.stop:
            found[self.bounds[rows], self.bounds[columns]] = slice_of(self.part, plane, index - at.start)
        return found

    def areas(self, plane: Plane) -> NDArray[np.int64]:
        """How many voxels each slice shows."""
        axis = AXES[plane][0]
        found = np.zeros(self.shape[axis], np.int64)
        found[self.bounds[axis]] = self.part.sum(axis=tuple(a for a in range(3) if a != axis))
        return found


def chosen_slices(areas: NDArray[np.int64], count: int) -> tuple[int, ...]:
    """At most ``count`` slices that show enough of a target, spread evenly, the fullest among them.

    areas: how many voxels of it each slice shows.
    """
    if not areas.any():
        return ()
    enough = np.flatnonzero(areas >= max(1, _ENOUGH * areas.max()))
    fullest = int(areas.argmax())
    if len(enough) <= count:
        return tuple(int(n) for n in enough)
    # The middles of equal parts; the one nearest to the fullest slice gives way to it.
    places = ((np.arange(count) + 0.5) * len(enough) / count).astype(int)
    picked = enough[places]
    picked[int(np.abs(picked - fullest).argmin())] = fullest
    return tuple(sorted({int(n) for n in picked}))


def planes_of(name: str) -> tuple[Plane, ...]:
    """The planes of that name; "all" of them."""
    return tuple(Plane) if name == "all" else (Plane(name),)


def cases_of(inputs: Sequence[Path], target: str = "", prompt: str = "") -> tuple[Case, ...]:
    """The cases of a manifest, or one of an image and the masks of its targets. Raises InputError."""
    if len(inputs) == 1:
        if inputs[0].suffix != ".json":
            raise InputError(f"Of {inputs[0]} there is no mask. Give the image, and after it the masks of its targets.")
        return read_manifest(inputs[0])
    image, *masks = inputs
    for path in inputs:
        if not path.exists():
            raise InputError(f"There is no file {path}. Correct the path.")
    tasks = tuple(
        Task(target or _named(mask), mask, "nonzero", prompt or f"segment the {target or _named(mask)}", None)
        for mask in masks
    )
    return (Case(_named(image), image, "", tasks, None),)


def _named(path: Path) -> str:
    """A file's name as words: ``left_kidney.nii.gz`` is the left kidney."""
    return path.name.split(".")[0].replace("_", " ").replace("-", " ").strip()
