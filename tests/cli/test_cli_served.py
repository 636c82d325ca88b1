"""A model behind a server from the command line: a whole run, what is refused, and what the user is told."""

from __future__ import annotations

import json

import numpy as np
import pytest
from chat_server import serving
from commands import ibisagent, segment_json
from PIL import Image

pytest.importorskip("openai", reason="the extra remote is not installed")

HIT = "<think>It.</think><action>Positive Point (0.5700, 0.4400)</action>"
STOP = "<think>Ok.</think><action>Terminate</action><answer>disc</answer>"
KEY = "sk-very-secret-0815"


@pytest.fixture(autouse=True)
def key(monkeypatch):
    monkeypatch.setenv("IBISAGENT_SERVER_KEY", KEY)
    for name in ("URL", "MODEL", "ALLOW_REMOTE_HOST"):
        monkeypatch.delenv(f"IBISAGENT_SERVER_{name}", raising=False)


@pytest.fixture
def picture(tmp_path):
    rows, columns = np.ogrid[:64, :64]
    disc = (rows - 28) ** 2 + (columns - 36) ** 2 <= 144
    path = tmp_path / "disc.png"
    Image.fromarray((60 + 100 * disc).astype(np.uint8)).save(path)
    return path


def options(*pairs):
    return [word for pair in pairs for word in ("--policy-option", pair)]


def test_a_run_that_a_server_decides(picture, tmp_path):
    with serving(HIT, STOP) as server:
        code, said = segment_json(
            picture, "-p", "outline the pathology of interest", "-o", tmp_path / "out.png", "--policy",
            "openai_compatible", *options(f"url={server.url}", "model=tiny", "seed=7", "history=true"),
        )  # fmt: skip
        assert (code, said["outcome"], len(said["steps"])) == (0, "done", 1), said["reason"]
        assert [asked["seed"] for asked in server.asked] == [7, 7] and len(server.asked[1]["messages"]) == 4
        assert KEY in str(server.headers)
    assert np.asarray(Image.open(tmp_path / "out.png")).any()
    written = "".join(path.read_text("utf-8") for path in tmp_path.glob("*.jsonl"))
    assert "openai_compatible" in written and KEY not in written and KEY not in json.dumps(said)


def test_another_machine_needs_leave_and_is_named(picture):
    asked = ("segment", picture, "-p", "the disc", "--policy", "openai_compatible")
    refused = ibisagent(*asked, *options("url=http://192.0.2.7/v1", "model=m"))
    assert refused.returncode == 2 and "192.0.2.7 isn't this machine" in refused.stderr
    allowed = ibisagent(
        *asked, *options("url=http://192.0.2.7:9/v1", "model=m", "allow_remote_host=true", "retries=0", "stall_s=1")
    )
    assert allowed.returncode == 1
    assert "notice: The scan's pictures and your words are sent to 192.0.2.7." in allowed.stdout
    assert KEY not in allowed.stdout + allowed.stderr + refused.stderr


def test_a_server_that_refuses_ends_the_run_in_a_sentence(picture):
    with serving(401) as server:
        code, said = segment_json(
            picture, "-p", "the disc", "--policy", "openai_compatible", *options(f"url={server.url}", "model=tiny")
        )
        assert (code, said["outcome"]) == (1, "failed") and "doesn't accept the key" in said["reason"]
        assert KEY not in json.dumps(said)
