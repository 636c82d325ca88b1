"""nnInteractive (Isensee et al. 2025, arXiv 2503.08373) as a click tool: behind its server, or on this machine.

A server (``nninteractive-server``) is spoken to through its authors' client, which needs no torch; on this machine the
whole package runs the weights of a folder. It was made for volumes; here it is asked slice by slice, and gets the slice
as a volume one voxel thick. What it leaves out: the third axis, scribbles and lassos, and an estimate of how good its
mask is: the score is always 0.
"""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.util import find_spec

import numpy as np
from numpy.typing import NDArray

from napari_ibisagent.core.actions import Box, Click, PromptAction
from napari_ibisagent.core.errors import BackendError, InputError
from napari_ibisagent.core.masks import Mask, bounding_box
from napari_ibisagent.core.protocols import Segmentation
from napari_ibisagent.core.view import View
from napari_ibisagent.io.hosts import remote_allowed
from napari_ibisagent.segmenters._embeddings import content_key
from napari_ibisagent.segmenters._nninteractive_sessions import GoneError, Session, Source, on_this_machine, served
from napari_ibisagent.segmenters._preprocess import shown
from napari_ibisagent.segmenters._prior import check_prior
from napari_ibisagent.segmenters._sam_prompts import honoured

_SERVER, _REMOTE = "IBISAGENT_NNINTERACTIVE_SERVER", "IBISAGENT_NNINTERACTIVE_ALLOW_REMOTE_HOST"
# How far, in pixels, a click that wasn't followed is made to reach.
_REACH = 1.5
# Of red, green and blue in the grey of a colour picture (ITU-R BT.601).
_LUMA = np.array([0.299, 0.587, 0.114], np.float32)


@dataclass(frozen=True, eq=False, slots=True)
class _State:
    """What the session has been told: a picture, a mask to begin with and prompts; ``buffer`` (1, H, W) is its mask."""

    picture: bytes
    prior: bytes | None
    prompts: tuple[PromptAction, ...]
    buffer: NDArray[np.uint8]


class NnInteractiveSegmenter:
    """One session, which looks at one view at a time. Threads may share it."""

    def __init__(self, name: str, source: Source) -> None:
        self.name, self.notice = name, source.notice
        self._source = source
        self._session: Session | None = None
        self._end: Callable[[], object] = lambda: None
        self._state: _State | None = None
        self._lock = threading.Lock()

    def open(self, view: View) -> OpenedNnInteractive:
        """Makes the view ready; it is sent where it is first asked about."""
        return OpenedNnInteractive(self, view)

    def mask(
        self, view: View, picture: NDArray[np.float32], prompts: tuple[PromptAction, ...], prior: Mask | None
    ) -> Mask:
        """The mask (H, W) of a view, of which the session gets ``picture``, after all prompts. Raises BackendError.

        Prompts that go on from those that the session knows are added; else all are told again, each with its answer.
        So it depends on nothing but the arguments. A session that the server has closed is begun anew.
        """
        with self._lock:
            try:
                return self._answered(view, picture, prompts, prior)
            except GoneError:
                self._end()
                self._session = None
            try:
                return self._answered(view, picture, prompts, prior)
            except GoneError as error:
                raise BackendError(f"{self.name}'s server closes every session at once. Look at its log.") from error

    def _answered(
        self, view: View, picture: NDArray[np.float32], prompts: tuple[PromptAction, ...], prior: Mask | None
    ) -> Mask:
        key, prior_key = content_key(picture), None if prior is None else content_key(prior)
        # Where a call fails nobody knows what the session was told.
        known, self._state = self._state, None
        guard = self._source.guard
        with guard():
            if self._session is None:
                known, self._session = None, self._source.connect()
                # A server lends few sessions, and keeps one for as long as the client lives.
                self._end = weakref.finalize(self, self._source.close, self._session)
            session = self._session
            if known is None or known.picture != key:
                session.set_image(picture[np.newaxis, np.newaxis])
                state = _State(key, None, (), np.zeros((1, *picture.shape), np.uint8))
                session.set_target_buffer(state.buffer)
            elif known.prior != prior_key or prompts[: len(known.prompts)] != known.prompts:
                session.reset_interactions()
                state = _State(key, None, (), known.buffer)
            else:
                state = known
            if prior is not None and not state.prompts:
                self._begin_with(session, prior)
        for prompt in prompts[len(state.prompts) :]:
            with guard():
                _tell(session, prompt, view)
        self._state = _State(key, prior_key, prompts, state.buffer)
        return np.asarray(state.buffer[0] > 0)

    def _begin_with(self, session: Session, prior: Mask) -> None:
        if not session.supports_initial_label:
            raise BackendError(f"The model behind {self.name} can't go on from a mask. Begin without one.")
        session.add_initial_seg_interaction(prior[np.newaxis].astype(np.uint8))


class OpenedNnInteractive:
    """A view as its tool sees it."""

    def __init__(self, tool: NnInteractiveSegmenter, view: View) -> None:
        self._tool, self._view = tool, view
        image = shown(view.image).astype(np.float32)
        self._picture = np.ascontiguousarray(image if image.ndim == 2 else image[..., :3] @ _LUMA)
        self._flat = _is_flat(self._picture)

    def segment(self, prompts: Sequence[PromptAction], prior: Mask | None) -> Segmentation:
        """A mask (H, W) from all prompts in order and the prior one; see ``OpenedView``. The score is 0.

        Without a prompt the prior mask stays as it is. Raises BackendError, and GridError for a prior of another shape.
        """
        shape = self._view.shape
        check_prior(prior, self._view)
        before = np.zeros(shape, bool) if prior is None else prior.copy()
        if not prompts:
            return Segmentation(before, 0.0)
        if self._flat:
            # It takes a picture's spread to one, and this one has none: there is nothing to see but what is asked for.
            mask = before
            for box in (p for p in prompts if isinstance(p, Box)):
                (top, bottom), (left, right) = _sides(box, shape)
                mask[top:bottom, left:right] = True
        else:
            start = prior if prior is not None and prior.any() else None
            mask = self._tool.mask(self._view, self._picture, tuple(prompts), start)
        clicks = {self._view.pixel_of(p.x, p.y): p.positive for p in prompts if isinstance(p, Click)}
        return Segmentation(honoured(mask, clicks, _REACH), 0.0)


def available() -> str | None:
    """Why the tool can't run as it is, as a sentence."""
    if find_spec("nnInteractive") is None:
        return "needs nnInteractive's client: pip install 'napari-ibisagent[nninteractive]'"
    return None if os.environ.get(_SERVER) else f"needs a server: set {_SERVER}, for example to http://localhost:1527"


def build(
    server: str | None = None,
    allow_remote_host: bool | None = None,
    folder: str | None = None,
    device: str | None = None,
    allow_pickle: bool = False,
    name: str = "nninteractive",
) -> NnInteractiveSegmenter:
    """nnInteractive as a click tool.

    server: the address of a nninteractive-server, else from the environment (IBISAGENT_NNINTERACTIVE_SERVER); its key,
    where it wants one, comes from NN_INTERACTIVE_API_KEY or the system's keyring. allow_remote_host: slices may leave
    this machine. folder: instead of a server, a folder with its weights, read only with ``allow_pickle``; device: cpu,
    cuda, ...; None takes CUDA where there is one. Nothing is sent or loaded before the first click.

    Raises InputError for options, BackendError where it can't run here.
    """
    if folder is not None:
        return NnInteractiveSegmenter(name, on_this_machine(folder, device, allow_pickle=allow_pickle))
    address = server or os.environ.get(_SERVER, "")
    if not address:
        raise InputError(f"Which server? Give server=http://localhost:1527, or set {_SERVER}; or give folder=.")
    if find_spec("nnInteractive") is None:
        raise BackendError(f"{name} {available()}.")
    return NnInteractiveSegmenter(name, served(address, allow_remote_host=remote_allowed(allow_remote_host, _REMOTE)))


def _tell(session: Session, prompt: PromptAction, view: View) -> None:
    """A click or a box in the session's coordinates: the slice is the first axis."""
    if isinstance(prompt, Click):
        session.add_point_interaction((0, *view.pixel_of(prompt.x, prompt.y)), prompt.positive)
    else:
        session.add_bbox_interaction(((0, 1), *_sides(prompt, view.shape)), True)


def _sides(box: Box, shape: tuple[int, int]) -> tuple[tuple[int, int], tuple[int, int]]:
    """((top, bottom), (left, right)) of a box in pixels, the last ones not included; never empty."""
    (height, width) = shape
    top, left = min(int(box.y0 * height), height - 1), min(int(box.x0 * width), width - 1)
    bottom, right = min(round(box.y1 * height), height), min(round(box.x1 * width), width)
    return (top, max(bottom, top + 1)), (left, max(right, left + 1))


def _is_flat(picture: NDArray[np.float32]) -> bool:
    """Whether a picture (H, W) has one value wherever it has any."""
    inside = bounding_box(picture != 0)
    return inside is None or bool(np.ptp(picture[inside]) == 0)
