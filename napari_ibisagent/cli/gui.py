"""``ibisagent gui``: napari with a scan and the dock."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from napari_ibisagent.cli.console import exit_codes


def gui(scan: Annotated[Path | None, typer.Argument(help="A scan to open.")] = None) -> None:
    """Open napari with a scan and the agent's dock. Needs the extra "gui".

    [bold]Example[/bold]

    ibisagent gui ct.nii.gz
    """
    with exit_codes():
        from napari_ibisagent.core.errors import BackendError

        try:
            from napari_ibisagent.ui.window import open_window
        except ImportError as error:
            raise BackendError(
                f"The window needs napari ({error}). Install it with pip install 'napari-ibisagent[gui]'."
            ) from error
        open_window(scan)
