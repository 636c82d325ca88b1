"""Messages as other trainers take them: roles and parts, each picture before its words."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from napari_ibisagent.core.dialects.conversation import Message
from napari_ibisagent.core.overlay import Picture
from napari_ibisagent.policies.qwen_vl.prompt import unmarked


def as_chat(messages: Sequence[Message], show: Callable[[Picture], Any]) -> list[dict[str, Any]]:
    """The messages with ``show`` making of each picture (H, W, 3) what the trainer takes for one.

    A user's sentence can hold no mark of the format: it begins no turn and stands for no picture. What has no picture
    is plain text, which all of them take.
    """
    return [
        {"role": message.role, "content": plain(message.text) if message.picture is None else parts(message, show)}
        for message in messages
    ]


def parts(message: Message, show: Callable[[Picture], Any]) -> list[dict[str, Any]]:
    """The parts of one message."""
    words = {"type": "text", "text": plain(message.text)}
    return [words] if message.picture is None else [{"type": "image", "image": show(message.picture)}, words]


def plain(text: str) -> str:
    """Words without any mark: of ChatML, and of those trainers that write a picture as ``<image>``."""
    text = unmarked(text)
    for mark in ("<image>", "<video>", "<audio>"):
        text = text.replace(mark, mark.replace("<", "< "))
    return text
