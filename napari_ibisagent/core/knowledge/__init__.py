"""From the user's sentence to a ``Target``: names, synonyms, sides, places, and what a structure does.

A *referring* prompt names its target ("segment the left kidney"), a *reasoning* one describes it ("which organ
stores bile?"). Precision comes first: "the first part of the liver" or "the T12 vertebra" must not become the liver
or the spine, so every word must have its place in the sentence. What is ambiguous is asked back with choices.

``structure`` is the base, ``lexicon`` finds its names, ``phrase`` reads noun phrases and ``meaning`` what they ask for,
``descriptions`` answers questions, ``spelling`` mends typing errors, ``words`` holds the small words;
``understanding`` puts them together in ``resolve``, whose answer is a ``Resolution``.
"""

from __future__ import annotations

from napari_ibisagent.core.knowledge.resolution import Resolution
from napari_ibisagent.core.knowledge.structure import Structure, read_knowledge
from napari_ibisagent.core.knowledge.understanding import resolve

__all__ = ["Resolution", "Structure", "read_knowledge", "resolve"]
