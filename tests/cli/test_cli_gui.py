"""``ibisagent gui`` up to the point where a window would open: what is wrong is said before that."""

from __future__ import annotations

import subprocess
import sys
from importlib.util import find_spec

import pytest
from commands import environment, ibisagent

from napari_ibisagent.core.errors import BackendError

needs_napari = pytest.mark.skipif(find_spec("napari") is None, reason="the extra gui is not installed")
_MAIN = "from napari_ibisagent.cli import main; main()"


def run(code: str, *arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
    unset = {"DISPLAY", "WAYLAND_DISPLAY", "QT_QPA_PLATFORM"}
    return subprocess.run(
        [sys.executable, "-c", code, *arguments],
        capture_output=True,
        text=True,
        env={name: value for name, value in environment().items() if name not in unset} | more,
        timeout=100,
        check=False,
    )


def said(done: subprocess.CompletedProcess[str]) -> str:
    assert "Traceback" not in done.stderr
    return done.stderr.strip().splitlines()[-1]


def test_help_names_the_options():
    done = ibisagent("gui", "--help")
    assert done.returncode == 0
    assert "--series" in done.stdout and "--modality" in done.stdout


@needs_napari
def test_a_bad_path_is_bad_input(tmp_path):
    done = run(_MAIN, "gui", str(tmp_path / "no.nii.gz"))
    assert done.returncode == 2
    assert said(done).startswith("no.nii.gz doesn't exist")


@needs_napari
def test_a_file_that_is_no_scan_is_bad_input(tmp_path):
    (tmp_path / "notes.txt").write_text("no scan")
    done = run(_MAIN, "gui", str(tmp_path / "notes.txt"))
    assert done.returncode == 2
    assert said(done).startswith("notes.txt isn't a kind of file that can be opened")


@needs_napari
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="other systems always have a screen")
def test_without_a_screen_it_ends_with_a_sentence():
    done = run(_MAIN, "gui")
    assert done.returncode == 1
    assert said(done).startswith("There is no screen")


@needs_napari
def test_what_counts_as_a_screen():
    from napari_ibisagent.ui.window import check_screen

    for platform, settings in (("linux", {"DISPLAY": ":0"}), ("linux", {"WAYLAND_DISPLAY": "w"}), ("darwin", {})):
        check_screen(platform, settings)
    with pytest.raises(BackendError, match="ibisagent segment"):
        check_screen("linux", {"DISPLAY": ""})


@pytest.mark.parametrize("missing", ["napari", pytest.param("PySide6", marks=needs_napari)])
def test_without_napari_or_qt_it_says_what_to_install(tmp_path, missing):
    done = run(f"import sys; sys.modules[{missing!r}] = None; {_MAIN}", "gui", str(tmp_path / "no.nii.gz"))
    assert done.returncode == 1 and done.stderr.count("\n") == 1
    assert "pip install 'napari-ibisagent[gui]'" in said(done)


def test_options_without_a_scan_are_bad_input():
    done = ibisagent("gui", "--series", "3")
    assert done.returncode == 2
    assert said(done).startswith("--series and --modality")
