"""Keys of servers: from the environment or the system's keyring, never from a file of ours."""

from __future__ import annotations

import os
from importlib.util import find_spec

_KEYRING = "napari-ibisagent"


def key_for(url: str, variable: str) -> str:
    """The key for a server: from a variable of the environment, else from the keyring by its address, else none."""
    if key := os.environ.get(variable, ""):
        return key
    if find_spec("keyring") is None:
        return ""
    import keyring
    from keyring.errors import KeyringError

    try:
        return keyring.get_password(_KEYRING, url) or ""
    except KeyringError:
        return ""  # no keyring on this machine: most servers of one's own want no key
