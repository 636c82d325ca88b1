"""What a picture doesn't show: targets that must be answered "not found".

Known absences come from whoever knows the labels. All others are inferred with care: a structure of a part of the
body far from what the picture shows (a slice through the liver may cut the lung too, so the next part isn't far), or
one that only another sort of picture shows (an optic disc in CT).
"""

from __future__ import annotations

from collections.abc import Collection

from numpy.random import Generator

from napari_ibisagent.core.knowledge import Structure, resolve
from napari_ibisagent.core.knowledge.structure import closure
from napari_ibisagent.core.target import Side, Target
from napari_ibisagent.training.words.wording import pick

# From top to bottom: the neighbours in this row can share a slice.
_TRUNK = ("head", "neck", "chest", "abdomen", "pelvis")
# Parts with pictures of their own: in a picture of another sort they are never seen.
_SURFACES = frozenset(("eye", "skin", "cell"))
# Pictures of the body's inside.
_SCANS = frozenset(("CT", "MR", "PET", "US", "XR", "mammography"))
# Pictures of one surface only, and those of cells: there, whole organs can't be told from their tissue.
_OF_A_SURFACE = frozenset(("dermoscopy", "fundus", "OCT"))
_OF_CELLS = frozenset(("histology", "fluorescence"))
_WHOLES = frozenset(("bone", "gyrus", "device", "joint"))
_TRIES = 20


def absent(
    shown: Collection[str],
    missing: Collection[str],
    modality: str,
    knowledge: tuple[Structure, ...],
    rng: Generator,
    across: bool = True,
) -> str | None:
    """The name of something that a picture doesn't show, as it can be asked for; None where nothing is sure.

    shown: names (or keys) of what it shows; where one isn't known to the base, nothing is inferred from parts of the
    body. missing: names of what is known not to be there; they are preferred half of the time. modality: "CT", "MR",
    "fundus", ...; "" where it isn't known. across: whether the picture is a slice across the body (axial); others reach
    further along it.
    """
    known = sorted(set(missing) - set(shown))
    if known and rng.random() < 0.5:
        return pick(known, rng)
    found = _structures(shown, knowledge)
    far = [one for one in knowledge if _is_far(one, found, 2 if across else 3) or _is_other(one, modality, found)]
    far = [one for one in far if not one.members]
    if rng.random() < 0.5:  # else half of them would be gyri of the brain
        far = [one for one in far if one.relations] or far
    for _ in range(_TRIES if far else 0):
        name = _name(far[int(rng.integers(len(far)))], rng)
        if resolve(f"segment {name.phrase}", knowledge).target == name:
            return name.full_name
    return pick(known, rng) if known else None


def _structures(names: Collection[str], knowledge: tuple[Structure, ...]) -> tuple[Structure, ...] | None:
    """The structures by these names; None where one isn't known, or there are none."""
    by_key = {one.key: one for one in knowledge}
    found = [by_key.get(name) or resolve(f"segment the {name}", knowledge).structure for name in names]
    known = tuple(one for one in found if one is not None)
    # A fetus has all parts of the body, wherever it lies.
    unborn = any(one.key == "fetus" or "fetus" in closure(one, by_key, "part_of") for one in known)
    return known if known and len(known) == len(found) and not unborn else None


def _is_far(one: Structure, shown: tuple[Structure, ...] | None, least: int) -> bool:
    """Whether a structure lies at least so many parts of the body away from all that is shown."""
    if shown is None or not set(one.regions) <= set(_TRUNK):
        return False
    parts = {part for other in shown for part in other.regions}
    if not parts <= set(_TRUNK):  # limbs may lie beside everything, and what is everywhere tells nothing
        return False
    places = [_TRUNK.index(part) for part in parts]
    return all(abs(_TRUNK.index(part) - place) >= least for part in one.regions for place in places)


def _is_other(one: Structure, modality: str, shown: tuple[Structure, ...] | None) -> bool:
    """Whether only pictures of quite another sort show a structure."""
    if not one.seen_in or modality in one.seen_in:
        return False
    if modality in _SCANS:
        if "eye" in one.regions and (shown is None or any("head" in other.regions for other in shown)):
            return False  # its layers can't be told there, but the eye is seen
        return set(one.regions) <= _SURFACES and not _SCANS & set(one.seen_in)
    inner = set(one.regions) <= set(_TRUNK) and set(one.seen_in) <= _SCANS
    if modality in _OF_CELLS:
        return inner and bool(_WHOLES & set(one.is_a))
    return modality in _OF_A_SURFACE and inner


def _name(one: Structure, rng: Generator) -> Target:
    side = pick((Side.LEFT, Side.RIGHT, Side.BOTH), rng) if one.paired else Side.NONE
    return Target(one.name, one.key, Side(side), one.code)
