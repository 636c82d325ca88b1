"""Runs the model token by token, and keeps what it has read: only what is new is read in the next turn.

What may be kept ends at the first token, or at the beginning of the first picture, that isn't the same as before; so it
never changes an answer, up to the rounding of the arithmetic.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from napari_ibisagent.core.errors import BackendError, InputError
from napari_ibisagent.policies.qwen_vl.chance import Choice, chosen
from napari_ibisagent.policies.qwen_vl.loading import Opened, out_of_memory
from napari_ibisagent.policies.qwen_vl.prompt import Placed, Reading

# How ChatML closes a message.
_CLOSING = "<|im_end|>"


@dataclass(frozen=True, slots=True)
class Spent:
    """What the last answer took: seconds for reading and for writing, tokens that were read anew, kept, and written."""

    prefill_s: float = 0.0
    decode_s: float = 0.0
    read: int = 0
    kept: int = 0
    written: int = 0


@dataclass
class _Known:
    """What lies in the cache: the tokens, and the pictures among them."""

    cache: Any = None
    ids: list[int] = field(default_factory=list)
    pictures: tuple[Placed, ...] = ()


class Reader:
    """See the module. One answer at a time."""

    def __init__(self, opened: Opened) -> None:
        self._opened = opened
        self._known = _Known()
        self.spent = Spent()

    def forget(self) -> None:
        """Frees what was kept."""
        self._known = _Known()

    def answer(self, reading: Reading, choice: Choice, turn: int) -> Iterator[str]:
        """The answer, some letters at a time; ``turn`` makes random choices differ from turn to turn.

        Whoever reads may stop between two pieces. Raises BackendError.
        """
        with failing(self._opened.device):
            try:
                yield from self._answer(reading, choice, turn)
            except (RuntimeError, ValueError, IndexError):
                self.forget()
                raise

    def _answer(self, reading: Reading, choice: Choice, turn: int) -> Iterator[str]:
        import torch

        started = time.perf_counter()
        logits, position, kept = self._read(reading)
        prefilled = time.perf_counter()
        dice = torch.Generator(logits.device).manual_seed(choice.seed * 1009 + turn)
        last = ends(self._opened)
        written: list[int] = []
        told = ""
        try:
            while len(written) < choice.max_new_tokens:
                if len(written) < choice.least:
                    logits = logits.index_fill(0, torch.tensor(sorted(last), device=logits.device), -torch.inf)
                token = int(chosen(logits[None], choice, dice))
                if token in last:
                    break
                written.append(token)
                whole = text_of(written, self._opened)
                yield whole[len(told) :]
                told = whole if len(whole) > len(told) else told
                logits = self._forward([token], position, ())
                position += 1
        finally:
            now = time.perf_counter()
            self.spent = Spent(prefilled - started, now - prefilled, len(reading.ids) - kept, kept, len(written))

    def _read(self, reading: Reading) -> tuple[Any, int, int]:
        """Reads what isn't known yet: (logits of the next token, its position, how many tokens were kept)."""
        import torch

        kept = self._keep(reading)
        positions = self._positions(reading)
        new = tuple(p for p in reading.pictures if p.start >= kept)
        logits = self._forward(list(reading.ids[kept:]), positions[..., kept:], new)
        return logits, int(torch.max(positions)) + 1, kept

    def _keep(self, reading: Reading) -> int:
        """Cuts the cache back to what the reading begins with; how many tokens that is."""
        from transformers import DynamicCache

        known, same = self._known, 0
        for before, now in zip(known.ids, reading.ids, strict=False):
            if before != now:
                break
            same += 1
        same = min(same, len(reading.ids) - 1)  # the last token has to be read, for what comes after it
        pictures = {p.start: p.digest for p in known.pictures}
        for picture in reading.pictures:
            inside = picture.start < same < picture.start + picture.count
            if picture.start < same and (inside or pictures.get(picture.start) != picture.digest):
                same = picture.start
                break
        if known.cache is None or same == 0:
            self._known = _Known(DynamicCache(config=self._opened.model.config.get_text_config()))
            return 0
        surplus = len(known.ids) - same
        if surplus:
            known.cache.crop(-surplus)
        known.ids = known.ids[:same]
        known.pictures = tuple(p for p in known.pictures if p.start < same)
        return same

    def _positions(self, reading: Reading) -> Any:
        """(3, 1, tokens): frame, row and column of each token, as the model's family counts them."""
        import torch

        ids = torch.tensor([reading.ids])
        if not reading.pictures:
            return torch.arange(ids.shape[1]).expand(3, 1, -1)
        kinds = (ids == self._opened.model.config.image_token_id).int()
        grids = torch.cat([p.grid for p in reading.pictures])
        positions, _ = self._opened.model.model.get_rope_index(ids, mm_token_type_ids=kinds, image_grid_thw=grids)
        return positions

    def _forward(self, ids: list[int], position: Any, pictures: tuple[Placed, ...]) -> Any:
        """(vocabulary,) logits after some more tokens. ``position``: (3, 1, tokens), or the number of a single one."""
        import torch

        model, device, known = self._opened.model, self._opened.device, self._known
        places = torch.full((3, 1, 1), position) if isinstance(position, int) else position
        inputs: dict[str, Any] = {"input_ids": torch.tensor([ids], device=device), "position_ids": places.to(device)}
        if pictures:
            inputs["pixel_values"] = torch.cat([p.pixels for p in pictures]).to(device, model.dtype)
            inputs["image_grid_thw"] = torch.cat([p.grid for p in pictures]).to(device)
        with torch.inference_mode():
            made = model(**inputs, cache=known.cache, use_cache=True, logits_to_keep=1)
        known.ids += ids
        known.pictures += pictures
        return made.logits[0, -1].float()


def ends(opened: Opened) -> frozenset[int]:
    """The tokens that end an answer of this checkpoint."""
    generation = opened.model.generation_config
    found = None if generation is None else generation.eos_token_id
    ends = [found] if isinstance(found, int) else list(found or ())
    return frozenset((*ends, *(t for t in (opened.tokenizer.eos_token_id,) if t is not None)))


def closing(opened: Opened) -> int:
    """The one of them that its chat template closes an answer with: what an answer is taught to end with.

    A checkpoint may end at others too; Qwen's also end at the mark between two documents. Raises InputError.
    """
    mark = opened.tokenizer.convert_tokens_to_ids(_CLOSING)
    if mark in ends(opened):
        return int(mark)
    if opened.tokenizer.eos_token_id is None:
        raise InputError("This checkpoint says nowhere how an answer ends. Give its tokenizer an eos_token.")
    return int(opened.tokenizer.eos_token_id)


def text_of(tokens: Sequence[int], opened: Opened) -> str:
    """The text of an answer. A letter may take several tokens; until the last has come it isn't shown."""
    text = opened.tokenizer.decode(tokens, skip_special_tokens=True, clean_up_tokenization_spaces=False)
    return str(text).rstrip("\ufffd")


@contextmanager
def failing(device: str) -> Iterator[None]:
    """Whatever a model raises while it runs, as a BackendError."""
    import torch

    try:
        yield
    except torch.OutOfMemoryError as error:
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        raise BackendError(out_of_memory(device)) from error
    except (RuntimeError, ValueError, IndexError) as error:
        words = " ".join(str(error).split())[:200]
        raise BackendError(f"The model failed ({words}). Choose another, or report this to its makers.") from error
