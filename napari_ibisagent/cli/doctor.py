"""``ibisagent doctor``: what is installed, which backends can run here, and why not."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from napari_ibisagent.cli.console import console
from napari_ibisagent.cli.faults import exit_codes

if TYPE_CHECKING:
    from napari_ibisagent.evaluation.smoke import Smoke

_PACKAGES = {
    "base": (
        "numpy",
        "scipy",
        "scikit-image",
        "nibabel",
        "pydicom",
        "python-gdcm",
        "SimpleITK",
        "onnxruntime",
        "surface-distance",
        "PyYAML",
    ),
    "gui": ("napari", "npe2", "qtpy", "PySide6-Essentials"),
    "models": ("torch", "transformers", "safetensors"),
    "train": ("onnx", "peft", "trl", "datasets"),
    "remote": ("openai",),
    "serve": ("fastapi", "uvicorn"),
}


def doctor(
    smoke: Annotated[bool, typer.Option("--smoke", help="Also try one step with each that can run.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Say what is installed, which policies and click tools can run on this machine, and why not; which models fit.

    With --smoke the exit code is 1 where one of them doesn't work.

    [bold]Example[/bold]

    ibisagent doctor --smoke
    """
    with exit_codes():
        found = _examine()
        if as_json:
            found["smoke"] = [asdict(tried) for tried in _smoke()] if smoke else None
            typer.echo(json.dumps(found))
            raise typer.Exit(int(any(not tried["works"] for tried in found["smoke"] or ())))
        out = console()
        out.print(f"ibisagent {found['version']}, Python {found['python']}, {found['platform']}")
        for extra, packages in found["packages"].items():
            listing = ", ".join(f"{name} {version or '(missing)'}" for name, version in packages.items())
            out.print(f"{extra:8s} {listing}")
        for kind in ("policies", "segmenters", "propagators"):
            out.print(f"\n{kind}")
            for name, reason in found[kind].items():
                out.print(f"  {name:20s} {'ready' if reason is None else reason}")
        machine = found["machine"]
        gpu = "no GPU" if machine["gpu"] is None else f"{machine['gpu']} with {machine['gpu_gb']:.0f} GB"
        out.print(f"\nmodels, on {machine['cores']} cores and {gpu}")
        for name, fits in found["models"].items():
            out.print(f"  {name:24s} {fits}")
        if smoke:
            _print_smoke(out)


def _print_smoke(out: Any) -> None:
    out.print("\none step with each")
    failed = False
    for tried in _smoke():
        failed = failed or not tried.works
        out.print(f"  {tried.name:24s} {tried.seconds:6.2f} s  {tried.words}", markup=False)
    if failed:
        raise typer.Exit(1)


def _smoke() -> Iterator[Smoke]:
    from napari_ibisagent.evaluation.smoke import smoke

    return smoke()


def _machine() -> dict[str, Any]:
    """Cores, and name and memory (GB of 10^9 bytes) of the GPU that torch sees."""
    from importlib.util import find_spec

    found: dict[str, Any] = {"cores": os.cpu_count(), "gpu": None, "gpu_gb": None}
    if find_spec("torch") is not None:
        import torch

        if torch.cuda.is_available():
            device = torch.cuda.get_device_properties(0)
            found |= {"gpu": device.name, "gpu_gb": device.total_memory / 1e9}
        elif torch.backends.mps.is_available():
            found |= {"gpu": "Apple's (mps)", "gpu_gb": torch.mps.recommended_max_memory() / 1e9}
    return found


def _models(gpu_gb: float | None) -> dict[str, str]:
    """Of each checkpoint whether it is fetched, and whether it fits into the GPU's memory."""
    from napari_ibisagent.io.checkpoints.profiles import read_profiles
    from napari_ibisagent.io.checkpoints.store import condition

    states = {"yes": "fetched", "no": "not fetched"}
    found = {}
    for name, profile in read_profiles().items():
        state = condition(name)
        fits = "fits" if gpu_gb is not None and profile.memory_gb <= gpu_gb else "doesn't fit"
        where = "would run on the CPU, slowly" if gpu_gb is None else f"{fits} ({profile.memory_gb:g} GB)"
        found[name] = f"{states.get(state, state)}, {where}"
    return found


def _examine() -> dict[str, Any]:
    import platform
    from importlib.metadata import PackageNotFoundError, version

    from napari_ibisagent import __version__, registry

    def installed(name: str) -> str | None:
        try:
            return version(name)
        except PackageNotFoundError:
            return None

    kinds: tuple[registry.Kind, ...] = ("policies", "segmenters", "propagators")
    machine = _machine()
    return {
        "version": __version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "packages": {extra: {name: installed(name) for name in names} for extra, names in _PACKAGES.items()},
        **{kind: {name: registry.why_not(kind, name) for name in registry.names(kind)} for kind in kinds},
        "machine": machine,
        "models": _models(machine["gpu_gb"]),
    }
