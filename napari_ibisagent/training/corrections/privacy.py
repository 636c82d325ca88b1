"""Which words of a session may go out: sentences made of the knowledge base's names, and thoughts that repeat nothing
that a person typed or called a file. Pure.

What it can't know: a model may have read a name that is burnt into the picture. Only people can look for that.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace

from napari_ibisagent.core.episode import Episode
from napari_ibisagent.core.knowledge import Structure, resolve
from napari_ibisagent.core.knowledge.lexicon import contents, lexicon_of
from napari_ibisagent.core.knowledge.words import EMPTY, FRAME_WORDS, spelled, tokens
from napari_ibisagent.core.session import Session
from napari_ibisagent.core.target import Target
from napari_ibisagent.training.corrections.turns import Judged, Piece

_DATE = re.compile(r"\b\d{1,4}([-/.])\d{1,2}\1\d{1,4}\b|\b(19|20)\d{6}\b")
# Words of file names that name nobody.
_HARMLESS = frozenset("ct mr mri pet us xr t1 t2 flair dcm dicom gz mha mhd nii nifti nrrd png jpg tif zip img".split())
# What a scan may be called without saying more than that; a file's own word for it could be anything.
_MODALITIES = frozenset("CT MR PT US CR DX MG XA RF NM OP OPT ES GM SM XC IVUS OT".split())


@dataclass(frozen=True, slots=True)
class Task:
    """What a trajectory asks for: the sentence, the target's name (may be empty), and whether the sentence names it."""

    prompt: str
    target: str
    kind: str = "referring"


def task_of(episode: Episode, knowledge: tuple[Structure, ...], *, typed: bool) -> Task | None:
    """The task of an episode as it may go out; None where there is none.

    Not ``typed``: the sentence is made anew from the knowledge base's name of the target, and there is none where more
    was asked than that. ``typed``: as the person typed it.
    """
    if not episode.prompt.strip():
        return None
    target = _known_target(episode, knowledge)
    if not typed:
        return None if target is None else Task(f"segment {target.phrase}", target.full_name)
    named = episode.target if target is None else target
    kind = "referring" if target is None or _named(target, episode.prompt, knowledge) else "reasoning"
    return Task(episode.prompt.strip(), "" if named is None else named.full_name, kind)


def modality_of(session: Session) -> str:
    """The scan's modality where it is one of the common codes, else nothing."""
    modality = "" if session.scan is None else session.scan.modality
    return modality if modality in _MODALITIES else ""


@dataclass(frozen=True, slots=True)
class Private:
    """Words that no thought may repeat. ``words``: in lower case and one spelling; ``written``: only as they stand."""

    words: frozenset[str]
    written: frozenset[str]

    def in_text(self, text: str) -> bool:
        """Whether a text holds one of them, or a date."""
        found = tokens(text)
        said = any(word in self.written or spelled(word.lower()) in self.words for word in found)
        return said or _DATE.search(text) is not None

    def without(self, piece: Piece) -> Piece:
        """The piece with every thought that holds one of them left empty."""
        return Piece(piece.given, tuple(self._judged(judged) for judged in piece.turns))

    def _judged(self, judged: Judged) -> Judged:
        refused = judged.refused
        if self.in_text(judged.turn.thought):
            turn = replace(judged.turn, thought="")
            return replace(judged, turn=turn, refused=turn if judged.rejected else refused)
        if refused is not None and self.in_text(refused.thought):
            return replace(judged, refused=replace(refused, thought=""))
        return judged


def private_words(session: Session, knowledge: tuple[Structure, ...], *, typed: bool) -> Private:
    """The words of a session that may name somebody: of reasons, of objects, of where the scan lay, and of the
    sentences unless those go out as they were ``typed``.

    A word that anatomy or a request needs is none, unless it is written as a name ("Mr White").
    """
    said = [step.reason for episode in session.episodes for step in episode.steps]
    said += [row.name for row in session.objects]
    said += [] if typed else [episode.prompt for episode in session.episodes]
    scan = session.scan
    place = [] if scan is None else [scan.path, scan.name, scan.series or ""]
    knows = lexicon_of(knowledge).knows
    words: set[str] = set()
    written: set[str] = set()
    for word in (*_pieces(said, digits=2), *_pieces(place, digits=4)):
        small = spelled(word.lower())
        if small in _HARMLESS or small in EMPTY or small in FRAME_WORDS:
            continue
        if not knows(small):
            words.add(small)
        elif word[:1].isupper():
            written.add(word)
    return Private(frozenset(words), frozenset(written))


def _pieces(texts: Iterable[str], digits: int) -> Iterable[str]:
    """The words of two letters and more, and the numbers of so many digits and more."""
    found = (word for text in texts for word in tokens(text))
    return (word for word in found if len(word) >= (digits if word.isdigit() else 2))


def _known_target(episode: Episode, knowledge: tuple[Structure, ...]) -> Target | None:
    """The target in the knowledge base's own words; None where it isn't one of its structures and nothing more."""
    understood = resolve(episode.prompt, knowledge)
    if not understood.plain:
        return None
    target = episode.target if episode.target is not None and episode.target.key else understood.target
    structure = None if target is None else lexicon_of(knowledge).by_key.get(target.key)
    return None if target is None or structure is None else Target(structure.name, structure.key, target.side)


def _named(target: Target, prompt: str, knowledge: tuple[Structure, ...]) -> bool:
    structure = lexicon_of(knowledge).by_key[target.key]
    names = (structure.name, *structure.synonyms, *structure.abbreviations, *structure.collectives)
    said = set(contents(prompt))
    return any(set(contents(name)) <= said for name in names)
