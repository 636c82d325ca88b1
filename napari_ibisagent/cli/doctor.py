"""``ibisagent doctor``: what is installed, which backends can run here, and why not."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer

from napari_ibisagent.cli.console import console
from napari_ibisagent.cli.faults import exit_codes

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


def doctor(as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False) -> None:
    """Say what is installed, which policies and click tools can run on this machine, and why not.

    [bold]Example[/bold]

    ibisagent doctor
    """
    with exit_codes():
        found = _examine()
        if as_json:
            typer.echo(json.dumps(found))
            return
        out = console()
        out.print(f"ibisagent {found['version']}, Python {found['python']}, {found['platform']}")
        for extra, packages in found["packages"].items():
            listing = ", ".join(f"{name} {version or '(missing)'}" for name, version in packages.items())
            out.print(f"{extra:8s} {listing}")
        for kind in ("policies", "segmenters", "propagators"):
            out.print(f"\n{kind}")
            for name, reason in found[kind].items():
                out.print(f"  {name:20s} {'ready' if reason is None else reason}")


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
    return {
        "version": __version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "packages": {extra: {name: installed(name) for name in names} for extra, names in _PACKAGES.items()},
        **{kind: {name: registry.why_not(kind, name) for name in registry.names(kind)} for kind in kinds},
    }
