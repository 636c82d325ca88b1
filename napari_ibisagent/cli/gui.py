"""``ibisagent gui``: napari with a scan and the dock."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from napari_ibisagent.cli.faults import exit_codes


def gui(
    scan: Annotated[
        Path | None,
        typer.Argument(readable=False, help="NIfTI, DICOM (folder, file or zip), NRRD, MHA, PNG, JPEG or TIFF."),
    ] = None,
    series: Annotated[str | None, typer.Option(help="Which of several DICOM series.")] = None,
    modality: Annotated[
        str | None, typer.Option(help="CT, MR, …, where the file doesn't say it, as NRRD and MHA don't.")
    ] = None,
) -> None:
    """Open napari with a scan and the agent's dock. Needs the extra "gui".

    [bold]Examples[/bold]

    ibisagent gui

    ibisagent gui ct.nii.gz

    ibisagent gui dicom_folder/ --series 3
    """
    from napari_ibisagent.core.errors import BackendError, InputError

    with exit_codes():
        if scan is None and (series is not None or modality is not None):
            raise InputError(
                "--series and --modality say how to open a scan, and none is named. Name the scan as well."
            )
        try:
            from napari_ibisagent.ui.window import open_window
        except ImportError as error:
            reason = str(error).partition("\n")[0].rstrip(".")
            raise BackendError(
                f"The window needs napari ({reason}). Install it with pip install 'napari-ibisagent[gui]'."
            ) from error
        open_window(scan, series=series, modality=modality)
