"""Which of several looks at a first click is taken."""

from __future__ import annotations

import numpy as np

from napari_ibisagent.segmenters._choice import WEIGHTS, best, measures

SIDE = 64
AGREED, CENTRED, TRUSTED, SURE, WIDE, LARGE = range(6)


def disc(row, column, radius):
    rows, columns = np.ogrid[:SIDE, :SIDE]
    return (rows - row) ** 2 + (columns - column) ** 2 <= radius**2


def measured(masks, certain=0.9, scores=None, shares=None, click=(32, 32)):
    """The measures of looks that all take in the whole view, so that the network's pixels are the view's."""
    count = len(masks)
    certain = [certain] * count if isinstance(certain, float) else certain
    probabilities = [np.where(mask, c, 0.1).astype(np.float32) for mask, c in zip(masks, certain, strict=True)]
    return measures(masks, probabilities, [click] * count, scores or [0.8] * count, shares or [1.0] * count)


def test_what_most_looks_agree_on_is_taken():
    masks = [disc(32, 32, 30), disc(32, 32, 12), disc(32, 32, 13), disc(32, 32, 11)]
    found = measured(masks)
    assert found.shape == (4, len(WEIGHTS))
    assert found[:, AGREED].argmin() == 0
    assert best(found) != 0


def test_a_click_in_the_middle_speaks_for_an_answer_and_one_at_the_rim_against_it():
    middle, rim, outside = disc(32, 32, 12), disc(32, 42, 12), disc(10, 10, 5)
    found = measured([middle, rim, outside])
    assert found[0, CENTRED] == 1 and 0 < found[1, CENTRED] < 0.4 and found[2, CENTRED] == 0
    assert np.allclose(found[:, TRUSTED], 0.8 * found[:, CENTRED])
    assert best(measured([rim, middle])) == 1


def test_certainty_width_and_size():
    mask = disc(32, 32, 12)
    found = measured([mask, mask], certain=[0.95, 0.6], shares=[1.0, 0.25])
    assert np.allclose(found[:, SURE], [0.95, 0.6]) and best(found) == 0
    assert found[0, WIDE] == 0 and np.isclose(found[1, WIDE], np.log(0.25))
    small = measured([mask, disc(32, 32, 3)])
    assert small[0, LARGE] > small[1, LARGE]


def test_looks_that_show_nothing_are_measured_too():
    found = measured([np.zeros((SIDE, SIDE), bool), disc(32, 32, 9)])
    assert np.isfinite(found).all() and best(found) == 1
    assert np.isfinite(measured([np.zeros((SIDE, SIDE), bool)])).all()
