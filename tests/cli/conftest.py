from __future__ import annotations

from pathlib import Path

import pytest
from commands import ibisagent


@pytest.fixture(scope="session")
def phantom(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A phantom CT and its true labels, as files made by the command."""
    folder = tmp_path_factory.mktemp("phantom")
    scan, truth = folder / "phantom.nii.gz", folder / "truth.nii.gz"
    made = ibisagent("phantom", "-o", scan, "--labels", truth)
    assert made.returncode == 0, made.stderr
    return scan, truth
