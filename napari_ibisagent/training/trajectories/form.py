"""``Trajectory``: an episode written out for training or exchange. One JSON object a line, versioned.

Masks are COCO run lengths, actions the ``ibis`` dialect's texts, so that other programs can read both. A step says
whether it is to be learned: a wrong turn that is taken back later stays in the story, and its words carry no loss.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from napari_ibisagent.core import coco_rle
from napari_ibisagent.core.actions import Turn
from napari_ibisagent.core.dialects import ibis
from napari_ibisagent.core.errors import DialectError, InputError
from napari_ibisagent.core.packed import PackedMask
from napari_ibisagent.training.trajectories.strict_values import flag, items, naming, size, text

VERSION = 1
# The story of an episode that a person had a hand in.
CORRECTED = "corrected"


@dataclass(frozen=True, slots=True)
class Source:
    """Where the picture and the truth come from.

    image, mask: files as they were given; value: the label's value in the mask, None for all that isn't zero. plane,
    index: the slice of the volume on its canonical grid. window: (level, width) in stored values, None for colour.
    picture: the windowed slice as PNG, relative to the trajectories' folder; empty where none was written.
    """

    image: str = ""
    mask: str = ""
    value: int | None = None
    modality: str = ""
    plane: str = "axial"
    index: int = 0
    window: tuple[float, float] | None = None
    picture: str = ""


@dataclass(frozen=True, slots=True)
class TrajectoryStep:
    """One turn and what came of it.

    mask: what the tool made of all prompts in force, as the next turn sees it. iou: of that with the truth, None where
    there is no truth. learn: whether the turn is an example to be followed.
    """

    turn: Turn
    mask: PackedMask | None = None
    iou: float | None = None
    learn: bool = True


@dataclass(frozen=True, slots=True)
class Trajectory:
    """See the module. ``shape`` is (H, W) of the view and of every mask; ``truth`` None: nobody knows.

    kind: what the prompt is ("referring", "reasoning", "absent", "plain"), story: how the episode went ("direct",
    "self-correction", "inconsistent", "corrected"). given: the mask that it began with.
    """

    name: str
    prompt: str
    target: str
    shape: tuple[int, int]
    steps: tuple[TrajectoryStep, ...]
    source: Source = Source()
    kind: str = "referring"
    story: str = "direct"
    given: PackedMask | None = None
    truth: PackedMask | None = None
    segmenter: str = ""

    def before(self, number: int) -> PackedMask | None:
        """The mask that the policy saw before step ``number`` (from 0)."""
        return self.steps[number - 1].mask if number else self.given

    @property
    def iou(self) -> float | None:
        """The IoU at the end."""
        return next((s.iou for s in reversed(self.steps) if s.iou is not None), None)

    @property
    def clicks(self) -> int:
        """How many turns clicked or drew a box."""
        return sum(bool(step.turn.prompts) for step in self.steps)


def to_json(trajectory: Trajectory) -> dict[str, Any]:
    """A trajectory as JSON values; ``from_json`` is the way back. Raises ValueError where a mask is of another size."""
    source, shape = trajectory.source, trajectory.shape
    return {
        "version": VERSION,
        "name": trajectory.name,
        "prompt": trajectory.prompt,
        "target": trajectory.target,
        "kind": trajectory.kind,
        "story": trajectory.story,
        "segmenter": trajectory.segmenter,
        "size": list(shape),
        "source": {
            "image": source.image,
            "mask": source.mask,
            "value": source.value,
            "modality": source.modality,
            "plane": source.plane,
            "index": source.index,
            "window": None if source.window is None else list(source.window),
            "picture": source.picture,
        },
        "given": _packed(trajectory.given, shape),
        "truth": _packed(trajectory.truth, shape),
        "steps": [
            {"turn": ibis.render(step.turn), "mask": _packed(step.mask, shape), "iou": step.iou, "learn": step.learn}
            for step in trajectory.steps
        ],
    }


def from_json(values: Any) -> Trajectory:
    """The trajectory of JSON values. Raises InputError, naming the step, where they aren't one or a mask is broken."""
    with naming("A trajectory"):
        if values["version"] != VERSION:
            raise InputError(
                f"The trajectory has the version {values['version']!r}; this program reads version {VERSION}. "
                "Make it again, or update napari-ibisagent."
            )
        name = text(values["name"])
    with naming(f"The trajectory {name}"):
        shape, source = size(values["size"]), values["source"]
        window = source["window"]
        return Trajectory(
            name=name,
            prompt=text(values["prompt"]),
            target=text(values["target"]),
            shape=shape,
            steps=tuple(
                _step(step, shape, f"Step {number} of the trajectory {name}")
                for number, step in enumerate(items(values["steps"]))
            ),
            source=Source(**{**source, "window": None if window is None else (float(window[0]), float(window[1]))}),
            kind=text(values["kind"]),
            story=text(values["story"]),
            given=_unpacked(values["given"], shape),
            truth=_unpacked(values["truth"], shape),
            segmenter=text(values["segmenter"]),
        )


def to_line(trajectory: Trajectory) -> str:
    """A trajectory as one line, with its end."""
    return json.dumps(to_json(trajectory), ensure_ascii=False, separators=(",", ":")) + "\n"


def _packed(mask: PackedMask | None, shape: tuple[int, int]) -> str | None:
    if mask is None:
        return None
    if mask.shape != shape:
        raise ValueError(f"A mask of {mask.shape} pixels can't be stored with a view of {shape}.")
    return coco_rle.encode(mask.array())


def _unpacked(letters: str | None, shape: tuple[int, int]) -> PackedMask | None:
    return None if letters is None else PackedMask.of(coco_rle.decode(letters, shape))


def _step(values: Any, shape: tuple[int, int], what: str) -> TrajectoryStep:
    with naming(what):
        try:
            turn = ibis.parse(text(values["turn"]))
        except DialectError as error:
            raise ValueError(str(error)) from error
        iou = values["iou"]
        return TrajectoryStep(
            turn, _unpacked(values["mask"], shape), None if iou is None else float(iou), flag(values["learn"])
        )
