"""Names of files that came from elsewhere (a hub, a bundle, a profile): which may become paths on this disk."""

from __future__ import annotations

import re

# A colon is a drive or a stream on Windows, a backslash is a separator there; control characters fool terminals.
_FORBIDDEN = re.compile(r"[\\:\x00-\x1f\x7f]")
PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle", ".joblib")
WEIGHTS = (".safetensors", *PICKLES)


def is_safe(path: str) -> bool:
    """Whether a path with slashes stays inside of the folder that it is put in, on every system."""
    return not _FORBIDDEN.search(path) and all(part not in ("", ".", "..") for part in path.split("/"))


def is_pickle(path: str) -> bool:
    """Whether loading the file could run code that it holds."""
    return path.lower().endswith(PICKLES)


def is_weights(path: str) -> bool:
    """Whether the file holds weights, in whatever form."""
    return path.lower().endswith(WEIGHTS)
