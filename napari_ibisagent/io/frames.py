"""Files that hold several pictures of the same place: choosing one frame, and telling the user.

Leaves out what a frame is; the readers count them.
"""

from __future__ import annotations

from pathlib import Path

from napari_ibisagent.core.errors import ScanError

_OTHERS = "Choose another with --frame N"


def choose_frame(path: Path, count: int, frame: int | None) -> tuple[int, tuple[str, ...]]:
    """The frame to open (numbered from 0) and the warnings to show.

    Raises ScanError when there is no such frame.
    """
    if frame is not None and not 0 <= frame < count:
        only = "only one frame, number 0" if count == 1 else f"{count} frames, numbered from 0 to {count - 1}"
        raise ScanError(path, f"has {only}; there is no frame {frame}", _OTHERS + ".")
    if count == 1:
        return 0, ()
    chosen = frame or 0
    shown = f"The scan holds {count} frames (time points, channels or a movie); frame {chosen} is open."
    return chosen, (f"{shown} {_OTHERS}, N from 0 to {count - 1}.",)


def says_several(warnings: tuple[str, ...]) -> bool:
    """Whether one of a volume's warnings is that of ``choose_frame``."""
    return any(_OTHERS in warning for warning in warnings)
