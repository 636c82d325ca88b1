"""A built wheel holds the resources, the manifest and the entry points; the base install stays light."""

from __future__ import annotations

import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

_REPOSITORY = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)],
        cwd=_REPOSITORY,
        check=True,
        capture_output=True,
    )
    (path,) = folder.glob("*.whl")
    return path


def test_the_wheel_is_whole(wheel):
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        (entry_points,) = (name for name in names if name.endswith("entry_points.txt"))
        text = archive.read(entry_points).decode()
    for resource in (_REPOSITORY / "resources").rglob("*"):
        if resource.is_file():
            assert f"napari_ibisagent/{resource.relative_to(_REPOSITORY)}" in names
    assert "napari_ibisagent/napari.yaml" in names
    assert "napari_ibisagent/py.typed" in names
    assert "ibisagent = napari_ibisagent.cli:main" in text
    assert "napari-ibisagent = napari_ibisagent:napari.yaml" in text
    assert not any(name.startswith(("tests/", "docs/")) for name in names)


def test_the_installed_wheel_finds_its_resources(wheel, tmp_path):
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path)
    code = "import napari_ibisagent.policies.embedded as e, napari_ibisagent as n; e.build(); print(n.__file__)"
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
        env={"PYTHONPATH": str(tmp_path)},
    )
    assert done.stdout.startswith(str(tmp_path))


def test_the_base_install_has_neither_torch_nor_qt():
    project = tomllib.loads((_REPOSITORY / "pyproject.toml").read_text())["project"]
    base = " ".join(project["dependencies"]).lower()
    for heavy in ("torch", "qt", "pyside", "napari", "transformers"):
        assert heavy not in base
    extras = {"gui", "models", "remote", "nninteractive", "train", "trl", "serve", "dev", "all"}
    assert set(project["optional-dependencies"]) == extras
