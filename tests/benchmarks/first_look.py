"""How well the click tool tells from one click how large a thing is, on generated pictures; fits the weights of that.

    python tests/benchmarks/first_look.py --label-maps LABEL_MAPS [--count 300] [--fit]

Each generated picture gets one click into its target's middle. Printed is the mean IoU with the weights in use, with
the agreement or the certainty alone, and with the best look of each picture, which no choice can beat; then the mean
IoU after 1, 2, 3 and 5 clicks. With ``--fit`` other weights are tried, one at a time, as long as that helps; half of
the pictures are kept back to say whether it really does.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np

from napari_ibisagent.core.clicks import next_click
from napari_ibisagent.core.masks import iou
from napari_ibisagent.core.view import Plane, view_of
from napari_ibisagent.core.volume import Volume
from napari_ibisagent.segmenters import embedded
from napari_ibisagent.segmenters._choice import WEIGHTS
from napari_ibisagent.training.clicknet.labelmaps import read_label_maps
from napari_ibisagent.training.clicknet.scenes import Scene, draw_scene

SIDE, SEED = 224, 7_777
STEPS = (0.0, 0.03, 0.06, 0.1, 0.2, 0.3, 0.5, 0.75, 1.0, 1.5, 2.0)

Looked = tuple[np.ndarray, np.ndarray]


def say(line: str) -> None:
    """Prints a line."""
    sys.stdout.write(f"{line}\n")


def view_on(scene: Scene):
    """A generated picture as a view: grey as 16 bit, colour as 8 bit."""
    low, high = float(scene.image.min()), float(scene.image.max())
    scaled = (scene.image - low) / max(high - low, 1e-6)
    grey = scaled.ndim == 2
    stored = (scaled * 2000).astype(np.int16) if grey else (scaled * 255).astype(np.uint8)
    source = np.swapaxes(stored, 0, 1)[:, :, np.newaxis]
    volume = Volume.from_source(source, np.diag([-1.0, -1.0, 1.0, 1.0]), name="generated")
    return view_of(volume, Plane.AXIAL, 0)


def looked(tool, scene: Scene) -> Looked:
    """(IoU of each look, its measures)."""
    view = view_on(scene)
    click = next_click(np.zeros_like(scene.target), scene.target)
    assert click is not None and view.shape == scene.target.shape
    opened = tool.open(view)
    answers = opened._looks(click, (click,))
    overlaps = np.array([iou(opened._on_view(answer), scene.target) for answer in answers])
    return overlaps, opened._measures(answers, click)


def played(tool, scene: Scene) -> list[float]:
    """The IoU after each of five clicks against the tool's own errors."""
    opened, mask, prompts, overlaps = tool.open(view_on(scene)), np.zeros_like(scene.target), [], []
    for _ in range(5):
        click = next_click(mask, scene.target)
        if click is not None:
            prompts.append(click)
            mask = opened.segment(tuple(prompts), None).mask
        overlaps.append(iou(mask, scene.target))
    return overlaps


def chosen(pictures: list[Looked], weights: np.ndarray) -> float:
    """The mean IoU of what some weights choose."""
    return float(np.mean([overlaps[(found @ weights).argmax()] for overlaps, found in pictures]))


def fitted(pictures: list[Looked]) -> np.ndarray:
    """Weights that choose better: one after another is set to the best of ``STEPS``, the agreement's stays 1."""
    weights, best = WEIGHTS.copy(), chosen(pictures, WEIGHTS)
    improved = True
    while improved:
        improved = False
        for place in range(1, len(weights)):
            for value in STEPS:
                tried = weights.copy()
                tried[place] = value
                worth = chosen(pictures, tried)
                if worth > best + 5e-4:
                    weights, best, improved = tried, worth, True
    return weights


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--label-maps", type=Path)
    parser.add_argument("--count", type=int, default=300)
    parser.add_argument("--fit", action="store_true")
    options = parser.parse_args()
    maps = () if options.label_maps is None else read_label_maps(options.label_maps)
    rng, tool = np.random.default_rng(SEED), embedded.build()
    scenes = [draw_scene(rng, SIDE, maps) for _ in range(options.count)]
    pictures = [looked(tool, scene) for scene in scenes]
    for name, weights in (("in use", WEIGHTS), ("agreement alone", np.eye(4)[0]), ("certainty alone", np.eye(4)[3])):
        say(f"{name}: {chosen(pictures, weights):.3f}")
    say(f"best look of each: {np.mean([overlaps.max() for overlaps, _ in pictures]):.3f}")
    after = np.mean([played(tool, scene) for scene in scenes], axis=0)
    say("IoU after clicks: " + ", ".join(f"{n}: {after[n - 1]:.3f}" for n in (1, 2, 3, 5)))
    if options.fit:
        half = len(pictures) // 2
        weights = fitted(pictures[:half])
        say(
            f"fitted {weights.tolist()}: {chosen(pictures[:half], weights):.3f}, on the other half "
            f"{chosen(pictures[half:], weights):.3f} (in use there: {chosen(pictures[half:], WEIGHTS):.3f})"
        )


if __name__ == "__main__":
    main()
