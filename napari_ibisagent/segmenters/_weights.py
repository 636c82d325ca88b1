"""Weights from a folder as transformers writes it: safetensors only, no code from it, no download unasked."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from napari_ibisagent.core.errors import BackendError, InputError

_HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")


def needs_folder(tool: str, model: str) -> str:
    """What to do where nobody said where the weights lie."""
    return (
        f"{tool} needs weights, and there are none in the package. Type: ibisagent models fetch {model}, and choose "
        f"that model; or load {tool} with folder= the folder that holds config.json and model.safetensors."
    )


def load_pretrained(
    cls: Any, folder: str, kinds: Sequence[str], tool: str, revision: str | None, download: bool
) -> Any:
    """The transformers model ``cls`` in float32, ready to be asked.

    folder: a folder on disk, or the id of a model on the hub, of which a copy that is already here is taken; it is
    fetched only with ``download``. kinds: the values of ``model_type`` that ``cls`` can be made from. Raises InputError
    for a folder that isn't one or holds another model, BackendError where the weights can't be read or lack a part.
    """
    import torch
    from safetensors import SafetensorError

    if Path(folder).is_dir():
        _checked(Path(folder), kinds, tool)
    elif not _HUB_ID.fullmatch(folder) or Path(folder).exists():
        raise InputError(f"There is no folder {folder}. Give folder= a folder with config.json and model.safetensors.")
    try:
        model, report = cls.from_pretrained(
            folder,
            revision=revision or "main",
            use_safetensors=True,
            local_files_only=not download,
            trust_remote_code=False,
            dtype=torch.float32,
            output_loading_info=True,
        )
    except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
        raise BackendError(_unreadable(folder, tool, download, error)) from error
    lacking = sorted({*report["missing_keys"], *(str(key[0]) for key in report["mismatched_keys"])})
    if lacking:
        raise BackendError(
            f"The weights in {folder} don't fit {tool}: {len(lacking)} parts are missing or of another size, the first "
            f"one {lacking[0]}. Fetch them again, or choose the tool that they belong to."
        )
    return model.eval().requires_grad_(False)


def _checked(folder: Path, kinds: Sequence[str], tool: str) -> None:
    """Raises InputError unless a folder holds a model of one of the kinds, with safetensors."""
    try:
        kind = json.loads((folder / "config.json").read_text("utf-8")).get("model_type")
    except FileNotFoundError:
        raise InputError(f"{folder} has no config.json. Give the folder into which the model was fetched.") from None
    except (OSError, ValueError, AttributeError) as error:
        raise InputError(f"{folder / 'config.json'} can't be read ({error}). Fetch the model again.") from error
    if kind not in kinds:
        raise InputError(f"{folder} holds a model of the type {kind}, and {tool} needs {' or '.join(kinds)}.")
    if not any(folder.glob("*.safetensors")):
        raise InputError(
            f"{folder} has no .safetensors file; weights in other forms can hold code and aren't read. "
            "Fetch the model's safetensors, or convert it on a machine that you can afford to lose."
        )


def _unreadable(folder: str, tool: str, download: bool, error: Exception) -> str:
    reason = (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
    if Path(folder).is_dir():
        return f"The weights in {folder} can't be read for {tool}: {reason}. Fetch the model again."
    if download:
        return f"The model {folder} can't be fetched for {tool}: {reason}. Check the name and the network."
    return (
        f"There is no copy of the model {folder} on this machine, and nobody allowed a download. "
        f"Load {tool} with download=True, or give folder= a folder on disk."
    )
