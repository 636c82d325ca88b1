"""``CaseUnit``: the exercises of one scan with its targets, from a manifest or from an image and its masks.

Of a volume the slices with enough of the target are taken, spread over its length; views are shrunk to a bounded side.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from napari_ibisagent.core.errors import InputError
from napari_ibisagent.core.masks import Mask, iou
from napari_ibisagent.core.view import AXES, Plane, View, view_of
from napari_ibisagent.core.volume import Volume
from napari_ibisagent.core.window import Window, default_window
from napari_ibisagent.evaluation.clicking import shrunk_mask, shrunk_view
from napari_ibisagent.evaluation.manifest import Case, Task, read_manifest
from napari_ibisagent.evaluation.runner import Skipped, read_tasks
from napari_ibisagent.io.knowledge import load_knowledge
from napari_ibisagent.io.names import split_name
from napari_ibisagent.training.trajectories.asking import Asking, kind_of_picture, phrasings
from napari_ibisagent.training.trajectories.exercises import Exercise, Item, LeftOut
from napari_ibisagent.training.trajectories.form import Source
from napari_ibisagent.training.trajectories.truths import Truth, chosen_slices, planes_shown
from napari_ibisagent.training.words.absence import absent
from napari_ibisagent.training.words.plain import plain
from napari_ibisagent.training.words.questions import referring

# What a target is mistaken for besides the other targets: its mirror image, where the two are apart.
_OTHER_SIDE, _APART = "the other side", 0.1
# From this IoU on another target is much the same thing under another name.
_SAME = 0.5
# A view that is narrower shows nothing that could be told apart.
_LEAST_SIDE = 16
EMPTY = "its mask is empty"
TINY, NARROW = "too small to be seen in its view", "too narrow a view"
UNSURE = "nothing is known that its slice surely doesn't show"


@dataclass(frozen=True, slots=True)
class Slices:
    """Which slices are taken: so many a target at most, of which planes, in views of at most ``longest`` pixels."""

    count: int = 3
    planes: tuple[Plane, ...] = (Plane.AXIAL,)
    longest: int = 512


@dataclass(frozen=True, slots=True)
class CaseUnit:
    """The exercises of one case: each task on each of its slices, with each of its prompts; then what else is asked."""

    case: Case
    slices: Slices
    window: Window | None = None
    asking: Asking = field(default_factory=Asking)

    @property
    def name(self) -> str:
        """The case's."""
        return self.case.name

    def exercises(self) -> Iterator[Item]:
        """The exercises, in the same order in every run. A name that comes a second time gets a number."""
        taken: Counter[str] = Counter()
        for item in self._exercises():
            if not isinstance(item, Exercise):
                yield item
                continue
            taken[item.name] += 1
            again = taken[item.name]
            yield item if again == 1 else replace(item, name=f"{item.name}-{again}")

    def _exercises(self) -> Iterator[Item]:
        shown: list[tuple[Task, Truth]] = []
        missing: list[str] = []
        scan: Volume | None = None
        for item in read_tasks([self.case]):
            if isinstance(item, Skipped):
                yield item
                continue
            _, task, scan, truth = item
            if truth.any():
                shown.append((task, Truth.of(truth)))
            else:
                missing.append(task.target)
                if not self.asking.absent:  # else it may be asked for as what isn't there
                    yield Skipped(self.case.name, task.target, EMPTY)
        if scan is None:
            return
        desk = _Desk(self, scan, shown, missing)
        for task, whole in shown:
            for plane in planes_shown(scan.shape, self.slices.planes):
                for index in chosen_slices(whole.areas(plane), self.slices.count):
                    yield from desk.asked(task, whole, plane, index)
        yield from desk.further()


class _Desk:
    """A scan that has been read, with all that is known of it."""

    def __init__(self, unit: CaseUnit, scan: Volume, shown: Sequence[tuple[Task, Truth]], missing: list[str]) -> None:
        self._unit, self._scan, self._shown, self._missing = unit, scan, shown, missing
        # Where something was asked for, each place once.
        self._places: dict[tuple[Plane, int], None] = {}

    def asked(self, task: Task, whole: Truth, plane: Plane, index: int) -> Iterator[Item]:
        """A target on a slice, in all the sentences that ask for it."""
        case, asking = self._unit.case, self._unit.asking
        base = f"{task.target}/{plane.value}-{index}"
        stored = view_of(self._scan, plane, index)
        view = shrunk_view(stored, self._unit.slices.longest)
        if min(view.shape) < _LEAST_SIDE:
            yield LeftOut(f"{case.name}/{base}", NARROW)
            return
        truth = self._truth(whole, stored, view)
        if truth is None:
            yield LeftOut(f"{case.name}/{base}", TINY)
            return
        self._places[plane, index] = None
        window, source, wrong = self._window(view), self._source(view, task), self._mistaken(task, truth, stored, view)
        own = {"referring": task.prompt, "reasoning": task.reasoning_prompt}
        sentences = [(kind, kind, prompt) for kind, prompt in own.items() if prompt]
        more = phrasings(task.target, asking.words, load_knowledge(), asking.rng(f"{case.name}/{base}"))
        sentences += [(kind, f"{kind}-words-{number}", prompt) for number, (kind, prompt) in enumerate(more, 1)]
        for kind, name, prompt in sentences:
            yield Exercise(f"{case.name}/{base}/{name}", view, truth, task.target, prompt, window, source, kind, wrong)

    def further(self) -> Iterator[Item]:
        """What isn't there, and plain questions."""
        name, asking, places = self._unit.case.name, self._unit.asking, list(self._places) or [self._middle()]
        for number in range(1, asking.absent + 1):
            rng = asking.rng(f"{name}/absent-{number}")
            view = self._view(*places[int(rng.integers(len(places)))])
            target = self._absent(view, rng)
            if target is None:
                yield LeftOut(f"{name}/absent-{number}", UNSURE)
                continue
            yield self._without(f"absent-{number}", view, target, referring(target, rng), "absent")
        for number in range(1, asking.plain + 1):
            rng = asking.rng(f"{name}/plain-{number}")
            question, answer = plain(load_knowledge(), rng)
            view = self._view(*places[int(rng.integers(len(places)))])
            yield self._without(f"plain-{number}", view, "", question, "plain", answer)

    def _absent(self, view: View, rng: np.random.Generator) -> str | None:
        """A target that isn't on a slice; those whose masks leave it empty are known not to be."""
        on = {task.target for task, whole in self._shown if whole.slice(view.plane, view.index) is not None}
        off = {task.target for task, _ in self._shown if task.target not in on} | set(self._missing)
        kind = kind_of_picture(self._scan.modality, self._unit.case.modality)
        # Of a single picture nobody says how it lies in the body.
        across = view.plane is Plane.AXIAL and self._scan.shape[0] > 1
        return absent(on, off, kind, load_knowledge(), rng, across=across)

    def _without(self, name: str, view: View, target: str, prompt: str, kind: str, answer: str = "") -> Exercise:
        full, nothing = f"{self._unit.case.name}/{name}", np.zeros(view.shape, bool)
        source = self._source(view, None)
        return Exercise(full, view, nothing, target, prompt, self._window(view), source, kind, answer=answer)

    def _mistaken(self, task: Task, truth: Mask, stored: View, view: View) -> Mapping[str, Mask]:
        """What else is on the view, without what is much the same thing."""
        mirrored = truth[:, ::-1]
        found = {_OTHER_SIDE: mirrored & ~truth} if iou(mirrored, truth) < _APART else {}
        for other, whole in self._shown:
            mask = None if other is task else self._truth(whole, stored, view)
            if mask is not None and iou(mask, truth) < _SAME:
                found[other.target] = mask
        return found

    def _truth(self, whole: Truth, stored: View, view: View) -> Mask | None:
        """(H, W) of the view; None where nothing is to be seen."""
        native = whole.slice(stored.plane, stored.index)
        mask = None if native is None else shrunk_mask(stored.from_native(native), view.shape)
        return mask if mask is not None and mask.any() else None

    def _middle(self) -> tuple[Plane, int]:
        plane = planes_shown(self._scan.shape, self._unit.slices.planes)[0]
        return plane, self._scan.shape[AXES[plane][0]] // 2

    def _view(self, plane: Plane, index: int) -> View:
        return shrunk_view(view_of(self._scan, plane, index), self._unit.slices.longest)

    def _window(self, view: View) -> Window | None:
        return None if view.image.ndim == 3 else self._unit.window or default_window(view.image, view.modality)

    def _source(self, view: View, task: Task | None) -> Source:
        window = self._window(view)
        return Source(
            image=_written(self._unit.case.image or ""),
            mask="" if task is None else _written(task.mask),
            value=task.value if task is not None and isinstance(task.value, int) else None,
            modality=self._scan.modality,
            plane=view.plane.value,
            index=view.index,
            window=None if window is None else (float(window.level), float(window.width)),
        )


def planes_of(name: str) -> tuple[Plane, ...]:
    """The planes of that name; "all" of them."""
    return tuple(Plane) if name == "all" else (Plane(name),)


def cases_of(inputs: Sequence[Path], target: str = "", prompt: str = "") -> tuple[Case, ...]:
    """The cases of a manifest, or one of an image and the masks of its targets. Raises InputError."""
    if len(inputs) == 1:
        return _of_manifest(inputs[0], target or prompt)
    image, *masks = inputs
    for path in inputs:
        if not path.exists():
            raise InputError(f"There is no file {path}. Correct the path.")
    if (target or prompt) and len(masks) > 1:
        raise InputError("--target and --prompt go with one mask. Name several masks after what they show instead.")
    names = [target.strip() or _named(mask) for mask in masks]
    for name, mask in zip(names, masks, strict=True):
        if not name or names.count(name) > 1:
            what = f"Two masks are called {name!r}" if name else f"The name of {mask.name} says nothing"
            raise InputError(f"{what}. Name the masks after what they show, or give one mask and --target.")
    tasks = tuple(
        Task(name, mask, "nonzero", prompt.strip() or f"segment the {name}", None)
        for name, mask in zip(names, masks, strict=True)
    )
    return (Case(_named(image) or "scan", image, "", tasks, None),)


def _of_manifest(path: Path, said: str) -> tuple[Case, ...]:
    if path.suffix.lower() != ".json":
        raise InputError(f"Of {path} there is no mask. Give the image, and after it the masks of its targets.")
    if said:
        raise InputError("--target and --prompt go with an image and its mask; a manifest has its own.")
    cases = read_manifest(path)
    twice = next((name for name, count in Counter(case.name for case in cases).items() if count > 1), None)
    if twice is not None:
        raise InputError(f"Two cases of {path} have the id {twice!r}. Give each its own.")
    return cases


def _named(path: Path) -> str:
    """A file's name as words: ``left_kidney.nii.gz`` is the left kidney."""
    return " ".join(_written(split_name(path)[0]).replace("_", " ").replace("-", " ").split())


def _written(text: str | Path) -> str:
    """A path as text that any file can hold: names on a disk need not be text."""
    return str(text).encode("utf-8", "replace").decode()
