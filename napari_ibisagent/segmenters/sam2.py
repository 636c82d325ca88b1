"""SAM 2 and SAM 2.1 (Ravi et al. 2024) and models of their form, such as MedSAM2, as a click tool for single views.

Weights: a folder as transformers writes it, with safetensors (those of the video model serve too), or, where the user
allows it, the authors' ``.pt`` file, the only form in which MedSAM2 is published. The picture is prepared by hand, as
transformers' processor for SAM 2 needs torchvision.

What it leaves out: the memory with which SAM 2 follows an object from slice to slice, which is a propagator's matter.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from napari_ibisagent.core.errors import BackendError, InputError
from napari_ibisagent.core.overlay import Picture
from napari_ibisagent.segmenters._official import official_file, read_weights
from napari_ibisagent.segmenters._official_sam2 import sam2_of
from napari_ibisagent.segmenters._preprocess import Pixels, sam2_pixels
from napari_ibisagent.segmenters._prompted import PromptedSegmenter, decoder_arguments
from napari_ibisagent.segmenters._sam_prompts import Frame, PromptArrays, mask_choice, stretched
from napari_ibisagent.segmenters._torch_runs import Run, missing_packages, run_on, translated
from napari_ibisagent.segmenters._weights import load_pretrained, needs_folder

if TYPE_CHECKING:
    from torch import Tensor

_FETCH = "sam2.1-hiera-large"
# Logits are fed back within these bounds, as the authors' predictor does.
_BOUND = 32.0


class Sam2Prompted:
    """transformers' ``Sam2Model`` as a ``PromptedModel``."""

    def __init__(self, model: Any, run: Run) -> None:
        self.run = run
        self._model = model
        self._side = int(model.prompt_encoder.input_image_size)
        self.low = int(model.prompt_encoder.mask_input_size[0])

    def frame(self, shape: tuple[int, int]) -> Frame:
        """Where a view (H, W) lies in the model's square: all of it, whatever its proportions."""
        return stretched(self._side)

    def pixels(self, picture: Picture, frame: Frame) -> Pixels:
        """(3, side, side) of a picture (H, W, 3)."""
        return sam2_pixels(picture, frame)

    def encode(self, pixels: Tensor) -> list[Tensor]:
        """Features of pictures (B, 3, side, side), finest first: (B, C/8, 4h, 4w), (B, C/4, 2h, 2w), (B, C, h, w)."""
        return list(self._model.get_image_embeddings(pixels))

    def decode(
        self, embedding: Sequence[Tensor], prompts: PromptArrays, before: Tensor | None, three: bool
    ) -> tuple[Tensor, Tensor]:
        """(n, low, low) logits and (n,) scores."""
        result = self._model(
            image_embeddings=list(embedding),
            **decoder_arguments(prompts, self.run.device),
            input_masks=None if before is None else before.clamp(-_BOUND, _BOUND)[None, None],
            multimask_output=three,
        )
        return result.pred_masks[0, 0], result.iou_scores[0, 0]


def available() -> str | None:
    """Why the tool can't run as it is, as a sentence: packages, or weights, which are always to be named."""
    return missing_packages() or needs_folder("sam2", _FETCH)


def build(
    folder: str | None = None,
    device: str | None = None,
    dtype: str = "auto",
    masks: str = "auto",
    cache_mb: float = 512,
    revision: str | None = None,
    download: bool = False,
    allow_pickle: bool = False,
    side: int = 1024,
    name: str = "sam2",
) -> PromptedSegmenter:
    """SAM 2, 2.1 or MedSAM2 as a click tool.

    folder: a folder with config.json and safetensors, the id of a model on the hub (fetched only with ``download``,
    at ``revision``), or the authors' .pt file or its folder (read only with ``allow_pickle``). side: for such a file,
    the side of the pictures that it was trained on, in pixels: 1024, and 512 for MedSAM2. device: cpu, cuda, cuda:1,
    ...; None takes CUDA where there is one. dtype: of the image encoder; auto is float16 on CUDA, else float32.
    masks: auto (best of three on a first click alone, one later), best_of_three and ibis (three every time, as in the
    published agent's loop), or single. cache_mb: how much memory embeddings may take on the device; one takes 8 to 16
    MB at 1024 pixels. name: what the tool is called in records.

    Raises InputError or UnknownNameError for options, BackendError where the model can't run here.
    """
    missing = missing_packages()
    if missing:
        raise BackendError(f"{name} can't run here: {missing}")
    if folder is None:
        raise InputError(needs_folder(name, _FETCH))
    choice = mask_choice(masks)
    run = run_on(device, dtype)
    model = _loaded(folder, name, revision, download, allow_pickle, side)
    with translated(name, run.free):
        model = model.to(run.device)
    return PromptedSegmenter(name, Sam2Prompted(model, run), choice, cache_mb)


def _loaded(folder: str, name: str, revision: str | None, download: bool, allow_pickle: bool, side: int) -> Any:
    from transformers import Sam2Model

    path = official_file(folder)
    if path is None:
        return load_pretrained(Sam2Model, folder, ("sam2", "sam2_video"), name, revision, download)
    return sam2_of(read_weights(path, allow_pickle, _FETCH), path, side)
