"""Pictures of steps: the view with the mask and the clicks drawn over it, and a contact sheet of all of them.

Clicks are told apart by colour (green positive, red negative) and by shape: a disc is the agent's, a cross a
person's. The pictures hold no metadata of the scan.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from napari_ibisagent.core.actions import Box, Click
from napari_ibisagent.core.episode import Author, Episode, Step
from napari_ibisagent.core.overlay import (
    NEGATIVE,
    POSITIVE,
    PRESETS,
    Picture,
    draw_mask,
    draw_outline,
    grey_picture,
)
from napari_ibisagent.core.view import View
from napari_ibisagent.core.window import Window, default_window
from napari_ibisagent.io.atomic import atomic_write_bytes
from napari_ibisagent.io.protect import check_folder, check_protected

_LEAST_SIDE = 512
_TILE = 320
_CAPTION = 40
_SHEET = "contact_sheet.png"


def free_folder(folder: Path, protect: Iterable[str | Path] = ()) -> Path:
    """``folder``, or ``run-2``, ``run-3``, ... in it where it holds pictures of another run, which aren't mixed.

    Raises OutputError when the folder can't be written, belongs to an input, or a picture of it is one.
    """
    inputs = [Path(path) for path in protect]
    check_folder(folder, inputs)
    free, number = folder, 1
    while taken := _pictures_in(free):
        for picture in taken:
            check_protected(picture, inputs)
        number += 1
        free = folder / f"run-{number}"
    return free


def _pictures_in(folder: Path) -> list[Path]:
    return [path for path in (*sorted(folder.glob("step_*.png")), folder / _SHEET) if path.exists()]


def write_snapshots(episode: Episode, view: View, folder: Path, window: Window | None = None) -> list[Path]:
    """A PNG for each step and a contact sheet, in ``folder`` (made if need be). Raises OutputError."""
    base = grey_picture(view.image, window or default_window(view.image, view.modality))
    pictures = [step_picture(base, step, number) for number, step in enumerate(episode.steps, start=1)]
    paths = []
    for number, picture in enumerate(pictures, start=1):
        paths.append(_saved(picture, folder / f"step_{number:02d}.png"))
    captions = [_caption(step, number) for number, step in enumerate(episode.steps, start=1)]
    first = _enlarged(base)
    sheet = contact_sheet([first, *pictures], [episode.prompt, *captions])
    paths.append(_saved(sheet, folder / _SHEET))
    return paths


def step_picture(base: Picture, step: Step, number: int) -> Image.Image:
    """The picture (H, W, 3) with a step's mask, its outline, its clicks and boxes, and its number."""
    drawn = base
    if step.mask is not None:
        mask = step.mask.array()
        drawn = draw_outline(draw_mask(base, mask, PRESETS["ibis"]), mask, (120, 255, 120))
    image = _enlarged(drawn)
    pen = ImageDraw.Draw(image)
    radius = max(4, image.width // 90)
    for prompt in step.prompts:
        if isinstance(prompt, Box):
            corners = (prompt.x0, prompt.y0, prompt.x1, prompt.y1)
            size = (image.width, image.height) * 2
            pen.rectangle([c * n for c, n in zip(corners, size, strict=True)], outline=(255, 220, 0), width=2)
    new = [a for a in step.actions if isinstance(a, Click)]
    for prompt in step.prompts:
        if isinstance(prompt, Click):
            _draw_click(pen, prompt, image.size, radius, step.author, strong=prompt in new)
    pen.text((6, 4), str(number), fill=(255, 255, 0), stroke_width=2, stroke_fill=(0, 0, 0))
    return image


def contact_sheet(pictures: list[Image.Image], captions: list[str]) -> Image.Image:
    """The pictures in rows of four, each with its caption beneath."""
    columns = min(4, len(pictures))
    rows = -(-len(pictures) // columns)
    sheet = Image.new("RGB", (columns * _TILE, rows * (_TILE + _CAPTION)), (16, 16, 16))
    pen = ImageDraw.Draw(sheet)
    for at, (picture, caption) in enumerate(zip(pictures, captions, strict=True)):
        left, top = (at % columns) * _TILE, (at // columns) * (_TILE + _CAPTION)
        tile = picture.copy()
        tile.thumbnail((_TILE - 4, _TILE - 4))
        sheet.paste(tile, (left + (_TILE - tile.width) // 2, top + (_TILE - tile.height) // 2))
        lines = [caption[i : i + 50] for i in range(0, min(len(caption), 100), 50)]
        pen.multiline_text((left + 6, top + _TILE + 2), "\n".join(lines), fill=(230, 230, 230))
    return sheet


def _draw_click(
    pen: ImageDraw.ImageDraw, click: Click, size: tuple[int, int], radius: int, author: Author, strong: bool
) -> None:
    x, y = click.x * size[0], click.y * size[1]
    colour = POSITIVE if click.positive else NEGATIVE
    r = radius if strong else 0.6 * radius
    if author is Author.HUMAN and strong:
        pen.line([x - r, y - r, x + r, y + r], fill=colour, width=4)
        pen.line([x - r, y + r, x + r, y - r], fill=colour, width=4)
        return
    pen.ellipse([x - r, y - r, x + r, y + r], fill=colour, outline=(255, 255, 255), width=2 if strong else 1)


def _caption(step: Step, number: int) -> str:
    signs = [("+" if a.positive else "-") for a in step.actions if isinstance(a, Click)]
    area = int(np.count_nonzero(step.mask.array())) if step.mask else 0
    score = "" if step.score is None else f", score {step.score:.2f}"
    return f"{number} {' '.join(signs) or 'revert'}: {area} pixels{score}, {step.author.value}, {step.verdict.value}"


def _enlarged(picture: Picture) -> Image.Image:
    """Small views are drawn larger, so that clicks and numbers can be read."""
    image = Image.fromarray(picture)
    factor = -(-_LEAST_SIDE // max(image.size))
    return (
        image if factor < 2 else image.resize((image.width * factor, image.height * factor), Image.Resampling.NEAREST)
    )


def _saved(image: Image.Image, path: Path) -> Path:
    from io import BytesIO

    buffer = BytesIO()
    image.save(buffer, "PNG")
    atomic_write_bytes(path, buffer.getvalue())
    return path
