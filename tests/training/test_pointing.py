"""The nano agent's first lesson in words: a click on everything that a picture shows."""

from __future__ import annotations

import re

import numpy as np
import pytest

pytest.importorskip("torch", reason="the extra models is not installed")
pytest.importorskip("transformers", reason="the extra models is not installed")

from napari_ibisagent.core.actions import Click
from napari_ibisagent.core.dialects import ibis
from napari_ibisagent.training.nano.anatomy import ANYWHERE, CENTRED, SIDE, make_slice
from napari_ibisagent.training.nano.model import write_untrained
from napari_ibisagent.training.nano.pointing import SENTENCES, Pointing
from napari_ibisagent.training.nano.school import open_nano

NAMED = re.compile(r"Click (.+) at the picture's")

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning")


@pytest.fixture(scope="module")
def opened(tmp_path_factory):
    folder = tmp_path_factory.mktemp("words") / "untrained"
    return open_nano(write_untrained(folder, SENTENCES, seed=0))


def turns(opened, example):
    """The turns of an answer, each parsed by the dialect, by the name of what is clicked."""
    tokens = [token for token, learned in zip(example.ids, example.learned, strict=True) if learned]
    text = opened.tokenizer.decode(tokens[:-1])
    found = [ibis.parse("<think>" + one) for one in text.split("<think>")[1:]]
    return [(NAMED.search(turn.thought).group(1), turn.actions) for turn in found]


@pytest.mark.parametrize("anywhere, framing", [(0.0, CENTRED), (1.0, ANYWHERE)])
def test_every_structure_is_clicked_where_it_lies(opened, anywhere, framing):
    lesson = Pointing(12, 5, anywhere, opened)
    for number in range(12):
        rng = np.random.default_rng([5, number])
        rng.random()  # how the body lies
        truth = make_slice(rng, framing=framing).structures
        found = dict(turns(opened, lesson[number]))
        assert found.keys() == truth.keys()
        for name, mask in truth.items():
            (click,) = found[name]
            assert isinstance(click, Click) and click.positive
            column, row = (min(int(at * SIDE), SIDE - 1) for at in (click.x, click.y))
            near = mask[max(row - 1, 0) : row + 2, max(column - 1, 0) : column + 2]
            assert near.any(), name  # two decimals are a pixel's width


def test_the_order_is_another_each_time(opened):
    lesson = Pointing(1, 7, 0.0, opened)
    told = [tuple(name for name, _ in turns(opened, lesson[0])) for _ in range(6)]
    assert len(set(told)) > 1 and len({frozenset(names) for names in told}) == 1
