"""Batches: positions as transformers counts them, and many answers at once that are those of one at a time."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("torch", reason="the extra models is not installed")
pytest.importorskip("transformers", reason="the extra models is not installed")

import torch
from tiny_qwen import FAMILIES, write_checkpoint

from napari_ibisagent.core.dialects.conversation import Message
from napari_ibisagent.policies.qwen_vl.chance import Choice
from napari_ibisagent.policies.qwen_vl.loading import Machine, open_checkpoint
from napari_ibisagent.policies.qwen_vl.prompt import read_messages
from napari_ibisagent.policies.qwen_vl.reader import Reader, closing, ends, text_of
from napari_ibisagent.training import batches, sampling
from napari_ibisagent.training.batches import IGNORED, Example, Positions, to_learn, to_write
from napari_ibisagent.training.sampling import answers

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning")


@pytest.fixture(scope="module")
def opened(tmp_path_factory):
    made = {}
    for family in FAMILIES:
        folder = write_checkpoint(tmp_path_factory.mktemp(family), family)
        made[family] = open_checkpoint(str(folder), Machine("cpu", "float32"), 262_144)
    return made


def shown(seed, height, width):
    return np.random.default_rng(seed).integers(0, 255, (height, width, 3), np.uint8)


def conversations():
    """With one picture, with several of different sizes, with none, and of different lengths."""
    return [
        [Message("user", "hi", shown(0, 70, 100))],
        [
            Message("system", "Be brief."),
            Message("user", "hello there", shown(1, 56, 56)),
            Message("assistant", "x"),
            Message("user", "again, please", shown(2, 120, 60)),
            Message("assistant", "y"),
            Message("user", "and now", shown(3, 64, 140)),
        ],
        [Message("user", "no picture at all")],
        [Message("system", "Be brief."), Message("user", "hi", shown(0, 70, 100))],
    ]


def readings(one):
    return [read_messages(said, one) for said in conversations()]


def own_positions(one, batch):
    kinds = (batch["input_ids"] == one.model.config.image_token_id).int()
    found, _ = one.model.model.get_rope_index(
        batch["input_ids"],
        mm_token_type_ids=kinds,
        image_grid_thw=batch["image_grid_thw"],
        attention_mask=batch["attention_mask"],
    )
    return found


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("family", FAMILIES)
def test_positions_are_those_of_transformers(opened, family, side):
    one = opened[family]
    read, positions = readings(one), Positions(one)
    for _ in range(2):  # as counted, and as remembered
        if side == "left":
            batch = to_write(read, one, positions)
            assert batch["attention_mask"][:, -1].all()
        else:
            batch = to_learn([Example.of(reading, (5, 6, 7)) for reading in read], one, positions)
            assert batch["attention_mask"][:, 0].all()
        real = batch["attention_mask"].bool()
        assert not real.all()
        assert torch.equal(batch["position_ids"][:, real], own_positions(one, batch)[:, real])


def test_few_positions_are_remembered(opened, monkeypatch):
    monkeypatch.setattr(batches, "_REMEMBERED", 3)
    one = opened["qwen2_5_vl"]
    positions = Positions(one)
    for n in range(8):
        reading = read_messages([Message("system", "s" * n), Message("user", "hi", shown(0, 56, 56))], one)
        positions.of(reading.ids, reading.pictures)
    assert len(positions._known) == 3


def test_what_isnt_learned_is_ignored(opened):
    one = opened["qwen2_5_vl"]
    reading, other = readings(one)[:2]
    batch = to_learn([Example.of(reading, (5, 6)), Example.of(other, (7,), learn=False)], one, Positions(one))
    labels = batch["labels"]
    n = len(reading.ids)
    assert labels[0, n : n + 2].tolist() == [5, 6]
    assert (labels != IGNORED).sum() == 2
    assert batch["input_ids"][1, : len(other.ids)].tolist() == list(other.ids)


@pytest.mark.parametrize("family", FAMILIES)
def test_the_padding_changes_no_logit(opened, family):
    one = opened[family]
    read, positions = readings(one), Positions(one)
    together = one.model(**to_write(read, one, positions), use_cache=False).logits[:, -1]
    for row, reading in zip(together, read, strict=True):
        alone = one.model(**to_write([reading], one, positions), use_cache=False).logits[0, -1]
        torch.testing.assert_close(row, alone, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("family", FAMILIES)
def test_many_greedy_answers_are_those_of_one_at_a_time(opened, family):
    one = opened[family]
    choice = Choice(max_new_tokens=24)
    written = answers(readings(one), one, Positions(one), choice, torch.Generator())
    alone = ["".join(Reader(one).answer(reading, choice, 0)) for reading in readings(one)]
    assert [text_of(tokens, one) for tokens in written] == alone
    assert len(set(alone)) > 1


def test_readings_that_are_the_same_are_read_once(opened, monkeypatch):
    one = opened["qwen2_5_vl"]
    choice = Choice(max_new_tokens=12, temperature=2.0)
    read = readings(one)
    seen = []
    monkeypatch.setattr(sampling, "to_write", lambda given, *rest: seen.append(len(given)) or to_write(given, *rest))
    twice = answers([*read, *readings(one)], one, Positions(one), replace(choice, temperature=0.0), torch.Generator())
    assert seen == [len(read)]
    assert twice[: len(read)] == twice[len(read) :] and len(set(twice)) > 1
    # By chance each has dice of its own.
    chance = answers([*read, *read], one, Positions(one), choice, torch.Generator().manual_seed(1))
    assert chance[: len(read)] != chance[len(read) :]


def test_an_answer_ends_with_its_end(opened, monkeypatch):
    one = opened["qwen2_5_vl"]
    choice = Choice(max_new_tokens=24)
    free = answers(readings(one), one, Positions(one), choice, torch.Generator())
    end = free[0][3]
    assert end not in free[0][:3]
    monkeypatch.setattr(one.model.generation_config, "eos_token_id", [end])
    cut = answers(readings(one), one, Positions(one), choice, torch.Generator())
    assert cut[0] == free[0][:4]
    for before, now in zip(free, cut, strict=True):
        at = before.index(end) + 1 if end in before else len(before)
        assert now == before[:at]


def test_chance_repeats_with_the_seed(opened):
    one = opened["qwen2_5_vl"]
    choice = Choice(max_new_tokens=12, temperature=2.0)

    def drawn(seed):
        return answers(readings(one), one, Positions(one), choice, torch.Generator().manual_seed(seed))

    assert drawn(1) == drawn(1) != drawn(2)


def test_an_answer_is_closed_as_the_template_closes_it(opened, monkeypatch):
    one = opened["qwen2_5_vl"]
    mark = one.tokenizer.convert_tokens_to_ids
    # As in the published checkpoints, which end at the mark between two documents too.
    monkeypatch.setattr(one.model.generation_config, "eos_token_id", [mark("<|endoftext|>"), mark("<|im_end|>")])
    assert ends(one) == {mark("<|endoftext|>"), mark("<|im_end|>")}
    assert closing(one) == mark("<|im_end|>")
