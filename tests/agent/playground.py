"""What agent tests play on: a generated picture with a disc, and the real geodesic tool."""

from __future__ import annotations

import functools
from pathlib import Path

import numpy as np

from napari_ibisagent.agent.plays import Ears, Studio, delete, finish, play
from napari_ibisagent.agent.runner import Stage
from napari_ibisagent.agent.stop import DEFAULT_LIMITS
from napari_ibisagent.agent.store import Store
from napari_ibisagent.core.episode import Accepted, Author, Prompted, Proposed, begin
from napari_ibisagent.core.session import Opened
from napari_ibisagent.core.view import Plane, view_of
from napari_ibisagent.core.volume import Volume
from napari_ibisagent.evaluation.phantom import make_phantom
from napari_ibisagent.io.scanref import scan_ref
from napari_ibisagent.policies import scripted
from napari_ibisagent.segmenters import geodesic

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


def reference():
    """What a journal keeps of the disc."""
    return scan_ref(volume(), Path("scan.nii"))


@functools.cache
def phantom():
    """A small CT in which the embedded policy finds the large organs."""
    return make_phantom(0, (6.0, 3.0, 3.0))


@functools.cache
def opened():
    view = view_of(volume(), Plane.AXIAL, 0)
    return view, geodesic.build().open(view)


def stage(*turns, policy=None):
    """A stage on the disc with a scripted policy, or with ``policy``."""
    view, tool = opened()
    return Stage(volume(), view, policy or scripted.build(turns), tool)


def prompted(text="the bright disc"):
    return Prompted(text, Plane.AXIAL, 0, (SIDE, SIDE))


def start():
    return begin(prompted())


# -- a desk: what a window does, without a window ----------------------------------------------------------


class Policy:
    """A policy that counts how often it is asked."""

    def __init__(self, policy):
        self._policy, self.asked, self.located = policy, 0, 0
        self.name, self.dialect = policy.name, policy.dialect

    def act(self, situation):
        self.asked += 1
        yield from self._policy.act(situation)


class Locating(Policy):
    """The same for one that can choose the slice."""

    def locate(self, volume, prompt, plane):
        self.located += 1
        return self._policy.locate(volume, prompt, plane)


class Tool:
    """The real tool, counting how often it is asked; ``fault`` is raised instead of an answer."""

    name = "embedded"

    def __init__(self):
        self._tool, self.asked, self.fault = geodesic.build(), 0, None

    def open(self, view):
        return OpenedTool(self, self._tool.open(view))


class OpenedTool:
    def __init__(self, tool, opened):
        self._tool, self._opened = tool, opened

    def segment(self, prompts, prior):
        self._tool.asked += 1
        if self._tool.fault is not None:
            raise self._tool.fault
        return self._opened.segment(prompts, prior)


class Desk:
    """A store, a policy and a tool, and the plays between them, in one thread."""

    def __init__(self, *turns, policy=None, scan=None, history=None, autosave=None):
        scan = scan or volume()
        self.policy = policy or Policy(scripted.build(turns or (STOP,)))
        self.tool = Tool()
        self.store = Store(scan, history, autosave)
        self.studio = Studio(scan, self.policy, self.tool)
        self.heard = []
        self.cancelled = lambda: False
        if history is None:
            self.store.record(Opened(scan_ref(scan, Path("scan.nii")), self.policy.name, self.tool.name))

    @property
    def episode(self):
        return self.store.episode

    @property
    def asked(self):
        return self.policy.asked, self.tool.asked

    def run(self, events):
        """Records every event of a play; the names of their kinds."""
        kinds = []
        for event in events:
            self.store.record(event)
            kinds.append(type(event).__name__)
        return kinds

    def ask(self, text="the bright disc", plane=Plane.AXIAL, index=0, **options):
        """A sentence about the slice that is shown, and the first play."""
        shape = view_of(self.store.volume, plane, index).shape
        self.store.record(Prompted(text, plane, index, shape, located=False))
        return self.go(**options)

    def go(self, verdict=None, passes=0, limits=DEFAULT_LIMITS):
        """Goes on, with the verdict on a proposal that waits; ``passes`` proposals go on unreviewed."""
        left = iter([True] * passes)
        ears = Ears(self.cancelled, self.heard.append, lambda: next(left, False))
        return self.run(play(self.episode, self.studio, limits, ears, verdict))

    def click(self, *actions):
        """A person's own clicks or box."""
        self.store.record(Proposed(actions, author=Author.HUMAN))
        self.store.record(Accepted())
        return self.finish()

    def finish(self):
        return self.run(finish(self.episode, self.studio))

    def delete(self, number):
        return self.run(delete(self.episode, self.studio, number))
