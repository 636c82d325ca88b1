"""What the commands of ``ibisagent train`` share: what has to be installed, and figures as they come."""

from __future__ import annotations

from importlib.util import find_spec

from napari_ibisagent.cli.console import console
from napari_ibisagent.core.errors import InputError


def check_installed(*needed: str) -> None:
    """Raises InputError where a package is missing."""
    missing = [name for name in needed if find_spec(name) is None]
    if missing:
        raise InputError(
            f"Training needs {', '.join(missing)}, which this installation lacks. Install them with: "
            "pip install 'napari-ibisagent[train]'"
        )


def tell(figures: dict[str, float]) -> None:
    """Prints the figures of a step as one line."""
    rest = ", ".join(f"{name} {value:.4g}" for name, value in figures.items() if name != "step")
    console().print(f"step {int(figures.get('step', 0))}: {rest}", markup=False)
