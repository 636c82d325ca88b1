"""What agent tests play on: a generated picture with a disc, and the real embedded tool."""

from __future__ import annotations

import functools

import numpy as np

from napari_ibisagent.agent.runner import Stage
from napari_ibisagent.core.episode import Prompted, begin
from napari_ibisagent.core.view import Plane, view_of
from napari_ibisagent.core.volume import Volume
from napari_ibisagent.policies import scripted
from napari_ibisagent.segmenters import embedded

SIDE = 64
CENTRE, RADIUS = (28, 36), 12

HIT = "<think>The disc.</think><action>Positive Point (0.5703, 0.4453)</action>"
MISS = "<action>Positive Point (0.1000, 0.9000)</action>"
OUT = "<action>Negative Point (0.1000, 0.9000)</action>"
STOP = "<think>Good.</think><action>Terminate</action><answer>the disc</answer>"
REVERT = "<think>No.</think><action>Revert</action>"


def disc():
    rows, columns = np.ogrid[:SIDE, :SIDE]
    return (rows - CENTRE[0]) ** 2 + (columns - CENTRE[1]) ** 2 <= RADIUS**2


@functools.cache
def volume():
    noise = np.random.default_rng(5).normal(0, 6, (SIDE, SIDE))
    return Volume.from_picture((60 + 100 * disc() + noise).astype(np.float32), name="disc")


@functools.cache
def opened():
    view = view_of(volume(), Plane.AXIAL, 0)
    return view, embedded.build().open(view)


def stage(*turns, policy=None):
    """A stage on the disc with a scripted policy, or with ``policy``."""
    view, tool = opened()
    return Stage(volume(), view, policy or scripted.build(turns), tool)


def prompted(text="the bright disc"):
    return Prompted(text, Plane.AXIAL, 0, (SIDE, SIDE))


def start():
    return begin(prompted())
