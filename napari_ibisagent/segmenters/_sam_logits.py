"""Low-resolution logits, the form in which models of the SAM family give and take masks: (h, w), above 0 inside."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from napari_ibisagent.core.masks import Mask
from napari_ibisagent.segmenters._sam_prompts import Frame

if TYPE_CHECKING:
    from torch import Tensor

# The logits of a mask that a person painted: certain, as SAM 2 takes masks of people too (sigmoid(-10) = 4.5e-5).
_CERTAIN = 10.0


def logits_of_mask(mask: Mask, frame: Frame, low: int) -> Tensor:
    """(low, low) float32 on the CPU of a mask (H, W) of the view; beyond the view is outside."""
    import torch
    from torch.nn.functional import interpolate, pad

    share = torch.from_numpy(mask.astype(np.float32))[None, None]  # a copy: torch warns of read-only arrays
    share = interpolate(share, (frame.height, frame.width), mode="bilinear", antialias=True)
    share = pad(share, (0, frame.side - frame.width, 0, frame.side - frame.height))
    share = interpolate(share, (low, low), mode="bilinear", antialias=True)[0, 0]
    return _CERTAIN * (2 * share.clamp(0, 1) - 1)


def mask_of_logits(logits: Tensor, frame: Frame, shape: tuple[int, int]) -> Mask:
    """The mask (H, W) of the view of low-resolution logits (h, w), interpolated as the models' authors do."""
    from torch.nn.functional import interpolate

    values = logits[None, None]
    if not frame.stretched:
        values = interpolate(values, (frame.side, frame.side), mode="bilinear")[..., : frame.height, : frame.width]
    values = interpolate(values, shape, mode="bilinear")[0, 0]
    return np.asarray((values > 0).numpy())
