"""Trajectories of every kind, for hypothesis."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st

from napari_ibisagent.core.actions import Box, Click, Discard, Revert, Terminate, Turn
from napari_ibisagent.core.packed import PackedMask
from napari_ibisagent.training.trajectories.form import Source, Trajectory, TrajectoryStep

# What the dialect keeps as it is: its tags are taken out of words, and spaces at their ends.
WORDS = st.text(st.characters(codec="utf-8", exclude_characters="<>"), max_size=20).map(str.strip)
NAME = st.text(st.characters(codec="utf-8"), max_size=12)
FRACTION = st.integers(0, 10_000).map(lambda n: n / 10_000)
EDGES = st.lists(FRACTION, min_size=2, max_size=2, unique=True).map(sorted)
CLICK = st.builds(Click, FRACTION, FRACTION, st.booleans())
BOX = st.builds(lambda x, y: Box(x[0], y[0], x[1], y[1]), EDGES, EDGES)
ACTION = st.one_of(CLICK, BOX, st.just(Revert()), st.just(Discard()), st.just(Terminate()))
TURN = st.builds(Turn, WORDS, st.lists(ACTION, min_size=1, max_size=3).map(tuple), st.none() | WORDS)
SOURCE = st.builds(
    Source,
    NAME,
    NAME,
    st.none() | st.integers(0, 300),
    NAME,
    st.sampled_from(["axial", "coronal", "sagittal"]),
    st.integers(0, 999),
    st.none() | st.tuples(st.floats(-1e4, 1e4), st.floats(1, 1e4)),
    NAME,
)
SHAPE = st.tuples(st.integers(1, 12), st.integers(1, 12))


def packed(shape):
    size = shape[0] * shape[1]
    return st.lists(st.booleans(), min_size=size, max_size=size).map(
        lambda values: PackedMask.of(np.array(values, dtype=bool).reshape(shape))
    )


@st.composite
def trajectories(draw):
    shape = draw(SHAPE)
    mask = st.none() | packed(shape)
    step = st.builds(TrajectoryStep, TURN, mask, st.none() | st.floats(0, 1), st.booleans())
    return Trajectory(
        name=draw(NAME),
        prompt=draw(NAME),
        target=draw(NAME),
        shape=shape,
        steps=tuple(draw(st.lists(step, max_size=4))),
        source=draw(SOURCE),
        kind=draw(NAME),
        story=draw(NAME),
        given=draw(mask),
        truth=draw(mask),
        segmenter=draw(NAME),
    )


@st.composite
def clicked(draw, least=0):
    """Such as the official forms can hold: a click and a mask in every step."""
    shape = draw(SHAPE)
    step = st.builds(lambda click, mask: TrajectoryStep(Turn("", (click,)), mask), CLICK, packed(shape))
    return Trajectory(
        name=draw(NAME.filter(bool)),
        prompt=draw(NAME),
        target=draw(NAME),
        shape=shape,
        steps=tuple(draw(st.lists(step, min_size=least, max_size=4))),
        source=draw(SOURCE),
    )
