"""Checkpoints fetched from a real server on this machine, verified, bundled and removed."""

from __future__ import annotations

import errno
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import tarfile
import time
from collections import namedtuple
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hub_server import Hub, running, sha256

from napari_ibisagent.core.dialects import dialect
from napari_ibisagent.core.errors import BackendError, CancelledError, InputError, OutputError, UnknownNameError
from napari_ibisagent.core.overlay import overlay_preset
from napari_ibisagent.io.checkpoints import bundle, fetch, store
from napari_ibisagent.io.checkpoints.profiles import Profile, profile, read_profiles

NOW = datetime(2026, 5, 4, 3, 2, 1, tzinfo=UTC)
WEIGHTS = bytes(range(256)) * 4096  # 1 MiB
OTHER = bytes(reversed(range(256))) * 1024
SAM = {
    "config.json": b'{"a": 1}\n',
    "preprocessor_config.json": b"{}",
    "model.safetensors": WEIGHTS,
    "pytorch_model.bin": OTHER,
    "README.md": b"hello",
    "onnx/config.json": b"{}",
}
IBIS = {
    "README.md": b"hello",
    "config.json": b"not this one",
    "qwen2_5vl-7b-RL/config.json": b"{}",
    "qwen2_5vl-7b-RL/model-00001-of-00002.safetensors": WEIGHTS,
    "qwen2_5vl-7b-RL/model-00002-of-00002.safetensors": OTHER,
    "qwen2_5vl-7b-RL/chat_template.jinja": b"{{ messages }}",
}
REPOSITORIES = {
    "facebook/sam-vit-base": SAM,
    "manglu3935/IBIS": IBIS,
    "wanglab/MedSAM2": {"MedSAM2_latest.pt": OTHER, "README.md": b""},
}
SAM_FILES = {"config.json", "model.safetensors", "preprocessor_config.json"}


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """A hub, and an empty folder for checkpoints. Nothing is waited for between tries."""
    for name in ("HF_TOKEN", "HF_HUB_OFFLINE", "IBISAGENT_PROFILES", "http_proxy", "HTTP_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("IBISAGENT_MODELS", str(tmp_path / "models"))
    monkeypatch.setattr(fetch, "_WAITS", (0.0, 0.0))
    with running({name: dict(files) for name, files in REPOSITORIES.items()}) as server:
        monkeypatch.setenv("HF_ENDPOINT", server.address)
        yield server


def quiet(_: fetch.Progress) -> None:
    pass


def get(name: str = "sam-vit-b", *, allow_pickle: bool = False, report: fetch.Report = quiet) -> Path:
    return fetch.fetch(fetch.plan(profile(name), allow_pickle=allow_pickle), NOW, report)


def names_in(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()} - {store.LOCK}


# Profiles


def test_the_shipped_profiles_are_sound() -> None:
    profiles = read_profiles()
    assert {"ibisagent-7b", "medsam-agent-8b", "sam-vit-h", "medsam", "sam2.1-hiera-base-plus", "medsam2"} <= set(
        profiles
    )
    for row in profiles.values():
        if row.kind == "policies":
            assert row.dialect is not None and row.overlay is not None
            dialect(row.dialect)
            overlay_preset(row.overlay)
        # What isn't stated to be allowed is not said to be.
        assert row.licence != "not stated" or row.commercial is not True
    ibis = profile("ibisagent-7b")
    assert (ibis.hub, ibis.folder, ibis.options["turns"]) == ("manglu3935/IBIS", "qwen2_5vl-7b-RL", 20)


def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    path = tmp_path / "own.yaml"
    path.write_text(text)
    monkeypatch.setenv("IBISAGENT_PROFILES", str(path))


def test_an_own_file_adds_and_overrides(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sam = profile("sam-vit-b")
    entry = {key: getattr(sam, key) for key in Profile.__dataclass_fields__ if key != "name"}
    entry |= {"files": list(sam.files), "options": dict(sam.options)}
    own(tmp_path, monkeypatch, json.dumps({"mine": entry, "medsam-agent-8b": {"hub": "me/agent"}}))
    assert profile("mine").files == sam.files
    assert profile("medsam-agent-8b").hub == "me/agent"
    assert profile("medsam-agent-8b").dialect == "tool_calls"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("sam-vit-b: {colour: red}", "unknown key colour"),
        ("new: {kind: policies}", "'new' in own.yaml lacks backend"),
        ("sam-vit-b: {size_gb: true}", "size_gb: True, which should be a number"),
        ("sam-vit-b: {size_gb: -1}", "more than 0"),
        ("sam-vit-b: {commercial: maybe}", "should be true or false or null"),
        ("sam-vit-b: {kind: tools}", "kind is policies or segmenters"),
        ("sam-vit-b: {hub: ../../x}", "hub is an id"),
        ("sam-vit-b: {folder: ../x}", "isn't a folder in the repository"),
        ("sam-vit-b: {files: ['../*']}", "patterns such as"),
        ("sam-vit-b: {files: []}", "patterns such as"),
        ("'../x': {}", "needs another name"),
        ("sam-vit-b: [", "aren't YAML"),
        ("- a", "should map names to fields"),
    ],
)
def test_a_wrong_own_file_is_named(text: str, says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own(tmp_path, monkeypatch, text)
    with pytest.raises(InputError, match=r"own\.yaml") as caught:
        read_profiles()
    assert says in str(caught.value)


def test_names_that_nobody_knows(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UnknownNameError, match=r"'sam-9'\. Known are: ibisagent-7b"):
        profile("sam-9")
    monkeypatch.setenv("IBISAGENT_PROFILES", "/nowhere/own.yaml")
    with pytest.raises(InputError, match=r"/nowhere/own\.yaml can't be read"):
        read_profiles()


def test_where_checkpoints_lie(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IBISAGENT_MODELS", str(tmp_path))
    assert store.models_folder() == tmp_path
    monkeypatch.delenv("IBISAGENT_MODELS")
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    assert store.models_folder() == tmp_path / "napari-ibisagent" / "models"
    monkeypatch.setenv("XDG_DATA_HOME", "relative")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert store.models_folder() == tmp_path / ".local" / "share" / "napari-ibisagent" / "models"
    monkeypatch.setattr(sys, "platform", "win32")
    monkeypatch.setenv("LOCALAPPDATA", str(tmp_path))
    assert store.models_folder() == tmp_path / "napari-ibisagent" / "models"


# Fetching


def test_a_fetched_checkpoint_is_what_the_hub_has(hub: Hub) -> None:
    assert store.installed(profile("sam-vit-b")) is None
    steps: list[fetch.Progress] = []
    folder = get(report=steps.append)
    assert store.installed(profile("sam-vit-b")) == folder
    assert names_in(folder) == SAM_FILES
    assert all((folder / name).read_bytes() == SAM[name] for name in SAM_FILES)
    lock = store.read_lock("sam-vit-b")
    assert (lock.revision, lock.agreed) == (hub.commit, "2026-05-04T03:02:01+00:00")
    assert {file.path: file.sha256 for file in lock.files} == {name: sha256(SAM[name]) for name in SAM_FILES}
    assert store.verify("sam-vit-b") == ()
    assert steps[-1].done == steps[-1].total == sum(len(SAM[name]) for name in SAM_FILES)
    assert [step.done for step in steps] == sorted(step.done for step in steps)
    assert not store.staging_of("sam-vit-b").exists()


def test_the_folder_of_a_repository_becomes_the_checkpoint(hub: Hub) -> None:
    folder = get("ibisagent-7b")
    assert (folder / "config.json").read_bytes() == b"{}"
    assert names_in(folder) == {path.partition("/")[2] for path in IBIS if "/" in path}


def test_the_token_goes_to_the_hub_alone(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.gated = True
    with pytest.raises(InputError, match=r"\(401\).*licence has to be agreed to there.*set HF_TOKEN"):
        get()
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    get()
    assert {token for host, token, _ in hub.seen if host.startswith("localhost")} == {None}
    assert [token for host, token, _ in hub.seen if host.startswith("127.0.0.1")][-1] == "Bearer hf_secret"
    monkeypatch.setenv("HF_TOKEN", "hf_\nsecret")
    with pytest.raises(InputError) as caught:
        get()
    assert "secret" not in str(caught.value)


def test_a_download_that_broke_off_goes_on_where_it_stopped(hub: Hub) -> None:
    hub.budget = 700_000
    with pytest.raises(BackendError, match=r"go on with: ibisagent models fetch sam-vit-b"):
        get()
    assert store.installed(profile("sam-vit-b")) is None
    assert store.condition("sam-vit-b") == "partly"
    hub.budget = None
    get()
    assert store.verify("sam-vit-b") == ()
    assert hub.sent["model.safetensors"] == len(WEIGHTS)
    assert any(asked is not None and asked.startswith("bytes=69") for _, _, asked in hub.seen)


def test_connections_that_break_off_one_after_another_are_put_together(hub: Hub) -> None:
    hub.piecemeal, hub.busy = 100_000, 2
    with pytest.raises(BackendError, match="busy or out of order"):
        fetch.plan(profile("sam-vit-b"), allow_pickle=False)
    hub.busy = 0
    wanted = fetch.plan(profile("sam-vit-b"), allow_pickle=False)
    hub.busy = 2
    fetch.fetch(wanted, NOW, quiet)
    assert store.verify("sam-vit-b") == ()
    assert hub.sent["model.safetensors"] == len(WEIGHTS)


def test_a_server_that_cannot_continue_sends_it_anew(hub: Hub) -> None:
    hub.budget = 500_000
    with pytest.raises(BackendError):
        get()
    hub.budget, hub.ranges = None, False
    get()
    assert store.verify("sam-vit-b") == ()


def test_a_report_that_cancels_leaves_what_came(hub: Hub) -> None:
    def cancel(at: fetch.Progress) -> None:
        if at.done > 10:
            raise CancelledError("stopped")

    with pytest.raises(CancelledError):
        get(report=cancel)
    assert store.condition("sam-vit-b") == "partly"
    get()
    assert store.verify("sam-vit-b") == ()


FETCH = """
from datetime import UTC, datetime
from napari_ibisagent.io.checkpoints import fetch
from napari_ibisagent.io.checkpoints.profiles import profile
fetch.fetch(fetch.plan(profile("sam-vit-b"), allow_pickle=False), datetime.now(UTC), lambda at: None)
"""


def test_a_killed_download_counts_for_nothing_and_is_continued(hub: Hub) -> None:
    hub.repositories["facebook/sam-vit-base"]["model.safetensors"] = big = WEIGHTS * 8
    hub.pause = 0.005
    process = subprocess.Popen([sys.executable, "-c", FETCH], env=os.environ | {"OMP_NUM_THREADS": "1"})
    part = store.staging_of("sam-vit-b")
    until = time.monotonic() + 60
    while not any(path.stat().st_size > 2 << 20 for path in part.glob("*.part")):
        assert process.poll() is None and time.monotonic() < until
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert store.installed(profile("sam-vit-b")) is None
    hub.pause = 0.0
    kept = next(part.glob("*.part")).stat().st_size
    while hub.sending:  # until the server has noticed, and counts no more
        assert time.monotonic() < until
        time.sleep(0.02)
    hub.sent.clear()
    get()
    assert store.verify("sam-vit-b") == ()
    assert hub.sent["model.safetensors"] == len(big) - kept


def test_what_arrives_damaged_is_not_installed(hub: Hub) -> None:
    for path in ("config.json", "model.safetensors"):
        hub.damaged = {path}
        with pytest.raises(BackendError, match=f"{path} of facebook/sam-vit-base arrived damaged twice"):
            get()
        assert store.installed(profile("sam-vit-b")) is None
    hub.damaged = set()
    get()
    assert store.verify("sam-vit-b") == ()


def test_a_part_that_was_damaged_on_the_disk_is_fetched_anew(hub: Hub) -> None:
    hub.budget = 500_000
    with pytest.raises(BackendError):
        get()
    hub.budget = None
    (part,) = store.staging_of("sam-vit-b").glob("*.part")
    part.write_bytes(b"x" * part.stat().st_size)
    get()
    assert store.verify("sam-vit-b") == ()


def test_the_hub_may_move_on_between_two_tries(hub: Hub) -> None:
    hub.budget = 500_000
    with pytest.raises(BackendError):
        get()
    hub.budget, hub.commit = None, "f" * 40
    hub.repositories["facebook/sam-vit-base"] |= {"model.safetensors": WEIGHTS[::-1], "config.json": b'{"a": 2}\n'}
    folder = get()
    assert names_in(folder) == SAM_FILES
    assert (folder / "model.safetensors").read_bytes() == WEIGHTS[::-1]
    assert (folder / "config.json").read_bytes() == b'{"a": 2}\n'
    assert store.read_lock("sam-vit-b").revision == "f" * 40


def test_what_the_hub_lacks_is_said(hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own(tmp_path, monkeypatch, "sam-vit-b: {hub: facebook/gone}\nsam-vit-l: {hub: manglu3935/IBIS}")
    with pytest.raises(InputError, match=r"The hub has no facebook/gone at main \(404\).*IBISAGENT_PROFILES"):
        get()
    with pytest.raises(InputError, match=r"manglu3935/IBIS has no weights that match \*\.safetensors"):
        get("sam-vit-l")
    with pytest.raises(InputError, match=r"medsam-agent-8b: \{hub: owner/model\}"):
        get("medsam-agent-8b")
    hub.page = b"<html>Please log in</html>"
    with pytest.raises(BackendError, match="doesn't answer as the hub does"):
        get("ibisagent-7b")
    assert not store.models_folder().exists()


def test_no_hub_and_no_network(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(BackendError, match=r"http://127\.0\.0\.1:9 can't be reached"):
        get()
    monkeypatch.setenv("HF_ENDPOINT", "file:///etc")
    with pytest.raises(InputError, match="HF_ENDPOINT is 'file:///etc'"):
        get()
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(InputError, match="HF_HUB_OFFLINE is set"):
        get()


def test_a_full_disk_is_said_before(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(10**9, 10**9, 50_000_000))
    with pytest.raises(OutputError, match=r"sam-vit-b needs 101 MB in .*, where 50 MB are free\. Free 51 MB, or"):
        get()
    assert hub.sent == {}


def test_what_lies_there_already_needs_no_room(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = get()
    (folder / "config.json").write_bytes(b"")
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(store, "_SPARE", 0)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(10**9, 10**9, 100))
    get()
    assert store.verify("sam-vit-b") == ()


def test_a_disk_that_fills_up_on_the_way_leaves_what_came(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", full)
        with pytest.raises(OutputError, match=r"can't be written \(No space left on device\).*is kept"):
            get()
    assert store.condition("sam-vit-b") == "partly"
    get()
    assert store.verify("sam-vit-b") == ()


def test_pickles_are_taken_only_where_that_is_said(hub: Hub) -> None:
    with pytest.raises(InputError, match=r"medsam2 comes with MedSAM2_latest\.pt, which is a pickle.*--allow-pickle"):
        get("medsam2")
    assert names_in(get("medsam2", allow_pickle=True)) == {"MedSAM2_latest.pt"}
    hub.repositories["wanglab/medsam-vit-base"] = dict(SAM)
    assert names_in(get("medsam", allow_pickle=True)) == SAM_FILES
    store.remove("medsam")
    del hub.repositories["wanglab/medsam-vit-base"]["model.safetensors"]
    with pytest.raises(InputError, match="pickle"):
        get("medsam")
    assert "pytorch_model.bin" in names_in(get("medsam", allow_pickle=True))


@pytest.mark.parametrize("path", ["../x.json", "a\\..\\x.json", "C:x.json"])
def test_a_hub_cannot_write_outside_of_the_folder(
    path: str, hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.repositories["facebook/sam-vit-base"][path] = b"{}"
    own(tmp_path, monkeypatch, "sam-vit-b: {files: ['*.safetensors', '*.json', '*/*.json']}")
    with pytest.raises(InputError, match="would leave its folder"):
        get()


def test_two_programs_do_not_fetch_the_same(hub: Hub) -> None:
    pytest.importorskip("fcntl")
    with (
        store.alone("sam-vit-b"),
        pytest.raises(OutputError, match="Another program is fetching or removing sam-vit-b"),
    ):
        get()


# What is installed


def test_verify_finds_what_was_damaged_and_only_that_is_fetched_again(hub: Hub) -> None:
    folder = get("ibisagent-7b")
    first, second = "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"
    with (folder / second).open("r+b") as file:
        file.seek(1000)
        file.write(b"\xff\xff")
    assert [damage.path for damage in store.verify("ibisagent-7b")] == [second]
    assert store.installed(profile("ibisagent-7b")) == folder  # sizes don't show it
    (folder / "config.json").unlink()
    with (folder / first).open("ab") as file:
        file.write(b"x")
    assert {damage.path: damage.problem.split()[0] for damage in store.verify("ibisagent-7b")} == {
        second: "was",
        first: "has",
        "config.json": "is",
    }
    assert store.installed(profile("ibisagent-7b")) is None
    with (folder / first).open("r+b") as file:
        file.truncate(len(WEIGHTS))
    hub.sent.clear()
    get("ibisagent-7b")
    assert store.verify("ibisagent-7b") == ()
    assert set(hub.sent) == {f"qwen2_5vl-7b-RL/{second}", "qwen2_5vl-7b-RL/config.json"}
    assert {path.name for path in store.models_folder().iterdir()} == {"ibisagent-7b", ".ibisagent-7b.busy"}


def test_a_lock_that_is_none_is_no_checkpoint(hub: Hub) -> None:
    folder = get()
    text = (folder / store.LOCK).read_text()
    for wrong in ("{", "[]", text.replace('"format": 1', '"format": 2'), text.replace("config.json", "../x")):
        (folder / store.LOCK).write_text(wrong)
        assert store.condition("sam-vit-b") == "damaged"
        with pytest.raises(InputError):
            store.verify("sam-vit-b")
    get()
    assert store.condition("sam-vit-b") == "yes"


def test_remove_deletes_what_was_fetched_and_nothing_else(hub: Hub) -> None:
    folder = get()
    assert store.remove("sam-vit-b") > len(WEIGHTS)
    assert not folder.exists()
    with pytest.raises(InputError, match="nothing to remove"):
        store.remove("sam-vit-b")
    folder.mkdir()
    (folder / "mine.txt").write_text("precious")
    with pytest.raises(InputError, match="wasn't fetched by this program"):
        store.remove("sam-vit-b")
    with pytest.raises(OutputError, match="Move it elsewhere"):
        get()
    assert (folder / "mine.txt").read_text() == "precious"


# Bundles


def test_a_bundle_carries_checkpoints_to_another_machine(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    get()
    get("ibisagent-7b")
    archive, again = tmp_path / "a.tar", tmp_path / "b.tar"
    bundle.write_bundle(["sam-vit-b", "ibisagent-7b", "sam-vit-b"], archive, quiet)
    bundle.write_bundle(["sam-vit-b", "ibisagent-7b"], again, quiet)
    assert archive.read_bytes() == again.read_bytes()
    before = {name: store.read_lock(name) for name in ("sam-vit-b", "ibisagent-7b")}
    monkeypatch.setenv("IBISAGENT_MODELS", str(tmp_path / "elsewhere"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert [lock.name for lock in bundle.bundle_contents(archive)] == list(before)
    steps: list[fetch.Progress] = []
    bundle.install_bundle(archive, ["ibisagent-7b"], NOW, steps.append, allow_pickle=False)
    assert steps[-1].done == steps[-1].total == before["ibisagent-7b"].size
    assert store.condition("sam-vit-b") == "no"
    bundle.install_bundle(archive, list(before), datetime.now(UTC), quiet, allow_pickle=False)
    for name, lock in before.items():
        assert store.verify(name) == ()
        assert store.read_lock(name).files == lock.files
        assert store.read_lock(name).agreed > lock.agreed
    with pytest.raises(InputError, match=r"doesn't hold medsam2\. It holds: sam-vit-b, ibisagent-7b"):
        bundle.install_bundle(archive, ["medsam2"], NOW, quiet, allow_pickle=False)


def test_a_damaged_checkpoint_is_not_bundled(hub: Hub, tmp_path: Path) -> None:
    folder = get()
    output = tmp_path / "a.tar"
    with pytest.raises(InputError, match="medsam2 isn't installed"):
        bundle.write_bundle(["medsam2"], output, quiet)
    with pytest.raises(OutputError, match="lies in the folder of the original"):
        bundle.write_bundle(["sam-vit-b"], folder / "a.tar", quiet)
    (folder / "model.safetensors").write_bytes(WEIGHTS[::-1])
    with pytest.raises(InputError, match="was changed since it came"):
        bundle.write_bundle(["sam-vit-b"], output, quiet)
    (folder / "model.safetensors").write_bytes(WEIGHTS[:-1])
    with pytest.raises(InputError, match="was changed since it came"):
        bundle.write_bundle(["sam-vit-b"], output, quiet)
    (folder / "model.safetensors").unlink()
    with pytest.raises(InputError, match="is missing"):
        bundle.write_bundle(["sam-vit-b"], output, quiet)
    assert not list(tmp_path.glob("*.tar")) and not list(tmp_path.glob(".*"))


def test_a_pickle_in_a_bundle_has_to_be_allowed_too(hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    get("medsam2", allow_pickle=True)
    bundle.write_bundle(["medsam2"], tmp_path / "a.tar", quiet)
    store.remove("medsam2")
    with pytest.raises(InputError, match="--allow-pickle"):
        bundle.install_bundle(tmp_path / "a.tar", ["medsam2"], NOW, quiet, allow_pickle=False)
    bundle.install_bundle(tmp_path / "a.tar", ["medsam2"], NOW, quiet, allow_pickle=True)
    assert store.verify("medsam2") == ()


def forged(path: Path, members: list[tuple[tarfile.TarInfo, bytes]], files: dict[str, bytes]) -> Path:
    """A tar with a list of contents that names ``files`` of sam-vit-b, then ``members``."""
    rows = [{"path": name, "size": len(data), "sha256": sha256(data)} for name, data in files.items()]
    texts = dict.fromkeys(("hub", "folder", "revision", "licence", "agreed"), "x")
    lock = {"format": 1, "name": "sam-vit-b", **texts, "files": rows}
    contents = json.dumps({"format": 1, "checkpoints": [lock]}).encode()
    with tarfile.open(path, "w") as archive:
        for member, data in [(tarfile.TarInfo(bundle.CONTENTS), contents), *members]:
            member.size = len(data) if member.isreg() else 0
            archive.addfile(member, io.BytesIO(data) if member.isreg() else None)
    return path


def member(name: str, kind: bytes = tarfile.REGTYPE, link: str = "") -> tarfile.TarInfo:
    made = tarfile.TarInfo(name)
    made.type, made.linkname = kind, link
    return made


GOOD = {"model.safetensors": b"good"}


@pytest.mark.parametrize(
    ("members", "files", "says"),
    [
        ([(member("../evil"), b"x")], GOOD, "its list doesn't name"),
        ([(member("/tmp/evil"), b"x")], GOOD, "its list doesn't name"),
        ([(member("sam-vit-b/../../evil"), b"x")], GOOD, "its list doesn't name"),
        ([(member("sam-vit-b", tarfile.SYMTYPE, "/tmp"), b"")], GOOD, "its list doesn't name"),
        ([(member("sam-vit-b/model.safetensors", tarfile.SYMTYPE, "/etc/passwd"), b"")], GOOD, "isn't the file"),
        ([(member("sam-vit-b/model.safetensors", tarfile.LNKTYPE, "/etc/passwd"), b"")], GOOD, "isn't the file"),
        ([(member("sam-vit-b/model.safetensors", tarfile.CHRTYPE), b"")], GOOD, "isn't the file"),
        ([(member("sam-vit-b/model.safetensors"), b"evil")], GOOD, "is damaged"),
        ([(member("sam-vit-b/model.safetensors"), b"longer")], GOOD, "isn't the file"),
        ([], GOOD, "ends before"),
        ([(member("sam-vit-b/../../evil"), b"x")], {"../../evil": b"x"}, "outside of its folder"),
        ([(member("sam-vit-b//tmp/evil"), b"x")], {"/tmp/evil": b"x"}, "outside of its folder"),
        ([(member("sam-vit-b/a\\b"), b"x")], {"a\\b": b"x"}, "outside of its folder"),
        ([(member("sam-vit-b/" + store.LOCK), b"x")], {store.LOCK: b"x"}, "outside of its folder"),
    ],
)
def test_a_forged_bundle_is_refused(
    members: list[tuple[tarfile.TarInfo, bytes]], files: dict[str, bytes], says: str, hub: Hub, tmp_path: Path
) -> None:
    path = forged(tmp_path / "forged.tar", members, files)
    with pytest.raises(InputError, match=says):
        bundle.install_bundle(path, ["sam-vit-b"], NOW, quiet, allow_pickle=True)
    assert store.installed(profile("sam-vit-b")) is None
    assert not list(tmp_path.rglob("*evil*"))
    assert {item.name for item in tmp_path.iterdir()} <= {"forged.tar", "models"}
    assert not any(item.is_symlink() for item in tmp_path.rglob("*"))


def test_what_is_no_bundle_is_said(hub: Hub, tmp_path: Path) -> None:
    path = tmp_path / "a.tar"
    with pytest.raises(InputError, match=r"a\.tar can't be read as a bundle \(No such file"):
        bundle.bundle_contents(path)
    path.write_bytes(b"no tar at all")
    with pytest.raises(InputError, match=r"can't be read as a bundle"):
        bundle.bundle_contents(path)
    with tarfile.open(path, "w") as archive:
        archive.addfile(member("a.txt"), io.BytesIO())
    with pytest.raises(InputError, match=r"is no bundle of checkpoints"):
        bundle.bundle_contents(path)
    get()
    bundle.write_bundle(["sam-vit-b"], path, quiet)
    store.remove("sam-vit-b")
    path.write_bytes(path.read_bytes()[:300_000])
    with pytest.raises(InputError, match=r"Copy (it|the bundle) again"):
        bundle.install_bundle(path, ["sam-vit-b"], NOW, quiet, allow_pickle=False)
    assert store.installed(profile("sam-vit-b")) is None
