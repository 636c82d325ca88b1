"""Events of every kind, for hypothesis; and walks of events that follow each other."""

from __future__ import annotations

import random

import numpy as np
from hypothesis import strategies as st

from napari_ibisagent.core.actions import Box, Click, Discard, Revert, Terminate
from napari_ibisagent.core.carrying import Carried, CarryBegun, CarryEnded, End, Extent
from napari_ibisagent.core.episode import (
    Accepted,
    Amended,
    Author,
    Failed,
    Located,
    Outcome,
    Overridden,
    PackedMask,
    Painted,
    Prompted,
    Proposed,
    Rejected,
    Segmented,
    StepDeleted,
    Terminated,
    Thought,
    went_to_tool,
)
from napari_ibisagent.core.history import History, Reverted
from napari_ibisagent.core.session import (
    PALETTE,
    Committed,
    Consented,
    ObjectAdded,
    ObjectChanged,
    ObjectRemoved,
    Opened,
    OverlapRule,
    Patch,
    RuleChanged,
    ScanRef,
    SegmentedObject,
)
from napari_ibisagent.core.target import Side, Target
from napari_ibisagent.core.view import Plane

TEXT = st.text(st.characters(codec="utf-8"), max_size=30)
NUMBER = st.floats(0, 1)
MS = st.floats(0, 1e6, allow_nan=False)
VALUE = st.integers(1, 70_000)
CLICK = st.builds(Click, NUMBER, NUMBER, st.booleans())
EDGES = st.lists(NUMBER, min_size=2, max_size=2, unique=True).map(sorted)
BOX = st.builds(lambda x, y: Box(x[0], y[0], x[1], y[1]), EDGES, EDGES)
ACTIONS = st.lists(st.one_of(CLICK, BOX, st.just(Revert()), st.just(Discard()), st.just(Terminate())), max_size=4).map(
    tuple
)
MASK = st.lists(st.booleans(), min_size=12, max_size=12).map(lambda v: PackedMask.of(np.array(v).reshape(3, 4)))
CODE = st.none() | st.tuples(TEXT, TEXT, TEXT)
TARGET = st.none() | st.builds(Target, TEXT, TEXT, st.sampled_from(Side), CODE)
PATCH = st.builds(Patch, VALUE, st.sampled_from(Plane), st.integers(0, 999), MASK, st.booleans())
SCAN = st.builds(
    ScanRef, TEXT, TEXT, st.tuples(VALUE, VALUE, VALUE), TEXT, st.none() | TEXT, st.none() | st.integers(0, 99)
)

EVENTS = {
    "Prompted": st.builds(
        Prompted,
        TEXT,
        st.sampled_from(Plane),
        st.integers(0, 999),
        st.tuples(VALUE, VALUE),
        TARGET,
        st.none() | MASK,
        st.booleans(),
        st.sampled_from(Extent),
    ),
    "Located": st.builds(Located, st.integers(0, 999), st.tuples(VALUE, VALUE), TARGET),
    "Thought": st.builds(Thought, TEXT),
    "Proposed": st.builds(Proposed, ACTIONS, st.none() | TEXT, MS, st.sampled_from(Author)),
    "Amended": st.builds(Amended, ACTIONS),
    "Accepted": st.builds(Accepted, st.sampled_from(Author)),
    "Overridden": st.builds(Overridden, ACTIONS),
    "Rejected": st.builds(Rejected, TEXT),
    "Segmented": st.builds(Segmented, MASK, NUMBER, MS),
    "Painted": st.builds(Painted, MASK),
    "StepDeleted": st.builds(
        StepDeleted, st.integers(1, 99), st.lists(st.builds(Segmented, MASK, NUMBER, MS), max_size=3).map(tuple)
    ),
    "Terminated": st.builds(Terminated, st.sampled_from(Outcome), TEXT),
    "Failed": st.builds(Failed, TEXT),
    "CarryBegun": st.builds(CarryBegun, TEXT, st.integers(0, 99), st.integers(100, 999), TEXT),
    "Carried": st.builds(
        Carried,
        st.integers(0, 999),
        MASK,
        NUMBER,
        TEXT,
        st.none() | st.integers(0, 999),
        st.lists(st.one_of(CLICK, BOX), max_size=3).map(tuple),
        st.none() | MASK,
    ),
    "CarryEnded": st.builds(CarryEnded, TEXT, st.sampled_from(End)),
    "Opened": st.builds(Opened, SCAN, TEXT, TEXT),
    "Consented": st.builds(Consented, st.booleans()),
    "ObjectAdded": st.builds(ObjectAdded, VALUE, TEXT, TEXT),
    "ObjectChanged": st.builds(
        ObjectChanged, st.builds(SegmentedObject, VALUE, TEXT, TEXT, st.booleans(), st.booleans())
    ),
    "ObjectRemoved": st.builds(ObjectRemoved, VALUE),
    "RuleChanged": st.builds(RuleChanged, st.sampled_from(OverlapRule)),
    "Committed": st.builds(
        Committed,
        PATCH,
        st.none() | st.builds(SegmentedObject, VALUE, TEXT, TEXT),
        st.none() | st.integers(0, 99),
        st.lists(PATCH, max_size=3).map(tuple),
    ),
    "Reverted": st.builds(Reverted, st.integers(0, 10**9)),
}

SHAPE = (3, 4, 5)
OPENED = Opened(ScanRef("/scan.nii", "scan", SHAPE, "abc"), "scripted", "embedded")
SIDES = {Plane.AXIAL: (4, 5), Plane.CORONAL: (3, 5), Plane.SAGITTAL: (3, 4)}


def next_event(history: History, dice: random.Random, *, jumps: bool = True):
    """A random event that may follow; the first one opens the scan. ``jumps``: undo, redo and branches too."""
    session, episode = history.session, history.session.episode
    if session.scan is None:
        return OPENED
    if jumps and dice.random() < 0.2:
        moves = [history.undo(), history.redo(), Reverted(dice.randrange(1, len(history.nodes)))]
        return dice.choice([move for move in moves if move is not None])
    kinds = ["prompt", "rule", "add", "consent", *["commit", "change", "remove"] * bool(session.objects)]
    if episode is not None and episode.under_way:
        kinds += ["carried"] * (len(episode.carrying.slices) < 2) * 10 + ["carry ended"] * 6
    elif episode is not None:
        kinds += ["thought", "painted", "terminated", "failed"] * 2
        kinds += ["deleted"] * bool(episode.steps)
        if episode.pending is None:
            kinds += ["proposed"] * 8 + ["located"] * (not episode.steps)
        elif episode.pending.verdict is None:
            kinds += ["amended", "accepted", "overridden", "rejected"] * 4
        else:
            kinds += ["segmented"] * 12
        if episode.pending is None and episode.mask_array().any():
            kinds += ["carry begun"] * 3
    return _event(dice.choice(kinds), history, dice)


def _event(kind: str, history: History, dice: random.Random):
    session, episode = history.session, history.session.episode
    shape = (4, 5) if episode is None else episode.shape
    plane = dice.choice(list(Plane))
    index = dice.randrange(3)
    value = dice.choice([row.value for row in session.objects]) if session.objects else 0
    match kind:
        case "prompt":
            given = packed(SIDES[plane], dice) if dice.random() < 0.3 else None
            return Prompted(f"find {dice.randrange(9)}", plane, index, SIDES[plane], None, given, dice.random() < 0.7)
        case "located":
            return Located(index, episode.shape)
        case "amended":
            return Amended(actions(dice))
        case "deleted":
            number = dice.randint(1, len(episode.steps))
            redone = sum(went_to_tool(step) for step in episode.steps[number:])
            return StepDeleted(number, tuple(Segmented(packed(shape, dice), 0.5) for _ in range(redone)))
        case "rule":
            return RuleChanged(dice.choice(list(OverlapRule)))
        case "consent":
            return Consented(dice.random() < 0.5)
        case "add":
            return ObjectAdded(session.free_value(), f"thing {dice.randrange(9)}", dice.choice(PALETTE))
        case "commit":
            return Committed(Patch(value, plane, index, packed(SIDES[plane], dice)))
        case "change":
            return ObjectChanged(SegmentedObject(value, "renamed", "#000000", dice.random() < 0.5, False))
        case "remove":
            return ObjectRemoved(value)
        case "thought":
            return Thought(f"I think {dice.random():.3f}")
        case "proposed":
            return Proposed(actions(dice), None, round(dice.random(), 3), dice.choice(list(Author)))
        case "accepted":
            return Accepted(dice.choice(list(Author)))
        case "overridden":
            return Overridden(actions(dice))
        case "rejected":
            return Rejected("not there")
        case "segmented":
            return Segmented(packed(shape, dice), round(dice.random(), 4), 1.5)
        case "painted":
            return Painted(packed(shape, dice))
        case "carry begun":
            return CarryBegun("neighbour", 0, 2, "by its neighbour")
        case "carried":
            known = {episode.index, *(done.index for done in episode.carrying.slices)}
            free = dice.choice([n for n in range(3) if n not in known])
            room = packed(shape, dice) if dice.random() < 0.5 else None
            prompts = (Click(round(dice.random(), 4), round(dice.random(), 4), True),)
            return Carried(free, packed(shape, dice), 0.5, dice.choice(["", "odd"]), episode.index, prompts, room)
        case "carry ended":
            return CarryEnded("so far", dice.choice(list(End)))
        case "terminated":
            return Terminated(dice.choice(list(Outcome)), "so it is")
        case _:
            return Failed("the tool broke")


def actions(dice: random.Random):
    if dice.random() < 0.2:
        return (Revert(),)
    return tuple(
        Click(round(dice.random(), 4), round(dice.random(), 4), dice.random() < 0.7)
        for _ in range(dice.choice([1, 1, 2]))
    )


def packed(shape: tuple[int, int], dice: random.Random) -> PackedMask:
    return PackedMask.of(np.array([dice.random() < 0.4 for _ in range(shape[0] * shape[1])]).reshape(shape))
