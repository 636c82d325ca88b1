"""How the nano agent learns: it sees, points and clicks, in this order; what a second run does not do again."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch", reason="the extra models is not installed")
pytest.importorskip("transformers", reason="the extra models is not installed")

from napari_ibisagent.training.nano.packing import pack  # noqa: E402
from napari_ibisagent.training.nano.school import (  # noqa: E402
    Curriculum,
    Looking,
    attend,
    open_nano,
    speech,
    trial,
    write_trajectories,
)

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning")


def test_the_lessons_follow_each_other(tmp_path):
    course = Curriculum(
        exercises=20, looking=Looking(sight=2, pointing=2), steps=2, batch=4, measure_every=0, board=False
    )
    learned = write_trajectories(course, tmp_path / "trajectories")
    told = []
    agent = attend(course, learned, tmp_path / "trajectories", tmp_path / "sft", tell=told.append)
    assert any("eye_loss" in entry for entry in told)
    models = {
        name: open_nano(tmp_path / "sft" / name).model.state_dict() for name in ("untrained", "sighted", "pointed", "")
    }
    eye = [name for name in models[""] if ".visual." in name]
    words = [name for name in models[""] if ".visual." not in name]

    def changed(before, after, names):
        return any(not torch.equal(models[before][name], models[after][name]) for name in names)

    assert changed("untrained", "sighted", eye) and not changed("untrained", "sighted", words)
    assert changed("sighted", "pointed", words) and not changed("sighted", "pointed", eye)
    assert changed("pointed", "", words) and not changed("pointed", "", eye)
    # Its own template stands in what is packed, too: the sentence comes before the picture.
    pack(tmp_path / "sft", tmp_path / "packed")
    packed = open_nano(tmp_path / "packed")
    assert packed.tokenizer.chat_template == agent.tokenizer.chat_template
    assert packed.images.merge_size == packed.model.config.vision_config.spatial_merge_size == 1
    assert trial(packed, "geodesic", spoken=speech(tmp_path / "packed"), count=3, steps=2).episodes == 3
    # A second one begins from an agent that has learned to look already.
    other = attend(
        *(course, learned, tmp_path / "trajectories", tmp_path / "other"), start=tmp_path / "sft" / "pointed"
    )
    assert all(torch.equal(weight, models[""][name]) for name, weight in other.model.state_dict().items())
    assert not (tmp_path / "other" / "untrained").exists()
    again = []
    attend(course, learned, tmp_path / "trajectories", tmp_path / "sft", tell=again.append)
    assert not any("eye_loss" in entry for entry in again)
