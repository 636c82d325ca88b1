"""A few turns of an agent, ours and the plain loop's beside it: seconds by part, tokens a second, memory."""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from napari_ibisagent.core.actions import Click, Turn
from napari_ibisagent.core.dialects import dialect
from napari_ibisagent.core.dialects.conversation import Message, Templates
from napari_ibisagent.core.masks import Mask
from napari_ibisagent.core.overlay import PRESETS, Picture, draw_mask, grey_picture
from napari_ibisagent.core.protocols import Segmenter
from napari_ibisagent.core.view import Plane, View
from napari_ibisagent.core.window import default_window
from napari_ibisagent.evaluation.bench.plain import finish, generate, through_the_disk
from napari_ibisagent.policies.qwen_vl.chance import Choice
from napari_ibisagent.policies.qwen_vl.loading import Opened
from napari_ibisagent.policies.qwen_vl.prompt import read_messages
from napari_ibisagent.policies.qwen_vl.reader import Reader

PARTS = ("picture", "prefill", "decode", "parse", "segment", "overlay")
_CLICKS = ((0.5, 0.5), (0.35, 0.6), (0.65, 0.4), (0.45, 0.3), (0.6, 0.65), (0.3, 0.45))


@dataclass(frozen=True, slots=True)
class Course:
    """What is played: turns, tokens of each answer, the side of the slice in pixels, with or without history."""

    turns: int = 4
    tokens: int = 128
    side: int = 512
    history: bool = True


@dataclass
class Laps:
    """Seconds by part and turn; ``text`` is what was said, in order."""

    seconds: list[dict[str, float]] = field(default_factory=list)
    text: list[str] = field(default_factory=list)

    @property
    def turn_s(self) -> float:
        """Seconds a turn, the median."""
        return float(np.median([sum(lap.values()) for lap in self.seconds]))


@dataclass(frozen=True, slots=True)
class Comparison:
    """Ours and the plain loop's laps over the same course, and how much memory was needed at most, in GB."""

    ours: Laps
    plain: Laps
    memory_gb: float

    @property
    def ratio(self) -> float:
        """How many times longer the plain loop takes, over all turns."""
        return sum(sum(lap.values()) for lap in self.plain.seconds) / sum(
            sum(lap.values()) for lap in self.ours.seconds
        )


def compare(opened: Opened, tool: Segmenter, templates: Templates, course: Course, rounds: int = 1) -> Comparison:
    """Plays the course with both loops in turn, ``rounds`` times after a short one that warms up; keeps the best."""
    view = bench_view(course.side)
    warm = Course(1, min(4, course.tokens), course.side, course.history)
    for play in (_ours, _plain):
        play(opened, tool, view, templates, warm)
    laps: dict[Callable[..., Laps], list[Laps]] = {_ours: [], _plain: []}
    for _ in range(rounds):
        for play, done in laps.items():
            done.append(play(opened, tool, view, templates, course))
    ours, plain = (min(done, key=lambda lap: lap.turn_s) for done in laps.values())
    return Comparison(ours, plain, memory_gb(opened.device))


def memory_gb(device: str) -> float:
    """The most memory that was in use, of the device or of this process, in GB of 10^9 bytes."""
    if device.startswith("cuda"):
        import torch

        return float(torch.cuda.max_memory_allocated()) / 1e9
    if sys.platform == "win32":
        return float("nan")  # it keeps no such figure
    import resource as usage

    peak = usage.getrusage(usage.RUSAGE_SELF).ru_maxrss
    return peak / 1e9 if sys.platform == "darwin" else peak * 1024 / 1e9


def bench_view(side: int) -> View:
    """A slice with some round things in it; what it shows costs nothing more or less."""
    rows, columns = (axis / side for axis in np.ogrid[:side, :side])
    picture = sum(
        (100 + 40 * n) * ((rows - y) ** 2 + (columns - x) ** 2 < (0.12 + 0.02 * n) ** 2)
        for n, (x, y) in enumerate(_CLICKS)
    )
    noise = np.random.default_rng(0).normal(0, 10, (side, side))
    return View((picture + noise).astype(np.float32), Plane.AXIAL, 0, (side, side), 1.0)


def _asked(pictures: list[Picture], templates: Templates, course: Course) -> list[Message]:
    """The messages before the next turn. What was said before is a sentence of the usual length: random weights babble
    in bytes that aren't text, and reading those again would tell nothing."""
    first = 0 if course.history else len(pictures) - 1
    messages = [Message("system", templates.system)]
    for number in range(first, len(pictures)):
        sentence = templates.refine if number else templates.first
        messages.append(Message("user", sentence.replace("$prompt", "segment the liver"), pictures[number]))
        if number < len(pictures) - 1:
            messages.append(Message("assistant", _answer(number, course.tokens)))
    return messages


class _Clock:
    """Seconds by part of one turn."""

    def __init__(self, device: str) -> None:
        self.seconds = dict.fromkeys(PARTS, 0.0)
        self._device = device
        self._since = time.perf_counter()

    def lap(self, part: str) -> None:
        """Gives the time since the last lap to a part."""
        finish(self._device)
        now = time.perf_counter()
        self.seconds[part] += now - self._since
        self._since = now


def _ours(opened: Opened, tool: Segmenter, view: View, templates: Templates, course: Course) -> Laps:
    reader, laps, pictures = Reader(opened), Laps(), []
    base = grey_picture(view.image, default_window(view.image, view.modality))
    view_open: Any = None
    mask: Mask | None = None
    forget(tool)
    opened.prepared.clear()
    for turn in range(course.turns):
        clock = _Clock(opened.device)
        pictures.append(draw_mask(base, mask, PRESETS["ibis"]))
        clock.lap("overlay")
        reading = read_messages(_asked(pictures, templates, course), opened)
        clock.lap("picture")
        laps.text.append("".join(reader.answer(reading, Choice(course.tokens, least=course.tokens), turn)))
        clock.lap("decode")
        clock.seconds["prefill"] = reader.spent.prefill_s
        clock.seconds["decode"] -= reader.spent.prefill_s
        dialect("ibis").parse(_answer(turn, course.tokens))
        clock.lap("parse")
        view_open = view_open or tool.open(view)
        mask = view_open.segment(bench_clicks(turn), None).mask
        clock.lap("segment")
        laps.seconds.append(clock.seconds)
    return laps


def _plain(opened: Opened, tool: Segmenter, view: View, templates: Templates, course: Course) -> Laps:
    laps, pictures = Laps(), []
    base = grey_picture(view.image, default_window(view.image, view.modality))
    mask: Mask | None = None
    with tempfile.TemporaryDirectory() as folder:
        for turn in range(course.turns):
            clock = _Clock(opened.device)
            pictures.append(through_the_disk(draw_mask(base, mask, PRESETS["ibis"]), Path(folder) / f"{turn}.png"))
            clock.lap("overlay")
            messages = _asked(pictures, templates, course)
            text, spent = generate(messages, opened, course.tokens)
            laps.text.append(text)
            clock.lap("decode")  # its prefill can't be told apart
            clock.seconds["picture"] = spent["picture"]
            clock.seconds["decode"] -= spent["picture"]
            dialect("ibis").parse(_answer(turn, course.tokens))
            clock.lap("parse")
            forget(tool)
            mask = tool.open(view).segment(bench_clicks(turn), None).mask
            clock.lap("segment")
            laps.seconds.append(clock.seconds)
    return laps


def forget(tool: Segmenter) -> None:
    """Makes a tool look at a slice anew, and decode each mask anew."""
    forgets = getattr(tool, "forget", None)
    if callable(forgets):
        forgets()


def bench_clicks(turn: int) -> tuple[Click, ...]:
    """All clicks up to a turn, counted from 0."""
    return tuple(Click(*_CLICKS[n % len(_CLICKS)], True) for n in range(turn + 1))


def _answer(turn: int, tokens: int) -> str:
    """What a trained model might say, of about so many tokens."""
    words = "it lies there and is brighter than what is round it so one more point will do".split()
    thought = " ".join(words[n % len(words)] for n in range(max(1, tokens - 40)))
    return dialect("ibis").render(Turn(thought, bench_clicks(turn)[-1:]))
