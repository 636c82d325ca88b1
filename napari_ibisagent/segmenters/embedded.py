"""The embedded click tool: a small network of our own, trained on generated pictures only. No torch, no GPU.

The first click is looked at in the whole view and in ever smaller regions round it, at the same number of pixels, and
the likeliest answer (``_choice``) is looked at once more close by: so small and large objects and pictures are alike to
the network. Later clicks go on from what the earlier ones led to. Clicks are always honoured, only parts that were
clicked on are taken, a box is the room to stay in, and what a person painted changes only where a click asks for it.

The weights lie in ``resources/clicknet``; ``ibisagent train clicknet`` makes them. ``geodesic`` needs none.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage as ndi

from napari_ibisagent.core.actions import Box, Click, PromptAction
from napari_ibisagent.core.errors import BackendError
from napari_ibisagent.core.masks import Mask
from napari_ibisagent.core.protocols import Segmentation
from napari_ibisagent.core.view import View
from napari_ibisagent.io.resources import resource
from napari_ibisagent.segmenters._choice import Values, best, measures
from napari_ibisagent.segmenters._crops import STEP, Region, region_of, resample
from napari_ibisagent.segmenters._encoding import (
    CHANNELS,
    PICTURE_CHANNELS,
    Field,
    discs,
    likeness_base,
    picture_channels,
    unlikeness,
)
from napari_ibisagent.segmenters._prior import check_prior

WEIGHTS = "clicknet/clicknet.onnx"

# The longer side of what the network sees, in its pixels: at the first looks, and close by (at least and at most).
_FIRST = 128
_LEAST_CLOSE, _CLOSE = 96, 160
# The first looks take in these shares of the view's longer side.
_SHARES = (1.0, 0.71, 0.5, 0.35, 0.25, 0.18, 0.125)
# A region has this share of the object's size to spare on each side, and at least so many of the view's pixels.
_SPARE, _LEAST_REGION = 0.3, 24
# A region is kept as it is while the object takes between these shares of it.
_TOO_SMALL, _TOO_LARGE = 0.3, 0.85
# Where no part was clicked on, those smaller than this share of the largest one are left out.
_CRUMB = 0.05
# How far, in the network's pixels, a click that the network didn't follow is made to reach.
_FORCED = 2.0
# How many answers of a view are remembered; each is some 100 kB.
_REMEMBERED = 64

Pixel = tuple[int, int]


@dataclass(frozen=True, eq=False, slots=True)
class _Answer:
    """What some prompts led to: probabilities (h, w) on a region of the view (0 elsewhere), and the foretold IoU."""

    region: Region
    probability: Field
    score: float


class EmbeddedSegmenter:
    """See the module. Deterministic, on one core."""

    name = "embedded"

    def __init__(self, session: Any) -> None:
        self._session = session

    def open(self, view: View) -> OpenedEmbedded:
        """Makes the view ready; some ms."""
        return OpenedEmbedded(view, self._session)


class OpenedEmbedded:
    """A view with its channels as images, and the answers to the last prompts."""

    def __init__(self, view: View, session: Any) -> None:
        self._view = view
        self._session = session
        self._images = _images(view.image, view.modality)
        self._whole = Region(0, 0, *view.shape)
        self._known: dict[tuple[bytes, tuple[PromptAction, ...]], _Answer] = {}
        self._seen: tuple[Region, tuple[int, int], Field, Field] | None = None

    def segment(self, prompts: Sequence[PromptAction], prior: Mask | None) -> Segmentation:
        """A mask (H, W) from all prompts in order and the prior one; see ``OpenedView``. The score is the IoU foretold.

        What the first prompts led to is remembered, so that one more click costs one look. Raises GridError for a prior
        of another shape.
        """
        check_prior(prior, self._view)
        if not prompts:
            empty = np.zeros(self._view.shape, bool)
            return Segmentation(empty if prior is None else prior.copy(), 0.0)
        key = b"" if prior is None else np.packbits(prior).tobytes()
        answer = self._start(prior)
        done = 0
        for count in range(len(prompts), 0, -1):
            known = self._known.get((key, tuple(prompts[:count])))
            if known is not None:
                answer, done = known, count
                break
        for count in range(done + 1, len(prompts) + 1):
            answer = self._after(answer, prompts[:count])
            if len(self._known) >= _REMEMBERED:
                self._known.pop(next(iter(self._known)))
            self._known[key, tuple(prompts[:count])] = answer
        if answer is None:
            raise BackendError("The click tool was asked without a prompt.")
        return Segmentation(self._finished(answer, prompts, prior), answer.score)

    def _start(self, prior: Mask | None) -> _Answer | None:
        """A mask that was painted or given, as what there was before the prompts."""
        if prior is None or not prior.any():
            return None
        region = region_of(prior, self._whole)
        if region is None:
            return None
        region = region.grown(_SPARE, _LEAST_REGION, self._view.shape)
        size = region.size_at(_CLOSE)
        return _Answer(region, resample(prior[region.slices].astype(np.float32), region, region, size), 0.0)

    def _after(self, before: _Answer | None, prompts: Sequence[PromptAction]) -> _Answer:
        """The answer to one more prompt: a look at the whole view where need be, then one close by."""
        last = prompts[-1]
        if isinstance(last, Box):
            region = self._room(last).grown(_SPARE, _LEAST_REGION, self._view.shape)
            before = self._look(region, prompts, before)
        elif before is None:
            before = self._first_look(last, prompts)
            region = self._close_to(before, prompts)
        elif before.region.holds(*self._pixel(last)):
            region = self._close_to(before, prompts)
        elif not last.positive:
            return before  # nothing was taken there
        else:
            before = self._joined(before, self._first_look(last, prompts))
            region = before.region
        answer = self._look(region, prompts, before)
        better = self._close_to(answer, prompts)
        if better == answer.region:
            return answer
        return self._look(better, prompts, answer)

    def _clicked(self, answer: _Answer, prompts: Sequence[PromptAction]) -> Mask:
        """The mask of an answer (h, w) without the parts that nobody clicked on, where there is a click in any."""
        mask = answer.probability > 0.5
        parts, count = ndi.label(mask)
        if count < 2:
            return mask
        keep = np.zeros(count + 1, bool)
        for click in prompts:
            if isinstance(click, Click) and click.positive and answer.region.holds(*self._pixel(click)):
                keep[parts[answer.region.place(*self._pixel(click), mask.shape)]] = True
        keep[0] = False
        return np.asarray(keep[parts]) if keep.any() else mask

    def _first_look(self, click: Click, prompts: Sequence[PromptAction]) -> _Answer:
        """The likeliest of the answers on several regions round a click, from the whole view to an eighth of it."""
        answers = self._looks(click, prompts)
        return answers[best(self._measures(answers, click))]

    def _looks(self, click: Click, prompts: Sequence[PromptAction]) -> list[_Answer]:
        """The answers on regions round a click, the widest first."""
        row, column = self._pixel(click)
        height, width = self._view.shape
        answers = []
        for share in _SHARES:
            side = max(_LEAST_REGION, int(max(height, width) * share))
            down, right = min(side, height), min(side, width)
            top = min(max(0, row - down // 2), height - down)
            left = min(max(0, column - right // 2), width - right)
            answer = self._look(Region(top, left, top + down, left + right), prompts, None, _FIRST)
            answers.append(replace(answer, probability=np.where(self._clicked(answer, prompts), answer.probability, 0)))
            if side == _LEAST_REGION:
                break
        return answers

    def _measures(self, answers: Sequence[_Answer], click: Click) -> Values:
        """What speaks for each of some looks at a click; see ``_choice``."""
        probabilities = [answer.probability for answer in answers]
        pixel = self._pixel(click)
        return measures(
            [self._on_view(answer) for answer in answers],
            probabilities,
            [a.region.place(*pixel, (p.shape[0], p.shape[1])) for a, p in zip(answers, probabilities, strict=True)],
            [answer.score for answer in answers],
        )

    def _on_view(self, answer: _Answer) -> Mask:
        """An answer as a mask (H, W) of the view."""
        mask = np.zeros(self._view.shape, bool)
        region = answer.region
        mask[region.slices] = resample(answer.probability, region, region, region.shape) > 0.5
        return mask

    def _joined(self, before: _Answer, part: _Answer) -> _Answer:
        """Two answers as one on a region that holds what both found."""
        found = [region_of(a.probability > 0.5, a.region) for a in (before, part)]
        first, second = (r or a.region for r, a in zip(found, (before, part), strict=True))
        region = first.joined(second).grown(_SPARE, _LEAST_REGION, self._view.shape)
        size = region.size_at(_close_side(region))
        both = [resample(a.probability, a.region, region, size) for a in (before, part)]
        return _Answer(region, np.maximum(*both), part.score)

    def _close_to(self, answer: _Answer, prompts: Sequence[PromptAction]) -> Region:
        """The region to look at: round the mask so far and the positive clicks, with room to spare.

        The one of the answer where that still fits, so that the picture stays the same from click to click.
        """
        found = region_of(self._clicked(answer, prompts), answer.region)
        for click in prompts:
            if isinstance(click, Click) and click.positive:
                row, column = self._pixel(click)
                found = Region(row, column, row + 1, column + 1).joined(found)
        if found is None:
            return answer.region
        share = max(a / b for a, b in zip(found.shape, answer.region.shape, strict=True))
        inside = answer.region.joined(found) == answer.region
        if inside and _TOO_SMALL <= share <= _TOO_LARGE and not _outgrown(answer, self._whole):
            return answer.region
        return found.grown(_SPARE, max(_LEAST_REGION, max(self._view.shape) // 16), self._view.shape)

    def _look(
        self, region: Region, prompts: Sequence[PromptAction], before: _Answer | None, longest: int | None = None
    ) -> _Answer:
        """One pass of the network over a region, at ``longest`` pixels on its longer side or as many as it deserves."""
        size = region.size_at(longest or _close_side(region))
        picture, base = self._channels(region, size)
        maps = np.zeros((1, CHANNELS, *size), np.float32)
        maps[0, :PICTURE_CHANNELS] = picture
        if before is not None:
            maps[0, PICTURE_CHANNELS] = resample(before.probability, before.region, region, size)
        for sign, channel in ((True, 1), (False, 2)):
            places = [
                region.place(*self._pixel(p), size)
                for p in prompts
                if isinstance(p, Click) and p.positive == sign and region.holds(*self._pixel(p))
            ]
            maps[0, PICTURE_CHANNELS + channel] = discs(size, places)
            maps[0, PICTURE_CHANNELS + channel + 3] = unlikeness(base, places)
        room = _last_box(prompts)
        if room is not None:
            inside = np.zeros(self._view.shape, np.float32)
            inside[self._room(room).slices] = 1
            maps[0, PICTURE_CHANNELS + 3] = resample(inside[region.slices], region, region, size) > 0.5
        logits, foretold = self._session.run(None, {"maps": maps})
        probability = 1 / (1 + np.exp(-np.clip(logits[0, 0], -30, 30)))
        return _Answer(region, probability, float(1 / (1 + np.exp(-foretold[0, 0]))))

    def _channels(self, region: Region, size: tuple[int, int]) -> tuple[Field, Field]:
        """The picture's channels on a region, and what looks are compared by; the last ones are remembered."""
        if self._seen is None or self._seen[:2] != (region, size):
            box = (region.left, region.top, region.right, region.bottom)
            planes = [np.asarray(i.resize(size[::-1], Image.Resampling.BILINEAR, box)) for i in self._images]
            picture = picture_channels(planes[0] if len(planes) == 1 else np.stack(planes, axis=2))
            self._seen = (region, size, picture, likeness_base(picture))
        return self._seen[2], self._seen[3]

    # -- from probabilities to the view's mask ---------------------------------------------------------------

    def _finished(self, answer: _Answer, prompts: Sequence[PromptAction], prior: Mask | None) -> Mask:
        """The mask on the view's own pixels, with every prompt honoured and what was painted kept."""
        mask, region = self._on_view(answer), answer.region
        clicks = {self._pixel(p): p.positive for p in prompts if isinstance(p, Click)}
        reach = _FORCED * max(region.shape) / max(answer.probability.shape)
        mask = _clicked_parts(mask, clicks)
        if prior is not None:
            mask = _kept(mask, prior, clicks)
        box = _last_box(prompts)
        if box is not None:
            outside = np.ones(mask.shape, bool)
            outside[self._room(box).slices] = False
            mask &= ~outside if prior is None else ~(outside & ~prior)
        return _honoured(mask, clicks, reach)

    def _pixel(self, click: Click) -> Pixel:
        return self._view.pixel_of(click.x, click.y)

    def _room(self, box: Box) -> Region:
        top, left = self._view.pixel_of(box.x0, box.y0)
        bottom, right = self._view.pixel_of(box.x1, box.y1)
        return Region(top, left, bottom + 1, right + 1)


def build() -> EmbeddedSegmenter:
    """The embedded click tool with its weights from ``resources/``; it takes no options.

    Raises BackendError where the weights are missing.
    """
    import onnxruntime

    try:
        weights = resource(WEIGHTS).read_bytes()
    except OSError as error:
        raise BackendError(
            f"The weights of the embedded click tool are missing ({WEIGHTS}). Install the package again, or choose "
            "--segmenter geodesic, which needs none."
        ) from error
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1  # the same answer on every machine, and no rush
    return EmbeddedSegmenter(onnxruntime.InferenceSession(weights, options, providers=["CPUExecutionProvider"]))


# -- pure parts --------------------------------------------------------------------------------------------


def _images(image: NDArray[Any], modality: str) -> list[Image.Image]:
    """The view's channels (one or three) as finite 32-bit images."""
    values = image.astype(np.float32)
    if not np.isfinite(values).all():
        finite = values[np.isfinite(values)]
        low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 0.0)
        values = np.nan_to_num(values, nan=low, posinf=high, neginf=low)
    if modality == "CT":  # below air there is only the scanner's padding
        np.clip(values, -1100, 3100, out=values)
    planes = [values] if values.ndim == 2 else [values[..., n] for n in range(3)]
    return [Image.fromarray(np.ascontiguousarray(plane)) for plane in planes]


def _close_side(region: Region) -> int:
    """The network's pixels for a region: as many as it has, within limits."""
    return int(np.clip(-(-max(region.shape) // STEP) * STEP, _LEAST_CLOSE, _CLOSE))


def _last_box(prompts: Sequence[PromptAction]) -> Box | None:
    return next((p for p in reversed(prompts) if isinstance(p, Box)), None)


def _outgrown(answer: _Answer, view: Region) -> bool:
    """Whether the mask reaches an edge of its region that isn't the view's."""
    mask, region = answer.probability > 0.5, answer.region
    return bool(
        (region.top > view.top and mask[0].any())
        or (region.bottom < view.bottom and mask[-1].any())
        or (region.left > view.left and mask[:, 0].any())
        or (region.right < view.right and mask[:, -1].any())
    )


def _clicked_parts(mask: Mask, clicks: dict[Pixel, bool]) -> Mask:
    """The connected parts with a positive click; where no click lies in any, all but the smallest."""
    parts, count = ndi.label(mask)
    if count < 2:
        return mask
    keep = np.zeros(count + 1, bool)
    for pixel, positive in clicks.items():
        keep[parts[pixel]] |= positive
    keep[0] = False
    if not keep.any():
        sizes = np.bincount(parts.reshape(-1))
        keep = sizes >= _CRUMB * sizes[1:].max()
        keep[0] = False
    return np.asarray(keep[parts])


def _kept(mask: Mask, prior: Mask, clicks: dict[Pixel, bool]) -> Mask:
    """A painted mask with only those changes that a click asks for: they touch one that disagrees with it."""
    asked = [pixel for pixel, positive in clicks.items() if prior[pixel] != positive]
    result = prior.copy()
    if not asked:
        return result
    for positive in (True, False):
        changes = (mask & ~prior) if positive else (prior & ~mask)
        parts, _ = ndi.label(changes)
        wanted = {int(parts[p]) for p in asked if clicks[p] == positive}
        result[np.isin(parts, [n for n in wanted if n])] = positive
    return result


def _honoured(mask: Mask, clicks: dict[Pixel, bool], reach: float) -> Mask:
    """The mask with each click's pixel, and a little round it, on the click's side; the last word on a pixel counts."""
    radius = int(np.ceil(reach))
    for (row, column), positive in clicks.items():
        if mask[row, column] == positive:
            continue
        top, left = max(0, row - radius), max(0, column - radius)
        near = mask[top : row + radius + 1, left : column + radius + 1]
        rows, columns = np.ogrid[top : top + near.shape[0], left : left + near.shape[1]]
        near[(rows - row) ** 2 + (columns - column) ** 2 <= reach**2] = positive
    for pixel, positive in clicks.items():
        mask[pixel] = positive
    return mask
