"""Events as JSON and back."""

from __future__ import annotations

import json
from typing import get_args

import numpy as np
import pytest
from event_strategies import EVENTS, TARGET
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_ibisagent.core.actions import Click
from napari_ibisagent.core.codec import from_json, to_json
from napari_ibisagent.core.episode import EpisodeEvent, PackedMask, Proposed, Segmented
from napari_ibisagent.core.history import Event
from napari_ibisagent.core.session import Consented
from napari_ibisagent.core.target import Side, Target

SETTINGS = settings(max_examples=80, deadline=None, derandomize=True)


def test_every_kind_of_event_is_tried():
    assert {kind.__name__ for kind in get_args(Event)} == set(EVENTS)
    assert set(get_args(EpisodeEvent)) <= set(get_args(Event))


@pytest.mark.parametrize("kind", EVENTS)
def test_an_event_comes_back(kind):
    @SETTINGS
    @given(EVENTS[kind])
    def check(event):
        again = from_json(json.loads(json.dumps(to_json(event))))
        assert again == event and type(again) is type(event)
        assert hash(again) == hash(event)
        assert repr(again) == repr(event)  # enums come back as enums, tuples as tuples

    check()


@SETTINGS
@given(TARGET)
def test_a_target_comes_back(target):
    again = from_json(json.loads(json.dumps(to_json(target))))
    assert again == target and repr(again) == repr(target)


def test_the_form_on_the_disk_stays():
    """Journals of today must be read by the program of tomorrow."""
    event = Proposed((Click(0.5, 0.25, True),), "liver", 1.5)
    text = (
        '{"type":"Proposed","actions":[{"type":"Click","x":0.5,"y":0.25,"positive":true}],'
        '"answer":"liver","ms":1.5,"author":"agent"}'
    )
    assert json.dumps(to_json(event), separators=(",", ":")) == text
    assert from_json(json.loads(text)) == event
    target = from_json({"type": "Target", "name": "kidney", "side": "left"})
    assert target == Target("kidney", side=Side.LEFT) and type(target.side) is Side
    assert from_json({"type": "Consented", "given": False}) == Consented(False)
    mask = {"type": "PackedMask", "shape": [2, 2], "runs": ""}
    packed = PackedMask.of(np.array([[False, False], [True, False]]))
    assert from_json({"type": "Segmented", "mask": mask | {"runs": packed.runs}, "score": 1}) == Segmented(packed, 1)


BROKEN = [
    {},
    {"type": None},
    {"type": "Exploded"},
    {"type": "Erased", "value": 1},
    {"type": "dict"},
    {"type": ["Click"]},
    {"type": {"a": 1}},
    {"type": "Click"},
    {"type": "Click", "x": 0.5, "y": 0.5},
    {"type": "Click", "x": 0.5, "y": 0.5, "positive": True, "z": 1},
    {"type": "Click", "x": 1.5, "y": 0.5, "positive": True},
    {"type": "Click", "x": "0.5", "y": 0.5, "positive": True},
    {"type": "Click", "x": None, "y": 0.5, "positive": True},
    {"type": "Box", "x0": 0.5, "y0": 0, "x1": 0.1, "y1": 1},
    {"type": "Terminated", "outcome": "exploded"},
    {"type": "Terminated", "outcome": None},
    {"type": "Terminated", "outcome": ["done"]},
    {"type": "Accepted", "by": 3},
    {"type": "Proposed", "actions": [{"type": "Click"}]},
    {"type": "RuleChanged", "rule": {"type": "RuleChanged"}},
    {"type": "Thought", "text": "a", "self": 1},
]


@pytest.mark.parametrize("value", BROKEN, ids=str)
def test_what_is_broken_is_a_value_error(value):
    with pytest.raises(ValueError):
        from_json(value)


WRONG_FIELDS = [
    {"type": "Thought", "text": 3},
    {"type": "Thought", "text": None},
    {"type": "Thought", "text": ["a"]},
    {"type": "Painted", "mask": None},
    {"type": "Painted", "mask": "text"},
    {"type": "Painted", "mask": {"type": "Thought", "text": "a"}},
    {"type": "Proposed", "actions": None},
    {"type": "Proposed", "actions": [1, 2]},
    {"type": "Proposed", "actions": [{"type": "Thought", "text": "a"}]},
    {"type": "PackedMask", "shape": "34", "runs": "x"},
    {"type": "Reverted", "to": "3"},
    {"type": "Reverted", "to": 1.5},
    {"type": "ObjectRemoved", "value": None},
    {"type": "Consented", "given": 1},
    {"type": "Consented", "given": None},
    {"type": "Opened", "scan": None, "policy": "a", "segmenter": "b"},
    {"type": "Committed", "patch": {"type": "Thought", "text": "a"}},
    {"type": "ObjectChanged", "row": 5},
]


@pytest.mark.parametrize("value", WRONG_FIELDS, ids=str)
def test_a_field_of_the_wrong_kind_is_a_value_error(value):
    with pytest.raises(ValueError):
        from_json(value)


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-5, 5)
    | st.sampled_from(["", "Click", "done", "left", "0.5"])
    | st.floats(0, 2),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["type", "x", "y", "positive", "mask", "actions", "by", "outcome", "text"]),
            inner,
            max_size=4,
        )
    ),
    max_leaves=8,
)


@settings(max_examples=400, deadline=None, derandomize=True)
@given(JSON, st.sampled_from(sorted(EVENTS)))
def test_no_json_raises_anything_else(value, kind):
    for content in (value, {"type": kind} | value if isinstance(value, dict) else [value]):
        try:
            from_json(content)
        except ValueError:
            continue


def test_what_is_no_event_is_not_written():
    for value in ({"a": 1}, [1], {1}, b"bytes", Click):
        with pytest.raises(TypeError, match="can't be written"):
            to_json(value)
