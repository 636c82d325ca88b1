"""The nano agent before it has learned: a real ``Qwen2_5_VLForConditionalGeneration`` with small sizes, and its words.

A token is a word, two digits, or a part of the dialect's form, so that an answer takes some twenty tokens. The parts of
words are kept as well: any sentence can be read.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from napari_ibisagent.core.dialects.conversation import Templates
from napari_ibisagent.evaluation.bench.random_models import MARKS, PADS, QwenSize, image_settings, random_qwen
from napari_ibisagent.io.atomic import atomic_write_bytes
from napari_ibisagent.io.prompts import write_templates
from napari_ibisagent.policies.qwen_vl import PROMPTS

# Heads of 32 numbers; every picture of 112 pixels a side is one window of the eye, and 8 x 8 tokens. Fast frequencies
# tell these apart, slow ones find them.
SIZE = QwenSize(
    hidden=192,
    layers=4,
    heads=6,
    key_heads=6,
    intermediate=512,
    vocabulary=0,
    eye=128,
    eye_layers=4,
    eye_heads=4,
    eye_intermediate=384,
    full_layers=(0, 1, 2, 3),
    turns=1000.0,
    interleaved=True,
    merge=1,
)
# The step's number is the only thing that the nano agent is told besides the sentence: with it a given mask differs
# from one of its own making.
TEMPLATES = Templates(
    system="",
    first="$step $prompt",
    refine="$step $prompt",
    mistake="$problem",
    overridden="$actions",
    rejected="$reason",
    by_hand="",
)
# ChatML, but the sentence comes before the picture: what is looked for is known while looking.
_SENTENCE_FIRST = (
    "{% for message in messages %}<|im_start|>{{ message.role }}\n"
    "{% if message.content is string %}{{ message.content }}{% else %}"
    "{% for part in message.content if part.type == 'text' %}{{ part.text }}{% endfor %}"
    "{% for part in message.content if part.type == 'image' %}<|vision_start|><|image_pad|><|vision_end|>{% endfor %}"
    "{% endif %}<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
# The dialect's form in few pieces; words with the space before them; numbers two digits at a time.
_PIECES = (
    r"</think><action>|<think>|</action><answer>|</action>|</answer>|\(0\.|, 0\.|, 1\.|\(1\.|\d\d"
    r"| ?[A-Za-z]+|'s|."
)
# The mean, and about the spread, of made-up slices.
_GREY = [0.2, 0.2, 0.2]
# Narrow layers with weights of the usual size hardly pass on what is seen, and it learns later.
_SPREAD = 3.0
_VOCABULARY = 2048
_SEEN_AT_LEAST = 3


def tokenizer(texts: Sequence[str]) -> Any:
    """A tokenizer whose tokens are the pieces of some texts that come often enough; anything else in letters."""
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    made = Tokenizer(models.BPE())
    split: Any = pre_tokenizers.Split
    made.pre_tokenizer = pre_tokenizers.Sequence(
        [split(Regex(_PIECES), "isolated"), pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)]
    )
    made.decoder = decoders.ByteLevel()
    trainer: Any = trainers.BpeTrainer
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    made.train_from_iterator(
        texts,
        trainer(vocab_size=_VOCABULARY, min_frequency=_SEEN_AT_LEAST, initial_alphabet=letters, show_progress=False),
    )
    make: Any = PreTrainedTokenizerFast  # it carries no types
    words = make(tokenizer_object=made, eos_token=MARKS[2], pad_token=MARKS[0])
    words.add_special_tokens({"additional_special_tokens": [*MARKS, *PADS]})
    return words


def write_untrained(folder: Path, texts: Sequence[str], seed: int, size: QwenSize = SIZE) -> Path:
    """Writes a checkpoint with random weights; returns its folder."""
    words = tokenizer(texts)
    words.chat_template = _SENTENCE_FIRST
    model = random_qwen(size, words, seed=seed, scale=_SPREAD)
    model.to(torch.float32).save_pretrained(folder)
    write_rest(folder, words, size.merge)
    write_templates(folder / PROMPTS, TEMPLATES)
    return folder


def write_rest(folder: Path, words: Any, merge: int) -> None:
    """What lies beside the weights: tokenizer and image processor. merge: see ``QwenSize``."""
    words.save_pretrained(folder)
    settings = image_settings(merge=merge) | {"max_pixels": 262_144, "image_mean": _GREY, "image_std": _GREY}
    atomic_write_bytes(folder / "preprocessor_config.json", json.dumps(settings, indent=1).encode())
