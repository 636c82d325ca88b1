"""What to do next: a click against the difference of mask and evidence, a step back, a box, or the end. All pure."""

from __future__ import annotations

import numpy as np
from scipy import ndimage as ndi

from napari_ibisagent.core.actions import Action, Click, Discard, Revert, Terminate, Turn
from napari_ibisagent.core.clicks import box_round, clicks_into_missed, next_click
from napari_ibisagent.core.episode import Author, Episode, Verdict
from napari_ibisagent.core.masks import Mask, dice
from napari_ibisagent.policies.embedded.goals import Goal

# The mask agrees with the evidence this well (Dice): nothing more to do.
_GOOD = 0.95
# Below this the tool did not reach what the evidence shows; the mask is not offered as an answer.
_POOR = 0.6
# Between these two the answer says that it should be checked.
_DOUBTFUL = 0.75
# Evidence that is less sure than this gives an answer that says so.
_UNSURE = 0.5
# A given mask that shares less than this (Dice) with the evidence is of something else.
_OTHER_THING = 0.1
# After so many steps a mask that still agrees poorly is given up.
_PATIENCE = 8
# A step that gains less than this, twice, ends the episode; one that loses more than this is taken back.
_GAIN = 0.01


def next_turn(goal: Goal, episode: Episode) -> Turn:
    """The turn that brings the mask nearest to the goal, or ends the episode with what can be said of it."""
    if goal.mask is None:
        return Turn(f"{goal.how}. {goal.reason}", (Terminate(),), f"not found: {goal.reason}")
    wanted = _with_human_word(goal.mask, episode)
    mask = episode.mask_array()
    agreement = dice(mask, wanted)
    if _contradicts(goal, episode, agreement):
        return _begun_anew(goal, wanted, agreement)
    before = _agreement_before(episode, wanted)
    if before is not None and agreement < before - _GAIN and _may_revert(episode):
        return Turn(
            f"The last click made it worse: agreement with the evidence fell from {before:.2f} to {agreement:.2f}. "
            "I take it back.",
            (Revert(),),
        )
    if _flooded(episode, mask, wanted):
        return Turn(
            f"The click flooded far beyond the evidence (agreement {agreement:.2f}). I take it back and draw a box.",
            (Revert(),),
        )
    click = None if agreement >= _GOOD else _fresh_click(mask, wanted, episode)
    if click is not None and not mask.any() and _took_back_first(episode) and len(episode.steps) == 2:
        return _boxed(goal, wanted)
    hopeless = len(episode.steps) >= _PATIENCE and agreement < _POOR
    if click is None or hopeless or _stalled(episode, wanted):
        return _closing(goal, agreement, bool(mask.any()))
    missed = clicks_into_missed(mask, ndi.label(wanted)[0]) if click.positive else ()
    if missed and not _refused(episode):
        return _into_each_part(goal, episode, missed)
    return Turn(_reasoning(goal, episode, mask, wanted, click), (click,))


def _into_each_part(goal: Goal, episode: Episode, clicks: tuple[Click, ...]) -> Turn:
    """One click into each of several parts that the mask has nothing of."""
    name = goal.name
    lead = "" if episode.steps else f"{goal.how}. Evidence for {name}: {'; '.join(goal.facts)}. "
    return Turn(f"{lead}{len(clicks)} separate parts of {name} are not in the mask; I click into each.", clicks)


def _refused(episode: Episode) -> bool:
    """Whether a person has refused a click: from then on they come one by one."""
    return any(step.verdict is Verdict.REJECTED for step in episode.steps)


def _with_human_word(goal: Mask, episode: Episode) -> Mask:
    """The goal with what a person painted or clicked: their word stands above the evidence."""
    wanted = goal.copy()
    before = np.zeros(episode.shape, bool) if episode.given is None else episode.given.array()
    for step in episode.steps:
        after = before if step.mask is None else step.mask.array()
        if step.author is Author.HUMAN:
            changed = after != before
            wanted[changed] = after[changed]
        before = after
    return wanted


def _into_the_middle(wanted: Mask) -> Click:
    """The first click on evidence; ValueError where there is none."""
    click = next_click(np.zeros_like(wanted), wanted)
    if click is None:
        raise ValueError("There is no evidence to click on.")
    return click


def _contradicts(goal: Goal, episode: Episode, agreement: float) -> bool:
    """Whether the mask that the episode began with is of something else than the sentence asks for.

    Weak evidence doesn't stand above a given mask; nor does any, once a person has worked on it.
    """
    given = episode.given is not None and bool(episode.mask_array().any())
    return given and not episode.steps and goal.sure >= _UNSURE and agreement < _OTHER_THING


def _begun_anew(goal: Goal, wanted: Mask, agreement: float) -> Turn:
    """The given mask is set aside, in the same turn as the first click."""
    click = _into_the_middle(wanted)
    name = goal.name
    return Turn(
        f"{goal.how}. The mask that is there isn't {name}: it agrees with the evidence to {agreement:.2f} only "
        f"({'; '.join(goal.facts)}). I set it aside and click where {name} is, at ({click.x:.2f}, {click.y:.2f}).",
        (Discard(), click),
    )


def _agreement_before(episode: Episode, wanted: Mask) -> float | None:
    """How well the mask before the last step agreed, or None on the first step."""
    if not episode.steps:
        return None
    if len(episode.steps) == 1:
        given = None if _set_aside(episode) else episode.given
        return None if given is None else dice(given.array(), wanted)
    earlier = episode.steps[-2].mask
    return 0.0 if earlier is None else dice(earlier.array(), wanted)


def _may_revert(episode: Episode) -> bool:
    """Only an own click may be taken back: not a person's step, and not a revert."""
    last = episode.steps[-1]
    own = last.author is Author.AGENT and last.verdict is not Verdict.REJECTED
    return own and any(isinstance(a, Click) for a in last.actions)


def _fresh_click(mask: Mask, wanted: Mask, episode: Episode) -> Click | None:
    """The click that does most against the difference, away from clicks that were refused or taken back."""
    flooded = episode.steps[0].proposed if _took_back_first(episode) else ()
    refused = [
        click
        for step in episode.steps
        for click in step.proposed
        if isinstance(click, Click) and click not in episode.prompts and click not in flooded
    ]
    height, width = mask.shape
    least = 1.0 + 0.015 * np.sqrt(np.count_nonzero(wanted))
    goal = wanted.copy()
    for click in refused:
        rows, columns = np.ogrid[:height, :width]
        near = (rows - click.y * height) ** 2 + (columns - click.x * width) ** 2 <= (3 * least) ** 2
        goal[near] = mask[near]
    found = next_click(mask, goal)
    if found is None:
        return None
    click, wrong = found, goal != mask
    row, column = min(int(click.y * height), height - 1), min(int(click.x * width), width - 1)
    reach = int(least)
    around = wrong[max(row - reach, 0) : row + reach + 1, max(column - reach, 0) : column + reach + 1]
    return click if around.mean() > 0.5 else None


def _set_aside(episode: Episode) -> bool:
    """Whether the first step set the given mask aside."""
    return bool(episode.steps) and any(isinstance(a, Discard) for a in episode.steps[0].actions)


def _took_back_first(episode: Episode) -> bool:
    """Whether the second step took the first one back: its click was in the right place all the same."""
    return len(episode.steps) > 1 and any(isinstance(a, Revert) for a in episode.steps[1].actions)


def _flooded(episode: Episode, mask: Mask, wanted: Mask) -> bool:
    """Whether the very first click spilled over more than the whole target; a box mends that in one step."""
    from_nothing = episode.given is None or _set_aside(episode)
    first = len(episode.steps) == 1 and len(episode.prompts) == 1 and from_nothing
    spilled = np.count_nonzero(mask & ~wanted)
    return first and _may_revert(episode) and bool(spilled > np.count_nonzero(wanted))


def _boxed(goal: Goal, wanted: Mask) -> Turn:
    """A box round the evidence, with a tenth of its size to spare, and a click into its middle."""
    click = _into_the_middle(wanted)
    name = goal.name
    return Turn(
        f"A box keeps the tool near the evidence for {name}; with it a positive click at "
        f"({click.x:.2f}, {click.y:.2f}).",
        (box_round(wanted), click),
    )


def _stalled(episode: Episode, wanted: Mask) -> bool:
    """Whether the last steps gained next to nothing, or were taken back again and again."""
    if sum(isinstance(a, Revert) for step in episode.steps[-6:] for a in step.actions) >= 3:
        return True
    if len(episode.steps) < 4:
        return False
    masks = [episode.steps[at].mask for at in (-4, -1)]
    then, now = (0.0 if m is None else dice(m.array(), wanted) for m in masks)
    return now - then < 2 * _GAIN


def _reasoning(goal: Goal, episode: Episode, mask: Mask, wanted: Mask, click: Click) -> str:
    where = f"({click.x:.2f}, {click.y:.2f})"
    name = goal.name
    if not episode.steps:
        lead = f"{goal.how}. Evidence for {name}: {'; '.join(goal.facts)}."
        return f"{lead} I click into the middle of it, at {where}."
    agreement = dice(mask, wanted)
    if episode.steps[-1].verdict is Verdict.REJECTED and episode.steps[-1].reason:
        lead = f'The user refused the last click: "{episode.steps[-1].reason}". I try elsewhere. '
    else:
        lead = ""
    size = int(np.count_nonzero((wanted & ~mask) if click.positive else (mask & ~wanted)))
    share = 100 * size / max(int(np.count_nonzero(wanted)), 1)
    what = "misses" if click.positive else "spills over"
    sign = "positive" if click.positive else "negative"
    return (
        f"{lead}The mask agrees with the evidence to {agreement:.2f}; it {what} {share:.0f} % of {name}. "
        f"A {sign} click at {where}."
    )


def _closing(goal: Goal, agreement: float, has_mask: bool) -> Turn:
    name = goal.name
    stop: tuple[Action, ...] = (Terminate(),)
    if not has_mask or agreement < _POOR:
        reason = f"The tool's mask agrees with the evidence for {name} to {agreement:.2f} only."
        return Turn(f"{reason} I don't offer it as an answer.", stop, f"not found: {reason}")
    if goal.sure < _UNSURE:
        return Turn(
            f"The mask agrees with the evidence to {agreement:.2f}, but the evidence itself is weak.",
            stop,
            f"unsure of {name}: the evidence for it is weak ({goal.sure:.2f} of 1). Check it.",
        )
    if agreement < _DOUBTFUL:
        return Turn(
            f"The mask agrees with the evidence to {agreement:.2f}, and no further click helps.",
            stop,
            f"unsure of {name}: the mask agrees with the evidence to {agreement:.2f} only. Check it.",
        )
    return Turn(
        f"The mask agrees with the evidence to {agreement:.2f}; nothing is left that a click would mend.",
        stop,
        f"{name}: the mask agrees with the evidence to {agreement:.2f}",
    )
