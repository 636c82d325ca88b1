"""``learn_to_see``: the nano agent's eye before it learns to speak: what lies where in a picture, in every cell of it.

A published agent begins with an eye that has seen millions of pictures. With random weights it would have to learn to
see from two numbers a picture, where a click goes; here every cell of made-up slices says what it shows. What reads
that off the eye's tokens is thrown away.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.random import Generator
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage as ndi
from torch import nn
from torch.nn import functional

from napari_ibisagent.core.masks import Mask
from napari_ibisagent.core.overlay import OverlayPreset, Picture, draw_mask
from napari_ibisagent.policies.qwen_vl.loading import Opened
from napari_ibisagent.training.muon import MatricesApart
from napari_ibisagent.training.nano.anatomy import ANYWHERE, CENTRED, NAMES, SIDE, MadeUp, make_slice
from napari_ibisagent.training.precision import faster_in_16_bits, sixteen_bits

# A token of 14 pixels tells of 2 x 2 cells.
_TOKENS, _CELLS = 8, 2
_PICTURES = 32
# Of its pictures so many carry a mask, which it learns to tell from what lies beneath.
_MASKED = 0.5
# Slices are drawn with numbers of their own.
_SEED = 7_000_003


@dataclass(frozen=True, slots=True)
class Sight:
    """How long the eye learns: ``steps`` of 32 pictures out of ``pictures``. anywhere: the share of them on which the
    body may lie anywhere.
    """

    steps: int
    pictures: int
    anywhere: float = 0.7
    rate: float = 1e-3
    warm_up: int = 100
    seed: int = 0


class _Told(nn.Module):
    """What a token says: which structures it shows, in the language model's own words for them; and of each of its
    cells the structures, none included, and whether a mask lies on it.
    """

    def __init__(self, words: torch.Tensor) -> None:
        super().__init__()
        self.words = words
        width = words.shape[1]
        self.scale = nn.Parameter(torch.tensor(3.0))
        self.bias = nn.Parameter(torch.zeros(len(words) + 1))
        self.none = nn.Linear(width, 1)
        self.read = nn.Linear(width, _CELLS**2 * (len(words) + 2))

    def forward(self, tokens: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """(tokens, structures), (cells, structures), (cells,) of (tokens, width)."""
        named = torch.cat([tokens @ self.words.T * self.scale, self.none(tokens)], dim=1) + self.bias
        said = self.read(tokens).reshape(len(tokens) * _CELLS**2, -1)
        return named, said[:, :-1], said[:, -1]


def learn_to_see(
    opened: Opened, overlay: OverlayPreset, sight: Sight, tell: Callable[[dict[str, float]], None] = lambda _: None
) -> None:
    """Trains the eye of a nano agent in place. tell: gets ``eye_loss``, and ``eye_right``, the share of cells whose
    structure it knows, every hundred steps.
    """
    eye = opened.model.model.visual
    sixteen = faster_in_16_bits(opened.device)
    torch.manual_seed(sight.seed)
    told = _Told(_words(opened)).to(opened.device)
    learned = [*eye.parameters(), *told.parameters()]
    for parameter in learned:
        parameter.requires_grad_(True)
    named = [*eye.named_parameters(), *told.named_parameters()]
    optimiser = MatricesApart(named, sight.rate, 1.0, 0.01)
    shelf = _slices(sight)
    weight = _weights(shelf).to(opened.device)
    losses: list[float] = []
    eye.train()
    for step, (pictures, shares, masked) in enumerate(_batches(shelf, overlay, sight), 1):
        for group in optimiser.param_groups:
            group["lr"] = sight.rate * min(step / sight.warm_up, 1.0) * _falling(step / sight.steps)
        made = opened.images(images=[Image.fromarray(picture) for picture in pictures], return_tensors="pt")
        with sixteen_bits(eye, opened.device, sixteen):
            seen = eye(made["pixel_values"].to(opened.device), made["image_grid_thw"].to(opened.device)).pooler_output
        named, structures, under = told(seen.float())
        cells = shares.to(opened.device)
        whole = cells.reshape(len(named), _CELLS**2, -1).mean(dim=1)
        loss = functional.cross_entropy(named, whole, weight) + functional.cross_entropy(structures, cells, weight)
        loss = loss + functional.binary_cross_entropy_with_logits(under, masked.to(opened.device))
        optimiser.zero_grad()
        torch.autograd.backward(loss)
        nn.utils.clip_grad_norm_(learned, 1.0)
        optimiser.step()
        losses.append(float(loss.detach()))
        if step % 100 == 0 or step == sight.steps:
            right = float((structures.argmax(dim=1) == cells.argmax(dim=1)).float().mean())
            tell({"step": step, "eye_loss": float(np.mean(losses)), "eye_right": right})
            losses.clear()
    eye.eval()


def _words(opened: Opened) -> torch.Tensor:
    """(structures, width): the sum of what each structure's words look like to the language model."""
    rows = opened.model.get_input_embeddings().weight.detach()
    ids = (opened.tokenizer(f" {name}", add_special_tokens=False)["input_ids"] for name in NAMES)
    return torch.stack([rows[tokens].sum(dim=0) for tokens in ids])


def _falling(share: float) -> float:
    return 0.5 * (1 + float(np.cos(np.pi * share)))


def _slices(sight: Sight) -> list[MadeUp]:
    found = []
    # No more than a short lesson looks at.
    for number in range(min(sight.pictures, sight.steps * _PICTURES)):
        rng = np.random.default_rng([_SEED + sight.seed, number])
        found.append(make_slice(rng, framing=ANYWHERE if rng.random() < sight.anywhere else CENTRED))
    return found


def _batches(
    shelf: list[MadeUp], overlay: OverlayPreset, sight: Sight
) -> Iterator[tuple[list[Picture], torch.Tensor, torch.Tensor]]:
    """(pictures, (cells, structures) shares of each cell, (cells,) share that is masked), a step each."""
    rng = np.random.default_rng([_SEED, sight.seed])
    for _ in range(sight.steps):
        chosen = [shelf[int(n)] for n in rng.integers(len(shelf), size=_PICTURES)]
        masks = [_mask(one, rng) for one in chosen]
        pictures = [
            draw_mask(np.repeat(one.image[:, :, np.newaxis], 3, axis=2), mask if mask.any() else None, overlay)
            for one, mask in zip(chosen, masks, strict=True)
        ]
        cells = np.concatenate([_shares(_stack(one)) for one in chosen])
        masked = np.concatenate([_shares(mask[np.newaxis].astype(np.float32)) for mask in masks])
        yield pictures, torch.from_numpy(cells), torch.from_numpy(masked[:, 0])


def _mask(made: MadeUp, rng: Generator) -> Mask:
    """Some structure's outline, often moved, grown or shrunk; or nothing."""
    if not made.structures or rng.random() >= _MASKED:
        return np.zeros((SIDE, SIDE), bool)
    mask = made.structures[sorted(made.structures)[int(rng.integers(len(made.structures)))]]
    mask = ndi.shift(mask, rng.normal(0, 4, 2), order=0) if rng.random() < 0.5 else mask
    grown = int(rng.integers(-2, 4)) if rng.random() < 0.5 else 0
    if grown > 0:
        return np.asarray(ndi.binary_dilation(mask, iterations=grown))
    return np.asarray(ndi.binary_erosion(mask, iterations=-grown)) if grown < 0 else mask


def _stack(made: MadeUp) -> NDArray[np.float32]:
    """(structures, H, W), the last of which is none of them."""
    planes = np.zeros((len(NAMES) + 1, SIDE, SIDE), np.float32)
    for name, mask in made.structures.items():
        planes[NAMES.index(name)] = mask
    planes[-1] = 1 - planes[:-1].sum(axis=0)
    return planes


def _shares(planes: NDArray[np.float32]) -> NDArray[np.float32]:
    """(cells, planes): the share of each plane in each cell, cells token by token as the eye gives them."""
    side = SIDE // (_TOKENS * _CELLS)
    shares = planes.reshape(len(planes), _TOKENS, _CELLS, side, _TOKENS, _CELLS, side).mean(axis=(3, 6))
    return np.ascontiguousarray(shares.transpose(1, 3, 2, 4, 0).reshape(-1, len(planes)))


def _weights(shelf: list[MadeUp]) -> torch.Tensor:
    """Of each structure in the loss: the rarer its pixels, the more, so that lesions count beside livers."""
    share = np.mean([_stack(one).mean(axis=(1, 2)) for one in shelf[:500]], axis=0)
    weight = 1 / np.sqrt(share + 1e-4)
    return torch.from_numpy((weight / (weight * share).sum()).astype(np.float32))
