"""Whatever goes wrong, as a sentence on stderr and an exit code; under --json also as the one object on stdout."""

from __future__ import annotations

import os
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import typer

from napari_ibisagent.core.errors import CancelledError, IbisError, InputError

DONE, FAULT, BAD_INPUT, NOT_FOUND, CANCELLED = 0, 1, 2, 3, 130
DEBUG = "IBISAGENT_DEBUG"

Report = Callable[[int, str], None]


@contextmanager
def exit_codes(report: Report | None = None) -> Iterator[None]:
    """Ends the command with a sentence and an exit code where something goes wrong; ``report`` gets both."""
    try:
        yield
    except (typer.Exit, BrokenPipeError):  # an end as planned; nobody listens any more
        raise
    except (Exception, KeyboardInterrupt) as error:
        code, sentence = fault_of(error)
        if os.environ.get(DEBUG) == "1":
            traceback.print_exception(error)
        typer.echo(sentence, err=True)
        if report is not None:
            report(code, sentence)
        raise typer.Exit(code) from error


def fault_of(error: BaseException) -> tuple[int, str]:
    """(exit code, sentence) of an error."""
    match error:
        case CancelledError() | KeyboardInterrupt() | typer.Abort():
            return CANCELLED, "Cancelled."
        case InputError():
            return BAD_INPUT, str(error)
        case IbisError():
            return FAULT, str(error)
        case MemoryError():
            return FAULT, "This needs more memory than is free. Close other programs, or crop the scan."
        case OSError():
            place = "A file" if error.filename is None else str(error.filename)
            return FAULT, f"{place} can't be read or written ({error.strerror or error}). Check the path and the disk."
    return FAULT, (
        f"This is a fault of the program ({type(error).__name__}: {error}). Please report it with the command that "
        f"you gave; with {DEBUG}=1 set, the place in the program is printed as well."
    )


def usage_sentence(error: BaseException) -> str | None:
    """What is wrong with the arguments, where ``error`` says that; its class depends on the version of typer."""
    text = getattr(error, "format_message", None)
    return None if text is None else f"{str(text()).replace('Value error, ', '').rstrip('.')}. See --help."
