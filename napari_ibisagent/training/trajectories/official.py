"""The two trajectory files of the published IBISAgent code, read and written (DESIGN section 6).

*Synthesis*: what its generator writes, one JSON object a picture. It holds no sign of a click and no words; we write
them as ``is_positive``, ``caption``, ``name`` and ``target`` beside the official keys, which others may ignore.
*RL converter*: what its converter reads, one object with a list of pictures. Ours there: ``name`` and ``target``.

Both hold clicks on an empty mask, one a step, each with the mask that came of it, and nothing else. Thoughts, closing
answers, the truth, IoUs and what isn't to be learned are left out on writing; a reader gets turns without thought and
no closing turn, since a file doesn't say whether its episode came to its goal or to the limit.
"""

from __future__ import annotations

import base64
import json
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any

from napari_ibisagent.core import coco_rle, masks
from napari_ibisagent.core.errors import InputError
from napari_ibisagent.training.trajectories.form import Source, Trajectory, TrajectoryStep
from napari_ibisagent.training.trajectories.official_clicks import clicked, in_mask, place, read_step, written
from napari_ibisagent.training.trajectories.strict_values import items, naming, pair, size, text

# The axes of a volume's array as it is stored, which their slices are named by; ours are named by anatomy.
_STORED_AXES = ("x", "y", "z")
# The endings that the converter tries on a picture's name.
_ENDINGS = (".png", ".jpg", ".jpeg")


def to_synthesis(trajectory: Trajectory, *, drop_reverted: bool = False) -> dict[str, Any]:
    """The synthesis form of a trajectory; ``from_synthesis`` is the way back.

    Written as type "img" with the size of the view, also where the view is a slice: their slices are cut from the
    stored array and turned by a quarter, so that its index and our mask would not belong together. Only what was read
    from type "nii" is written as such, without the volume's own size, which we don't keep.

    drop_reverted: leave out reverts along with the turns that they take back, which is an InputError otherwise, as is
    all else that the form can't hold: a box, a discard, several clicks in a turn, a given mask, a click without mask.
    """
    source, (height, width) = trajectory.source, trajectory.shape
    file = _file(trajectory)
    stored = source.plane in _STORED_AXES
    entries = []
    for number, (click, mask) in enumerate(clicked(trajectory, drop_reverted)):
        norm, pixel = written(click, trajectory.shape)
        entries.append(
            {
                "step": number,
                "coords_norm": norm,
                "coords_original": pixel,
                "mask_rle": masks.encode(mask),
                "is_positive": click.positive,
            }
        )
    volume = {
        "size": None,
        "slice_dir": source.plane,
        "slice_idx": source.index,
        "slice_size": [height, width],
        "mask_number": source.value,
        "window": None if source.window is None else _ends(source.window),
    }
    picture = {
        "format": PurePosixPath(file).suffix.removeprefix(".").lower(),
        "size": [width, height],
        "reverse": source.value == 0,
    }
    return {
        "file": file,
        "type": "nii" if stored else "img",
        "mask_file": source.mask,
        "nii_data": volume if stored else None,
        "img_data": None if stored else picture,
        "trajectory": entries,
        "name": trajectory.name,
        "caption": trajectory.prompt,
        "target": trajectory.target,
    }


def from_synthesis(values: Any, *, name: str = "", prompt: str = "", target: str = "") -> Trajectory:
    """The trajectory of a synthesis file's JSON values.

    name, prompt, target: for what the file doesn't say itself, as the official ones don't; the name is otherwise the
    picture's. A click without a sign is positive where its pixel (``coords_original``) isn't in the mask of the step
    before, and negative where it is: their generator clicks on nothing but what is missed and what is spilled, so
    that this is the sign that it had. Of a slice, ``source.plane`` and ``index`` are the stored array's axis ("x",
    "y", "z") and index, and not those of our canonical grid, which needs the volume's header.

    Raises InputError, naming picture and step, where a mask is broken or of another size, a coordinate lies outside
    of [0, 1], or the clicks don't fit the picture's size.
    """
    with naming("A synthesis trajectory"):
        file, entries = text(values["file"]), items(values["trajectory"])
    with naming(f"The trajectory of {file}"):
        source, shape = _source(values, file)
        steps: list[TrajectoryStep] = []
        for number, entry in enumerate(entries):
            with naming(f"Step {number} of the trajectory of {file}"):
                if entry.get("step", number) != number:
                    raise ValueError(f"it is numbered {entry['step']!r}")
                at = place(entry["coords_norm"], entry["coords_original"], shape)
                sign = entry.get("is_positive")
                if sign is None:
                    sign = not (steps and in_mask(entry["coords_original"], steps[-1].mask))
                steps.append(read_step(at, sign, masks.decode(text(entry["mask_rle"]), shape)))
        return Trajectory(
            name=text(values.get("name", "")) or name or _stem(file),
            prompt=text(values.get("caption", "")) or prompt,
            target=text(values.get("target", "")) or target,
            shape=shape,
            steps=tuple(steps),
            source=source,
        )


def to_rl(trajectories: Iterable[Trajectory], *, drop_reverted: bool = False) -> dict[str, Any]:
    """The RL converter's form of trajectories; ``from_rl`` is the way back.

    ``image_name`` is the picture's path without its ending, as the converter looks it up. drop_reverted, and what is
    an InputError: as in ``to_synthesis``; and a trajectory without any click, whose size the form has no place for.
    """
    return {"data": [_sample(trajectory, drop_reverted) for trajectory in trajectories]}


def from_rl(values: Any) -> tuple[Trajectory, ...]:
    """The trajectories of an RL converter's file.

    A mask's ``size`` is [height, width]; where only the swapped one fits the clicks, that is taken, as the converter
    does when it sees the picture. Of several captions the first is taken, as there. Raises InputError as
    ``from_synthesis`` does, and where a picture has no clicks or several sizes.
    """
    with naming("An RL trajectory file"):
        samples = items(values["data"])
    return tuple(_from_sample(sample, number) for number, sample in enumerate(samples))


def read_official(path: str | Path) -> tuple[Trajectory, ...]:
    """The trajectories of a file in either form: JSON, or JSON Lines with an object of either form in each line.

    Names that occur twice are numbered. Raises InputError where the file can't be read, or isn't of these forms.
    """
    path = Path(path)
    found: list[Trajectory] = []
    try:
        for values in _documents(path):
            found += _of_either_form(values)
    except InputError as error:
        raise InputError(f"{path.name}: {error}") from error
    return _told_apart(found)


def _sample(trajectory: Trajectory, drop_reverted: bool) -> dict[str, Any]:
    file = PurePosixPath(_file(trajectory))
    clicks = []
    for click, mask in clicked(trajectory, drop_reverted):
        norm, pixel = written(click, trajectory.shape)
        counts = base64.b64encode(zlib.compress(coco_rle.encode(mask).encode("ascii"))).decode("ascii")
        clicks.append(
            {
                "is_positive": click.positive,
                "coor": pixel,
                "coor_norm": norm,
                "mask": {"counts": counts, "size": list(trajectory.shape)},
            }
        )
    if not clicks:
        raise InputError(
            f"The trajectory {trajectory.name} has no click, and the RL form keeps a picture's size with its clicks. "
            "Leave it out, or write the synthesis form."
        )
    return {
        "image_name": str(file.with_suffix("") if file.suffix.lower() in _ENDINGS else file),
        "mask_name": trajectory.source.mask or trajectory.name,
        "caption": trajectory.prompt,
        "clicks_list": clicks,
        "name": trajectory.name,
        "target": trajectory.target,
    }


def _from_sample(values: Any, number: int) -> Trajectory:
    with naming(f"The picture {number} of an RL trajectory file"):
        image, mask_name, caption = text(values["image_name"]), text(values["mask_name"]), values["caption"]
        caption = text(caption if isinstance(caption, str) else items(caption)[0])
    with naming(f"The trajectory of {image}"):
        clicks = items(values["clicks_list"])
        if not clicks:
            raise ValueError("it has no clicks, so that its size isn't known")
        shape = _shape_that_fits(clicks)
        steps = []
        for at, click in enumerate(clicks):
            with naming(f"Step {at} of the trajectory of {image}"):
                if click["mask"]["size"] != clicks[0]["mask"]["size"]:
                    raise ValueError(f"its mask has the size {click['mask']['size']}, unlike the first one's")
                letters = zlib.decompress(base64.b64decode(text(click["mask"]["counts"]), validate=True))
                mask = coco_rle.decode(letters.decode("ascii"), shape)
                steps.append(read_step(place(click["coor_norm"], click["coor"], shape), click["is_positive"], mask))
        return Trajectory(
            name=text(values.get("name", "")) or _stem(mask_name),
            prompt=caption,
            target=text(values.get("target", "")),
            shape=shape,
            steps=tuple(steps),
            source=Source(image=image, mask=mask_name),
        )


def _shape_that_fits(clicks: Sequence[Any]) -> tuple[int, int]:
    """(H, W) of a picture; a click that fits neither order is left for its step to tell."""
    height, width = shape = size(clicks[0]["mask"]["size"])
    swapped = (width, height)
    return swapped if not _all_fit(clicks, shape) and _all_fit(clicks, swapped) else shape


def _all_fit(clicks: Sequence[Any], shape: tuple[int, int]) -> bool:
    try:
        for click in clicks:
            place(click["coor_norm"], click["coor"], shape)
    except (KeyError, TypeError, ValueError, OverflowError):
        return False
    return True


def _source(values: Any, file: str) -> tuple[Source, tuple[int, int]]:
    """Where a synthesis file's picture comes from, and its (H, W)."""
    mask = text(values["mask_file"])
    if values["type"] == "img":
        about = values["img_data"]
        width, height = size(about["size"])
        return Source(image=file, mask=mask, value=0 if about["reverse"] else None), (height, width)
    if values["type"] != "nii":
        raise ValueError(f"its type is {values['type']!r}, and neither img nor nii")
    about = values["nii_data"]
    axis = text(about["slice_dir"]).lower()
    if axis not in _STORED_AXES:
        raise ValueError(f"its slice_dir is {axis!r}, and none of {', '.join(_STORED_AXES)}")
    number, window = about["mask_number"], about["window"]
    source = Source(
        image=file,
        mask=mask,
        value=None if number is None else int(number),
        plane=axis,
        index=int(about["slice_idx"]),
        window=None if window is None else _level_and_width(window),
    )
    return source, size(about["slice_size"])


def _level_and_width(ends: Any) -> tuple[float, float]:
    low, high = pair(ends)
    return (low + high) / 2, high - low


def _ends(window: tuple[float, float]) -> list[float]:
    level, width = window
    return [level - width / 2, level + width / 2]


def _file(trajectory: Trajectory) -> str:
    return trajectory.source.picture or trajectory.source.image or trajectory.name


def _stem(file: str) -> str:
    name = PurePosixPath(file.replace("\\", "/")).name
    return name.removesuffix(".gz").rsplit(".", maxsplit=1)[0] or name


def _documents(path: Path) -> list[Any]:
    """The objects of a file: a JSON object, a JSON list of them, or one in each line."""
    try:
        content = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise InputError(f"The file can't be read: {error.strerror}. Choose another one.") from error
    except UnicodeDecodeError as error:
        raise InputError("The file isn't text, so it holds no trajectories. Choose another one.") from error
    try:
        whole = json.loads(content)
        return whole if isinstance(whole, list) else [whole]
    except (ValueError, RecursionError):
        return [_line(line, number) for number, line in enumerate(content.split("\n"), 1) if line.strip()]


def _line(line: str, number: int) -> Any:
    try:
        return json.loads(line)
    except (ValueError, RecursionError) as error:
        raise InputError(
            f"The file is neither JSON nor JSON Lines: line {number} can't be read ({error}). Choose another one."
        ) from error


def _of_either_form(values: Any) -> tuple[Trajectory, ...]:
    if isinstance(values, dict):
        if "data" in values:
            return from_rl(values)
        if "clicks_list" in values:
            return from_rl({"data": [values]})
        if "trajectory" in values:
            return (from_synthesis(values),)
        if "steps" in values:
            raise InputError("The file holds trajectories in our own form, which is read as it is: it isn't official.")
    raise InputError(
        'The file is in neither of the official forms: those have "trajectory" or "data" at their top. '
        "Choose another one."
    )


def _told_apart(trajectories: Iterable[Trajectory]) -> tuple[Trajectory, ...]:
    taken: set[str] = set()
    found = []
    for trajectory in trajectories:
        name, number = trajectory.name, 1
        while name in taken:
            number += 1
            name = f"{trajectory.name}-{number}"
        taken.add(name)
        found.append(replace(trajectory, name=name))
    return tuple(found)
