"""The client against a real server of a real model with tiny weights: ``transformers serve``, in its own process."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request

import numpy as np
import pytest

pytest.importorskip("openai", reason="the extra remote is not installed")
pytest.importorskip("transformers", reason="the extra models is not installed")
pytest.importorskip("fastapi", reason="transformers serve needs fastapi and uvicorn")

from test_openai_compatible import situation
from tiny_qwen import TEMPLATE, tokenizer

from napari_ibisagent import registry
from napari_ibisagent.agent.runner import Stage, run
from napari_ibisagent.core.episode import Failed, Outcome, advance
from napari_ibisagent.core.errors import BackendError
from napari_ibisagent.segmenters import geodesic

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning")


def write_llava(folder):
    """LLaVA, since its processor needs no torchvision; the client doesn't know what it speaks to."""
    import torch
    from transformers import CLIPVisionConfig, LlamaConfig, LlavaConfig, LlavaForConditionalGeneration, LlavaProcessor
    from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

    torch.manual_seed(0)
    words = tokenizer()
    words.add_special_tokens({"additional_special_tokens": ["<image>"]})
    eye = CLIPVisionConfig(
        hidden_size=16, intermediate_size=32, num_hidden_layers=2, num_attention_heads=2, image_size=28, patch_size=14
    )
    text = LlamaConfig(
        vocab_size=len(words),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        eos_token_id=words.eos_token_id,
        max_position_embeddings=8192,
    )
    config = LlavaConfig(vision_config=eye, text_config=text, image_token_index=words.convert_tokens_to_ids("<image>"))
    model = LlavaForConditionalGeneration(config)
    model.generation_config.eos_token_id = words.eos_token_id
    with torch.no_grad():  # random weights of the usual size say the same whatever they see
        for parameter in model.parameters():
            if parameter.ndim > 1:
                parameter.mul_(8)
    model.save_pretrained(folder)
    LlavaProcessor(
        CLIPImageProcessorPil(size={"shortest_edge": 28}, crop_size={"height": 28, "width": 28}),
        words,
        patch_size=14,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        chat_template=TEMPLATE.replace("<|vision_start|><|image_pad|><|vision_end|>", "<image>"),
    ).save_pretrained(folder)


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """(url, name of the model)"""
    folder = tmp_path_factory.mktemp("llava")
    write_llava(folder)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    log = folder / "log.txt"
    command = [sys.executable, "-c", "from transformers.cli.transformers import main; main()", "serve", str(folder)]
    command += ["--port", str(port), "--host", "127.0.0.1", "--device", "cpu"]
    own = os.environ | {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "HF_HOME": str(folder / "hub")}
    with log.open("wb") as file, subprocess.Popen(command, stdout=file, stderr=file, env=own) as process:
        try:
            _wait_for(f"http://127.0.0.1:{port}/health", process, log)
            yield f"http://127.0.0.1:{port}/v1", str(folder)
        finally:
            process.kill()


def _wait_for(url, process, log):
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    for _ in range(900):
        assert process.poll() is None, log.read_text("utf-8", "replace")[-2000:]
        try:
            direct.open(url, timeout=2).close()
            return
        except urllib.error.HTTPError:
            return  # it answers
        except OSError:
            time.sleep(0.1)
    raise AssertionError(log.read_text("utf-8", "replace")[-2000:])


def policy(server, **options):
    url, model = server
    given = {"url": url, "model": model, "max_new_tokens": 24, "retries": 0} | options
    return registry.load("policies", "openai_compatible", **given)


def test_a_real_server_answers_and_repeats_itself(server):
    pieces = [piece for piece in policy(server).act(situation()) if piece]
    assert len(pieces) > 3 and "".join(pieces).strip()
    assert "".join(policy(server).act(situation())) == "".join(pieces)


def test_it_sees_the_picture(server):
    url, model = server
    seen = situation()
    dark = registry.load("policies", "openai_compatible", url=url, model=model, max_new_tokens=24)
    other = situation()
    object.__setattr__(other, "look", lambda _: np.full((64, 64, 3), 255, np.uint8) - seen.observation)
    assert "".join(dark.act(seen)) != "".join(dark.act(other))


def test_its_babble_ends_an_episode_in_order(server):
    scene = situation()
    agent = policy(server, repairs=1)
    stage = Stage(scene.volume, scene.view, agent, geodesic.build().open(scene.view))
    episode, events = scene.episode, []
    for event in run(scene.episode, stage):
        episode = advance(episode, event)
        events.append(event)
    assert isinstance(events[-1], Failed) and episode.outcome is Outcome.FAILED and "<action>" in episode.reason


def test_broken_off_and_asked_again(server):
    pieces = policy(server, max_new_tokens=400).act(situation())
    while not next(pieces):
        pass
    started = time.monotonic()
    pieces.close()
    assert time.monotonic() - started < 1
    assert "".join(policy(server).act(situation())).strip()


def test_a_model_that_it_doesnt_have_is_said(server):
    url, _ = server
    with pytest.raises(BackendError, match="no/such-model"):
        list(policy(server, model="no/such-model").act(situation()))
    assert url
