"""Qwen2.5-VL and Qwen3-VL through transformers, on this machine: the published IBISAgent and its like.

``loading`` opens a checkpoint, ``prompt`` turns messages into tokens and pictures, ``reader`` runs the model and keeps
what it has read already. Nothing here needs torchvision, and heavy imports wait until a model is built.
"""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

from napari_ibisagent.core.dialects import dialect as dialect_of
from napari_ibisagent.core.dialects.conversation import Speech, messages
from napari_ibisagent.core.errors import InputError
from napari_ibisagent.core.protocols import Manner, Situation
from napari_ibisagent.io.prompts import read_templates
from napari_ibisagent.policies.qwen_vl.chance import Choice
from napari_ibisagent.policies.qwen_vl.loading import Machine, Opened, open_checkpoint
from napari_ibisagent.policies.qwen_vl.memory import Memory
from napari_ibisagent.policies.qwen_vl.prompt import read_messages
from napari_ibisagent.policies.qwen_vl.reader import Reader

# The sentences that a checkpoint was trained on, where they lie beside its weights.
PROMPTS = "prompts.toml"


class QwenPolicy:
    """Asks a model on this machine for each turn. One turn at a time: it keeps what it read in the last one."""

    def __init__(self, opened: Opened, spoken: str, speech: Speech, manner: Manner, choice: Choice, name: str) -> None:
        self.name, self.dialect, self.manner = name, spoken, manner
        self.opened, self.speech = opened, speech
        self._memory = Memory(dialect_of(spoken).parse, speech)
        self._choice = choice
        self.reader = Reader(opened)

    def act(self, situation: Situation) -> Iterator[str]:
        """The model's answer, some letters at a time. Raises BackendError."""
        if not situation.episode.steps:
            self._memory.clear()
        read = messages(situation.episode, situation.look, self._memory.speech(), situation.mistake)
        pieces = []
        for piece in self.reader.answer(read_messages(read, self.opened), self._choice, len(situation.episode.steps)):
            pieces.append(piece)
            yield piece
        self._memory.remember("".join(pieces))


def build(
    folder: str | None = None,
    device: str = "auto",
    dtype: str = "auto",
    quantised: int | None = None,
    attention: str = "auto",
    dialect: str = "ibis",
    history: bool = False,
    prompts: str | None = None,
    max_pixels: int = 262_144,
    max_new_tokens: int = 512,
    temperature: float = 0.0,
    seed: int = 0,
    repairs: int = 1,
    turns: int | None = None,
    overlay: str = "",
    allow_pickle: bool = False,
    download: bool = False,
    name: str = "qwen_vl",
) -> QwenPolicy:
    """A policy of a checkpoint.

    folder: a folder, or a hub id with ``download=True``. device: cuda, mps, cpu, or auto. dtype: bfloat16, float16,
    float32, or auto. quantised: 4 or 8 bits (CUDA and bitsandbytes). attention: sdpa, flash_attention_2, eager, or
    auto. max_pixels: pictures are made smaller than that, with their aspect kept. temperature 0 is greedy; else
    ``seed`` makes it repeatable. dialect, history, prompts (a file of templates; else the checkpoint's own
    ``prompts.toml`` where it has one), repairs, turns, overlay: how the checkpoint was trained to be spoken to and
    played. Raises InputError and BackendError.
    """
    if folder is None:
        raise InputError(
            "Which model? Fetch one (ibisagent models fetch ibisagent-7b) and choose it by its name, or give the "
            "folder of a checkpoint: folder=PATH."
        )
    spoken = dialect_of(dialect)
    own = Path(folder) / PROMPTS
    speech = Speech(read_templates(dialect, prompts or (own if own.is_file() else None)), spoken.render, history)
    machine = Machine(device, dtype, quantised, attention)
    opened = open_checkpoint(folder, machine, max_pixels, allow_pickle=allow_pickle, download=download)
    choice = Choice(max_new_tokens, temperature, seed)
    return QwenPolicy(opened, dialect, speech, Manner(overlay, repairs, turns), choice, name)


def available() -> str:
    """Why it can't run here without being told more."""
    missing = [package for package in ("torch", "transformers") if find_spec(package) is None]
    if missing:
        return f"needs {' and '.join(missing)}: pip install 'napari-ibisagent[models]'"
    return "needs a checkpoint: ibisagent models fetch ibisagent-7b, or folder=PATH"
