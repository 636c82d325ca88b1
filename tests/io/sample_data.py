"""Where the shared sample data lie; tests that need them are skipped, with a reason, where they don't."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

_REPOSITORY = Path(__file__).resolve().parents[2]
ROOT = Path(os.environ.get("IBISAGENT_TEST_DATA") or _REPOSITORY.parent / "shared" / "data")
MISSING = f"no sample data at {ROOT} (set IBISAGENT_TEST_DATA)"


def cases(*tasks: str) -> list[dict[str, Any]]:
    """The manifest's cases of these tasks; none where the data are missing."""
    manifest = ROOT / "manifest.json"
    if not manifest.is_file():
        return []
    return [case for case in json.loads(manifest.read_text("utf-8"))["cases"] if case["task"] in tasks]
