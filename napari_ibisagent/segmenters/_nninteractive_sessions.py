"""nnInteractive's two sessions, which can do the same: its client for a server, and the whole package on this machine.

Here is what they leave to whoever calls: which machines may be spoken to, and a sentence for each way to fail.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, redirect_stdout
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import urlsplit

import numpy as np
from numpy.typing import NDArray

from napari_ibisagent.core.errors import BackendError, InputError
from napari_ibisagent.io.hosts import check_proxy, check_url, is_here
from napari_ibisagent.io.keys import key_for
from napari_ibisagent.segmenters._torch_runs import run_on, translated

KEY = "NN_INTERACTIVE_API_KEY"
_CHECKPOINT = "checkpoint_final.pth"


class Session(Protocol):
    """What is used of either session (nnInteractive 2.6). Arrays are (X, Y, Z), the image has a channel before them."""

    supports_initial_label: bool

    def set_image(self, image: NDArray[np.float32], image_properties: dict[str, Any] | None = None) -> None:
        """Another image; what was clicked on the last one is forgotten."""
        ...

    def set_target_buffer(self, target_buffer: NDArray[np.uint8]) -> None:
        """Where masks are written to."""
        ...

    def reset_interactions(self) -> None:
        """Forgets all clicks, boxes and masks, and empties the target buffer."""
        ...

    def add_point_interaction(self, coordinates: Sequence[int], include_interaction: bool) -> object:
        """A click, and the mask after it."""
        ...

    def add_bbox_interaction(self, bbox_coords: Sequence[Sequence[int]], include_interaction: bool) -> object:
        """A box as (first, last + 1) of each axis, and the mask after it."""
        ...

    def add_initial_seg_interaction(self, initial_seg: NDArray[np.uint8]) -> object:
        """A mask to go on from."""
        ...


class GoneError(Exception):
    """The server has closed the session, as it does with one that nobody used for a while."""


@dataclass(frozen=True, slots=True)
class Source:
    """Where sessions come from, and how they end.

    guard: what each prompt is told in, alone; BackendError or GoneError leaves it. notice: what the user has to know
    before anything is sent.
    """

    connect: Callable[[], Session]
    close: Callable[[Session], None]
    guard: Callable[[], AbstractContextManager[None]]
    notice: str = ""


def served(url: str, *, allow_remote_host: bool) -> Source:
    """A server's sessions. Raises InputError for an address that is none, or another machine's without leave."""
    checked = check_url(url, allow_remote_host=allow_remote_host)
    check_proxy(checked)
    host = urlsplit(checked).hostname or ""

    def connect() -> Session:
        from nnInteractive.inference.remote import nnInteractiveRemoteInferenceSession

        session: Any = object.__new__(nnInteractiveRemoteInferenceSession)
        try:
            session.__init__(checked, api_key=key_for(checked, KEY) or None)
        except BaseException:
            # The client leaves its connection open where it is refused.
            if hasattr(session, "_http"):
                session._http.close()
            raise
        found: Session = session
        return found

    notice = "" if is_here(host) else f"The slices that are clicked on are sent to {host}."
    return Source(connect, lambda session: session.close(), lambda: _heard(checked), notice)  # type: ignore[attr-defined]


def on_this_machine(folder: str, device: str | None, *, allow_pickle: bool) -> Source:
    """A session of the whole package with the weights of a folder.

    Raises InputError for a folder that holds none or may not be read, BackendError where the package isn't here.
    """
    root = Path(folder)
    if not (root / "plans.json").is_file() or not any(root.glob(f"fold_*/{_CHECKPOINT}")):
        raise InputError(
            f"{folder} isn't a model of nnInteractive: it has plans.json, dataset.json and fold_0/{_CHECKPOINT}. "
            "Type: ibisagent models fetch nninteractive-1.0"
        )
    if not allow_pickle:
        raise InputError(
            "nnInteractive's weights come as a pickle, which can run any program when it is read. If you trust where "
            "they come from, say so: allow_pickle=true."
        )
    if find_spec("nnunetv2") is None:
        raise BackendError(
            "The package nnInteractive isn't installed, or not whole. Type: pip install nnInteractive; or let a server "
            "run it, and give server=http://localhost:1527."
        )
    run = run_on(device, "float32")

    def connect() -> Session:
        import torch
        from nnInteractive.inference.inference_session import nnInteractiveInferenceSession

        threads = torch.get_num_threads()
        session = nnInteractiveInferenceSession(run.device, torch_n_threads=threads, enable_undo=False)
        session.initialize_from_trained_model_folder(folder)
        found: Session = session
        return found

    return Source(connect, lambda _: run.free(), lambda: _quietly(run.free))


@contextmanager
def _quietly(free: Callable[[], None]) -> Iterator[None]:
    """The package writes what it does to standard output, which is the command's own, and draws from numpy's dice."""
    with translated("nninteractive", free), redirect_stdout(sys.stderr), _same_dice():
        try:
            yield
        except (OSError, KeyError, ValueError, AssertionError) as error:
            raise BackendError(f"nnInteractive failed: {error}. Fetch its weights again, or report it.") from error


@contextmanager
def _same_dice() -> Iterator[None]:
    before = np.random.get_state()
    np.random.seed(0)
    try:
        yield
    finally:
        np.random.set_state(before)


@contextmanager
def _heard(url: str) -> Iterator[None]:
    """Every way in which a server can fail, as a sentence. Never the key."""
    import httpx
    from nnInteractive.inference.remote import ServerAtCapacityError, SessionExpiredError

    try:
        yield
    except SessionExpiredError as error:
        raise GoneError from error
    except ServerAtCapacityError as error:
        raise BackendError(
            f"The server at {url} has given out all of its sessions. Close another program that uses it and try again, "
            "or start it with --max-sessions."
        ) from error
    except httpx.HTTPStatusError as error:
        raise BackendError(_refused(url, error.response)) from error
    except httpx.TimeoutException as error:
        raise BackendError(f"The server at {url} didn't answer in time. Try again, or look whether it runs.") from error
    except httpx.HTTPError as error:
        raise BackendError(
            f"Nothing answers at {url} ({type(error).__name__}). Start nninteractive-server there, or correct server=."
        ) from error
    except (ValueError, KeyError, TypeError, IndexError) as error:
        raise BackendError(
            f"The server at {url} answers in another form than nnInteractive 2.6. Look whether it is one, and which."
        ) from error


def _refused(url: str, response: Any) -> str:
    if response.status_code in (401, 403):
        return f"The server at {url} wants a key. Set {KEY}."
    if response.status_code == 404:
        return f"The server at {url} isn't one of nnInteractive's: it doesn't know {response.request.url.path}."
    try:
        detail = response.json().get("detail")
    except (ValueError, AttributeError):
        detail = None
    said = f": {detail.rstrip('.')}" if isinstance(detail, str) else ""
    return f"The server at {url} failed with {response.status_code}{said}. Look at its log, and try again."
