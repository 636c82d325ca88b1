"""The authors' SAM 2, SAM 2.1 and MedSAM2 checkpoints (.pt) as transformers' ``Sam2Model``: parts renamed.

Unlike SAM's these don't tell all sizes: the heads and windows of the four published encoders are listed here, and the
side of the picture that a model was trained on has to be said (1024; MedSAM2: 512).
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_ibisagent.core.errors import InputError
from napari_ibisagent.segmenters._official import SHARED_NAMES, Names, filled, renamed_by

if TYPE_CHECKING:
    from torch import Tensor

_NAMES: Names = (
    *SHARED_NAMES,
    (r"^image_encoder\.trunk\.", "vision_encoder.backbone."),
    (r"^image_encoder\.neck\.convs\.(\d+)\.conv\.", r"vision_encoder.neck.convs.\1."),
    (r"^sam_(prompt_encoder|mask_decoder)\.", r"\1."),
    (r"\.mlp\.layers\.0\.", ".mlp.proj_in."),
    (r"\.mlp\.layers\.1\.", ".mlp.proj_out."),
    (r"\.out_proj\.", ".o_proj."),
    (r"^no_mem_embed$", "no_memory_embedding"),
)
_BLOCKS = "image_encoder.trunk.blocks."
_WINDOW = "image_encoder.trunk.pos_embed_window"
_POINTS = "sam_prompt_encoder.pe_layer.positional_encoding_gaussian_matrix"
_POINT = "sam_prompt_encoder.point_embeddings."
# The rest is the memory from slice to slice, which single views have no use for.
_WANTED = ("image_encoder.", "sam_prompt_encoder.", "sam_mask_decoder.", "no_mem_embed")


@dataclass(frozen=True, slots=True)
class Trunk:
    """Heads in the first stage (twice as many in each further one), windows by stage, blocks that see everything."""

    heads: int
    windows: tuple[int, ...]
    everywhere: tuple[int, ...]


# By channels and blocks a stage: tiny, small, base plus and large, as in the authors' configurations of SAM 2.1.
TRUNKS: dict[tuple[int, tuple[int, ...]], Trunk] = {
    (96, (1, 2, 7, 2)): Trunk(1, (8, 4, 14, 7), (5, 7, 9)),
    (96, (1, 2, 11, 2)): Trunk(1, (8, 4, 14, 7), (7, 10, 13)),
    (112, (2, 3, 16, 3)): Trunk(2, (8, 4, 14, 7), (12, 16, 20)),
    (144, (2, 6, 36, 4)): Trunk(2, (8, 4, 16, 8), (23, 33, 43)),
}


def sam2_of(state: dict[str, Tensor], path: Path, side: int) -> Any:
    """The ``Sam2Model`` of the authors' weights for pictures of ``side`` pixels, float32.

    Raises InputError for another model or a side that isn't a multiple of 32, BackendError where a part is missing.
    """
    if not {_WINDOW, _POINTS} <= state.keys():
        raise InputError(f"{path.name} isn't a SAM 2 checkpoint as its authors publish them. Check which model it is.")
    width, stages = _stages(state)
    if (width, stages) not in TRUNKS:
        raise InputError(
            f"{path.name} has an encoder of {width} channels and {stages} blocks, which is none of SAM 2's published "
            "ones. Convert it to a folder with config.json and safetensors first."
        )
    if side < 32 or side % 32:
        raise InputError(f"side={side} isn't a multiple of 32. Give the side that the model was trained on, as 1024.")
    return filled(lambda weights: _made(weights, side), state, path, "SAM 2")


def _stages(state: dict[str, Tensor]) -> tuple[int, tuple[int, ...]]:
    """Channels of the first stage, and blocks a stage: a block that widens its input begins a stage."""
    count = len({name.removeprefix(_BLOCKS).split(".")[0] for name in state if name.startswith(_BLOCKS)})
    begins = [block for block in range(1, count) if f"{_BLOCKS}{block}.proj.weight" in state]
    edges = [0, *begins, count]
    return int(state[_WINDOW].shape[1]), tuple(b - a for a, b in itertools.pairwise(edges))


def _made(state: dict[str, Tensor], side: int) -> tuple[Any, dict[str, Tensor]]:
    import torch
    from transformers import Sam2Model

    weights = {
        renamed_by(_NAMES, name): value
        for name, value in state.items()
        if name.startswith(_WANTED) and not name.startswith(_POINT)
    }
    # The kinds of points are one table there, and the same places serve points and pictures.
    weights["prompt_encoder.point_embed.weight"] = torch.cat([state[f"{_POINT}{kind}.weight"] for kind in range(4)])
    weights["shared_image_embedding.positional_embedding"] = state[_POINTS]
    return Sam2Model(_config_of(state, side)), weights


def _config_of(state: dict[str, Tensor], side: int) -> Any:
    from transformers import (
        Sam2Config,
        Sam2HieraDetConfig,
        Sam2MaskDecoderConfig,
        Sam2PromptEncoderConfig,
        Sam2VisionConfig,
    )

    width, stages = _stages(state)
    trunk = TRUNKS[width, stages]
    widths = [width * 2**stage for stage in range(len(stages))]
    channels = state["sam_mask_decoder.iou_token.weight"].shape[1]
    backbone = Sam2HieraDetConfig(
        hidden_size=width,
        num_attention_heads=trunk.heads,
        image_size=[side, side],
        window_positional_embedding_background_size=list(state["image_encoder.trunk.pos_embed"].shape[2:]),
        blocks_per_stage=list(stages),
        embed_dim_per_stage=widths,
        num_attention_heads_per_stage=[trunk.heads * 2**stage for stage in range(len(stages))],
        window_size_per_stage=list(trunk.windows),
        global_attention_blocks=list(trunk.everywhere),
    )
    vision = Sam2VisionConfig(
        backbone_config=backbone,
        backbone_channel_list=widths[::-1],
        backbone_feature_sizes=[[side // step] * 2 for step in (4, 8, 16)],
        fpn_hidden_size=channels,
    )
    masks = Sam2MaskDecoderConfig(
        hidden_size=channels,
        mlp_dim=state["sam_mask_decoder.transformer.layers.0.mlp.layers.0.weight"].shape[0],
        iou_head_hidden_dim=state["sam_mask_decoder.iou_prediction_head.layers.0.weight"].shape[0],
    )
    prompts = Sam2PromptEncoderConfig(hidden_size=channels, image_size=side)
    return Sam2Config(vision_config=vision, prompt_encoder_config=prompts, mask_decoder_config=masks)
