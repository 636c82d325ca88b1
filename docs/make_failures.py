"""Draws docs/images/failures.png: what the embedded agent gets wrong, on pictures that installed packages hold.

Run it after a change of the agent and look at each picture: a caption that no longer fits is to be written anew.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from napari_ibisagent import registry
from napari_ibisagent.agent.job import Job, perform
from napari_ibisagent.agent.recorder import Recorder
from napari_ibisagent.core.overlay import PRESETS, draw_mask, grey_picture
from napari_ibisagent.core.view import Plane, view_of
from napari_ibisagent.core.volume import Volume
from napari_ibisagent.core.window import default_window
from napari_ibisagent.evaluation.phantom import make_phantom
from napari_ibisagent.io.read import read_scan

SIDE, COLUMNS, LINE = 300, 4, 15
OUTPUT = Path(__file__).parent / "images" / "failures.png"


@dataclass(frozen=True)
class Failure:
    """A picture (package and file; none: the phantom), what was asked, and what a person sees is wrong."""

    package: str
    file: str
    prompt: str
    wrong: str
    modality: str | None = None


FAILURES = (
    Failure(
        "skimage", "data/retina.jpg", "segment the optic cup", "Wrong place: the cup is the pale middle of the disc."
    ),
    Failure("skimage", "data/ihc.png", "segment the nuclei", "Wrong: they are blue here. It knows other stains only."),
    Failure(
        "skimage", "data/cell.png", "segment the cell", "Wrong: it is plain to see. “The bright round spot” finds it."
    ),
    Failure(
        *("nibabel", "tests/data/example4d.nii.gz", "segment the left thalamus"),
        "Too careful: the brain is plain to see.",
        "MR",
    ),
    Failure(
        "pydicom", "data/test_files/J2K_pixelrep_mismatch.dcm", "segment the brain", "A gap: there is no rule for it."
    ),
    Failure("pydicom", "data/test_files/CT_small.dcm", "segment the vertebra", "A gap: as “the spine” it is found."),
    Failure("", "", "segment the pancreas", "A gap: it needs a learned look. Click it yourself."),
    Failure("", "", "segment the fat", "Wrong in places: bowel walls are in it."),
)


def drawn(failure: Failure) -> Image.Image:
    """One picture with the answer drawn over it, and the words below."""
    volume = _volume(failure)
    policy, tool = registry.load("policies", "embedded"), registry.load("segmenters", registry.DEFAULT_SEGMENTER)
    result = perform(Job(volume, failure.prompt, Plane.AXIAL, None, policy, tool, policy), Recorder())
    episode = result.episode
    view = result.view or view_of(volume, Plane.AXIAL, volume.shape[0] // 2)
    picture = grey_picture(view.image, default_window(view.image, view.modality))
    shown = draw_mask(picture, episode.mask_array() if result.view else None, PRESETS["ibis"])
    image = Image.fromarray(shown)
    scale = SIDE / max(image.size)
    image = image.resize((round(image.width * scale), round(image.height * scale)))
    said = episode.outcome.value.replace("_", " ") if episode.outcome else "failed"
    card = Image.new("RGB", (SIDE + 12, SIDE + 9 * LINE), "white")
    card.paste(image, (6, 6))
    pen, font = ImageDraw.Draw(card), ImageFont.load_default(12)
    words = [("black", f"“{failure.prompt}”"), *(("#444444", line) for line in _lines(f"{said}: {episode.reason}"))]
    words += [("#a00000", line) for line in _lines(failure.wrong)]
    for number, (colour, line) in enumerate(words):
        pen.text((6, SIDE + 10 + number * LINE), line, fill=colour, font=font)
    return card


def _volume(failure: Failure) -> Volume:
    if not failure.package:
        return make_phantom().volume
    found = find_spec(failure.package)
    if found is None or found.origin is None:
        raise SystemExit(f"{failure.package} isn't installed.")
    return read_scan(Path(found.origin).parent / failure.file, modality=failure.modality)


def _lines(text: str, width: int = 47) -> list[str]:
    lines = [""]
    for word in text.split():
        if len(lines[-1]) + len(word) > width:
            lines.append("")
        lines[-1] = f"{lines[-1]} {word}".strip()
    return [line for line in lines if line]


def main() -> None:
    """Writes the sheet."""
    cards = [np.asarray(drawn(failure)) for failure in FAILURES]
    blank = np.full_like(cards[0], 255)
    cards += [blank] * (-len(cards) % COLUMNS)
    rows = [np.hstack(cards[at : at + COLUMNS]) for at in range(0, len(cards), COLUMNS)]
    Image.fromarray(np.vstack(rows)).save(OUTPUT, optimize=True)


if __name__ == "__main__":
    main()
