"""kill -9 in the middle of a run, and what a second window on the same scan makes of it."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("napari", reason="the extra gui is not installed")
pytest.importorskip("pytestqt", reason="pytest-qt is not installed")
if sys.platform.startswith("linux") and not os.environ.get("DISPLAY"):
    pytest.skip("no screen: run under xvfb-run", allow_module_level=True)

from qtpy.QtCore import Qt
from window import CLICKS, LEFT, STOP, Teller, digest, little_scan

from napari_ibisagent.core.session import labels_of
from napari_ibisagent.io.labels import write_labels
from napari_ibisagent.io.read import read_scan

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")

WORK = "import sys; from window import work_until_killed; work_until_killed(*sys.argv[1:])"


@pytest.fixture(scope="module")
def killed(tmp_path_factory):
    """(the scan's file, the folder of journals, what the window said last) of a window that was killed."""
    folder = tmp_path_factory.mktemp("killed")
    scan, sessions = folder / "scan.nii.gz", folder / "sessions"
    volume = little_scan()
    write_labels(np.arange(volume.data.size, dtype=np.int32).reshape(volume.shape) % 251, volume, scan)
    process = subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", WORK, str(scan), str(sessions)],
        cwd=Path(__file__).parent,
        stdout=subprocess.PIPE,
        text=True,
    )
    said = {}
    for line in process.stdout:
        said = json.loads(line)
        if said["episodes"] == 2 and said["steps"] == 2:
            break
    process.send_signal(signal.SIGKILL)
    process.wait(10)
    process.stdout.close()
    assert said.get("steps") == 2, "the window ended before it was killed"
    return scan, sessions, said


def reopened(opened, killed, tmp_path):
    """A second window on the same file, its journals in a copy of the folder."""
    scan, sessions, said = killed
    folder = Path(shutil.copytree(sessions, tmp_path / "again"))
    window = opened(Teller(*CLICKS, STOP), scan=False, folder=folder)
    window.viewer.open(str(scan), plugin="napari-ibisagent")
    window.until(lambda: "Resume?" in window.texts())
    return window, folder, said


def answer(window, words):
    row = window.card("question")._row
    (button,) = [b for b in row.buttons if words in b.text()]
    window.qtbot.mouseClick(button, LEFT)
    window.ready()
    window.qtbot.wait(50)


def test_resume_brings_everything_back(opened, killed, tmp_path):
    window, folder, said = reopened(opened, killed, tmp_path)
    assert window.texts().count("Resume?") == 1 and "2 requests and 1 object" in window.texts()
    assert not window.desk.ready and not window.widget.composer.isEnabled()
    answer(window, "Resume")
    assert "Resume?" not in window.texts()
    history = window.store.history
    assert len(history.nodes) >= said["nodes"]
    assert digest(history.nodes[said["nodes"] - 1].state) == said["digest"]
    assert all(text in window.texts() for text in said["texts"])
    assert [episode.prompt for episode in window.store.session.episodes] == ["the thing", "another thing"]
    assert len(window.steps) == 2 and window.drawn().any()
    assert (window.drawn() == window.true_mask()).all()
    assert np.array_equal(window.layer("labels").data, labels_of(window.store.session, window.desk.scan.volume.shape))
    assert window.layer("labels").data.any() and [row.name for row in window.store.session.objects]
    assert (window.policy.asked, window.tool.asked) == (0, 0)
    window.key(Qt.Key.Key_G)
    window.rests()
    assert len(window.steps) == 4
    (journal,) = folder.glob("*")
    assert read_scan(killed[0]).name and journal.read_text("utf-8").count("Segmented") > 6
    window.key(Qt.Key.Key_Z, Qt.KeyboardModifier.ControlModifier)
    assert (window.drawn() == window.true_mask()).all()


def test_start_anew_leaves_the_earlier_session_in_place(opened, killed, tmp_path):
    window, folder, _ = reopened(opened, killed, tmp_path)
    (journal,) = folder.glob("*")
    before = journal.read_bytes()
    answer(window, "Start anew")
    assert "Resume?" not in window.texts() and window.store.session.episodes == ()
    window.ask("a new thing")
    window.waits()
    assert journal.read_bytes() == before
    assert len(list(folder.glob("*"))) == 2
