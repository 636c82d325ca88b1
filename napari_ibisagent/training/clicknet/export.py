"""From trained weights to the file that the click tool runs: ONNX, for onnxruntime on any machine."""

from __future__ import annotations

import warnings
from pathlib import Path

import torch

from napari_ibisagent.segmenters._encoding import CHANNELS
from napari_ibisagent.training.clicknet.network import ClickNetwork

_SIDE = 128


def export(network: ClickNetwork, path: Path) -> None:
    """Writes a network as ONNX: ``maps`` (1, CHANNELS, H, W) -> ``logits`` (1, 1, H, W), ``foretold`` (1, 1)."""
    network.eval().to("cpu").to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
    path.parent.mkdir(parents=True, exist_ok=True)
    with warnings.catch_warnings():
        # The exporter that writes plain operators of any size without another package is marked as the older one.
        warnings.simplefilter("ignore", DeprecationWarning)
        torch.onnx.export(
            network,
            (torch.zeros(1, CHANNELS, _SIDE, _SIDE),),
            str(path),
            dynamo=False,
            input_names=["maps"],
            output_names=["logits", "foretold"],
            dynamic_axes={"maps": {2: "height", 3: "width"}, "logits": {2: "height", 3: "width"}},
        )
