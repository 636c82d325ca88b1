"""Masks: measures, regions, boxes and the text form."""

from __future__ import annotations

import base64
import subprocess
import sys
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from napari_ibisagent.core.episode import PackedMask
from napari_ibisagent.core.masks import bounding_box, decode, dice, encode, error_regions, iou

MASKS = arrays.arrays(bool, arrays.array_shapes(min_dims=1, max_dims=3, min_side=0, max_side=9))
PAIRS = arrays.array_shapes(min_dims=2, max_dims=2, max_side=9).flatmap(
    lambda shape: st.tuples(arrays.arrays(bool, shape), arrays.arrays(bool, shape))
)


@settings(max_examples=300, deadline=None, derandomize=True)
@given(MASKS)
def test_the_text_form_comes_back_bit_for_bit(mask):
    again = decode(encode(mask), mask.shape)
    assert again.dtype == bool and again.shape == mask.shape and np.array_equal(again, mask)
    packed = PackedMask.of(mask)
    assert packed == PackedMask.of(mask.copy()) and np.array_equal(packed.array(), mask)


def test_the_text_form_is_the_published_one():
    """Run lengths, row-major, zeros first, then zlib and base64 (DESIGN section 6)."""
    mask = np.array([[False, False, True], [True, False, True]])
    assert zlib.decompress(base64.b64decode(encode(mask))) == b"2 2 1 1"
    assert zlib.decompress(base64.b64decode(encode(~mask))) == b"0 2 2 1 1"
    assert np.array_equal(decode(encode(mask.T), (3, 2)), mask.T)  # a view that isn't contiguous
    assert np.array_equal(decode(encode(mask.astype(np.uint8)), (2, 3)), mask)


def test_the_text_form_is_small():
    rows, columns = np.ogrid[:512, :512]
    organ = (rows - 250) ** 2 / 1.7 + (columns - 200) ** 2 < 90**2
    assert len(encode(organ)) < 1500


def packed(text):
    return base64.b64encode(zlib.compress(text.encode())).decode()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "!!!",
        "AAAA",
        "ßß",
        base64.b64encode(b"not zlib").decode(),
        packed("a b"),
        packed("3 3.5"),
        packed("3"),
        packed("5 5 5"),
        packed("-1 7"),
        packed("7 -1"),
        packed("99999999999999999999999 1"),
        encode(np.zeros((2, 4), bool)),
        encode(np.ones((2, 3), bool))[:-4],
        encode(np.ones((2, 3), bool)) + "AAAA",
        packed("6") + "\n",
    ],
)
def test_a_broken_text_form_is_a_value_error(text):
    with pytest.raises(ValueError):
        decode(text, (2, 3))


def test_runs_that_only_add_up_by_overflow_are_refused_and_crash_nothing():
    """In a process of its own: numpy crashed on runs whose sum wraps round to the right size."""
    text = packed("9223372036854775807 9223372036854775807 8")
    code = (
        "from napari_ibisagent.core.masks import decode\n"
        "try:\n"
        f"    decode({text!r}, (2, 3))\n"
        "except ValueError:\n"
        "    raise SystemExit(7)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], timeout=60, check=False)
    assert done.returncode == 7


def test_an_empty_mask_has_no_size_to_hold():
    assert decode(encode(np.zeros((0, 4), bool)), (0, 4)).shape == (0, 4)


@settings(max_examples=200, deadline=None, derandomize=True)
@given(PAIRS)
def test_overlap_and_error_regions(pair):
    a, b = pair
    assert 0 <= iou(a, b) <= dice(a, b) <= 1
    assert iou(a, b) == iou(b, a) and dice(a, b) == dice(b, a)
    assert iou(a, a) == dice(b, b) == 1
    assert dice(a, b) == pytest.approx(2 * iou(a, b) / (1 + iou(a, b)))
    missed, spilled = error_regions(a, b)
    assert not (missed & spilled).any()
    assert np.array_equal((a | missed) & ~spilled, b)
    assert (iou(a, b) == 1) == (not (missed | spilled).any())


def test_measures_of_known_masks():
    a, b = np.zeros((4, 4), bool), np.zeros((4, 4), bool)
    assert iou(a, b) == dice(a, b) == 1
    a[0, :2], b[0, 1:3] = True, True
    assert iou(a, b) == pytest.approx(1 / 3) and dice(a, b) == pytest.approx(0.5)
    assert iou(a, ~a) == dice(a, ~a) == 0


@settings(max_examples=200, deadline=None, derandomize=True)
@given(MASKS)
def test_the_bounding_box_is_the_smallest(mask):
    box = bounding_box(mask)
    if box is None:
        assert not mask.any()
        return
    assert mask[box].sum() == mask.sum()
    for axis in range(mask.ndim):
        inner = np.moveaxis(mask[box], axis, 0)
        assert inner[0].any() and inner[-1].any()
