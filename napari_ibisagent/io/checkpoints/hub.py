"""The hub's two requests that a download needs: which files a revision has, and a file from some byte on.

Own code over ``urllib`` and not ``huggingface_hub``, for three reasons. It works in the base installation, which has
no ``huggingface_hub``. That library (looked at: 2.4) downloads into a temporary file of a random name, so a download
that was killed begins anew. And it doesn't compare what arrived with the hub's hash, so all of a checkpoint would
have to be read again. The price is that there is one connection at a time, over plain HTTP. The form of the requests
is that of the hub's public API.

The token comes from the environment (HF_TOKEN), goes to the hub alone and not to where that redirects, and is never
printed.
"""

from __future__ import annotations

import http.client
import json
import os
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO, Any
from urllib.parse import quote, urlsplit

from napari_ibisagent.core.errors import BackendError, InputError

_TIMEOUT_S = 30
_LISTING_LIMIT = 64 << 20
_AGENT = "napari-ibisagent"


class BrokenOffError(BackendError):
    """The connection failed in a way that may pass: to be tried again."""


@dataclass(frozen=True, slots=True)
class HubFile:
    """A file of a repository. ``sha256`` is known of large files, ``blob`` (git's hash, sha1) of small ones."""

    path: str
    size: int
    sha256: str | None
    blob: str | None


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A repository at one commit."""

    hub: str
    commit: str
    files: tuple[HubFile, ...]


def endpoint() -> str:
    """The hub's address: HF_ENDPOINT, else https://huggingface.co. Raises InputError where that isn't one."""
    address = os.environ.get("HF_ENDPOINT") or "https://huggingface.co"
    if urlsplit(address).scheme not in ("http", "https") or not urlsplit(address).netloc:
        raise InputError(f"HF_ENDPOINT is {address!r}, which is no address such as https://huggingface.co. Correct it.")
    return address.rstrip("/")


def snapshot(hub: str, revision: str) -> Snapshot:
    """What a repository holds at a revision. Raises InputError where it isn't there for us, BackendError otherwise."""
    path = f"/api/models/{quote(hub)}/revision/{quote(revision, safe='')}?blobs=true"
    with _request(path, f"{hub} at {revision}", hub) as response:
        try:
            text = response.read(_LISTING_LIMIT)
            content = json.loads(text)
            files = tuple(_file(row) for row in content["siblings"])
            return Snapshot(hub, str(content["sha"]), files)
        except (OSError, http.client.HTTPException) as error:
            raise _broken(error) from error
        except (ValueError, KeyError, TypeError) as error:
            raise BackendError(
                f"{endpoint()} doesn't answer as the hub does ({type(error).__name__}: {error}). Check HF_ENDPOINT, "
                "and whether the network wants you to log in first."
            ) from error


def _file(row: dict[str, Any]) -> HubFile:
    large = row.get("lfs")
    if large:
        return HubFile(row["rfilename"], int(large["size"]), str(large["sha256"]), None)
    return HubFile(row["rfilename"], int(row["size"]), None, row.get("blobId"))


@contextmanager
def open_file(source: Snapshot, file: HubFile, start: int) -> Iterator[tuple[IO[bytes], int]]:
    """(stream, the byte that it begins with) of a file: ``start``, or 0 where the server can't continue.

    Raises BrokenOffError where a later try may succeed; reading from the stream may raise OSError or HTTPException.
    """
    path = f"/{quote(source.hub)}/resolve/{quote(source.commit, safe='')}/{quote(file.path)}"
    headers = {"Range": f"bytes={start}-"} if start else {}
    with _request(path, f"{file.path} of {source.hub}", source.hub, headers) as response:
        continued = response.status == 206 and response.headers.get("Content-Range", "").startswith(f"bytes {start}-")
        if response.status == 206 and not continued:
            raise BrokenOffError("The hub sent another part of the file than was asked for.")
        yield response, start if continued else 0


@contextmanager
def _request(path: str, what: str, hub: str, headers: dict[str, str] | None = None) -> Iterator[Any]:
    """A response of the hub to GET; foreign errors become ours here."""
    if os.environ.get("HF_HUB_OFFLINE", "").upper() in ("1", "ON", "YES", "TRUE"):
        raise InputError("HF_HUB_OFFLINE is set, so nothing is downloaded. Unset it, or fetch --from a bundle.")
    request = urllib.request.Request(endpoint() + path, headers={"User-Agent": _AGENT} | (headers or {}))
    _authorise(request)
    try:
        response = urllib.request.build_opener(_Redirects).open(request, timeout=_TIMEOUT_S)
    except urllib.error.HTTPError as error:
        with error:
            raise _refusal(error.code, what, hub) from error
    except (OSError, http.client.HTTPException) as error:
        raise _broken(error) from error
    with response:
        yield response


def _authorise(request: urllib.request.Request) -> None:
    """Adds the token, to a request that goes to the hub itself."""
    token = os.environ.get("HF_TOKEN", "").strip()
    if not (token.isascii() and token.isprintable()):  # the library's own error would print it
        raise InputError("HF_TOKEN holds characters that no token has. Set it again.")
    if token and urlsplit(request.full_url)[:2] == urlsplit(endpoint())[:2]:
        # A header of this kind doesn't follow a redirect to wherever the hub keeps its large files.
        request.add_unredirected_header("Authorization", f"Bearer {token}")


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follows redirects; the token goes along only where they stay on the hub (a repository that was renamed)."""

    def redirect_request(self, *arguments: Any) -> urllib.request.Request | None:
        request = super().redirect_request(*arguments)
        if request is not None:
            _authorise(request)
        return request


def _refusal(status: int, what: str, hub: str) -> InputError | BackendError:
    if status in (401, 403):
        return InputError(
            f"The hub doesn't give out {what} ({status}): it doesn't exist, is private, or its licence has to be "
            f"agreed to there. Agree to it at {endpoint()}/{hub}, set HF_TOKEN to a token of yours, and fetch again."
        )
    if status in (404, 410):
        return InputError(
            f"The hub has no {what} ({status}). It may have been moved: look for it at {endpoint()}, and correct hub "
            "or revision in a file of your own that IBISAGENT_PROFILES names."
        )
    if status in (408, 416, 425, 429) or status >= 500:
        return BrokenOffError(f"The hub is busy or out of order ({status}).")
    return BackendError(f"The hub refuses {what} with the status {status}. Try again later.")


def _broken(error: Exception) -> BrokenOffError:
    reason = getattr(error, "reason", None) or error
    return BrokenOffError(f"{endpoint()} can't be reached, or the connection broke off ({reason}).")
