"""A real HTTP server that speaks chat completions and fails in the ways that servers do."""

from __future__ import annotations

import json
import socket
import struct
import threading
import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

TEXT = "<think>The disc.</think><action>Positive Point (0.5703, 0.4453)</action>"
STOP = "<think>Good.</think><action>Terminate</action><answer>the disc</answer>"


class ChatServer(ThreadingHTTPServer):
    """``answers``: what to do with the requests in turn, the last one for all further ones.

    A text is streamed; a number is an error's code; ("stall", text), ("cut", text), ("junk", text) and ("reset", text)
    begin an answer and don't end it in order; ("to", url) redirects. ``asked`` keeps what came.
    """

    daemon_threads = True

    def __init__(self, answers, models=("tiny",)):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.answers, self.models, self.asked, self.headers, self.dropped = list(answers), models, [], [], 0
        self.times, self.released, self.listed = [], threading.Event(), 0

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_address[1]}/v1"

    def handle_error(self, request, client_address):
        self.dropped += 1


class _Handler(BaseHTTPRequestHandler):
    def log_message(self, *_):
        pass

    def do_GET(self):
        self.server.listed += 1
        self._json(200, {"object": "list", "data": [{"id": m, "object": "model"} for m in self.server.models]})

    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        server = self.server
        server.asked.append(json.loads(body))
        server.headers.append(dict(self.headers))
        server.times.append(time.monotonic())
        answer = server.answers[0] if len(server.answers) == 1 else server.answers.pop(0)
        if isinstance(answer, str):
            self._stream(answer)
        elif isinstance(answer, int):
            self._json(answer, {"error": {"message": f"no, said with {self.headers['authorization']}"}})
        elif answer[0] == "to":
            self.send_response(307)
            self.send_header("location", answer[1])
            self.end_headers()
        elif answer[0] == "page":
            self._json(200, answer[1])
        else:
            self._stream(answer[1], ending=answer[0])

    def _json(self, code, content):
        data = json.dumps(content).encode()
        self.send_response(code)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(data)))
        if code == 429:
            self.send_header("retry-after", "0.2")
        self.end_headers()
        self.wfile.write(data)

    def _stream(self, text, ending="stop"):
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.end_headers()
        for piece in text.split(" "):
            self._event({"delta": {"content": piece + " "}, "index": 0, "finish_reason": None})
            if ending == "slow":
                time.sleep(0.05)
        if ending == "stall":
            self.server.released.wait(20)
        elif ending == "reset":
            self.wfile.flush()
            time.sleep(0.2)
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.connection.close()
        elif ending == "junk":
            self.wfile.write(b"data: {not json at all\n\n")
        elif ending != "cut":
            self._event({"delta": {}, "index": 0, "finish_reason": "stop"})
            self.wfile.write(b"data: [DONE]\n\n")

    def _event(self, choice):
        chunk = {"id": "1", "object": "chat.completion.chunk", "created": 0, "model": "tiny", "choices": [choice]}
        self.wfile.write(f"data: {json.dumps(chunk)}\n\n".encode())
        self.wfile.flush()


@contextmanager
def running(server):
    """A server, answering in a thread of its own; ``server.released`` ends what it holds back."""
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.released.set()
        server.shutdown()
        server.server_close()
        thread.join()


def serving(*answers, **options):
    return running(ChatServer(answers, **options))
