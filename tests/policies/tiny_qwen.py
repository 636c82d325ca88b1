"""Checkpoints of the real classes with tiny random weights, with all the files that lie on the hub."""

from __future__ import annotations

import json
from dataclasses import replace

FAMILIES = ("qwen2_5_vl", "qwen3_vl")
# As the family's own template writes it.
TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message.role }}\n"
    "{% if message.content is string %}{{ message.content }}{% else %}{% for part in message.content %}"
    "{% if part.type == 'image' %}<|vision_start|><|image_pad|><|vision_end|>{% else %}{{ part.text }}{% endif %}"
    "{% endfor %}{% endif %}<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def tokenizer(template=None):
    """One letter a token."""
    from napari_ibisagent.evaluation.bench.random_models import random_tokenizer

    return random_tokenizer(template=template)


def write_checkpoint(folder, family="qwen2_5_vl", *, template=None, hidden=32, seed=0):
    """Writes a checkpoint; returns its folder."""
    from napari_ibisagent.evaluation.bench.random_models import image_settings, random_qwen, size_of

    words = tokenizer(template)
    size = replace(size_of("tiny"), hidden=hidden, intermediate=2 * hidden)
    random_qwen(size, words, family=family, seed=seed, scale=6).save_pretrained(folder)
    words.save_pretrained(folder)
    (folder / "preprocessor_config.json").write_text(json.dumps(image_settings(family)), "utf-8")
    return folder
