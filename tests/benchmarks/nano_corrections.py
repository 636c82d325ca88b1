"""Whether corrections teach: a nano agent, 200 simulated corrections on one kind of case, and what they cost elsewhere.

    python tests/benchmarks/nano_corrections.py OUT --agent resources/nano --before TRAJECTORIES

The kind of case: slices of patients who lie on their belly, so that all is turned half round; the agent has seen none.
They are segmented by the agent under review. The reviewer knows the truth: a click that mends nothing is replaced by
the one that mends most, a right one is accepted. Every session is a journal of its own,
with consent; ``export-training`` makes them training data, on which the agent is tuned together with trajectories that
it learned from before. Measured on unseen slices of that kind and on ordinary ones, before and after.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from itertools import islice
from pathlib import Path

import numpy as np
import typer
from PIL import Image

from napari_ibisagent import registry
from napari_ibisagent.agent.job import Job, perform
from napari_ibisagent.agent.recorder import Recorder
from napari_ibisagent.agent.stop import Limits
from napari_ibisagent.core.actions import Click
from napari_ibisagent.core.clicks import next_click
from napari_ibisagent.core.episode import Accepted, Author, Overridden, Proposed
from napari_ibisagent.core.masks import error_regions
from napari_ibisagent.core.session import Consented, Opened
from napari_ibisagent.core.view import Plane
from napari_ibisagent.io.journal import ENDING, Journal
from napari_ibisagent.io.read import read_scan
from napari_ibisagent.io.scanref import scan_ref
from napari_ibisagent.policies.qwen_vl.loading import Machine
from napari_ibisagent.training.corrections.export import Wish, export, journals_in
from napari_ibisagent.training.corrections.voice import Voice
from napari_ibisagent.training.nano.school import PIXELS, open_nano, speech, trial
from napari_ibisagent.training.nano.tasks import Invented
from napari_ibisagent.training.sft.loop import Schooling
from napari_ibisagent.training.sft.school import Course, gather, tutor
from napari_ibisagent.training.trajectories.writing import PICTURES, TRAJECTORIES

REVIEWED = 4_000_003


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--agent", type=Path, required=True)
    parser.add_argument("--before", type=Path, required=True, help="Trajectories that it learned from.")
    parser.add_argument("--replayed", type=int, default=700, help="How many of those.")
    parser.add_argument("--corrections", type=int, default=200)
    parser.add_argument("--steps", type=int, default=220)
    parser.add_argument("--rate", type=float, default=2e-4)
    parser.add_argument("--count", type=int, default=200)
    given = parser.parse_args()
    count = review(given)
    export(
        journals_in([given.out / "sessions"]),
        given.out / "corrections",
        Wish(typed=True, pictures=True, voice=Voice.BRIEF),
    )
    course = Course(max_pixels=PIXELS, held_out=0, trials=0, tokens=64)
    lessons = gather([given.out / "corrections", _replayed(given)], given.agent, course, Machine("cpu", "float32"))
    schooling = Schooling(given.steps, batch=32, rate=given.rate, lora=0, eye=True, board=False)
    tutor(lessons, schooling, given.out / "tuned")
    for name, folder in (("before", given.agent), ("after", given.out / "tuned")):
        model = open_nano(folder)
        kind = trial(model, spoken=speech(folder), count=given.count, prone=True)
        rest = trial(model, spoken=speech(folder), count=given.count)
        typer.echo(json.dumps({"agent": name, "corrections": count, "kind": kind.iou, "others": rest.iou}))


def _replayed(given: argparse.Namespace) -> Path:
    """Some of what it learned before, so that it doesn't forget it."""
    folder = given.out / "before"
    folder.mkdir()
    with (given.before / TRAJECTORIES).open(encoding="utf-8") as file:
        (folder / TRAJECTORIES).write_text("".join(islice(file, given.replayed)), "utf-8")
    (folder / PICTURES).symlink_to((given.before / PICTURES).resolve())
    return folder


def review(given: argparse.Namespace) -> int:
    """Sessions until there are enough corrections; how many there are."""
    sessions, pictures = given.out / "sessions", given.out / "pictures"
    for folder in (sessions, pictures):
        folder.mkdir(parents=True)
    policy = registry.load("policies", "nano", folder=str(given.agent))
    tool = registry.load("segmenters", registry.DEFAULT_SEGMENTER)
    locator = registry.load("policies", "embedded")
    made, corrected, number = Invented(0, 0, REVIEWED, prone=True), 0, 0
    while corrected < given.corrections:
        exercise = made.exercise(number)
        number += 1
        if not exercise.truth.any():
            continue
        path = pictures / f"{number}.png"
        Image.fromarray(exercise.view.image).save(path)
        volume = read_scan(path)
        reviewer = Reviewer(exercise)
        with Journal.create(sessions / f"{number}{ENDING}") as journal:
            recorder = Recorder(journal=journal)
            recorder.record(Opened(scan_ref(volume, path), "nano", tool.name))
            recorder.record(Consented(True))
            limits = Limits(steps=4)
            job = Job(volume, exercise.prompt, Plane.AXIAL, 0, policy, tool, locator, limits, exercise.window)
            perform(job, recorder, listen=reviewer)
        corrected += reviewer.corrected
    return corrected


class Reviewer:
    """A person who knows the truth."""

    def __init__(self, exercise) -> None:
        self._exercise, self.corrected = exercise, 0

    def __call__(self, event, episode):
        if not isinstance(event, Proposed):
            return None
        truth, mask, view = self._exercise.truth, episode.mask_array(), self._exercise.view
        missed, spilled = error_regions(mask, truth)
        clicks = [action for action in event.actions if isinstance(action, Click)]
        right = [(missed if c.positive else spilled)[view.pixel_of(c.x, c.y)] for c in clicks]
        better = next_click(mask, truth)
        if (clicks and all(right)) or better is None:
            return Accepted(Author.HUMAN)
        self.corrected += 1
        return Overridden((replace(better, x=round(better.x, 2), y=round(better.y, 2)),))


if __name__ == "__main__":
    np.seterr(all="raise", under="ignore")
    main()
