"""What closes an episode: the name of what was segmented, or that it isn't there."""

from __future__ import annotations

from numpy.random import Generator

from napari_ibisagent.training.words.wording import bare, pick, with_article

_NOT_FOUND = (
    "not found: the picture doesn't show {}",
    "not found: {} can't be seen in this picture",
    "not found: nothing here looks like {}",
    "not found: I can't make out {} in this picture",
)


def answer(target: str, rng: Generator) -> str:
    """The name of what was segmented, as it is said at the end: "left kidney" or "the left kidney"."""
    return pick((bare(target), with_article(target)), rng)


def absent_answer(target: str, rng: Generator) -> str:
    """That a target isn't there, in words that ``Turn.says_absent`` reads."""
    return pick(_NOT_FOUND, rng).format(with_article(target))
