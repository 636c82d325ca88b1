"""Models of the real classes with random weights: for benchmarks and tests where no checkpoint may be fetched.

They say nothing of sense, and take as long as trained ones of their size.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import astuple, dataclass
from typing import Any

from napari_ibisagent.core.errors import UnknownNameError
from napari_ibisagent.core.protocols import Segmenter
from napari_ibisagent.io.prompts import read_templates
from napari_ibisagent.policies.qwen_vl.loading import Opened, device_of, dtype_of
from napari_ibisagent.segmenters._prompted import PromptedSegmenter
from napari_ibisagent.segmenters._sam_prompts import mask_choice
from napari_ibisagent.segmenters._torch_runs import run_on
from napari_ibisagent.segmenters.sam2 import Sam2Prompted

MARKS = ("<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|vision_start|>", "<|vision_end|>")
PADS = ("<|image_pad|>", "<|video_pad|>")


@dataclass(frozen=True, slots=True)
class QwenSize:
    """The sizes of a Qwen2.5-VL or Qwen3-VL. Heads have 128 numbers in the published ones. turns: the base of the
    positions' frequencies; interleaved: frame, row and column get fast and slow ones each, as in Qwen3-VL, instead of
    one after the other. merge: a token is so many patches wide and high.
    """

    hidden: int
    layers: int
    heads: int
    key_heads: int
    intermediate: int
    vocabulary: int
    eye: int
    eye_layers: int
    eye_heads: int
    eye_intermediate: int
    full_layers: tuple[int, ...]
    window: int = 112
    turns: float = 1_000_000.0
    interleaved: bool = False
    merge: int = 2


SIZES = {
    "tiny": QwenSize(32, 2, 4, 2, 64, 0, 32, 2, 4, 64, (1,), 56),
    "small": QwenSize(512, 8, 8, 2, 1408, 0, 256, 8, 4, 704, (3, 7)),
    # Bai et al. 2025, table 1.
    "7b": QwenSize(3584, 28, 28, 4, 18944, 152064, 1280, 32, 16, 3420, (7, 15, 23, 31)),
}


def size_of(name: str) -> QwenSize:
    """The sizes of that name; UnknownNameError lists the known ones."""
    if name not in SIZES:
        raise UnknownNameError(f"There is no random model of the size {name!r}. Known are: {', '.join(SIZES)}.")
    return SIZES[name]


def random_tokenizer(texts: Sequence[str] = (), template: str | None = None) -> Any:
    """A byte-level tokenizer with Qwen's marks, whose words are those of some texts."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    trainer: Any = trainers.BpeTrainer
    made.train_from_iterator(
        texts, trainer(vocab_size=4096, min_frequency=1, initial_alphabet=letters, show_progress=False)
    )
    make: Any = PreTrainedTokenizerFast  # it carries no types
    words = make(tokenizer_object=made, eos_token=MARKS[2], pad_token=MARKS[0])
    words.add_special_tokens({"additional_special_tokens": [*MARKS, *PADS]})
    words.chat_template = template
    return words


def random_qwen(
    size: QwenSize, tokenizer: Any, *, family: str = "qwen2_5_vl", seed: int = 0, scale: float = 1.0
) -> Any:
    """A ``Qwen2_5_VLForConditionalGeneration``, or its sister of the third generation, in torch's default type.

    scale: how much larger than usual the weights are; random ones of the usual size say the same whatever they see.
    """
    import torch
    import transformers

    torch.manual_seed(seed)
    mark = tokenizer.convert_tokens_to_ids
    ids = {"image_token_id": mark(PADS[0]), "video_token_id": mark(PADS[1])}
    ids |= {"vision_start_token_id": mark(MARKS[3]), "vision_end_token_id": mark(MARKS[4])}
    text, eye = _text(size, len(tokenizer), mark), _eye(size)
    config: Any
    if family == "qwen2_5_vl":
        eye |= {"fullatt_block_indexes": list(size.full_layers), "window_size": size.window}
        config = transformers.Qwen2_5_VLConfig(text_config=text, vision_config=eye, **ids)
        model: Any = transformers.Qwen2_5_VLForConditionalGeneration(config)
    else:
        text |= {"head_dim": size.hidden // size.heads}
        text["rope_parameters"]["mrope_interleaved"] = True
        eye |= {"patch_size": 16, "deepstack_visual_indexes": [0], "num_position_embeddings": 64}
        config = transformers.Qwen3VLConfig(text_config=text, vision_config=eye, **ids)
        model = transformers.Qwen3VLForConditionalGeneration(config)
    if scale != 1:
        with torch.no_grad():
            for parameter in model.parameters():
                if parameter.ndim > 1:
                    parameter.mul_(scale)
    model.generation_config.eos_token_id = mark(MARKS[2])
    return model.eval()


def image_settings(family: str = "qwen2_5_vl", merge: int = 2) -> dict[str, Any]:
    """What lies in a checkpoint's ``preprocessor_config.json``. merge: see ``QwenSize``."""
    return {
        "image_processor_type": "Qwen2VLImageProcessor",
        "patch_size": 14 if family == "qwen2_5_vl" else 16,
        "merge_size": merge,
        "temporal_patch_size": 2,
        "min_pixels": 3136,
        "max_pixels": 12845056,
        "image_mean": [0.5, 0.5, 0.5],
        "image_std": [0.5, 0.5, 0.5],
    }


def random_sam2(size: str) -> Any:
    """A ``Sam2Model``: "large" as published (Ravi et al. 2024), "tiny" with its smallest trunk at 256 pixels a side."""
    from transformers import Sam2Config, Sam2HieraDetConfig, Sam2Model, Sam2VisionConfig

    model: Any = Sam2Model
    if size == "large":
        trunk = Sam2HieraDetConfig(
            hidden_size=144,
            num_attention_heads=2,
            blocks_per_stage=[2, 6, 36, 4],
            embed_dim_per_stage=[144, 288, 576, 1152],
            num_attention_heads_per_stage=[2, 4, 8, 16],
            window_size_per_stage=[8, 4, 16, 8],
            global_attention_blocks=[23, 33, 43],
            window_positional_embedding_background_size=[7, 7],
        )
        channels = [1152, 576, 288, 144]
        return model(Sam2Config(vision_config=Sam2VisionConfig(backbone_config=trunk, backbone_channel_list=channels)))
    if size != "tiny":
        raise UnknownNameError(f"There is no random SAM 2 of the size {size!r}. Known are: tiny, large.")
    side = 256
    trunk = Sam2HieraDetConfig(image_size=[side, side])
    grids = [[side // step, side // step] for step in (4, 8, 16)]
    eye = Sam2VisionConfig(backbone_config=trunk, backbone_feature_sizes=grids)
    return model(Sam2Config(vision_config=eye, prompt_encoder_config={"image_size": side}))


def _text(size: QwenSize, words: int, mark: Any) -> dict[str, Any]:
    half = size.hidden // size.heads // 2
    first = half // 4
    shared = [first, (half - first) // 2, half - first - (half - first) // 2]
    if size.interleaved:
        # The class deals them out in turns; a whole number of turns, so that none depends on how often it goes round.
        shared = [1] * (half // 3 * 3 - 1) + [half % 3 + 1]
    return {
        "vocab_size": max(size.vocabulary, words),
        "hidden_size": size.hidden,
        "intermediate_size": size.intermediate,
        "num_hidden_layers": size.layers,
        "num_attention_heads": size.heads,
        "num_key_value_heads": size.key_heads,
        "max_position_embeddings": 32768,
        "bos_token_id": mark(MARKS[0]),
        "eos_token_id": mark(MARKS[2]),
        # How the positions' frequencies are shared between frame, row and column.
        "rope_parameters": {
            "rope_type": "default",
            "rope_theta": size.turns,
            "mrope_section": shared,
        },
    }


def _eye(size: QwenSize) -> dict[str, Any]:
    return {
        "depth": size.eye_layers,
        "hidden_size": size.eye,
        "intermediate_size": size.eye_intermediate,
        "num_heads": size.eye_heads,
        "out_hidden_size": size.hidden,
        "patch_size": 14,
        "spatial_merge_size": size.merge,
    }


def opened_random(size: str, device: str, dtype: str, scale: float = 1.0) -> Opened:
    """A random Qwen2.5-VL, ready to be read to; scale: see ``random_qwen``. Raises InputError and BackendError."""
    import torch
    from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

    sizes = size_of(size)
    where = device_of(device)
    kind = dtype_of(dtype, where)
    texts = [text for name in ("ibis", "tool_calls") for text in astuple(read_templates(name))]
    words = random_tokenizer(texts)
    before = torch.get_default_dtype()
    try:
        torch.set_default_dtype(kind)
        with torch.device(where):
            model = random_qwen(sizes, words, scale=scale)
    finally:
        torch.set_default_dtype(before)
    make: Any = Qwen2VLImageProcessorPil
    settings = {key: value for key, value in image_settings().items() if key != "image_processor_type"}
    return Opened(model, words, make(**settings | {"max_pixels": 262_144}), where)


def random_sam2_tool(size: str, device: str | None) -> Segmenter:
    """A random SAM 2 as a click tool."""
    run = run_on(device, "auto")
    model = Sam2Prompted(random_sam2(size).to(run.device).eval(), run)
    return PromptedSegmenter(f"random:{size}", model, mask_choice("auto"), 512)
