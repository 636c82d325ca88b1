"""What a policy, a segmentation tool and a propagator have to be. Third parties implement these and nothing else."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np

from napari_ibisagent.core.actions import PromptAction
from napari_ibisagent.core.dialects.conversation import Mistake
from napari_ibisagent.core.episode import Episode
from napari_ibisagent.core.masks import Mask
from napari_ibisagent.core.overlay import Picture
from napari_ibisagent.core.packed import PackedMask
from napari_ibisagent.core.target import Target
from napari_ibisagent.core.view import Plane, View
from napari_ibisagent.core.volume import Volume


@dataclass(frozen=True, eq=False, slots=True)
class Segmentation:
    """What a tool answers.

    mask: (H, W) bool of the view. score: the tool's own estimate of the IoU, in [0, 1].
    """

    mask: Mask
    score: float


@runtime_checkable
class OpenedView(Protocol):
    """A view that a tool has looked at (its embedding is computed once, here)."""

    def segment(self, prompts: Sequence[PromptAction], prior: Mask | None) -> Segmentation:
        """A mask from all prompts in force, in order, and the mask (H, W) given or painted before them.

        A function of its arguments alone: the same prompts and prior give the same mask, bit for bit. A tool
        that wants its own last answer (low-resolution logits, say) may cache it by the prompts that led to it.
        Raises BackendError when the tool fails.
        """
        ...


@runtime_checkable
class Segmenter(Protocol):
    """A tool that turns clicks and a prior mask on one view into a mask and a score.

    It may have a ``notice: str`` as well: what the user has to know before it is asked.
    """

    name: str

    def open(self, view: View) -> OpenedView:
        """Looks at a view once; every mask comes from what it returns. Raises BackendError."""
        ...


@dataclass(frozen=True, eq=False, slots=True)
class Situation:
    """All that a policy may look at when it decides.

    look: the slice as the policy sees it, (H, W, 3) uint8, with a mask drawn over it or none. ``observation`` is
    that with the mask on the table. mistake: the policy's last answer, where it couldn't be taken, and why.
    """

    episode: Episode
    volume: Volume
    view: View
    look: Callable[[PackedMask | None], Picture]
    mistake: Mistake | None = None

    @property
    def observation(self) -> Picture:
        """What there is to see now."""
        return self.look(self.episode.mask)


@dataclass(frozen=True, slots=True)
class Manner:
    """How a policy wants to be played, from its checkpoint's profile.

    overlay: a preset's name; empty: that of its dialect. repairs: how often an answer that can't be taken goes back to
    it. turns: the most turns it was made for; None: no limit of its own. notice: what the user has to know before it
    is asked, as that pictures leave this machine.
    """

    overlay: str = ""
    repairs: int = 0
    turns: int | None = None
    notice: str = ""


@runtime_checkable
class Policy(Protocol):
    """Decides the next turn, as text of its dialect. It may have a ``manner: Manner`` as well."""

    name: str
    dialect: str

    def act(self, situation: Situation) -> Iterator[str]:
        """The text of the next turn, piece by piece; between two pieces the user may cancel.

        Raises BackendError when the policy can't answer.
        """
        ...


def manner_of(policy: Policy) -> Manner:
    """How a policy wants to be played; as any where it doesn't say."""
    manner = getattr(policy, "manner", None)
    return manner if isinstance(manner, Manner) else Manner()


def notice_of(policy: Policy, segmenter: Segmenter) -> str:
    """What the user has to know before these two are asked; empty: nothing."""
    told = (manner_of(policy).notice, str(getattr(segmenter, "notice", "")))
    return " ".join(sentence for sentence in told if sentence)


@dataclass(frozen=True, slots=True)
class Location:
    """Which slice to work on for a prompt, and why. ``index`` None: nothing was found, ``reason`` says why."""

    index: int | None
    reason: str
    target: Target | None = None


@runtime_checkable
class Locator(Protocol):
    """A policy that can choose the slice itself."""

    def locate(self, volume: Volume, prompt: str, plane: Plane) -> Location:
        """The slice with the best evidence for what the prompt asks for."""
        ...


@runtime_checkable
class EvidenceSource(Protocol):
    """A policy that can say, slice by slice, where it sees what the prompt asks for."""

    def evidence(self, volume: Volume, prompt: str, plane: Plane, index: int) -> Mask | None:
        """(H, W) bool of the slice's view: empty where nothing is there, None where it has no idea."""
        ...


@dataclass(frozen=True, eq=False, slots=True)
class Carry:
    """What a propagator is given: the mask (H, W) of the key slice ``index``, and how far it may be carried.

    first, last: the slices at both ends, themselves included; beyond them there is nothing of the target.
    evidence: for a slice, where the target is expected (H, W); empty: nothing of it; None: no idea.
    """

    volume: Volume
    plane: Plane
    index: int
    mask: Mask
    tool: Segmenter
    first: int
    last: int
    evidence: Callable[[int], Mask | None]


@dataclass(frozen=True, eq=False, slots=True)
class CarriedSlice:
    """The mask (H, W) of a further slice.

    confidence: in [0, 1], the tool's score times the agreement with what was expected.
    note: why a person should look at this slice, as a sentence; empty where nothing stands out.
    prior, prompts, room: what it was made from, where ``made_again`` can make it again: the slice whose mask the tool
    began with (None: with nothing), clicks and boxes (with neither, it can't), and where the mask may lie.
    """

    index: int
    mask: Mask
    confidence: float
    note: str = ""
    prior: int | None = None
    prompts: tuple[PromptAction, ...] = ()
    room: Mask | None = None


@runtime_checkable
class Propagator(Protocol):
    """Carries a mask from a key slice through the volume."""

    name: str

    def propagate(self, carry: Carry, cancelled: Callable[[], bool]) -> Iterator[CarriedSlice]:
        """The slices outwards from the key slice, each at most once and none beyond the bounds.

        It stops where the target ends. ``cancelled`` is asked between two slices. Raises BackendError.
        """
        ...


def made_again(
    opened: OpenedView, prompts: Sequence[PromptAction], prior: Mask | None, room: Mask | None
) -> tuple[Segmentation, int]:
    """The one way from a neighbour's mask, or none, and prompts to the mask of a slice; all masks (H, W).

    The prior is cut to the room before the tool sees it, and the answer after, so that it can't leak out of it; the
    number says how many pixels of the answer were cut off. Propagators and replay both go through here.
    """
    if room is None:
        return opened.segment(prompts, prior), 0
    answer = opened.segment(prompts, None if prior is None else prior & room)
    return Segmentation(answer.mask & room, answer.score), int(np.count_nonzero(answer.mask & ~room))
