"""From readings and answers to the tensors of a batch: padded on the right for learning, on the left for writing.

An example is one conversation with the answers in it that are to be learned; everything else carries no loss. What the
model reads is made by the policy's own code (``policies.qwen_vl.prompt``), so learning and acting can't differ.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from napari_ibisagent.policies.qwen_vl.loading import Opened
from napari_ibisagent.policies.qwen_vl.prompt import Placed, Reading

# What the loss passes over, as transformers and torch have it.
IGNORED = -100
# Arrangements of pictures whose positions are remembered; in conversations nearly every one is another.
_REMEMBERED = 256


@dataclass(frozen=True, slots=True)
class Example:
    """ids: all tokens; learned: for each one whether it is to be learned; pictures among them."""

    ids: tuple[int, ...]
    learned: tuple[bool, ...]
    pictures: tuple[Placed, ...]

    @staticmethod
    def of(reading: Reading, answer: Sequence[int], *, learn: bool = True) -> Example:
        """What is read, and the answer's tokens after it."""
        ids = (*reading.ids, *answer)
        return Example(ids, (*(False for _ in reading.ids), *(learn for _ in answer)), reading.pictures)


class Positions:
    """(3, tokens): frame, row and column of each token. They depend on where pictures lie and on nothing else."""

    def __init__(self, opened: Opened) -> None:
        self._model = opened.model
        self._pad = int(opened.model.config.image_token_id)
        self._known: dict[tuple[Any, ...], torch.Tensor] = {}

    def of(self, ids: Sequence[int], pictures: Sequence[Placed]) -> torch.Tensor:
        """The positions of some tokens with their pictures."""
        if not pictures:
            return torch.arange(len(ids)).expand(3, -1)
        grids = tuple((p.start, *p.grid[0].tolist()) for p in pictures)
        head = max(p.start + p.count for p in pictures)
        known = self._known.get((head, grids))
        if known is None:
            tokens = torch.tensor([list(ids[:head])])
            kinds = (tokens == self._pad).int()
            inner = getattr(self._model, "base_model", self._model)
            while not hasattr(inner, "get_rope_index"):  # under what peft or a trainer wraps round it
                inner = inner.model
            found, _ = inner.get_rope_index(
                tokens, mm_token_type_ids=kinds, image_grid_thw=torch.cat([p.grid for p in pictures])
            )
            while len(self._known) >= _REMEMBERED:
                del self._known[next(iter(self._known))]
            known = self._known[head, grids] = found[:, 0]
        # After the last picture the text counts on by one a token.
        rest = torch.arange(len(ids) - head) + int(known.max()) + 1
        return torch.cat([known, rest.expand(3, -1)], dim=1)


def to_learn(examples: Sequence[Example], opened: Opened, positions: Positions) -> dict[str, torch.Tensor]:
    """The tensors of a batch to learn from, with ``labels`` (B, T)."""
    longest = max(len(example.ids) for example in examples)
    batch = _filled([(example.ids, example.pictures) for example in examples], longest, opened, positions, left=False)
    labels = torch.full((len(examples), longest), IGNORED)
    for n, example in enumerate(examples):
        learned = torch.tensor(example.learned)
        labels[n, : len(example.ids)] = torch.where(learned, torch.tensor(example.ids), IGNORED)
    return {**batch, "labels": labels}


def to_write(readings: Sequence[Reading], opened: Opened, positions: Positions) -> dict[str, torch.Tensor]:
    """The tensors of a batch of readings to go on from, all with their end at the right."""
    longest = max(len(reading.ids) for reading in readings)
    return _filled([(r.ids, r.pictures) for r in readings], longest, opened, positions, left=True)


def _filled(
    rows: Sequence[tuple[tuple[int, ...], tuple[Placed, ...]]],
    longest: int,
    opened: Opened,
    positions: Positions,
    *,
    left: bool,
) -> dict[str, torch.Tensor]:
    filler = opened.tokenizer.pad_token_id
    ids = torch.full((len(rows), longest), filler if filler is not None else 0)
    seen = torch.zeros((len(rows), longest), dtype=torch.long)
    places = torch.zeros((3, len(rows), longest), dtype=torch.long)
    for n, (tokens, pictures) in enumerate(rows):
        at = slice(longest - len(tokens), longest) if left else slice(0, len(tokens))
        ids[n, at] = torch.tensor(tokens)
        seen[n, at] = 1
        places[:, n, at] = positions.of(tokens, pictures)
    batch = {"input_ids": ids, "attention_mask": seen, "position_ids": places}
    pictures_of_all = [picture for _, pictures in rows for picture in pictures]
    if pictures_of_all:
        batch["pixel_values"] = torch.cat([p.pixels for p in pictures_of_all])
        batch["image_grid_thw"] = torch.cat([p.grid for p in pictures_of_all])
    return batch
