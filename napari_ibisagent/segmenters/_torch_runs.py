"""Where and at which precision a torch model runs, and the one boundary at which torch's errors become ours."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING

from napari_ibisagent.core.errors import BackendError, InputError, UnknownNameError

if TYPE_CHECKING:
    import torch

_DTYPES = ("auto", "float32", "float16", "bfloat16")


def missing_packages() -> str | None:
    """What to install before a torch model can run here, as a sentence, or None."""
    missing = [name for name in ("torch", "transformers") if importlib.util.find_spec(name) is None]
    if not missing:
        return None
    verb = "isn't" if len(missing) == 1 else "aren't"
    return f"{' and '.join(missing)} {verb} installed. Type: pip install 'napari-ibisagent[models]'."


@dataclass(frozen=True, slots=True)
class Run:
    """The device, and the type that an image encoder's sums are made in; None: float32, as the weights are."""

    device: torch.device
    half: torch.dtype | None

    def autocast(self) -> AbstractContextManager[object]:
        """The context for an image encoder."""
        import torch

        return nullcontext() if self.half is None else torch.autocast(self.device.type, self.half)

    def free(self) -> None:
        """Gives memory that nothing uses any more back to the device."""
        import torch

        if self.device.type == "cuda":
            torch.cuda.empty_cache()


def run_on(device: str | None, dtype: str) -> Run:
    """The device of that name, CUDA where there is one and nobody chose; ``dtype`` "auto" is float16 on CUDA only.

    Raises UnknownNameError or InputError for a name that doesn't exist, BackendError for a device that isn't there.
    """
    import torch

    if dtype not in _DTYPES:
        raise UnknownNameError(f"There is no dtype {dtype!r}. Give one of: {', '.join(_DTYPES)}.")
    has_cuda = torch.cuda.is_available()
    try:
        where = torch.device(device or ("cuda" if has_cuda else "cpu"))
    except RuntimeError as error:
        raise InputError(f"There is no device {device!r}. Give cpu, cuda, or cuda:1 for a second GPU.") from error
    if where.type == "cuda" and (not has_cuda or (where.index or 0) >= torch.cuda.device_count()):
        raise BackendError(f"The device {device} isn't here: torch sees {_gpus()}. Choose device=cpu, or leave it out.")
    if dtype == "float16" and where.type == "cpu":
        raise InputError("float16 is too slow on a CPU. Leave dtype out, or choose float32 or bfloat16.")
    half = {"float16": torch.float16, "bfloat16": torch.bfloat16}.get(dtype)
    if dtype == "auto" and where.type == "cuda":
        half = torch.float16
    return Run(where, half)


def _gpus() -> str:
    import torch

    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    return {0: "no GPU", 1: "one GPU"}.get(count, f"{count} GPUs")


@contextmanager
def translated(tool: str, free: Callable[[], None]) -> Iterator[None]:
    """Torch's errors as BackendError; when memory runs out ``free`` is called first, so that the next try has it."""
    import torch

    try:
        yield
    except torch.OutOfMemoryError as error:
        free()
        raise BackendError(
            f"The GPU's memory ran out while {tool} was at work. What was kept has been let go: try again. If it stays "
            "so, close other programs on the GPU, choose a smaller model or a smaller cache_mb, or device=cpu."
        ) from error
    except RuntimeError as error:
        raise BackendError(
            f"{tool} failed inside of torch: {_first_line(error)}. Try again; if it stays so, choose device=cpu or "
            "another click tool, and report it with this sentence."
        ) from error


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
