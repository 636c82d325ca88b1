"""Muon for matrices, AdamW for the rest, as one optimiser."""

from __future__ import annotations

import copy

import pytest

torch = pytest.importorskip("torch", reason="the extra models is not installed")

from napari_ibisagent.training.muon import MatricesApart  # noqa: E402


class Small(torch.nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.embed_tokens = torch.nn.Embedding(5, 4)
        self.inner = torch.nn.Linear(4, 6)
        self.lm_head = torch.nn.Linear(6, 5, bias=False)

    def forward(self, tokens):
        return self.lm_head(torch.tanh(self.inner(self.embed_tokens(tokens))))


def steps(model, optimiser, count):
    tokens = torch.arange(5)
    for _ in range(count):
        optimiser.zero_grad()
        loss = torch.nn.functional.cross_entropy(model(tokens), (tokens + 1) % 5)
        loss.backward()
        optimiser.step()
    return float(loss.detach())


def test_a_matrix_turns_and_what_looks_words_up_doesnt():
    model = Small()
    optimiser = MatricesApart(model.named_parameters(), 1e-2, 2.0, 0.0)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    assert steps(model, optimiser, 1) > steps(model, optimiser, 20)
    moved = {name: value - before[name] for name, value in model.state_dict().items()}
    assert all(bool(one.any()) for one in moved.values())
    first = Small()
    steps(first, MatricesApart(first.named_parameters(), 1e-2, 2.0, 0.0), 1)
    change = (first.inner.weight - before["inner.weight"]).detach()
    # An orthogonal step has singular values that are nearly alike; a sign step of AdamW has one large one.
    values = torch.linalg.svdvals(change)
    assert float(values.max() / values.min()) < 3
    change = (first.lm_head.weight - before["lm_head.weight"]).detach().abs()
    torch.testing.assert_close(change, torch.full_like(change, 1e-2), rtol=1e-2, atol=0)


def test_it_goes_on_where_it_was_saved():
    model = Small()
    optimiser = MatricesApart(model.named_parameters(), 1e-2, 2.0, 0.01)
    steps(model, optimiser, 3)
    other = copy.deepcopy(model)
    again = MatricesApart(other.named_parameters(), 1e-2, 2.0, 0.01)
    again.load_state_dict(copy.deepcopy(optimiser.state_dict()))
    assert steps(model, optimiser, 5) == steps(other, again, 5)
    for one, two in zip(model.parameters(), other.parameters(), strict=True):
        assert torch.equal(one, two)


def test_a_rate_that_is_changed_is_used():
    model = Small()
    optimiser = MatricesApart(model.named_parameters(), 1e-2, 2.0, 0.0)
    optimiser.load_state_dict(copy.deepcopy(optimiser.state_dict()))
    assert sorted({group["lr"] for group in optimiser.param_groups}) == [1e-2, 2e-2]
    for group in optimiser.param_groups:
        group["lr"] = 0.0
    before = copy.deepcopy(model.state_dict())
    steps(model, optimiser, 2)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
