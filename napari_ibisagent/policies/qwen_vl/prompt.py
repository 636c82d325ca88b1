"""From messages to what the model reads: token numbers, with a run of placeholders for each picture."""

from __future__ import annotations

import hashlib
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any

from PIL import Image

from napari_ibisagent.core.dialects.conversation import Message
from napari_ibisagent.core.overlay import Picture
from napari_ibisagent.policies.qwen_vl.loading import Opened

# Pictures whose patches are remembered; each takes some MB.
_REMEMBERED = 24
_PICTURE = "<|vision_start|><|image_pad|><|vision_end|>"


@dataclass(frozen=True, eq=False, slots=True)
class Placed:
    """A picture among the tokens: the first and the number of its placeholders, its patches, grid and digest.

    pixels: (patches, values) as the model takes them; grid: (1, 3), frames, rows and columns of patches.
    """

    start: int
    count: int
    pixels: Any
    grid: Any
    digest: str


@dataclass(frozen=True, eq=False, slots=True)
class Reading:
    """All that the model reads before it answers."""

    ids: tuple[int, ...]
    pictures: tuple[Placed, ...]

    @property
    def same(self) -> Hashable:
        """Equal for readings of the same tokens and pictures."""
        return self.ids, tuple(picture.digest for picture in self.pictures)


def read_messages(messages: Sequence[Message], opened: Opened) -> Reading:
    """The reading of messages, in the checkpoint's own chat template or in ChatML, which both families speak."""
    text = _written(messages, opened.tokenizer)
    pad = int(opened.model.config.image_token_id)
    ids: list[int] = []
    placed: list[Placed] = []
    shown = iter([message.picture for message in messages if message.picture is not None])
    for token in opened.tokenizer(text, add_special_tokens=False)["input_ids"]:
        if token != pad:
            ids.append(token)
            continue
        picture = next(shown)
        digest = hashlib.blake2b(picture.tobytes() + repr(picture.shape).encode(), digest_size=16).hexdigest()
        pixels, grid = _prepared(picture, digest, opened)
        count = int(grid.prod()) // opened.images.merge_size**2
        placed.append(Placed(len(ids), count, pixels, grid, digest))
        ids += [pad] * count
    return Reading(tuple(ids), tuple(placed))


def _prepared(picture: Picture, digest: str, opened: Opened) -> tuple[Any, Any]:
    """Patches and grid of a picture: its pixels and nothing else, made smaller with the aspect kept where need be.

    The last ones are remembered: with history all of them come again in each turn.
    """
    known = opened.prepared.pop(digest, None)
    if known is None:
        made = opened.images(images=[Image.fromarray(picture)], return_tensors="pt")
        known = made["pixel_values"], made["image_grid_thw"]
    while len(opened.prepared) >= _REMEMBERED:
        del opened.prepared[next(iter(opened.prepared))]
    opened.prepared[digest] = known
    return known


def _written(messages: Sequence[Message], tokenizer: Any) -> str:
    if tokenizer.chat_template is not None:
        content = [
            {"role": m.role, "content": _parts(m) if m.picture is not None else unmarked(m.text)} for m in messages
        ]
        return str(tokenizer.apply_chat_template(content, tokenize=False, add_generation_prompt=True))
    turns = [
        f"<|im_start|>{m.role}\n{'' if m.picture is None else _PICTURE}{unmarked(m.text)}<|im_end|>\n" for m in messages
    ]
    return "".join(turns) + "<|im_start|>assistant\n"


def _parts(message: Message) -> list[dict[str, str]]:
    return [{"type": "image"}, {"type": "text", "text": unmarked(message.text)}]


def unmarked(text: str) -> str:
    """Words without the marks of the format: a user's sentence can't begin a turn or stand for a picture."""
    return text.replace("<|", "< |")
