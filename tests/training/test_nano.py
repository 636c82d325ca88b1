"""The nano agent before it has learned: made-up anatomy, what is asked of it, its words, its checkpoint."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("torch", reason="the extra models is not installed")
pytest.importorskip("transformers", reason="the extra models is not installed")

from napari_ibisagent import registry
from napari_ibisagent.core.dialects import ibis
from napari_ibisagent.core.episode import Prompted, begin
from napari_ibisagent.core.errors import UnknownNameError
from napari_ibisagent.core.overlay import grey_picture
from napari_ibisagent.core.protocols import Situation
from napari_ibisagent.policies.qwen_vl import PROMPTS
from napari_ibisagent.training.arena import flat
from napari_ibisagent.training.nano.anatomy import ABDOMEN, CHEST, NAMES, SIDE, make_slice
from napari_ibisagent.training.nano.model import SIZE, TEMPLATES, tokenizer, write_untrained
from napari_ibisagent.training.nano.tasks import Invented, units
from napari_ibisagent.training.trajectories.simulate import Recipe, sampled, simulate

# Every number of two digits, as often as a word has to come.
NUMBERS = [f"{number:02d}" for number in range(100)] * 3

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning")


@pytest.fixture(scope="module")
def slices():
    return [make_slice(np.random.default_rng([7, number])) for number in range(150)]


@pytest.fixture(scope="module")
def words():
    """The tokenizer of some real trajectories."""
    return tokenizer([*texts(), *NUMBERS])


def texts(count=40):
    tool = registry.load("segmenters", "geodesic")
    for exercise in Invented(0, count).exercises():
        plan = sampled(exercise, Recipe(), np.random.default_rng(0))
        for step in simulate(exercise, tool, Recipe(most=3, decimals=2, brief=True), plan).steps:
            yield ibis.render(step.turn)
        yield exercise.prompt


def columns(made, name):
    return np.nonzero(made.structures[name])[1].mean()


@pytest.mark.parametrize("organ", ["kidney", "lung"])
def test_the_patients_right_is_on_the_pictures_left(slices, organ):
    right, left = f"right {organ}", f"left {organ}"
    both = [made for made in slices if right in made.structures and left in made.structures]
    assert len(both) > 10
    assert all(columns(made, right) < columns(made, left) for made in both)


def test_organs_lie_on_their_side(slices):
    for name, on_the_left in (("liver", True), ("spleen", False), ("stomach", False)):
        found = [columns(made, name) < SIDE / 2 for made in slices if name in made.structures]
        assert len(found) > 20 and np.mean([side == on_the_left for side in found]) > 0.9, name


def test_structures_share_no_pixel_and_are_large_enough_to_be_seen(slices):
    for made in slices:
        assert made.image.shape == (SIDE, SIDE) and made.image.dtype == np.uint8
        masks = list(made.structures.values())
        assert masks and all(mask.shape == (SIDE, SIDE) and mask.dtype == bool for mask in masks)
        assert np.sum(masks, axis=0).max() == 1
        assert min(np.count_nonzero(mask) for mask in masks) >= 24


def test_lesions_lie_in_what_was_their_organ(slices):
    """Most of what is round a lesion is its organ."""
    from scipy import ndimage as ndi

    for name, homes in (("liver lesion", ("liver",)), ("lung nodule", ("right lung", "left lung"))):
        found = [made for made in slices if name in made.structures]
        assert len(found) > 5, name
        for made in found:
            ring = ndi.binary_dilation(made.structures[name], iterations=2) & ~made.structures[name]
            organ = np.any([made.structures[home] for home in homes if home in made.structures], axis=0)
            assert (ring & organ).sum() > 0.5 * ring.sum()


def test_a_slice_is_of_the_chest_or_of_the_abdomen(slices):
    kinds = {tuple(sorted(name for name in made.structures if name not in ("spine", "aorta"))) for made in slices}
    assert len(kinds) > 20
    only = {organ.name for organ in CHEST} ^ {organ.name for organ in ABDOMEN}
    for made in slices:
        shown = only & set(made.structures)
        assert shown <= {o.name for o in CHEST} or shown <= {o.name for o in ABDOMEN}
    assert set().union(*(made.structures for made in slices)) == set(NAMES)


def same(one, other):
    assert (one.name, one.prompt, one.target, one.kind, one.given) == (
        *(other.name, other.prompt, other.target, other.kind, other.given),
    )
    assert np.array_equal(one.view.image, other.view.image) and np.array_equal(one.truth, other.truth)
    assert one.wrong.keys() == other.wrong.keys()


def test_an_exercise_depends_on_its_number_alone():
    made = Invented(0, 30, seed=5, wrongly_given=0.5)
    in_order = list(made.exercises())
    for number in (29, 3, 17):
        same(made.exercise(number), in_order[number])
        same(Invented(number, 1, seed=5, wrongly_given=0.5).exercise(number), in_order[number])
    assert not np.array_equal(made.exercise(0).view.image, Invented(0, 1, seed=6).exercise(0).view.image)
    assert len({one.name for one in in_order}) == 30


def test_a_prone_patient_is_turned_half_round():
    usual, prone = (Invented(0, 1, seed=5, prone=prone).exercise(3) for prone in (False, True))
    assert (usual.prompt, usual.target) == (prone.prompt, prone.target)
    assert np.array_equal(np.rot90(usual.view.image, 2), prone.view.image)
    assert np.array_equal(np.rot90(usual.truth, 2), prone.truth) and usual.wrong.keys() == prone.wrong.keys()
    assert all(np.array_equal(np.rot90(usual.wrong[name], 2), mask) for name, mask in prone.wrong.items())


def test_portions_are_all_of_it():
    portions = units(120, 3)
    assert [portion.count for portion in portions] == [50, 50, 20]
    assert len({portion.name for portion in portions}) == 3
    same(list(portions[2].exercises())[-1], Invented(0, 120, 3).exercise(119))


def test_what_is_asked_for_is_shown_or_absent():
    made = list(Invented(0, 300, wrongly_given=0.3).exercises())
    absent = [one for one in made if not one.truth.any()]
    assert 0.08 < len(absent) / len(made) < 0.22
    assert {one.kind for one in made} == {"referring", "reasoning", "absent"}
    assert all((one.kind == "absent") == (not one.truth.any()) for one in made)
    for one in made:
        assert one.target not in one.wrong and not any((mask & one.truth).any() for mask in one.wrong.values())
        if one.given is not None:
            assert one.truth.any() and not (one.given.array() & one.truth).any()
    assert 20 < sum(one.given is not None for one in made) < 120
    with pytest.raises(UnknownNameError, match=r"No made-up slice shows 'pancreas'. Known are: .*liver"):
        Invented(0, 1, only=("liver", "pancreas"))
    chosen = Invented(0, 40, only=("liver", "spleen"))
    assert {one.target for one in chosen.exercises()} == {"liver", "spleen"}


def test_the_windowed_picture_is_the_slice():
    one = Invented(0, 1).exercise(0)
    assert np.array_equal(grey_picture(one.view.image, one.window)[:, :, 0], one.view.image)


# -- words ---------------------------------------------------------------------------------------------------


@settings(max_examples=300, deadline=None)
@given(text=st.text(st.characters(codec="utf-8", exclude_characters="<"), max_size=60))
def test_any_text_can_be_read_and_written(words, text):
    ids = words(text, add_special_tokens=False)["input_ids"]
    assert words.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False) == text
    assert words.unk_token_id is None or words.unk_token_id not in ids


def test_an_answer_takes_few_tokens(words):
    answers = [text for text in texts() if "<action>" in text]
    lengths = [len(words(text)["input_ids"]) for text in answers]
    assert max(lengths) <= 48 and np.mean(lengths) < 30
    assert all(words.decode(words(text)["input_ids"]) == text for text in answers)
    click = words("<think>a</think><action>Positive Point (0.4200, 0.4200)</action>")["input_ids"]
    pieces = [words.decode([token]) for token in click]
    form = ["</think><action>", "Positive", " Point", " ", "(0.", "42", "00", ", 0.", "42", "00", ")", "</action>"]
    assert pieces[-len(form) :] == form


def test_the_same_texts_make_the_same_words(words):
    again = tokenizer([*texts(), *NUMBERS])
    assert again.get_vocab() == words.get_vocab()


# -- checkpoint ----------------------------------------------------------------------------------------------


def test_the_untrained_checkpoint_opens_as_a_policy(tmp_path):
    small = replace(SIZE, hidden=48, layers=1, heads=2, key_heads=2, intermediate=64, eye=32, eye_layers=1, eye_heads=2,
                    eye_intermediate=48, full_layers=(0,))  # fmt: skip
    folders = [write_untrained(tmp_path / str(n), list(texts(10)), seed=0, size=small) for n in range(2)]
    assert (folders[0] / "model.safetensors").read_bytes() == (folders[1] / "model.safetensors").read_bytes()
    assert json.loads((folders[0] / "preprocessor_config.json").read_text("utf-8"))["max_pixels"] == 262_144
    policy = registry.load(
        *("policies", "qwen_vl"), folder=str(folders[0]), device="cpu", max_new_tokens=8, max_pixels=112 * 112
    )
    exercise = Invented(0, 1).exercise(0)
    view = exercise.view
    episode = begin(Prompted(exercise.prompt, view.plane, view.index, view.shape))
    look = lambda _: grey_picture(view.image, exercise.window)  # noqa: E731
    "".join(policy.act(Situation(episode, flat(exercise), view, look)))
    read = policy.opened.tokenizer.decode(policy.reader._known.ids)
    assert f"user\n1 {exercise.prompt}<|vision_start|>" in read
    (shown,) = policy.reader._known.pictures
    assert shown.count == (SIDE // 14) ** 2
    assert (folders[0] / PROMPTS).is_file() and TEMPLATES.first == "$step $prompt"


def test_the_real_size():
    from napari_ibisagent.evaluation.bench.random_models import random_qwen

    words = tokenizer(list(texts(10)))
    model = random_qwen(SIZE, words)
    assert 2e6 < sum(parameter.numel() for parameter in model.parameters()) < 4e6
