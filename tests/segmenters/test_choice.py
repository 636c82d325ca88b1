"""Which of several looks at a first click is taken."""

from __future__ import annotations

import numpy as np

from napari_ibisagent.segmenters._choice import WEIGHTS, best, measures

SIDE = 64
AGREED, CENTRED, TRUSTED, SURE = range(4)


def disc(row, column, radius):
    rows, columns = np.ogrid[:SIDE, :SIDE]
    return (rows - row) ** 2 + (columns - column) ** 2 <= radius**2


def measured(masks, certain=0.9, click=(32, 32)):
    """The measures of looks that all take in the whole view, so that the network's pixels are the view's."""
    count = len(masks)
    certain = [certain] * count if isinstance(certain, float) else certain
    probabilities = [np.where(mask, c, 0.1).astype(np.float32) for mask, c in zip(masks, certain, strict=True)]
    return measures(masks, probabilities, [click] * count, [0.8] * count)


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


def test_of_two_alike_answers_the_surer_one_is_taken():
    mask = disc(32, 32, 12)
    found = measured([mask, mask], certain=[0.6, 0.95])
    assert np.allclose(found[:, SURE], [0.6, 0.95]) and best(found) == 1


def test_looks_that_show_nothing_are_measured_too():
    found = measured([np.zeros((SIDE, SIDE), bool), disc(32, 32, 9)])
    assert np.isfinite(found).all() and best(found) == 1
    assert np.isfinite(measured([np.zeros((SIDE, SIDE), bool)])).all()
