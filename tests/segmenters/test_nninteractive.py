"""nnInteractive as a click tool: its real client against a real server, and its real session where it is installed."""

from __future__ import annotations

import gc
import json
import socket
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
from nninteractive_server import tool_server

from napari_ibisagent import registry
from napari_ibisagent.core.actions import Box, Click
from napari_ibisagent.core.errors import BackendError, InputError
from napari_ibisagent.core.protocols import notice_of
from napari_ibisagent.core.view import Plane, View
from napari_ibisagent.policies import scripted
from napari_ibisagent.segmenters import nninteractive

DISC, CORNER = Click(0.5, 0.5, True), Click(0.05, 0.05, False)


@pytest.fixture(autouse=True)
def no_settings(monkeypatch):
    for name in ("IBISAGENT_NNINTERACTIVE_SERVER", "NN_INTERACTIVE_API_KEY", "HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def server():
    with tool_server() as found:
        yield found


def view(seed=0, shape=(64, 48)):
    rows, columns = np.ogrid[: shape[0], : shape[1]]
    disc = (rows - 32) ** 2 + (columns - 24) ** 2 <= 12**2
    image = 40 + 100 * disc + np.random.default_rng(seed).normal(0, 2, shape)
    return View(image.astype(np.float32), Plane.AXIAL, 0, shape, None), disc


def tool(server, **options):
    return registry.load("segmenters", "nninteractive", server=server.url, **options)


def test_clicks_and_boxes_become_masks(server):
    seen, disc = view()
    opened = tool(server).open(seen)
    assert not server.asked  # nothing is sent before the first click
    found = opened.segment([DISC], None)
    assert found.score == 0 and np.count_nonzero(found.mask ^ disc) < 0.1 * disc.sum()
    boxed = opened.segment([Box(0.25, 0.5, 0.5, 0.75)], None).mask
    assert boxed[32:48, 12:24].all() and boxed.sum() == 16 * 12
    # The picture went once, alone, as a volume one voxel thick.
    assert [image.shape for image in server.images] == [(1, 1, 64, 48)]
    np.testing.assert_array_equal(server.images[0][0, 0], seen.image)


def test_one_more_click_tells_the_server_no_more_than_that(server):
    seen, _ = view()
    opened = tool(server).open(seen)
    opened.segment([DISC], None)
    before = len(server.asked)
    more = opened.segment([DISC, CORNER], None)
    assert server.asked[before:] == ["/add_point_interaction"]
    fresh = tool(server).open(seen).segment([DISC, CORNER], None)
    np.testing.assert_array_equal(more.mask, fresh.mask)


def test_an_answer_depends_on_nothing_but_what_is_asked(server):
    mine = tool(server)
    (one, disc), (two, _) = view(0), view(1)
    opened, other = mine.open(one), mine.open(two)
    prior = np.zeros(one.shape, bool)
    prior[:4, :4] = True
    asked = [([DISC], None), ([DISC, CORNER], None), ([CORNER, DISC], prior), ([DISC], prior), ([DISC], None)]
    first = [opened.segment(*a).mask for a in asked]
    other.segment([CORNER], None)
    for a, mask in reversed(list(zip(asked, first, strict=True))):
        np.testing.assert_array_equal(opened.segment(*a).mask, mask)
    assert first[3][:4, :4].all() and not first[4][:4, :4].any() and disc.any()
    np.testing.assert_array_equal(opened.segment([], prior).mask, prior)


def test_threads_share_a_session(server):
    mine = tool(server)
    views = [view(seed)[0] for seed in range(4)]
    wanted = [tool(server).open(one).segment([DISC, CORNER], None).mask for one in views]
    found = [None] * 4

    def ask(n):
        for _ in range(3):
            found[n] = mine.open(views[n]).segment([DISC, CORNER], None).mask

    threads = [threading.Thread(target=ask, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(np.array_equal(a, b) for a, b in zip(found, wanted, strict=True))


def test_a_session_that_was_closed_is_begun_anew(server):
    seen, _ = view()
    opened = tool(server).open(seen)
    before = opened.segment([DISC], None).mask
    server.fails["/add_point_interaction"] = "gone"
    np.testing.assert_array_equal(opened.segment([DISC, CORNER], None).mask & before, before)
    assert server.asked.count("/claim") == 2
    server.fails["/set_image"] = 410
    with pytest.raises(BackendError, match="closes every session"):
        tool(server).open(seen).segment([DISC], None)


def test_after_a_failure_everything_is_told_again(server):
    seen, _ = view()
    opened = tool(server).open(seen)
    opened.segment([DISC], None)
    server.fails["/add_point_interaction"] = 500
    with pytest.raises(BackendError, match=r"failed with 500: something broke\. Look at its log"):
        opened.segment([DISC, CORNER], None)
    server.fails.clear()
    again = opened.segment([DISC, CORNER], None).mask
    np.testing.assert_array_equal(again, tool(server).open(seen).segment([DISC, CORNER], None).mask)


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ({"/claim": "page"}, "another form than nnInteractive"),
        ({"/claim": 404}, "isn't one of nnInteractive's"),
        ({"/set_image": 413}, "failed with 413"),
    ],
)
def test_what_a_server_does_wrong_is_said(fault, message):
    with tool_server(fails=fault) as server, pytest.raises(BackendError, match=message):
        tool(server).open(view()[0]).segment([DISC], None)


def test_a_key_and_too_many_sessions(monkeypatch):
    with tool_server(key="secret", leases=1) as server:
        with pytest.raises(BackendError, match=r"wants a key\. Set NN_INTERACTIVE_API_KEY") as refused:
            tool(server).open(view()[0]).segment([DISC], None)
        monkeypatch.setenv("NN_INTERACTIVE_API_KEY", "secret")
        first = tool(server)
        assert first.open(view()[0]).segment([DISC], None).mask.any()
        with pytest.raises(BackendError, match="given out all of its sessions"):
            tool(server).open(view()[0]).segment([DISC], None)
        assert "secret" not in str(refused.value) and "secret" not in repr(first)


def test_a_tool_that_is_not_used_any_more_gives_its_session_back(server):
    mine = tool(server)
    mine.open(view()[0]).segment([DISC], None)
    assert len(server.leases) == 1
    del mine
    gc.collect()
    assert not server.leases and server.asked[-1] == "/release"


def test_nothing_that_listens():
    with tool_server() as server:
        gone = server.url
    with pytest.raises(BackendError, match="Nothing answers at"):
        registry.load("segmenters", "nninteractive", server=gone).open(view()[0]).segment([DISC], None)


def test_slices_stay_here_unless_the_user_says_otherwise(server, monkeypatch):
    with pytest.raises(InputError, match="allow_remote_host=true"):
        registry.load("segmenters", "nninteractive", server="http://gpu-box:1527")
    away = registry.load("segmenters", "nninteractive", server="http://gpu-box:1527", allow_remote_host=True)
    here = tool(server)
    policy = scripted.build(turns=["<action>Terminate</action><answer>x</answer>"])
    assert "sent to gpu-box" in notice_of(policy, away) and notice_of(policy, here) == ""
    monkeypatch.setenv("HTTP_PROXY", "http://proxy.example:3128")
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    with pytest.raises(InputError, match="would go through it"):
        tool(server)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    assert tool(server).open(view()[0]).segment([DISC], None).mask.any()


def test_what_can_be_asked_for_is_said(monkeypatch, tmp_path):
    with pytest.raises(InputError, match="Which server"):
        registry.load("segmenters", "nninteractive")
    assert "needs a server" in registry.why_not("segmenters", "nninteractive")
    monkeypatch.setenv("IBISAGENT_NNINTERACTIVE_SERVER", "http://localhost:1527")
    assert registry.why_not("segmenters", "nninteractive") is None
    with pytest.raises(InputError, match="isn't a model of nnInteractive"):
        registry.load("segmenters", "nninteractive", folder=str(tmp_path))
    (tmp_path / "fold_0").mkdir()
    (tmp_path / "fold_0" / "checkpoint_final.pth").touch()
    (tmp_path / "plans.json").touch()
    with pytest.raises(InputError, match="allow_pickle=true"):
        registry.load("segmenters", "nninteractive", folder=str(tmp_path))


def test_masks_to_begin_with(server):
    seen, _ = view()
    with tool_server(refines=False) as stubborn, pytest.raises(BackendError, match="Begin without one"):
        tool(stubborn).open(seen).segment([DISC], np.ones(seen.shape, bool))


def test_a_picture_without_anything_in_it_is_not_sent(server):
    flat = View(np.full((40, 40), 7, np.int16), Plane.AXIAL, 0, (40, 40), None)
    found = tool(server).open(flat).segment([Box(0.5, 0.5, 1, 1), CORNER], None).mask
    assert found[20:, 20:].all() and found.sum() == 400 and not server.asked


# -- the package itself ----------------------------------------------------------------------------------------


@pytest.fixture
def weights(tmp_path):
    """A folder as theirs, with a network of theirs that knows nothing. nnU-Net isn't among what the tests install."""
    pytest.importorskip("nnunetv2", reason="the whole package of nnInteractive isn't installed")
    import torch
    from nnInteractive.trainer.nnInteractiveTrainer import nnInteractiveTrainer_stub
    from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

    sizes = {"n_stages": 2, "features_per_stage": [4, 8], "kernel_sizes": [[3, 3, 3]] * 2}
    sizes |= {"strides": [[1, 1, 1], [2, 2, 2]], "n_conv_per_stage": [1, 1], "n_conv_per_stage_decoder": [1]}
    sizes |= {"conv_op": "torch.nn.modules.conv.Conv3d", "conv_bias": True, "dropout_op": None}
    sizes |= {"norm_op": "torch.nn.modules.instancenorm.InstanceNorm3d", "norm_op_kwargs": {"affine": True}}
    sizes |= {"nonlin": "torch.nn.LeakyReLU", "nonlin_kwargs": {"inplace": True}, "dropout_op_kwargs": None}
    architecture = {
        "network_class_name": "dynamic_network_architectures.architectures.unet.PlainConvUNet",
        "arch_kwargs": sizes,
        "_kw_requires_import": ["conv_op", "norm_op", "dropout_op", "nonlin"],
    }
    plans = {
        "dataset_name": "Dataset000_Tiny",
        "plans_name": "tiny",
        "configurations": {"tiny": {"patch_size": [64, 64, 64], "architecture": architecture}},
    }
    dataset = {"channel_names": {"0": "any"}, "labels": {"background": 0, "object": 1}, "file_ending": ".nii.gz"}
    manager = PlansManager(plans)
    torch.manual_seed(0)
    network = nnInteractiveTrainer_stub.build_network_architecture(
        manager, manager.get_configuration("tiny"), 8, 2, enable_deep_supervision=False
    )
    with torch.no_grad():
        network.decoder.seg_layers[-1].bias[1] -= 1.0  # a network that takes everything looks ever further round it
    state = {"network_weights": network.state_dict(), "trainer_name": "nnInteractiveTrainer_stub"}
    state["init_args"] = {"configuration": "tiny"}
    (tmp_path / "fold_0").mkdir()
    torch.save(state, tmp_path / "fold_0" / "checkpoint_final.pth")
    files = {"plans": plans, "dataset": dataset, "inference_session_class": "nnInteractiveInferenceSession"}
    for name, content in files.items():
        (tmp_path / f"{name}.json").write_text(json.dumps(content), "utf-8")
    return tmp_path


def test_the_whole_package_on_this_machine(weights, capsys):
    seen, _ = view()
    mine = registry.load("segmenters", "nninteractive", folder=str(weights), allow_pickle=True, device="cpu")
    opened = mine.open(seen)
    prior = np.zeros(seen.shape, bool)
    prior[20:30, 20:30] = True
    asked = [([DISC], None), ([DISC, CORNER], None), ([Box(0.2, 0.2, 0.8, 0.8), CORNER], prior)]
    first = [opened.segment(*a).mask for a in asked]
    fresh = registry.load("segmenters", "nninteractive", folder=str(weights), allow_pickle=True, device="cpu")
    for a, mask in reversed(list(zip(asked, first, strict=True))):
        np.testing.assert_array_equal(opened.segment(*a).mask, mask)
        np.testing.assert_array_equal(fresh.open(seen).segment(*a).mask, mask)
        assert all(mask[seen.pixel_of(c.x, c.y)] == c.positive for c in a[0] if isinstance(c, Click))
    assert capsys.readouterr().out == ""  # it tells everything to standard output by itself
    assert isinstance(nninteractive.build(folder=str(weights), allow_pickle=True), type(mine))


def test_their_own_server(weights):
    """A process of ``nninteractive-server``, and what it answers beside the session on this machine."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = found.getsockname()[1]
    settings = ["--model-dir", str(weights), "--fold", "0", "--port", str(port), "--device", "cpu"]
    program = [sys.executable, "-m", "nnInteractive.inference.server.main", *settings, "--torch-n-threads", "1"]
    with subprocess.Popen(program, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            _wait_for(port, process)
            served = registry.load("segmenters", "nninteractive", server=f"http://127.0.0.1:{port}")
            local = registry.load("segmenters", "nninteractive", folder=str(weights), allow_pickle=True, device="cpu")
            seen, disc = view()
            for asked in (([DISC], None), ([DISC, CORNER], None), ([Box(0.2, 0.2, 0.8, 0.8)], disc)):
                answers = [mine.open(seen).segment(*asked).mask for mine in (served, local)]
                np.testing.assert_array_equal(*answers)
            process.kill()
            with pytest.raises(BackendError, match="Nothing answers"):
                served.open(seen).segment([CORNER], None)
        finally:
            process.kill()


def _wait_for(port, process):
    for _ in range(300):
        assert process.poll() is None
        with socket.socket() as asked:
            if asked.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.2)
    pytest.fail("the server doesn't listen")
