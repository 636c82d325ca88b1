"""Preference pairs: what the policy wanted and a person refused, beside what was done in the same state. JSON Lines."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace

from napari_ibisagent.core import coco_rle
from napari_ibisagent.core.actions import Turn
from napari_ibisagent.core.dialects import ibis
from napari_ibisagent.core.packed import PackedMask
from napari_ibisagent.training.corrections.turns import Piece
from napari_ibisagent.training.trajectories.form import Trajectory

VERSION = 1


@dataclass(frozen=True, slots=True)
class Preference:
    """Two turns in one state, and which of them a person preferred. ``mask`` (H, W): what was there before.

    ``picture``: the slice as PNG, relative to the file's folder; empty where none was written.
    """

    name: str
    prompt: str
    shape: tuple[int, int]
    picture: str
    mask: PackedMask | None
    rejected: Turn
    chosen: Turn


def preferences_of(trajectory: Trajectory, piece: Piece) -> Iterator[Preference]:
    """The pairs of a piece, whose trajectory it is.

    Several proposals that were refused in a row are each paired with what was done in the end; where nobody vouched for
    that there is no pair.
    """
    refused: list[Turn] = []
    before, count = piece.given, 0
    for judged in piece.turns:
        refused += () if judged.refused is None else (judged.refused,)
        if judged.rejected:
            continue
        pairs = (_alike(turn, judged.turn) for turn in refused if judged.learn)
        for rejected, chosen in dict.fromkeys(pairs):  # without its thought a click may have been refused twice
            if ibis.render(rejected) != ibis.render(chosen):
                count += 1
                state = (trajectory.prompt, trajectory.shape, trajectory.source.picture, before)
                yield Preference(f"{trajectory.name}-p{count}", *state, rejected, chosen)
        refused, before = [], judged.mask


def to_line(preference: Preference) -> str:
    """A pair as one line, with its end: masks as COCO run lengths, turns in the ``ibis`` dialect."""
    mask = preference.mask
    values = {
        "version": VERSION,
        "name": preference.name,
        "prompt": preference.prompt,
        "size": list(preference.shape),
        "picture": preference.picture,
        "mask": None if mask is None else coco_rle.encode(mask.array()),
        "rejected": ibis.render(preference.rejected),
        "chosen": ibis.render(preference.chosen),
    }
    return json.dumps(values, ensure_ascii=False, separators=(",", ":")) + "\n"


def _alike(rejected: Turn, chosen: Turn) -> tuple[Turn, Turn]:
    """Both with their thoughts or both without: else it is learned first of all that thinking is refused."""
    if rejected.thought.strip() and chosen.thought.strip():
        return rejected, chosen
    return replace(rejected, thought=""), replace(chosen, thought="")
