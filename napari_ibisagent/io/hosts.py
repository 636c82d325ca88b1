"""Which machines may be spoken to: this one; another one only where the user says so in so many words."""

from __future__ import annotations

import ipaddress
import os
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

from napari_ibisagent.core.errors import InputError


def check_url(url: str, *, allow_remote_host: bool) -> str:
    """The address without its last slash. Raises InputError where it is none, or another machine's without leave."""
    parts = urlsplit(url if "://" in url else f"http://{url}")
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise InputError(f"{url!r} is no address of a server. Write one such as http://localhost:8000/v1.")
    if parts.username or parts.password:
        raise InputError("The address holds a name or a password. Take it out; a key comes from the environment.")
    if not (is_here(parts.hostname) or allow_remote_host):
        raise InputError(
            f"{parts.hostname} isn't this machine, and the scan's pictures and your words would be sent there. "
            "If you want that, say so: allow_remote_host=true."
        )
    return parts._replace(query="", fragment="").geturl().rstrip("/")


def is_here(host: str) -> bool:
    """Whether a host is this machine by its very name; what a name server says is not asked."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def remote_allowed(said: bool | None, variable: str) -> bool:
    """Whether another machine may be spoken to: as it was said, else as a variable of the environment has it."""
    return os.environ.get(variable, "") in ("1", "true", "yes") if said is None else said


def check_proxy(url: str) -> None:
    """Raises InputError where a proxy of the environment would carry what is meant to stay on this machine.

    For clients that take the environment's proxies and can't be told not to.
    """
    parts = urlsplit(url)
    host = parts.hostname or ""
    found = getproxies()
    proxy = found.get(parts.scheme) or found.get("all")
    if proxy and is_here(host) and not proxy_bypass(host):
        raise InputError(
            f"A proxy is set in the environment, and what is sent to {host} would go through it. "
            f"Set NO_PROXY={host}, and try again."
        )
