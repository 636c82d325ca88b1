"""The training for real: some seconds of it, its file run by the click tool's runtime, and going on from weights."""

from __future__ import annotations

import json

import numpy as np
import onnxruntime
import pytest
import torch
from safetensors.torch import save_file

from napari_ibisagent.core.errors import InputError
from napari_ibisagent.io.resources import resource
from napari_ibisagent.segmenters._encoding import CHANNELS, PICTURE_CHANNELS
from napari_ibisagent.segmenters.embedded import WEIGHTS
from napari_ibisagent.training.clicknet import loop
from napari_ibisagent.training.clicknet.export import export
from napari_ibisagent.training.clicknet.network import ClickNetwork, certainty
from napari_ibisagent.training.clicknet.slots import BOX, NEGATIVE, POSITIVE, PRIOR, Slots


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def small(monkeypatch):
    """Small pictures, and a report every other step."""
    monkeypatch.setattr(loop, "_SIDES", ((0.0, 48), (0.5, 64)))
    monkeypatch.setattr(loop, "_REPORT", 2)


def test_some_seconds_of_training_leave_weights_and_a_curve(small, tmp_path):
    points = []
    network = loop.train(loop.Recipe(minutes=0.08, seed=3, batch=4), (), tmp_path, points.append)
    assert len(points) >= 2 and points[-1].step > points[0].step
    curve = [json.loads(line) for line in (tmp_path / "curve.jsonl").read_text().splitlines()]
    assert [line["step"] for line in curve] == [point.step for point in points]
    assert all(np.isfinite(point.loss) for point in points)
    on = loop.train(
        loop.Recipe(minutes=0.02, batch=4), (), tmp_path / "on", points.append, tmp_path / "weights.safetensors"
    )
    moved = [float((a - b).detach().abs().max()) for a, b in zip(network.parameters(), on.parameters(), strict=True)]
    assert 0 < max(moved) < 0.5


def test_the_same_seed_and_steps_give_the_same_weights(small, tmp_path):
    def trained(name, seed):
        points = []
        network = loop.train(loop.Recipe(0.0, seed, batch=4, steps=4), (), tmp_path / name, points.append)
        assert [point.step for point in points] == [2, 4]
        return torch.cat([value.detach().reshape(-1).float() for value in network.state_dict().values()])

    first = trained("a", 3)
    assert torch.equal(first, trained("b", 3)) and not torch.equal(first, trained("c", 4))


def test_weights_of_something_else_are_refused(small, tmp_path):
    save_file({"a": torch.zeros(2)}, tmp_path / "other.safetensors")
    (tmp_path / "broken.safetensors").write_bytes(b"\x00" * 20)
    for name in ("other", "broken", "missing"):
        with pytest.raises(InputError, match=name):
            loop.train(loop.Recipe(minutes=0.01), (), tmp_path / "x", print, tmp_path / f"{name}.safetensors")


@pytest.mark.parametrize("size", [(64, 64), (96, 160), (16, 128)])
def test_the_exported_file_says_what_the_network_says(tmp_path, size):
    torch.manual_seed(0)
    network = ClickNetwork().eval()
    export(network, tmp_path / "n.onnx")
    session = onnxruntime.InferenceSession(str(tmp_path / "n.onnx"), providers=["CPUExecutionProvider"])
    maps = torch.randn(1, CHANNELS, *size)
    with torch.no_grad():
        logits, foretold = network(maps)
    found, told = session.run(None, {"maps": maps.numpy()})
    assert np.allclose(found, logits.numpy(), atol=1e-3) and np.allclose(told, foretold.numpy(), atol=1e-3)


def test_the_shipped_file_is_of_this_network():
    session = onnxruntime.InferenceSession(str(resource(WEIGHTS)), providers=["CPUExecutionProvider"])
    (entry,) = session.get_inputs()
    assert entry.name == "maps" and entry.shape[1] == CHANNELS
    assert resource(WEIGHTS).stat().st_size <= 8_000_000
    parameters = sum(p.numel() for p in ClickNetwork().parameters())
    assert 1e6 <= parameters <= 2e6


def test_certainty_is_high_for_sure_masks_and_low_for_doubtful_ones():
    sure = torch.full((1, 1, 32, 32), -8.0)
    sure[:, :, 8:24, 8:24] = 8
    expected, share, _, doubt = certainty(sure)[0].tolist()
    assert expected > 0.98 and share == pytest.approx(0.5, abs=0.01) and doubt < 0.05
    assert certainty(sure * 0.05)[0, 0] < 0.6


def test_slots_go_on_with_clicks_against_the_networks_errors():
    slots = Slots(loop.scenes(0, 48, ()), 6, 48, 0)
    seen_more = seen_box = seen_prior = False
    for _ in range(30):
        wrong = torch.from_numpy(1 - 2 * slots.targets) * 5  # the opposite of what is asked for
        before = slots.clicks.copy()
        slots.advance(wrong)
        seen_more |= bool((slots.clicks > before).any())
        seen_box |= bool(slots.inputs[:, BOX].any())
        seen_prior |= bool(slots.inputs[:, PRIOR].any())
        for index in range(6):
            discs = slots.inputs[index, [POSITIVE, NEGATIVE]]
            assert (discs.max() > 0) == (slots.clicks[index] > 0)
        assert np.abs(slots.inputs[:, :PICTURE_CHANNELS]).max() <= 1.0001
    assert seen_more and seen_box and seen_prior
