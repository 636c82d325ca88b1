"""Checkpoints of the real classes with tiny random weights, with all the files that lie on the hub."""

from __future__ import annotations

import json

FAMILIES = ("qwen2_5_vl", "qwen3_vl")
_MARKS = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|vision_start|>", "<|vision_end|>", "<|image_pad|>"]
_MARKS += ["<|video_pad|>"]
# As the family's own template writes it.
TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message.role }}\n"
    "{% if message.content is string %}{{ message.content }}{% else %}{% for part in message.content %}"
    "{% if part.type == 'image' %}<|vision_start|><|image_pad|><|vision_end|>{% else %}{{ part.text }}{% endif %}"
    "{% endfor %}{% endif %}<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def tokenizer(template=None):
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    byte_level = Tokenizer(models.BPE({letter: n for n, letter in enumerate(letters)}, []))
    byte_level.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    byte_level.decoder = decoders.ByteLevel()
    made = PreTrainedTokenizerFast(tokenizer_object=byte_level, eos_token="<|im_end|>", pad_token="<|endoftext|>")
    made.add_special_tokens({"additional_special_tokens": _MARKS})
    made.chat_template = template
    return made


def write_checkpoint(folder, family="qwen2_5_vl", *, template=None, hidden=32, layers=2, seed=0, vision=(32, 2)):
    """Writes a checkpoint; returns its folder."""
    import torch
    import transformers

    torch.manual_seed(seed)
    words = tokenizer(template)
    mark = words.convert_tokens_to_ids
    ids = {
        "image_token_id": mark("<|image_pad|>"),
        "video_token_id": mark("<|video_pad|>"),
        "vision_start_token_id": mark("<|vision_start|>"),
        "vision_end_token_id": mark("<|vision_end|>"),
    }
    text = {
        "vocab_size": len(words),
        "hidden_size": hidden,
        "intermediate_size": 2 * hidden,
        "num_hidden_layers": layers,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "rope_parameters": {"rope_type": "default", "rope_theta": 10000.0, "mrope_section": [1, 1, 2]},
        "bos_token_id": mark("<|endoftext|>"),
        "eos_token_id": mark("<|im_end|>"),
        "max_position_embeddings": 8192,
    }
    if hidden // 4 != 8:
        sizes = [hidden // 32, 3 * hidden // 64, 0]
        text["rope_parameters"]["mrope_section"] = [*sizes[:2], hidden // 8 - sum(sizes)]
    eye = {
        "depth": vision[1],
        "hidden_size": vision[0],
        "intermediate_size": 2 * vision[0],
        "num_heads": 4,
        "out_hidden_size": hidden,
        "patch_size": 14,
    }
    if family == "qwen2_5_vl":
        eye |= {"fullatt_block_indexes": [1], "window_size": 56}
        config = transformers.Qwen2_5_VLConfig(text_config=text, vision_config=eye, **ids)
        model = transformers.Qwen2_5_VLForConditionalGeneration(config)
    else:
        text |= {"head_dim": hidden // 4}
        text["rope_parameters"]["mrope_interleaved"] = True
        eye |= {"patch_size": 16, "deepstack_visual_indexes": [0], "num_position_embeddings": 64}
        config = transformers.Qwen3VLConfig(text_config=text, vision_config=eye, **ids)
        model = transformers.Qwen3VLForConditionalGeneration(config)
    with torch.no_grad():  # random weights of the usual size say the same whatever they see
        for parameter in model.parameters():
            if parameter.ndim > 1:
                parameter.mul_(6)
    model.generation_config.eos_token_id = mark("<|im_end|>")
    model.save_pretrained(folder, safe_serialization=True)
    words.save_pretrained(folder)
    settings = {
        "image_processor_type": "Qwen2VLImageProcessor",
        "patch_size": eye["patch_size"],
        "merge_size": 2,
        "temporal_patch_size": 2,
        "min_pixels": 3136,
        "max_pixels": 12845056,
        "image_mean": [0.5, 0.5, 0.5],
        "image_std": [0.5, 0.5, 0.5],
    }
    (folder / "preprocessor_config.json").write_text(json.dumps(settings), "utf-8")
    return folder
