"""What the authors' own checkpoints of SAM and SAM 2 have in common: a pickle of named weights, with their names.

Such a file is read with torch's reader for weights alone, which runs no code, and only where the user asked for it. The
names are those of ``facebookresearch/segment-anything`` and ``/sam2``; nothing of those packages is needed.
"""

from __future__ import annotations

import pickle
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_ibisagent.core.errors import BackendError, InputError

if TYPE_CHECKING:
    from torch import Tensor

PICKLES = (".pth", ".pt", ".bin", ".ckpt")

# What a part of a name is called by the authors (a pattern) and in transformers, to be tried in this order.
Names = Sequence[tuple[str, str]]

_HEAD = r"(iou_prediction_head|output_hypernetworks_mlps\.\d+|pred_obj_score_head)\.layers"
SHARED_NAMES: Names = (
    (r"\.norm(\d|_final_attn)\.", r".layer_norm\1."),
    (r"\.patch_embed\.proj\.", ".patch_embed.projection."),
    (r"\.pe_layer\.positional_encoding_gaussian_matrix$", ".shared_embedding.positional_embedding"),
    (r"\.mask_downscaling\.0\.", ".mask_embed.conv1."),
    (r"\.mask_downscaling\.1\.", ".mask_embed.layer_norm1."),
    (r"\.mask_downscaling\.3\.", ".mask_embed.conv2."),
    (r"\.mask_downscaling\.4\.", ".mask_embed.layer_norm2."),
    (r"\.mask_downscaling\.6\.", ".mask_embed.conv3."),
    (r"\.output_upscaling\.0\.", ".upscale_conv1."),
    (r"\.output_upscaling\.1\.", ".upscale_layer_norm."),
    (r"\.output_upscaling\.3\.", ".upscale_conv2."),
    (rf"{_HEAD}\.0\.", r"\1.proj_in."),
    (rf"{_HEAD}\.1\.", r"\1.layers.0."),
    (rf"{_HEAD}\.2\.", r"\1.proj_out."),
)


def official_file(folder: str) -> Path | None:
    """The file of the authors' form that the user gave for a folder, or that is alone in it; None: it isn't one."""
    path = Path(folder)
    if not path.is_dir():
        return path if path.suffix.lower() in PICKLES else None
    found = [file for file in sorted(path.iterdir()) if file.suffix.lower() in PICKLES]
    return found[0] if len(found) == 1 and not (path / "config.json").exists() else None


def read_weights(path: Path, allowed: bool, model: str) -> dict[str, Tensor]:
    """The named weights of a file, on the CPU. ``model`` is what could be fetched as safetensors instead.

    Raises InputError where the file isn't there or its reading isn't allowed, BackendError where it can't be read.
    """
    import torch

    if not allowed:
        raise InputError(
            f"{path.name} is a pickle, a form that can hold code, so it isn't read unasked. Take the model's "
            f"safetensors (ibisagent models fetch {model}), or, if you trust where the file is from, give "
            "allow_pickle=True."
        )
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise InputError(f"There is no file {path}. Give folder= the checkpoint, or a folder of weights.") from None
    except (OSError, RuntimeError, EOFError, ValueError, KeyError, pickle.UnpicklingError) as error:
        raise BackendError(
            f"{path.name} can't be read as a file of weights alone. Fetch it again; a file that holds more than "
            "weights isn't read, as it could run code."
        ) from error
    if isinstance(state, dict) and isinstance(state.get("model"), dict):
        state = state["model"]
    if not isinstance(state, dict) or not all(isinstance(value, torch.Tensor) for value in state.values()):
        raise InputError(f"{path.name} isn't a checkpoint of named weights. Check which file it is.")
    return state


def renamed_by(names: Names, name: str) -> str:
    """A name in transformers' words."""
    for pattern, replacement in names:
        name = re.sub(pattern, replacement, name)
    return name


def filled(make: Any, state: dict[str, Tensor], path: Path, what: str) -> Any:
    """The model that ``make(state) -> (model, weights under its names)`` makes, ready to be asked.

    Raises BackendError where a part is missing, too many, or of another size.
    """
    try:
        model, weights = make(state)
        model.load_state_dict(weights)
    except (KeyError, RuntimeError) as error:
        reason = " ".join(str(error).split())[:300]
        raise BackendError(f"{path.name} doesn't fit {what}: {reason}. Check which model it is.") from error
    return model.eval().requires_grad_(False)
