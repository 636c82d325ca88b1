"""SAM and SAM 2 as click tools, with tiny models of the real classes: random weights, loaded as real ones are."""

from __future__ import annotations

import json
import pickle
import re
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

from PIL import Image  # noqa: E402
from tiny_sam import SIDE, write_sam, write_sam2  # noqa: E402

from napari_ibisagent import registry  # noqa: E402
from napari_ibisagent.agent.runner import Stage, run  # noqa: E402
from napari_ibisagent.core.actions import Box, Click  # noqa: E402
from napari_ibisagent.core.episode import Failed, Prompted, begin  # noqa: E402
from napari_ibisagent.core.errors import BackendError, InputError, UnknownNameError  # noqa: E402
from napari_ibisagent.core.masks import iou  # noqa: E402
from napari_ibisagent.core.overlay import grey_picture  # noqa: E402
from napari_ibisagent.core.view import Plane, View, view_of  # noqa: E402
from napari_ibisagent.core.volume import Volume  # noqa: E402
from napari_ibisagent.core.window import CT_PRESETS  # noqa: E402
from napari_ibisagent.policies import scripted  # noqa: E402
from napari_ibisagent.segmenters import _official_sam2, _torch_runs, sam, sam2  # noqa: E402
from napari_ibisagent.segmenters._preprocess import medsam_pixels, picture_of, sam2_pixels, sam_pixels  # noqa: E402
from napari_ibisagent.segmenters._sam_logits import logits_of_mask, mask_of_logits  # noqa: E402
from napari_ibisagent.segmenters._sam_prompts import fitted, prompt_arrays, stretched  # noqa: E402

MODULES = {"sam": sam, "sam2": sam2}
CLICKS = (Click(0.5, 0.52, True), Click(0.05, 0.05, False), Click(0.9, 0.8, True))
BOX = Box(0.2, 0.3, 0.7, 0.8)


@pytest.fixture(scope="session")
def folders(tmp_path_factory):
    """{tool: the folder with its tiny weights}."""
    root = tmp_path_factory.mktemp("tiny")
    write_sam(root / "sam")
    write_sam2(root / "sam2")
    return {name: root / name for name in MODULES}


@pytest.fixture(params=MODULES)
def name(request):
    return request.param


@pytest.fixture
def load(folders, name):
    """Builds the tool with options, from its folder unless another one is named."""

    def build(**options):
        return MODULES[name].build(**{"folder": str(folders[name]), "device": "cpu"} | options)

    return build


def scene(shape=(96, 80), seed=0):
    """A colour view with large smooth shapes."""
    small = (np.random.default_rng(seed).random((6, 5, 3)) * 255).astype(np.uint8)
    picture = np.asarray(Image.fromarray(small).resize(shape[::-1], Image.Resampling.BICUBIC))
    return View(picture.copy(), Plane.AXIAL, 0, shape, None)


def same(one, other):
    return np.array_equal(one.mask, other.mask) and one.score == other.score


class Spy:
    """A model that notes with what it is asked, and can be told to fail."""

    def __init__(self, model):
        self._model = model
        self.encoded, self.asked, self.error = [], [], None

    def __getattr__(self, name):
        return getattr(self._model, name)

    def encode(self, pixels):
        if self.error is not None:
            raise self.error
        self.encoded.append(len(pixels))
        return self._model.encode(pixels)

    def decode(self, embedding, prompts, before, three):
        if self.error is not None:
            raise self.error
        self.asked.append((len(prompts.points), prompts.box is not None, before, three))
        return self._model.decode(embedding, prompts, before, three)


def spied(tool):
    tool.model = Spy(tool.model)
    return tool.model


# -- what it needs ---------------------------------------------------------------------------------------------


def test_without_weights_the_user_is_told_what_to_type(name):
    with pytest.raises(InputError, match=rf"{name} needs weights.*ibisagent models fetch"):
        registry.load("segmenters", name)
    assert "ibisagent models fetch" in registry.why_not("segmenters", name)


def test_without_torch_the_user_is_told_what_to_install(name, monkeypatch, folders):
    monkeypatch.setattr(_torch_runs.importlib.util, "find_spec", lambda _: None)
    assert "pip install 'napari-ibisagent[models]'" in registry.why_not("segmenters", name)
    with pytest.raises(BackendError, match=f"{name} can't run here: torch and transformers aren't installed"):
        registry.load("segmenters", name, folder=str(folders[name]))


def test_a_profile_gives_the_tool_its_name(load):
    assert load(name="medsam-vit-b").name == "medsam-vit-b"


@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (7, 3), (33, 70), (300, 40)])
def test_views_of_any_shape(load, shape):
    opened = load().open(scene(shape))
    for prompts in (CLICKS, (BOX,), (*CLICKS, BOX)):
        assert opened.segment(prompts, np.ones(shape, bool)).mask.shape == shape


@pytest.mark.parametrize("dtype", [bool, np.int8, np.uint16, np.float16, np.float64])
def test_views_of_any_type(load, dtype):
    values = (np.arange(600).reshape(20, 30) % 100).astype(dtype)
    if values.dtype.kind == "f":
        values[0, :3] = np.nan, np.inf, -np.inf
    kept = values.copy()
    found = load().open(View(values, Plane.AXIAL, 0, values.shape, None)).segment(CLICKS, None)
    assert found.mask.shape == (20, 30) and np.array_equal(values, kept, equal_nan=values.dtype.kind == "f")


def test_the_tool_sees_the_picture_that_the_policy_sees():
    view = View(np.linspace(-1000, 1000, 400).reshape(20, 20).astype(np.int16), Plane.AXIAL, 0, (20, 20), 1.0, "CT")
    assert np.array_equal(picture_of(view), grey_picture(view.image, CT_PRESETS["abdomen"]))
    dark = picture_of(View(np.full((4, 4), np.nan), Plane.AXIAL, 0, (4, 4), None))
    assert dark.shape == (4, 4, 3) and len(np.unique(dark)) == 1


def test_no_prompt_leaves_what_was_painted(load):
    opened = load().open(scene())
    prior = np.zeros((96, 80), bool)
    prior[3, 4] = True
    found = opened.segment((), prior)
    assert np.array_equal(found.mask, prior) and found.mask is not prior and found.score == 0
    assert not opened.segment((), None).mask.any()


def test_masks_are_the_same_whatever_was_asked_before(load):
    prior = np.zeros((96, 80), bool)
    prior[20:60, 10:50] = True
    asked = [((*CLICKS[:n], *box), start) for n in (1, 2, 3) for box in ((), (BOX,)) for start in (None, prior)]
    warm = load().open(scene())
    answers = [warm.segment(*a) for a in asked]
    for place in reversed(range(len(asked))):
        assert same(load().open(scene()).segment(*asked[place]), answers[place])
        assert same(warm.segment(*asked[place]), answers[place])


def test_each_prompt_goes_on_from_the_logits_of_the_ones_before(load):
    tool = load()
    model = spied(tool)
    opened = tool.open(scene())
    opened.segment(CLICKS, None)
    assert [(count, before is None) for count, _, before, _ in model.asked] == [(1, True), (2, False), (3, False)]
    first = tool.answers.get((opened._key, None, CLICKS[:1])).logits
    assert torch.equal(model.asked[1][2], first)
    opened.segment((*CLICKS, BOX), None)
    assert model.asked[3:][0][:2] == (3, True) and len(model.asked) == 4


def test_a_forgotten_embedding_is_made_again_and_changes_nothing(load):
    tool = load(cache_mb=0)
    model = spied(tool)
    opened = tool.open(scene())
    found = opened.segment(CLICKS[:1], None)
    tool.answers.clear()
    assert same(opened.segment(CLICKS[:1], None), found) and model.encoded == [1, 1, 1]


def test_a_view_is_encoded_once_for_all_who_open_it(load):
    tool = load()
    model = spied(tool)
    views = [scene(), scene(), replace(scene(), plane=Plane.CORONAL, index=7), scene(seed=1)]
    for view in views:
        tool.open(view).segment(CLICKS, None)
    assert model.encoded == [1, 1] and len(tool.embeddings) == 2
    assert tool.embeddings.used_bytes == sum(p.nbytes for p in tool.open(scene()).embedding()) * 2


def test_several_views_are_encoded_in_one_pass(load):
    tool = load()
    model = spied(tool)
    views = [scene((96, 80)), scene((50, 90), 1), scene((96, 80), 2)]
    many = tool.open_many(views)
    assert model.encoded == [3] and len(tool.embeddings) == 0 and tool.open_many([]) == []
    for opened, view in zip(many, views, strict=True):
        alone = tool.open(view)
        for part, other in zip(opened.embedding(), alone.embedding(), strict=True):
            assert part.shape == other.shape and torch.allclose(part, other, atol=1e-4)
        one, other = (o.segment(CLICKS, None) for o in (opened, alone))
        assert iou(one.mask, other.mask) > 0.99 and abs(one.score - other.score) < 1e-3
        assert same(opened.segment(CLICKS, None), one)


def test_half_precision_is_for_the_encoder_alone(load):
    tool, exact = load(dtype="bfloat16"), load()
    assert any(part.dtype == torch.bfloat16 for part in tool.open(scene()).embedding())
    found = tool.open(scene()).segment(CLICKS, None)
    assert same(load(dtype="bfloat16").open(scene()).segment(CLICKS, None), found)
    one, other = (t.open(scene()).segment((BOX,), None) for t in (tool, exact))
    assert iou(one.mask, other.mask) > 0.8 and one.score == pytest.approx(other.score, abs=0.05)


def test_threads_may_share_a_tool(load):
    tool = load()
    views = [scene(seed=seed) for seed in range(3)]
    expected = [load().open(view).segment(CLICKS, None) for view in views]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda n: tool.open(views[n % 3]).segment(CLICKS, None), range(12)))
    assert all(same(answer, expected[n % 3]) for n, answer in enumerate(found))


# -- prompts and masks -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("masks", "expected"),
    [
        ("auto", [True, False, False]),
        ("best_of_three", [True, True, True]),
        ("ibis", [True, True, True]),
        ("single", [False, False, False]),
    ],
)
def test_how_many_masks_the_model_is_asked_for(load, masks, expected):
    tool = load(masks=masks)
    model = spied(tool)
    opened = tool.open(scene())
    opened.segment(CLICKS, None)
    assert [three for *_, three in model.asked] == expected
    opened.segment((BOX,), None)
    opened.segment(CLICKS[:1], np.eye(96, 80, dtype=bool))
    assert [three for *_, three in model.asked[3:]] == [expected[1]] * 2


def test_the_best_of_three_is_taken(load):
    tool = load()
    opened = tool.open(scene())
    found = opened.segment(CLICKS[:1], None)
    with torch.inference_mode():
        logits, scores = tool.model.decode(
            opened.embedding(), prompt_arrays(CLICKS[:1], tool.model.frame((96, 80))), None, True
        )
    assert logits.shape == (3, 32, 32) and found.score == pytest.approx(float(scores.max().clamp(0, 1)))
    best = tool.answers.get((opened._key, None, CLICKS[:1])).logits
    assert torch.equal(best, logits[scores.argmax()])


def test_prompts_land_where_they_were_made():
    """As SamProcessor puts the same places, which counts whole numbers from the centres of the view's pixels."""
    from transformers import SamImageProcessorPil, SamProcessor

    view, shape = scene((120, 200)), (120, 200)
    processor = SamProcessor(SamImageProcessorPil())
    pixels = [[c.x * 200 - 0.5, c.y * 120 - 0.5] for c in CLICKS]
    expected = processor(
        images=view.image,
        input_points=[[pixels]],
        input_labels=[[[1, 0, 1]]],
        input_boxes=[[[40 - 0.5, 36 - 0.5, 140 - 0.5, 96 - 0.5]]],
        return_tensors="pt",
    )
    frame = fitted(shape, 1024)
    arrays = prompt_arrays((*CLICKS, BOX), frame)
    half = 0.5 * (1024 / 200 - 1)  # the processor's points lie by the corner of what a pixel became, ours in its middle
    assert np.allclose(arrays.points, expected["input_points"].numpy()[0, 0] + half, atol=0.01)
    assert np.allclose(arrays.box, expected["input_boxes"].numpy().ravel() + half, atol=0.01)
    assert arrays.labels.tolist() == [1, 0, 1] and (frame.height, frame.width) == (614, 1024)
    assert np.allclose(sam_pixels(view.image, frame), expected["pixel_values"].numpy()[0], atol=1e-5)
    assert prompt_arrays([Click(0.5, 0.5, True)], frame).points.tolist() == [[511.5, 306.5]]
    assert prompt_arrays([Click(0.5, 0.25, True)], stretched(1024)).points.tolist() == [[511.5, 255.5]]


def test_the_last_box_counts(load):
    opened = load().open(scene())
    arrays = prompt_arrays((Box(0, 0, 1, 1), BOX), stretched(100))
    assert arrays.box.tolist() == pytest.approx([19.5, 29.5, 69.5, 79.5]) and arrays.points.shape == (0, 2)
    assert opened.segment((BOX,), None).mask.any()


def test_pictures_for_sam_2_fill_the_square():
    white = sam2_pixels(np.full((5, 9, 3), 255, np.uint8), stretched(64))
    assert white.shape == (3, 64, 64) and white.dtype == np.float32
    assert white[:, 0, 0] == pytest.approx([(1 - 0.485) / 0.229, (1 - 0.456) / 0.224, (1 - 0.406) / 0.225], abs=1e-5)
    half = np.zeros((10, 20, 3), np.uint8)
    half[:, 10:] = 255
    assert (sam2_pixels(half, stretched(64))[0, :, :30] < 0).all() and (
        sam2_pixels(half, stretched(64))[0, :, 34:] > 0
    ).all()


def test_pictures_for_medsam_run_from_0_to_1():
    pixels = medsam_pixels(scene((30, 50)).image // 2 + 40, stretched(64))
    assert pixels.shape == (3, 64, 64) and (pixels.min(), pixels.max()) == (0, 1)
    assert not medsam_pixels(np.full((3, 3, 3), 9, np.uint8), stretched(16)).any()


def test_medsam_has_its_own_frame(folders):
    tool = sam.build(str(folders["sam"]), "cpu", pixels="medsam")
    assert tool.model.frame((96, 80)) == stretched(SIDE) and sam.build(str(folders["sam"]), "cpu").model.frame(
        (96, 80)
    ) == fitted((96, 80), SIDE)
    assert tool.open(scene()).segment((BOX,), None).mask.shape == (96, 80)


@pytest.mark.parametrize("shape", [(96, 80), (50, 128), (300, 300)])
@pytest.mark.parametrize("fills", [True, False])
def test_a_painted_mask_survives_as_logits(shape, fills):
    rows, columns = np.ogrid[: shape[0], : shape[1]]
    mask = (rows / shape[0] - 0.4) ** 2 + (columns / shape[1] - 0.6) ** 2 < 0.05
    mask.flags.writeable = False
    frame = stretched(1024) if fills else fitted(shape, 1024)
    logits = logits_of_mask(mask, frame, 256)
    assert logits.shape == (256, 256) and (logits.min(), logits.max()) == (-10, 10)
    assert iou(mask_of_logits(logits, frame, shape), mask) > 0.97
    if not fills:  # beyond the view is outside
        assert (logits[frame.height // 4 + 1 :] == -10).all() and (logits[:, frame.width // 4 + 1 :] == -10).all()


def test_a_prior_mask_reaches_the_model(load):
    tool = load()
    model = spied(tool)
    opened = tool.open(scene())
    prior = np.zeros((96, 80), bool)
    prior[10:50, 5:40] = True
    with_prior, without = opened.segment(CLICKS[:1], prior), opened.segment(CLICKS[:1], None)
    assert not np.array_equal(with_prior.mask, without.mask)
    assert torch.equal(model.asked[0][2], logits_of_mask(prior, tool.model.frame((96, 80)), 32))
    assert same(opened.segment(CLICKS[:1], np.zeros((96, 80), bool)), without)


HIT = "<think>There.</think><action>Positive Point (0.5000, 0.5200)</action>"


# -- faults ------------------------------------------------------------------------------------------------


def test_a_full_gpu_is_said_in_words_and_mended(load):
    tool = load()
    model = spied(tool)
    opened = tool.open(scene())
    model.error = torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 9 GiB")
    with pytest.raises(BackendError, match=r"GPU's memory ran out.*cache_mb.*device=cpu"):
        opened.segment(CLICKS, None)
    assert len(tool.embeddings) == len(tool.answers) == 0
    with pytest.raises(BackendError, match="memory ran out"):
        tool.open(scene(seed=3))
    model.error = None
    assert opened.segment(CLICKS, None).mask.shape == (96, 80)


def test_a_fault_in_torch_ends_the_episode_and_not_the_program(load):
    tool = load()
    model = spied(tool)
    volume = Volume.from_picture(scene().image)
    view = view_of(volume, Plane.AXIAL, 0)
    opened = tool.open(view)
    model.error = RuntimeError("mat1 and mat2 shapes cannot be multiplied\nmore")
    episode = begin(Prompted("outline it", Plane.AXIAL, 0, view.shape))
    *_, last = run(episode, Stage(volume, view, scripted.build([HIT]), opened))
    assert isinstance(last, Failed) and re.search(r"mat1 and mat2 .* multiplied\. Try again", last.reason)


def test_values_that_are_no_numbers_are_no_mask(load):
    tool = load()
    with torch.no_grad():
        tool.model._model.mask_decoder.iou_token.weight.fill_(float("nan"))
    with pytest.raises(BackendError, match=r"aren't numbers.*dtype=float32"):
        tool.open(scene()).segment(CLICKS, None)


@pytest.mark.parametrize(
    ("options", "error", "says"),
    [
        ({"masks": "five"}, UnknownNameError, "auto, best_of_three, single, ibis"),
        ({"dtype": "int8"}, UnknownNameError, "float32"),
        ({"dtype": "float16"}, InputError, "too slow on a CPU"),
        ({"device": "abacus"}, InputError, "'abacus'"),
        ({"device": "cuda:99"}, BackendError, "cuda:99 isn't here"),
        ({"cache_mb": -1}, InputError, "cache_mb"),
        ({"folder": "/nowhere/at/all"}, InputError, "no folder /nowhere/at/all"),
        ({"folder": "nobody/sam-tiny"}, BackendError, "nobody allowed a download"),
    ],
)
def test_options_that_can_not_be_met(load, options, error, says):
    with pytest.raises(error, match=re.escape(says)):
        load(**options)


def test_pictures_are_prepared_in_a_known_way(folders):
    with pytest.raises(UnknownNameError, match="sam or medsam"):
        sam.build(str(folders["sam"]), pixels="painted")


def test_a_folder_of_another_model_is_refused(folders):
    with pytest.raises(InputError, match="holds a model of the type sam2, and sam needs sam"):
        sam.build(str(folders["sam2"]))
    with pytest.raises(InputError, match="holds a model of the type sam, and sam2 needs sam2"):
        sam2.build(str(folders["sam"]))


def copied(folder, target):
    target.mkdir()
    for file in folder.iterdir():
        (target / file.name).write_bytes(file.read_bytes())
    return target


def test_a_folder_without_weights_or_with_broken_ones(name, load, folders, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match=r"no config\.json"):
        load(folder=str(tmp_path / "empty"))
    folder = copied(folders[name], tmp_path / "copy")
    weights = folder / "model.safetensors"
    whole = weights.read_bytes()
    weights.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(BackendError, match="can't be read"):
        load(folder=str(folder))
    weights.rename(folder / "pytorch_model.bin")
    with pytest.raises(InputError, match=r"no \.safetensors file"):
        load(folder=str(folder))
    (folder / "config.json").write_text("{", "utf-8")
    with pytest.raises(InputError, match="can't be read"):
        load(folder=str(folder))


def test_weights_that_lack_a_part_are_refused(name, load, folders, tmp_path):
    from safetensors.torch import load_file, save_file

    folder = copied(folders[name], tmp_path / "copy")
    state = load_file(folder / "model.safetensors")
    del state["mask_decoder.iou_token.weight"]
    save_file(state, folder / "model.safetensors", {"format": "pt"})
    with pytest.raises(BackendError, match=r"1 parts are missing.*mask_decoder\.iou_token\.weight"):
        load(folder=str(folder))


def test_weights_of_the_video_model_serve_too(tmp_path, folders):
    write_sam2(tmp_path / "video", video=True)
    assert json.loads((tmp_path / "video/config.json").read_text("utf-8"))["model_type"] == "sam2_video"
    one, other = (
        sam2.build(str(folder), "cpu").open(scene()).segment(CLICKS, None)
        for folder in (tmp_path / "video", folders["sam2"])
    )
    assert same(one, other)


# -- the authors' own files --------------------------------------------------------------------------------

# transformers' names as the authors' ones: this way round only here, so that the package's table is tested against it.
HEADS = ("iou_prediction_head", "hypernetworks", "pred_obj_score_head")
SHARED = (
    (".layer_norm", ".norm"),
    ("patch_embed.projection", "patch_embed.proj"),
    (".shared_embedding.positional_embedding", ".pe_layer.positional_encoding_gaussian_matrix"),
    ("mask_embed.conv1", "mask_downscaling.0"),
    ("mask_embed.norm1", "mask_downscaling.1"),
    ("mask_embed.conv2", "mask_downscaling.3"),
    ("mask_embed.norm2", "mask_downscaling.4"),
    ("mask_embed.conv3", "mask_downscaling.6"),
    ("upscale_conv1", "output_upscaling.0"),
    ("upscale_conv2", "output_upscaling.3"),
    ("upscale_norm", "output_upscaling.1"),
)
OF_SAM = (
    ("vision_encoder.layers.", "image_encoder.blocks."),
    ("vision_encoder.", "image_encoder."),
    ("neck.conv1", "neck.0"),
    ("neck.norm1", "neck.1"),
    ("neck.conv2", "neck.2"),
    ("neck.norm2", "neck.3"),
    (".point_embed.", ".point_embeddings."),
)
OF_SAM2 = (
    ("vision_encoder.backbone.", "image_encoder.trunk."),
    ("vision_encoder.neck.", "image_encoder.neck."),
    ("prompt_encoder.", "sam_prompt_encoder."),
    ("mask_decoder.", "sam_mask_decoder."),
    (".mlp.proj_in.", ".mlp.layers.0."),
    (".mlp.proj_out.", ".mlp.layers.1."),
    (".o_proj.", ".out_proj."),
    ("no_memory_embedding", "no_mem_embed"),
)


def official(state, names):
    """A state of transformers' models under the names of the authors' files."""
    result = {}
    for key, value in state.items():
        if key.startswith("shared_image_embedding"):
            continue
        name = key
        if any(head in name for head in HEADS):
            name = name.replace(".layers.0.", ".layers.1.").replace(".proj_in.", ".layers.0.")
            name = name.replace(".proj_out.", ".layers.2.")
        for ours, theirs in (*SHARED, *names):
            name = name.replace(ours, theirs)
        if names is OF_SAM2 and "neck.convs." in name:
            name = re.sub(r"(convs\.\d+)", r"\1.conv", name)
        result[name] = value.clone()
    return result


@pytest.fixture(scope="session")
def checkpoints(folders, tmp_path_factory):
    """{tool: a file as its authors publish it}."""
    root = tmp_path_factory.mktemp("official")
    state = official(transformers.SamModel.from_pretrained(folders["sam"]).state_dict(), OF_SAM)
    state |= {"pixel_mean": torch.zeros(3, 1, 1), "pixel_std": torch.ones(3, 1, 1)}
    torch.save(state, root / "sam_vit_b_tiny.pth")
    state = official(transformers.Sam2Model.from_pretrained(folders["sam2"]).state_dict(), OF_SAM2)
    table = state.pop("sam_prompt_encoder.point_embed.weight")
    state |= {f"sam_prompt_encoder.point_embeddings.{n}.weight": table[n : n + 1].clone() for n in range(4)}
    state |= {"memory_attention.norm.weight": torch.zeros(3), "no_mem_pos_enc": torch.zeros(1, 1, 3)}
    torch.save({"model": state}, root / "sam2.1_tiny.pt")
    return {"sam": root / "sam_vit_b_tiny.pth", "sam2": root / "sam2.1_tiny.pt"}


@pytest.fixture
def load_official(name, load, checkpoints, monkeypatch):
    """Builds the tool from the authors' file, or from another one."""
    trunk = _official_sam2.Trunk(1, (8, 4, 4, 2), (3,))
    monkeypatch.setattr(_official_sam2, "TRUNKS", _official_sam2.TRUNKS | {(16, (1, 1, 2, 1)): trunk})
    own = {"side": SIDE} if name == "sam2" else {}

    def build(file=checkpoints[name], **options):
        return load(**{"folder": str(file), "allow_pickle": True, **own} | options)

    return build


def test_an_official_file_gives_the_same_masks(load, load_official):
    tool, other = load_official(), load()
    for shape in ((96, 80), (50, 140)):
        for prompts in (CLICKS, (BOX,)):
            one, two = (t.open(scene(shape)).segment(prompts, np.eye(*shape, dtype=bool)) for t in (tool, other))
            assert iou(one.mask, two.mask) > 0.995 and one.score == pytest.approx(two.score, abs=1e-4)


def test_an_official_file_alone_in_a_folder_is_found(load_official, name, checkpoints, tmp_path):
    (tmp_path / "LICENSE").write_text("free", "utf-8")
    (tmp_path / checkpoints[name].name).write_bytes(checkpoints[name].read_bytes())
    one, other = (t.open(scene()).segment(CLICKS, None) for t in (load_official(), load_official(tmp_path)))
    assert same(one, other)
    with pytest.raises(InputError, match="is a pickle"):
        load_official(tmp_path, allow_pickle=False)


def test_an_official_file_is_not_read_unasked(load, name, checkpoints):
    with pytest.raises(InputError, match=rf"{re.escape(checkpoints[name].name)} is a pickle.*allow_pickle=True"):
        load(folder=str(checkpoints[name]))


def test_an_official_file_of_the_other_model_is_refused(name, load_official, checkpoints):
    other = checkpoints["sam" if name == "sam2" else "sam2"]
    with pytest.raises(InputError, match=r"isn't a SAM (2 )?checkpoint as its authors publish"):
        load_official(other)


def test_encoders_and_sides_that_sam_2_does_not_have(checkpoints):
    with pytest.raises(InputError, match=r"16 channels and \(1, 1, 2, 1\) blocks, which is none of SAM 2's"):
        sam2.build(str(checkpoints["sam2"]), "cpu", allow_pickle=True)


@pytest.mark.parametrize("side", [0, -32, 100])
def test_a_side_that_the_encoder_can_not_halve(checkpoints, monkeypatch, side):
    monkeypatch.setattr(_official_sam2, "TRUNKS", {(16, (1, 1, 2, 1)): _official_sam2.Trunk(1, (8, 4, 4, 2), (3,))})
    with pytest.raises(InputError, match=f"side={side} isn't a multiple of 32"):
        sam2.build(str(checkpoints["sam2"]), "cpu", allow_pickle=True, side=side)


def test_files_that_are_no_checkpoints(name, load_official, checkpoints, tmp_path):
    with pytest.raises(InputError, match="no file"):
        load_official(tmp_path / "gone.pth")
    (tmp_path / "half.pth").write_bytes(checkpoints[name].read_bytes()[:5000])
    with pytest.raises(BackendError, match="can't be read"):
        load_official(tmp_path / "half.pth")
    torch.save({"a": torch.zeros(1)}, tmp_path / "other.pth")
    with pytest.raises(InputError, match=r"isn't a SAM (2 )?checkpoint"):
        load_official(tmp_path / "other.pth")
    torch.save([1, 2], tmp_path / "list.pth")
    with pytest.raises(InputError, match="isn't a checkpoint of named weights"):
        load_official(tmp_path / "list.pth")


def test_an_official_file_that_lacks_a_part(name, load_official, checkpoints, tmp_path):
    prefix, encoder = (
        ("", "image_encoder.neck.0.weight") if name == "sam" else ("sam_", "image_encoder.trunk.pos_embed")
    )
    for part in (f"{prefix}mask_decoder.mask_tokens.weight", encoder):
        state = torch.load(checkpoints[name], weights_only=True)
        state = state.get("model", state)
        del state[part]
        torch.save(state, tmp_path / "lacking.pth")
        with pytest.raises(
            BackendError, match=rf"lacking\.pth doesn't fit SAM.*{re.escape(part.removeprefix('sam_'))}"
        ):
            load_official(tmp_path / "lacking.pth")


class Bomb:
    def __reduce__(self):
        return (exec, ("import sys; sys.modules['bomb_went_off'] = sys",))


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
@pytest.mark.parametrize("protocol", [2, 4])
def test_a_pickle_runs_no_code_even_when_it_is_allowed(tmp_path, protocol):
    torch.save({"weights": Bomb()}, tmp_path / "bomb.pth", pickle_protocol=protocol)
    (tmp_path / "bare.pth").write_bytes(pickle.dumps(Bomb(), protocol))
    for file in ("bomb.pth", "bare.pth"):
        with pytest.raises(BackendError, match="can't be read as a file of weights alone"):
            sam.build(str(tmp_path / file), allow_pickle=True)
    assert "bomb_went_off" not in sys.modules
