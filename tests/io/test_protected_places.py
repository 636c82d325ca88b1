"""Where results may go: never over an input, and only where they can be written."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from napari_ibisagent.core.errors import OutputError, ScanError
from napari_ibisagent.io.journal import Journal
from napari_ibisagent.io.protect import check_file, check_folder, check_protected
from napari_ibisagent.io.read import read_scan
from napari_ibisagent.io.snapshots import free_folder


def touch(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"x")
    return path


def test_an_input_is_found_under_every_name(tmp_path: Path) -> None:
    scan = touch(tmp_path / "scan.png")
    (tmp_path / "link.png").symlink_to(scan)
    (tmp_path / "twin.png").hardlink_to(scan)
    for name in ("scan.png", "link.png", "twin.png", "a/../scan.png"):
        with pytest.raises(OutputError, match="original"):
            check_protected(tmp_path / name, [scan])
    check_protected(tmp_path / "other.png", [scan])


def test_nothing_goes_into_the_folder_of_a_scan(tmp_path: Path) -> None:
    scan = tmp_path / "dicom"
    scan.mkdir()
    for place in (scan, scan / "a" / "b", tmp_path / "x" / ".." / "dicom"):
        with pytest.raises(OutputError, match="folder of the original"):
            check_folder(place, [scan])
        with pytest.raises(OutputError, match="folder of the original"):
            free_folder(place, [scan])
    check_folder(tmp_path / "new" / "folder", [scan])
    assert not (tmp_path / "new").exists()


def test_a_place_that_can_not_be_is_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file, scan = touch(tmp_path / "file"), touch(tmp_path / "scan.png")
    for check in (lambda: check_folder(file / "a", [scan]), lambda: check_file(file / "a" / "b.json", [scan])):
        with pytest.raises(OutputError, match="Choose another"):
            check()
    with pytest.raises(OutputError, match="can't be written"):
        check_file(tmp_path / ("n" * 300), [scan])
    with pytest.raises(OutputError, match="can't be written"):
        check_folder(tmp_path / ("n" * 300), [scan])
    monkeypatch.setattr(os, "access", lambda *_: False)
    with pytest.raises(OutputError, match="you may not write"):
        check_folder(tmp_path / "new", [scan])


def test_a_path_that_may_not_be_looked_at_is_a_scan_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> bool:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "is_dir", refuse)
    with pytest.raises(ScanError, match="Permission denied"):
        read_scan(tmp_path / "a.nii")
    with pytest.raises(OutputError, match="Permission denied"):
        check_protected(tmp_path / "b.nii", [tmp_path / "a.nii"])


def test_pictures_of_two_runs_are_not_mixed(tmp_path: Path) -> None:
    assert free_folder(tmp_path) == tmp_path
    touch(tmp_path / "step_01.png")
    assert free_folder(tmp_path) == tmp_path / "run-2"
    touch(tmp_path / "run-2" / "contact_sheet.png")
    assert free_folder(tmp_path) == tmp_path / "run-3"
    with pytest.raises(OutputError, match="original"):
        free_folder(tmp_path, [tmp_path / "step_01.png"])


def test_a_journal_takes_the_next_free_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = []
    monkeypatch.setattr(Path, "exists", lambda _: False)  # as where another process is quicker
    for _ in range(3):
        with Journal.create_free(tmp_path / "new", "scan") as journal:
            names.append(journal.path.name)
    assert names == ["scan.ibis.jsonl", "scan-2.ibis.jsonl", "scan-3.ibis.jsonl"]
    with pytest.raises(OutputError, match="can't be written"):
        Journal.create_free(touch(tmp_path / "file"), "scan")
