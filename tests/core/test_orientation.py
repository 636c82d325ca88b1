"""Letters and points in patient coordinates: whatever the grid, they name the sides where its voxels really lie."""

from __future__ import annotations

from itertools import combinations, permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_ibisagent.core.orientation import Edges, axis_letters, edge_letters, patient_point, point_text
from napari_ibisagent.core.volume import Volume

OPPOSITE = str.maketrans("RLAPSI", "LRPAIS")
STANDARD = np.diag([-0.8, -0.9, -5.0, 1.0])


@st.composite
def affines(draw):
    """Any grid: turned by any angles, of any spacing and origin, mirrored or not, with or without a sheared axis."""
    turn = np.eye(3)
    for a, b in combinations(range(3), 2):
        angle = draw(st.floats(-np.pi, np.pi))
        step = np.eye(3)
        step[a, a] = step[b, b] = np.cos(angle)
        step[a, b], step[b, a] = -np.sin(angle), np.sin(angle)
        turn = step @ turn
    shear = np.eye(3)
    shear[1, 2] = draw(st.sampled_from([0.0, 0.2, -0.4]))
    spacing = draw(st.tuples(*[st.sampled_from([-1.5, 0.3, 0.7, 1.0, 5.0])] * 3))
    affine = np.eye(4)
    affine[:3, :3] = turn @ shear @ np.diag(spacing)
    affine[:3, 3] = draw(st.tuples(*[st.floats(-500, 500)] * 3))
    return affine


def side(letter):
    """A letter's unit vector in RAS+."""
    vector = np.zeros(3)
    vector["RAS".find(letter) if letter in "RAS" else "LPI".find(letter)] = 1 if letter in "RAS" else -1
    return vector


def test_the_standard_axes():
    assert axis_letters(STANDARD) == (("S", "I"), ("A", "P"), ("R", "L"))
    volume = Volume.from_source(np.zeros((2, 3, 4)), np.eye(4))
    assert axis_letters(volume.affine) == (("S", "I"), ("A", "P"), ("R", "L"))


@pytest.mark.parametrize(
    ("displayed", "edges"),
    [
        pytest.param((1, 2), Edges("A", "P", "R", "L"), id="axial"),
        pytest.param((0, 2), Edges("S", "I", "R", "L"), id="coronal"),
        pytest.param((0, 1), Edges("S", "I", "A", "P"), id="sagittal"),
        pytest.param((2, 1), Edges("R", "L", "A", "P"), id="axial, transposed"),
    ],
)
def test_the_edges_of_the_standard_planes(displayed, edges):
    letters = axis_letters(STANDARD)
    assert edge_letters(letters, displayed) == edges
    assert edge_letters(letters, displayed, (True, False)) == Edges(edges.bottom, edges.top, edges.left, edges.right)
    assert edge_letters(letters, displayed, (False, True)) == Edges(edges.top, edges.bottom, edges.right, edges.left)


@pytest.mark.parametrize(
    ("direction", "low_and_high"),
    [
        ((-0.8, 0.6, 0.0), ("RP", "LA")),
        ((0.6, -0.8, 0.0), ("AL", "PR")),
        ((-1.0, 0.29, 0.0), ("R", "L")),
        ((-0.9, 0.4, -0.35), ("RPS", "LAI")),
        ((-1.0, -1.0, -1.0), ("RAS", "LPI")),
    ],
)
def test_an_oblique_axis_names_its_sides_by_share(direction, low_and_high):
    affine = STANDARD.copy()
    affine[:3, 0] = np.array(direction) * 2.5
    assert axis_letters(affine)[2] == low_and_high


@settings(max_examples=300, deadline=None, derandomize=True)
@given(affines())
def test_letters_name_where_the_voxels_lie(affine):
    letters = axis_letters(affine)
    for axis, (low, high) in enumerate(letters):
        assert low == high.translate(OPPOSITE)
        there, here = np.zeros(3), np.zeros(3)
        there[axis] = 10
        move = np.subtract(patient_point(affine, there), patient_point(affine, here))
        shares = [float(side(letter) @ move / np.linalg.norm(move)) for letter in high]
        assert shares == sorted(shares, reverse=True)
        assert shares[0] == pytest.approx(np.abs(move).max() / np.linalg.norm(move))
        assert all(share > 0.3 for share in shares)
        unnamed = move - sum(side(letter) * (side(letter) @ move) for letter in high)
        assert np.all(np.abs(unnamed) <= 0.3 * np.linalg.norm(move) + 1e-9)


@settings(max_examples=100, deadline=None, derandomize=True)
@given(affines(), st.permutations(range(3)), st.booleans(), st.booleans())
def test_flips_and_a_transposed_picture_only_move_the_letters(affine, axes, flip_rows, flip_columns):
    letters = axis_letters(affine)
    rows, columns = axes[:2]
    edges = edge_letters(letters, (rows, columns), (flip_rows, flip_columns))
    mirrored = affine.copy()
    for axis, flip in ((rows, flip_rows), (columns, flip_columns)):
        mirrored[:3, 2 - axis] *= -1 if flip else 1
    assert edge_letters(axis_letters(mirrored), (rows, columns)) == edges
    swapped = edge_letters(letters, (columns, rows), (flip_columns, flip_rows))
    assert (swapped.top, swapped.bottom, swapped.left, swapped.right) == (
        edges.left,
        edges.right,
        edges.top,
        edges.bottom,
    )


@settings(max_examples=100, deadline=None, derandomize=True)
@given(affines(), st.tuples(*[st.floats(-50, 600)] * 3))
def test_a_point_is_the_affines(affine, voxel):
    z, y, x = voxel
    assert patient_point(affine, voxel) == pytest.approx(tuple((affine @ (x, y, z, 1.0))[:3]))


@pytest.mark.parametrize(
    ("point", "text"),
    [
        ((12.34, 40.06, 77.0), "R 12.3  A 40.1  S 77.0 mm"),
        ((-12.34, -40.06, -1077.0), "L 12.3  P 40.1  I 1077.0 mm"),
        ((-0.04, 0.0, -0.06), "R 0.0  A 0.0  I 0.1 mm"),
    ],
)
def test_the_text_of_a_point(point, text):
    assert point_text(point) == text


@pytest.mark.parametrize("column", [(0.0, 0.0, 0.0), (np.nan, 0.0, 1.0)])
@pytest.mark.parametrize("axis", range(3))
def test_an_axis_of_no_length_is_refused(axis, column):
    affine = np.eye(4)
    affine[:3, axis] = column
    with pytest.raises(ValueError, match="no length"):
        axis_letters(affine)


def test_each_axis_of_a_right_angled_grid_gets_its_own_letter():
    for order in permutations(range(3)):
        affine = np.eye(4)
        affine[:3, :3] = np.eye(3)[:, order]
        assert sorted(high for _, high in axis_letters(affine)) == ["A", "R", "S"]
