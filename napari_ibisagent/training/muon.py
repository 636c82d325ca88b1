"""``Muon`` for matrices and AdamW for all else, as one optimiser.

Muon (Jordan et al. 2024; torch's own) turns each step of a matrix into its nearest orthogonal one. A small model from
random weights then learns in half the steps.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import nn

# What looks words up isn't turned; it has a row a word.
_LOOKED_UP = ("embed_tokens", "lm_head")


class MatricesApart(torch.optim.Optimizer):
    """AdamW of ``rate``, but matrices by Muon of ``times`` that rate; a step of Muon is as large as one of AdamW's."""

    def __init__(self, named: Iterable[tuple[str, nn.Parameter]], rate: float, times: float, decay: float) -> None:
        learned = [(name, parameter) for name, parameter in named if parameter.requires_grad]
        turned = {id(p) for name, p in learned if p.ndim == 2 and not any(part in name for part in _LOOKED_UP)}
        self._parts: tuple[torch.optim.Optimizer, ...] = (
            torch.optim.Muon(
                [p for _, p in learned if id(p) in turned],
                lr=rate * times,
                weight_decay=decay,
                adjust_lr_fn="match_rms_adamw",
            ),
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
