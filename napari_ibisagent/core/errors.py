"""The error tree. Every message is a sentence: what is wrong with what, and what to do next.

Errors are sorted by who can mend them::

    IbisError
    ├── InputError             the user's: a file, an option, a name        (exit code 2)
    │   ├── ScanError          a scan that can't be read
    │   │   ├── NotAnImageError    readable, but not a picture of anatomy (RTSTRUCT, SEG, text, ...)
    │   │   ├── TruncatedError     the file ends before its header says
    │   │   └── SeriesChoiceError  several series: one has to be named
    │   ├── GridError          two things that don't lie on the same grid
    │   ├── OutputError        a place where nothing may or can be written
    │   ├── JournalError       a journal that can't be read or continued
    │   └── UnknownNameError   a policy, segmenter, window, ... of that name doesn't exist
    ├── DialectError           the model's: it goes back to the model, or ends the episode
    ├── OverlapError           an object would be painted over although the rule forbids it
    ├── StateError             an event that can't follow the state it meets (a fault of the caller)
    ├── BackendError           a policy or tool failed, or can't run here
    └── CancelledError         the user cancelled; not a fault
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path


class IbisError(Exception):
    """Base of every error that this package raises on purpose."""


class InputError(IbisError):
    """Something that the user gave is wrong; the message says what to do."""


class ScanError(InputError):
    """A scan that can't be read.

    ``path`` is the file or folder, ``problem`` a clause that follows its name, ``remedy`` a sentence.
    """

    def __init__(self, path: str | Path, problem: str, remedy: str) -> None:
        super().__init__(f"{Path(path).name or path} {problem}. {remedy}")
        self.path = Path(path)
        self.problem = problem
        self.remedy = remedy


class NotAnImageError(ScanError):
    """The file is readable but holds no picture of anatomy."""


class TruncatedError(ScanError):
    """The file ends before its header says that it should."""


class SeriesChoiceError(ScanError):
    """A folder or zip holds several series; ``choices`` lists them as (key, description)."""

    def __init__(self, path: str | Path, choices: Sequence[tuple[str, str]]) -> None:
        listing = "; ".join(f"{key}: {text}" for key, text in choices)
        super().__init__(
            path,
            f"holds {len(choices)} series ({listing})",
            "Name the one to open, for example with --series " + choices[0][0] + ".",
        )
        self.choices = tuple(choices)


class GridError(InputError):
    """Two arrays or files that should lie on the same grid don't."""


class OutputError(InputError):
    """The result can't or may not be written there."""


class UnknownNameError(InputError):
    """A name that isn't among the known ones; the message lists those."""


class DialectError(IbisError):
    """A policy's answer that can't be read as a turn. ``text`` is the answer."""

    def __init__(self, message: str, text: str) -> None:
        super().__init__(message)
        self.text = text


class OverlapError(IbisError):
    """A mask meets voxels of another object and the rule is *forbid*, or the object is locked."""


class StateError(IbisError):
    """An event that can't follow the state it meets."""


class JournalError(InputError):
    """A journal that can't be read or continued; the message names the line."""


class BackendError(IbisError):
    """A policy or a segmentation tool failed, or can't run on this machine."""


class CancelledError(IbisError):
    """The user cancelled."""
