"""Opening a checkpoint: which device and precision, safetensors only, and a sentence for what can't be opened."""

from __future__ import annotations

from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from napari_ibisagent.core.errors import BackendError, InputError

_FAMILIES = ("qwen2_5_vl", "qwen3_vl")
_DTYPES = ("auto", "bfloat16", "float16", "float32")
_PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt")


@dataclass(frozen=True, slots=True)
class Machine:
    """Where and how a model runs; see ``build`` of the package for the words."""

    device: str = "auto"
    dtype: str = "auto"
    quantised: int | None = None
    attention: str = "auto"


@dataclass(frozen=True, slots=True)
class Opened:
    """A model with its tokenizer and image processor. ``prepared``: the last pictures by digest, see ``prompt``."""

    model: Any
    tokenizer: Any
    images: Any
    device: str
    prepared: dict[str, tuple[Any, Any]] = field(default_factory=dict)


def open_checkpoint(
    folder: str, machine: Machine, max_pixels: int, *, allow_pickle: bool = False, download: bool = False
) -> Opened:
    """Opens a checkpoint of one of the two families. Raises InputError and BackendError."""
    import torch
    from safetensors import SafetensorError
    from transformers import AutoConfig, AutoModelForImageTextToText, AutoTokenizer
    from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil
    from transformers.utils import logging

    quiet: Any = logging.disable_progress_bar  # it carries no types
    quiet()  # a second's work needs none, and it would stand between a step's lines
    device = device_of(machine.device)
    dtype = dtype_of(machine.dtype, device)
    where = {"local_files_only": not download, "trust_remote_code": False}
    if not download:
        _check_folder(Path(folder), allow_pickle)
    try:
        config = AutoConfig.from_pretrained(folder, **where)
        if config.model_type not in _FAMILIES:
            raise InputError(
                f"{folder} holds a model of the family {config.model_type}; this policy runs {' and '.join(_FAMILIES)}."
                " Serve it instead, and use --policy openai_compatible."
            )
        loaded: Any = AutoModelForImageTextToText.from_pretrained(
            folder,
            config=config,
            output_loading_info=True,
            dtype=dtype,
            attn_implementation=_attention(machine.attention, device),
            use_safetensors=None if allow_pickle else True,
            **_quantisation(machine.quantised, device, dtype),
            **where,
        )
        tokenizer = AutoTokenizer.from_pretrained(folder, **where)
        images = Qwen2VLImageProcessorPil.from_pretrained(folder, local_files_only=not download)
    except (OSError, ValueError, ImportError, RuntimeError, KeyError, SafetensorError) as error:
        raise BackendError(_why(folder, error)) from error
    model, found = loaded
    # What a file lacks would be filled with random numbers.
    if lacking := sorted({*found["missing_keys"], *(key for key, *_ in found["mismatched_keys"])}):
        raise BackendError(_why(folder, ValueError(f"it lacks {len(lacking)} of its weights, such as {lacking[0]}")))
    least = images.size["shortest_edge"]
    images.size = {"shortest_edge": min(least, max_pixels), "longest_edge": max_pixels}
    try:
        model = model if machine.quantised else model.to(device)
    except torch.OutOfMemoryError as error:
        raise BackendError(out_of_memory(device)) from error
    return Opened(model.eval(), tokenizer, images, device)


def out_of_memory(device: str) -> str:
    """What is said when the memory doesn't suffice."""
    return (
        f"The memory of {device} doesn't suffice for this model; what it held was freed, and nothing of the session "
        "is lost. Close other programs that use it, lower max_pixels, or take quantised=8, quantised=4 or a smaller "
        "model."
    )


def _check_folder(folder: Path, allow_pickle: bool) -> None:
    if not folder.is_dir():
        raise InputError(
            f"There is no folder {folder}. Fetch a checkpoint with ibisagent models fetch NAME, correct the path, or "
            "say download=true for the id of a model on the hub."
        )
    if next(folder.glob("*.safetensors"), None) is None and not allow_pickle:
        pickles = sorted(path.name for pattern in _PICKLES for path in folder.glob(pattern))
        if pickles:
            raise InputError(
                f"{folder} holds its weights as a pickle ({pickles[0]}), which can run any program on this machine. "
                "Convert it to safetensors; or, if you trust its source, say allow_pickle=true."
            )
        raise InputError(f"{folder} holds no weights (*.safetensors). Fetch the checkpoint again.")


def device_of(wanted: str) -> str:
    """The device that is meant; the best one there is for auto. Raises InputError and BackendError."""
    import torch

    usable = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if wanted == "auto":
        return next(name for name, there in usable.items() if there)
    name = wanted.partition(":")[0]
    if name not in usable:
        raise InputError(f"There is no device {wanted!r}. The devices are: auto, {', '.join(usable)}.")
    if not usable[name]:
        raise BackendError(f"This machine has no {name}. Choose device=auto, or see ibisagent doctor.")
    return wanted


def dtype_of(wanted: str, device: str) -> Any:
    """The torch type of that name; the one that suits the device for auto. Raises InputError."""
    import torch

    if wanted not in _DTYPES:
        raise InputError(f"There is no dtype {wanted!r}. The dtypes are: {', '.join(_DTYPES)}.")
    if wanted != "auto":
        return getattr(torch, wanted)
    if device.startswith("cuda"):
        return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float16
    return torch.float16 if device == "mps" else torch.float32


def _attention(wanted: str, device: str) -> str:
    if wanted != "auto":
        return wanted
    return "flash_attention_2" if device.startswith("cuda") and find_spec("flash_attn") else "sdpa"


def _quantisation(bits: int | None, device: str, dtype: Any) -> dict[str, Any]:
    if bits is None:
        return {}
    if bits not in (4, 8):
        raise InputError(f"quantised={bits} isn't possible. Choose 4 or 8, or leave it out.")
    if not device.startswith("cuda") or find_spec("bitsandbytes") is None:
        raise BackendError(
            f"quantised={bits} needs CUDA and the package bitsandbytes (pip install bitsandbytes). Leave it out "
            "otherwise."
        )
    from transformers import BitsAndBytesConfig

    make: Any = BitsAndBytesConfig  # it carries no types
    half = {"load_in_4bit": True, "bnb_4bit_compute_dtype": dtype, "bnb_4bit_quant_type": "nf4"}
    return {
        "quantization_config": make(**(half if bits == 4 else {"load_in_8bit": True})),
        "device_map": {"": device},
    }


def _why(folder: str, error: Exception) -> str:
    words = " ".join(str(error).split())[:300]
    return (
        f"The checkpoint {folder} can't be opened ({words}). Verify it with ibisagent models verify, or fetch it again."
    )
