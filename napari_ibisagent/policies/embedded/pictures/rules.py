"""Finding in pictures without Hounsfield units: which rule belongs to which name, and which pictures can show it.

A rule is asked only where the picture can be of its kind. What a kind can't show ends as ``Absent`` with that reason.
It leaves out the rules themselves, CT in Hounsfield units (``ct.organs``) and described things (``salience``).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from weakref import WeakKeyDictionary

import numpy as np

from napari_ibisagent.core.masks import iou
from napari_ibisagent.core.target import Side
from napari_ibisagent.core.view import AXES, Plane, View, view_of
from napari_ibisagent.core.volume import Volume
from napari_ibisagent.policies.embedded.absent import Absent
from napari_ibisagent.policies.embedded.pictures import (
    blob_rules,
    brain,
    brain_tissue,
    cells,
    cord,
    deep_brain,
    eye,
    radiograph,
    skin,
    skull,
)
from napari_ibisagent.policies.embedded.pictures.kinds import Kind, Sort, is_noise, kind_of, kind_of_small
from napari_ibisagent.policies.embedded.pictures.sighting import Look, Rule, Sighting
from napari_ibisagent.policies.embedded.pictures.small import small_of

__all__ = ["Kind", "Sighting", "Sort", "best_index", "kind_of", "sees"]

# Slices looked at when a thing is searched for in a stack.
_SAMPLES = 16
# A slice this far away shows the same thing, if it is one; at least this much of it (IoU), among so many slices tried.
_NEXT_MM, _SAME, _TRIES = 3.0, 0.2, 4
# Above this a kind is taken as certain enough to say that it can't show something.
_CERTAIN = 0.5
# The last question about each scan in use, with its answer.
_Asked = tuple[str, Side, Plane, int]
_LAST: WeakKeyDictionary[Volume, tuple[_Asked, Sighting | Absent | None]] = WeakKeyDictionary()
# Pixels; nothing is told from less.
_LEAST_SIDE = 24


@dataclass(frozen=True, slots=True)
class _Entry:
    """A rule and the sorts of pictures it is for.

    by: how the thing is usually seen, for the sentence of a refusal. also: sorts that show it, but not to this rule.
    """

    rule: Rule
    sorts: frozenset[Sort]
    by: str
    also: frozenset[Sort] = frozenset()

    @property
    def sorts_words(self) -> str:
        """The sorts as they stand in a sentence."""
        return " or ".join(sorted(sort.value for sort in self.sorts))


_HEAD = frozenset({Sort.BRAIN})
_BODY = frozenset({Sort.MR, Sort.SLICE, Sort.BRAIN, Sort.CT})
_IN_BRAIN = "MR of the head"
_MICROSCOPY = frozenset({Sort.HISTOLOGY, Sort.FLUORESCENCE})
_FUNDUS = "a colour picture of the back of the eye"
_RULES: dict[str, _Entry] = {
    "brain": _Entry(brain.brain, _HEAD, "MR or CT of the head", _BODY),
    **dict.fromkeys(
        ("brain_tumor", "glioma", "glioblastoma", "edema"),
        _Entry(brain.bright_lesion, _HEAD, _IN_BRAIN, _BODY | {Sort.PET}),
    ),
    **dict.fromkeys(
        ("cerebral_white_matter", "cerebral_cortex", "gray_matter", "lateral_ventricle"),
        _Entry(brain_tissue.tissue, _HEAD, _IN_BRAIN, _BODY),
    ),
    **dict.fromkeys(deep_brain.KEYS, _Entry(deep_brain.deep_structure, _HEAD, _IN_BRAIN, _BODY)),
    "spinal_cord": _Entry(cord.spinal_cord, frozenset({Sort.MR, Sort.BRAIN}), "MR or CT of the spine", _BODY),
    "lung": _Entry(radiograph.lungs, frozenset({Sort.CHEST}), "X-ray or CT of the chest", _BODY | {Sort.XRAY}),
    "fetal_head": _Entry(skull.fetal_head, frozenset({Sort.ULTRASOUND}), "ultrasound"),
    "breast_tumor": _Entry(
        blob_rules.breast_mass, frozenset({Sort.ULTRASOUND}), "ultrasound, MR or mammography", _BODY | {Sort.XRAY}
    ),
    "polyp": _Entry(blob_rules.polyp, frozenset({Sort.ENDOSCOPY}), "endoscopy"),
    "skin_lesion": _Entry(skin.skin_lesion, frozenset({Sort.DERMOSCOPY}), "dermoscopy"),
    "optic_disc": _Entry(eye.optic_disc, frozenset({Sort.FUNDUS}), _FUNDUS),
    "optic_cup": _Entry(eye.optic_cup, frozenset({Sort.FUNDUS}), _FUNDUS),
    "retinal_fluid": _Entry(eye.retinal_fluid, frozenset({Sort.OCT}), "OCT of the retina"),
    "nucleus": _Entry(cells.nuclei, _MICROSCOPY, "microscopy"),
    "hot_spot": _Entry(blob_rules.hot_spot, frozenset({Sort.PET}), "PET"),
}
# A generic finding means another thing in every kind of picture.
_LESIONS: dict[Sort, Rule] = {
    Sort.BRAIN: brain.bright_lesion,
    Sort.DERMOSCOPY: skin.skin_lesion,
    Sort.ENDOSCOPY: blob_rules.polyp,
    Sort.ULTRASOUND: blob_rules.breast_mass,
    Sort.PET: blob_rules.hot_spot,
}
_LESION_KEYS = frozenset({"lesion", "tumor"})
# A sarcoma of soft tissue isn't in the brain, the skin's surface or the bowel.
_LESION_IN_PET = frozenset({"sarcoma", "lymphoma", "lung_tumor", "metastasis"})
# What one picture alone can't tell, with the reason.
_UNTOLD: dict[str, str] = {
    **dict.fromkeys(
        ("enhancing_tumor", "non_enhancing_tumor", "necrotic_tumor_core", "tumor_core"),
        "The parts of a brain tumour are told by comparing a T1 with contrast to other weightings; I see one picture. "
        "Ask for the brain tumour.",
    ),
    **dict.fromkeys(
        ("neoplastic_nucleus", "inflammatory_nucleus", "connective_nucleus", "epithelial_nucleus", "dead_cell"),
        "I can find nuclei, but not tell their kinds apart. Ask for the nuclei.",
    ),
}
# Kinds that show a closed list of things: everything else is refused there, whether there is a rule for it or not.
_EYE = {
    "optic_disc",
    "optic_cup",
    "neuroretinal_rim",
    "retina",
    "choroid",
    "macula",
    "fovea",
    "drusen",
    "eye",
    "lesion",
}
_CELLS = {"nucleus", "cell", "cytoplasm", "cell_membrane", "nucleolus", "mitosis", "dead_cell", "bacterium", "neuron"}
_SHOWN: dict[Sort, frozenset[str]] = {
    Sort.FUNDUS: frozenset(
        _EYE
        | {"retinal_vessel", "retinal_artery", "retinal_vein", "vessel", "artery", "vein", "hard_exudate"}
        | {"microaneurysm", "retinal_hemorrhage", "hemorrhage", "cotton_wool_spot", "geographic_atrophy"}
    ),
    Sort.OCT: frozenset(
        (_EYE - {"optic_cup"})
        | {"retinal_fluid", "subretinal_fluid", "pigment_epithelial_detachment", "fluid", "cyst"}
        | {"retinal_layer", "retinal_pigment_epithelium", "sclera", "geographic_atrophy"}
    ),
    Sort.DERMOSCOPY: frozenset(
        {"skin_lesion", "melanoma", "basal_cell_carcinoma", "skin", "hair", "lesion", "tumor", "wound", "burn", "ulcer"}
    ),
    Sort.HISTOLOGY: frozenset(
        _CELLS
        | {"neoplastic_nucleus", "inflammatory_nucleus", "connective_nucleus", "epithelial_nucleus", "stroma"}
        | {
            "red_blood_cell",
            "colon_gland",
            "gland",
            "tumor_epithelium",
            "epithelium",
            "glomerulus",
            "necrosis",
            "tumor",
        }
        | {"fat", "muscle", "vessel", "lesion", "body"}
    ),
    Sort.FLUORESCENCE: frozenset(_CELLS | {"mitochondrion"}),
    Sort.ENDOSCOPY: frozenset(
        {"polyp", "lesion", "tumor", "colon", "stomach", "esophagus", "bowel", "small_bowel", "duodenum", "mucosa"}
        | {"surgical_instrument", "foreign_body", "needle", "specular_highlight", "ulcer", "hemorrhage", "stent"}
        | {
            "colon_tumor",
            "rectal_tumor",
            "esophageal_tumor",
            "gastric_tumor",
            "rectum",
            "vocal_cord",
            "larynx",
            "catheter",
        }
    ),
}


def sees(key: str, side: Side, view: View, volume: Volume) -> Sighting | Absent | None:
    """What is seen of a structure on a view, or why it isn't; None where there is no rule for it here.

    ``key`` and ``side`` are those of the knowledge base and of the target; ``view`` is one of ``volume``. The last
    answer of each scan is remembered: the slice that was chosen is the one that is worked on.
    """
    asked = (key, side, view.plane, view.index)
    last = _LAST.get(volume)
    if last is None or last[0] != asked:
        last = _LAST[volume] = (asked, _looked_for(key, side, view, volume))
    return last[1]


def _looked_for(key: str, side: Side, view: View, volume: Volume) -> Sighting | Absent | None:
    small = small_of(view)
    kind = kind_of_small(small, view.plane, volume)
    rule = _rule(key, kind)
    if rule is None or isinstance(rule, Absent):
        return rule
    if min(small.shape) < _LEAST_SIDE or float(np.ptp(small.grey)) < 1e-3 or is_noise(small.grey):
        return Absent("The view is too small, empty or nothing but noise.")
    return rule(Look(key, side, view, volume, kind, small))


def best_index(key: str, side: Side, volume: Volume, plane: Plane) -> int | Absent | None:
    """The slice (0-based) with the most evidence; None where there is no rule, Absent where nothing is seen.

    Looks at some slices evenly spread, then at the neighbours of the best: they must show the same.
    """
    count = volume.shape[AXES[plane][0]]
    if count == 1:
        seen = sees(key, side, view_of(volume, plane, 0), volume)
        return 0 if isinstance(seen, Sighting) else seen
    tried: dict[int, float] = {}
    reason: Absent | None = None
    spaced = np.unique(np.linspace(0.05 * count, 0.95 * count - 1, min(count, _SAMPLES)).astype(int))
    for index in spaced:
        seen = sees(key, side, view_of(volume, plane, int(index)), volume)
        if seen is None:
            return None
        if isinstance(seen, Absent) and (reason is None or index <= count // 2):
            reason = seen  # of a slice near the middle, which shows more than the ends
        tried[int(index)] = 0.0 if isinstance(seen, Absent) else _worth(seen)
    if any(tried.values()):
        steady = _steady(tried, key, side, volume, plane)
        if steady is not None:
            return steady
        return Absent("What was seen in single slices isn't there in their neighbours.")
    return replace(reason, reason=f"In {len(tried)} slices looked at: {reason.reason}") if reason else None


def _worth(seen: Sighting) -> float:
    return float(np.count_nonzero(seen.mask)) * seen.sure


def _steady(tried: dict[int, float], key: str, side: Side, volume: Volume, plane: Plane) -> int | None:
    """The slice with the most evidence, if a slice next to it shows the same: one lucky slice is no evidence."""
    indices = sorted(tried)
    worth = np.array([tried[index] for index in indices])
    padded = np.pad(worth, 1, mode="edge")
    together = np.where(worth > 0, worth + 0.5 * (padded[:-2] + padded[2:]), -1)
    axis = AXES[plane][0]
    step = max(1, round(_NEXT_MM / volume.spacing_mm[axis])) if volume.has_spacing else 1
    for place in np.argsort(-together)[: min(_TRIES, int(np.count_nonzero(worth)))]:
        index = indices[int(place)]
        found = sees(key, side, view_of(volume, plane, index), volume)
        for other in (index - step, index + step):
            if not 0 <= other < volume.shape[axis] or not isinstance(found, Sighting):
                continue
            near = sees(key, side, view_of(volume, plane, other), volume)
            if isinstance(near, Sighting) and iou(found.mask, near.mask) > _SAME:
                return index
    return None


def _rule(key: str, kind: Kind) -> Rule | Absent | None:
    """The rule for a name in a kind of picture; Absent with the reason where that kind can't show it."""
    entry = _RULES.get(key)
    if kind.sort is Sort.CT:
        return _refusal(key, entry, kind) if entry is not None and Sort.CT not in entry.also else None
    if key in _LESION_KEYS and kind.sort in _LESIONS:
        return _LESIONS[kind.sort]
    if key in _LESION_IN_PET and kind.sort is Sort.PET:
        return blob_rules.hot_spot
    if entry is not None and kind.sort in entry.sorts:
        return entry.rule
    shown = _SHOWN.get(kind.sort)
    if shown is not None and kind.sure >= _CERTAIN and key not in shown:
        return _refusal(key, entry, kind)
    if key in _UNTOLD:
        return Absent(_UNTOLD[key])
    return None if entry is None else _refusal(key, entry, kind)


def _refusal(key: str, entry: _Entry | None, kind: Kind) -> Absent:
    """A sentence that says why this picture can't show the thing, or why no rule of mine looks for it there."""
    name = key.replace("_", " ")
    if entry is None:
        return Absent(f"{kind.words}; that doesn't show the {name}.")
    if kind.sort in entry.also:
        return Absent(f"{kind.words}; my rule for the {name} doesn't work there. It needs {entry.sorts_words}.")
    return Absent(f"{kind.words}; the {name} is seen by {entry.by}.")
