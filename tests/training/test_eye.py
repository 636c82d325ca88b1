"""The nano agent's eye: what it is told that its cells show, and that it learns it."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the extra models is not installed")
pytest.importorskip("transformers", reason="the extra models is not installed")

from PIL import Image  # noqa: E402

from napari_ibisagent.core.overlay import overlay_preset  # noqa: E402
from napari_ibisagent.training.nano import eye  # noqa: E402
from napari_ibisagent.training.nano.anatomy import ANYWHERE, NAMES, SIDE, MadeUp, make_slice  # noqa: E402
from napari_ibisagent.training.nano.eye import Sight, learn_to_see  # noqa: E402
from napari_ibisagent.training.nano.model import write_untrained  # noqa: E402
from napari_ibisagent.training.nano.school import OVERLAY, open_nano  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning")


@pytest.fixture
def untrained(tmp_path):
    return open_nano(write_untrained(tmp_path / "untrained", ["one word"] * 3, 0))


def seen(opened, picture):
    made = opened.images(images=[Image.fromarray(picture)], return_tensors="pt")
    with torch.no_grad():
        return opened.model.model.visual(made["pixel_values"], made["image_grid_thw"]).pooler_output


@pytest.mark.parametrize("row, column", [(0, 0), (2, 5), (7, 3)])
def test_cells_lie_where_the_eyes_tokens_do(untrained, row, column):
    """What changes in the picture at a token's place changes that token most, and its cells alone."""
    side = SIDE // 8
    inside = np.zeros((SIDE, SIDE), bool)
    inside[row * side : (row + 1) * side, column * side : (column + 1) * side] = True
    plain = np.full((SIDE, SIDE, 3), 90, np.uint8)
    bright = np.where(inside[:, :, np.newaxis], 240, plain).astype(np.uint8)
    change = (seen(untrained, bright) - seen(untrained, plain)).norm(dim=1)
    assert int(change.argmax()) == row * 8 + column
    cells = eye._shares(eye._stack(MadeUp(bright[:, :, 0], {"liver": inside})))[:, NAMES.index("liver")]
    first = (row * 8 + column) * 4
    assert cells[first : first + 4].tolist() == [1, 1, 1, 1] and cells.sum() == 4


def test_the_shares_of_a_cell_add_up():
    for number in range(20):
        made = make_slice(np.random.default_rng([3, number]), framing=ANYWHERE)
        shares = eye._shares(eye._stack(made))
        np.testing.assert_allclose(shares.sum(axis=1), 1, atol=1e-5)
        for name, mask in made.structures.items():
            assert shares[:, NAMES.index(name)].sum() * (SIDE / 16) ** 2 == pytest.approx(mask.sum(), rel=1e-4)


def test_it_learns_to_see_and_to_say_nothing_else(untrained):
    before = {name: value.clone() for name, value in untrained.model.state_dict().items()}
    told = []
    for steps in (2, 12):
        learn_to_see(untrained, overlay_preset(OVERLAY), Sight(steps, pictures=40, warm_up=2), told.append)
    first, last = told
    assert last["eye_loss"] < 0.8 * first["eye_loss"] and 0 <= last["eye_right"] <= 1
    changed = {name for name, value in untrained.model.state_dict().items() if not torch.equal(value, before[name])}
    assert changed and all(".visual." in name for name in changed)
