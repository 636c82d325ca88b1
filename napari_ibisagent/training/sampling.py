"""Many answers at once: the model writes to a batch of readings, token by token, greedily or by chance."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from napari_ibisagent.policies.qwen_vl.chance import Choice, chosen
from napari_ibisagent.policies.qwen_vl.loading import Opened
from napari_ibisagent.policies.qwen_vl.prompt import Reading
from napari_ibisagent.policies.qwen_vl.reader import ends
from napari_ibisagent.training.batches import Positions, to_write


def answers(
    readings: Sequence[Reading], opened: Opened, positions: Positions, choice: Choice, dice: torch.Generator
) -> list[tuple[int, ...]]:
    """The tokens of an answer to each reading, with the token that ends it where one came in time.

    Readings that are the same, as those of a group are, are read once.
    """
    from transformers import DynamicCache

    model, device = opened.model, opened.device
    last = torch.tensor(sorted(ends(opened)), device=device)
    filler = int(last[0])
    different = {reading.same: reading for reading in readings}
    number = {same: n for n, same in enumerate(different)}
    row = torch.tensor([number[reading.same] for reading in readings], device=device)
    batch = {k: value.to(device) for k, value in to_write(list(different.values()), opened, positions).items()}
    seen, count = batch["attention_mask"][row], len(readings)
    position = (batch["position_ids"].amax(dim=(0, 2)) + 1)[row]
    written = torch.full((count, choice.max_new_tokens), filler, device=device)
    lengths = torch.zeros(count, dtype=torch.long, device=device)
    open_ = torch.ones(count, dtype=torch.bool, device=device)
    cache = DynamicCache(config=model.config.get_text_config())
    with torch.inference_mode():
        scores = model(**batch, cache=cache, use_cache=True, logits_to_keep=1).logits[row, -1]
        cache.batch_select_indices(row)
        for n in range(choice.max_new_tokens):
            tokens = chosen(scores.float(), choice, dice)
            written[:, n] = torch.where(open_, tokens, filler)
            lengths += open_
            open_ &= ~torch.isin(tokens, last)
            if n + 1 == choice.max_new_tokens or not open_.any():
                break
            seen = torch.cat([seen, torch.ones((count, 1), dtype=seen.dtype, device=device)], dim=1)
            scores = model(
                input_ids=written[:, n : n + 1],
                attention_mask=seen,
                position_ids=(position + n).expand(3, -1)[:, :, None],
                cache=cache,
                use_cache=True,
                logits_to_keep=1,
            ).logits[:, -1]
    return [tuple(row[:length].tolist()) for row, length in zip(written.cpu(), lengths.cpu(), strict=True)]
