"""Files of ``resources/``: inside the package in a wheel, beside it in a checkout."""

from __future__ import annotations

from pathlib import Path

from napari_ibisagent.core.errors import BackendError

_PACKAGE = Path(__file__).resolve().parent.parent


def resource(name: str) -> Path:
    """The path of a resource, for example ``resource("knowledge/anatomy.toml")``."""
    for root in (_PACKAGE / "resources", _PACKAGE.parent / "resources"):
        if (root / name).is_file():
            return root / name
    raise BackendError(f"The resource {name} is missing from this installation. Install napari-ibisagent again.")
