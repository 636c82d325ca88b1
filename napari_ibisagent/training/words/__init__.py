"""Words: what an agent is asked, what it thinks on the way, and what it answers.

``questions`` makes requests from the knowledge base, ``absence`` finds what a picture doesn't show, and ``plain`` asks
for an answer in words; all three tell relations apart with ``relations``. ``thoughts`` writes the reasoning of a step
from what can be seen: ``places`` turns positions into words, ``sentences`` and ``brief`` hold the patterns that
``wording`` draws from. ``answers`` closes an episode, and ``teacher`` has a served model write thoughts anew.
"""

from __future__ import annotations

from napari_ibisagent.training.words.absence import absent
from napari_ibisagent.training.words.answers import absent_answer, answer
from napari_ibisagent.training.words.plain import plain
from napari_ibisagent.training.words.questions import reasoning, referring
from napari_ibisagent.training.words.thoughts import Kind, thought

__all__ = ["Kind", "absent", "absent_answer", "answer", "plain", "reasoning", "referring", "thought"]
