"""Many answers at once: the model writes to a batch of readings, token by token, greedily or by chance."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from napari_ibisagent.policies.qwen_vl.loading import Opened
from napari_ibisagent.policies.qwen_vl.prompt import Reading
from napari_ibisagent.policies.qwen_vl.reader import Choice, ends
from napari_ibisagent.training.batches import Positions, to_write


def answers(
    readings: Sequence[Reading], opened: Opened, positions: Positions, choice: Choice, dice: torch.Generator
) -> list[tuple[int, ...]]:
    """The tokens of an answer to each reading, with the token that ends it where one came in time."""
    from transformers import DynamicCache

    model, device = opened.model, opened.device
    last = torch.tensor(sorted(ends(opened)), device=device)
    filler = int(last[0])
    batch = {key: value.to(device) for key, value in to_write(readings, opened, positions).items()}
    seen, count = batch["attention_mask"], len(readings)
    position = batch["position_ids"].amax(dim=(0, 2)) + 1
    written = torch.full((count, choice.max_new_tokens), filler, device=device)
    lengths = torch.zeros(count, dtype=torch.long, device=device)
    open_ = torch.ones(count, dtype=torch.bool, device=device)
    cache = DynamicCache(config=model.config.get_text_config())
    with torch.inference_mode():
        made = model(**batch, cache=cache, use_cache=True, logits_to_keep=1)
        for n in range(choice.max_new_tokens):
            tokens = _next(made.logits[:, -1].float(), choice.temperature, dice)
            written[:, n] = torch.where(open_, tokens, filler)
            lengths += open_
            open_ &= ~torch.isin(tokens, last)
            if n + 1 == choice.max_new_tokens or not open_.any():
                break
            seen = torch.cat([seen, torch.ones((count, 1), dtype=seen.dtype, device=device)], dim=1)
            made = model(
                input_ids=written[:, n : n + 1],
                attention_mask=seen,
                position_ids=(position + n).expand(3, -1)[:, :, None],
                cache=cache,
                use_cache=True,
                logits_to_keep=1,
            )
    return [tuple(row[:length].tolist()) for row, length in zip(written.cpu(), lengths.cpu(), strict=True)]


def _next(logits: torch.Tensor, temperature: float, dice: torch.Generator) -> torch.Tensor:
    if temperature <= 0:
        return logits.argmax(dim=-1)
    return torch.multinomial(torch.softmax(logits / temperature, dim=-1), 1, generator=dice)[:, 0]
