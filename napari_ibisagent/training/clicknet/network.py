"""The click network: a U-Net on picture, prior mask and prompt maps, with a head that foretells the IoU."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from napari_ibisagent.segmenters._encoding import CHANNELS

WIDTHS = (16, 32, 64, 128, 128)
# Measures of the mask's own certainty that the IoU head starts from; see ``certainty``.
_MEASURES = 4


class _Double(nn.Module):
    """Two 3x3 convolutions; with ``deep``, a residual pair after them."""

    def __init__(self, before: int, after: int, deep: bool = False) -> None:
        super().__init__()
        self.first = _convolution(before, after)
        self.second = _convolution(after, after)
        self.more = nn.Sequential(_convolution(after, after), _convolution(after, after)) if deep else None

    def forward(self, x: Tensor) -> Tensor:
        x = self.second(self.first(x))
        return x if self.more is None else x + self.more(x)


def _convolution(before: int, after: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(before, after, 3, padding=1, bias=False), nn.BatchNorm2d(after), nn.ReLU(inplace=True)
    )


class ClickNetwork(nn.Module):
    """(B, CHANNELS, H, W), H and W multiples of 16 -> logits (B, 1, H, W) and the foretold IoU's logit (B, 1)."""

    def __init__(self, widths: tuple[int, ...] = WIDTHS) -> None:
        super().__init__()
        befores = (CHANNELS, *widths[:-1])
        deep = len(widths) - 2
        self.down = nn.ModuleList(
            _Double(b, a, n >= deep) for n, (b, a) in enumerate(zip(befores, widths, strict=True))
        )
        pairs = list(zip(reversed(widths[1:]), reversed(widths[:-1]), strict=True))
        self.narrow = nn.ModuleList(nn.Conv2d(b, a, 1) for b, a in pairs)
        self.up = nn.ModuleList(_Double(2 * a, a) for _, a in pairs)
        self.mask = nn.Conv2d(widths[0], 1, 1)
        self.judge = nn.Sequential(nn.Linear(widths[-1] + _MEASURES, 64), nn.ReLU(inplace=True), nn.Linear(64, 1))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """See the class."""
        skips: list[Tensor] = []
        for level, block in enumerate(self.down):
            if level:
                x = functional.max_pool2d(x, 2)
            x = block(x)
            skips.append(x)
        context = x.mean(dim=(2, 3))
        for narrow, block, skip in zip(self.narrow, self.up, reversed(skips[:-1]), strict=True):
            x = functional.interpolate(narrow(x), scale_factor=2.0, mode="bilinear", align_corners=False)
            x = block(torch.cat((x, skip), dim=1))
        logits = self.mask(x)
        foretold = self.judge(torch.cat((context, certainty(logits).to(context.dtype)), dim=1))
        return logits, foretold


def certainty(logits: Tensor) -> Tensor:
    """(B, 4): the IoU that the probabilities themselves expect, the share of the picture, and two of doubt."""
    probability = torch.sigmoid(logits.float())
    inside = (probability > 0.5).float()
    hit = (probability * inside).sum(dim=(1, 2, 3))
    union = (probability + inside - probability * inside).sum(dim=(1, 2, 3))
    doubt = (probability * (1 - probability)).sum(dim=(1, 2, 3))
    area = inside.sum(dim=(1, 2, 3))
    size = torch.ones_like(probability).sum(dim=(1, 2, 3))
    return torch.stack(
        (hit / (union + 1e-3), (area / size).sqrt(), doubt / (area + 1), (doubt / size).sqrt()), dim=1
    ).detach()
