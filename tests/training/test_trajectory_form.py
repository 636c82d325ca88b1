"""Our own trajectory form: JSON and back, and what is refused."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from trajectory_strategies import trajectories

from napari_ibisagent.core.actions import Click, Terminate, Turn
from napari_ibisagent.core.errors import InputError
from napari_ibisagent.core.packed import PackedMask
from napari_ibisagent.training.trajectories.form import (
    Source,
    Trajectory,
    TrajectoryStep,
    from_json,
    to_json,
    to_line,
)

MASK = np.zeros((3, 5), bool)
MASK[1, 2:4] = True
TRAJECTORY = Trajectory(
    "liver-1",
    "outline the liver",
    "liver",
    (3, 5),
    (
        TrajectoryStep(Turn("it lies there", (Click(0.5, 0.5, True),)), PackedMask.of(MASK), 0.8),
        TrajectoryStep(Turn("done", (Terminate(),), "the liver"), PackedMask.of(MASK), None, False),
    ),
    Source("ct.nii.gz", "seg.nii.gz", 6, "CT", "axial", 40, (40.0, 400.0), "pictures/liver-1.png"),
    truth=PackedMask.of(MASK),
)


@settings(max_examples=200, deadline=None, derandomize=True)
@given(trajectories())
def test_a_trajectory_comes_back_as_it_was(trajectory):
    line = to_line(trajectory)
    assert line.endswith("\n") and line.count("\n") == 1
    assert from_json(json.loads(line)) == from_json(to_json(trajectory)) == trajectory


def test_what_is_stored_is_what_the_module_says():
    values = to_json(TRAJECTORY)
    assert values["version"] == 1 and values["size"] == [3, 5]
    assert values["steps"][0] == {
        "turn": "<think>it lies there</think><action>Positive Point (0.5000, 0.5000)</action>",
        "mask": values["truth"],
        "iou": 0.8,
        "learn": True,
    }
    assert values["given"] is None


def test_what_can_be_asked_of_a_trajectory():
    assert TRAJECTORY.iou == 0.8 and TRAJECTORY.clicks == 1
    assert TRAJECTORY.before(0) is None and TRAJECTORY.before(1) == PackedMask.of(MASK)
    assert [step.turn.terminates for step in TRAJECTORY.steps] == [False, True]


def changed(*keys, to):
    values = json.loads(to_line(TRAJECTORY))
    place = values
    for key in keys[:-1]:
        place = place[key]
    if to is changed:
        del place[keys[-1]]
    else:
        place[keys[-1]] = to
    return values


@pytest.mark.parametrize("key", sorted(to_json(TRAJECTORY)))
def test_a_missing_key_is_named(key):
    with pytest.raises(InputError, match=key):
        from_json(changed(key, to=changed))


def test_another_version_is_refused():
    with pytest.raises(InputError, match="version 2; this program reads version 1"):
        from_json(changed("version", to=2))


@pytest.mark.parametrize(
    ("values", "words"),
    [
        (changed("steps", 1, "mask", to="0"), "Step 1 of the trajectory liver-1 .*pixels"),
        (changed("steps", 1, "mask", to="~~"), "Step 1 .*isn't one of its letters"),
        (changed("steps", 0, "mask", to="o"), "Step 0 .*breaks off"),
        (changed("steps", 0, "mask", to=7), "Step 0"),
        (changed("steps", 0, "turn", to="<action>Positive Point (2, 0)</action>"), "Step 0 .*2"),
        (changed("steps", 0, "turn", to="I don't know"), "Step 0 .*action"),
        (changed("steps", 0, "learn", to="no"), "Step 0 .*true or false"),
        (changed("steps", 0, "iou", to=changed), "Step 0 .*lacks 'iou'"),
        (changed("steps", 0, to=None), "Step 0"),
        (changed("steps", to="none"), "list"),
        (changed("truth", to="0"), "liver-1 .*pixels"),
        (changed("size", to=[5, 4]), "pixels"),
        (changed("size", to=[0, 4]), "size"),
        (changed("size", to=[10**9, 10**9]), "size"),
        (changed("size", to=[float("inf"), 4]), "inf"),
        (changed("size", to=3), "list"),
        (changed("source", "shelf", to=3), "shelf"),
        (changed("source", to=None), "liver-1"),
        (changed("source", "window", to=[1]), "liver-1"),
        (changed("prompt", to=None), "text"),
        ([], "A trajectory"),
        (None, "A trajectory"),
        ("version", "A trajectory"),
    ],
)
def test_what_is_no_trajectory_is_refused_with_a_reason(values, words):
    with pytest.raises(InputError, match=words):
        from_json(values)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
PLACES = [(key,) for key in to_json(TRAJECTORY)]
PLACES += [("steps", 0, key) for key in to_json(TRAJECTORY)["steps"][0]] + [("source", "window"), ("size", 0)]


@settings(max_examples=400, deadline=None, derandomize=True)
@given(st.sampled_from(PLACES), VALUES)
def test_whatever_stands_there_is_read_or_refused(keys, value):
    try:
        from_json(changed(*keys, to=value))
    except InputError as error:
        assert str(error).endswith(".")


def test_a_mask_of_another_size_is_not_stored():
    """Turned by a quarter it has as many pixels, and would be read as another mask."""
    turned = Trajectory("a", "b", "c", (5, 3), (TrajectoryStep(Turn("", (Terminate(),)), PackedMask.of(MASK)),))
    with pytest.raises(ValueError, match="can't be stored"):
        to_json(turned)
