"""Our parts of ms-swift and verl, played by their real classes where they are installed; the recipes always.

Both want versions of their own of torch and transformers, so they are in no extra of ours. Where they lie in folders of
their own, these tests find them by PYTHONPATH.
"""

from __future__ import annotations

import asyncio
import dataclasses
import importlib
import json
import os
import subprocess
import sys
import warnings
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import yaml
from packaging.version import Version
from tiny_qwen import TEMPLATE, write_checkpoint

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

from napari_ibisagent.core.errors import BackendError, InputError  # noqa: E402
from napari_ibisagent.policies.qwen_vl.loading import Machine, open_checkpoint  # noqa: E402
from napari_ibisagent.policies.qwen_vl.prompt import read_messages  # noqa: E402
from napari_ibisagent.training.rl import terms as terms_module  # noqa: E402
from napari_ibisagent.training.rl.rows import AGENT, write_rows  # noqa: E402
from napari_ibisagent.training.rl.swift_scheduler import scheduler_class  # noqa: E402
from napari_ibisagent.training.rl.terms import Terms, read_terms  # noqa: E402
from napari_ibisagent.training.rl.trl_speech import processor_of  # noqa: E402
from napari_ibisagent.training.rl.verl_loop import agent_loop, loop_class  # noqa: E402

RECIPES = Path(__file__).resolve().parents[2] / "resources" / "training"
TERMS = Terms("made-up:5:40", "geodesic", max_pixels=112 * 112, steps=3)
CLICK = "<think>There.</think><action>Positive Point (0.5000, 0.5000)</action>"
OUT = "<think>Too much.</think><action>Negative Point (0.1000, 0.9000)</action>"
STOP = "<think>It fits.</think><action>Terminate</action><answer>the target</answer>"
GARBAGE = "I would rather not."
SCRIPTS = [(CLICK, STOP), (CLICK, OUT, CLICK), (OUT, GARBAGE), (STOP,)]


def foreign(name):
    """A module of those packages, whose imports warn of much that isn't ours; skips where it isn't installed."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pytest.importorskip(name, exc_type=ImportError)


def expected(script, terms=TERMS, exercise="3"):
    """(the messages before each turn, the reward of each turn) as the driver has them."""
    play = terms.driver()
    read = [play.begin(terms.named().exercise(exercise))]
    for text in script:
        read.append(play.answer(text).messages)
    return read[: len(script)], play.rewards(terms.config)


@pytest.fixture
def opened(tmp_path):
    return open_checkpoint(
        str(write_checkpoint(tmp_path / "tiny", template=TEMPLATE)), Machine("cpu", "float32"), 10**6
    )


class Broken:
    name = "broken"

    def open(self, view):
        raise BackendError("The tool is broken. Choose another.")


# -- ms-swift --------------------------------------------------------------------------------------------------


@pytest.fixture
def swift():
    protocol = foreign("swift.infer_engine.protocol")
    foreign("swift.rollout.multi_turn")
    return SimpleNamespace(
        protocol=protocol,
        loop=foreign("swift.rollout.agent_loop"),
        inputs=foreign("swift.template.template_inputs"),
        vision=foreign("swift.template.vision_utils"),
        data=foreign("swift.rl_core.data"),
    )


class Engine:
    """Stands for vLLM: says what a script wants and writes down the conversation that it was asked with."""

    def __init__(self, protocol, words, scripts):
        self._protocol, self._words = protocol, words
        self.template, self.tokenizer = None, words
        self._left = {uuid: list(script) for uuid, script in scripts.items()}
        self.asked = {uuid: [] for uuid in scripts}

    async def infer_async(self, request, config, **_):
        self.asked[request.uuid].append(json.loads(json.dumps(request.messages)))  # it travels as JSON
        return self.response(self._left[request.uuid].pop(0))

    def response(self, text):
        protocol, ids = self._protocol, self._words(f"{text}<|im_end|>", add_special_tokens=False)["input_ids"]
        choice = protocol.ChatCompletionResponseChoice(
            index=0, message=protocol.ChatMessage("assistant", text), finish_reason="stop", token_ids=ids
        )
        return protocol.ChatCompletionResponse("tiny", [choice], protocol.UsageInfo(1, 1, 2))


def requests(swift, count):
    row = {"messages": [{"role": "user", "content": "(its own)"}], "data_dict": {"exercise": "3"}}
    return [swift.protocol.RolloutInferRequest(**row, uuid=f"u{n}") for n in range(count)]


def shown(swift, messages):
    """(texts, pictures) of a conversation as ms-swift's template gets them: from the message parts."""
    inputs = swift.inputs.StdTemplateInputs.from_dict({"messages": messages})
    pictures = [np.asarray(swift.vision.load_image(image)) for image in inputs.images]
    return inputs, pictures


def check_swift(swift, engine, outputs):
    """What was asked, learned and rewarded is the driver's."""
    for n, (script, output) in enumerate(zip(SCRIPTS, outputs, strict=True)):
        read, earned = expected(script)
        pictures = [message.picture for message in read[-1] if message.picture is not None]
        inputs, seen = shown(swift, output.messages)
        assert inputs.system == read[-1][0].text
        assert len(seen) == len(pictures) and all(map(np.array_equal, seen, pictures))
        asked = [m["content"] for m in inputs.messages if m["role"] == "user"]
        assert asked == ["<image>" + m.text for m in read[-1] if m.role == "user"]
        if engine.asked:
            assert [len(one) for one in engine.asked[f"u{n}"]] == [len(one) for one in read]
        # Every answer teaches, with the very tokens that were sampled.
        said = [engine.tokenizer.decode(ids) for ids in output.response_token_ids]
        assert said == [f"{text}<|im_end|>" for text in script]
        assert all(all(mask) for mask in output.response_loss_mask)
        assert output.rollout_infos["total_reward"] == pytest.approx(sum(earned))
        assert output.rollout_infos["step_rewards"] == pytest.approx(list(earned))
        assert output.rollout_infos["num_turns"] == len(script)
        json.dumps(output.model_dump(mode="json"))


def test_swifts_server_plays_our_episodes(swift, opened):
    engine = Engine(swift.protocol, opened.tokenizer, {f"u{n}": script for n, script in enumerate(SCRIPTS)})
    scheduler = scheduler_class(TERMS)(infer_engine=engine, max_turns=None)

    async def play():
        config = swift.protocol.RequestConfig()
        return await asyncio.gather(*(scheduler.run(one, config) for one in requests(swift, len(SCRIPTS))))

    outputs = asyncio.run(play())
    check_swift(swift, engine, outputs)
    assert not scheduler._drivers and not scheduler._newest
    # What the trainer makes of it: pictures and tokens of all turns are there again.
    sample = swift.data.GRPOSample(messages=[{"role": "user", "content": "(its own)"}])
    sample.apply_rollout_output(rollout_output=outputs[1])
    assert len(sample.response_token_ids) == 3 and len(shown(swift, sample.messages)[1]) == 3


def test_swifts_trainer_plays_our_episodes_beside_vllm(swift, opened):
    engine = Engine(swift.protocol, opened.tokenizer, {})
    scheduler = scheduler_class(TERMS)(max_turns=None, tokenizer=opened.tokenizer, template=None)
    asked = requests(swift, len(SCRIPTS))
    left = {one.uuid: list(script) for one, script in zip(asked, SCRIPTS, strict=True)}
    swift.loop.invoke_async_hook(scheduler.on_trajectory_start(asked))

    def rollout(waiting, config):
        return [swift.protocol.RolloutOutput(response=engine.response(left[one.uuid].pop(0))) for one in waiting]

    config = swift.protocol.RequestConfig()
    outputs = swift.loop.run_multi_turn(asked, rollout(asked, config), scheduler, rollout, config)
    check_swift(swift, engine, outputs)


def test_swift_stops_at_its_own_limit_too(swift, opened):
    engine = Engine(swift.protocol, opened.tokenizer, {"u0": SCRIPTS[1]})
    scheduler = scheduler_class(TERMS)(infer_engine=engine, max_turns=2)
    output = asyncio.run(scheduler.run(requests(swift, 1)[0], swift.protocol.RequestConfig()))
    assert output.rollout_infos["num_turns"] == 2 and not scheduler._drivers
    assert output.rollout_infos["total_reward"] == pytest.approx(sum(expected(SCRIPTS[1][:2])[1]))


def test_a_failing_tool_ends_swifts_episode(swift, opened, monkeypatch):
    monkeypatch.setattr(terms_module, "_tool", lambda name: Broken())
    engine = Engine(swift.protocol, opened.tokenizer, {"u0": SCRIPTS[0]})
    scheduler = scheduler_class(TERMS)(infer_engine=engine)
    with pytest.raises(BackendError, match="broken"):
        asyncio.run(scheduler.run(requests(swift, 1)[0], swift.protocol.RequestConfig()))


def test_swift_reads_our_rows(swift, tmp_path):
    dataset = foreign("swift.dataset")
    terms = tmp_path / "terms.toml"
    terms.write_text('exercises = "made-up:5:6"\ntool = "geodesic"\n', "utf-8")
    rows = write_rows(terms, tmp_path / "rows.jsonl")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found, _ = dataset.load_dataset([str(rows)], remove_unused_columns=False)
    assert [row["exercise"] for row in found] == [str(n) for n in range(6)]
    sample = swift.data.OnPolicySample.from_row({**found[2], "request_id": "u0"})
    request = sample.to_infer_request(include_extra=True)
    assert request.data_dict["exercise"] == "2" and request.uuid == "u0"


def test_the_plugin_file_registers_the_scheduler(swift, monkeypatch):
    monkeypatch.setenv("IBISAGENT_TERMS", str(RECIPES / "terms.toml"))
    multi_turns = foreign("swift.rollout.multi_turn").multi_turns
    code = compile((RECIPES / "swift_plugin.py").read_text("utf-8"), "swift_plugin.py", "exec")
    exec(code, {"__name__": "swift_plugin"})
    assert multi_turns.pop("ibisagent").__name__ == "IbisScheduler"


@pytest.mark.parametrize("name", ["swift_rollout", "swift_train"])
def test_swifts_recipes_name_real_options(swift, name):
    """Every key is a field of ms-swift's arguments, or of transformers'."""
    from transformers import TrainingArguments

    root = Path(foreign("swift").__file__).parent
    known = {field.name for field in dataclasses.fields(TrainingArguments)}
    for folder in ("arguments", "rlhf_trainers", "trainers"):
        for path in (root / folder).rglob("*.py"):
            known |= {line.split(":")[0].strip() for line in path.read_text("utf-8").splitlines() if ":" in line[:60]}
    keys = set(yaml.safe_load((RECIPES / f"{name}.yaml").read_text("utf-8"))) - {"ENV"}
    assert keys and keys <= known


# -- verl ------------------------------------------------------------------------------------------------------


@pytest.fixture
def verl():
    return SimpleNamespace(
        loop=foreign("verl.experimental.agent_loop.agent_loop"),
        data=foreign("verl.utils.dataset.rl_dataset"),
        replica=foreign("verl.workers.rollout.replica"),
        omegaconf=foreign("omegaconf"),
        hydra=foreign("hydra"),
    )


class Server:
    """Stands for verl's servers of vLLM."""

    def __init__(self, verl, words, script):
        self._verl, self._words, self._left = verl, words, list(script)
        self.asked = []

    async def generate(self, request_id, *, prompt_ids, sampling_params, image_data, mm_processor_kwargs=None):
        self.asked.append((request_id, list(prompt_ids), [np.asarray(image) for image in image_data]))
        ids = self._words(f"{self._left.pop(0)}<|im_end|>", add_special_tokens=False)["input_ids"]
        step = len(self.asked)
        return self._verl.replica.TokenOutput(
            token_ids=ids,
            log_probs=[-0.5] * len(ids),
            extra_fields={"min_global_steps": step, "max_global_steps": step},
        )


def worker(verl, opened, server, terms, room=8192):
    """(verl's own worker, without Ray and without a model; its way to an agent loop)."""
    config = verl.omegaconf.OmegaConf.create(
        {
            "actor_rollout_ref": {"rollout": {"prompt_length": 4096, "response_length": room}},
            "data": {"apply_chat_template_kwargs": {}, "mm_processor_kwargs": {}},
        }
    )
    made = object.__new__(verl.loop.AgentLoopWorker)
    made.config, made.rollout_config = config, config.actor_rollout_ref.rollout
    made.llm_client, made.tokenizer, made.hf_model_type = server, opened.tokenizer, "qwen2_5_vl"
    made.processor = processor_of(opened, opened.tokenizer.chat_template)
    made.dataset_cls, made.tools, made.mm_processor_kwargs = verl.data.RLHFDataset, [], {}
    made.distillation_enabled, made.reward_loop_worker_handles = False, None
    target = {"_target_": "napari_ibisagent.training.rl.verl_loop.agent_loop", "terms": str(terms)}
    verl.loop._agent_loop_registry[AGENT] = {"name": AGENT, **target}
    return made


def written(path, **values):
    path.write_text("".join(f"{name} = {json.dumps(value)}\n" for name, value in values.items()), "utf-8")
    return path


def play(verl, made):
    """One episode, as verl's worker plays it, before it pads it: its output, or several."""
    found = []

    async def keep(output, validate, **_):
        found.append(output)

    made._agent_loop_postprocess = keep
    info = {"step": 0, "sample_index": 0, "rollout_n": 0, "validate": False}
    row = {"exercise": "3", "raw_prompt": [{"role": "user", "content": "(its own)"}], "index": 0, "extra_info": {}}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        asyncio.run(made._run_agent_loop({"temperature": 1.0}, info, agent_name=AGENT, trace=False, **row))
    return found[0]


def as_settled(terms, **more):
    return {
        "exercises": terms.exercises,
        "tool": "geodesic",
        "max_pixels": terms.max_pixels,
        "steps": terms.steps,
    } | more


@pytest.mark.parametrize("script", SCRIPTS)
def test_verl_plays_our_episodes(verl, opened, tmp_path, script):
    server = Server(verl, opened.tokenizer, script)
    made = worker(verl, opened, server, written(tmp_path / "terms.toml", **as_settled(TERMS)))
    output = play(verl, made)
    read, earned = expected(script)
    # It was asked with what the plugin reads: the same tokens and pictures, in one conversation.
    for (_, ids, pictures), messages in zip(server.asked, read, strict=True):
        reading = read_messages(messages, opened)
        assert tuple(ids) == reading.ids
        assert all(map(np.array_equal, pictures, [m.picture for m in messages if m.picture is not None]))
    assert len({key for key, _, _ in server.asked}) == 1
    assert output.prompt_ids == server.asked[0][1]
    assert output.prompt_ids + output.response_ids == [
        *server.asked[-1][1],
        *opened.tokenizer(f"{script[-1]}<|im_end|>", add_special_tokens=False)["input_ids"],
    ]
    taught = [token for token, one in zip(output.response_ids, output.response_mask, strict=True) if one]
    assert opened.tokenizer.decode(taught) == "".join(f"{text}<|im_end|>" for text in script)
    assert [log for log, one in zip(output.response_logprobs, output.response_mask, strict=True) if one] == [
        -0.5
    ] * len(taught)
    assert output.reward_score == pytest.approx(sum(earned))
    assert output.extra_fields["turn_scores"] == pytest.approx(list(earned))
    assert output.extra_fields["min_global_steps"] == 1 and output.extra_fields["max_global_steps"] == len(script)
    assert output.num_turns == 2 * len(script)
    if Version(transformers.__version__) < Version("5.11"):  # what verl 0.9 wants; later ones refuse what it asks for
        # Every picture reaches the tensors that are learned from, by verl's own code.
        ids = torch.tensor([output.prompt_ids + output.response_ids], dtype=torch.int64)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tensors = made._compute_multi_modal_inputs(output, ids)
        assert len(tensors["image_grid_thw"]) == len(script)
    fields = output.as_dict()
    assert float(fields["rm_scores"].sum()) == pytest.approx(sum(earned), abs=1e-5)


@pytest.mark.parametrize("script", SCRIPTS)
def test_without_history_each_turn_is_a_conversation(verl, opened, tmp_path, script):
    terms = dataclasses.replace(TERMS, history=False)
    server = Server(verl, opened.tokenizer, script)
    made = worker(verl, opened, server, written(tmp_path / "terms.toml", **as_settled(TERMS, history=False)))
    outputs = play(verl, made)
    read, earned = expected(script, terms)
    assert len(outputs) == len(script)
    for output, text, messages in zip(outputs, script, read, strict=True):
        assert tuple(output.prompt_ids) == read_messages(messages, opened).ids
        assert opened.tokenizer.decode(output.response_ids) == f"{text}<|im_end|>" and all(output.response_mask)
        assert len(output.multi_modal_data["images"]) == 1
    assert outputs[-1].reward_score == pytest.approx(sum(earned))
    assert outputs[-1].extra_fields["reward_extra_info"] == {}  # verl hands reward and this on to the others
    assert len({key for key, _, _ in server.asked}) == len(script)


def test_verl_stops_where_there_is_no_room(verl, opened, tmp_path):
    server = Server(verl, opened.tokenizer, SCRIPTS[1])
    answer = len(opened.tokenizer(f"{CLICK}<|im_end|>", add_special_tokens=False)["input_ids"])
    made = worker(verl, opened, server, written(tmp_path / "terms.toml", **as_settled(TERMS)), room=answer + 10)
    output = play(verl, made)
    assert len(server.asked) == 1 and len(output.response_ids) == answer and all(output.response_mask)
    assert len(output.multi_modal_data["images"]) == 1
    assert output.reward_score == pytest.approx(expected((CLICK,))[1][0])


def test_a_failing_tool_ends_verls_episode(verl, opened, tmp_path, monkeypatch):
    monkeypatch.setattr(terms_module, "_tool", lambda name: Broken())
    made = worker(
        verl, opened, Server(verl, opened.tokenizer, SCRIPTS[0]), written(tmp_path / "t.toml", **as_settled(TERMS))
    )
    with pytest.raises(BackendError, match="broken"):
        play(verl, made)


def test_verl_reads_our_rows(verl, opened, tmp_path):
    pytest.importorskip("pyarrow")
    rows = write_rows(written(tmp_path / "terms.toml", **as_settled(TERMS)), tmp_path / "rows.parquet")
    config = verl.omegaconf.OmegaConf.create({"cache_dir": str(tmp_path), "filter_overlong_prompts": False})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = verl.data.RLHFDataset(str(rows), opened.tokenizer, config)
    assert len(found) == 40
    row = found[7]
    assert (row["exercise"], row["agent_name"], row["index"]) == ("7", AGENT, 7)


def test_verls_recipe_composes(verl, tmp_path):
    """Its options, against verl's own configuration: hydra refuses a key that isn't there."""
    arguments = of_script("verl_train.sh", tmp_path)[2:]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with verl.hydra.initialize_config_module("verl.trainer.config", version_base=None):
            config = verl.hydra.compose("ppo_trainer", overrides=arguments)
    agent = config.actor_rollout_ref.rollout.agent
    assert agent.default_agent_loop == AGENT and not config.actor_rollout_ref.actor.use_kl_loss
    assert config.trainer.use_v1 and config.trainer.nnodes == 2
    (named,) = verl.omegaconf.OmegaConf.load(agent.agent_loop_config_path)
    module, _, name = named._target_.rpartition(".")
    assert named.name == AGENT and getattr(importlib.import_module(module), name) is agent_loop
    rollout = foreign("verl.workers.config").RolloutConfig
    assert "limit_images" in {field.name for field in dataclasses.fields(rollout)}


# -- without either --------------------------------------------------------------------------------------------


def of_script(name, folder, **environment):
    """The arguments that a recipe starts its trainer with."""
    fake = folder / "python"
    fake.write_text(f"#!{sys.executable}\nimport json, sys\nprint(json.dumps(sys.argv[1:]))\n", "utf-8")
    fake.chmod(0o755)
    done = subprocess.run(
        [
            "sh",
            str(RECIPES / name),
            "/shared/checkpoint",
            "/shared/rows.parquet",
            "/shared/run",
            "trainer.total_epochs=2",
        ],
        env=os.environ | {"PYTHON": str(fake), "NODES": "2"} | environment,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    return json.loads(done.stdout)


def test_the_recipe_of_verl_starts_its_trainer(tmp_path):
    arguments = of_script("verl_train.sh", tmp_path)
    assert arguments[:2] == ["-m", "verl.trainer.main_ppo"] and arguments[-1] == "trainer.total_epochs=2"
    assert "actor_rollout_ref.model.path=/shared/checkpoint" in arguments
    named = [one for one in arguments if "agent_loop_config_path" in one]
    assert Path(named[0].partition("=")[2]).samefile(RECIPES / "verl_agent.yaml")
    (agent,) = yaml.safe_load((RECIPES / "verl_agent.yaml").read_text("utf-8"))
    assert agent == {
        "name": AGENT,
        "_target_": "napari_ibisagent.training.rl.verl_loop.agent_loop",
        "terms": "/shared/terms.toml",
    }


def test_without_the_packages_there_is_a_sentence(monkeypatch):
    for name in ("swift", "swift.rollout.multi_turn", "verl", "verl.experimental.agent_loop.agent_loop"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(InputError, match="pip install ms-swift"):
        scheduler_class(TERMS)
    loop_class.cache_clear()
    with pytest.raises(InputError, match="pip install verl"):
        loop_class()
    with pytest.raises(InputError, match="whole conversation"):
        scheduler_class(dataclasses.replace(TERMS, history=False))


def test_the_recipes_play_by_the_same_terms():
    terms = read_terms(RECIPES / "terms.toml")
    server, train = (yaml.safe_load((RECIPES / f"swift_{n}.yaml").read_text("utf-8")) for n in ("rollout", "train"))
    assert terms.history and server["multi_turn_scheduler"] == "ibisagent"
    # A picture more than there are turns: the one of the beginning.
    assert server["vllm_limit_mm_per_prompt"]["image"] == terms.steps + 1
    assert server["vllm_max_model_len"] == train["max_length"] and server["port"] == train["vllm_server_port"]
    assert train["beta"] == 0 and server["use_gym_env"] and train["use_gym_env"]
    with suppress(ImportError):
        from transformers import TrainingArguments

        assert "learning_rate" in {field.name for field in dataclasses.fields(TrainingArguments)}
