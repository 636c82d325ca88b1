"""``Pointing``: the nano agent's first lesson, to say where everything is that a picture shows.

A published agent has seen and pointed at millions of things before it learns to click. A click trajectory tells of one
place a picture; here a picture tells of all its structures, so that looking is learned many times as fast: first as a
list of names and places, then in the very words of first turns, among the trajectories.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from torch.utils.data import Dataset

from napari_ibisagent.core.actions import Click, Turn
from napari_ibisagent.core.clicks import next_click
from napari_ibisagent.core.dialects import ibis
from napari_ibisagent.core.dialects.conversation import Message
from napari_ibisagent.policies.qwen_vl.loading import Opened
from napari_ibisagent.policies.qwen_vl.prompt import read_messages
from napari_ibisagent.policies.qwen_vl.reader import closing
from napari_ibisagent.training.batches import Example
from napari_ibisagent.training.nano.anatomy import ANYWHERE, CENTRED, LESIONS, SIDE, make_slice
from napari_ibisagent.training.words.thoughts import Kind, thought

# What it is asked for a list, and for first turns.
LIST, TURNS = "what is where?", "click on everything"
# What the tokenizer is to know, however few trajectories there are: as often as a word has to come.
SENTENCES = (LIST, TURNS, *(f"{number:02d}" for number in range(100))) * 3

# A slice, and the middle (row, column) of each structure that it shows.
Scene = tuple[NDArray[np.uint8], dict[str, tuple[int, int]]]


class Pointing(Dataset[Example]):
    """``count`` pictures drawn from ``seed``, ``anywhere`` of them with the body anywhere; made once, then kept.

    question: LIST or TURNS. most: of the structures of a picture no more than so many are asked for. Every time that a
    picture is asked for its structures come in another order.
    """

    def __init__(
        self, count: int, seed: int, anywhere: float, opened: Opened, question: str = LIST, most: int | None = None
    ) -> None:
        self._count, self._seed, self._anywhere, self._opened = count, seed, anywhere, opened
        self._question, self._most = question, most
        self._scenes: dict[int, tuple[Scene, Generator]] = {}

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, number: int) -> Example:
        if number not in self._scenes:
            rng = np.random.default_rng([self._seed, number])
            self._scenes[number] = _scene(rng, self._anywhere), rng
        (image, middles), rng = self._scenes[number]
        picture = np.repeat(image[:, :, np.newaxis], 3, axis=2)
        reading = read_messages((Message("user", self._question, picture),), self._opened)
        told = _told(middles, rng, _turn if self._question == TURNS else _listed, self._most)
        words = self._opened.tokenizer(told, add_special_tokens=False)["input_ids"]
        return Example.of(reading, (*words, closing(self._opened)))


def _told(
    middles: dict[str, tuple[int, int]], rng: Generator, form: Callable[[str, Click], str], most: int | None
) -> str:
    """Structures with their places, one after the other, in any order."""
    names = sorted(middles)
    chosen = [names[int(n)] for n in rng.permutation(len(names))[:most]]
    return "".join(form(name, _click(middles[name], rng)) for name in chosen)


def _click(middle: tuple[int, int], rng: Generator) -> Click:
    # Anywhere in its pixel before it is rounded, as in trajectories.
    x, y = (round(float((at + rng.random()) / SIDE), 2) for at in reversed(middle))
    return Click(x, y, True)


def _listed(name: str, click: Click) -> str:
    return f" {name} ({click.x:.2f}, {click.y:.2f})"


def _turn(name: str, click: Click) -> str:
    # The same words for the same thing, as in trajectories.
    words = thought(Kind.FIRST, name, (SIDE, SIDE), None, click, np.random.default_rng(0), brief=True)
    return ibis.render(Turn(words, (click,)))


def _scene(rng: Generator, anywhere: float) -> Scene:
    framing = ANYWHERE if rng.random() < anywhere else CENTRED
    made = make_slice(rng, framing=framing)
    if made.structures.keys().isdisjoint(LESIONS):
        # Of two slices one with a lesion: what is small and rare is looked for oftener.
        made = make_slice(rng, framing=framing)
    nothing = np.zeros((SIDE, SIDE), bool)
    middles = {}
    for name, mask in made.structures.items():
        click = next_click(nothing, mask)
        assert click is not None  # a structure that is shown has pixels
        middles[name] = int(click.y * SIDE), int(click.x * SIDE)
    return made.image, middles
