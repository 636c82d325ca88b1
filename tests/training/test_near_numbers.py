"""A loss to which a number's neighbours are nearly right."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

torch = pytest.importorskip("torch", reason="the extra models is not installed")
pytest.importorskip("transformers", reason="the extra models is not installed")

from napari_ibisagent.core.errors import InputError  # noqa: E402
from napari_ibisagent.evaluation.bench.random_models import random_tokenizer  # noqa: E402
from napari_ibisagent.training.batches import IGNORED  # noqa: E402
from napari_ibisagent.training.nano.model import tokenizer  # noqa: E402
from napari_ibisagent.training.sft.near_numbers import near_numbers  # noqa: E402


@pytest.fixture(scope="module")
def words():
    return tokenizer([f"{number:02d} word" for number in range(100)] * 3)


def answer(words, *pieces):
    """(1, T) labels: something that isn't learned, then the pieces."""
    return torch.tensor([[IGNORED, *words.convert_tokens_to_ids(list(pieces))]])


def scores(words, *pieces, by=6.0):
    """A model that is fairly sure of these pieces, (1, T, V)."""
    found = torch.zeros(1, len(pieces) + 1, len(words))
    for place, token in enumerate(words.convert_tokens_to_ids(list(pieces))):
        found[0, place, token] = by
    return SimpleNamespace(logits=found)


def test_a_near_number_costs_less_than_a_far_one(words):
    loss, true = near_numbers(words, 1.5), answer(words, "40")
    right, near, far = (float(loss(scores(words, number), true)) for number in ("40", "41", "90"))
    assert right < near < far


def test_other_words_cost_what_they_always_did(words):
    labels = answer(words, "Ġword", "Ġword")
    said = scores(words, "Ġword", "40")
    usual = torch.nn.functional.cross_entropy(said.logits[0, :-1], labels[0, 1:])
    assert float(near_numbers(words, 1.5)(said, labels)) == pytest.approx(float(usual), rel=1e-5)


def test_without_a_spread_it_is_the_usual_loss(words):
    labels = answer(words, "40", "Ġword", "07")
    said = SimpleNamespace(logits=torch.randn(1, 4, len(words), generator=torch.Generator().manual_seed(0)))
    usual = torch.nn.functional.cross_entropy(said.logits[0, :-1], labels[0, 1:])
    assert float(near_numbers(words, 0.05)(said, labels)) == pytest.approx(float(usual), rel=1e-4)
    assert float(near_numbers(words, 0.05)(said, labels, num_items_in_batch=6)) == pytest.approx(float(usual) / 2)


def test_a_tokenizer_of_single_digits_is_refused():
    with pytest.raises(InputError, match="digit by digit"):
        near_numbers(random_tokenizer(["some words"]), 1.5)
