"""The plain loop, as the published agent's authors play it: nothing is kept from one turn to the next.

Each turn the picture is written as PNG and read back, all messages are encoded again, the model generates through
transformers' own ``generate``, and the tool encodes the slice again. Same weights, pictures and turns as ours.
"""

from __future__ import annotations

import io
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from napari_ibisagent.core.dialects.conversation import Message
from napari_ibisagent.core.overlay import Picture
from napari_ibisagent.policies.qwen_vl.loading import Opened
from napari_ibisagent.policies.qwen_vl.prompt import read_messages


def through_the_disk(picture: Picture, path: Path) -> Picture:
    """A picture written as PNG and read back."""
    Image.fromarray(picture).save(path)
    return np.asarray(Image.open(io.BytesIO(path.read_bytes())).convert("RGB"))


def generate(messages: Sequence[Message], opened: Opened, tokens: int) -> tuple[str, dict[str, float]]:
    """The answer to messages that are all encoded anew: (text, seconds by part)."""
    import torch

    started = time.perf_counter()
    opened.prepared.clear()
    reading = read_messages(messages, opened)
    device, model = opened.device, opened.model
    ids = torch.tensor([reading.ids], device=device)
    inputs: dict[str, Any] = {
        "input_ids": ids,
        "attention_mask": torch.ones_like(ids),
        "mm_token_type_ids": (ids == model.config.image_token_id).int(),
        "pixel_values": torch.cat([p.pixels for p in reading.pictures]).to(device, model.dtype),
        "image_grid_thw": torch.cat([p.grid for p in reading.pictures]).to(device),
    }
    encoded = time.perf_counter()
    with torch.inference_mode():
        made = model.generate(**inputs, do_sample=False, max_new_tokens=tokens, min_new_tokens=tokens)
    finish(device)
    done = time.perf_counter()
    text = opened.tokenizer.decode(made[0, ids.shape[1] :], skip_special_tokens=True)
    return str(text), {"picture": encoded - started, "model": done - encoded}


def finish(device: str) -> None:
    """Waits until a GPU has done all that it was given."""
    import torch

    if device.startswith("cuda"):
        torch.cuda.synchronize()
