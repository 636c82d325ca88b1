"""``play_unit``: the exercises of a unit, played with a click tool; what became of each is a ``Made``.

Exercises on one view share it opened, and a tool that can open several views in one pass does so. Each exercise has its
own chance, drawn from the seed and its name, and views are always opened in the same company: so what is made doesn't
depend on where a run was stopped before.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from napari_ibisagent import registry
from napari_ibisagent.core.errors import BackendError
from napari_ibisagent.core.overlay import grey_picture
from napari_ibisagent.core.protocols import OpenedView, Segmenter
from napari_ibisagent.core.view import View
from napari_ibisagent.core.window import default_window
from napari_ibisagent.evaluation.runner import Skipped
from napari_ibisagent.training.trajectories.exercises import Exercise, Item, LeftOut, Unit
from napari_ibisagent.training.trajectories.filters import Filters, rejected
from napari_ibisagent.training.trajectories.form import Trajectory
from napari_ibisagent.training.trajectories.simulate import Recipe, sampled, simulate
from napari_ibisagent.training.trajectories.writing import grey_png

# So many views are opened in one pass, where the tool can do that (``open_many``).
_TOGETHER = 8


@dataclass(frozen=True, slots=True)
class Order:
    """How trajectories are made. segmenter: a name of the registry, with its options. pictures: write them as well."""

    recipe: Recipe = field(default_factory=Recipe)
    filters: Filters = field(default_factory=Filters)
    segmenter: str = registry.DEFAULT_SEGMENTER
    options: tuple[tuple[str, Any], ...] = ()
    seed: int = 0
    pictures: bool = True

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {**asdict(self), "options": dict(self.options)}

    def tool(self) -> Segmenter:
        """The click tool. Raises as ``registry.load``."""
        loaded: Segmenter = registry.load("segmenters", self.segmenter, **dict(self.options))
        return loaded


@dataclass(frozen=True, slots=True)
class Made:
    """What became of an exercise: a trajectory with its picture (PNG), or why there is none.

    failed: the tool failed, which says nothing about the exercise: it is to be tried again. unread: a scan or a mask
    can't be read, or holds nothing.
    """

    name: str
    trajectory: Trajectory | None
    picture: bytes | None
    reason: str = ""
    failed: bool = False
    unread: bool = False


def play_unit(
    unit: Unit,
    order: Order,
    tool: Segmenter,
    done: frozenset[str] = frozenset(),
    stopped: Callable[[], bool] = lambda: False,
) -> Iterator[Made]:
    """What becomes of each exercise of a unit that isn't done; ``stopped`` is asked between two of them."""
    many: Callable[[Sequence[View]], Sequence[OpenedView]] | None = getattr(tool, "open_many", None)
    for portion in _portions(unit.exercises(), _TOGETHER if many else 1):
        views = _Views(tool, many, [item for item in portion if isinstance(item, Exercise)])
        for item in portion:
            if stopped():
                return
            if isinstance(item, Skipped):
                yield Made(f"{item.case}/{item.target}".rstrip("/"), None, None, item.reason, unread=True)
            elif item.name in done:
                continue
            elif isinstance(item, LeftOut):
                yield Made(item.name, None, None, item.reason)
            else:
                yield _played(item, order, tool, views)


class _Views:
    """The views of some exercises, opened when the first of them is needed."""

    def __init__(
        self,
        tool: Segmenter,
        many: Callable[[Sequence[View]], Sequence[OpenedView]] | None,
        exercises: Sequence[Exercise],
    ) -> None:
        self._tool, self._many = tool, many
        # Plain questions and absent targets need no tool.
        self._views = list({id(e.view): e.view for e in exercises if e.truth.any() and not e.answer}.values())
        self._opened: dict[int, OpenedView] = {}

    def opened(self, view: View) -> OpenedView:
        """Raises BackendError."""
        if not self._opened:
            opened = [self._tool.open(one) for one in self._views] if self._many is None else self._many(self._views)
            self._opened = {id(one): found for one, found in zip(self._views, opened, strict=True)}
        return self._opened[id(view)]


def _portions(items: Iterator[Item], together: int) -> Iterator[list[Item]]:
    """The items in order, in portions of at most so many views."""
    portion: list[Item] = []
    views: set[int] = set()
    for item in items:
        if isinstance(item, Exercise) and id(item.view) not in views and len(views) == together:
            yield portion
            portion, views = [], set()
        portion.append(item)
        if isinstance(item, Exercise):
            views.add(id(item.view))
    if portion:
        yield portion


def _played(exercise: Exercise, order: Order, tool: Segmenter, views: _Views) -> Made:
    rng = np.random.default_rng([order.seed, zlib.crc32(exercise.name.encode())])
    plan = sampled(exercise, order.recipe, rng)
    try:
        trajectory = simulate(exercise, tool, order.recipe, plan, views.opened)
    except BackendError as error:
        return Made(exercise.name, None, None, str(error), failed=True)
    reason = rejected(trajectory, order.filters)
    if reason is not None:
        return Made(exercise.name, None, None, reason)
    view = exercise.view
    window = exercise.window or default_window(view.image, view.modality)
    picture = grey_png(grey_picture(view.image, window)) if order.pictures else None
    return Made(exercise.name, trajectory, picture)
