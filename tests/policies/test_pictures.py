"""Rules for pictures: generated ones with the thing, without it, and of another kind."""

from __future__ import annotations

import gc
import time
import weakref

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import ndimage as ndi

from napari_ibisagent.core.masks import iou
from napari_ibisagent.core.target import Side
from napari_ibisagent.core.view import Plane, view_of
from napari_ibisagent.core.volume import Volume
from napari_ibisagent.policies.embedded.absent import Absent
from napari_ibisagent.policies.embedded.pictures.kinds import Kind, Sort, kind_of
from napari_ibisagent.policies.embedded.pictures.rules import Sighting, best_index, sees
from napari_ibisagent.policies.embedded.pictures.shapes import Ellipse

Picture = NDArray[np.uint8]
Mask = NDArray[np.bool_]
Drawn = tuple[Picture, Mask]


def seen(key: str, picture: Picture, side: Side = Side.NONE, modality: str = "") -> Sighting | Absent | None:
    volume = Volume.from_picture(picture, modality=modality)
    return sees(key, side, view_of(volume, Plane.AXIAL, 0), volume)


def kind(picture: Picture, modality: str = "") -> Kind:
    volume = Volume.from_picture(picture, modality=modality)
    return kind_of(view_of(volume, Plane.AXIAL, 0), volume)


def ellipse(shape: tuple[int, int], y: float, x: float, long: float, short: float, angle: float = 0.0) -> Mask:
    return Ellipse(y, x, long, short, angle).mask(shape)


def grey(values: NDArray[np.floating]) -> Picture:
    return np.asarray(np.clip(values, 0, 255), np.uint8)


def speckled(mean: NDArray[np.floating], rng: np.random.Generator) -> Picture:
    """Ultrasound: brightness times speckle that is wider than high."""
    waves = rng.normal(size=(2, *mean.shape))
    waves = np.stack([ndi.gaussian_filter(wave, (1.2, 3.0)) for wave in waves])
    speckle = np.hypot(*waves)
    return grey(mean * speckle / speckle.mean())


def fetal_ultrasound(seed: int = 0) -> Drawn:
    rng = np.random.default_rng(seed)
    shape = (360, 480)
    head = ellipse(shape, 180, 250, 120, 96, 0.3)
    skull = head & ~ellipse(shape, 180, 250, 110, 86, 0.3)
    mean = np.where(skull, 230.0, np.where(head, 35.0, 60.0))
    return speckled(ndi.gaussian_filter(mean, 1.5), rng), head


def breast_ultrasound(seed: int = 0) -> Drawn:
    rng = np.random.default_rng(seed)
    shape = (300, 400)
    mass = ellipse(shape, 130, 210, 60, 42, 0.1)
    return speckled(ndi.gaussian_filter(np.where(mass, 14.0, 105.0), 1.5), rng), mass


def skin(seed: int = 0, lesion: bool = True) -> Drawn:
    rng = np.random.default_rng(seed)
    shape = (300, 400)
    mole = ellipse(shape, 150, 190, 70, 50, 0.5) if lesion else np.zeros(shape, bool)
    base = np.where(mole[..., np.newaxis], (120, 70, 60), (225, 165, 150)).astype(float)
    noise = ndi.gaussian_filter(rng.normal(0, 25, shape), 1.5)[..., np.newaxis]
    return grey(ndi.gaussian_filter(base, (1.5, 1.5, 0)) + noise), mole


def fluorescence(seed: int = 0) -> Drawn:
    rng = np.random.default_rng(seed)
    shape = (256, 256)
    nuclei = np.zeros(shape, bool)
    for y in range(25, 240, 40):
        for x in range(25, 240, 40):
            nuclei |= ellipse(shape, y + rng.uniform(-6, 6), x + rng.uniform(-6, 6), 9, 7, rng.uniform(0, 3))
    return grey(ndi.gaussian_filter(np.where(nuclei, 170.0, 12.0), 1) + rng.normal(0, 3, shape)), nuclei


def chest(seed: int = 0) -> tuple[Picture, Mask, Mask]:
    rng = np.random.default_rng(seed)
    shape = (400, 400)
    left = ellipse(shape, 190, 115, 125, 55, np.pi / 2)
    right = ellipse(shape, 190, 285, 125, 52, np.pi / 2)
    ribs = 22 * (np.sin(np.arange(400) / 8.0) > 0.3)[:, np.newaxis]
    body = ellipse(shape, 260, 200, 330, 190, np.pi / 2)
    values = np.where(left | right, 90.0 + ribs, np.where(body, 185.0, 25.0)) + 25 * np.cos(np.linspace(-2, 2, 400))
    return grey(ndi.gaussian_filter(values, 4) + rng.normal(0, 2, shape)), left, right


def fundus(seed: int = 0) -> Drawn:
    rng = np.random.default_rng(seed)
    shape = (400, 400)
    field = ellipse(shape, 200, 200, 190, 190)
    disc = ellipse(shape, 195, 110, 24, 22)
    picture = np.where(field[..., np.newaxis], (170, 95, 45), 0).astype(float)
    picture[disc] = (250, 205, 130)
    rows, columns = np.mgrid[:400, :400]
    for bend in (-0.9, -0.45, 0.45, 0.9):
        along = np.clip(columns - 100, 0, None)
        vessel = (np.abs(rows - (195 + bend * 9 * np.sqrt(along + 1))) < 2.5) & field & (columns > 95)
        picture[vessel] = (110, 35, 25)
    picture = ndi.gaussian_filter(picture, (1, 1, 0)) + rng.normal(0, 2, (*shape, 1))
    return grey(picture * field[..., np.newaxis]), disc


def oct_scan(seed: int = 0, fluid: bool = True) -> Drawn:
    rng = np.random.default_rng(seed)
    shape = (300, 400)
    rows, columns = np.mgrid[:300, :400]
    top = 110 - 12 * np.exp(-(((columns - 200) / 80) ** 2))
    band, bright = (rows > top) & (rows < 185), (rows > 175) & (rows < 185)
    cyst = ellipse(shape, 140, 200, 22, 15, np.pi / 2) if fluid else np.zeros(shape, bool)
    mean = np.where(bright, 220.0, np.where(band & ~cyst, 110.0, 18.0))
    return grey(ndi.gaussian_filter(mean, 1) * rng.gamma(12, 1 / 12, shape) + rng.uniform(0, 4, shape)), cyst


def flair(seed: int = 0, tumour: bool = True) -> Drawn:
    rng = np.random.default_rng(seed)
    shape = (240, 200)
    head, brain = ellipse(shape, 120, 100, 105, 82, np.pi / 2), ellipse(shape, 120, 100, 90, 68, np.pi / 2)
    skull = ellipse(shape, 120, 100, 97, 75, np.pi / 2) & ~brain
    lesion = ellipse(shape, 95, 68, 22, 17) if tumour else np.zeros(shape, bool)
    mean = np.where(lesion, 215.0, np.where(brain, 105.0, np.where(skull, 8.0, np.where(head, 170.0, 0.0))))
    texture = 10 * ndi.gaussian_filter(rng.normal(size=shape), 3)
    texture = texture + texture[:, ::-1]
    return grey(ndi.gaussian_filter(mean, 1) + (texture * 3 + rng.normal(0, 2, shape)) * head), lesion


@pytest.mark.parametrize(
    ("key", "drawn", "sort", "least"),
    [
        ("fetal_head", fetal_ultrasound(), Sort.ULTRASOUND, 0.8),
        ("breast_tumor", breast_ultrasound(), Sort.ULTRASOUND, 0.75),
        ("skin_lesion", skin(), Sort.DERMOSCOPY, 0.8),
        ("nucleus", fluorescence(), Sort.FLUORESCENCE, 0.75),
        ("optic_disc", fundus(), Sort.FUNDUS, 0.6),
        ("retinal_fluid", oct_scan(), Sort.OCT, 0.6),
        ("brain_tumor", flair(), Sort.BRAIN, 0.75),
    ],
)
def test_what_is_there_is_seen_in_a_picture_of_its_kind(key: str, drawn: Drawn, sort: Sort, least: float) -> None:
    picture, truth = drawn
    assert kind(picture).sort is sort
    found = seen(key, picture)
    assert isinstance(found, Sighting), found
    assert found.mask.shape == truth.shape
    assert iou(found.mask, truth) >= least
    assert 0 < found.sure < 1
    assert found.facts


def test_the_lungs_of_a_radiograph_are_told_by_the_usual_way_of_showing_it() -> None:
    picture, at_left, at_right = chest()
    assert kind(picture).sort is Sort.CHEST
    both, left, right = (seen("lung", picture, side) for side in (Side.BOTH, Side.LEFT, Side.RIGHT))
    assert isinstance(both, Sighting)
    assert isinstance(left, Sighting)
    assert isinstance(right, Sighting)
    assert iou(both.mask, at_left | at_right) > 0.85
    assert iou(left.mask, at_right) > 0.85
    assert iou(right.mask, at_left) > 0.85
    assert left.sure < both.sure
    assert any("doesn't say which side" in fact for fact in left.facts)


PICTURES = {
    "ultrasound": fetal_ultrasound()[0],
    "breast": breast_ultrasound()[0],
    "skin": skin()[0],
    "fluorescence": fluorescence()[0],
    "chest": chest()[0],
    "fundus": fundus()[0],
    "oct": oct_scan()[0],
    "brain": flair()[0],
}
OWN = {
    "fetal_head": {"ultrasound"},
    "breast_tumor": {"breast"},
    "skin_lesion": {"skin"},
    "nucleus": {"fluorescence"},
    "lung": {"chest"},
    "optic_disc": {"fundus"},
    "optic_cup": {"fundus"},
    "retinal_fluid": {"oct"},
    "brain_tumor": {"brain"},
    "brain": {"brain"},
    "polyp": set(),
    "spinal_cord": set(),
    "thalamus": set(),
    "hot_spot": set(),
}


@pytest.mark.parametrize("key", sorted(OWN))
@pytest.mark.parametrize("name", sorted(PICTURES))
def test_nothing_is_seen_in_a_picture_of_another_kind(key: str, name: str) -> None:
    if name in OWN[key]:
        pytest.skip("the picture shows it")
    found = seen(key, PICTURES[name])
    assert isinstance(found, Absent), found
    assert found.reason.endswith(".")


@pytest.mark.parametrize(
    ("key", "picture"),
    [
        ("skin_lesion", skin(lesion=False)[0]),
        ("retinal_fluid", oct_scan(fluid=False)[0]),
        ("brain_tumor", flair(tumour=False)[0]),
    ],
)
def test_a_healthy_picture_of_the_right_kind_shows_none(key: str, picture: Picture) -> None:
    assert isinstance(seen(key, picture), Absent)


@pytest.mark.parametrize("key", sorted(OWN))
@pytest.mark.parametrize("modality", ["", "MR", "US", "DX", "OP", "ES"])
def test_noise_and_emptiness_show_nothing(key: str, modality: str) -> None:
    rng = np.random.default_rng(3)
    noise = np.asarray(rng.integers(0, 256, (200, 220)), np.uint8)
    for picture in (noise, np.full((200, 220), 90, np.uint8), noise[:3, :5]):
        assert isinstance(seen(key, picture, modality=modality), Absent | None)


def test_the_reason_names_the_kind_that_is_seen_and_the_one_that_is_needed() -> None:
    found = seen("polyp", PICTURES["ultrasound"])
    assert isinstance(found, Absent)
    assert found.reason == "This looks like an ultrasound picture; the polyp is seen by endoscopy."
    found = seen("liver", PICTURES["fundus"])
    assert isinstance(found, Absent)
    assert found.reason == "This looks like a picture of the back of an eye; that doesn't show the liver."


def test_a_name_without_a_rule_is_left_to_others() -> None:
    assert seen("liver", PICTURES["brain"]) is None
    assert seen("no_such_thing", PICTURES["chest"]) is None


def test_a_ct_in_hounsfield_units_is_left_to_the_rules_for_ct() -> None:
    values = np.full((60, 60), -1000, np.int16)
    values[10:50, 10:50] = 40
    volume = Volume.from_picture(values, modality="CT")
    view = view_of(volume, Plane.AXIAL, 0)
    assert kind_of(view, volume).sort is Sort.CT
    assert sees("lung", Side.NONE, view, volume) is None or isinstance(sees("lung", Side.NONE, view, volume), Absent)
    assert isinstance(sees("polyp", Side.NONE, view, volume), Absent)


@pytest.mark.parametrize("side", [128, 2048])
def test_small_and_large_pictures_are_seen_alike(side: int) -> None:
    picture, truth = skin()
    zoom = side / 400
    sized = grey(ndi.zoom(picture.astype(float), (zoom, zoom, 1), order=1))
    goal = ndi.zoom(truth.astype(float), zoom, order=1) > 0.5
    found = seen("skin_lesion", sized)
    assert isinstance(found, Sighting), found
    assert iou(found.mask, np.asarray(goal)) > 0.75


def test_a_view_takes_less_than_a_third_of_a_second() -> None:
    picture = grey(ndi.zoom(fetal_ultrasound()[0].astype(float), 512 / 480, order=1))
    seen("fetal_head", picture)
    start = time.process_time()
    seen("fetal_head", picture)
    assert time.process_time() - start < 0.6  # twice the aim, since test machines are busy


def test_the_last_answer_is_remembered_for_its_scan_alone() -> None:
    picture, _ = fetal_ultrasound()
    volume, other = Volume.from_picture(picture), Volume.from_picture(picture[::-1].copy())
    first = sees("fetal_head", Side.NONE, view_of(volume, Plane.AXIAL, 0), volume)
    assert sees("fetal_head", Side.NONE, view_of(volume, Plane.AXIAL, 0), volume) is first
    turned = sees("fetal_head", Side.NONE, view_of(other, Plane.AXIAL, 0), other)
    assert isinstance(first, Sighting) and isinstance(turned, Sighting)
    assert iou(turned.mask, first.mask[::-1]) > 0.9 > iou(turned.mask, first.mask)
    assert sees("polyp", Side.NONE, view_of(volume, Plane.AXIAL, 0), volume) is not first
    gone = weakref.ref(volume)
    del volume
    gc.collect()
    assert gone() is None  # what is remembered keeps no scan alive


def test_one_lucky_slice_is_no_evidence() -> None:
    assert isinstance(best_index("brain_tumor", Side.NONE, stack(range(5, 6)), Plane.AXIAL), Absent)


def stack(with_tumour: range) -> Volume:
    slices = [flair(seed, seed in with_tumour)[0] for seed in range(12)]
    affine = np.diag([-1.0, -1.0, -5.0, 1.0])
    return Volume.from_source(np.stack(slices).transpose(2, 1, 0), affine, modality="MR")


def test_the_slice_with_most_evidence_lies_where_the_tumour_is() -> None:
    index = best_index("brain_tumor", Side.NONE, stack(range(4, 8)), Plane.AXIAL)
    assert isinstance(index, int)
    assert 4 <= index < 8


def test_a_stack_without_the_thing_is_absent_and_without_a_rule_none() -> None:
    healthy = stack(range(0))
    assert isinstance(best_index("brain_tumor", Side.NONE, healthy, Plane.AXIAL), Absent)
    assert best_index("liver", Side.NONE, healthy, Plane.AXIAL) is None


@settings(max_examples=15, deadline=None)
@given(
    key=st.sampled_from(sorted(OWN)),
    height=st.integers(1, 70),
    width=st.integers(1, 70),
    colour=st.booleans(),
    seed=st.integers(0, 1000),
)
def test_any_picture_is_answered(key: str, height: int, width: int, colour: bool, seed: int) -> None:
    rng = np.random.default_rng(seed)
    shape = (height, width, 3) if colour else (height, width)
    smooth = ndi.gaussian_filter(rng.normal(size=shape), rng.uniform(0, 4))
    picture = grey(127 + 100 * smooth / max(float(np.abs(smooth).max()), 1e-6))
    found = seen(key, picture)
    if isinstance(found, Sighting):
        assert found.mask.shape == (height, width)
        assert found.mask.any()
