"""What the dock says of a desk: what goes on, what can be done now, what to be warned of. Pure; knows no toolkit."""

from __future__ import annotations

from functools import lru_cache

from napari_ibisagent.agent.autosave import Earlier
from napari_ibisagent.agent.carry import may_be_carried
from napari_ibisagent.agent.checks import quality_warnings, side_warning
from napari_ibisagent.agent.store import Store
from napari_ibisagent.core.episode import Episode, Outcome
from napari_ibisagent.core.knowledge import resolve
from napari_ibisagent.core.target import Side
from napari_ibisagent.io.knowledge import load_knowledge
from napari_ibisagent.ui.cards import Button, Card, Kind, Tone
from napari_ibisagent.ui.exhibit import Shown
from napari_ibisagent.ui.through import progress_words

_ALWAYS = frozenset(("point", "box", "brush", "erase", "lasso", "place", "write"))
_GATE = frozenset(("accept", "reject", "nudge_up", "nudge_down", "nudge_left", "nudge_right", "cancel"))


def status_of(episode: Episode | None, running: bool, shown: Shown | None) -> str:
    """What goes on, in a few words."""
    if shown is not None:
        return f"You look back at step {shown.step}. A click on the newest card leads back."
    if running:
        if episode is not None and episode.carrying is not None and episode.under_way:
            return f"Carrying through the volume: {progress_words(episode.carrying)}…"
        if episode is not None and not episode.located:
            return "Looking for the slice…"
        for_tool = episode is not None and episode.pending is not None
        return "The tool is at work…" if for_tool else "The agent thinks…"
    if episode is not None and episode.waits:
        return "Waits for your word on the click."
    return "Ready."


def possible(store: Store | None, running: bool) -> frozenset[str]:
    """The intents that can be done now."""
    if store is None:
        return frozenset()
    episode = store.episode
    found = set(_ALWAYS)
    found |= {"undo"} if store.history.undo() is not None else set()
    found |= {"redo"} if store.history.redo() is not None else set()
    found |= {"cancel", "pause"} if running else set()
    if episode is None:
        return frozenset(found)
    found |= _GATE if episode.waits else set()
    if not episode.located and episode.outcome is None:
        return frozenset(found | (set() if running else {"go_on"}))  # the slice is still to be found
    has_mask = episode.mask is not None
    found |= {"reset"} if has_mask or episode.prompts else set()
    found |= {"keep"} if has_mask and episode.kept_as is None else set()
    lost = episode.outcome is Outcome.NOT_FOUND and not has_mask
    may_go_on = episode.prompt and episode.kept_as is None and not lost and not running and episode.carrying is None
    found |= {"go_on"} if may_go_on else set()
    may_carry = not running and episode.carrying is None and has_mask and may_be_carried(episode, store.volume.shape)
    found |= {"carry"} if may_carry else set()
    return frozenset(found)


def warnings_now(store: Store) -> tuple[str, ...]:
    """What to be warned of in the mask on the table. The wrong side is told at once, the rest at the end."""
    episode = store.episode
    if episode is None or episode.mask is None or not episode.located:
        return ()
    target, ended = episode.target, episode.outcome is not None
    found = tuple(quality_warnings(episode)) if ended else ()
    if target is None or (target.side is Side.BOTH and not ended):
        return found  # one of two sides is no reason to warn while the other one is still to come
    view = store.view(episode)
    side = side_warning(store.volume, view, view.to_native(episode.mask_array()), target)
    return found if side is None else (*found, side)


def choices_now(store: Store) -> tuple[str, ...]:
    """What the newest sentence can mean, where nothing was found because it can mean several things."""
    episode = store.episode
    if episode is None or episode.outcome is not Outcome.NOT_FOUND or episode.mask is not None or not episode.prompt:
        return ()
    return _meanings(episode.prompt)


@lru_cache(maxsize=16)
def _meanings(prompt: str) -> tuple[str, ...]:
    return resolve(prompt, load_knowledge()).choices


def question(earlier: Earlier) -> Card:
    """Whether an earlier session is to be gone on with."""
    prompts = f"{earlier.prompts} {'request' if earlier.prompts == 1 else 'requests'}"
    objects = f"{earlier.objects} {'object' if earlier.objects == 1 else 'objects'}"
    buttons = (
        Button("resume", "Resume", "Brings back the conversation, the masks and the objects."),
        Button("anew", "Start anew", "The earlier session stays on the disk."),
    )
    text = f"There is an earlier session on this scan, with {prompts} and {objects}. Go on with it?"
    return Card("question", Kind.QUESTION, text, Tone.CARE, title="Resume?", buttons=buttons)
