"""Wholes of a manifest whose truth is there in parts only: the lungs as lobes, the spine as vertebrae.

A person asks for the whole; so it is a task of its own, with the union of its parts as the truth. Which label is a part
of what comes from the knowledge base; a part counts in one whole, so the sacrum in the pelvis and not in the spine.
Leaves out wholes that a case labels itself, and those with a single part.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from napari_ibisagent.core.knowledge import Structure, resolve
from napari_ibisagent.core.knowledge.structure import closure
from napari_ibisagent.evaluation.manifest import Case, Task


@dataclass(frozen=True, slots=True)
class _Whole:
    """A structure of the knowledge base, what it is called, and what each of its parts is (a bone, a lobe)."""

    key: str
    name: str
    made_of: str


_WHOLES = (_Whole("lung", "lungs", "lobe"), _Whole("pelvis", "pelvis", "bone"), _Whole("spine", "spine", "bone"))


def with_wholes(cases: Sequence[Case], knowledge: tuple[Structure, ...]) -> tuple[Case, ...]:
    """The cases, each with a task more for every whole of which it labels several parts."""
    by_key = {structure.key: structure for structure in knowledge}

    def added(case: Case) -> tuple[Task, ...]:
        named = [(task, resolve(task.prompt, knowledge).structure) for task in case.tasks]
        known = [(task, structure) for task, structure in named if structure is not None]
        tasks: list[Task] = []
        taken: list[Task] = []
        for whole in _WHOLES:
            parts = tuple(
                task
                for task, structure in known
                if task not in taken
                and whole.key in closure(structure, by_key, "part_of")
                and whole.made_of in closure(structure, by_key, "is_a")
            )
            labelled = any(structure.key == whole.key for _, structure in known)
            taken += parts
            if len(parts) > 1 and not labelled:
                tasks.append(
                    replace(
                        parts[0],
                        target=whole.name,
                        prompt=f"segment the {whole.name}",
                        reasoning_prompt=None,
                        parts=parts,
                    )
                )
        return tuple(tasks)

    return tuple(replace(case, tasks=case.tasks + added(case)) for case in cases)
