"""What the policy expects on a view: the sentence resolved, and the evidence for what it asks, or why there is none.

It heeds the whole sentence: what is to be left out, which one of several, beside or inside of what. Where it can't
see one of these, it says so instead of answering with the bare target.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy import ndimage as ndi

from napari_ibisagent.core.knowledge import Resolution, Structure, resolve
from napari_ibisagent.core.masks import Mask
from napari_ibisagent.core.protocols import Location
from napari_ibisagent.core.target import Side, Target
from napari_ibisagent.core.view import AXES, Plane, View, view_of
from napari_ibisagent.core.volume import Volume
from napari_ibisagent.policies.embedded.absent import Absent
from napari_ibisagent.policies.embedded.ct.organs import Finding, find
from napari_ibisagent.policies.embedded.ct.sight import best_slice, evidence_in
from napari_ibisagent.policies.embedded.ct.survey import Survey
from napari_ibisagent.policies.embedded.pictures.rules import Sighting, best_index, sees
from napari_ibisagent.policies.embedded.salience import Description, describe, find_thing

# Slices looked at when a described thing is searched for in a volume.
_SAMPLES = 24
# A thing next to a structure lies within this share of the view's longer side from it.
_BESIDE = 0.12
# The findings that a description may mean, and nothing more is known of how they look.
_ANY_FINDING = frozenset({"lesion", "mass", "nodule", "tumor", "spot"})


@dataclass(frozen=True, eq=False, slots=True)
class Goal:
    """What is expected on a view, with its evidence; ``mask`` (H, W) None: not found, ``reason`` says why.

    sure: how far the evidence itself can be trusted, 0 to 1.
    """

    mask: Mask | None
    target: Target | None
    facts: tuple[str, ...] = ()
    reason: str = ""
    how: str = ""
    sure: float = 1.0

    @property
    def name(self) -> str:
        """What is looked for, as it stands in a sentence."""
        return self.target.phrase if self.target else "the target"


class Seeker:
    """Looks for what sentences ask for. The evidence of the last scan is kept, so that a turn costs some ms."""

    def __init__(self, knowledge: tuple[Structure, ...]) -> None:
        self._knowledge = knowledge
        self._survey: tuple[Volume, Survey] | None = None
        self._found: dict[tuple[str, str], Finding | Absent] = {}
        self._understood: tuple[str, Resolution] | None = None

    def understand(self, prompt: str) -> Resolution:
        """How a sentence is understood."""
        if self._understood is None or self._understood[0] != prompt:
            self._understood = (prompt, resolve(prompt, self._knowledge))
        return self._understood[1]

    # -- where to look ------------------------------------------------------------------------------------

    def place(self, volume: Volume, prompt: str, plane: Plane) -> Location:
        """The slice with the most evidence; see ``Locator``."""
        understood = self.understand(prompt)
        target, structure = understood.target, understood.structure
        if target is None or structure is None or self._is_described(understood):
            return self._place_described(volume, prompt, plane, understood)
        chosen = self._picked(understood, target, volume, plane)
        if isinstance(chosen, Absent):
            return Location(None, f"{understood.how}. {chosen.reason}", target)
        index = self._index_of(structure, chosen.side, volume, plane)
        if isinstance(index, Absent):
            return Location(None, f"{understood.how}. {index.reason}", chosen)
        if volume.shape[AXES[plane][0]] == 1:
            return Location(index, f"{understood.how}. The picture has one slice.", chosen)
        return Location(index, f"{understood.how}. Most of it is seen in {plane} slice {index}.", chosen)

    def _index_of(self, structure: Structure, side: Side, volume: Volume, plane: Plane) -> int | Absent:
        if _in_hounsfield(volume):
            found = self._finding(volume, structure, side)
            if isinstance(found, Absent):
                return found
            return best_slice(found, self._survey_of(volume), plane, volume.shape[AXES[plane][0]])
        index = best_index(structure.key, side, volume, plane)
        return _no_rule(structure, volume) if index is None else index

    def _place_described(self, volume: Volume, prompt: str, plane: Plane, understood: Resolution) -> Location:
        description = _description(prompt, understood, plane, volume)
        if description is None:
            return Location(None, understood.how, understood.target)
        count = volume.shape[AXES[plane][0]]
        best: tuple[float, int] | None = None
        for index in np.unique(np.linspace(0, count - 1, min(count, _SAMPLES)).astype(int)):
            view = view_of(volume, plane, int(index))
            room = self._room(volume, view, understood)
            thing = None if isinstance(room, Absent) else find_thing(description, view, room)
            if thing is not None and (best is None or thing.fit > best[0]):
                best = (thing.fit, int(index))
        if best is None:
            return Location(None, f"{understood.how} Nothing in this scan stands out as {description.words}.")
        return Location(best[1], f"A thing that is {description.words} stands out most in slice {best[1]}.")

    # -- what is expected there -----------------------------------------------------------------------------

    def goal(self, volume: Volume, view: View, prompt: str) -> Goal:
        """What the sentence asks for on a view, or why it isn't there."""
        understood = self.understand(prompt)
        target, structure = understood.target, understood.structure
        if target is None or structure is None or self._is_described(understood):
            return self._described(volume, view, prompt, understood)
        chosen = self._picked(understood, target, volume, view.plane)
        if isinstance(chosen, Absent):
            return Goal(None, target, reason=chosen.reason, how=understood.how)
        seen = self._seen(volume, view, structure, chosen)
        if isinstance(seen, Absent):
            return Goal(None, chosen, reason=seen.reason, how=understood.how)
        mask, facts = seen.mask, list(seen.facts)
        for other in understood.without:
            inside = self._seen(volume, view, other, _whole(other, Side.NONE))
            if isinstance(inside, Absent):
                reason = f"I can't leave out the {other.name}: {inside.reason}"
                return Goal(None, chosen, reason=reason, how=understood.how)
            mask = mask & ~inside.mask
            facts.append(f"without the {other.name}")
        if understood.within is not None or understood.near is not None:
            room = self._room(volume, view, understood)
            if isinstance(room, Absent):
                return Goal(None, chosen, reason=room.reason, how=understood.how)
            if room is not None:
                mask = mask & room
        if not mask.any():
            return Goal(None, chosen, reason=f"Nothing of {chosen.phrase} is left there.", how=understood.how)
        return Goal(mask, chosen, tuple(facts), how=understood.how, sure=seen.sure)

    def evidence(self, volume: Volume, view: View, prompt: str) -> Mask | None:
        """What is expected on one slice (H, W): empty where there is nothing of it, None without an idea."""
        understood = self.understand(prompt)
        if not _in_hounsfield(volume) or understood.structure is None or self._is_described(understood):
            return None
        found = self.goal(volume, view, prompt)
        return np.zeros(view.shape, bool) if found.mask is None else found.mask

    def _seen(self, volume: Volume, view: View, structure: Structure, target: Target) -> Sighting | Absent:
        """The evidence for a structure on a view."""
        if not _in_hounsfield(volume):
            if _one_side(target.side) and not volume.has_orientation and structure.key != "lung":
                return Absent(f"This scan doesn't say which side is the patient's {target.side.value}.")
            seen = sees(structure.key, target.side, view, volume)
            return _no_rule(structure, volume) if seen is None else seen
        found = self._finding(volume, structure, target.side)
        if isinstance(found, Absent):
            return found
        survey = self._survey_of(volume)
        mask = evidence_in(found, survey, view)
        if not mask.any():
            best = best_slice(found, survey, view.plane, volume.shape[AXES[view.plane][0]])
            reason = f"{view.plane.capitalize()} slice {view.index} shows no {target.full_name}"
            return Absent(reason + ("." if best == view.index else f"; slice {best} shows the most of it."))
        return Sighting(mask, found.facts, found.sure)

    def _picked(self, understood: Resolution, target: Target, volume: Volume, plane: Plane) -> Target | Absent:
        """The one of a pair that the sentence picks by its size; without such a word the target as it is."""
        if not understood.pick or understood.structure is None:
            return target
        structure = understood.structure
        if not structure.paired or not _in_hounsfield(volume):
            return Absent(
                f"Sizes are compared for pairs in CT only: not which {structure.name} is the {understood.pick}."
            )
        survey = self._survey_of(volume)
        sizes: dict[Side, float] = {}
        for side in (Side.LEFT, Side.RIGHT):
            found = self._finding(volume, structure, side)
            if isinstance(found, Absent):
                return Absent(f"To compare the two I need both. {found.reason}")
            sizes[side] = survey.ml(found.mask)
        larger = max(sizes, key=lambda side: sizes[side])
        smaller = Side.LEFT if larger is Side.RIGHT else Side.RIGHT
        return replace(target, side=larger if understood.pick.startswith("larg") else smaller)

    # -- described things ---------------------------------------------------------------------------------

    def _is_described(self, understood: Resolution) -> bool:
        """Whether only the look and the place say what is meant: "the bright lesion next to the liver"."""
        structure = understood.structure
        return structure is not None and structure.key in _ANY_FINDING and bool(understood.look)

    def _described(self, volume: Volume, view: View, prompt: str, understood: Resolution) -> Goal:
        description = _description(prompt, understood, view.plane, volume)
        if description is None:
            return Goal(None, None, reason=understood.how, how="I look for what the sentence names or describes")
        how = f"I read this as a thing that is {description.words}"
        room = self._room(volume, view, understood)
        if isinstance(room, Absent):
            return Goal(None, None, reason=room.reason, how=how)
        thing = find_thing(description, view, room)
        if thing is None:
            return Goal(None, None, reason="Nothing in this view stands out like that.", how=how)
        return Goal(thing.mask, Target(prompt.strip()[:80]), thing.facts, how=how)

    def _room(self, volume: Volume, view: View, understood: Resolution) -> Mask | Absent | None:
        """Where on a view (H, W) a thing must lie that is "in" or "next to" a structure; None: anywhere."""
        if understood.within is not None:
            structure, side = understood.within
            seen = self._seen(volume, view, structure, _whole(structure, side))
            return seen if isinstance(seen, Absent) else np.asarray(ndi.binary_fill_holes(seen.mask))
        if understood.near is not None:
            _, structure = understood.near
            seen = self._seen(volume, view, structure, _whole(structure, understood.near_side))
            if isinstance(seen, Absent):
                return seen
            away = ndi.distance_transform_edt(~seen.mask)
            return np.asarray((away > 0) & (away <= _BESIDE * max(view.shape)))
        return None

    # -- evidence in CT -----------------------------------------------------------------------------------

    def _finding(self, volume: Volume, structure: Structure, side: Side) -> Finding | Absent:
        if _one_side(side) and not volume.has_orientation:
            return Absent(f"This scan doesn't say which side is the patient's {side.value}.")
        survey = self._survey_of(volume)
        key = (structure.key, side.value)
        if key not in self._found:
            self._found[key] = find(structure, side, survey)
        return self._found[key]

    def _survey_of(self, volume: Volume) -> Survey:
        if self._survey is None or self._survey[0] is not volume:
            self._survey = (volume, Survey.of(volume))
            self._found = {}
        return self._survey[1]


def _in_hounsfield(volume: Volume) -> bool:
    return volume.modality == "CT" and not volume.is_colour


def _one_side(side: Side) -> bool:
    return side in (Side.LEFT, Side.RIGHT)


def _whole(structure: Structure, side: Side) -> Target:
    """A structure as a place: both of a pair where no side is said."""
    both = structure.paired and side is Side.NONE
    return Target(structure.name, structure.key, Side.BOTH if both else side)


def _no_rule(structure: Structure, volume: Volume) -> Absent:
    kind = volume.modality or "a picture without a modality"
    return Absent(f"I know the {structure.name} by name, but have no rule that finds it in {kind}.")


def _description(prompt: str, understood: Resolution, plane: Plane, volume: Volume) -> Description | None:
    """How the thing looks, where that is what the sentence says; None where it says something else."""
    if understood.target is None and (understood.choices or understood.without or understood.pick):
        return None
    oriented = volume.has_orientation
    if understood.near is None and understood.within is None and understood.target is None:
        return describe(prompt, plane, oriented)
    side = f" on the {understood.hemisphere.value}" if _one_side(understood.hemisphere) else ""
    found = describe(f"the {' '.join(understood.look)} thing{side}", plane, oriented)
    beside = (("next to", understood.near[1]) if understood.near else None) or (
        ("in", understood.within[0]) if understood.within else None
    )
    if found is None or beside is None:
        return found
    return replace(found, words=f"{found.words}, {beside[0]} the {beside[1].name}")
