"""Every mask again from its prompts, on every branch."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from playground import HIT, MISS, OUT, REVERT, SIDE, STOP, disc, prompted, stage, volume

from napari_ibisagent.agent.plays import Studio, delete
from napari_ibisagent.agent.recorder import Recorder
from napari_ibisagent.agent.replay import recompute
from napari_ibisagent.agent.runner import run
from napari_ibisagent.core.actions import Click
from napari_ibisagent.core.episode import Overridden, PackedMask, Painted, Proposed, Rejected
from napari_ibisagent.core.history import History
from napari_ibisagent.core.protocols import Segmentation
from napari_ibisagent.core.session import Opened
from napari_ibisagent.io.scanref import scan_ref
from napari_ibisagent.policies import scripted
from napari_ibisagent.segmenters import geodesic


def play(recorder, *turns, answers=()):
    generator, reply, replies = run(recorder.session.episode, stage(*turns)), None, list(answers)
    while True:
        try:
            event = generator.send(reply)
        except StopIteration:
            return
        recorder.record(event)
        reply = replies.pop(0) if isinstance(event, Proposed) and replies else None


def long_history():
    """Clicks, a revert, a rejection, an override, a painted mask, and a branch."""
    recorder = Recorder()
    recorder.record(Opened(scan_ref(volume(), Path("disc.png")), "scripted", "geodesic"))
    recorder.record(prompted())
    play(recorder, HIT, MISS, REVERT, OUT, STOP)
    recorder.record(prompted("again"))
    play(
        recorder,
        *(MISS, HIT, OUT, HIT, STOP),
        answers=[Rejected("no"), Overridden((Click(0.6, 0.4, True),)), Painted(PackedMask.of(disc()))],
    )
    fork = recorder.history.head
    for _ in range(3):
        recorder.record(recorder.history.undo() or _fail())
    assert recorder.history.head < fork
    recorder.record(Painted(PackedMask.of(~disc())))
    play(recorder, OUT, STOP)
    return recorder.history


def _fail():
    raise AssertionError("There was nothing to undo.")


def test_every_mask_comes_out_the_same():
    history = long_history()
    checks = list(recompute(history, volume(), geodesic.build()))
    assert len(checks) == 7
    assert all(check.identical and check.iou == 1 for check in checks)
    assert [c.prompt for c in checks] == ["the bright disc"] * 4 + ["again"] * 3
    assert [c.step for c in checks[:4]] == [1, 2, 3, 4]
    assert checks[0].actions == (Click(0.5703, 0.4453, True),)
    assert checks[4].actions == (Click(0.6, 0.4, True),)  # what the person did, not what was proposed


class Thicker:
    """The geodesic tool with one row of pixels more."""

    name = "thicker"

    def open(self, view):
        self._tool = geodesic.build().open(view)
        return self

    def segment(self, prompts, prior):
        mask = self._tool.segment(prompts, prior).mask.copy()
        mask[0] = ~mask[0]
        return Segmentation(mask, 0.5)


def test_the_masks_after_a_deleted_step_are_checked_too():
    recorder = Recorder()
    recorder.record(Opened(scan_ref(volume(), Path("disc.png")), "scripted", "geodesic"))
    recorder.record(prompted())
    play(recorder, HIT, OUT, MISS, STOP)
    tool = geodesic.build()
    studio = Studio(volume(), scripted.build([STOP]), tool)
    for event in delete(recorder.session.episode, studio, 2):
        recorder.record(event)
    checks = list(recompute(recorder.history, volume(), tool))
    assert len(checks) == 4 and checks[-1].step == 2 and all(check.identical for check in checks)


def test_another_tool_is_told_apart():
    checks = list(recompute(long_history(), volume(), Thicker()))
    asked = [check for check in checks if check.prompt == "the bright disc"]
    assert all(not check.identical and 0 < check.iou < 1 for check in asked)


def test_nothing_to_recompute():
    assert list(recompute(History(), volume(), geodesic.build())) == []
    recorder = Recorder()
    recorder.record(prompted())
    recorder.record(Painted(PackedMask.of(np.zeros((SIDE, SIDE), bool))))
    assert list(recompute(recorder.history, volume(), geodesic.build())) == []
