"""Learning in 16 bits."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch", reason="the extra models is not installed")
pytest.importorskip("transformers", reason="the extra models is not installed")

from napari_ibisagent.training.nano.model import write_untrained  # noqa: E402
from napari_ibisagent.training.nano.school import open_nano  # noqa: E402
from napari_ibisagent.training.precision import faster_in_16_bits, sixteen_bits  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning")


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("precision") / "untrained"
    return open_nano(write_untrained(folder, ["one word"] * 3, seed=0)).model


def test_attention_is_what_it_was_afterwards(model):
    before = model.config._attn_implementation
    with pytest.raises(ValueError, match="in between"), sixteen_bits(model, "cpu", True):
        assert model.config._attn_implementation == "eager"
        raise ValueError("in between")
    assert model.config._attn_implementation == before
    with sixteen_bits(model, "cpu", False):
        assert model.config._attn_implementation == before


def test_what_is_computed_differs_by_little(model):
    ids = torch.arange(20)[None]
    with torch.no_grad():
        exact = model(input_ids=ids).logits
        with sixteen_bits(model, "cpu", True):
            halved = model(input_ids=ids).logits.float()
    assert not torch.equal(exact, halved)
    assert float((exact - halved).norm() / exact.norm()) < 0.05


def test_no_unknown_device_is_faster():
    assert not faster_in_16_bits("mps")
    assert isinstance(faster_in_16_bits("cpu"), bool)
