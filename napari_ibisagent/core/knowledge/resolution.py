"""``Resolution``: how a sentence was understood; and the answers that have no target: refusals and choices."""

from __future__ import annotations

from dataclasses import dataclass, replace

from napari_ibisagent.core.knowledge.structure import Structure
from napari_ibisagent.core.target import Side, Target, plural

MOST_CHOICES = 8
SIDE_TEXT = {Side.LEFT: "left side", Side.RIGHT: "right side", Side.BOTH: "both sides"}


@dataclass(frozen=True, slots=True)
class Resolution:
    """How a sentence was understood. ``target`` None: it wasn't, or not to the end; ``how`` says so in words.

    ``choices``: sentences to ask back with, where a name fits several things. ``without``: what is to be left out.
    ``pick``: which one of several ("larger", "largest", "smaller", "smallest"). ``near``: (relation, structure
    beside which it lies), ``near_side`` the side of that one. ``within``: (structure that holds it, its side).
    ``hemisphere``: the patient's side as a place. ``look``: words for how it looks. ``every``: all of them are meant.
    ``nearest``: known terms near an unknown one.
    """

    target: Target | None
    how: str
    structure: Structure | None = None
    choices: tuple[str, ...] = ()
    without: tuple[Structure, ...] = ()
    pick: str = ""
    near: tuple[str, Structure] | None = None
    near_side: Side = Side.NONE
    within: tuple[Structure, Side] | None = None
    hemisphere: Side = Side.NONE
    look: tuple[str, ...] = ()
    every: bool = False
    nearest: tuple[str, ...] = ()

    @property
    def plain(self) -> bool:
        """Whether the target and its side are all that was asked.

        Where it is not, whoever acts must heed the rest (or say that it can't): a mask of the bare target is wrong.
        """
        return not (self.without or self.pick or self.near or self.within or self.look)


def quoted(prompt: str) -> str:
    """A prompt as it is said back: on one line, in quotes, not too long."""
    return '"' + " ".join(prompt.split())[:200] + '"'


def refused(prompt: str, reason: str) -> Resolution:
    """No target; ``reason`` goes on after the quoted prompt, and ends with a full stop."""
    return Resolution(None, f"{quoted(prompt)} {reason}")


def choice(prompt: str, noun: str, choices: tuple[str, ...]) -> Resolution:
    """No target, but names to choose from; ``noun`` is what can mean all of them."""
    offered = choices[:MOST_CHOICES]
    if len(offered) == 1:
        return replace(refused(prompt, f"may mean the {offered[0]}. Say so if it does."), choices=offered)
    said = noun.removeprefix("@").upper() if noun.startswith("@") else noun
    reason = f"can mean more than one thing ({said}): {', '.join(offered[:-1])} or {offered[-1]}? Say which one."
    return replace(refused(prompt, reason), choices=offered)


def sides_of(structure: Structure) -> tuple[str, ...]:
    """What can be meant by the name of one of a pair: left, right, both (or all)."""
    many = plural(structure.name)
    if structure.many:
        return f"left {many}", f"right {many}", f"all {many}"
    return f"left {structure.name}", f"right {structure.name}", f"both {many}"


def sided_names(structures: tuple[Structure, ...], side: Side) -> tuple[str, ...]:
    """The names to choose from, those of a pair with their side."""
    found: list[str] = []
    for structure in structures:
        if structure.paired and side in (Side.LEFT, Side.RIGHT):
            found.append(f"{side.value} {structure.name}")
        elif structure.paired and len(structures) <= MOST_CHOICES // 2 + 1:
            found += [f"left {structure.name}", f"right {structure.name}"]
        else:
            found.append(plural(structure.name) if structure.paired else structure.name)
    return tuple(dict.fromkeys(found))
