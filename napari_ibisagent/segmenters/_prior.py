"""What every tool asks of the mask that it is to begin with."""

from __future__ import annotations

from napari_ibisagent.core.errors import GridError
from napari_ibisagent.core.masks import Mask
from napari_ibisagent.core.view import View


def check_prior(prior: Mask | None, view: View) -> None:
    """Raises GridError where the mask to begin with isn't one of the view's pixels."""
    if prior is not None and prior.shape != view.shape:
        raise GridError(
            f"The mask to begin with has {prior.shape} pixels and the view {view.shape}. Give a mask of this very view."
        )
