"""A click tool over a promptable model: the picture is encoded once, and every mask is decoded from the prompts.

What SAM and SAM 2 share, and what makes an answer a function of its arguments: prompts p1...pn are decoded one after
the other, each with the low-resolution logits of the ones before it (of the prior mask for p1). The steps in between
are remembered, so that one more click costs one pass of the decoder; where they are forgotten they are made again.
The same holds for the picture's embedding, so an opened view takes hardly any memory.
"""

from __future__ import annotations

import itertools
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np

from napari_ibisagent.core.actions import Click, PromptAction
from napari_ibisagent.core.errors import BackendError
from napari_ibisagent.core.masks import Mask
from napari_ibisagent.core.overlay import Picture
from napari_ibisagent.core.protocols import Segmentation
from napari_ibisagent.core.view import View
from napari_ibisagent.segmenters._embeddings import ByteCache, content_key
from napari_ibisagent.segmenters._preprocess import Pixels, picture_of
from napari_ibisagent.segmenters._prior import check_prior
from napari_ibisagent.segmenters._sam_logits import logits_of_mask, mask_of_logits
from napari_ibisagent.segmenters._sam_prompts import Frame, MaskChoice, PromptArrays, best, honoured, prompt_arrays
from napari_ibisagent.segmenters._torch_runs import Run, translated

if TYPE_CHECKING:
    import torch
    from torch import Tensor

# Answers that are remembered, in MB; one is 256 kB.
_ANSWERS_MB = 64


class PromptedModel(Protocol):
    """What a model of the family has to be able to do.

    low: the side of its low-resolution logits, in pixels. run: where it runs.
    """

    low: int
    run: Run

    def frame(self, shape: tuple[int, int]) -> Frame:
        """Where a view (H, W) lies in the model's square."""
        ...

    def pixels(self, picture: Picture, frame: Frame) -> Pixels:
        """(3, side, side) of a picture (H, W, 3)."""
        ...

    def encode(self, pixels: Tensor) -> list[Tensor]:
        """The embedding of pictures (B, 3, side, side), as one or more tensors (B, ...)."""
        ...

    def decode(
        self, embedding: Sequence[Tensor], prompts: PromptArrays, before: Tensor | None, three: bool
    ) -> tuple[Tensor, Tensor]:
        """(n, low, low) logits and (n,) scores of three masks or one; ``before``: logits (low, low) to go on from."""
        ...


def decoder_arguments(prompts: PromptArrays, device: torch.device) -> dict[str, Tensor | None]:
    """Points (1, 1, n, 2), their labels (1, 1, n) and the box (1, 1, 4) as both families' decoders take them."""
    import torch

    points = prompts.points if len(prompts.points) else None
    labels = None if points is None else prompts.labels
    given = {"input_points": points, "input_labels": labels, "input_boxes": prompts.box}
    return {
        name: None if values is None else torch.from_numpy(values).to(device)[None, None]
        for name, values in given.items()
    }


@dataclass(frozen=True, eq=False, slots=True)
class _Answer:
    """What some prompts led to: logits (low, low) float32 on the CPU, and the IoU that the model expects."""

    logits: Tensor
    score: float


class PromptedSegmenter:
    """A click tool over a promptable model. Threads may share it."""

    def __init__(self, name: str, model: PromptedModel, choice: MaskChoice, cache_mb: float) -> None:
        self.name = name
        self.model = model
        self.choice = choice
        self.embeddings: ByteCache[list[Tensor]] = ByteCache(cache_mb)
        self.answers: ByteCache[_Answer] = ByteCache(_ANSWERS_MB)
        self._batched = itertools.count()

    def open(self, view: View) -> OpenedPrompted:
        """Encodes the view, or finds it encoded: views that look the same share an embedding. Raises BackendError."""
        picture = picture_of(view)
        opened = OpenedPrompted(self, view, picture, content_key(picture))
        opened.embedding()
        return opened

    def open_many(self, views: Sequence[View]) -> list[OpenedPrompted]:
        """Several views in one pass of the encoder, for evaluation; raises BackendError.

        Their masks agree with those of ``open`` up to rounding, which depends on how many are encoded together. So
        these views keep their embeddings to themselves, for as long as they are held, and don't share them.
        """
        pictures = [picture_of(view) for view in views]
        if not pictures:
            return []
        parts = self.encoded(pictures)
        return [
            OpenedPrompted(
                self,
                view,
                picture,
                (content_key(picture), next(self._batched)),
                [part[place : place + 1] for part in parts],
            )
            for place, (view, picture) in enumerate(zip(views, pictures, strict=True))
        ]

    def encoded(self, pictures: Sequence[Picture]) -> list[Tensor]:
        """The embedding of pictures (H, W, 3), as tensors (B, ...) on the device."""
        import torch

        stack = np.stack([self.model.pixels(p, self.model.frame((p.shape[0], p.shape[1]))) for p in pictures])
        with translated(self.name, self.forget), torch.inference_mode(), self.model.run.autocast():
            return self.model.encode(torch.from_numpy(stack).to(self.model.run.device))

    def forget(self) -> None:
        """Lets go of all that is remembered, on the device as well."""
        self.embeddings.clear()
        self.answers.clear()
        self.model.run.free()


class OpenedPrompted:
    """A view as its tool sees it; its embedding and answers lie in the tool's caches."""

    def __init__(
        self,
        tool: PromptedSegmenter,
        view: View,
        picture: Picture,
        key: Hashable,
        embedding: list[Tensor] | None = None,
    ) -> None:
        self._tool = tool
        self._view = view
        self._picture = picture
        self._key = key
        self._own = embedding
        self._frame = tool.model.frame(view.shape)

    def embedding(self) -> list[Tensor]:
        """The view's embedding, computed where it isn't kept."""
        if self._own is not None:
            return self._own
        return self._tool.embeddings.get_or_make(self._key, self._encoded)

    def segment(self, prompts: Sequence[PromptAction], prior: Mask | None) -> Segmentation:
        """A mask (H, W) from all prompts in order and the prior one; see ``OpenedView``. The score is the model's.

        Without a prompt the prior mask stays as it is. Raises BackendError, and GridError for a prior of another shape.
        """
        check_prior(prior, self._view)
        if not prompts:
            return Segmentation(np.zeros(self._view.shape, bool) if prior is None else prior.copy(), 0.0)
        answer = self._answered(tuple(prompts), prior if prior is not None and prior.any() else None)
        mask = mask_of_logits(answer.logits, self._frame, self._view.shape)
        clicks = {self._view.pixel_of(p.x, p.y): p.positive for p in prompts if isinstance(p, Click)}
        # One of the model's own pixels: what it can't tell apart.
        reach = max(self._view.shape) / self._tool.model.low
        return Segmentation(honoured(mask, clicks, reach), answer.score)

    def _answered(self, prompts: tuple[PromptAction, ...], prior: Mask | None) -> _Answer:
        """The answer to all prompts, from the longest run of them that is remembered."""
        start = (self._key, None if prior is None else content_key(prior))
        for done in range(len(prompts), -1, -1):
            answer = self._tool.answers.get((*start, prompts[:done])) if done else None
            if answer is not None:
                break
        before = None if answer is None else answer.logits
        if before is None and prior is not None:
            before = logits_of_mask(prior, self._frame, self._tool.model.low)
        for count in range(done + 1, len(prompts) + 1):
            answer = self._decoded(prompts[:count], before, prior is not None)
            self._tool.answers.put((*start, prompts[:count]), answer, answer.logits.nbytes)
            before = answer.logits
        if answer is None:
            raise BackendError(f"{self._tool.name} was asked without a prompt.")
        return answer

    def _decoded(self, prompts: tuple[PromptAction, ...], before: Tensor | None, has_prior: bool) -> _Answer:
        """One pass of the decoder, in float32: a click's place needs more digits than float16 has."""
        import torch

        tool = self._tool
        embedding = self.embedding()
        three = tool.choice.three(prompts, has_prior)
        with translated(tool.name, tool.forget), torch.inference_mode():
            if before is not None:
                before = before.to(tool.model.run.device)
            logits, scores = tool.model.decode(
                [part.float() for part in embedding], prompt_arrays(prompts, self._frame), before, three
            )
            logits, scores = logits.float().cpu(), scores.float().cpu()
        if not (torch.isfinite(logits).all() and torch.isfinite(scores).all()):
            raise BackendError(
                f"{tool.name} answered with values that aren't numbers, which half precision can cause. "
                "Load it with dtype=float32; if it stays so, its weights are broken: fetch them again."
            )
        place = best(scores.numpy())
        return _Answer(logits[place].clone(), float(scores[place].clamp(0, 1)))

    def _encoded(self) -> tuple[list[Tensor], int]:
        parts = self._tool.encoded([self._picture])
        return parts, sum(part.nbytes for part in parts)
