"""``pack``: a small checkpoint as it comes with the program: 16-bit weights, what it needs, and its lock."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import torch

from napari_ibisagent.core.errors import InputError
from napari_ibisagent.io.atomic import atomic_write_bytes
from napari_ibisagent.io.checkpoints.store import LOCK, Lock, StoredFile, lock_to
from napari_ibisagent.policies.qwen_vl import PROMPTS
from napari_ibisagent.training.nano.model import write_rest
from napari_ibisagent.training.nano.school import open_nano

_LICENCE = "Apache-2.0"


def pack(folder: Path, output: Path, name: str = "nano") -> Path:
    """Writes the checkpoint of ``folder`` to ``output``; returns that. Raises InputError where it isn't a nano one."""
    if not (folder / PROMPTS).is_file():
        raise InputError(f"{folder} has no {PROMPTS}, so it isn't a nano agent's checkpoint. Give the folder of one.")
    opened = open_nano(folder)
    output.mkdir(parents=True, exist_ok=True)
    opened.model.to(torch.bfloat16).save_pretrained(output)
    write_rest(output, opened.tokenizer, opened.model.config.vision_config.spatial_merge_size)
    (output / PROMPTS).write_bytes((folder / PROMPTS).read_bytes())
    paths = sorted(path for path in output.iterdir() if path.suffix in (".safetensors", ".json", ".toml", ".jinja"))
    for path in paths:
        path.chmod(0o644)  # weights are written for their owner alone
    files = tuple(_stored(path) for path in paths if path.name != LOCK)
    lock = Lock(name, "", "", "main", _LICENCE, "", files)
    atomic_write_bytes(output / LOCK, (json.dumps(lock_to(lock), indent=1) + "\n").encode())
    return output


def _stored(path: Path) -> StoredFile:
    data = path.read_bytes()
    return StoredFile(path.name, len(data), hashlib.sha256(data).hexdigest())
