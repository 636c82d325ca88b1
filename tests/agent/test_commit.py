"""A mask becomes an object: which episode's, under which name, into which object."""

from __future__ import annotations

import numpy as np
import pytest
from playground import SIDE, disc, opened, prompted, volume

from napari_ibisagent.agent.commit import committing, home_of, name_of
from napari_ibisagent.core.episode import PackedMask, Painted, Prompted, begin
from napari_ibisagent.core.errors import OverlapError, StateError
from napari_ibisagent.core.session import (
    PALETTE,
    Committed,
    ObjectAdded,
    ObjectChanged,
    OverlapRule,
    Patch,
    RuleChanged,
    SegmentedObject,
    Session,
    advance,
)
from napari_ibisagent.core.target import Side, Target
from napari_ibisagent.core.view import Plane

VIEW = opened()[0]
OTHER = np.zeros((SIDE, SIDE), bool)
OTHER[:20] = True


def fold(*events):
    session = Session()
    for event in events:
        session = advance(session, event)
    return session


def painted(mask, text="the disc"):
    return prompted(text), Painted(PackedMask.of(mask))


def commit(session, **options):
    return committing(session, volume(), VIEW, **options)


def patch(value, mask, index=0, plane=Plane.AXIAL):
    return Committed(Patch(value, plane, index, PackedMask.of(mask)))


def test_nothing_to_commit():
    assert commit(Session()) is None
    assert commit(fold(prompted())) is None
    assert commit(fold(*painted(np.zeros((SIDE, SIDE), bool)))) is None


def test_a_new_object_comes_with_its_row_in_one_event():
    event = commit(fold(ObjectAdded(1, "x", "#000000"), *painted(disc(), "  the\n disc ")))
    assert event.added == SegmentedObject(2, "the disc", PALETTE[1])
    assert event.patch == Patch(2, Plane.AXIAL, 0, PackedMask.of(disc())) and event.episode == 0
    after = fold(ObjectAdded(1, "x", "#000000"), *painted(disc()), event)
    assert after.episode.kept_as == 2


def test_the_number_says_whose_mask():
    session = fold(*painted(disc(), "first"), *painted(OTHER, "second"))
    for number, place, name in ((0, 0, "first"), (1, 1, "second"), (-1, 1, "second"), (-2, 0, "first")):
        event = commit(session, number=number)
        assert (event.episode, event.added.name) == (place, name)
        kept = advance(session, event).episodes
        assert [e.kept_as for e in kept] == [1 if n == place else None for n in range(2)]
    for number in (2, -3, 99):
        with pytest.raises(StateError, match="no prompt"):
            commit(session, number=number)


def test_into_an_object_replaces_its_voxels_and_adds_no_row():
    session = fold(ObjectAdded(4, "mine", "#000000"), patch(4, OTHER), *painted(disc()))
    event = commit(session, into=4)
    assert event.added is None and event.patch == Patch(4, Plane.AXIAL, 0, PackedMask.of(disc()))
    for value in (9, 0):
        with pytest.raises(StateError, match=f"label value {value}"):
            commit(session, into=value)


def test_locks_and_rules():
    rows = ObjectAdded(1, "mine", "#000000"), ObjectAdded(2, "other", "#000000")
    session = fold(*rows, patch(2, OTHER), *painted(disc()))
    assert commit(session, into=1).patch.mask == PackedMask.of(disc() & ~OTHER)
    for into in (1, None):
        with pytest.raises(OverlapError, match="other"):
            commit(advance(session, RuleChanged(OverlapRule.FORBID)), into=into)
    locked = advance(session, ObjectChanged(SegmentedObject(1, "mine", "#000000", locked=True)))
    with pytest.raises(OverlapError, match="mine is locked"):
        commit(locked, into=1)


@pytest.mark.parametrize("locked", [False, True])
def test_a_mask_that_others_hold_already_is_an_overlap_error(locked):
    session = fold(
        ObjectAdded(1, "all", "#000000"),
        ObjectChanged(SegmentedObject(1, "all", "#000000", locked)),
        RuleChanged(OverlapRule.OVERWRITE if locked else OverlapRule.KEEP),
        patch(1, disc() | OTHER),
        *painted(disc()),
    )
    with pytest.raises(OverlapError, match="every voxel"):
        commit(session)


def test_names():
    assert name_of(begin(prompted(" a\tb \n c"))) == "a b c"
    assert name_of(begin(prompted("x" * 99))) == "x" * 60
    sided = Prompted("l kidney", Plane.AXIAL, 0, (SIDE, SIDE), Target("kidney", "kidney", Side.LEFT))
    assert name_of(begin(sided)) == sided.target.full_name != "l kidney"


def test_the_object_of_the_same_name_is_where_a_further_slice_goes():
    rows = [ObjectAdded(n, name, "#000000") for n, name in ((1, "a"), (2, "the  disc "), (3, "the disc"), (4, "b"))]
    session = fold(*rows, *painted(disc()))
    assert home_of(session, session.episode).value == 2
    assert home_of(session, begin(prompted("c"))) is None
    # Of two with one name it is the one that is on this slice already.
    here = fold(*rows, patch(2, OTHER, index=1), patch(3, OTHER), *painted(disc()))
    assert home_of(here, here.episode).value == 3
