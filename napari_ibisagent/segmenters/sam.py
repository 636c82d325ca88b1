"""Segment Anything (Kirillov et al. 2023, ViT-B, -L and -H) and MedSAM (Ma et al. 2024) as click tools.

Weights: a folder as transformers writes it, with safetensors, or, where the user allows it, the authors' ``.pth`` file.
MedSAM has SAM's form and another preparation of the picture (``pixels="medsam"``), and knows boxes only.

What it leaves out: tiling of large views, and several boxes at once (the last one counts).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from napari_ibisagent.core.errors import BackendError, InputError, UnknownNameError
from napari_ibisagent.core.overlay import Picture
from napari_ibisagent.segmenters._official import official_file, read_weights
from napari_ibisagent.segmenters._official_sam import sam_of
from napari_ibisagent.segmenters._preprocess import Pixels, medsam_pixels, sam_pixels
from napari_ibisagent.segmenters._prompted import PromptedSegmenter, decoder_arguments
from napari_ibisagent.segmenters._sam_prompts import Frame, PromptArrays, fitted, mask_choice, stretched
from napari_ibisagent.segmenters._torch_runs import Run, missing_packages, run_on, translated
from napari_ibisagent.segmenters._weights import load_pretrained, needs_folder

if TYPE_CHECKING:
    from torch import Tensor

_FETCH = "sam-vit-b"
_PIXELS = ("sam", "medsam")


class SamPrompted:
    """transformers' ``SamModel`` as a ``PromptedModel``."""

    def __init__(self, model: Any, run: Run, medsam: bool = False) -> None:
        self.run = run
        self._model = model
        self._medsam = medsam
        self._side = int(model.config.vision_config.image_size)
        # The prompt encoder halves a mask twice and adds it to the embedding.
        self.low = 4 * int(model.config.prompt_encoder_config.image_embedding_size)

    def frame(self, shape: tuple[int, int]) -> Frame:
        """Where a view (H, W) lies in the model's square: SAM keeps its proportions, MedSAM doesn't."""
        return stretched(self._side) if self._medsam else fitted(shape, self._side)

    def pixels(self, picture: Picture, frame: Frame) -> Pixels:
        """(3, side, side) of a picture (H, W, 3)."""
        return medsam_pixels(picture, frame) if self._medsam else sam_pixels(picture, frame)

    def encode(self, pixels: Tensor) -> list[Tensor]:
        """The embedding (B, C, h, w) of pictures (B, 3, side, side)."""
        return [self._model.get_image_embeddings(pixels)]

    def decode(
        self, embedding: Sequence[Tensor], prompts: PromptArrays, before: Tensor | None, three: bool
    ) -> tuple[Tensor, Tensor]:
        """(n, low, low) logits and (n,) scores."""
        result = self._model(
            image_embeddings=embedding[0],
            **decoder_arguments(prompts, self.run.device),
            input_masks=None if before is None else before[None, None],
            multimask_output=three,
        )
        return result.pred_masks[0, 0], result.iou_scores[0, 0]


def available() -> str | None:
    """Why the tool can't run as it is, as a sentence: packages, or weights, which are always to be named."""
    return missing_packages() or needs_folder("sam", _FETCH)


def build(
    folder: str | None = None,
    device: str | None = None,
    dtype: str = "auto",
    masks: str = "auto",
    pixels: str = "sam",
    cache_mb: float = 512,
    revision: str | None = None,
    download: bool = False,
    allow_pickle: bool = False,
    name: str = "sam",
) -> PromptedSegmenter:
    """SAM or MedSAM as a click tool.

    folder: a folder with config.json and safetensors, the id of a model on the hub (fetched only with ``download``,
    at ``revision``), or the authors' .pth file or its folder (read only with ``allow_pickle``). device: cpu, cuda,
    cuda:1, ...; None takes CUDA where there is one. dtype: of the image encoder; auto is float16 on CUDA, else
    float32. masks: auto (best of three on a first click alone, one later), best_of_three and ibis (three every time,
    as in the published agent's loop), or single. pixels: how pictures are prepared, sam or medsam. cache_mb: how much
    memory embeddings may take on the device; one of ViT-B, -L or -H takes 2 to 4 MB. name: what the tool is called in
    records.

    Raises InputError or UnknownNameError for options, BackendError where the model can't run here.
    """
    missing = missing_packages()
    if missing:
        raise BackendError(f"{name} can't run here: {missing}")
    if folder is None:
        raise InputError(needs_folder(name, _FETCH))
    if pixels not in _PIXELS:
        raise UnknownNameError(f"There is no way to prepare pictures called {pixels!r}. Give sam or medsam.")
    choice = mask_choice(masks)
    run = run_on(device, dtype)
    model = _loaded(folder, name, revision, download, allow_pickle)
    with translated(name, run.free):
        model = model.to(run.device)
    return PromptedSegmenter(name, SamPrompted(model, run, pixels == "medsam"), choice, cache_mb)


def _loaded(folder: str, name: str, revision: str | None, download: bool, allow_pickle: bool) -> Any:
    from transformers import SamModel

    path = official_file(folder)
    if path is None:
        return load_pretrained(SamModel, folder, ("sam",), name, revision, download)
    return sam_of(read_weights(path, allow_pickle, _FETCH), path)
