"""What an agent says when it is asked for what isn't there: organs out of the field of view, pictures of another kind.

The right answer is always "not found". What a scan can't show is known from its kind and its part of the body alone.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from napari_ibisagent import registry
from napari_ibisagent.agent.job import Job, perform
from napari_ibisagent.agent.recorder import Recorder
from napari_ibisagent.agent.stop import Limits
from napari_ibisagent.core.episode import Outcome
from napari_ibisagent.core.errors import IbisError
from napari_ibisagent.core.protocols import Locator, Policy, Segmenter
from napari_ibisagent.core.view import Plane
from napari_ibisagent.evaluation.manifest import Case, family_of
from napari_ibisagent.evaluation.runner import Skipped
from napari_ibisagent.io.read import read_scan

# Ten organs for each part of the body that a CT of it doesn't show, whatever its borders.
_HEAD = ("brain", "thyroid gland", "mandible", "left eye", "right humerus")
_PELVIS = ("urinary bladder", "prostate", "sacrum", "left hip bone", "right hip bone", "left femur", "right femur")
_FAR: dict[str, tuple[str, ...]] = {
    "thigh": (
        *("liver", "spleen", "left kidney", "right kidney", "aorta", "left lung", "right lung", "heart"),
        *("brain", "pancreas"),
    ),
    "chest": (*_PELVIS, "brain", "mandible", "small bowel"),
    "pelvis": (*_HEAD, "trachea", "left clavicle", "right clavicle", "esophagus", "skull"),
    "abdomen": (*_PELVIS, "brain", "mandible", "thyroid gland"),
    "liver": (*_PELVIS, "brain", "mandible", "thyroid gland"),
}
# What only one kind of picture shows: (the words in a case's modality that say so, what is asked for).
_KINDS: tuple[tuple[str, str], ...] = (
    ("endoscopy", "polyp"),
    ("fundus", "optic disc"),
    ("dermoscopy", "skin lesion"),
    ("microscopy histology", "cell nuclei"),
    ("ultrasound", "fetal head"),
    ("oct", "retinal fluid"),
)


@dataclass(frozen=True, slots=True)
class Denial:
    """One thing that isn't there: ``right`` where the agent said so."""

    case: str
    modality: str
    target: str
    outcome: str
    right: bool
    reason: str
    seconds: float


def absent_targets(case: Case, volume_is_ct: bool) -> tuple[str, ...]:
    """What a case can't show: ten organs for a CT volume, else what other kinds of picture show."""
    if volume_is_ct:
        part = next((part for part in _FAR if part in case.body_part.lower()), None)
        return () if part is None else _FAR[part]
    kind = case.modality.lower()
    return tuple(target for words, target in _KINDS if not any(word in kind for word in words.split()))


def deny(
    cases: Sequence[Case], policy: str, segmenter: str, max_steps: int, cancelled: Callable[[], bool] = lambda: False
) -> Iterator[Denial | Skipped]:
    """Asks every case for what it can't show; a case that can't be read is passed over with its reason."""
    agent: Policy = registry.load("policies", policy)
    tool: Segmenter = registry.load("segmenters", segmenter)
    locator = agent if isinstance(agent, Locator) else registry.load("policies", "embedded")
    for case in cases:
        if case.image is None or not case.tasks:
            continue
        try:
            volume = read_scan(case.image)
        except IbisError as error:
            yield Skipped(case.name, "", str(error))
            continue
        for target in absent_targets(case, volume.modality == "CT" and volume.shape[0] > 1):
            if cancelled():
                return
            prompt = f"segment the {target}"
            job = Job(volume, prompt, Plane.AXIAL, None, agent, tool, locator, Limits(steps=max_steps))
            started = time.perf_counter()
            episode = perform(job, Recorder()).episode
            seconds = round(time.perf_counter() - started, 3)
            outcome = "failed" if episode.outcome is None else episode.outcome.value
            right = episode.outcome is Outcome.NOT_FOUND
            yield Denial(case.name, case.modality, target, outcome, right, episode.reason, seconds)


def shares(denials: Sequence[Denial]) -> list[tuple[str, int, float]]:
    """(kind of picture, how many were asked, share rightly denied), and all of them at the end."""
    kinds = sorted({family_of(denial.modality) for denial in denials})
    groups = [(kind, [d for d in denials if family_of(d.modality) == kind]) for kind in kinds]
    groups.append(("all", list(denials)))
    return [(name, len(rows), float(np.mean([d.right for d in rows]))) for name, rows in groups if rows]
