"""The card of a mask that is or was carried through the volume: progress, confidence, the slices to look at. Pure."""

from __future__ import annotations

from statistics import fmean

from napari_ibisagent.agent.checks import in_words
from napari_ibisagent.core.carrying import Carried, Carrying, End
from napari_ibisagent.core.episode import Episode
from napari_ibisagent.ui.cards import Button, Card, Kind, Tone
from napari_ibisagent.ui.keys import label

# The intent of a button that shows a slice; its number follows.
GO_TO = "go_to:"
# So many doubtful slices get a button of their own; the menu has all of them.
_BUTTONS = 4
_BARS, _MOST = "▁▂▃▄▅▆▇█", 80


def through_card(
    episode: Episode, number: int, *, running: bool, facts: tuple[str, ...], closing: tuple[Button, ...]
) -> Card | None:
    """The card, or None where the mask wasn't carried. ``facts``: where it was kept; ``closing``: how to keep it."""
    carrying = episode.carrying
    if carrying is None:
        return None
    under_way = carrying.end is None
    title, tone = _title(carrying, running)
    shown = () if under_way else tuple(_go_to(done) for done in carrying.doubtful[:_BUTTONS])
    stop = (Button("cancel", label("cancel", "Cancel"), "The slices done so far are kept."),) if running else ()
    return Card(
        f"{number}-through",
        Kind.OUTCOME,
        "\n".join(line for line in _lines(episode, carrying) if line),
        tone,
        number,
        len(episode.steps),
        title=title,
        facts=(*_facts(episode, carrying), *facts),
        buttons=stop if under_way else (*closing, *shown),
        menu=tuple(_go_to(done) for done in carrying.doubtful),
    )


def progress_words(carrying: Carrying) -> str:
    """How far it is: "slice 12 of at most 61"."""
    return f"slice {len(carrying.slices)} of at most {carrying.last - carrying.first}"


def _title(carrying: Carrying, running: bool) -> tuple[str, Tone]:
    if carrying.end is None:
        return ("Carrying through the volume" if running else "Halted in the volume"), Tone.NEUTRAL
    if carrying.end is not End.COMPLETE:
        return "Stopped in the volume", Tone.CARE
    return "Whole volume", Tone.CARE if carrying.doubtful else Tone.GOOD


def _facts(episode: Episode, carrying: Carrying) -> tuple[str, ...]:
    if carrying.end is None:
        return (progress_words(carrying),)
    places = [episode.index, *(done.index for done in carrying.slices)]
    return f"{episode.plane} slices {min(places)} to {max(places)}", f"{len(places)} slices"


def _lines(episode: Episode, carrying: Carrying) -> tuple[str, ...]:
    """The sentences of the card."""
    done = sorted(carrying.slices, key=lambda found: found.index)
    reason = carrying.reason if carrying.end not in (None, End.COMPLETE) else ""
    if not done:
        return reason or carrying.reason, carrying.note
    low = min(done, key=lambda found: found.confidence)
    mean = fmean(found.confidence for found in done)
    bars = f"Confidence {mean:.2f} on average, lowest {low.confidence:.2f} in slice {low.index}."
    if carrying.end is None:
        return carrying.note, bars
    line = f"From slice {done[0].index} to {done[-1].index}: {_bars(done, episode.index)}"
    check = f"Check {in_words([found.index for found in carrying.doubtful])}." if carrying.doubtful else ""
    why = sorted({found.note for found in carrying.doubtful if not found.note.startswith("The confidence")})
    return reason, " ".join((check, *why)).strip(), bars, line, carrying.note


def _bars(done: list[Carried], key: int) -> str:
    """A bar for each slice, as high as its confidence; "|" is the slice that was worked on. Of many slices a bar
    stands for the lowest of several."""
    together = -(-len(done) // _MOST)
    found: list[tuple[int, str]] = [(key, "|")]
    for at in range(0, len(done), together):
        low = min(one.confidence for one in done[at : at + together])
        found.append((done[at].index, _BARS[min(int(low * len(_BARS)), len(_BARS) - 1)]))
    return "".join(bar for _, bar in sorted(found))


def _go_to(done: Carried) -> Button:
    tip = f"{done.note} Confidence {done.confidence:.2f}."
    return Button(f"{GO_TO}{done.index}", f"Go to {done.index}", tip)
