"""What a policy, a segmentation tool and a propagator have to be. Third parties implement these and nothing else."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from numpy.typing import NDArray

from napari_ibisagent.core.actions import PromptAction
from napari_ibisagent.core.episode import Episode
from napari_ibisagent.core.masks import Mask
from napari_ibisagent.core.overlay import Picture
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
    """A tool that turns clicks and a prior mask on one view into a mask and a score."""

    name: str

    def open(self, view: View) -> OpenedView:
        """Looks at a view once; every mask comes from what it returns. Raises BackendError."""
        ...


@dataclass(frozen=True, eq=False, slots=True)
class Situation:
    """All that a policy may look at when it decides. ``observation`` is (H, W, 3) with the mask drawn over."""

    episode: Episode
    volume: Volume
    view: View
    observation: Picture


@runtime_checkable
class Policy(Protocol):
    """Decides the next turn, as text of its dialect."""

    name: str
    dialect: str

    def act(self, situation: Situation) -> Iterator[str]:
        """The text of the next turn, piece by piece; between two pieces the user may cancel.

        Raises BackendError when the policy can't answer.
        """
        ...


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


class Propagator(Protocol):
    """Carries a mask from key slices through the volume."""

    name: str

    def propagate(self, volume: Volume, plane: Plane, keys: dict[int, Mask]) -> NDArray[Any]:
        """A mask (Z, Y, X) bool from masks of key slices (rows, columns)."""
        ...
