"""What a person did, told in words: a click of a person's has no thought, and an agent is trained to think first. Pure.

The words come from what can be seen, the mask before the turn and the place of the click (``words.thoughts``), and are
nobody's own. Without them the corrected turns would teach not to think, and not where to click after a thought.
"""

from __future__ import annotations

import zlib
from dataclasses import replace
from enum import StrEnum

import numpy as np
from numpy.random import Generator

from napari_ibisagent.core.actions import Click, Discard, Revert, Turn
from napari_ibisagent.core.packed import PackedMask
from napari_ibisagent.training.corrections.turns import Judged, Piece
from napari_ibisagent.training.words.thoughts import Kind, thought


class Voice(StrEnum):
    """How a person's turns are told: not at all, as any trajectory's, or in few words that are always the same ones."""

    NONE = "none"
    FULL = "full"
    BRIEF = "brief"


def told(piece: Piece, target: str, shape: tuple[int, int], voice: Voice, name: str) -> Piece:
    """The piece with a thought in every turn that is to be learned and has none; ``name`` chooses the words."""
    if voice is Voice.NONE or not target.strip():
        return piece
    turns, before = list[Judged](), piece.given
    for number, judged in enumerate(piece.turns):
        dice = [zlib.crc32(name.encode()), number] if voice is Voice.FULL else 0
        turns.append(_told(judged, before, target, shape, np.random.default_rng(dice), voice is Voice.BRIEF))
        before = judged.mask
    return replace(piece, turns=tuple(turns))


def _told(
    judged: Judged, before: PackedMask | None, target: str, shape: tuple[int, int], rng: Generator, brief: bool
) -> Judged:
    turn = judged.turn
    mask = None if before is None else before.array()
    mask = mask if mask is not None and mask.any() else None
    kind = _kind(turn, mask is not None)
    if not judged.learn or turn.thought or kind is None:
        return judged
    click = next((action for action in turn.actions if isinstance(action, Click)), None)
    words = thought(kind, target, shape, mask, click, rng, brief)
    return replace(judged, turn=replace(turn, thought=words))


def _kind(turn: Turn, masked: bool) -> Kind | None:
    """What a turn is about; None where there are no words for it: boxes alone, and a mask set aside where none is."""
    if turn.terminates:
        return Kind.DONE if masked else Kind.ABSENT
    if any(isinstance(action, Discard) for action in turn.actions):
        return Kind.DISCARD if masked else None
    if any(isinstance(action, Revert) for action in turn.actions):
        return Kind.REVERT
    click = next((action for action in turn.actions if isinstance(action, Click)), None)
    if click is None:
        return None
    if not click.positive:
        return Kind.SPILLED
    return Kind.MISSED if masked else Kind.FIRST
