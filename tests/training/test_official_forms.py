"""The trajectory files of the published code: written, read, and refused where they are broken."""

from __future__ import annotations

import base64
import copy
import json
import zlib
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from trajectory_strategies import clicked

from napari_ibisagent.core import coco_rle
from napari_ibisagent.core.actions import Box, Click, Discard, Revert, Terminate, Turn
from napari_ibisagent.core.errors import InputError
from napari_ibisagent.core.packed import PackedMask
from napari_ibisagent.training.trajectories.form import Source, Trajectory, TrajectoryStep, to_line
from napari_ibisagent.training.trajectories.official import (
    from_rl,
    from_synthesis,
    read_official,
    to_rl,
    to_synthesis,
)


def told(trajectory):
    """What both forms keep."""
    steps = tuple((step.turn.prompts, step.mask) for step in trajectory.steps)
    return trajectory.name, trajectory.prompt, trajectory.target, trajectory.shape, steps


@settings(max_examples=200, deadline=None, derandomize=True)
@given(clicked())
def test_the_synthesis_form_comes_back(trajectory):
    values = json.loads(json.dumps(to_synthesis(trajectory)))
    again = from_synthesis(values)
    assert told(again) == told(trajectory)
    assert to_synthesis(again) == {**values, "mask_file": trajectory.source.mask}


@settings(max_examples=200, deadline=None, derandomize=True)
@given(st.lists(clicked(least=1), max_size=3))
def test_the_rl_form_comes_back(some):
    values = json.loads(json.dumps(to_rl(some)))
    again = from_rl(values)
    # Swapped sizes are put right where they don't fit; the right order always fits what we wrote.
    assert [told(trajectory) for trajectory in again] == [told(trajectory) for trajectory in some]


@settings(max_examples=200, deadline=None, derandomize=True)
@given(st.floats(0, 1), st.floats(0, 1), st.integers(1, 3000), st.integers(1, 3000))
def test_any_click_comes_back_to_four_decimals(x, y, height, width):
    trajectory = trajectory_of([click_step(x, y, np.zeros((height, width), bool))], shape=(height, width))
    click = Click(round(x, 4), round(y, 4), True)
    assert from_synthesis(to_synthesis(trajectory)).steps[0].turn.prompts == (click,)
    assert from_rl(to_rl([trajectory]))[0].steps[0].turn.prompts == (click,)


@settings(max_examples=300, deadline=None, derandomize=True)
@given(st.integers(1, 3000), st.data())
def test_the_pixel_of_an_official_click_is_kept(width, data):
    """Their coordinate is the pixel's corner; four decimals of it may lie in the pixel before."""
    column = data.draw(st.integers(0, width - 1))
    values = synthesis(
        img_data={"format": "png", "size": [width, 1], "reverse": False},
        trajectory=[entry(0, [column / width, 0.0], [column, 0], np.zeros((1, width), bool))],
    )
    (click,) = from_synthesis(values).steps[0].turn.prompts
    assert min(int(click.x * width), width - 1) == column
    assert click.x == round(click.x, 4) and abs(click.x - column / width) <= 0.5 / width + 1e-4


MASKS = [np.zeros((4, 6), bool) for _ in range(3)]
MASKS[0][0:3, 1:4] = True
MASKS[1][0:2, 1:4] = True
MASKS[2][0:2, 1:5] = True


def runs(mask):
    """The official mask_rle, in the words of its definition."""
    lengths, value = [], False
    for pixel in mask.reshape(-1).tolist():
        if not lengths or pixel != value:
            lengths += [0] if lengths or not pixel else [0, 0]
            value = pixel
        lengths[-1] += 1
    return base64.b64encode(zlib.compress(" ".join(map(str, lengths)).encode())).decode()


def entry(number, norm, pixel, mask):
    return {"step": number, "coords_norm": norm, "coords_original": pixel, "mask_rle": runs(mask)}


def synthesis(**changes):
    """As their generator writes it: no sign, no words."""
    values = {
        "file": "data/liver_7.png",
        "type": "img",
        "mask_file": "data/liver_7_mask.png",
        "nii_data": None,
        "img_data": {"format": "png", "size": [6, 4], "reverse": False},
        "trajectory": [
            entry(0, [2 / 6, 1 / 4], [2, 1], MASKS[0]),
            entry(1, [2 / 6, 2 / 4], [2, 2], MASKS[1]),
            entry(2, [4 / 6, 0 / 4], [4, 0], MASKS[2]),
        ],
    }
    return {**values, **changes}


def rl(**changes):
    """As their converter reads it."""
    clicks = [
        {
            "is_positive": positive,
            "coor": [x, y],
            "coor_norm": [round(x / 6, 4), round(y / 4, 4)],
            "mask": {"counts": counts(mask), "size": [4, 6]},
        }
        for (x, y), positive, mask in zip([(2, 1), (2, 2), (4, 0)], [True, False, True], MASKS, strict=True)
    ]
    sample = {
        "image_name": "liver_7",
        "mask_name": "masks/liver_7_mask.png",
        "caption": "outline the liver",
        "clicks_list": clicks,
    }
    return {"data": [{**sample, **changes}]}


def counts(mask):
    return base64.b64encode(zlib.compress(coco_rle.encode(mask).encode())).decode()


def click_step(x, y, mask, positive=True):
    return TrajectoryStep(Turn("", (Click(x, y, positive),)), PackedMask.of(mask))


def trajectory_of(steps, shape=(4, 6), **changes):
    return Trajectory("liver-7", "outline the liver", "liver", shape, tuple(steps), **changes)


def signs(trajectory):
    return [step.turn.prompts[0].positive for step in trajectory.steps]


def test_an_unsigned_click_is_negative_where_it_lies_in_the_mask_before():
    trajectory = from_synthesis(synthesis(), prompt="outline the liver", target="liver")
    assert signs(trajectory) == [True, False, True]
    assert [step.mask for step in trajectory.steps] == [PackedMask.of(mask) for mask in MASKS]
    assert trajectory.shape == (4, 6) and trajectory.source == Source("data/liver_7.png", "data/liver_7_mask.png")
    assert trajectory.name == "liver_7" and trajectory.prompt == "outline the liver" and trajectory.target == "liver"
    assert not any(step.turn.terminates or step.turn.thought for step in trajectory.steps)


def test_the_pixel_decides_and_not_the_corner_that_rounds_into_its_neighbour():
    """29 / 100 * 100 is 28.999999999999996, and the pixel 28 is in the mask."""
    before = np.zeros((100, 100), bool)
    before[:, :29] = True
    values = synthesis(
        img_data={"format": "png", "size": [100, 100], "reverse": False},
        trajectory=[
            entry(0, [0.1, 0.5], [10, 50], before),
            entry(1, [0.29, 0.5], [29, 50], before),
            entry(2, [0.28, 0.5], [28, 50], before),
        ],
    )
    trajectory = from_synthesis(values)
    assert signs(trajectory) == [True, True, False]
    assert trajectory.steps[1].turn.prompts[0].x == 0.295


def test_a_sign_that_is_written_counts_more_than_the_mask():
    values = synthesis()
    for item, sign in zip(values["trajectory"], [True, True, None], strict=True):
        item["is_positive"] = sign
    assert signs(from_synthesis(values)) == [True, True, True]
    values["trajectory"][1]["is_positive"] = "no"
    with pytest.raises(InputError, match=r"Step 1 of the trajectory of data/liver_7.png .*'no'"):
        from_synthesis(values)


def test_a_slice_of_a_volume_keeps_the_axis_of_its_array():
    about = {
        "size": [6, 4, 30],
        "slice_dir": "z",
        "slice_idx": 12,
        "slice_size": [4, 6],
        "mask_number": 5,
        "window": [-160.0, 240.0],
    }
    values = synthesis(file="ct.nii.gz", type="nii", mask_file="seg.nii.gz", img_data=None, nii_data=about)
    trajectory = from_synthesis(values)
    assert trajectory.name == "ct" and trajectory.shape == (4, 6)
    assert trajectory.source == Source("ct.nii.gz", "seg.nii.gz", 5, "", "z", 12, (40.0, 400.0))
    written = to_synthesis(trajectory)
    assert written["type"] == "nii" and written["img_data"] is None
    assert written["nii_data"] == {**about, "size": None}  # the volume's size isn't kept
    values["nii_data"] = {**about, "window": None}
    assert from_synthesis(values).source.window is None
    values["nii_data"] = {**about, "slice_dir": "axial"}
    with pytest.raises(InputError, match="slice_dir"):
        from_synthesis(values)


def test_our_own_slice_is_written_as_a_picture():
    """Their slice of the same index is another one, or turned: theirs are cut from the array as it is stored."""
    source = Source("ct.nii.gz", "seg.nii.gz", 6, "CT", "axial", 40, (40.0, 400.0), "pictures/liver-7.png")
    trajectory = trajectory_of([click_step(0.5, 0.25, MASKS[0])], source=source)
    values = to_synthesis(trajectory)
    assert values["file"] == "pictures/liver-7.png" and values["type"] == "img" and values["nii_data"] is None
    assert values["img_data"] == {"format": "png", "size": [6, 4], "reverse": False}
    assert values["trajectory"] == [
        {
            "step": 0,
            "coords_norm": [0.5, 0.25],
            "coords_original": [3, 1],
            "mask_rle": runs(MASKS[0]),
            "is_positive": True,
        }
    ]
    assert to_rl([trajectory])["data"][0]["image_name"] == "pictures/liver-7"
    assert to_rl([trajectory])["data"][0]["mask_name"] == "seg.nii.gz"


def test_a_reversed_mask_means_the_value_zero():
    reverse = {"format": "png", "size": [6, 4], "reverse": True}
    trajectory = from_synthesis(synthesis(img_data=reverse))
    assert trajectory.source.value == 0 and to_synthesis(trajectory)["img_data"] == reverse


def test_the_rl_form_is_read_as_their_converter_reads_it():
    (trajectory,) = from_rl(rl())
    assert told(trajectory)[:4] == ("liver_7_mask", "outline the liver", "", (4, 6))
    assert signs(trajectory) == [True, False, True]
    assert [step.mask for step in trajectory.steps] == [PackedMask.of(mask) for mask in MASKS]
    assert trajectory.source == Source("liver_7", "masks/liver_7_mask.png")
    assert from_rl(rl(caption=["outline the liver", "where is the liver?"])) == (trajectory,)
    with pytest.raises(InputError, match="picture 0"):
        from_rl(rl(caption=[]))


def test_their_converter_could_read_what_we_write():
    coco = pytest.importorskip("pycocotools.mask")
    values = to_rl([trajectory_of([click_step(0.5, 0.25, MASKS[2])])])
    mask = values["data"][0]["clicks_list"][0]["mask"]
    assert mask["size"] == [4, 6]
    letters = zlib.decompress(base64.b64decode(mask["counts"]))
    assert coco.area({"counts": letters, "size": mask["size"]}) == MASKS[2].sum()
    assert letters == coco.encode(np.asfortranarray(MASKS[2].astype(np.uint8)))["counts"]


def test_a_swapped_size_is_put_right_by_the_clicks():
    values = rl()
    for click in values["data"][0]["clicks_list"]:
        click["mask"]["size"] = [6, 4]
    assert from_rl(values) == from_rl(rl())


def test_a_synthesis_size_has_one_order_only():
    """[width, height], as their generator writes it; the other way round the clicks don't fit."""
    with pytest.raises(InputError, match=r"Step 2 of the trajectory of data/liver_7.png .*don't fit together"):
        from_synthesis(synthesis(img_data={"format": "png", "size": [4, 6], "reverse": False}))


def with_click(number, **changes):
    values = rl()
    values["data"][0]["clicks_list"][number].update(changes)
    return values


@pytest.mark.parametrize(
    ("number", "mask"),
    [
        (0, ""),
        (1, "!!!"),
        (1, base64.b64encode(b"not zlib").decode()),
        (2, base64.b64encode(zlib.compress(b"\xff\xfe")).decode()),
        (2, base64.b64encode(zlib.compress(b"5")).decode()),
        (2, counts(np.zeros((4, 7), bool))),
        (0, 7),
        (0, None),
    ],
)
def test_a_broken_mask_names_picture_and_step(number, mask):
    """Their converter draws an empty mask instead, and trains on it."""
    with pytest.raises(InputError, match=f"Step {number} of the trajectory of liver_7"):
        from_rl(with_click(number, mask={"counts": mask, "size": [4, 6]}))
    values = synthesis()
    values["trajectory"][number]["mask_rle"] = mask
    with pytest.raises(InputError, match=f"Step {number} of the trajectory of data/liver_7.png"):
        from_synthesis(values)


@pytest.mark.parametrize(
    ("norm", "pixel"),
    [
        ([1.2, 0.5], [2, 2]),
        ([0.3, -0.1], [2, 0]),
        ([float("nan"), 0.5], [2, 2]),
        ([1.000001, 0.5], [5, 2]),
        ([0.3333, 0.5], [6, 2]),
        ([0.3333, 0.5], [2, -1]),
        ([0.9, 0.5], [2, 2]),
        ([0.3333, 0.5], [2]),
        ([0.3333, 0.5, 0.5], [2, 2]),
        (["0.3333", 0.5], [2, 2]),
        ([True, 0.5], [2, 2]),
        ("ab", [2, 2]),
        (None, [2, 2]),
        ([0.3333, 0.5], [10**400, 2]),
    ],
)
def test_a_click_outside_or_of_two_minds_is_refused(norm, pixel):
    with pytest.raises(InputError, match="Step 1 of the trajectory of liver_7 "):
        from_rl(with_click(1, coor_norm=norm, coor=pixel))
    values = synthesis()
    values["trajectory"][1].update(coords_norm=norm, coords_original=pixel)
    with pytest.raises(InputError, match=r"Step 1 of the trajectory of data/liver_7.png "):
        from_synthesis(values)


@pytest.mark.parametrize("size", [[0, 6], [4, 6.5], [-4, -6], [4], [10**6, 10**6], None, "46", [True, True]])
def test_a_size_that_is_none_is_refused(size):
    with pytest.raises(InputError, match="liver_7"):
        from_rl(with_click(0, mask={"counts": counts(MASKS[0]), "size": size}))
    with pytest.raises(InputError, match=r"data/liver_7.png"):
        from_synthesis(synthesis(img_data={"format": "png", "size": size, "reverse": False}))


def test_masks_of_two_sizes_in_a_picture_are_refused():
    with pytest.raises(InputError, match=r"Step 2 of the trajectory of liver_7 .*unlike the first"):
        from_rl(with_click(2, mask={"counts": counts(np.zeros((6, 4), bool)), "size": [6, 4]}))


def test_a_picture_without_clicks_has_no_size_in_the_rl_form():
    with pytest.raises(InputError, match=r"liver_7 .*no clicks"):
        from_rl(rl(clicks_list=[]))
    with pytest.raises(InputError, match=r"liver-7 has no click"):
        to_rl([trajectory_of([])])
    assert from_synthesis(to_synthesis(trajectory_of([]))).steps == ()


def test_steps_out_of_order_are_refused():
    values = synthesis()
    values["trajectory"].reverse()
    with pytest.raises(InputError, match=r"Step 0 of .* numbered 2"):
        from_synthesis(values)


def paths(values, above=()):
    for key, value in values.items() if isinstance(values, dict) else enumerate(values):
        yield (*above, key)
        if isinstance(value, dict | list):
            yield from paths(value, (*above, key))


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


@settings(max_examples=600, deadline=None, derandomize=True)
@given(st.sampled_from([(from_synthesis, synthesis()), (from_rl, rl())]), st.data())
def test_whatever_stands_there_is_read_or_refused(form, data):
    read, values = form
    keys = data.draw(st.sampled_from(sorted(paths(values), key=str)))
    values = place = copy.deepcopy(values)
    for key in keys[:-1]:
        place = place[key]
    if data.draw(st.booleans()):
        place[keys[-1]] = data.draw(VALUES)
    else:
        del place[keys[-1]]
    try:
        read(values)
    except InputError as error:
        assert str(error).endswith(".")


def turn_step(*actions, mask=MASKS[0]):
    return TrajectoryStep(Turn("why", actions), None if mask is None else PackedMask.of(mask))


@pytest.mark.parametrize(
    ("steps", "changes", "words"),
    [
        ([turn_step(Box(0, 0, 0.5, 0.5))], {}, "Step 0 of the trajectory liver-7 draws a box"),
        ([turn_step(Click(0, 0, True), Click(1, 1, True))], {}, "Step 0 .*several clicks"),
        ([turn_step(Click(0, 0, True)), turn_step(Revert())], {}, "Step 1 .*reverts"),
        ([turn_step(Discard(), Click(0, 0, True))], {}, "Step 0 .*discards"),
        ([turn_step(Click(0, 0, True), mask=None)], {}, "Step 0 .*no mask"),
        ([turn_step(Click(0, 0, True), mask=MASKS[0].T)], {}, r"step 0 .*\(6, 4\)"),
        ([TrajectoryStep(Turn("", (Click(0, 0, True),)), PackedMask((4, 6), "?"))], {}, "step 0 .*broken"),
        ([turn_step(Click(0, 0, True))], {"given": PackedMask.of(MASKS[1])}, "given mask"),
    ],
)
def test_what_the_forms_cannot_hold_is_refused(steps, changes, words):
    trajectory = trajectory_of(steps, **changes)
    for write in (to_synthesis, lambda value: to_rl([value])):
        with pytest.raises(InputError, match=words):
            write(trajectory)


def test_a_wrong_turn_can_be_left_out_with_its_revert():
    right, wrong = click_step(0.4, 0.3, MASKS[0]), replace(click_step(0.9, 0.9, MASKS[2]), learn=False)
    last = click_step(0.4, 0.6, MASKS[1], positive=False)
    ended = TrajectoryStep(Turn("done", (Terminate(),), "the liver"), PackedMask.of(MASKS[1]))
    box = turn_step(Box(0, 0, 0.5, 0.5))
    steps = [
        right,
        wrong,
        turn_step(Revert()),
        box,
        replace(last, turn=Turn("", (Revert(), *last.turn.actions))),
        ended,
    ]
    trajectory = trajectory_of(steps, given=PackedMask.of(np.zeros((4, 6), bool)))
    kept = told(trajectory_of([right, last]))
    assert told(from_synthesis(to_synthesis(trajectory, drop_reverted=True))) == kept
    assert told(from_rl(to_rl([trajectory], drop_reverted=True))[0]) == kept
    nothing = trajectory_of([turn_step(Revert()), turn_step(Terminate())])
    assert to_synthesis(nothing, drop_reverted=True)["trajectory"] == []


def written(path, content):
    path.write_text(content if isinstance(content, str) else json.dumps(content, indent=4), encoding="utf-8")
    return path


def test_a_file_says_which_form_it_is_in(tmp_path):
    (unsigned,) = read_official(written(tmp_path / "one.json", synthesis()))
    assert unsigned == from_synthesis(synthesis())
    assert read_official(str(written(tmp_path / "rl.json", rl()))) == from_rl(rl())
    lines = [json.dumps(values) for values in (synthesis(), rl()["data"][0], synthesis())]
    mixed = read_official(written(tmp_path / "many.jsonl", "\ufeff" + "\n\n".join(lines) + "\n"))
    assert [trajectory.name for trajectory in mixed] == ["liver_7", "liver_7_mask", "liver_7-2"]
    assert read_official(written(tmp_path / "list.json", [synthesis()])) == (unsigned,)
    assert read_official(written(tmp_path / "none.jsonl", "")) == ()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("{", "line 1"),
        ("hello", "neither JSON nor JSON Lines"),
        ("[" * 200_000, "line 1"),
        (json.dumps(synthesis()) + "\n{\n", "line 2"),
        ({"boxes": []}, "neither of the official forms"),
        ([3], "neither of the official forms"),
        (synthesis(type="dcm"), "liver_7.png .*'dcm'"),
        (with_click(1, is_positive=3), "Step 1 of the trajectory of liver_7"),
        (to_line(trajectory_of([])), "our own form"),
    ],
)
def test_a_file_that_cannot_be_read_says_why(tmp_path, content, words):
    with pytest.raises(InputError, match=rf"(?s)^file\.json: .*{words}"):
        read_official(written(tmp_path / "file.json", content))


def test_a_file_that_is_not_there_or_not_text(tmp_path):
    with pytest.raises(InputError, match="can't be read"):
        read_official(tmp_path / "nothing.json")
    (tmp_path / "picture.json").write_bytes(b"\x89PNG\xff\xff")
    with pytest.raises(InputError, match="isn't text"):
        read_official(tmp_path / "picture.json")
