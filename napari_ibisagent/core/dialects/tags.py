"""Taking a dialect's tags out of words that must not hold any."""

from __future__ import annotations

import re


def untagged(text: str, tag: re.Pattern[str]) -> str:
    """The text without tags, nor such as appear when others are taken out; in one pass."""
    kept: list[str] = []
    opened: list[int] = []
    for character in text:
        if character == "<":
            opened.append(len(kept))
        kept.append(character)
        if character == ">" and opened:
            start = opened.pop()
            if tag.fullmatch("".join(kept[start:])):
                del kept[start:]
            else:
                opened.clear()  # no tag has a > inside
    return "".join(kept).strip()
