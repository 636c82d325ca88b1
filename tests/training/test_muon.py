"""Muon for matrices, AdamW for the rest, as one optimiser."""

from __future__ import annotations

import copy

import pytest

torch = pytest.importorskip("torch", reason="the extra models is not installed")

from napari_ibisagent.training.muon import MatricesApart, Muon, orthogonal  # noqa: E402


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


@pytest.mark.parametrize("shape", [(6, 17), (17, 6), (8, 8), (1, 5)])
def test_it_goes_as_torchs_own_does(shape):
    """torch's own rounds to 16 bits: a step of either differs by less than a fiftieth."""
    torch.manual_seed(1)
    start, gradients = torch.randn(shape), [torch.randn(shape) for _ in range(5)]
    moved = []
    for make in (
        lambda matrix: torch.optim.Muon([matrix], lr=0.03, weight_decay=0.1, adjust_lr_fn="match_rms_adamw"),
        lambda matrix: Muon([matrix], 0.03, 0.1),
    ):
        matrix = torch.nn.Parameter(start.clone())
        optimiser = make(matrix)
        for gradient in gradients:
            matrix.grad = gradient.clone()
            optimiser.step()
        moved.append(matrix.detach() - start)
    own, ours = moved
    assert float((ours - own).norm() / own.norm()) < 0.02 and float(own.norm()) > 0.01


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_a_kernel_goes_as_the_matrix_of_its_rows(layout):
    torch.manual_seed(2)
    values, gradient = torch.randn(4, 3, 3, 3), torch.randn(4, 3, 3, 3)
    kernel = torch.nn.Parameter(values.clone().to(memory_format=layout))
    matrix = torch.nn.Parameter(values.flatten(1).clone())
    kernel.grad, matrix.grad = gradient.clone().to(memory_format=layout), gradient.flatten(1).clone()
    for one in (kernel, matrix):
        Muon([one], 0.1, 0.01).step()
    torch.testing.assert_close(kernel.detach().flatten(1), matrix.detach())
    assert not torch.allclose(matrix.detach(), values.flatten(1))


def test_what_has_no_gradient_stays_and_zeros_are_no_harm():
    still, zero = (torch.nn.Parameter(torch.ones(3, 4)) for _ in range(2))
    zero.grad = torch.zeros(3, 4)
    Muon([still, zero], 0.1, 0.0).step()
    assert torch.equal(still.detach(), torch.ones(3, 4)) and torch.equal(zero.detach(), torch.ones(3, 4))


def test_an_orthogonal_matrix_is_near():
    torch.manual_seed(3)
    matrix = torch.randn(5, 40)
    u, _, v = torch.linalg.svd(matrix, full_matrices=False)
    found = orthogonal(matrix)
    assert float((found - u @ v).norm() / (u @ v).norm()) < 0.35
    assert float(torch.linalg.svdvals(found).min()) > 0.5 and float(torch.linalg.svdvals(found).max()) < 1.3
