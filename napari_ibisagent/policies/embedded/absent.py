"""``Absent``: the answer of a rule, in CT or in other pictures, that didn't find what it is for."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Absent:
    """Why a structure was not found."""

    reason: str
