"""The knowledge base of ``resources/knowledge``: all its files together, read once."""

from __future__ import annotations

from functools import cache

from napari_ibisagent.core.knowledge import Structure, read_knowledge
from napari_ibisagent.io.resources import resource


@cache
def load_knowledge() -> tuple[Structure, ...]:
    """The structures and findings that are known, in the order of the files; the main organs come first."""
    first = resource("knowledge/anatomy.toml")
    others = sorted(path for path in first.parent.glob("*.toml") if path != first)
    return read_knowledge(*(path.read_text(encoding="utf-8") for path in (first, *others)))
