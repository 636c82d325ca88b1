"""A real HTTP server that speaks nnInteractive's protocol (2.6), with a region grower in the network's place."""

from __future__ import annotations

import json
import threading
import uuid
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
from chat_server import running
from scipy import ndimage as ndi

CAPABILITIES = {
    "supported_interactions": {"points": True, "bbox2d": True, "bbox3d": False, "scribble": True, "lasso": True},
    "channel_mapping": {"prev_seg": 0, "points": [3, 4], "bbox2d": [1, 2]},
    "num_interaction_channels": 7,
    "supports_initial_label": True,
    "supports_zero_shot_label_refinement": True,
    "preferred_scribble_thickness": [2, 2, 2],
    "interaction_decay": 0.98,
    "inference_session_version": "2.6.0",
    "license": "test",
}


class Grower:
    """What is like a click and connected to it is taken, or let go of."""

    def __init__(self, image):
        self.image, self.mask = image[0], np.zeros(image.shape[1:], np.uint8)

    def point(self, at, include):
        alike = np.abs(self.image - self.image[tuple(at)]) < 0.35 * self.image.std()
        parts, _ = ndi.label(alike)
        self.mask[parts == parts[tuple(at)]] = include

    def box(self, sides, include):
        self.mask[tuple(slice(*side) for side in sides)] = include


class ToolServer(ThreadingHTTPServer):
    """``fails``: for a path, what happens there: a number (a status), "page", "stall", or "gone" (once)."""

    daemon_threads = True

    def __init__(self, key="", leases=4, fails=None, refines=True):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.key, self.most, self.fails, self.refines = key, leases, dict(fails or {}), refines
        self.leases, self.asked, self.images, self.released = {}, [], [], threading.Event()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_address[1]}"


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def do_GET(self):
        self._answer()

    def do_POST(self):
        self._answer()

    def _answer(self):
        server = self.server
        body = self.rfile.read(int(self.headers["content-length"] or 0))
        server.asked.append(self.path)
        if server.key and self.headers["authorization"] != f"Bearer {server.key}":
            return self._json(401, {"detail": "Invalid or missing API key"})
        fault = server.fails.get(self.path)
        if fault == "gone":
            del server.fails[self.path]
            server.leases.clear()
        elif fault == "page":
            return self._send(200, b"<html>welcome</html>", "text/html")
        elif fault == "stall":
            server.released.wait(20)
            return None
        elif fault:
            return self._json(fault, {"detail": "something broke."})
        if self.path == "/claim":
            return self._claim()
        lease = self.headers["x-lease-token"]
        if lease not in server.leases:
            return self._json(410, {"detail": "unknown lease"})
        return self._session(lease, body)

    def _claim(self):
        if len(self.server.leases) >= self.server.most:
            return self._json(503, {"detail": "at capacity"})
        token = uuid.uuid4().hex
        self.server.leases[token] = None
        return self._json(200, {"lease_token": token, "idle_timeout_seconds": 600, "liveness_timeout_seconds": 60})

    def _session(self, lease, body):
        from nnInteractive.inference.remote.serialization import unpack_array

        leases = self.server.leases
        if self.path == "/capabilities":
            return self._json(200, CAPABILITIES | {"supports_initial_label": self.server.refines})
        if self.path == "/release":
            del leases[lease]
            return self._json(200, {})
        if self.path == "/set_image":
            image = unpack_array(body)
            self.server.images.append(image)
            leases[lease] = Grower(image)
            return self._json(200, {"original_image_shape": list(image.shape)})
        if self.path in ("/set_target_buffer", "/heartbeat"):
            return self._json(200, {"remaining_seconds": 600})
        tool = leases[lease]
        if self.path == "/reset_interactions":
            tool.mask[:] = 0
            return self._json(200, {})
        if self.path == "/add_initial_seg_interaction":
            tool.mask[:] = unpack_array(body)
            return self._mask(tool, ran=False)
        asked = json.loads(body)
        if self.path == "/add_point_interaction":
            tool.point(asked["coordinates"], asked["include_interaction"])
        else:
            tool.box(asked["bbox_coords"], asked["include_interaction"])
        return self._mask(tool, ran=True)

    def _mask(self, tool, ran):
        from nnInteractive.inference.remote.serialization import pack_array

        whole = [[0, side] for side in tool.mask.shape]
        meta = {"ran_prediction": ran, "bbox": whole if ran else None}
        data = pack_array(tool.mask, nthreads=1) if ran else b""
        self._send(200, data, "application/octet-stream", {"X-Meta": json.dumps(meta)})

    def _json(self, code, content):
        self._send(code, json.dumps(content).encode(), "application/json")

    def _send(self, code, data, kind, headers=()):
        self.send_response(code)
        for name, value in {"content-type": kind, "content-length": str(len(data)), **dict(headers)}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data)


def tool_server(**options):
    return running(ToolServer(**options))
