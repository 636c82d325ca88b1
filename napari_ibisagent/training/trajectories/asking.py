"""What is asked of a scan besides its own sentences, in words made from the knowledge base.

Further phrasings of a target, targets that aren't there, and plain questions, which are answered without segmenting.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.random import Generator

from napari_ibisagent.core.knowledge import Structure, resolve
from napari_ibisagent.training.words.questions import reasoning, referring
from napari_ibisagent.training.words.wording import with_article

# Words in which files and manifests tell what kind of picture it is, and the knowledge base's word for that.
_KINDS = (
    *(("histology", "histology"), ("fluorescence", "fluorescence"), ("dermoscopy", "dermoscopy")),
    *(("fundus", "fundus"), ("oct", "OCT"), ("endoscopy", "endoscopy"), ("mammography", "mammography"), ("mg", "XR")),
    *(("x-ray", "XR"), ("cr", "XR"), ("dx", "XR"), ("xr", "XR"), ("ultrasound", "US"), ("us", "US")),
    *(("pet", "PET"), ("ct", "CT"), ("mr", "MR")),
)


@dataclass(frozen=True, slots=True)
class Asking:
    """How much more is asked, drawn from ``seed``.

    words: further sentences for each target on each slice. absent: targets that aren't there, and plain: questions
    that are answered in words, of each scan.
    """

    words: int = 0
    absent: int = 0
    plain: int = 0
    seed: int = 0

    def rng(self, name: str) -> Generator:
        """The chance of whatever has that name, the same in every run."""
        return np.random.default_rng([self.seed, zlib.crc32(name.encode())])


def phrasings(target: str, count: int, knowledge: tuple[Structure, ...], rng: Generator) -> Iterator[tuple[str, str]]:
    """(kind, sentence) for a target: its description ("reasoning") and its name ("referring") by turns.

    Where the base doesn't know the target, or has no description that leads back to it, it is named instead.
    """
    found = resolve(f"segment {with_article(target)}", knowledge)
    for number in range(count):
        question = None
        if number % 2 == 0 and found.structure is not None and found.target is not None and found.plain:
            question = reasoning(found.structure, found.target.side, knowledge, rng)
        yield ("referring", referring(target, rng)) if question is None else ("reasoning", question)


def kind_of_picture(*said: str) -> str:
    """The knowledge base's word for a kind of picture ("CT", "XR"), from the first of these texts that tells one."""
    for text in said:
        words = text.lower().replace("(", " ").replace("+", " ").split()
        found = next((kind for word, kind in _KINDS if word in words), "")
        if found:
            return found
    return ""
