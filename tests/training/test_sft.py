"""Fine-tuning: what is learned and what isn't, its arithmetic, what is saved, and how it goes on after a kill."""

from __future__ import annotations

import json
import random
from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("torch", reason="the extra models is not installed")
pytest.importorskip("transformers", reason="the extra models is not installed")
pytest.importorskip("accelerate", reason="the extra models is not installed")

import torch
from safetensors.torch import load_file, save_file
from tiny_qwen import FAMILIES, TEMPLATE, write_checkpoint
from tiny_school import exercise, words_of, write_lessons, write_pupil

from napari_ibisagent import registry
from napari_ibisagent.core.actions import Click, Terminate, Turn
from napari_ibisagent.core.dialects import dialect
from napari_ibisagent.core.dialects.conversation import Speech
from napari_ibisagent.core.errors import BackendError, InputError
from napari_ibisagent.core.overlay import overlay_preset
from napari_ibisagent.core.packed import PackedMask
from napari_ibisagent.io.prompts import read_templates, write_templates
from napari_ibisagent.policies.qwen_vl import PROMPTS
from napari_ibisagent.policies.qwen_vl.chance import Choice
from napari_ibisagent.policies.qwen_vl.loading import Machine, open_checkpoint
from napari_ibisagent.policies.qwen_vl.reader import closing
from napari_ibisagent.training.arena import Arena
from napari_ibisagent.training.batches import IGNORED, Positions, to_learn
from napari_ibisagent.training.curve import CURVE, Curve, read_curve
from napari_ibisagent.training.nano.model import TEMPLATES
from napari_ibisagent.training.sft import loop
from napari_ibisagent.training.sft.exam import Exam, exercise_of, loss_on
from napari_ibisagent.training.sft.examples import Maker, Shelf, told
from napari_ibisagent.training.sft.loop import Schooling, fine_tune, load_into, prepared
from napari_ibisagent.training.sft.run import RUN, last_saved, saved_step
from napari_ibisagent.training.sft.school import Course, gather, tutor
from napari_ibisagent.training.sft.split import cases_of, split
from napari_ibisagent.training.trajectories.form import CORRECTED, Source, Trajectory, TrajectoryStep
from napari_ibisagent.training.trajectories.simulate import SELF_CORRECTION
from napari_ibisagent.training.trajectories.writing import Folder, grey_png, picture_of

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning")

MACHINE = Machine("cpu", "float32")


@pytest.fixture(scope="module")
def straight(tmp_path_factory):
    folder = tmp_path_factory.mktemp("straight")
    return folder, write_lessons(folder, 2)


@pytest.fixture(scope="module")
def wavering(tmp_path_factory):
    """Trajectories with wrong turns that are taken back."""
    folder = tmp_path_factory.mktemp("wavering")
    return folder, write_lessons(folder, 1, SELF_CORRECTION)


@pytest.fixture(scope="module")
def pupils(tmp_path_factory, straight, wavering):
    """An untrained checkpoint of each family."""
    words = words_of([*straight[1], *wavering[1]])
    return {family: write_pupil(tmp_path_factory.mktemp(family), words, family, hidden=32) for family in FAMILIES}


def opened(folder, dtype="float32"):
    return open_checkpoint(str(folder), Machine("cpu", dtype), 262_144)


def maker_of(one, history=False, spoken="ibis"):
    return Maker(one, Speech(TEMPLATES, dialect(spoken).render, history), overlay_preset("ibis"))


def shelf_of(lessons, maker):
    folder, learned = lessons
    return Shelf(learned, lambda trajectory: picture_of(trajectory, folder), maker)


def learned_texts(example, one):
    """The texts of the runs of tokens that are learned, with their ends."""
    texts, run = [], []
    for token, learn in zip((*example.ids, None), (*example.learned, False), strict=True):
        if learn:
            run.append(token)
        elif run:
            texts.append(one.tokenizer.decode(run, skip_special_tokens=False))
            run = []
    return texts


# -- examples ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("spoken", ["ibis", "tool_calls"])
@pytest.mark.parametrize("family", FAMILIES)
def test_exactly_what_the_agent_says_is_learned_and_no_wrong_turn(pupils, wavering, family, spoken):
    one = opened(pupils[family])
    folder, learned = wavering
    render = dialect(spoken).render
    for trajectory in learned:
        shown = picture_of(trajectory, folder)
        wanted = [render(step.turn) + "<|im_end|>" for step in trajectory.steps if step.learn]
        assert 2 <= len(wanted) < len(trajectory.steps)
        maker = maker_of(one, spoken=spoken)
        single = [maker.example(trajectory, turn, shown) for turn in maker.turns(trajectory)]
        assert [learned_texts(example, one) for example in single] == [[text] for text in wanted]
        assert all(len(example.pictures) == 1 for example in single)
        talking = maker_of(one, history=True, spoken=spoken)
        (turn,) = talking.turns(trajectory)
        whole = talking.example(trajectory, turn, shown)
        assert learned_texts(whole, one) == wanted
        assert len(whole.pictures) == len(trajectory.steps)
        # The wrong turn is read, and not learned.
        wrong = next(render(step.turn) for step in trajectory.steps if not step.learn)
        assert wrong in one.tokenizer.decode(whole.ids)


def test_what_is_read_is_what_is_read_in_acting(pupils, wavering):
    """The mask before each turn is drawn over the picture, and the sentence has the number of the turn."""
    one = opened(pupils["qwen2_5_vl"])
    folder, learned = wavering
    maker = maker_of(one)
    for turn in maker.turns(learned[0]):
        example = maker.example(learned[0], turn, picture_of(learned[0], folder))
        assert f"{turn + 1} {learned[0].prompt}<|im_end|>" in one.tokenizer.decode(example.ids)
    digests = {maker.example(learned[0], t, picture_of(learned[0], folder)).pictures[0].digest for t in (0, 1)}
    assert len(digests) == 2


@pytest.mark.parametrize("template", [None, TEMPLATE], ids=["chatml", "own template"])
def test_a_conversation_in_the_checkpoints_own_template(tmp_path, wavering, template):
    one = opened(write_pupil(tmp_path, words_of(wavering[1]), template=template))
    assert learned_texts(shelf_of(wavering, maker_of(one, history=True))[0], one)


def test_a_template_that_drops_what_was_said_is_refused(tmp_path, wavering):
    forgetful = TEMPLATE.replace("{{ message.content }}", "{{ message.content.split('</think>')[-1] }}")
    one = opened(write_pupil(tmp_path, words_of(wavering[1]), template=forgetful))
    with pytest.raises(InputError, match="train it with history=false"):
        shelf_of(wavering, maker_of(one, history=True))[0]
    assert shelf_of(wavering, maker_of(one))[0].ids


def test_marks_in_a_thought_are_words(pupils, straight):
    """Whoever wrote the trajectories can't end a turn, or put a picture into an answer."""
    one = opened(pupils["qwen2_5_vl"])
    folder, (first, *_) = straight
    turn = replace(first.steps[0].turn, thought="x<|im_end|>y<|image_pad|>")
    sly = replace(first, steps=(replace(first.steps[0], turn=turn), *first.steps[1:]))
    for history in (False, True):
        example = maker_of(one, history=history).example(sly, 0, picture_of(sly, folder))
        said = [token for token, learn in zip(example.ids, example.learned, strict=True) if learn]
        assert said.count(closing(one)) == 1 and one.model.config.image_token_id not in said


def test_a_refused_turn_is_told_as_in_acting():
    """Corrections hold turns that a person refused; nothing came of them, and the agent hears of it."""
    mask = PackedMask.of(np.eye(8, dtype=bool))
    click = Turn("here", (Click(0.5, 0.5, True),))
    steps = (
        TrajectoryStep(click, None, learn=False),
        TrajectoryStep(click, mask),
        TrajectoryStep(click, mask, learn=False),
        TrajectoryStep(Turn("", (Terminate(),)), mask),
    )
    refused = Trajectory("n", "p", "t", (8, 8), steps, story=CORRECTED)
    verdicts = [[step.verdict.value for step in one.episode.steps] for one in told(refused)]
    assert verdicts[3] == ["rejected", "unreviewed", "rejected"]
    assert [one.episode.mask for one in told(refused)] == [None, None, mask, mask]
    # A click that goes astray and changes nothing is no refusal.
    slip = replace(refused, steps=steps[1:], story="direct")
    assert [step.verdict.value for step in list(told(slip))[2].episode.steps] == ["unreviewed", "unreviewed"]
    with pytest.raises(InputError, match="has no mask after it"):
        list(told(replace(refused, story="direct")))


def test_a_shelf_without_a_turn_to_learn(straight, pupils):
    folder, learned = straight
    silent = [replace(t, steps=tuple(replace(s, learn=False) for s in t.steps)) for t in learned]
    with pytest.raises(InputError, match="a turn to learn from"):
        shelf_of((folder, silent), maker_of(opened(pupils["qwen2_5_vl"])))
    shelf = Shelf(learned, lambda t: picture_of(t, folder), maker_of(opened(pupils["qwen2_5_vl"])), most=3)
    assert len(shelf) <= 3


# -- arithmetic ----------------------------------------------------------------------------------------------


def by_hand(one, shelf):
    """The mean of -log p over all learned tokens, one example after the other without padding."""
    total, count = 0.0, 0
    for number in range(len(shelf)):
        batch = to_learn([shelf[number]], one, Positions(one))
        labels = batch.pop("labels")[0]
        with torch.no_grad():
            logs = torch.log_softmax(one.model(**batch).logits[0].double(), dim=-1)
        for place in (labels != IGNORED).nonzero()[:, 0].tolist():
            total -= float(logs[place - 1, labels[place]])
            count += 1
    return total / count


@pytest.mark.parametrize("history", [False, True])
@pytest.mark.parametrize("family", FAMILIES)
def test_the_loss_is_the_cross_entropy_of_the_learned_tokens(pupils, wavering, tmp_path, family, history):
    one = opened(pupils[family])
    shelf = shelf_of(wavering, maker_of(one, history))
    wanted = by_hand(one, shelf)
    assert loss_on(shelf, one, 3) == pytest.approx(wanted, rel=1e-4)
    # One step over all of it, in batches of different lengths that make one step together.
    batch = -(-len(shelf) // 2)
    plan = Schooling(1, batch=batch, accumulate=2, rate=0.0, warm_up=0.0, lora=0, board=False)
    fine_tune(one, shelf, plan, tmp_path)
    (entry,) = read_curve(tmp_path)
    assert entry["step"] == 1 and entry["loss"] == pytest.approx(wanted, rel=1e-3)


# -- what is trained -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("family", FAMILIES)
def test_lora_trains_adapters_of_the_language_model_alone(pupils, straight, tmp_path, family):
    pytest.importorskip("peft")
    before = opened(pupils[family])
    one = opened(pupils[family])
    model = prepared(one, Schooling(1, lora=4))
    free = [name for name, parameter in model.named_parameters() if parameter.requires_grad]
    assert free and all("lora_" in name and ".language_model.layers." in name for name in free)
    layers = one.model.config.text_config.num_hidden_layers
    assert len(free) == layers * 7 * 2

    one = opened(pupils[family])
    trained = fine_tune(
        one, shelf_of(straight, maker_of(one)), Schooling(4, 4, rate=1e-2, lora=4, board=False), tmp_path,
        source=pupils[family],
    )  # fmt: skip
    old, new = before.model.state_dict(), trained.model.state_dict()
    assert old.keys() == new.keys()
    changed = {name for name in old if not torch.equal(old[name], new[name])}
    assert changed and all(".language_model.layers." in name and "proj" in name for name in changed)
    again = registry.load("policies", "qwen_vl", folder=str(tmp_path), device="cpu", dtype="float32").opened
    assert all(torch.equal(new[name], value) for name, value in again.model.state_dict().items())
    assert not list(tmp_path.glob("adapter*")) and list(tmp_path.glob("*.safetensors"))


def test_the_same_seed_gives_the_same_adapters(pupils):
    pytest.importorskip("peft")
    drawn = []
    for seed in (0, 0, 1):
        torch.manual_seed(99 + len(drawn))
        model = prepared(opened(pupils["qwen2_5_vl"]), Schooling(1, lora=2, seed=seed))
        drawn.append(torch.cat([p.flatten() for p in model.parameters() if p.requires_grad]))
    assert torch.equal(drawn[0], drawn[1]) and not torch.equal(drawn[0], drawn[2])


@pytest.mark.parametrize("eye", [False, True])
def test_the_eye_is_frozen_unless_it_is_asked_for(pupils, straight, tmp_path, eye):
    before = opened(pupils["qwen2_5_vl"]).model.state_dict()
    one = opened(pupils["qwen2_5_vl"])
    plan = Schooling(2, 4, rate=1e-2, lora=0, eye=eye, board=False)
    after = fine_tune(one, shelf_of(straight, maker_of(one)), plan, tmp_path).model.state_dict()
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert any(".visual." in name for name in changed) is eye
    assert any(".language_model." in name for name in changed) and "lm_head.weight" in changed


def test_what_lora_cant_do(pupils):
    pytest.importorskip("peft")
    one = opened(pupils["qwen2_5_vl"])
    with pytest.raises(InputError, match="only the language model is trained"):
        prepared(one, Schooling(1, eye=True))
    odd = replace(one, model=one.model.model.visual)
    with pytest.raises(InputError, match="LoRA finds no layer"):
        prepared(odd, Schooling(1))


def test_memory_that_doesnt_suffice_is_a_sentence(pupils, straight, tmp_path, monkeypatch):
    one = opened(pupils["qwen2_5_vl"])

    def full(*_, **__):
        raise torch.OutOfMemoryError("CUDA out of memory.")

    monkeypatch.setattr(type(one.model), "forward", full)
    with pytest.raises(BackendError, match="The memory of cpu doesn't suffice for this training"):
        fine_tune(one, shelf_of(straight, maker_of(one)), Schooling(2, lora=0, board=False), tmp_path)


def test_sixteen_bits_and_recomputing(pupils, straight, tmp_path):
    pytest.importorskip("peft")
    losses = []
    for recompute in (False, True):
        one = opened(pupils["qwen2_5_vl"], "bfloat16")
        plan = Schooling(3, 4, rate=1e-2, lora=2, bf16=True, recompute=recompute, evaluate_every=2, board=False)
        maker = maker_of(one)
        arena = Arena(
            one, Speech(TEMPLATES, dialect("ibis").render), registry.load("segmenters", "geodesic"), choice=Choice(8)
        )
        exam = Exam(
            shelf_of(straight, maker), [exercise("segment the disc")], lambda now, a=arena: replace(a, opened=now)
        )
        trained = fine_tune(one, shelf_of(straight, maker), plan, tmp_path / str(recompute), measure=exam)
        assert trained.model.dtype == torch.bfloat16
        assert exam(trained)["held_out_loss"] > 0
        losses.append([entry["loss"] for entry in read_curve(tmp_path / str(recompute)) if "loss" in entry])
    assert len(losses[0]) == 3 and losses[0] == pytest.approx(losses[1], rel=2e-2)


def test_pictures_have_the_budget_that_they_have_in_acting(pupils, straight):
    one = open_checkpoint(str(pupils["qwen2_5_vl"]), MACHINE, 84 * 84)
    large = np.random.default_rng(0).integers(0, 255, (300, 200, 3), np.uint8)
    first = straight[1][0]
    shown = replace(first, shape=(300, 200), steps=first.steps[:1])
    (placed,) = maker_of(one).example(shown, 0, large).pictures
    assert int(placed.grid.prod()) * 14 * 14 <= 84 * 84


@pytest.mark.filterwarnings("ignore:.*fork")
def test_processes_that_make_examples(pupils, straight, tmp_path):
    curves = []
    for workers in (0, 2):
        one = opened(pupils["qwen2_5_vl"])
        plan = Schooling(3, 2, lora=0, workers=workers, board=False)
        fine_tune(one, shelf_of(straight, maker_of(one)), plan, tmp_path / str(workers))
        curves.append([entry["loss"] for entry in read_curve(tmp_path / str(workers))])
    assert curves[0] == curves[1]


# -- what is saved -------------------------------------------------------------------------------------------


def test_what_training_doesnt_change_is_kept_as_it_was(tmp_path, straight):
    source, out = tmp_path / "source", tmp_path / "out"
    write_pupil(source, words_of(straight[1]), template=TEMPLATE, hidden=32)
    half = opened(source).model.to(torch.bfloat16)
    half.generation_config.eos_token_id = [257, 256]
    half.save_pretrained(source)
    (source / "LICENSE").write_text("L", "utf-8")
    (source / "chat_template.json").write_text("{}", "utf-8")
    (source / "config.json.bak").write_text("no", "utf-8")
    one = open_checkpoint(str(source), MACHINE, 56 * 56)
    assert one.images.size["longest_edge"] == 56 * 56
    fine_tune(one, shelf_of(straight, maker_of(one)), Schooling(1, lora=0, board=False), out, source=source)
    kept = {"generation_config.json", "preprocessor_config.json", "LICENSE", "chat_template.json", "tokenizer.json"}
    kept |= {"chat_template.jinja", "tokenizer_config.json"}
    for name in kept:
        assert (out / name).read_bytes() == (source / name).read_bytes(), name
    assert {path.name for path in out.iterdir()} == kept | {"config.json", "model.safetensors", "curve.jsonl", "run"}
    assert {tensor.dtype for tensor in load_file(out / "model.safetensors").values()} == {torch.bfloat16}
    names = [set(load_file(folder / "model.safetensors")) for folder in (source, out)]
    assert names[0] == names[1]


def test_tied_weights_stay_tied(tmp_path, straight):
    write_pupil(tmp_path / "source", words_of(straight[1]), hidden=32)
    config = json.loads((tmp_path / "source" / "config.json").read_text("utf-8"))
    config["tie_word_embeddings"] = True
    config["text_config"]["tie_word_embeddings"] = True
    weights = load_file(tmp_path / "source" / "model.safetensors")
    del weights["lm_head.weight"]
    save_file(weights, tmp_path / "source" / "model.safetensors", {"format": "pt"})
    (tmp_path / "source" / "config.json").write_text(json.dumps(config), "utf-8")
    one = opened(tmp_path / "source")
    tied = one.model.get_output_embeddings().weight
    assert tied is one.model.get_input_embeddings().weight
    for save_every, steps in ((1, 2), (1, 2)):  # and once more, from what was saved
        one = opened(tmp_path / "source")
        plan = Schooling(steps, 4, lora=0, save_every=save_every, board=False)
        trained = fine_tune(
            one, shelf_of(straight, maker_of(one)), plan, tmp_path / "out", source=tmp_path / "source"
        ).model
        assert trained.get_output_embeddings().weight is trained.get_input_embeddings().weight
    assert not any("lm_head" in name for name in load_file(tmp_path / "out" / "model.safetensors"))
    again = opened(tmp_path / "out").model
    assert torch.equal(again.get_output_embeddings().weight, trained.get_output_embeddings().weight)


# -- a run that is killed ------------------------------------------------------------------------------------


class Killed(BaseException):
    """What ends a run at once."""


def run(pupil, lessons, output, kill_at=None, **changed):
    """A run; the curve and the final weights. It is ended at the first word of a step from ``kill_at`` on."""

    def tell(figures):
        if kill_at is not None and figures["step"] >= kill_at:
            raise Killed

    one = opened(pupil)
    plan = replace(
        Schooling(8, 2, accumulate=2, rate=1e-2, lora=0, eye=True, save_every=3, evaluate_every=2, board=False),
        **changed,
    )
    # What measures may draw by chance as well, and run the model.
    shelf = shelf_of(lessons, maker_of(one))
    measure = lambda model: {"loss_now": loss_on(shelf, model, 2)}  # noqa: E731
    random.seed(0 if kill_at is None else 1)
    return fine_tune(one, shelf, plan, output, source=pupil, measure=measure, tell=tell).model.state_dict()


@pytest.mark.parametrize("lora, muon", [(0, 0.0), (4, 0.0), (0, 2.0)])
@pytest.mark.parametrize("family", FAMILIES)
def test_a_killed_run_ends_as_one_that_wasnt(pupils, straight, tmp_path, family, lora, muon):
    if lora:
        pytest.importorskip("peft")
    options = {"lora": lora, "eye": not lora, "muon": muon}
    whole = run(pupils[family], straight, tmp_path / "whole", **options)
    out = tmp_path / "killed"
    with pytest.raises(Killed):
        run(pupils[family], straight, out, kill_at=5, **options)
    assert saved_step(out) == 3
    with pytest.raises(Killed):
        run(pupils[family], straight, out, kill_at=7, **options)
    assert saved_step(out) == 6
    # The newest checkpoint is torn: the one before is gone on from.
    (out / RUN / "checkpoint-6" / "trainer_state.json").write_text("{", "utf-8")
    (out / RUN / "checkpoint-7").mkdir()
    assert last_saved(out).name == "checkpoint-3"
    resumed = run(pupils[family], straight, out, **options)
    assert all(torch.equal(whole[name], value) for name, value in resumed.items())
    curves = [
        [{name: value for name, value in entry.items() if name in ("step", "loss", "loss_now")} for entry in found]
        for found in (read_curve(tmp_path / "whole"), read_curve(out))
    ]
    assert curves[0] == curves[1] and [e["step"] for e in curves[0] if "loss_now" in e] == [2, 4, 6, 8]
    # What is done is written again, and not trained again.
    before = (out / CURVE).read_bytes()
    once_more = run(pupils[family], straight, out, **options)
    assert all(torch.equal(whole[name], value) for name, value in once_more.items())
    assert (out / CURVE).read_bytes() == before


def test_a_run_of_other_settings_isnt_gone_on_with(pupils, straight, tmp_path):
    with pytest.raises(Killed):
        run(pupils["qwen2_5_vl"], straight, tmp_path, kill_at=2)
    assert saved_step(tmp_path) == 0
    with pytest.raises(Killed):
        run(pupils["qwen2_5_vl"], straight, tmp_path, kill_at=4, rate=2e-3)  # nothing was saved of the other one
    with pytest.raises(InputError, match=r"other settings \(rate was 0.002, now 0.003\)"):
        run(pupils["qwen2_5_vl"], straight, tmp_path, rate=3e-3)
    with pytest.raises(InputError, match=r"examples a step was 4, now 2"):
        run(pupils["qwen2_5_vl"], straight, tmp_path, rate=2e-3, batch=1)
    run(pupils["qwen2_5_vl"], straight, tmp_path, rate=2e-3, batch=4, accumulate=1)  # the same in other portions


def test_weights_of_another_model_are_refused(pupils, tmp_path):
    other = write_checkpoint(tmp_path, hidden=64)
    with pytest.raises(InputError, match="isn't of this model"):
        load_into(opened(pupils["qwen2_5_vl"]).model, other)


def test_the_curve_is_cut_back(tmp_path):
    curve = Curve(tmp_path)
    for step in (1, 2, 3):
        curve.add({"step": step, "loss": 1.0})
    with (tmp_path / CURVE).open("a", encoding="utf-8") as file:
        file.write('{"step": 4, "lo')
    assert [entry["step"] for entry in read_curve(tmp_path)] == [1, 2, 3]
    Curve(tmp_path, 2).add({"step": 3, "loss": 0.5})
    assert [(e["step"], e["loss"]) for e in read_curve(tmp_path)] == [(1, 1.0), (2, 1.0), (3, 0.5)]
    Curve(tmp_path)
    assert list(read_curve(tmp_path)) == []


def test_tensorboard_has_what_the_curve_has(pupils, straight, tmp_path):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    with pytest.raises(Killed):
        run(pupils["qwen2_5_vl"], straight, tmp_path, kill_at=5, board=True)
    run(pupils["qwen2_5_vl"], straight, tmp_path, board=True)
    seen = EventAccumulator(str(tmp_path / "board"))
    seen.Reload()
    entries = list(read_curve(tmp_path))
    for tag, name in (("learning/loss", "loss"), ("acting/loss_now", "loss_now")):
        wanted = [(e["step"], pytest.approx(e[name], rel=1e-5)) for e in entries if name in e]
        assert [(e.step, e.value) for e in seen.Scalars(tag)] == wanted


# -- held out ------------------------------------------------------------------------------------------------


def drawn(names):
    """Trajectories by (name, image, picture)."""
    return [
        Trajectory(name, "p", "t", (1, 1), (), source=Source(image=image, picture=shown))
        for name, image, shown in names
    ]


def test_cases_are_whole_scans():
    found = drawn(
        [
            ("a/1", "x/scan.nii", "pictures/1.png"),
            ("a/2", "./x/scan.nii", "pictures/2.png"),
            ("b/1", "y/scan.nii", "pictures/3.png"),
            ("c/1", "z.nii", "other/pictures/3.png"),  # the same picture under another name
            ("0a1b2c3d-0001-1-1-1", "", "pictures/0a1b2c3d-0001-axial-3.png"),
            ("0a1b2c3d-0001-2-1-1", "", "pictures/0a1b2c3d-0001-axial-9.png"),
            ("0a1b2c3d-0002-3-1-1", "", "pictures/0a1b2c3d-0002-axial-3.png"),
            ("made-up/0/1", "", "pictures/8.png"),
            ("made-up/0/2", "", "pictures/9.png"),
            ("alone", "", ""),
        ]
    )
    names = [[one.name for one in case] for case in cases_of(found)]
    assert names == [
        ["a/1", "a/2"],
        ["b/1", "c/1"],
        ["0a1b2c3d-0001-1-1-1", "0a1b2c3d-0001-2-1-1"],
        ["0a1b2c3d-0002-3-1-1"],
        ["made-up/0/1"],
        ["made-up/0/2"],
        ["alone"],
    ]


@pytest.mark.parametrize("share", [0.01, 0.1, 0.3, 0.9])
def test_no_case_is_learned_and_tested(share):
    found = drawn(
        [(f"{case}/{n}", f"{case}.nii", f"{case}-{n}.png") for case in range(20) for n in range(case % 5 + 1)]
    )
    learned, held = split(found, share, seed=3)
    assert {one.source.image for one in learned}.isdisjoint(one.source.image for one in held)
    assert sorted(id(one) for one in (*learned, *held)) == sorted(map(id, found))
    assert learned and held and abs(len(held) - share * len(found)) <= 5
    shuffled = random.Random(1).sample(found, len(found))
    assert {one.name for one in split(shuffled, share, seed=3)[1]} == {one.name for one in held}
    assert {one.name for one in split(found, share, seed=4)[1]} != {one.name for one in held} or share > 0.5


def test_one_case_cant_be_split():
    found = drawn([("a/1", "a.nii", "1.png"), ("a/2", "a.nii", "2.png")])
    with pytest.raises(InputError, match="hold out none"):
        split(found, 0.1, 0)
    assert split(found, 0, 0) == (found, [])


def test_a_trajectory_is_an_exercise_again(straight):
    folder, learned = straight
    for trajectory in learned:
        shown = picture_of(trajectory, folder)
        made = exercise_of(trajectory, shown)
        number, prompt = trajectory.name.split("/")
        first = exercise(prompt, int(number))
        assert np.array_equal(made.view.image, first.view.image) and np.array_equal(made.truth, first.truth)
        assert (made.prompt, made.view.shape) == (prompt, first.view.shape)
        assert exercise_of(replace(trajectory, truth=None), shown) is None
        assert exercise_of(replace(trajectory, kind="plain"), shown) is None
        colour = np.stack([shown[:, :, 0], shown[:, :, 0] // 2, shown[:, :, 0]], axis=2)
        assert exercise_of(trajectory, colour).view.image.shape == (56, 56, 3)


# -- the whole school ----------------------------------------------------------------------------------------


def test_a_school_measures_the_loss_and_the_acting(taught_one, tmp_path):
    """Of a model that knows them by heart, on what it knows."""
    folder = taught_one("qwen2_5_vl", False)[0]
    write_lessons(tmp_path / "more", 3)
    course = Course(held_out=0.5, trials=4, segmenter="geodesic", tokens=48)
    found = gather([tmp_path / "more"], folder, course, MACHINE)
    assert found.trajectories in ((6, 2), (6, 4))
    said = []
    plan = Schooling(2, 2, rate=0.0, lora=0, evaluate_every=1, board=False)
    tutor(found, plan, tmp_path / "out", tell=said.append)
    measured = [entry for entry in said if "held_out_loss" in entry]
    assert [entry["step"] for entry in measured] == [1, 2]
    assert measured[0]["episodes"] in (2, 4) and measured[0]["first_hit"] > 0.4 and 0 < measured[0]["iou"] <= 1
    assert {"held_out_loss", "iou", "dice", "first_hit", "stopped", "well_formed"} <= measured[0].keys()
    assert read_templates("ibis", tmp_path / "out" / PROMPTS) == TEMPLATES
    assert registry.load("policies", "qwen_vl", folder=str(tmp_path / "out"), device="cpu").opened


def test_a_school_without_what_it_needs(pupils, straight, tmp_path):
    pupil = pupils["qwen2_5_vl"]
    course = Course(segmenter="geodesic")
    with pytest.raises(InputError, match="There are no trajectories in"):
        gather([tmp_path], pupil, course, MACHINE)
    folder, (first, *_) = straight
    with Folder(tmp_path / "blind") as blind:
        blind.keep(replace(first, source=replace(first.source, picture="")), None)
    with pytest.raises(InputError, match="has no picture with it"):
        gather([tmp_path / "blind"], pupil, course, MACHINE)
    with Folder(tmp_path / "lost") as lost:
        lost.keep(first, grey_png(picture_of(first, folder)))
    next((tmp_path / "lost" / "pictures").iterdir()).unlink()
    with pytest.raises(InputError, match="isn't there"):
        gather([tmp_path / "lost"], pupil, course, MACHINE)
    with pytest.raises(InputError, match="There is no folder"):
        gather([folder], tmp_path / "nowhere", course, MACHINE)
    other = tmp_path / "other"
    other.mkdir()
    (other / "config.json").write_text('{"model_type": "llama"}', "utf-8")
    (other / "model.safetensors").write_bytes(b"")
    with pytest.raises(InputError, match="the family llama"):
        gather([folder], other, course, MACHINE)
    with pytest.raises(InputError, match="is the checkpoint that is trained"):
        tutor(gather([folder], pupil, course, MACHINE), Schooling(1, lora=0), pupil)
    with pytest.raises(InputError, match="CUDA_VISIBLE_DEVICES"):
        one = replace(opened(pupil), device="cuda:1")
        loop._trainer(one, one.model, shelf_of(straight, maker_of(one)), Schooling(1), tmp_path, None)


def test_templates_survive_writing(tmp_path):
    sly = replace(TEMPLATES, system='a "b" \\ c\nü🦤\x7f\t"""', refine="x")
    write_templates(tmp_path / "t.toml", sly)
    assert read_templates("ibis", tmp_path / "t.toml") == sly
