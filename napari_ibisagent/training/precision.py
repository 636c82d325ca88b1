"""Computing in 16 bits while training: where that is faster, and what a processor needs to be faster by it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch


def faster_in_16_bits(device: str) -> bool:
    """Whether bfloat16 trains faster than float32: on a card, and on a processor that multiplies such numbers."""
    if device.startswith("cuda"):
        return bool(torch.cuda.is_bf16_supported())
    # Older releases of torch don't tell.
    capabilities: dict[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()
    return device == "cpu" and any(capabilities.get(name, False) for name in ("avx512_bf16", "amx_bf16", "arm_bf16"))


@contextmanager
def plain_attention(model: Any, device: str, sixteen: bool) -> Iterator[None]:
    """On a processor, attention's fused form goes back four times as slowly in 16 bits as in 32."""
    if not sixteen or device != "cpu":
        yield
        return
    before = model.config._attn_implementation
    model.set_attn_implementation("eager")
    try:
        yield
    finally:
        model.set_attn_implementation(before)


@contextmanager
def sixteen_bits(model: Any, device: str, sixteen: bool) -> Iterator[None]:
    """Products in bfloat16, where ``sixteen``; the weights and their gradients keep their precision."""
    with plain_attention(model, device, sixteen), torch.autocast(torch.device(device).type, torch.bfloat16, sixteen):
        yield
