"""A tiny model that can learn by heart, and trajectories to learn: bright shapes, one click each, then the end."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np

from napari_ibisagent.core.view import Plane, View
from napari_ibisagent.core.window import Window
from napari_ibisagent.io.prompts import write_templates
from napari_ibisagent.training.trajectories.exercises import Exercise
from napari_ibisagent.training.trajectories.filters import Filters
from napari_ibisagent.training.trajectories.form import Source, to_json
from napari_ibisagent.training.trajectories.simulate import Recipe
from napari_ibisagent.training.trajectories.synthesis import Order, synthesise
from napari_ibisagent.training.trajectories.writing import Folder, read_folder

SIDE = 56
# Where the shapes lie: (row, column) of the middle, by the prompt.
SHAPES = {"segment the disc": (16, 16), "segment the square": (38, 38)}


def picture(prompt, seed=0):
    """(picture, truth), each (SIDE, SIDE)."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:SIDE, 0:SIDE]
    masks = {
        name: (np.hypot(y - row, x - column) if "disc" in name else np.maximum(abs(y - row), abs(x - column))) < 9
        for name, (row, column) in SHAPES.items()
    }
    image = rng.integers(20, 50, (SIDE, SIDE)).astype(np.uint8)
    for mask in masks.values():
        image[mask] = 200
    return image, masks[prompt]


def exercise(prompt, number=0):
    image, truth = picture(prompt, number)
    view = View(image, Plane.AXIAL, 0, (SIDE, SIDE), None)
    other = next(picture(name)[1] for name in SHAPES if name != prompt)
    source = Source(image=f"scan-{number}.nii", window=(127.5, 255.0))
    return Exercise(
        f"{number}/{prompt}", view, truth, prompt[12:], prompt, Window(127.5, 255.0), source, wrong={"other": other}
    )


class Shapes:
    """As many scans as are asked for, each with every shape."""

    name = "shapes"

    def __init__(self, scans):
        self._scans = scans

    def exercises(self):
        for number in range(self._scans):
            for prompt in SHAPES:
                yield exercise(prompt, number)


def write_lessons(path, scans=2, story=None):
    """Writes trajectories; returns them."""
    stories = {"direct": 1.0} if story is None else {story: 1.0}
    recipe = Recipe(stories=stories, brief=True, decimals=2)
    with Folder(path) as folder:
        for made in synthesise([Shapes(scans)], Order(recipe, Filters(8, 0.5), "geodesic"), folder):
            assert made.trajectory is not None, made.reason
    return list(read_folder(path))


def write_pupil(folder, texts, family="qwen2_5_vl", *, hidden=64, seed=0, template=None):
    """Writes an untrained checkpoint whose tokens are words; returns its folder."""
    from napari_ibisagent.evaluation.bench.random_models import image_settings, random_qwen, size_of
    from napari_ibisagent.policies.qwen_vl import PROMPTS
    from napari_ibisagent.training.nano.model import TEMPLATES, tokenizer

    words = tokenizer([*texts] * 3)
    words.chat_template = template
    size = replace(size_of("tiny"), hidden=hidden, intermediate=2 * hidden, full_layers=(0, 1))
    random_qwen(size, words, family=family, seed=seed).save_pretrained(folder)
    words.save_pretrained(folder)
    (folder / "preprocessor_config.json").write_text(json.dumps(image_settings(family)), "utf-8")
    write_templates(folder / PROMPTS, TEMPLATES)
    return folder


def words_of(trajectories):
    """All that is read and said."""
    return [words for one in trajectories for words in (one.prompt, *said_in(one))]


def said_in(trajectory):
    """The texts of its turns, as stored."""
    return [step["turn"] for step in to_json(trajectory)["steps"]]


def taught(folder, family="qwen2_5_vl", *, history=False, steps=100):
    """Writes a checkpoint that knows two trajectories by heart: (its folder, the trajectories, theirs)."""
    from napari_ibisagent.core.dialects import dialect
    from napari_ibisagent.core.dialects.conversation import Speech
    from napari_ibisagent.core.overlay import overlay_preset
    from napari_ibisagent.policies.qwen_vl import PROMPTS
    from napari_ibisagent.policies.qwen_vl.loading import Machine, open_checkpoint
    from napari_ibisagent.training.nano.model import TEMPLATES
    from napari_ibisagent.training.sft.examples import Maker, Shelf
    from napari_ibisagent.training.sft.loop import Schooling, fine_tune
    from napari_ibisagent.training.trajectories.writing import picture_of

    lessons = folder / "lessons"
    learned = write_lessons(lessons, 1)
    pupil = write_pupil(folder / "pupil", words_of(learned), family)
    opened = open_checkpoint(str(pupil), Machine("cpu", "float32"), 262_144)
    maker = Maker(opened, Speech(TEMPLATES, dialect("ibis").render, history), overlay_preset("ibis"))
    shelf = Shelf(learned, lambda one: picture_of(one, lessons), maker)
    schooling = Schooling(steps, batch=4, rate=3e-3, lora=0, eye=True, save_every=1000, board=False)
    fine_tune(opened, shelf, schooling, folder / "taught", source=pupil)
    write_templates(folder / "taught" / PROMPTS, TEMPLATES)
    return folder / "taught", learned, lessons
