"""One prompt on one scan, from the sentence to the labels: what the command line, a server and a script share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from napari_ibisagent.agent.carry import Crew, carry, may_be_carried, wanted
from napari_ibisagent.agent.commit import committing, warnings_of
from napari_ibisagent.agent.recorder import Recorder
from napari_ibisagent.agent.runner import Run, Stage, Verdicts, run
from napari_ibisagent.agent.stop import DEFAULT_LIMITS, Limits
from napari_ibisagent.core.carrying import Extent
from napari_ibisagent.core.episode import (
    Episode,
    EpisodeEvent,
    Outcome,
    Prompted,
    Terminated,
    Thought,
)
from napari_ibisagent.core.errors import BackendError, CancelledError, InputError, StateError
from napari_ibisagent.core.masks import Mask
from napari_ibisagent.core.packed import PackedMask
from napari_ibisagent.core.protocols import Location, Locator, Policy, Propagator, Segmenter
from napari_ibisagent.core.target import Target
from napari_ibisagent.core.view import AXES, Plane, View, slice_of, view_of
from napari_ibisagent.core.volume import Volume
from napari_ibisagent.core.window import Window

Listener = Callable[[EpisodeEvent, Episode], Verdicts | None]


def _listen(_: EpisodeEvent, __: Episode) -> Verdicts | None:
    return None


def _never() -> bool:
    return False


@dataclass(frozen=True, eq=False, slots=True)
class Job:
    """What is asked. ``index`` None: the policy or ``locator`` chooses the slice.

    ``propagator`` carries the mask through the volume where ``extent`` is VOLUME. ``given`` (Z, Y, X) is a mask to
    begin from, as far as it lies on the slice.
    """

    volume: Volume
    prompt: str
    plane: Plane
    index: int | None
    policy: Policy
    segmenter: Segmenter
    locator: Locator
    limits: Limits = DEFAULT_LIMITS
    window: Window | None = None
    extent: Extent = Extent.SLICE
    propagator: Propagator | None = None
    given: Mask | None = None


@dataclass(frozen=True, eq=False, slots=True)
class Result:
    """What came of it. ``view`` None: no slice showed the target. ``value`` is the object's label, if any."""

    episode: Episode
    view: View | None
    target: Target | None
    value: int | None
    warnings: tuple[str, ...]


def perform(
    job: Job, recorder: Recorder, *, listen: Listener = _listen, cancelled: Callable[[], bool] = _never
) -> Result:
    """Plays the episode, records every event, and commits the mask as a new object where one was reached.

    ``listen`` gets each event with the episode after it; what it answers to a ``Proposed`` is the verdict. Where
    it raises CancelledError the episode ends as cancelled. For a whole volume the mask of that slice is then carried
    on; what was done when that was cancelled is kept. Raises BackendError where a volume has no propagator.
    """
    if job.extent is Extent.VOLUME and job.propagator is None:
        raise BackendError("A whole volume needs a propagator to carry the mask through it. Name one.")
    location = _locate(job, cancelled)
    index = location.index
    start = view_of(job.volume, job.plane, job.volume.shape[AXES[job.plane][0]] // 2 if index is None else index)
    prompted = Prompted(
        *(job.prompt, job.plane, start.index, start.shape, location.target),
        given=_given_on(start, job),
        extent=job.extent,
    )
    _tell(recorder, listen, prompted)
    if index is None:
        ending = (
            Terminated(Outcome.CANCELLED, "Cancelled by the user.")
            if cancelled()
            else Terminated(Outcome.NOT_FOUND, location.reason)
        )
        _tell(recorder, listen, Thought(location.reason))
        return Result(_tell(recorder, listen, ending), None, location.target, None, ())
    stage = Stage(job.volume, start, job.policy, job.segmenter.open(start), job.window)
    events = run(_current(recorder), stage, limits=job.limits, cancelled=cancelled)
    _play(events, recorder, listen)
    _carry(job, recorder, listen, cancelled)
    return _finished(job, recorder, start, location)


def _given_on(view: View, job: Job) -> PackedMask | None:
    """What of the given mask lies on a view."""
    on_slice = None if job.given is None else slice_of(job.given, view.plane, view.index)
    return None if on_slice is None or not on_slice.any() else PackedMask.of(view.from_native(on_slice))


def _play(events: Run, recorder: Recorder, listen: Listener) -> None:
    """Drives a run to its end: records each event, and hands back what the listener says to it."""
    verdict: Verdicts | CancelledError | None = None
    while True:
        try:
            event = events.throw(verdict) if isinstance(verdict, CancelledError) else events.send(verdict)
        except StopIteration:
            return
        recorder.record(event)
        try:
            verdict = listen(event, _current(recorder))
        except CancelledError as cancelled:
            verdict = cancelled


def _carry(job: Job, recorder: Recorder, listen: Listener, cancelled: Callable[[], bool]) -> None:
    """Carries the mask through the volume where that was asked for and the key slice has an answer."""
    episode = _current(recorder)
    has_answer = episode.outcome in (Outcome.DONE, Outcome.STEP_LIMIT)
    if job.propagator is None or not (wanted(episode) and has_answer and may_be_carried(episode, job.volume.shape)):
        return
    crew = Crew(job.policy, job.segmenter, job.propagator)
    for event in carry(episode, job.volume, crew, cancelled):
        _tell(recorder, listen, event)


def _locate(job: Job, cancelled: Callable[[], bool]) -> Location:
    """The slice and the target. A target is looked up for a given slice too: its side is checked at the end."""
    found = job.locator.locate(job.volume, job.prompt, job.plane)
    if job.index is None and found.index is None and not isinstance(job.policy, Locator) and not cancelled():
        return _unguided(job, found)
    if job.index is None or cancelled():
        return found
    return Location(job.index, found.reason, found.target)


def _unguided(job: Job, found: Location) -> Location:
    """Another one's "not found" isn't the policy's word: it is asked about a picture, and a volume's slice is named."""
    if job.volume.shape[AXES[job.plane][0]] == 1:
        return Location(0, "The picture has one slice.", found.target)
    raise InputError(
        f"{job.policy.name} sees one slice, and the embedded agent finds none for this sentence ({found.reason}) "
        "Say which one, for example with --slice 40."
    )


def _tell(recorder: Recorder, listen: Listener, event: EpisodeEvent) -> Episode:
    recorder.record(event)
    episode = _current(recorder)
    listen(event, episode)
    return episode


def _current(recorder: Recorder) -> Episode:
    if recorder.session.episode is None:
        raise StateError("There is no episode yet: a prompt has to come first.")
    return recorder.session.episode


def _finished(job: Job, recorder: Recorder, view: View, location: Location) -> Result:
    """Commits the mask under the overlap rule and looks for what the user has to be warned of."""
    episode = _current(recorder)
    value: int | None = None
    if episode.outcome in (Outcome.DONE, Outcome.STEP_LIMIT):
        event = committing(recorder.session, job.volume, view)
        if event is not None:
            recorder.record(event)
            value = event.patch.value
    return Result(episode, view, location.target, value, warnings_of(episode, job.volume, view))
