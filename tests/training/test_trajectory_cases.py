"""From scans and masks to exercises: which slices, which views, which words."""

from __future__ import annotations

import json
import pickle
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image
from scans_maker import TARGETS, small_phantom, write_manifest, write_scan

from napari_ibisagent.core.errors import InputError
from napari_ibisagent.core.knowledge import resolve
from napari_ibisagent.core.view import Plane, slice_of
from napari_ibisagent.core.window import CT_PRESETS, Window
from napari_ibisagent.evaluation.runner import Skipped
from napari_ibisagent.io.knowledge import load_knowledge
from napari_ibisagent.training.trajectories.asking import Asking, kind_of_picture, phrasings
from napari_ibisagent.training.trajectories.cases import EMPTY, NARROW, TINY, CaseUnit, Slices, cases_of
from napari_ibisagent.training.trajectories.exercises import Exercise, LeftOut
from napari_ibisagent.training.trajectories.truths import Truth, chosen_slices, planes_shown

ALL = tuple(Plane)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    return write_scan(tmp_path_factory.mktemp("scan"))


def unit(inputs, slices=Slices(2), asking=Asking(), **said):  # noqa: B008  (frozen)
    (case,) = cases_of(inputs, **said)
    return CaseUnit(case, slices, asking=asking)


def picture(folder, name, array):
    path = folder / name
    Image.fromarray(array).save(path)
    return path


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, 50), min_size=1, max_size=40), st.integers(1, 6))
def test_slices_show_enough_and_the_fullest_is_among_them(areas, count):
    areas = np.array(areas)
    found = chosen_slices(areas, count)
    assert found == tuple(sorted(set(found))) and len(found) <= count
    if areas.any():
        assert areas[list(found)].max() == areas.max() and (areas[list(found)] >= 0.25 * areas.max()).all()
    else:
        assert found == ()


@settings(max_examples=40, deadline=None)
@given(arrays(bool, st.tuples(*[st.integers(1, 6)] * 3)))
def test_a_truth_gives_every_slice_back(mask):
    if not mask.any():
        with pytest.raises(ValueError, match="empty"):
            Truth.of(mask)
        return
    whole = Truth.of(mask)
    for plane in Plane:
        areas = whole.areas(plane)
        for index, area in enumerate(areas):
            expected, found = slice_of(mask, plane, index), whole.slice(plane, index)
            assert area == np.count_nonzero(expected)
            assert (found is None and area == 0) or (found == expected).all()


def test_a_single_slice_has_one_plane():
    assert planes_shown((1, 50, 60), ALL) == planes_shown((1, 50, 60), (Plane.SAGITTAL,)) == (Plane.AXIAL,)
    assert planes_shown((50, 60, 1), (Plane.AXIAL,)) == (Plane.SAGITTAL,)
    assert planes_shown((9, 50, 60), ALL) == ALL


def test_views_of_all_planes_are_square_and_their_truth_is_the_mask(files):
    scan, masks = files
    found = list(unit([scan, *masks.values()], Slices(2, ALL)).exercises())
    assert len(found) == 3 * 3 * 2 and all(isinstance(item, Exercise) for item in found)
    made = small_phantom()
    for item in found:
        plane, index = Plane(item.source.plane), item.source.index
        expected = slice_of(made.mask(item.target), plane, index)
        assert (item.view.to_native(item.truth) == expected).all(), item.name
        assert item.view.shape == ((100, 100) if plane is Plane.AXIAL else (60, 100))
        assert item.window == CT_PRESETS["abdomen"] and item.source.window == (40.0, 400.0)
        assert item.source.image == str(scan) and item.source.mask == str(masks[item.target])
        assert item.source.modality == "CT" and item.prompt == f"segment the {item.target}"
        assert not (item.wrong["the other side"] & item.truth).any() if "the other side" in item.wrong else True
    assert {name for item in found for name in item.wrong} >= {"liver", "left kidney", "spleen"}
    assert len({item.name for item in found}) == len(found)
    assert pickle.loads(pickle.dumps(unit([scan, *masks.values()]))).name == "scan"


def test_what_is_the_same_thing_under_another_name_is_no_mistake(files, tmp_path):
    scan, masks = files
    twin = tmp_path / "hepar.nii.gz"
    twin.write_bytes(masks["liver"].read_bytes())
    for item in unit([scan, masks["liver"], twin]).exercises():
        assert set(item.wrong) <= {"the other side"}


def test_words_are_further_sentences_on_the_same_view(files):
    scan, masks = files
    asking = Asking(words=3, seed=5)
    found = list(unit([scan, masks["left kidney"]], Slices(1), asking).exercises())
    assert [item.kind for item in found] == ["referring", "reasoning", "referring", "reasoning"]
    assert len({item.view for item in found}) == 1 and len({item.name for item in found}) == 4
    for item in found:
        target = resolve(item.prompt, load_knowledge()).target
        assert target is not None and target.full_name == "left kidney", item.prompt
    assert [item.prompt for item in found] == [
        item.prompt for item in unit([scan, masks["left kidney"]], Slices(1), asking).exercises()
    ]
    other = unit([scan, masks["left kidney"]], Slices(1), replace(asking, seed=6)).exercises()
    assert [item.prompt for item in other][1:] != [item.prompt for item in found][1:]


def test_a_name_that_nobody_knows_is_only_named():
    told = list(phrasings("left flobulus", 4, load_knowledge(), np.random.default_rng(0)))
    assert [kind for kind, _ in told] == ["referring"] * 4 and all("flobulus" in text.lower() for _, text in told)


def test_absent_targets_are_not_on_their_slice(files):
    scan, masks = files
    (whole,) = cases_of([scan, *masks.values()])
    asked = [
        item for item in CaseUnit(whole, Slices(3), asking=Asking(absent=12)).exercises() if "absent-" in item.name
    ]
    assert len(asked) == 12 and {item.kind for item in asked} == {"absent"}
    made = small_phantom()
    known = {item.target for item in asked} & set(TARGETS)
    assert known, "a target that its mask leaves empty on the slice is asked for"
    for item in asked:
        assert not item.truth.any() and item.truth.shape == item.view.shape and item.source.mask == ""
        if item.target in TARGETS:
            assert not slice_of(made.mask(item.target), Plane.AXIAL, item.source.index).any()
        else:
            structure = resolve(f"segment the {item.target}", load_knowledge()).structure
            assert structure is not None and not {"chest", "abdomen", "pelvis"} & set(structure.regions), item.target


def test_plain_questions_ask_for_nothing(files):
    scan, masks = files
    found = list(unit([scan, masks["liver"]], Slices(1), Asking(plain=5)).exercises())
    plain = [item for item in found if item.kind == "plain"]
    assert len(plain) == 5 and all(item.answer and not item.truth.any() and not item.target for item in plain)
    assert all(resolve(item.prompt, load_knowledge()).target is None for item in plain)


def test_an_empty_mask_is_told_or_asked_for_as_absent(files, tmp_path):
    scan, masks = files
    import nibabel as nib

    empty = tmp_path / "gallbladder.nii.gz"
    image = nib.load(masks["liver"])
    nib.save(nib.Nifti1Image(np.zeros(image.shape, np.uint8), image.affine), empty)
    assert list(unit([scan, empty]).exercises()) == [Skipped("scan", "gallbladder", EMPTY)]
    asked = list(unit([scan, empty], asking=Asking(absent=3)).exercises())
    assert {type(item) for item in asked} <= {Exercise, LeftOut} and len(asked) == 3
    assert {item.target for item in asked if isinstance(item, Exercise)} == {"gallbladder"}


def test_colour_pictures_have_no_window_and_keep_their_colours(tmp_path):
    rng = np.random.default_rng(0)
    colours = rng.integers(0, 255, (90, 70, 3), np.uint8)
    mask = np.zeros((90, 70), np.uint8)
    mask[20:50, 10:40] = 255
    found = list(
        unit([picture(tmp_path, "skin.png", colours), picture(tmp_path, "mole.png", mask)], Slices(3, ALL)).exercises()
    )
    assert [item.name for item in found] == ["skin/mole/axial-0/referring"]
    assert found[0].window is None and found[0].source.window is None
    assert (found[0].view.image == colours).all() and (found[0].truth == (mask > 0)).all()
    small = list(unit([tmp_path / "skin.png", tmp_path / "mole.png"], Slices(1, longest=45)).exercises())
    assert small[0].view.image.shape == (45, 35, 3) and small[0].truth.shape == (45, 35)


def test_what_is_too_small_to_be_seen_is_left_out_with_a_reason(tmp_path):
    grey = np.zeros((400, 400), np.uint8)
    dot = grey.copy()
    dot[100, 100] = 1
    scan, mask = picture(tmp_path, "a.png", grey), picture(tmp_path, "dot.png", dot)
    assert list(unit([scan, mask], Slices(longest=64)).exercises()) == [LeftOut("a/dot/axial-0", TINY)]
    assert len(list(unit([scan, mask], Slices(longest=512)).exercises())) == 1
    thin = np.ones((300, 8), np.uint8)
    scan, mask = picture(tmp_path, "b.png", thin), picture(tmp_path, "line.png", thin)
    assert list(unit([scan, mask]).exercises()) == [LeftOut("b/line/axial-0", NARROW)]


def test_a_window_can_be_chosen(files):
    scan, masks = files
    (case,) = cases_of([scan, masks["liver"]])
    (item, *_) = CaseUnit(case, Slices(1), CT_PRESETS["lung"]).exercises()
    assert item.window == Window(-600, 1500) and item.source.window == (-600.0, 1500.0)


def test_cases_of_a_manifest_or_of_files(tmp_path, files):
    scan, masks = files
    manifest = write_manifest(tmp_path / "m", 2)
    assert [case.name for case in cases_of([manifest])] == ["case-0", "case-1"]
    (case,) = cases_of([scan, masks["left kidney"]])
    assert [(task.target, task.prompt) for task in case.tasks] == [("left kidney", "segment the left kidney")]
    (case,) = cases_of([scan, masks["liver"]], " spleen ", "where is it?")
    assert [(task.target, task.prompt) for task in case.tasks] == [("spleen", "where is it?")]


@pytest.mark.parametrize(
    ("inputs", "said", "words"),
    [
        (["scan.nii.gz"], {}, "there is no mask"),
        (["gone.nii.gz", "liver.nii.gz"], {}, "no file"),
        (["scan.nii.gz", "liver.nii.gz", "spleen.nii.gz"], {"target": "liver"}, "one mask"),
        (["scan.nii.gz", "liver.nii.gz", "b/liver.nii.gz"], {}, "Two masks"),
        (["scan.nii.gz", "_.nii.gz"], {}, "says nothing"),
        (["twice.json"], {}, "have the id 'a'"),
        (["twice.json"], {"prompt": "x"}, "a manifest has its own"),
        (["gone.json"], {}, "can't be read"),
    ],
)
def test_what_makes_no_case(tmp_path, inputs, said, words):
    (tmp_path / "b").mkdir()
    for name in ("scan.nii.gz", "liver.nii.gz", "spleen.nii.gz", "b/liver.nii.gz", "_.nii.gz"):
        (tmp_path / name).write_bytes(b"anything")
    (tmp_path / "twice.json").write_text(json.dumps({"cases": [{"id": "a"}, {"id": "a"}]}))
    with pytest.raises(InputError, match=words):
        cases_of([tmp_path / name for name in inputs], **said)


def test_names_on_a_disk_need_not_be_text(tmp_path, files):
    scan, masks = files
    odd = tmp_path / "Ünïcode [x] \udcff.nii.gz"
    try:
        odd.write_bytes(scan.read_bytes())
    except (OSError, UnicodeError):
        pytest.skip("this disk takes names of text only")
    (case,) = cases_of([odd, masks["liver"]])
    assert case.name == "Ünïcode [x] ?"
    (item, *_) = CaseUnit(case, Slices(1)).exercises()
    assert item.source.image.encode().decode().endswith("Ünïcode [x] ?.nii.gz")


def test_the_same_name_twice_gets_a_number(files):
    scan, masks = files
    (case,) = cases_of([scan, masks["liver"]])
    doubled = replace(case, tasks=(*case.tasks, *case.tasks))
    names = Counter(item.name for item in CaseUnit(doubled, Slices(1)).exercises())
    assert sorted(names.values()) == [1, 1] and any(name.endswith("referring-2") for name in names)


@pytest.mark.parametrize(
    ("said", "kind"),
    [
        (("", "MR FLAIR (+T1c)"), "MR"),
        (("CT", "X-ray"), "CT"),
        (("", "colour fundus"), "fundus"),
        (("CR", ""), "XR"),
        (("", "label map (CT)"), ""),
        (("", "ultrasound"), "US"),
        (("", ""), ""),
    ],
)
def test_kinds_of_pictures(said, kind):
    assert kind_of_picture(*said) == kind
