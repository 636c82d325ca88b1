"""Journals in, a folder of examples out: ``trajectories.jsonl``, ``preferences.jsonl`` and, if asked for, pictures.

Only what the user's word allows goes out, and nothing that leads back to a patient: names are numbers dealt at random
after a prefix of this export's own (a checksum of a name or UID could be looked up), so the order of the files says
nothing either. All trajectories of one scan share its number, so that none gets into training and test at once.
"""

from __future__ import annotations

import random
import re
import secrets
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from napari_ibisagent.core.errors import IbisError, InputError, JournalError, OutputError
from napari_ibisagent.core.overlay import grey_picture
from napari_ibisagent.core.session import Session
from napari_ibisagent.core.view import Plane, view_of
from napari_ibisagent.core.window import default_window
from napari_ibisagent.io.atomic import atomic_write_bytes
from napari_ibisagent.io.journal import ENDING, read_journal
from napari_ibisagent.io.knowledge import load_knowledge
from napari_ibisagent.io.protect import check_folder
from napari_ibisagent.io.scanref import read_scan_of
from napari_ibisagent.training.corrections.lessons import LeftOut, Lesson, lessons_of
from napari_ibisagent.training.corrections.pairs import Preference, preferences_of
from napari_ibisagent.training.corrections.pairs import to_line as pair_line
from napari_ibisagent.training.corrections.voice import Voice
from napari_ibisagent.training.trajectories.form import to_line
from napari_ibisagent.training.trajectories.writing import PICTURES, TRAJECTORIES, grey_png

PREFERENCES = "preferences.jsonl"
# What is exported is named after its scan, see ``_name``, and numbered after that.
_NAMED = re.compile(r"([0-9a-f]{8}-\d{4,})-\d+-\d+-\d+")


@dataclass(frozen=True, slots=True)
class Wish:
    """What may go out. typed: sentences as they were typed. pictures: the slices as well.

    consent: there is consent for sessions in which nobody was asked; a session in which it was refused stays out.
    voice: how what a person did is told, since nobody wrote a thought for it.
    """

    typed: bool = False
    pictures: bool = False
    consent: bool = False
    voice: Voice = Voice.FULL


@dataclass(slots=True)
class Told:
    """What came of a journal. ``left_out``: sentences that say what isn't exported, and why.

    scan: the scan's name as it goes out.
    """

    journal: Path
    scan: str = ""
    lessons: list[Lesson] = field(default_factory=list)
    pairs: int = 0
    pictures: int = 0
    left_out: list[str] = field(default_factory=list)


def journals_in(places: Iterable[Path]) -> tuple[Path, ...]:
    """The journals that are named, and those in the folders that are; each once. InputError where a folder has none."""
    found: dict[Path, Path] = {}
    for place in places:
        inside = sorted(place.glob(f"*{ENDING}")) if place.is_dir() else [place]
        if not inside:
            raise InputError(f"The folder {place} holds no journal (…{ENDING}). Name another one.")
        found |= {journal.resolve(): journal for journal in inside}
    return tuple(found.values())


def scan_of(name: str) -> str | None:
    """The scan's name in that of an exported trajectory; None: it is none."""
    found = _NAMED.fullmatch(name)
    return None if found is None else found[1]


def export(journals: Sequence[Path], folder: Path, wish: Wish) -> tuple[Told, ...]:
    """Writes what can be learned from journals to a new or empty folder; says of each what became of it.

    Nothing is written where nothing may go out. Raises OutputError where the folder isn't empty or can't be written.
    """
    _check_empty(folder, journals)
    read = [(Told(journal), _session(journal, wish)) for journal in journals]
    usable = [(told, found) for told, found in read if isinstance(found, Session)]
    for told, reason in read:
        told.left_out += [reason] if isinstance(reason, str) else []
    _name([(told, _digest(session)) for told, session in usable])
    for number, (told, session) in enumerate(usable, start=1):
        _learn(told, session, f"{told.scan}-{number}", wish)
    if any(told.lessons for told, _ in usable):
        for told, session in usable:
            if wish.pictures and told.lessons:
                _show(told, session, folder)
        _write([told for told, _ in usable], folder)
    return tuple(told for told, _ in read)


def _check_empty(folder: Path, journals: Sequence[Path]) -> None:
    check_folder(folder, journals)
    if folder.exists() and any(folder.iterdir()):
        raise OutputError(f"{folder} holds files already. Choose an empty folder, or one that doesn't exist yet.")


def _session(journal: Path, wish: Wish) -> Session | str:
    """The session of a journal, or why it isn't used."""
    try:
        session = read_journal(journal).session
    except JournalError as error:
        return str(error)
    return _unfit(session, wish) or session


def _unfit(session: Session, wish: Wish) -> str:
    if session.consent is False:
        return "Its use for training was refused in the session."
    if session.consent is None and not wish.consent:
        return (
            "Nobody was asked whether it may be used for training. Say so in the window, or, where you have consent "
            "for it, with --i-have-consent."
        )
    return "" if session.episodes else "Nothing was asked for in it."


def _name(scans: Sequence[tuple[Told, str]]) -> None:
    """Gives each scan, told apart by its checksum, a name: a prefix, and a number dealt at random."""
    digests = sorted({digest for _, digest in scans})
    random.SystemRandom().shuffle(digests)
    prefix = secrets.token_hex(4)
    for told, digest in scans:
        told.scan = f"{prefix}-{digests.index(digest) + 1:04d}"


def _digest(session: Session) -> str:
    return "" if session.scan is None else session.scan.digest


def _learn(told: Told, session: Session, name: str, wish: Wish) -> None:
    for found in lessons_of(session, load_knowledge(), name, typed=wish.typed, voice=wish.voice):
        if isinstance(found, LeftOut):
            told.left_out.append(f"Request {found.request} {found.reason}")
        else:
            told.lessons.append(found)


def _show(told: Told, session: Session, folder: Path) -> None:
    """Writes the slices of a session's lessons, where its scan can be had; the lessons then name them."""
    if session.scan is None:
        return
    try:
        volume, _ = read_scan_of(session.scan, told.journal)
    except IbisError as error:
        told.left_out.append(f"Its pictures: {error}")
        return
    written: set[str] = set()
    for at, lesson in enumerate(told.lessons):
        source = lesson.trajectory.source
        view = view_of(volume, Plane(source.plane), source.index)
        if view.shape != lesson.trajectory.shape:
            told.left_out.append(f"The picture of {source.plane} slice {source.index}: the view has another size now.")
            continue
        place = f"{PICTURES}/{told.scan}-{source.plane}-{source.index}.png"
        window = default_window(view.image, view.modality)
        if place not in written:
            atomic_write_bytes(folder / place, grey_png(grey_picture(view.image, window)))
            written.add(place)
        shown = None if view.image.ndim == 3 else (window.level, window.width)
        trajectory = replace(lesson.trajectory, source=replace(source, picture=place, window=shown))
        told.lessons[at] = replace(lesson, trajectory=trajectory)
    told.pictures = len(written)


def _write(all_told: Sequence[Told], folder: Path) -> None:
    """The pairs, and last the trajectories: without those the folder isn't whole."""
    for told in all_told:
        told.pairs = sum(len(_pairs(lesson)) for lesson in told.lessons)
    # By their names, which were dealt: the order of the journals may be that of the patients.
    lessons = sorted((lesson for told in all_told for lesson in told.lessons), key=lambda found: found.trajectory.name)
    lines = {
        PREFERENCES: (pair_line(pair) for lesson in lessons for pair in _pairs(lesson)),
        TRAJECTORIES: (to_line(lesson.trajectory) for lesson in lessons),
    }
    for name, content in lines.items():
        atomic_write_bytes(folder / name, "".join(content).encode("utf-8", "replace"))


def _pairs(lesson: Lesson) -> tuple[Preference, ...]:
    return tuple(preferences_of(lesson.trajectory, lesson.piece))
