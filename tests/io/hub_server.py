"""A hub on this machine: the two requests that a download needs, over real HTTP, with the faults that a test wants.

Large files are served from "another host" (``localhost`` instead of ``127.0.0.1``), as the real hub does.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlsplit

PIECE = 1 << 14


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def git_blob(data: bytes) -> str:
    return hashlib.sha1(f"blob {len(data)}\0".encode() + data).hexdigest()


@dataclass
class Hub:
    """What the server holds, which faults it has, and what it saw."""

    repositories: dict[str, dict[str, bytes]]
    commit: str = "0123456789abcdef0123456789abcdef01234567"
    address: str = ""
    # faults
    gated: bool = False
    page: bytes | None = None
    ranges: bool = True
    budget: int | None = None  # bytes of files after which every connection is cut
    piecemeal: int | None = None  # bytes of files after which this one connection is cut
    damaged: set[str] = field(default_factory=set)
    busy: int = 0
    pause: float = 0.0  # seconds between pieces
    # what it saw
    sending: int = 0  # files that are on their way just now
    sent: Counter[str] = field(default_factory=Counter)
    seen: list[tuple[str, str | None, str | None]] = field(default_factory=list)  # (host and path, token, range)

    def large(self, path: str) -> bool:
        return path.endswith((".safetensors", ".bin", ".pt", ".pth"))

    def listing(self, name: str) -> dict[str, Any]:
        rows = []
        for path, data in self.repositories[name].items():
            row: dict[str, Any] = {"rfilename": path, "size": len(data), "blobId": git_blob(data)}
            if self.large(path):
                row["lfs"] = {"sha256": sha256(data), "size": len(data), "pointerSize": 134}
            rows.append(row)
        return {"id": name, "sha": self.commit, "siblings": rows}


@contextlib.contextmanager
def running(repositories: dict[str, dict[str, bytes]]) -> Iterator[Hub]:
    """A hub that listens until the block ends."""
    hub = Hub(repositories)
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"hub": hub}))
    server.daemon_threads = True
    hub.address = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    hub: Hub
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: Any) -> None:
        pass

    def do_GET(self) -> None:
        hub, path = self.hub, unquote(urlsplit(self.path).path)
        hub.seen.append((self.headers["Host"] + path, self.headers.get("Authorization"), self.headers.get("Range")))
        with contextlib.suppress(ConnectionError):  # the other side was killed
            if hub.busy:
                hub.busy -= 1
                self._answer(503, b"busy")
            elif hub.gated and not self.headers.get("Authorization") and "/cdn/" not in path:
                self._answer(401, b"gated")
            elif path.startswith("/api/models/"):
                self._list(path.removeprefix("/api/models/"))
            elif path.startswith("/cdn/"):
                name, _, file = path.removeprefix("/cdn/").partition("//")
                self._send(file, hub.repositories[name][file])
            else:
                self._resolve(path[1:])

    def _list(self, path: str) -> None:
        name, _, revision = path.partition("/revision/")
        if self.hub.page is not None:
            self._answer(200, self.hub.page)
        elif name not in self.hub.repositories or revision != "main":
            self._answer(404, b"{}")
        else:
            self._answer(200, json.dumps(self.hub.listing(name)).encode())

    def _resolve(self, path: str) -> None:
        name, _, rest = path.partition("/resolve/")
        commit, _, file = rest.partition("/")
        if commit != self.hub.commit or file not in self.hub.repositories.get(name, {}):
            self._answer(404, b"")
        elif self.hub.large(file):
            address = self.hub.address.replace("127.0.0.1", "localhost")
            self._answer(302, b"", {"Location": f"{address}/cdn/{name}//{file}"})
        else:
            self._send(file, self.hub.repositories[name][file])

    def _answer(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for key, value in (headers or {}).items():
            self.send_header(key, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _send(self, path: str, data: bytes) -> None:
        self.hub.sending += 1
        try:
            self._send_all(path, data)
        finally:
            self.hub.sending -= 1

    def _send_all(self, path: str, data: bytes) -> None:
        hub = self.hub
        if path in hub.damaged:
            data = bytes([data[0] ^ 1]) + data[1:]
        start = 0
        if hub.ranges and (wanted := self.headers.get("Range")):
            start = int(wanted.removeprefix("bytes=").rstrip("-"))
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
        else:
            self.send_response(200)
        self.send_header("Content-Length", str(len(data) - start))
        self.end_headers()
        left = hub.piecemeal
        for at in range(start, len(data), PIECE):
            piece = data[at : at + PIECE]
            if hub.budget is not None:
                piece = piece[: hub.budget]
                hub.budget -= len(piece)
            if left is not None:
                piece = piece[:left]
                left -= len(piece)
            self.wfile.write(piece)
            hub.sent[path] += len(piece)
            if len(piece) < len(data[at : at + PIECE]):
                self.close_connection = True
                return
            time.sleep(hub.pause)
