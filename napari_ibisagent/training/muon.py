"""``Muon`` for matrices and AdamW for all else, as one optimiser.

Muon (Jordan et al. 2024) turns each step of a matrix into its nearest orthogonal one. A small model from random weights
then learns in half the steps. torch has one too, but for plain matrices alone; and it multiplies in bfloat16, which is
some ten times as slow on a processor that can't.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from napari_ibisagent.training.precision import faster_in_16_bits

# What looks words up isn't turned; it has a row a word.
_LOOKED_UP = ("embed_tokens", "lm_head")
# Matrices, and the kernels of convolutions over two axes.
_TURNED = (2, 4)
# Of the mean of the gradients, a step keeps so much.
_MOMENTUM = 0.95
# Of the odd polynomial that brings every singular value near 1, used so many times (Jordan's figures).
_POLYNOMIAL, _TIMES = (3.4445, -4.7750, 2.0315), 5


class MatricesApart(torch.optim.Optimizer):
    """AdamW of ``rate``, but matrices by Muon of ``times`` that rate; a step of Muon is as large as one of AdamW's."""

    def __init__(self, named: Iterable[tuple[str, nn.Parameter]], rate: float, times: float, decay: float) -> None:
        learned = [(name, parameter) for name, parameter in named if parameter.requires_grad]
        turned = {id(p) for name, p in learned if p.ndim in _TURNED and not any(part in name for part in _LOOKED_UP)}
        self._parts: tuple[torch.optim.Optimizer, ...] = (
            Muon([p for _, p in learned if id(p) in turned], rate * times, decay),
            torch.optim.AdamW(
                [p for _, p in learned if id(p) not in turned], lr=rate, betas=(0.9, 0.95), weight_decay=decay
            ),
        )
        super().__init__([group for part in self._parts for group in part.param_groups], {})
        self._share_groups()

    def step(self, closure: Any = None) -> None:  # type: ignore[override]  # nothing here takes a closure
        """A step of both."""
        for part in self._parts:
            part.step()

    def state_dict(self) -> dict[str, Any]:
        """The states of both."""
        return {"parts": [part.state_dict() for part in self._parts]}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """What ``state_dict`` gave."""
        for part, state in zip(self._parts, state_dict["parts"], strict=True):
            part.load_state_dict(state)
        self._share_groups()

    def _share_groups(self) -> None:
        """Who changes a rate here changes it in the part."""
        self.param_groups = [group for part in self._parts for group in part.param_groups]


class Muon(torch.optim.Optimizer):
    """For matrices (rows, columns), and kernels (rows, ...) as such; a step is as large as one of AdamW's at that rate.

    It computes in bfloat16 where that is faster, else in 32 bits.
    """

    def __init__(self, matrices: Iterable[nn.Parameter], rate: float, decay: float) -> None:
        super().__init__(matrices, {"lr": rate, "weight_decay": decay})

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]  # nothing here takes a closure
        """A step of each matrix that has a gradient."""
        for group in self.param_groups:
            for matrix in group["params"]:
                if matrix.grad is None:
                    continue
                state = self.state[matrix]
                if "momentum_buffer" not in state:
                    state["momentum_buffer"] = torch.zeros_like(matrix.grad)
                mean = state["momentum_buffer"].lerp_(matrix.grad, 1 - _MOMENTUM)
                ahead = matrix.grad.lerp(mean, _MOMENTUM).flatten(1)
                sixteen = faster_in_16_bits(str(matrix.device))
                turned = orthogonal(ahead.bfloat16() if sixteen else ahead.float())
                matrix.mul_(1 - group["lr"] * group["weight_decay"])
                # A step of AdamW moves a number by about a fifth of its rate, as the root of the mean square.
                size = 0.2 * max(ahead.shape) ** 0.5
                matrix.sub_(turned.reshape(matrix.shape), alpha=group["lr"] * size)


def orthogonal(matrix: Tensor) -> Tensor:
    """About the nearest orthogonal matrix to one (rows, columns), by Newton and Schulz's iteration, without SVD.

    Singular values end between some 0.7 and 1.2; zeros stay zeros.
    """
    a, b, c = _POLYNOMIAL
    high = matrix.shape[0] > matrix.shape[1]
    found: Tensor = matrix.T if high else matrix
    found = found / found.norm().clamp(min=1e-7)  # no singular value is above 1
    for _ in range(_TIMES):
        square: Tensor = found @ found.T
        found = a * found + (b * square + c * square @ square) @ found
    return found.T if high else found
