"""One step with every backend that can run here: does it load, does it answer, how long does it take?"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass

from napari_ibisagent import registry
from napari_ibisagent.core.actions import Click
from napari_ibisagent.core.dialects import dialect
from napari_ibisagent.core.episode import Prompted, begin
from napari_ibisagent.core.errors import IbisError
from napari_ibisagent.core.overlay import PRESETS, draw_mask, grey_picture
from napari_ibisagent.core.protocols import Policy, Segmenter, Situation
from napari_ibisagent.core.view import Plane, view_of
from napari_ibisagent.core.window import default_window
from napari_ibisagent.evaluation.phantom import make_phantom


@dataclass(frozen=True, slots=True)
class Smoke:
    """What came of one backend: whether it answered, in how many seconds after loading, and in words."""

    kind: registry.Kind
    name: str
    works: bool
    seconds: float
    words: str


def smoke() -> Iterator[Smoke]:
    """Tries all backends that can run here, on a slice of the phantom."""
    scene = make_phantom(0, (6.0, 3.0, 3.0))
    view = view_of(scene.volume, Plane.AXIAL, scene.volume.shape[0] // 2)
    picture = grey_picture(view.image, default_window(view.image, view.modality))
    situation = Situation(
        begin(Prompted("segment the liver", Plane.AXIAL, view.index, view.shape)),
        scene.volume,
        view,
        lambda mask: draw_mask(picture, None if mask is None else mask.array(), PRESETS["ibis"]),
    )
    kinds: tuple[registry.Kind, ...] = ("policies", "segmenters")
    for kind in kinds:
        for name in registry.choices(kind):
            if registry.why_not(kind, name) is None:
                yield _tried(kind, name, situation)


def _tried(kind: registry.Kind, name: str, situation: Situation) -> Smoke:
    started = time.perf_counter()
    try:
        backend = registry.load(kind, name)
        started = time.perf_counter()
        words = _turn(backend, situation) if kind == "policies" else _click(backend, situation)
    except IbisError as error:
        return Smoke(kind, name, False, time.perf_counter() - started, str(error))
    return Smoke(kind, name, True, time.perf_counter() - started, words)


def _turn(policy: Policy, situation: Situation) -> str:
    turn = dialect(policy.dialect).parse("".join(policy.act(situation)))
    return f"it answers: {', '.join(type(action).__name__.lower() for action in turn.actions)}"


def _click(tool: Segmenter, situation: Situation) -> str:
    found = tool.open(situation.view).segment([Click(0.3, 0.5, True)], None)
    return f"a click marks {int(found.mask.sum())} pixels"
