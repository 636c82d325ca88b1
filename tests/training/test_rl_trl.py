"""TRL's real trainer with a real, tiny Qwen2.5-VL: it reads and learns what the plugin has it read and say."""

from __future__ import annotations

import functools
import json
from dataclasses import dataclass, field, replace

import numpy as np
import pytest
from hypothesis import given, settings
from tiny_qwen import TEMPLATE, tokenizer, write_checkpoint
from trajectory_strategies import TURN

torch = pytest.importorskip("torch")
pytest.importorskip("trl")

from transformers import Qwen2_5_VLForConditionalGeneration, Qwen2_5_VLModel  # noqa: E402
from trl import GRPOTrainer  # noqa: E402

from napari_ibisagent.core.dialects import dialect  # noqa: E402
from napari_ibisagent.core.episode import Outcome  # noqa: E402
from napari_ibisagent.core.errors import BackendError, InputError  # noqa: E402
from napari_ibisagent.io.checkpoints.store import shipped  # noqa: E402
from napari_ibisagent.policies.qwen_vl.loading import Machine, open_checkpoint  # noqa: E402
from napari_ibisagent.policies.qwen_vl.prompt import read_messages  # noqa: E402
from napari_ibisagent.training.curve import read_curve  # noqa: E402
from napari_ibisagent.training.rl import terms as terms_module  # noqa: E402
from napari_ibisagent.training.rl.terms import Terms  # noqa: E402
from napari_ibisagent.training.rl.trl_environment import (  # noqa: E402
    SpokenEnvironment,
    ToolEnvironment,
    episode_reward,
)
from napari_ibisagent.training.rl.trl_speech import speaking  # noqa: E402
from napari_ibisagent.training.rl.trl_training import TrlRegime, train_with_trl  # noqa: E402

pytestmark = [
    # TRL says that this interface may change; transformers renames what TRL 1.16 and its own trainer still call.
    pytest.mark.filterwarnings("ignore:You are using 'environment_factory':UserWarning"),
    pytest.mark.filterwarnings("ignore:.*is deprecated and will be removed in v6:FutureWarning:transformers"),
]
CPU, PIXELS = Machine("cpu", "float32"), 112 * 112
TERMS = Terms("made-up:5:40", "geodesic", max_pixels=PIXELS, steps=3)
REGIME = TrlRegime(2, exercises=1, group=4, batch=2, tokens=2000, rate=1e-3, save_every=1, lora=0)
FAMILY = Qwen2_5_VLForConditionalGeneration


def click(x, y=0.5, sign="Positive"):
    return f"<think>There.</think><action>{sign} Point ({x:.4f}, {y:.4f})</action>"


STOP = "<think>It fits.</think><action>Terminate</action><answer>the target</answer>"
GARBAGE = "I would rather not."
# What the four episodes of a group say: one stops, one uses up its turns, one falls out of form, one stops later. Their
# first words tell them apart.
SCRIPTS = (
    (click(0.5), STOP),
    (click(0.4), click(0.1, 0.9, "Negative"), click(0.3)),
    (click(0.2, 0.2, "Negative"), GARBAGE),
    (click(0.6), click(0.2), STOP),
)


@dataclass
class Theatre:
    """What happens in a run: the exercises that were begun, what was read, learned from and rolled out."""

    scripts: tuple
    words: object
    begun: list = field(default_factory=list)
    read: list = field(default_factory=list)
    learned: list = field(default_factory=list)
    rollouts: list = field(default_factory=list)

    def generate(self, input_ids, attention_mask, image_grid_thw, pixel_values, **_):
        """Stands for the model's own ``generate``: it reads the same, and says what the scripts want."""
        assert len(pixel_values) == int(image_grid_thw.prod(dim=1).sum())
        grids, said = iter(image_grid_thw.tolist()), []
        for row, (ids, seen) in enumerate(zip(input_ids, attention_mask, strict=True)):
            tokens = ids[seen.bool()].tolist()
            text = self.words.decode(tokens)
            self.read.append((tuple(tokens), [next(grids) for _ in range(text.count("<|vision_start|>"))]))
            before = [part.split("<|im_end|>")[0] for part in text.split("<|im_start|>assistant\n")[1:-1]]
            script = next((one for one in self.scripts if before and one[0] == before[0]), None)
            said.append((script or self.scripts[row % len(self.scripts)])[len(before)])
        rows = [self.words(f"{text}<|im_end|>", add_special_tokens=False)["input_ids"] for text in said]
        longest = max(map(len, rows))
        filled = [row + [self.words.pad_token_id] * (longest - len(row)) for row in rows]
        return torch.cat([input_ids, torch.tensor(filled)], dim=1)


@pytest.fixture
def theatre(monkeypatch):
    """Listens to a run; with scripts it also speaks for the model."""

    def make(folder, scripts=None):
        made = Theatre(scripts or (), open_checkpoint(str(folder), CPU, PIXELS).tokenizer)
        look, loop = Qwen2_5_VLModel.get_image_features, GRPOTrainer._tool_call_loop
        kind = SpokenEnvironment.__mro__[1]
        reset = kind.reset

        def resetting(self, exercise, **row):
            made.begun.append(exercise)
            return reset(self, exercise, **row)

        @functools.wraps(look)
        def looking(self, pixel_values, image_grid_thw=None, **more):
            if torch.is_grad_enabled():
                made.learned.append(len(image_grid_thw))
            return look(self, pixel_values, image_grid_thw, **more)

        def looping(self, *args):
            made.rollouts.append(loop(self, *args))
            return made.rollouts[-1]

        monkeypatch.setattr(kind, "reset", resetting)
        monkeypatch.setattr(Qwen2_5_VLModel, "get_image_features", looking)
        monkeypatch.setattr(GRPOTrainer, "_tool_call_loop", looping)
        if scripts:
            monkeypatch.setattr(FAMILY, "generate", lambda self, generation_config, **inputs: made.generate(**inputs))
        return made

    return make


def changed(folder, other):
    """The parameters of two checkpoints that differ."""
    one, two = (open_checkpoint(str(path), CPU, PIXELS).model.state_dict() for path in (folder, other))
    return {name for name in one if not torch.equal(one[name], two[name])}


def as_the_plugin(opened, exercise, script, terms=TERMS):
    """(tokens, grids) of what the plugin's policy reads before each turn of a script."""
    play = terms.driver()
    read = play.begin(terms.named().exercise(exercise))
    for text in script:
        reading = read_messages(read, opened)
        yield reading.ids, [picture.grid[0].tolist() for picture in reading.pictures]
        read = play.answer(text).messages


# -- an agent that speaks a dialect ----------------------------------------------------------------------------


@pytest.mark.parametrize("template", [TEMPLATE, None])
def test_it_reads_and_learns_what_the_plugin_would(tmp_path, theatre, template):
    folder, output = write_checkpoint(tmp_path / "tiny", template=template), tmp_path / "out"
    run = theatre(folder, SCRIPTS)
    train_with_trl(folder, TERMS, REGIME, output, CPU)

    # Each turn of each episode was read as the plugin reads it: the same tokens, the same pictures.
    opened = open_checkpoint(str(folder), CPU, PIXELS)
    groups = [run.begun[n : n + 4] for n in range(0, len(run.begun), 4)]
    assert len(groups) == 2 and all(len(set(group)) == 1 for group in groups)
    wanted = [turn for group in groups for script in SCRIPTS for turn in as_the_plugin(opened, group[0], script)]
    assert sorted(run.read) == sorted(wanted)
    # All pictures of all episodes went into the learning.
    assert sum(run.learned) == len(wanted)
    # What teaches is what was said: every turn, and nothing else.
    for masks, _, completions, *_ in run.rollouts:
        for mask, ids, script in zip(masks, completions, SCRIPTS, strict=True):
            taught = [token for token, one in zip(ids, mask, strict=True) if one]
            assert opened.tokenizer.decode(taught) == "".join(f"{text}<|im_end|>" for text in script)
    assert {name.split(".")[-2] for name in changed(folder, output)} >= {"q_proj", "o_proj", "down_proj"}
    assert not any(".visual." in name for name in changed(folder, output))
    entries = list(read_curve(output))
    assert [entry["step"] for entry in entries] == [1, 2]
    assert all(np.isfinite(entry["loss"]) and entry["reward_std"] > 0 for entry in entries)


def test_the_reward_is_the_episodes(tmp_path, theatre):
    folder = write_checkpoint(tmp_path / "tiny", template=TEMPLATE)
    run = theatre(folder, SCRIPTS)
    told = []
    train_with_trl(folder, TERMS, replace(REGIME, steps=1), tmp_path / "out", CPU, told.append)
    earned = []
    for script in SCRIPTS:
        play = TERMS.driver()
        play.begin(TERMS.named().exercise(run.begun[0]))
        for text in script:
            play.answer(text)
        assert play.episode.outcome is not None
        earned.append(play.reward(TERMS.config))
    assert told[0]["reward"] == pytest.approx(np.mean(earned), abs=1e-5)
    assert told[0]["reward_std"] == pytest.approx(np.std(earned, ddof=1), abs=1e-4)


def test_a_real_agent_plays_and_goes_on(tmp_path, theatre):
    """The nano agent speaks for itself; the second call goes on from the first one's checkpoint."""
    folder, output = shipped("nano"), tmp_path / "out"
    run = theatre(folder)
    terms = Terms("made-up:2000003:40", "geodesic", max_pixels=PIXELS, steps=3)
    practice = TrlRegime(1, exercises=2, group=4, batch=8, tokens=300, rate=1e-4, lora=0, eye=True, save_every=1)
    train_with_trl(folder, terms, practice, output, CPU)
    first = (output / "model.safetensors").read_bytes()
    assert len(run.begun) == 8 and sum(run.learned) > 8  # further pictures came back
    assert all(".visual." in name or "language_model" in name or "lm_head" in name for name in changed(folder, output))
    train_with_trl(folder, terms, replace(practice, steps=2), output, CPU)
    assert len(run.begun) == 16
    assert [entry["step"] for entry in read_curve(output)] == [1, 2]
    assert (output / "model.safetensors").read_bytes() != first
    assert (output / "prompts.toml").read_bytes() == (folder / "prompts.toml").read_bytes()
    with pytest.raises(InputError, match="group was 4, now 2"):
        train_with_trl(folder, terms, replace(practice, steps=3, group=2), output, CPU)


def test_low_rank_adapters_are_worked_into_the_weights(tmp_path, theatre):
    pytest.importorskip("peft")
    folder, output = write_checkpoint(tmp_path / "tiny", template=TEMPLATE), tmp_path / "out"
    theatre(folder, SCRIPTS)
    train_with_trl(folder, TERMS, replace(REGIME, lora=4), output, CPU)
    found = changed(folder, output)
    assert found and all("_proj" in name and "language_model" in name for name in found)


class Broken:
    name = "broken"

    def open(self, view):
        raise BackendError("The tool is broken. Choose another.")


@pytest.mark.parametrize("tools", [False, True])
def test_a_failing_tool_ends_the_training(tmp_path, theatre, monkeypatch, tools):
    folder = write_checkpoint(tmp_path / "tiny", template=None if tools else TEMPLATE)
    theatre(folder, CALLS if tools else SCRIPTS)
    monkeypatch.setattr(terms_module, "_tool", lambda name: Broken())
    terms = replace(TERMS, dialect="tool_calls") if tools else TERMS
    with pytest.raises(BackendError, match="broken"):
        train_with_trl(folder, terms, replace(REGIME, tools=tools), tmp_path / "out", CPU)
    assert not (tmp_path / "out" / "model.safetensors").exists()


# -- a model that calls tools ----------------------------------------------------------------------------------


def call(name, **arguments):
    return f"<tool_call>\n{json.dumps({'name': name, 'arguments': arguments})}\n</tool_call>"


CALLS = (
    (call("add_point", point_2d=[500, 500], point_type="positive"), call("stop_action", answer="it"), "Done."),
    (call("add_bbox", bbox_2d=[100, 100, 900, 900]), call("revert_action"), call("discard_mask"), "Enough."),
    (call("add_point", point_2d=[400, 4000], point_type="positive"), "Well."),
    (call("stop_action", answer="not found: it isn't there"), "Done."),
)


def test_a_model_that_calls_tools(tmp_path, theatre, monkeypatch):
    folder, output = write_checkpoint(tmp_path / "tiny", template=None), tmp_path / "out"
    run = theatre(folder, CALLS)
    seats = []
    make = ToolEnvironment.__init__
    monkeypatch.setattr(ToolEnvironment, "__init__", lambda self, terms: seats.append(self) or make(self, terms))
    terms = replace(TERMS, dialect="tool_calls")
    train_with_trl(folder, terms, replace(REGIME, tools=True), output, CPU)
    assert [seat._driver.episode.outcome for seat in seats] == [
        *(Outcome.DONE, Outcome.STEP_LIMIT, Outcome.FAILED, Outcome.NOT_FOUND),
    ]
    assert [len(seat._driver.episode.steps) for seat in seats] == [1, 3, 0, 0]
    # The model was told of the tools, with what each of them is for.
    first = run.words.decode(run.read[0][0])
    assert '"name": "add_point"' in first and "each from 0 to 999 across the picture" in first
    assert "reset" not in first and "_take" not in first
    # Both times one picture at the beginning of each episode, and one more with what each call gives back.
    assert sum(run.learned) == 2 * (4 + 2 + 3 + 1 + 1)
    assert changed(folder, output)


def test_what_was_called_can_be_played():
    """Every call is one of the dialect, so that the plugin plays what was trained so."""
    seat = ToolEnvironment(replace(TERMS, dialect="tool_calls"))
    seat.reset("3")
    picture, words = seat.add_point([500, 400], "negative")
    assert (picture["type"], words["type"]) == ("image", "text")
    assert seat.stop_action('a "quoted" </tool_call> answer')[1]["text"] == "The episode is over."
    (step,) = seat._driver.episode.steps
    assert (
        step.actions
        == dialect("tool_calls").parse(CALLS[0][0].replace("500]", "400]").replace("positive", "negative")).actions
    )
    assert seat.add_bbox([0, 0, 9, 9])[1]["text"] == "The episode is over."
    assert seat._driver.answers == 2


# -- what TRL does not hand on, and what it can't do -----------------------------------------------------------


@settings(max_examples=100, deadline=None)
@given(TURN)
def test_an_answer_that_goes_on_is_a_call_and_one_that_ends_is_none(turn):
    words = speaking(tokenizer(), dialect("ibis").parse)
    text = dialect("ibis").render(turn)
    said = words.parse_response(words(f"{text}<|im_end|>", add_special_tokens=False)["input_ids"], prefix=[])
    if turn.terminates:
        assert said == {"role": "assistant", "content": text}
    else:
        assert said["tool_calls"][0]["function"] == {"name": "answer", "arguments": {"text": text}}


def test_a_tokenizer_that_speaks_is_written_as_it_was(tmp_path):
    from transformers import AutoTokenizer

    speaking(tokenizer(), dialect("ibis").parse).save_pretrained(tmp_path)
    assert AutoTokenizer.from_pretrained(tmp_path).decode([5]) == tokenizer().decode([5])


@pytest.mark.parametrize("taken", [1, 2])
def test_answers_that_no_tool_was_called_for_are_played_with_the_reward(taken):
    """TRL runs out of calls: then the last answer is only in the completion. Or out of room: then it was taken."""
    seat, script = SpokenEnvironment(TERMS), SCRIPTS[1][:2]
    seat.reset("3")
    for text in script[:taken]:
        seat.answer(text)
    calls = [{"type": "function", "function": {"name": "answer", "arguments": {"text": text}}} for text in script]
    completion = [{"role": "assistant", "content": "", "tool_calls": [one]} for one in calls]
    completion.insert(1, {"role": "tool", "name": "answer", "content": "x"})
    (earned,) = episode_reward([completion], [seat])
    play = TERMS.driver()
    play.begin(TERMS.named().exercise("3"))
    assert [play.answer(text).done for text in script] == [False, False]
    assert earned == play.reward(TERMS.config) and seat._driver.answers == 2


def test_terms_that_trl_cannot_play_by(tmp_path):
    with pytest.raises(InputError, match="whole conversation"):
        SpokenEnvironment(replace(TERMS, history=False))
    with pytest.raises(InputError, match="tool_calls"):
        ToolEnvironment(TERMS)
    folder = write_checkpoint(tmp_path / "tiny", template=TEMPLATE)
    with pytest.raises(InputError, match="Choose another output folder"):
        train_with_trl(folder, TERMS, REGIME, folder, CPU)
    with pytest.raises(InputError, match="batches of 3"):
        train_with_trl(folder, TERMS, replace(REGIME, batch=3), tmp_path / "out", CPU)
