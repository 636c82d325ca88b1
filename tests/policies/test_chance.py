"""How the next token is chosen."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

torch = pytest.importorskip("torch", reason="the extra models is not installed")

from napari_ibisagent.policies.qwen_vl.chance import Choice, chosen, unlikely  # noqa: E402

SCORES = arrays(np.float64, st.tuples(st.integers(1, 4), st.integers(1, 12)), elements=st.floats(-20, 20))


@given(SCORES, st.floats(0.01, 0.99))
def test_as_few_tokens_as_are_probable_enough_together(scores, top_p):
    tensor = torch.tensor(scores)
    for probable, out in zip(torch.softmax(tensor, dim=-1), unlikely(tensor, top_p), strict=True):
        inside = probable[~out]
        assert bool(~out[probable.argmax()])
        assert float(inside.sum()) >= top_p - 1e-9
        assert float(inside.sum() - inside.min()) < top_p + 1e-9  # without the last of them it wasn't enough
        assert not out.any() or float(probable[out].max()) <= float(inside.min())


@given(SCORES, st.integers(0, 9))
def test_where_one_token_is_enough_it_is_the_likeliest(scores, seed):
    tensor, dice = torch.tensor(scores), torch.Generator().manual_seed(seed)
    greedy = chosen(tensor, Choice(), dice)
    few = chosen(tensor, Choice(temperature=1.0, top_p=1e-6), dice)
    at = torch.arange(len(tensor))
    assert torch.allclose(tensor[at, few], tensor[at, greedy])


def test_all_tokens_come_as_often_as_they_are_probable():
    scores = torch.tensor([0.5, 0.3, 0.15, 0.05]).log().expand(4000, 4)
    share = lambda choice: np.bincount(chosen(scores, choice, torch.Generator().manual_seed(1)), minlength=4) / 4000  # noqa: E731
    assert share(Choice(temperature=1.0)) == pytest.approx([0.5, 0.3, 0.15, 0.05], abs=0.03)
    assert share(Choice(temperature=1.0, top_p=0.7)) == pytest.approx([0.625, 0.375, 0, 0], abs=0.03)
    sharper = np.array([0.5, 0.3, 0.15, 0.05]) ** 2
    assert share(Choice(temperature=0.5)) == pytest.approx(sharper / sharper.sum(), abs=0.03)
