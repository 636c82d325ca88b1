"""The phase of a CT's contrast medium, told from the blood in the aorta and from the liver.

Blood without contrast has 30 to 60 HU. Some 30 s after an injection the arteries are far above all else; after some
70 s the liver has its most and the aorta still 120 to 200; later both fade.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from napari_ibisagent.policies.embedded.ct.abdomen import liver_score
from napari_ibisagent.policies.embedded.ct.aorta import aorta_discs
from napari_ibisagent.policies.embedded.ct.candidates import even_candidates
from napari_ibisagent.policies.embedded.ct.survey import Survey
from napari_ibisagent.policies.embedded.ct.tubes import disc_mask

# Above this blood holds contrast: unenhanced blood stays below 65 HU even where it is thick.
_ENHANCED_HU = 75.0
# Above this only the arteries' first passage brings it.
_ARTERIAL_HU = 220.0
# A liver without contrast has 40 to 70 HU, in the portal venous phase 90 and more.
_PORTAL_LIVER_HU = 85.0


class Timing(StrEnum):
    """When after the injection a scan was taken."""

    UNKNOWN = "contrast phase unknown"
    NONE = "without contrast"
    ARTERIAL = "arterial phase"
    PORTAL = "portal venous phase"
    OTHER = "with contrast, early or late phase"


@dataclass(frozen=True, slots=True)
class Phase:
    """The timing, and the mean HU of the blood in the aorta that tells it (None where no aorta is seen)."""

    timing: Timing
    blood_hu: float | None = None

    @property
    def words(self) -> str:
        """For the user."""
        return str(self.timing) if self.blood_hu is None else f"{self.timing} (aorta {self.blood_hu:.0f} HU)"


@functools.lru_cache(maxsize=1)
def phase_of(survey: Survey) -> Phase:
    """The contrast phase of a CT, unknown where no aorta is seen."""
    inner = disc_mask(aorta_discs(survey), survey, -3.0)
    if survey.ml(inner) < 0.3:
        return Phase(Timing.UNKNOWN)
    blood = float(np.median(survey.hu[inner]))
    if blood < _ENHANCED_HU:
        return Phase(Timing.NONE, blood)
    if blood > _ARTERIAL_HU:
        return Phase(Timing.ARTERIAL, blood)
    livers = [(liver_score(candidate, survey), candidate.hu) for candidate in even_candidates(survey)]
    score, hu = max(livers, default=(0.0, 0.0))
    return Phase(Timing.PORTAL if score > 0 and hu > _PORTAL_LIVER_HU else Timing.OTHER, blood)
