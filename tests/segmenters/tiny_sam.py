"""Tiny models of the real classes with seeded random weights, written as folders that the tools load."""

from __future__ import annotations

import math

SIDE = 128


def write_sam(folder, seed=0):
    """A ``SamModel`` of 128 pixels a side, 32 x 32 logits."""
    from transformers import SamConfig, SamMaskDecoderConfig, SamModel, SamPromptEncoderConfig, SamVisionConfig

    config = SamConfig(
        vision_config=SamVisionConfig(
            hidden_size=32,
            output_channels=32,
            num_hidden_layers=2,
            num_attention_heads=2,
            image_size=SIDE,
            patch_size=16,
            window_size=4,
            global_attn_indexes=[1],
            num_pos_feats=16,
            mlp_dim=64,
        ),
        prompt_encoder_config=SamPromptEncoderConfig(hidden_size=32, image_size=SIDE, patch_size=16),
        mask_decoder_config=SamMaskDecoderConfig(
            hidden_size=32, mlp_dim=64, num_attention_heads=8, iou_head_hidden_dim=32, layer_norm_eps=1e-5
        ),
    )
    return _written(SamModel(config), folder, seed)


def write_sam2(folder, seed=0, video=False):
    """A ``Sam2Model`` of 128 pixels a side, 32 x 32 logits; ``video``: said to be one of the video model."""
    from transformers import (
        Sam2Config,
        Sam2HieraDetConfig,
        Sam2MaskDecoderConfig,
        Sam2Model,
        Sam2PromptEncoderConfig,
        Sam2VisionConfig,
    )

    backbone = Sam2HieraDetConfig(
        hidden_size=16,
        num_attention_heads=1,
        image_size=[SIDE, SIDE],
        blocks_per_stage=[1, 1, 2, 1],
        embed_dim_per_stage=[16, 32, 64, 128],
        num_attention_heads_per_stage=[1, 2, 4, 8],
        window_size_per_stage=[8, 4, 4, 2],
        global_attention_blocks=[3],
    )
    config = Sam2Config(
        vision_config=Sam2VisionConfig(
            backbone_config=backbone,
            backbone_channel_list=[128, 64, 32, 16],
            backbone_feature_sizes=[[32, 32], [16, 16], [8, 8]],
            fpn_hidden_size=32,
        ),
        prompt_encoder_config=Sam2PromptEncoderConfig(hidden_size=32, image_size=SIDE, patch_size=16),
        mask_decoder_config=Sam2MaskDecoderConfig(hidden_size=32, mlp_dim=64, iou_head_hidden_dim=32),
    )
    model = _written(Sam2Model(config), folder, seed)
    if video:
        path = folder / "config.json"
        path.write_text(path.read_text("utf-8").replace('"sam2"', '"sam2_video"'), "utf-8")
    return model


def _written(model, folder, seed):
    """Weights as wide as their inputs ask for, so that pictures and prompts make a difference."""
    import torch

    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for weight in model.parameters():
            if weight.ndim >= 2:
                spread = 1 / math.sqrt(max(1, weight[0].numel()))
                weight.copy_(torch.randn(weight.shape, generator=generator) * spread)
        for name, places in [*model.named_parameters(), *model.named_buffers()]:
            if name.endswith("positional_embedding"):
                again = torch.Generator().manual_seed(seed)
                places.copy_(torch.randn(places.shape, generator=again))
    model.eval().save_pretrained(folder)
    return model
