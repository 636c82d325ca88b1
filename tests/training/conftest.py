from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture(scope="session")
def taught_one(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., tuple[Path, Any, Path]]:
    """Makes, once for each family and way of speaking, a checkpoint that knows two trajectories by heart."""
    made: dict[tuple[str, bool], tuple[Path, Any, Path]] = {}

    def make(family: str, history: bool) -> tuple[Path, Any, Path]:
        from tiny_school import taught

        if (family, history) not in made:
            made[family, history] = taught(tmp_path_factory.mktemp(family), family, history=history)
        return made[family, history]

    return make
