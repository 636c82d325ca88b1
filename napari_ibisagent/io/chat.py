"""A chat-completions server (vLLM, SGLang, Ollama, llama.cpp, transformers serve): text out, messages in, as a stream.

The protocol itself is the ``openai`` package's. Here is what it leaves open: which machines may be spoken to, waiting
that can be broken off, retries that end, and a sentence for each way in which a server can fail.
"""

from __future__ import annotations

import base64
import queue
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from napari_ibisagent.core.dialects.conversation import Message
from napari_ibisagent.core.errors import BackendError, InputError
from napari_ibisagent.io.hosts import is_here
from napari_ibisagent.io.shown import fitted, png

# While nothing comes, so often may the one who waits think again, in seconds.
_BEAT_S = 0.1
_FIRST_WAIT_S, _LONGEST_WAIT_S = 0.5, 8.0
_AGAIN = frozenset((408, 409, 429, 500, 502, 503, 504))


@dataclass(frozen=True, slots=True)
class Server:
    """Where a model is served, and how long and how often to try.

    url: up to and with ``/v1``. stall_s: the longest silence, also before the first word. retries: further attempts, as
    long as no word has come. key: never shown, not even in ``repr``.
    """

    url: str
    key: str = field(default="", repr=False)
    connect_s: float = 10.0
    stall_s: float = 120.0
    retries: int = 3
    most_pixels: int = 262_144

    @property
    def host(self) -> str:
        """The host's name or address."""
        return urlsplit(self.url).hostname or ""


def stream(
    server: Server, model: str, messages: Sequence[Message], settings: dict[str, Any], extra: dict[str, Any]
) -> Iterator[str]:
    """The answer, piece by piece. While nothing comes, empty pieces: whoever reads may stop at any of them.

    Closing the iterator ends the request. Raises BackendError with what is wrong and what to do.
    """
    said: queue.Queue[str | BackendError | None] = queue.Queue()
    request = _Request(server, said)
    body = {"model": model, "messages": [_written(m, server.most_pixels) for m in messages], **settings}
    worker = threading.Thread(target=request.run, args=(body, extra), daemon=True, name="chat")
    worker.start()
    try:
        while True:
            try:
                piece = said.get(timeout=_BEAT_S)
            except queue.Empty:
                yield ""
                continue
            if piece is None:
                return
            if isinstance(piece, BackendError):
                raise piece
            yield piece
    finally:
        request.stop()


def served_model(server: Server) -> str:
    """The one model of a server. Raises BackendError where it can't be asked, InputError where it has several."""
    import openai

    try:
        with _client(server) as client:
            names = sorted(str(model.id) for model in client.models.list())
    except (openai.OpenAIError, ValueError, TypeError) as error:
        raise _told(error, server, "") from error
    if len(names) == 1:
        return names[0]
    known = ", ".join(names) or "none"
    raise InputError(f"The server at {server.url} has these models: {known}. Say which one: model=NAME.")


class _Request:
    """One request in a thread of its own, so that whoever waits for it never hangs on a silent server."""

    def __init__(self, server: Server, said: queue.Queue[str | BackendError | None]) -> None:
        self._server = server
        self._said = said
        self._stopped = threading.Event()
        self._lock = threading.Lock()
        self._open: Any = None

    def run(self, body: dict[str, Any], extra: dict[str, Any]) -> None:
        """Puts the pieces into the queue, then None, or the error."""
        told: BackendError | None = BackendError("The client of the server failed. Please report what it printed.")
        try:
            told = self._tried(body, extra)
        finally:
            self._said.put(told)  # whatever happens, nobody waits for ever

    def _tried(self, body: dict[str, Any], extra: dict[str, Any]) -> BackendError | None:
        """Puts the pieces into the queue; the error of the last try, or None."""
        import openai

        wait, heard, left = _FIRST_WAIT_S, False, self._server.retries
        while True:
            try:
                for piece in self._pieces(body, extra):
                    heard = True
                    self._said.put(piece)
                return None
            except (openai.OpenAIError, OSError, ValueError, TypeError, LookupError, AttributeError) as error:
                told = _told(error, self._server, str(body["model"]), heard)
                if heard or left <= 0 or not _may_pass(error) or self._stopped.wait(_wished(error, wait)):
                    return told
                wait, left = min(2 * wait, _LONGEST_WAIT_S), left - 1

    def stop(self) -> None:
        """Ends the request; the server sees that nobody reads any more. A second call does nothing."""
        self._stopped.set()
        with self._lock:
            if self._open is not None:
                self._open.close()

    def _pieces(self, body: dict[str, Any], extra: dict[str, Any]) -> Iterator[str]:
        with _client(self._server) as client:
            answer = client.chat.completions.create(**body, stream=True, extra_body=extra or None)
            with self._lock:
                self._open = answer.response
            with answer:
                if self._stopped.is_set():  # while the server was still silent
                    return
                ended = False
                for chunk in answer:
                    if self._stopped.is_set():
                        return
                    for choice in chunk.choices:
                        ended = ended or choice.finish_reason is not None
                        if choice.delta.content:
                            yield choice.delta.content
                if not ended:
                    raise ConnectionError("the answer broke off")


def _client(server: Server) -> Any:
    """A client that neither follows a redirection to another machine nor sends what is for this one through a proxy."""
    import openai

    http = openai.DefaultHttpxClient(
        follow_redirects=False,
        trust_env=not is_here(server.host),
        timeout=openai.Timeout(server.stall_s, connect=server.connect_s),
    )
    # The package would take an organisation and a project from the environment of another service.
    return openai.OpenAI(
        api_key=server.key or "none", organization="", project="", base_url=server.url, max_retries=0, http_client=http
    )


def _written(message: Message, most_pixels: int) -> dict[str, Any]:
    """A message as the protocol has it."""
    if message.picture is None:
        return {"role": message.role, "content": message.text}
    data = base64.b64encode(png(fitted(message.picture, most_pixels))).decode("ascii")
    picture = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{data}"}}
    return {"role": message.role, "content": [picture, {"type": "text", "text": message.text}]}


def _may_pass(error: Exception) -> bool:
    """Whether the same request may do better a little later."""
    import openai

    if isinstance(error, openai.APIStatusError):
        return error.status_code in _AGAIN
    return isinstance(error, openai.APIConnectionError | ConnectionError)


def _wished(error: Exception, wait: float) -> float:
    """How long to wait: as the server wishes, within bounds, else ``wait``."""
    response = getattr(error, "response", None)
    try:
        wished = float(response.headers.get("retry-after", "")) if response is not None else wait
    except ValueError:
        return wait
    return min(max(wished, 0.0), 4 * _LONGEST_WAIT_S)


def _told(error: Exception, server: Server, model: str, heard: bool = False) -> BackendError:
    """What went wrong as a sentence: with what, and what to do. Never the key, never what was sent."""
    import openai

    where = f"The server at {server.url}"
    if isinstance(error, openai.APITimeoutError):
        return BackendError(f"{where} said nothing for {server.stall_s:g} s. See whether it is busy, or raise stall_s.")
    if isinstance(error, openai.APIStatusError):
        return BackendError(_status(error.status_code, where, model, _reason(error, server)))
    if isinstance(error, openai.APIConnectionError) and not heard:
        return BackendError(f"{where} can't be reached ({_cause(error)}). Start it, or correct its address.")
    if isinstance(error, openai.APIError | ConnectionError):
        return BackendError(f"{where} broke off its answer ({_clean(str(error), server)}). Try again, or see its log.")
    return BackendError(
        f"{where} answered with something that isn't a chat answer. Check that its address ends in /v1."
    )


def _status(code: int, where: str, model: str, reason: str) -> str:
    match code:
        case 401 | 403:
            return f"{where} doesn't accept the key ({code}). Put the right one into IBISAGENT_SERVER_KEY."
        case 404:
            return f"{where} has no model {model!r}, or the address isn't complete (404). Check model and url."
        case 413:
            return f"{where} finds the pictures too large (413). Lower max_pixels, or raise the server's limit."
        case 429:
            return f"{where} has too much to do (429). Wait a moment, or let fewer people use it at once."
        case 400 | 422:
            return f"{where} doesn't understand the request ({code}): {reason} Check that its model takes pictures."
        case _ if 300 <= code < 400:
            return f"{where} points to another address ({code}), which isn't followed. Give that one yourself."
        case _ if code >= 500:
            return f"{where} has failed ({code}): {reason} See its log; it may be out of memory."
    return f"{where} refused the request ({code}): {reason} See its log."


def _reason(error: Any, server: Server) -> str:
    """The server's own words, short."""
    body = error.body if isinstance(error.body, dict) else {}
    words = body.get("message") or body.get("detail") or ""
    return _clean(str(words), server) or "it doesn't say why."


def _clean(words: str, server: Server) -> str:
    """Words of a server in one line, without the key."""
    if server.key:
        words = words.replace(server.key, "…")
    return " ".join(words.split())[:200]


def _cause(error: Exception) -> str:
    """The root of a failed connection, in a few words."""
    while error.__cause__ is not None:
        error = error.__cause__  # type: ignore[assignment]  # only exceptions are raised here
    return " ".join(str(error).split())[:120] or type(error).__name__
