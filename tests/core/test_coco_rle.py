"""COCO's compressed run lengths: bit for bit, and the same letters as the COCO API's."""

from __future__ import annotations

import time
from contextlib import suppress

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from napari_ibisagent.core.coco_rle import decode, encode

MASKS = arrays.arrays(bool, arrays.array_shapes(min_dims=2, max_dims=2, min_side=0, max_side=40))
SOLID = arrays.arrays(bool, arrays.array_shapes(min_dims=2, max_dims=2, max_side=40))
SHAPES = st.tuples(st.integers(0, 12), st.integers(0, 12))


@settings(max_examples=300, deadline=None, derandomize=True)
@given(MASKS)
@example(np.zeros((0, 4), bool))
@example(np.ones((3, 4), bool))
def test_a_mask_comes_back_bit_for_bit(mask):
    again = decode(encode(mask), mask.shape)
    assert again.dtype == bool and again.shape == mask.shape and np.array_equal(again, mask)
    assert again.flags.c_contiguous and again.flags.writeable


def blobs(seed, shape=(211, 97)):
    """Organs of some thousand pixels and a speckle, so that runs are long, short, growing and shrinking."""
    random = np.random.default_rng(seed)
    rows, columns = np.ogrid[: shape[0], : shape[1]]
    mask = random.random(shape) < 0.001
    for _ in range(3):
        row, column, radius = random.uniform(0, shape[0]), random.uniform(0, shape[1]), random.uniform(3, 60)
        mask |= (rows - row) ** 2 + (columns - column) ** 2 < radius**2
    return mask


# It hands its own arrays to numpy in the old way.
@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
@settings(max_examples=300, deadline=None, derandomize=True)
@given(SOLID | st.integers(0, 999).map(blobs))
def test_the_letters_are_those_of_the_coco_api(mask):
    coco = pytest.importorskip("pycocotools.mask")
    theirs = coco.encode(np.asfortranarray(mask.astype(np.uint8)))
    assert encode(mask) == theirs["counts"].decode("ascii")
    back = coco.decode({"size": list(mask.shape), "counts": encode(mask).encode("ascii")})
    assert np.array_equal(back.astype(bool), mask)


def test_letters_worked_out_by_hand():
    """Runs down the columns, zeros first; from the fourth on each is what it is beyond the one two before it."""
    striped = np.array([[0, 1, 0, 1], [1, 0, 1, 0]], bool)  # 1, 2, 2, 2, 1, so 1, 2, 2, 0, -1
    assert encode(striped) == "1220O" and np.array_equal(decode("1220O", (2, 4)), striped)
    mask = np.array([[False, False, True], [True, False, True]])
    assert encode(mask) == encode(mask.astype(np.uint8)) == "1121"
    assert encode(~mask) == "01111"
    assert encode(np.zeros((4, 5), bool)) == "d0"


@settings(max_examples=500, deadline=None, derandomize=True)
@given(st.text(max_size=30) | st.text(st.characters(min_codepoint=48, max_codepoint=111), max_size=30), SHAPES)
def test_broken_letters_are_a_value_error_and_nothing_else(letters, shape):
    try:
        mask = decode(letters, shape)
    except ValueError as error:
        assert str(error).endswith(".")
    else:
        assert mask.shape == shape and mask.dtype == bool


@settings(max_examples=200, deadline=None, derandomize=True)
@given(SOLID, st.data())
def test_a_mask_with_a_changed_letter_is_read_or_a_value_error(mask, data):
    letters = encode(mask)
    place = data.draw(st.integers(0, len(letters) - 1))
    letter = data.draw(st.characters(min_codepoint=40, max_codepoint=120) | st.just(""))
    with suppress(ValueError):
        assert decode(letters[:place] + letter + letters[place + 1 :], mask.shape).shape == mask.shape


@pytest.mark.parametrize(
    ("letters", "words"),
    [
        ("", "6 pixels"),
        ("5", "6 pixels"),
        ("7", "6 pixels"),
        ("O7", "6 pixels"),  # -1, 7
        ("6\n", "isn't one of its letters"),
        ("6é", "isn't one of its letters"),
        ("V", "breaks off"),
        ("o" * 40 + "0", "longer than any mask"),
    ],
)
def test_what_is_wrong_is_said(letters, words):
    with pytest.raises(ValueError, match=words):
        decode(letters, (2, 3))


def test_a_number_without_an_end_takes_no_time():
    started = time.perf_counter()
    with pytest.raises(ValueError, match="longer than any mask"):
        decode("o" * 1_000_000 + "0", (2, 3))
    assert time.perf_counter() - started < 2
