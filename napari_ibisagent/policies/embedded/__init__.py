"""The embedded policy: no weights, no GPU. It understands plain sentences, looks for evidence, and clicks by it.

It finds the target (``goals``: ``ct.organs`` in CT, ``pictures.rules`` elsewhere, ``salience`` for described things),
clicks where the tool's mask and its evidence differ most, takes back what made the mask worse, and stops when nothing
is left to gain (``acting``). It is honest rather than bold: whatever it doesn't know, or doesn't see well enough, ends
as "not found" with the reason.

It speaks the text of the IBISAgent dialect like every other policy. What it leaves out: learned appearance.
"""

from __future__ import annotations

from collections.abc import Iterator

from napari_ibisagent.core.dialects.ibis import render
from napari_ibisagent.core.knowledge import Structure
from napari_ibisagent.core.masks import Mask
from napari_ibisagent.core.protocols import Location, Situation
from napari_ibisagent.core.view import Plane, View, view_of
from napari_ibisagent.core.volume import Volume
from napari_ibisagent.io.knowledge import load_knowledge
from napari_ibisagent.policies.embedded.acting import next_turn
from napari_ibisagent.policies.embedded.goals import Goal, Seeker


class EmbeddedPolicy:
    """See the module. Evidence is kept for the last scan and view, so that a turn costs some ms."""

    name = "embedded"
    dialect = "ibis"

    def __init__(self, knowledge: tuple[Structure, ...]) -> None:
        self._seeker = Seeker(knowledge)
        self._goal: tuple[View, str, Goal] | None = None

    def locate(self, volume: Volume, prompt: str, plane: Plane) -> Location:
        """The slice with the most evidence; see ``Locator``."""
        return self._seeker.place(volume, prompt, plane)

    def evidence(self, volume: Volume, prompt: str, plane: Plane, index: int) -> Mask | None:
        """What is expected on a slice (H, W); see ``EvidenceSource``."""
        return self._seeker.evidence(volume, view_of(volume, plane, index), prompt)

    def act(self, situation: Situation) -> Iterator[str]:
        """The next turn as text, in pieces of a word; see ``Policy``."""
        turn = next_turn(self._goal_of(situation), situation.episode)
        for piece in render(turn).split(" "):
            yield piece + " "

    def _goal_of(self, situation: Situation) -> Goal:
        view, prompt = situation.view, situation.episode.prompt
        if self._goal is None or self._goal[0] is not view or self._goal[1] != prompt:
            self._goal = (view, prompt, self._seeker.goal(situation.volume, view, prompt))
        return self._goal[2]


def build() -> EmbeddedPolicy:
    """The embedded policy with the knowledge base of ``resources/``; it takes no options."""
    return EmbeddedPolicy(load_knowledge())
