"""Training of the click network for a given time or number of steps, with a checkpoint and a curve."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.nn import functional

from napari_ibisagent.core.errors import InputError
from napari_ibisagent.training.clicknet.labelmaps import LabelMap
from napari_ibisagent.training.clicknet.network import ClickNetwork
from napari_ibisagent.training.clicknet.scenes import Scene, draw_scene
from napari_ibisagent.training.clicknet.slots import Slots
from napari_ibisagent.training.muon import MatricesApart
from napari_ibisagent.training.precision import faster_in_16_bits

# The learning rate rises in the first share of the time and then falls to zero.
_RISE = 0.01
# The weights that are kept are a running mean over about so many steps.
_MEAN_OVER = 1500
# Of the three parts of the loss: per pixel, overlap, and the foretold IoU.
_PIXELS, _OVERLAP, _FORETOLD = 2.0, 1.0, 0.3
_REPORT = 200
# The pictures' side in pixels, from a share of the time on: what is learned at a smaller one comes faster.
_SIDES = ((0.0, 96), (0.6, 128))


@dataclass(frozen=True, slots=True)
class Recipe:
    """What a run is made of. ``minutes`` is time on this machine; the same seed gives the same pictures.

    With ``steps`` the run has so many, however long they take: on one machine it gives the same weights every time.
    """

    minutes: float
    seed: int = 0
    batch: int = 16
    rate: float = 2e-3
    device: str = "cpu"
    steps: int | None = None

    def share(self, step: int, seconds: float) -> float:
        """How much of the run is over, 1 at its end."""
        return seconds / (self.minutes * 60) if self.steps is None else step / self.steps


@dataclass(frozen=True, slots=True)
class Point:
    """One point of the curve: means over the last steps. IoU after one, three and five clicks on new pictures."""

    step: int
    seconds: float
    loss: float
    iou: dict[int, float]
    foretold_error: float


def scenes(seed: int, side: int, maps: tuple[LabelMap, ...]) -> Iterator[Scene]:
    """Endless new scenes."""
    rng = np.random.default_rng(seed)
    while True:
        yield draw_scene(rng, side, maps)


def train(
    recipe: Recipe,
    maps: tuple[LabelMap, ...],
    folder: Path,
    report: Callable[[Point], None],
    start: Path | None = None,
) -> ClickNetwork:
    """Trains for ``recipe.minutes`` or ``steps``. ``folder`` gets ``curve.jsonl`` and ``weights.safetensors``.

    ``start``: weights of an earlier run to go on from. Returns the network with the running mean of its weights.
    """
    torch.manual_seed(recipe.seed)
    network = ClickNetwork().to(recipe.device)
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # missing in its types
    if start is not None:
        _load(network, start, recipe.device)
    mean = torch.optim.swa_utils.AveragedModel(network, multi_avg_fn=_running_mean(), use_buffers=True)
    slots: Slots | None = None
    optimizer = MatricesApart(network.named_parameters(), recipe.rate, times=1.0, decay=0.01)
    sixteen = faster_in_16_bits(recipe.device)
    began = time.monotonic()
    sums = _Sums()
    step = 0
    folder.mkdir(parents=True, exist_ok=True)
    while (share := recipe.share(step, time.monotonic() - began)) < 1:
        side = next(side for after, side in reversed(_SIDES) if share >= after)
        if slots is None or slots.side != side:
            slots = Slots(scenes(recipe.seed + side, side, maps), recipe.batch, side, recipe.seed + side)
        for group in optimizer.param_groups:
            group["lr"] = recipe.rate * min(share / _RISE + 0.02, (1 - share) / (1 - _RISE))
        with torch.autocast(recipe.device, torch.bfloat16, sixteen):
            inputs, targets, weights = (
                torch.from_numpy(array).to(recipe.device) for array in (slots.inputs, slots.targets, slots.weights)
            )
            logits, foretold = network(inputs.contiguous(memory_format=torch.channels_last))
        loss, overlaps, missed_by = losses(logits.float(), foretold.float(), targets, weights)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(network.parameters(), 5.0)
        optimizer.step()
        mean.update_parameters(network)
        sums.add(float(loss.detach()), overlaps, slots.clicks, missed_by)
        slots.advance(logits)
        step += 1
        if step % _REPORT == 0:
            point = sums.point(step, time.monotonic() - began)
            report(point)
            _append(folder / "curve.jsonl", point)
            if step % (10 * _REPORT) == 0:
                _save(mean.module, folder / "weights.safetensors")
    _save(mean.module, folder / "weights.safetensors")
    network.load_state_dict(mean.module.state_dict())
    return network


def losses(logits: Tensor, foretold: Tensor, targets: Tensor, weights: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """(loss, IoU of each picture, error of the foretold IoU) of logits (B, 1, H, W) and IoU logits (B, 1)."""
    pixels = functional.binary_cross_entropy_with_logits(logits, targets, weight=weights, reduction="none")
    pixels = pixels.sum(dim=(1, 2, 3)) / weights.sum(dim=(1, 2, 3))
    probability = torch.sigmoid(logits)
    hit = (probability * targets).sum(dim=(1, 2, 3))
    union = (probability + targets - probability * targets).sum(dim=(1, 2, 3))
    overlap = 1 - (hit + 1) / (union + 1)
    with torch.no_grad():
        mask = (logits > 0).float()
        both = (mask * targets).sum(dim=(1, 2, 3))
        true = both / (mask + targets - mask * targets).sum(dim=(1, 2, 3)).clamp(min=1)
    judged = functional.binary_cross_entropy_with_logits(foretold[:, 0], true)
    loss = _PIXELS * pixels.mean() + _OVERLAP * overlap.mean() + _FORETOLD * judged
    return loss, true, (torch.sigmoid(foretold[:, 0].detach()) - true).abs()


def _running_mean() -> Callable[[Any, Any, Any], None]:
    """How the kept weights follow the trained ones: over all steps at first, later over about ``_MEAN_OVER``."""

    @torch.no_grad()
    def follow(kept: Sequence[Tensor], trained: Sequence[Tensor], steps: Tensor) -> None:
        share = max(1 / _MEAN_OVER, 10 / (10 + float(steps)))
        for mean, now in zip(kept, trained, strict=True):
            if mean.is_floating_point():
                mean.lerp_(now, share)
            else:
                mean.copy_(now)

    return follow


class _Sums:
    """Means between two reports."""

    def __init__(self) -> None:
        self._losses: list[float] = []
        self._missed: list[Tensor] = []
        self._overlaps: list[Tensor] = []
        self._clicks: list[Tensor] = []

    def add(self, loss: float, overlaps: Tensor, clicks: NDArray[np.intp], missed_by: Tensor) -> None:
        self._losses.append(loss)
        self._missed.append(missed_by)
        self._overlaps.append(overlaps.cpu())
        self._clicks.append(torch.from_numpy(clicks.copy()))

    def point(self, step: int, seconds: float) -> Point:
        overlaps, clicks = torch.cat(self._overlaps), torch.cat(self._clicks)
        by_clicks = {n: float(overlaps[clicks == n].mean()) for n in (1, 3, 5) if bool((clicks == n).any())}
        point = Point(
            step, round(seconds, 1), float(np.mean(self._losses)), by_clicks, float(torch.cat(self._missed).mean())
        )
        for values in (self._losses, self._missed, self._overlaps, self._clicks):
            values.clear()
        return point


def _append(path: Path, point: Point) -> None:
    line: dict[str, Any] = {
        "step": point.step,
        "seconds": point.seconds,
        "loss": round(point.loss, 4),
        "iou": {str(n): round(value, 4) for n, value in point.iou.items()},
        "foretold_error": round(point.foretold_error, 4),
    }
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(line) + "\n")


def _save(network: torch.nn.Module, path: Path) -> None:
    """In half precision: enough to go on from, at half the size."""
    temporary = path.with_suffix(".tmp")
    halved = {
        name: (value.half() if value.is_floating_point() else value).contiguous()
        for name, value in network.state_dict().items()
    }
    save_file(halved, temporary)
    temporary.replace(path)


def _load(network: torch.nn.Module, path: Path, device: str) -> None:
    try:
        network.load_state_dict(load_file(path, device=device))
    except (OSError, SafetensorError, RuntimeError) as error:
        raise InputError(f"{path} holds no weights of this network: {error}.") from error
