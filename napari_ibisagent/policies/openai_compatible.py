"""A model behind a chat-completions server: vLLM, SGLang, Ollama, llama.cpp, ``transformers serve`` (docs/serving.md).

Pictures go as PNG without metadata, to this machine unless ``allow_remote_host`` is set. The key comes from the
environment (``IBISAGENT_SERVER_KEY``) or the system's keyring.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from importlib.util import find_spec
from typing import Any

from napari_ibisagent.core.dialects import dialect as dialect_of
from napari_ibisagent.core.dialects.conversation import Speech, messages
from napari_ibisagent.core.errors import InputError
from napari_ibisagent.core.protocols import Manner, Situation
from napari_ibisagent.io.chat import Server, served_model, stream
from napari_ibisagent.io.hosts import check_url, is_here, remote_allowed
from napari_ibisagent.io.keys import key_for
from napari_ibisagent.io.prompts import read_templates

_URL, _MODEL, _KEY, _REMOTE = (f"IBISAGENT_SERVER_{name}" for name in ("URL", "MODEL", "KEY", "ALLOW_REMOTE_HOST"))


class ServedPolicy:
    """Asks a server for each turn."""

    def __init__(
        self, server: Server, model: str, spoken: str, speech: Speech, manner: Manner, settings: dict[str, Any],
        extra: dict[str, Any], name: str,
    ) -> None:  # fmt: skip
        self.name, self.dialect, self.manner = name, spoken, manner
        self._server = server
        self._model = model
        self._speech = speech
        self._settings = settings
        self._extra = extra

    def act(self, situation: Situation) -> Iterator[str]:
        """The server's answer as it comes; empty pieces while nothing does. Raises BackendError."""
        self._model = self._model or served_model(self._server)
        read = messages(situation.episode, situation.look, self._speech, situation.mistake)
        return stream(self._server, self._model, read, self._settings, self._extra)


def build(
    url: str | None = None,
    model: str | None = None,
    dialect: str = "ibis",
    history: bool = False,
    prompts: str | None = None,
    allow_remote_host: bool | None = None,
    structured: bool = False,
    max_new_tokens: int = 512,
    temperature: float = 0.0,
    seed: int = 0,
    max_pixels: int = 262_144,
    stall_s: float = 120.0,
    retries: int = 3,
    repairs: int = 1,
    turns: int | None = None,
    overlay: str = "",
    name: str = "openai_compatible",
) -> ServedPolicy:
    """A policy of a server.

    url, model, allow_remote_host: else from the environment (IBISAGENT_SERVER_URL, _MODEL, _ALLOW_REMOTE_HOST); a
    server with one model needs no name. dialect, history, prompts (a file of templates), overlay, repairs, turns: how
    the model was trained to be spoken to and played. structured: hold it to the dialect's grammar (vLLM). stall_s: the
    longest silence in seconds. Raises InputError for an address that is none, or another machine's without leave.
    """
    address = url or os.environ.get(_URL, "")
    if not address:
        raise InputError(f"Which server? Give url=http://localhost:8000/v1, or set {_URL}.")
    spoken = dialect_of(dialect)
    checked = check_url(address, allow_remote_host=remote_allowed(allow_remote_host, _REMOTE))
    server = Server(checked, key_for(checked, _KEY), stall_s=stall_s, retries=retries, most_pixels=max_pixels)
    notice = "" if is_here(server.host) else f"The scan's pictures and your words are sent to {server.host}."
    settings = {"max_tokens": max_new_tokens, "temperature": temperature, "seed": seed}
    extra = {"structured_outputs": {"regex": spoken.grammar}} if structured else {}
    speech = Speech(read_templates(dialect, prompts), spoken.render, history)
    manner = Manner(overlay, repairs, turns, notice)
    return ServedPolicy(server, model or os.environ.get(_MODEL, ""), dialect, speech, manner, settings, extra, name)


def available() -> str | None:
    """Why it can't run here without being told more."""
    if find_spec("openai") is None:
        return "needs the package openai: pip install 'napari-ibisagent[remote]'"
    return None if os.environ.get(_URL) else f"needs a server: set {_URL}, for example to http://localhost:8000/v1"
