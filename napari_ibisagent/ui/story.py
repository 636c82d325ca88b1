"""From a session to the cards of the conversation. Pure: what isn't in the session comes in as a ``Scene``."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import TypedDict

import numpy as np

from napari_ibisagent.agent.commit import BY_HAND
from napari_ibisagent.core.actions import Action, Box, Click, Discard, Revert
from napari_ibisagent.core.carrying import Extent
from napari_ibisagent.core.episode import Author, Episode, Outcome, PackedMask, Step, Verdict
from napari_ibisagent.core.session import Session
from napari_ibisagent.core.view import AXES
from napari_ibisagent.ui.cards import Button, Card, Kind, Tone
from napari_ibisagent.ui.exhibit import Shown
from napari_ibisagent.ui.keys import label
from napari_ibisagent.ui.through import through_card

# An intent that asks for what comes after it.
ASK = "ask:"


@dataclass(frozen=True, slots=True)
class Scene:
    """What the conversation shows besides the session.

    pixel_mm2: area of a pixel of each episode's view, by the episode's number; None or missing: unknown.
    branches: where other branches end, by (episode, step).
    choices: what the newest sentence can mean, where it was ambiguous.
    warnings: sentences about the mask on the table; notes: words of the program's own, at the end.
    """

    running: bool = False
    shown: Shown | None = None
    pixel_mm2: Mapping[int, float | None] = field(default_factory=dict)
    branches: Mapping[tuple[int, int], tuple[int, ...]] = field(default_factory=dict)
    choices: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    notes: tuple[Card, ...] = ()


def story_of(session: Session, scene: Scene) -> tuple[Card, ...]:
    """The cards from top to bottom."""
    cards: list[Card] = []
    last = len(session.episodes) - 1
    for number, episode in enumerate(session.episodes):
        cards += _episode_cards(session, episode, number, number == last, scene)
    done = 0 if session.episode is None else len(session.episode.steps)
    cards += [
        Card(f"warning-{n}", Kind.WARNING, text, Tone.CARE, last, done, title="Check this")
        for n, text in enumerate(scene.warnings)
    ]
    cards += scene.notes
    return tuple(cards)


def note(key: str, text: str, tone: Tone = Tone.NEUTRAL) -> Card:
    """A word of the program's own."""
    return Card(f"note-{key}", Kind.NOTE, text, tone)


def readable(raw: str) -> str:
    """What a person should see of a dialect's text while it is still coming in: the thought, without tags."""
    thought = re.split(r"<\s*(?:/think|action|answer|tool_call)", raw, maxsplit=1)[0]
    return re.sub(r"<[^>]*>?", "", thought).strip()


def signs_of(actions: tuple[Action, ...]) -> tuple[str, ...]:
    """The actions as the cards show them: + and − for clicks, a box, a revert, a mask set aside; a pen without any."""
    found: list[str] = []
    for action in actions:
        if isinstance(action, Click):
            found.append("+" if action.positive else "−")
        elif isinstance(action, Box):
            found.append("▭")
        elif isinstance(action, Revert):
            found.append("↶")
        elif isinstance(action, Discard):
            found.append("∅")
    return tuple(found) or ("✎",)


class _Ending(TypedDict):
    """The parts of a closing card that say what became of the mask and what can be done with it."""

    facts: tuple[str, ...]
    buttons: tuple[Button, ...]
    menu: tuple[Button, ...]


# -- the cards of an episode ---------------------------------------------------------------------------------


def _episode_cards(session: Session, episode: Episode, number: int, newest: bool, scene: Scene) -> list[Card]:
    area = scene.pixel_mm2.get(number)
    cards = [_sentence(episode, number, newest, scene)]
    for at in range(len(episode.steps)):
        cards.append(_step_card(episode, number, at, area, newest, scene))
    if episode.pending is not None:
        cards.append(_proposal(episode, number, scene.running))
    if episode.outcome is not None:
        cards.append(_outcome(session, episode, number))
        if newest and scene.choices:
            buttons = (*_choices(scene.choices, episode.extent), *cards[-1].buttons)
            cards[-1] = replace(cards[-1], title="Which one?", tone=Tone.NEUTRAL, buttons=buttons)
    elif newest and episode.pending is None and (not scene.running or episode.carrying is not None):
        cards.append(_your_turn(session, episode, number))
    keeping = (*_closing_buttons(session, episode), *_homes(session, episode))
    running = newest and scene.running
    through = through_card(episode, number, running=running, facts=_kept(session, episode), closing=keeping[:1])
    if through is not None:
        cards.append(replace(through, menu=(*keeping[1:], *through.menu)))
    return cards


def _sentence(episode: Episode, number: int, newest: bool, scene: Scene) -> Card:
    facts = [f"{episode.plane} slice {episode.index}" if episode.located else "looking for the slice"]
    facts += ["then the whole volume"] if episode.extent is Extent.VOLUME else []
    menu = [] if not episode.prompt else [Button("ask_again", "Ask again", "Puts the sentence into the composer.")]
    if newest and episode.steps:
        menu += [Button("branch", "Branch from here", "Goes back to before the first step; nothing is lost.")]
        menu += _other_branches(scene.branches.get((number, 0), ()))
    return Card(
        f"{number}",
        Kind.USER,
        episode.prompt or BY_HAND,
        Tone.USER,
        number,
        0,
        facts=tuple(facts),
        menu=tuple(menu),
        current=scene.shown == Shown(number, 0),
    )


def _step_card(episode: Episode, number: int, at: int, area: float | None, newest: bool, scene: Scene) -> Card:
    step = episode.steps[at]
    before = episode.steps[at - 1].mask if at else episode.given
    menu: list[Button] = []
    if newest:
        menu.append(Button("branch", "Branch from here", "Goes back to this step; what follows stays in its branch."))
        menu.append(Button("delete", "Delete step", "Takes this step out; the later ones are computed again."))
        menu += _other_branches(scene.branches.get((number, at + 1), ()))
    else:
        menu.append(Button("work_on", "Work on this mask again", "Begins anew from the mask of this step."))
    text = step.thought
    if step.reason:
        text = f"{text}\nRejected: {step.reason}".strip()
    here = scene.shown == Shown(number, at + 1)
    now = scene.shown is None and newest and at == len(episode.steps) - 1 and episode.pending is None
    return Card(
        f"{number}-{at + 1}",
        Kind.STEP,
        text,
        Tone.NEUTRAL,
        number,
        at + 1,
        at + 1,
        title="Cleared" if _cleared(step) else ("Painted" if not step.proposed and not step.actions else ""),
        signs=signs_of(step.actions or step.proposed),
        facts=_facts(step, before, area),
        menu=tuple(menu),
        current=here or now,
    )


def _other_branches(ends: tuple[int, ...]) -> list[Button]:
    return [
        Button(f"jump:{end}", f"Go to the other branch {n}" if len(ends) > 1 else "Go to the other branch")
        for n, end in enumerate(ends, start=1)
    ]


def _cleared(step: Step) -> bool:
    return not step.proposed and not step.actions and step.mask is not None and _pixels(step.mask) == 0


_VERDICTS = {
    Verdict.ACCEPTED: "accepted",
    Verdict.OVERRIDDEN: "overridden",
    Verdict.REJECTED: "rejected",
    Verdict.UNREVIEWED: "not reviewed",
}


def _facts(step: Step, before: PackedMask | None, area: float | None) -> tuple[str, ...]:
    author = "you" if step.author is Author.HUMAN else "agent"
    if not step.proposed and not step.actions:
        return (_change(step.mask, before, area), author)
    if step.verdict is Verdict.REJECTED:
        return (f"{step.ms:.0f} ms", author, _VERDICTS[step.verdict])
    score = () if step.score is None else (f"score {step.score:.2f}",)
    return (*score, _change(step.mask, before, area), f"{step.ms:.0f} ms", author, _VERDICTS[step.verdict])


def _change(mask: PackedMask | None, before: PackedMask | None, area: float | None) -> str:
    change = (0 if mask is None else _pixels(mask)) - (0 if before is None else _pixels(before))
    if area is None:
        return f"{change:+,} px"
    return f"{change * area / 100:+.1f} cm²"


@lru_cache(maxsize=4096)
def _pixels(mask: PackedMask) -> int:
    return int(np.count_nonzero(mask.array()))


def _proposal(episode: Episode, number: int, running: bool) -> Card:
    pending, step = episode.pending, len(episode.steps) + 1
    if pending is None:
        raise ValueError("The episode has no proposal.")
    author = "you" if pending.author is Author.HUMAN else "agent"
    facts = (author, "changed by you") if pending.amended and pending.author is Author.AGENT else (author,)
    buttons: tuple[Button, ...] = ()
    if pending.verdict is None:
        buttons = (
            Button("accept", label("accept", "Accept"), "The click goes to the tool."),
            Button("flip", label("flip", "Flip"), "Positive becomes negative, and the other way round."),
            Button("reject", label("reject", "Reject"), "A reason in the composer goes to the agent."),
        )
        facts = (*facts, "waits for you: drag it, or click elsewhere")
    else:
        facts = (*facts, "the tool is at work" if running else "halted")
    return Card(
        f"{number}-{step}",
        Kind.PROPOSAL,
        pending.turn.thought,
        Tone.NEUTRAL,
        number,
        step,
        step,
        signs=signs_of(pending.actions),
        facts=facts,
        buttons=buttons,
        current=True,
    )


_TITLES = {
    Outcome.DONE: ("Done", Tone.GOOD),
    Outcome.NOT_FOUND: ("Not found", Tone.CARE),
    Outcome.STEP_LIMIT: ("Stopped at the limit", Tone.CARE),
    Outcome.CANCELLED: ("Cancelled", Tone.NEUTRAL),
    Outcome.FAILED: ("Failed", Tone.BAD),
}


def _outcome(session: Session, episode: Episode, number: int) -> Card:
    title, tone = _TITLES[episode.outcome or Outcome.FAILED]
    if episode.outcome is Outcome.DONE and episode.reason.startswith("unsure"):
        title, tone = "Unsure", Tone.CARE
    # Where nothing was found the reason is the thought.
    reason = "" if episode.reason in episode.thought else _sentence_case(episode.reason)
    text = "\n".join(part for part in (episode.thought, reason) if part)
    return Card(
        f"{number}-end",
        Kind.OUTCOME,
        text,
        tone,
        number,
        len(episode.steps),
        title=title,
        **_ending_of(session, episode),
    )


def _choices(choices: tuple[str, ...], extent: Extent) -> tuple[Button, ...]:
    """A button for each thing that the sentence can mean; it asks for that one, as far as the sentence reached."""
    reach = " in the whole volume" if extent is Extent.VOLUME else ""
    return tuple(
        Button(f"{ASK}{choice}{reach}", _sentence_case(choice), "Asks for this one.", True) for choice in choices
    )


def _your_turn(session: Session, episode: Episode, number: int) -> Card:
    words = "The mask is yours to go on with." if episode.mask is not None else "Nothing was done yet."
    return Card(
        f"{number}-end",
        Kind.OUTCOME,
        words,
        Tone.NEUTRAL,
        number,
        len(episode.steps),
        title="Your turn",
        **_ending_of(session, episode),
    )


def _ending_of(session: Session, episode: Episode) -> _Ending:
    """What can be done with the mask at the end; once it was carried that stands on the card behind."""
    if episode.carrying is not None:
        return {"facts": (), "buttons": (), "menu": ()}
    return {
        "facts": _kept(session, episode),
        "buttons": _closing_buttons(session, episode),
        "menu": _homes(session, episode),
    }


def _homes(session: Session, episode: Episode) -> tuple[Button, ...]:
    """Where else a mask can be kept than under its own name."""
    if episode.mask is None or episode.kept_as is not None or _pixels(episode.mask) == 0:
        return ()
    known = (Button(f"keep_into:{row.value}", f"Keep into {row.name} ({row.value})") for row in session.objects)
    return (Button("keep_new", "Keep as a new object"), *known)


def _closing_buttons(session: Session, episode: Episode) -> tuple[Button, ...]:
    buttons: list[Button] = []
    has_mask = episode.mask is not None and _pixels(episode.mask) > 0
    newest = session.episode is episode
    if has_mask and episode.kept_as is None:
        words = label("keep", "Keep as object") if newest else "Keep as object"
        tip = "Puts the mask into the object table." if episode.carrying is None else "Puts all its slices there."
        buttons.append(Button("keep", words, tip))
    lost = episode.outcome is Outcome.NOT_FOUND and not has_mask
    if newest and lost:
        buttons.append(Button("point", label("point", "Click it yourself"), "Your clicks make the mask."))
    if newest and not lost and episode.prompt and episode.kept_as is None and episode.carrying is None:
        buttons.append(Button("go_on", label("go_on", "Go on"), "The agent goes on from here."))
    if newest and has_mask and episode.carrying is None and _is_deep(session, episode):
        tip = "Slice by slice outwards from this one, until the end of the organ."
        buttons.append(Button("carry", "Carry through the volume", tip))
    return tuple(buttons)


def _is_deep(session: Session, episode: Episode) -> bool:
    """Whether the scan has other slices in the episode's plane."""
    return session.scan is not None and session.scan.shape[AXES[episode.plane][0]] > 1


def _kept(session: Session, episode: Episode) -> tuple[str, ...]:
    if episode.kept_as is None:
        return ()
    names = {row.value: row.name for row in session.objects}
    return (f"kept as {names.get(episode.kept_as, 'an object since deleted')} ({episode.kept_as})",)


def _sentence_case(text: str) -> str:
    return text[:1].upper() + text[1:]
