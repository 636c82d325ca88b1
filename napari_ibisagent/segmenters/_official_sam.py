"""The authors' SAM and MedSAM checkpoints (.pth) as transformers' ``SamModel``: parts renamed, sizes read off them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_ibisagent.core.errors import InputError
from napari_ibisagent.segmenters._official import SHARED_NAMES, Names, filled, renamed_by

if TYPE_CHECKING:
    from torch import Tensor

_NAMES: Names = (
    *SHARED_NAMES,
    (r"^image_encoder\.blocks\.", "vision_encoder.layers."),
    (r"^image_encoder\.", "vision_encoder."),
    (r"\.neck\.0\.", ".neck.conv1."),
    (r"\.neck\.1\.", ".neck.layer_norm1."),
    (r"\.neck\.2\.", ".neck.conv2."),
    (r"\.neck\.3\.", ".neck.layer_norm2."),
    (r"\.point_embeddings\.", ".point_embed."),
)
_PATCH = "image_encoder.patch_embed.proj.weight"
_GRID = "image_encoder.pos_embed"
_POINTS = "prompt_encoder.pe_layer.positional_encoding_gaussian_matrix"
# Means and spreads of pictures, which some files carry along.
_NOT_WEIGHTS = ("pixel_mean", "pixel_std")


def sam_of(state: dict[str, Tensor], path: Path) -> Any:
    """The ``SamModel`` of the authors' weights, float32; raises InputError or BackendError.

    Any size of encoder is taken, as all of it can be read off the weights. The decoder has 8 heads, as published.
    """
    if not {_PATCH, _GRID, _POINTS} <= state.keys():
        raise InputError(f"{path.name} isn't a SAM checkpoint as its authors publish them. Check which model it is.")
    return filled(_made, state, path, "SAM")


def _made(state: dict[str, Tensor]) -> tuple[Any, dict[str, Tensor]]:
    from transformers import SamModel

    weights = {renamed_by(_NAMES, name): value for name, value in state.items() if name not in _NOT_WEIGHTS}
    # The same places serve points and pictures.
    weights["shared_image_embedding.positional_embedding"] = state[_POINTS]
    return SamModel(_config_of(state)), weights


def _config_of(state: dict[str, Tensor]) -> Any:
    """The ``SamConfig`` that official weights belong to.

    Windows and heads are read off the relative positions, (2 * size - 1, width of a head): global attention has those
    of the whole grid, the others those of their window.
    """
    from transformers import SamConfig, SamMaskDecoderConfig, SamPromptEncoderConfig, SamVisionConfig

    width, _, patch, _ = state[_PATCH].shape
    grid = state[_GRID].shape[1]
    layers = len({name.split(".")[2] for name in state if name.startswith("image_encoder.blocks.")})
    positions = [state[f"image_encoder.blocks.{layer}.attn.rel_pos_h"].shape for layer in range(layers)]
    spans = [(length + 1) // 2 for length, _ in positions]
    channels = state["image_encoder.neck.0.weight"].shape[0]
    vision = SamVisionConfig(
        hidden_size=width,
        num_hidden_layers=layers,
        num_attention_heads=width // positions[0][1],
        mlp_dim=state["image_encoder.blocks.0.mlp.lin1.weight"].shape[0],
        output_channels=channels,
        image_size=grid * patch,
        patch_size=patch,
        window_size=min(spans),
        global_attn_indexes=[layer for layer, span in enumerate(spans) if span == grid],
        num_pos_feats=state[_POINTS].shape[1],
    )
    prompts = SamPromptEncoderConfig(
        hidden_size=channels,
        image_size=grid * patch,
        patch_size=patch,
        mask_input_channels=state["prompt_encoder.mask_downscaling.3.weight"].shape[0],
    )
    masks = SamMaskDecoderConfig(
        hidden_size=channels,
        mlp_dim=state["mask_decoder.transformer.layers.0.mlp.lin1.weight"].shape[0],
        iou_head_hidden_dim=state["mask_decoder.iou_prediction_head.layers.0.weight"].shape[0],
        layer_norm_eps=1e-5,  # torch's default, which the authors' decoder was trained with
    )
    return SamConfig(vision_config=vision, prompt_encoder_config=prompts, mask_decoder_config=masks)
