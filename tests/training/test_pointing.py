"""The nano agent's first lesson in words: where everything is that a picture shows, as a list and as first turns."""

from __future__ import annotations

import re

import numpy as np
import pytest

pytest.importorskip("torch", reason="the extra models is not installed")
pytest.importorskip("transformers", reason="the extra models is not installed")

from napari_ibisagent.core.actions import Click
from napari_ibisagent.core.dialects import ibis
from napari_ibisagent.training.nano.anatomy import ANYWHERE, CENTRED, LESIONS, SIDE, make_slice
from napari_ibisagent.training.nano.model import write_untrained
from napari_ibisagent.training.nano.pointing import LIST, SENTENCES, TURNS, Pointing
from napari_ibisagent.training.nano.school import open_nano

ENTRY = re.compile(r" ([a-z ]+) \((\d\.\d\d), (\d\.\d\d)\)")
NAMED = re.compile(r"Click (.+) at the picture's")

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning")


@pytest.fixture(scope="module")
def opened(tmp_path_factory):
    folder = tmp_path_factory.mktemp("words") / "untrained"
    return open_nano(write_untrained(folder, SENTENCES, seed=0))


def said(opened, example):
    tokens = [token for token, learned in zip(example.ids, example.learned, strict=True) if learned]
    return opened.tokenizer.decode(tokens[:-1])


def turns(opened, example):
    """The first turns of an answer, each parsed by the dialect: (the name of what is clicked, x, y) each."""
    found = [ibis.parse("<think>" + one) for one in said(opened, example).split("<think>")[1:]]
    for turn in found:
        (click,) = turn.actions
        assert isinstance(click, Click) and click.positive
        yield NAMED.search(turn.thought).group(1), click.x, click.y


def listed(opened, example):
    """(name, x, y) of each entry of a list."""
    text = said(opened, example)
    found = [(name, float(x), float(y)) for name, x, y in ENTRY.findall(text)]
    assert "".join(f" {name} ({x:.2f}, {y:.2f})" for name, x, y in found) == text
    return found


READ = {LIST: listed, TURNS: turns}


def slice_of(number, framing):
    """The slice that ``Pointing`` shows of seed 5."""
    rng = np.random.default_rng([5, number])
    rng.random()  # how the body lies
    made = make_slice(rng, framing=framing)
    return made if made.structures.keys() & set(LESIONS) else make_slice(rng, framing=framing)


@pytest.mark.parametrize("question", [LIST, TURNS])
@pytest.mark.parametrize("anywhere, framing", [(0.0, CENTRED), (1.0, ANYWHERE)])
def test_every_structure_is_told_where_it_lies(opened, question, anywhere, framing):
    lesson = Pointing(12, 5, anywhere, opened, question)
    for number in range(12):
        truth = slice_of(number, framing).structures
        found = list(READ[question](opened, lesson[number]))
        assert sorted(name for name, *_ in found) == sorted(truth)
        for name, x, y in found:
            column, row = (min(int(at * SIDE), SIDE - 1) for at in (x, y))
            near = truth[name][max(row - 1, 0) : row + 2, max(column - 1, 0) : column + 2]
            assert near.any(), name  # two decimals are a pixel's width


def test_the_order_is_another_each_time(opened):
    lesson = Pointing(1, 7, 0.0, opened)
    told = [tuple(name for name, *_ in listed(opened, lesson[0])) for _ in range(6)]
    assert len(set(told)) > 1 and len({frozenset(names) for names in told}) == 1


def test_no_more_are_asked_for(opened):
    lesson = Pointing(6, 5, 0.0, opened, TURNS, 2)
    told = [list(turns(opened, lesson[number])) for number in range(6)]
    assert all(len(found) == min(2, len(slice_of(n, CENTRED).structures)) for n, found in enumerate(told))
    assert len({name for found in told for name, *_ in found}) > 3


def test_lesions_are_shown_oftener(opened):
    shown = [
        any(name in LESIONS for name, *_ in listed(opened, example))
        for example in (Pointing(150, 5, 0.0, opened)[number] for number in range(150))
    ]
    usual = [bool(make_slice(np.random.default_rng([6, n])).structures.keys() & set(LESIONS)) for n in range(150)]
    assert np.mean(shown) > np.mean(usual) + 0.1
