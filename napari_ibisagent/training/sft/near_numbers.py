"""``near_numbers``: a loss to which a number is nearly right when a neighbour of the true one is said.

Usual cross-entropy knows no near and far: to it 0.41 for 0.40 is as wrong as 0.90. A small model that has seen few
pictures then keeps some favourites, and says them wherever it isn't sure. Here the true answer of a number is a bell
over its neighbours.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch.nn import functional

from napari_ibisagent.core.errors import InputError
from napari_ibisagent.training.batches import IGNORED

# Decimals of a click: a token is two digits.
_NUMBERS = 100

Loss = Callable[[Any, torch.Tensor, Any], torch.Tensor]


def near_numbers(tokenizer: Any, spread: float) -> Loss:
    """A loss for transformers' Trainer: the mean over what is learned, of the model's outputs and ``labels`` (B, T).

    spread: of the bell, in hundredths. Raises InputError for a tokenizer that doesn't write two digits as one token.
    """
    ids = [tokenizer.convert_tokens_to_ids(f"{number:02d}") for number in range(_NUMBERS)]
    if len(set(ids)) < _NUMBERS:
        raise InputError("This tokenizer writes a number digit by digit, so its numbers have no neighbours.")
    tokens = torch.tensor(ids)
    away = torch.arange(_NUMBERS)[:, None] - torch.arange(_NUMBERS)
    bell = torch.softmax(-0.5 * (away / spread) ** 2, dim=1)
    place = torch.full((len(tokenizer),), -1).index_put((tokens,), torch.arange(_NUMBERS))

    def loss(outputs: Any, labels: torch.Tensor, num_items_in_batch: Any = None) -> torch.Tensor:
        told = labels[:, 1:]
        learned = told != IGNORED
        true = told[learned]
        logs = functional.log_softmax(outputs.logits[:, :-1][learned].float(), dim=-1)
        which = place.to(true.device)[told.clamp(min=0)]
        # Digits after the first two have no neighbours: the form of a click ends in zeros.
        which[:, 1:] = torch.where(which[:, :-1] >= 0, -1, which[:, 1:])
        which = which[learned]
        number = which >= 0
        exact = -logs.gather(1, true[:, None])[:, 0]
        near = -(logs[:, tokens.to(true.device)] * bell.to(true.device)[which.clamp(min=0)]).sum(dim=1)
        found = torch.where(number, near, exact)
        return found.sum() / (found.numel() if num_items_in_batch is None else num_items_in_batch)

    return loss
