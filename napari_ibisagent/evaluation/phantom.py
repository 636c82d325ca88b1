"""``make_phantom``: a made-up abdominal CT with its truth, for demonstrations, tests and measurements.

Organs are implicit solids: a signed distance in mm (negative inside), bent by smooth noise, cut to the body
cavity and blended by coverage, which is what partial volume is. Distances are in the frame of a standard
patient: z down from the top of the scan, y backwards and x to the patient's left from the middle of the body.
A patient of another size is that frame stretched. Later solids cover earlier ones.

What it leaves out: disease, arms, motion and metal, and everything outside lung bases to iliac crest (so
there is no bladder, prostate or brain to be found). It measures plumbing, never clinical accuracy.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from napari_ibisagent.core.volume import Volume
from napari_ibisagent.evaluation.canvas import (
    FAT,
    LABEL,
    NAMES,
    Box,
    Canvas,
    Field,
    Point,
    capsule,
    cut,
    ellipsoid,
    join,
    point,
)

_MUSCLE = 55.0


@dataclass(frozen=True, eq=False, slots=True)
class Phantom:
    """A made-up scan and its truth.

    volume: modality "CT", int16 HU (Z, Y, X). labels: (Z, Y, X) uint8 on the same grid, 0 outside the body.
    names: what each label value but 0 is.
    """

    volume: Volume
    labels: NDArray[np.uint8]
    names: dict[int, str]

    def mask(self, name: str) -> NDArray[np.bool_]:
        """(Z, Y, X), where the structure is. Raises KeyError for a name that isn't among ``names``."""
        return np.asarray(self.labels == LABEL[name])


def make_phantom(seed: int = 0, spacing_mm: tuple[float, float, float] = (3.0, 1.5, 1.5)) -> Phantom:
    """The abdomen of the patient ``seed`` in the portal venous phase; ``spacing_mm`` is (z, y, x).

    The same seed and spacing give the same voxels.
    """
    canvas = Canvas(np.random.default_rng(seed), spacing_mm)
    _table(canvas)
    _body(canvas)
    _lungs(canvas)
    _bowel(canvas)
    _stomach(canvas)
    _solid_organs(canvas)
    _retroperitoneum(canvas)
    _spine(canvas)
    _ribs(canvas)
    return Phantom(_as_volume(_scanned(canvas), spacing_mm, seed), canvas.labels, dict(NAMES))


def _table(canvas: Canvas) -> None:
    _, y, x = canvas.frame((slice(0, 1), slice(None), slice(None)))
    for depth, width, hu in ((131.0, 185.0, 160.0), (158.0, 150.0, 20.0)):
        arc = np.abs(np.hypot(x, y - (depth - 620)) - 620) - 1.5
        inside = np.maximum(arc, np.maximum(np.abs(x) - width, -y))
        canvas.paint((slice(None), slice(None), slice(None)), np.asarray(inside, dtype=np.float32), hu)


def _outline(canvas: Canvas, box: Box, half: tuple[float, float], power: float, furrow: float) -> Field:
    """The distance (Y, X) to the skin of one axial section."""
    _, y, x = (p[0] for p in canvas.frame(box))
    angle = np.arctan2(y, x)
    inverse = np.abs(np.cos(angle) / half[1]) ** power + np.abs(np.sin(angle) / half[0]) ** power
    radius = inverse ** (-1 / power) - furrow * np.exp(-((x / 16) ** 2)) * (y > 0)
    for n in (2, 3, 4, 5):
        radius = radius + canvas.rng.normal(0, 1.2) * np.cos(n * angle + canvas.rng.uniform(0, 6.3))
    level = np.hypot(x, y) - radius
    dy, dx = np.gradient(level, y[:, 0], x[0])
    # The gradient grows without bound towards the middle, where a distance matters least.
    return np.asarray(level / np.clip(np.hypot(dy, dx), 1, 1.4), dtype=np.float32)


def _body(canvas: Canvas) -> None:
    """Skin, fat, the muscular wall and the diaphragm; sets the spaces that later organs are cut to."""
    box = canvas.box((-1, -145, -200), (999, 128, 200))
    z, y, x = frame = canvas.frame(box)
    lower = np.clip((z - 90) / 80, 0, 1)  # 0 in the chest, 1 in the abdomen
    chest, belly = _outline(canvas, box, (117, 172), 2.3, 5), _outline(canvas, box, (116, 178), 2.45, 8)
    skin = chest * (1 - lower) + belly * lower - 4 * np.cos((z - 20) / 38)
    side = (x / 175) ** 2
    fat = 7 + 3 * lower + (4 + 5 * lower) * np.where(y > 0, 1 - 0.6 * side, 0.6) + 5 * lower * side
    fascia = skin + fat * canvas.rng.uniform(0.8, 1.35)
    back = 30 * np.exp(-((x / 52) ** 4)) * np.clip(y / 40, 0, 1)
    rectus = (1 - 3 * lower - 1.5 * np.exp(-((x / 7) ** 2))) * np.exp(-((x / 75) ** 4)) * (y < 0)
    wall = 12 + back + rectus + 3 * lower * side
    cavity = fascia + wall
    right = ellipsoid(frame, canvas.near((128, -2, -60)), (98, 112, 112))
    dome = join(right, ellipsoid(frame, canvas.near((132, -2, 66)), (90, 112, 108)), 24)
    below = np.maximum(cavity, np.where(z < 128, dome, np.float32(-99)))
    for name, field in (("cavity", cavity), ("dome", dome), ("abdomen", below + 3)):
        setattr(canvas, name, canvas.whole(box, field))
    canvas.paint(box, skin, 25.0, "skin")
    strands = FAT + canvas.bumps(box, 9, 7)
    canvas.paint(box, skin + 2, strands, "fat")
    canvas.paint(box, fascia, _MUSCLE, "muscle")
    # The flank is three sheets of muscle with fat between them.
    seam = np.maximum(np.abs(fascia + wall * 0.52) - 0.2, np.abs(y + 5) - 75)
    gutter = np.hypot((np.abs(x) - 32) / 1.35, y - 80) - 25 + 3 * np.cos(z / 40)
    canvas.paint(box, cut(2 - gutter, 48 - y, np.abs(x) - 62, cavity * 0 + fascia + 1.5), -70.0)
    canvas.paint(box, np.maximum(gutter, fascia), _MUSCLE, "muscle")
    canvas.paint(box, np.maximum(seam, 100 - 60 * lower - np.abs(x)), -40.0)
    canvas.paint(box, cavity, strands, "fat")
    canvas.paint(box, below, _MUSCLE, "muscle")  # the diaphragm is what the abdomen leaves of it
    canvas.paint(box, below + 3, strands, "fat")


def _lungs(canvas: Canvas) -> None:
    """Both lung bases with their vessels, and the heart and the oesophagus between them."""
    box = canvas.box((-1, -130, -180), (128, 110, 180))
    z, y, x = frame = canvas.frame(box)
    middle = ellipsoid((z * 0, y, x), (0, 18, 0), (99, 45, 34))
    front = ellipsoid((z * 0, y, x), (0, -80, 10), (99, 60, 11))
    lung = cut(canvas.cavity[box] + 1.5, -canvas.dome[box], -middle, -front)
    heart = ellipsoid(frame, canvas.near((-12, -42, 24)), (48, 40, 62), roll=-0.4)
    heart = np.maximum(heart + canvas.bumps(box, 40, 1.5), canvas.cavity[box] + 5)
    for half, name in ((x, "right lung"), (-x, "left lung")):
        canvas.paint(box, np.maximum(lung, half), -850.0 + canvas.bumps(box, 10, 14), name)
    for side in (-1, 1):
        for _ in range(70):
            start = canvas.rng.uniform((-5, -80, 35), (100, 75, 140))
            outwards = (start - (-60, 0, 35)) * canvas.rng.uniform(0.1, 0.3)
            a, b = start * (1, 1, side), (start + outwards) * (1, 1, side)
            radius = canvas.rng.uniform(0.8, 2.6)
            part, pipe = canvas.tube([point(a), point(b)], [radius, radius * 0.6], 3)
            clear = cut(canvas.cavity[part] + 3, 3 - canvas.dome[part], pipe)
            canvas.paint(part, clear, 40.0)
    canvas.paint(box, np.maximum(heart - 4, -canvas.dome[box]), FAT, "fat")
    canvas.paint(box, np.maximum(heart, 1.5 - canvas.dome[box]), 135 * canvas.phase, "heart")
    part, pipe = canvas.tube([(-9, 2, 6), (30, -8, 10), (62, -14, 28)], [8, 8, 7])
    canvas.paint(part, pipe, 60.0, "esophagus")
    canvas.paint(part, pipe + 6, -200.0)


def _bowel(canvas: Canvas) -> None:
    """Colon with stool and gas, and the loops of the small bowel."""
    walk = [(180.0, 10.0, 20.0)]
    for n in range(64):
        step = canvas.rng.uniform((-16, -15, -38), (17, 15, 38)) + ((0, 0, 16) if n % 2 else (0, 0, -16))
        walk.append(point(np.clip(np.add(walk[-1], step), (150, -64, -78), (250, 4, 96))))
    gut = list(canvas.rng.uniform(9, 12.5, len(walk)))
    box, pipe = canvas.tube(walk, gut)
    pipe = np.maximum(pipe + canvas.bumps(box, 9, 0.8), canvas.abdomen[box] + 3)
    canvas.paint(box, pipe, 95.0 * canvas.phase, "small bowel", rim=1)
    canvas.paint(box, pipe + 2.2, 32.0 + canvas.bumps(box, 8, 9))
    right = [(252, 10, -112), (215, 14, -116), (190, 2, -112), (176, -34, -104)]
    across = [(178, -66, -80), (190, -78, -40), (194, -80, 0), (184, -78, 45), (150, -62, 92)]
    left = [(112, -46, 116), (128, 10, 124), (160, 28, 126), (205, 30, 124), (252, 22, 116)]
    path = [canvas.near(p) for p in right + across + left]
    box, pipe = canvas.tube(path, [25, 24, 22, 19, 19, 18, 17, 17, 17, 16, 14, 13, 12, 12])
    z, y, x = canvas.frame(box)
    haustra = 1.8 * np.cos((z - x) / 5.5)
    pipe = np.maximum(pipe + haustra + canvas.bumps(box, 22, 1.5), canvas.abdomen[box] + 2)
    canvas.paint(box, pipe, 85.0, "colon", rim=1.5)
    mottled = canvas.bumps(box, 5)
    stool = np.where(mottled > 1.1, -600, 30 + 25 * mottled)
    level = -72 + 4 * np.clip((150 - z) / 20, 0, 9)  # gas lies in front: patients lie on their back
    canvas.paint(box, pipe + 2.5, np.where(y < level, np.float32(-950), stool))


def _stomach(canvas: Canvas) -> None:
    """Stomach with a fluid level, duodenum and pancreas."""
    path = [(64, 4, 62), (84, -22, 74), (108, -46, 70), (130, -62, 42), (134, -56, 8), (136, -36, -18)]
    box, pouch = canvas.tube([canvas.near(p) for p in path], [31, 36, 31, 24, 18, 9], 10)
    pouch = np.maximum(pouch + canvas.bumps(box, 30, 2) + canvas.bumps(box, 9, 0.6), canvas.abdomen[box] + 1)
    loop = [(137, -34, -20), (144, -16, -40), (170, -6, -44), (186, 2, -28), (188, -14, 2), (178, -12, 30)]
    part, pipe = canvas.tube([canvas.near(p, 1.5) for p in loop], [11, 12, 12, 11, 9, 9])
    pipe = pipe + canvas.bumps(part, 10, 0.8)
    canvas.paint(part, pipe, 95.0, "duodenum", rim=1)
    canvas.paint(part, pipe + 2.5, 30.0)
    tail = [(158, -16, -22), (142, -24, -14), (132, -28, 8), (126, -18, 34), (114, 4, 62), (104, 18, 80)]
    part, gland = canvas.tube([canvas.near(p, 1.5) for p in tail], [14, 13, 9.5, 10, 10, 9])
    lobules = canvas.bumps(part, 5)
    gland = np.maximum(gland + 1.3 * lobules, canvas.abdomen[part] + 2)
    canvas.paint(part, gland, 100 * canvas.phase - 8 * lobules, "pancreas", rim=1.5)
    canvas.paint(box, pouch, 90.0 * canvas.phase, "stomach", rim=1.5)
    level = canvas.rng.uniform(-60, -50)
    fluid = 15.0 + canvas.bumps(box, 7, 6)
    canvas.paint(box, pouch + 4, np.where(canvas.frame(box)[1] < level, np.float32(-950), fluid))


def _kidney(canvas: Canvas, box: Box, centre: Point, side: int) -> tuple[Field, Field]:
    """The organ without its sinus, and the whole bean; ``side`` is 1 on the patient's left."""
    frame = canvas.frame(box)
    bean = ellipsoid(frame, centre, (56, 28, 30), tilt=0.2 * side, roll=0.35 * side)
    hilum = (centre[0], centre[1] - 11, centre[2] - 19 * side)
    sinus = ellipsoid(frame, hilum, (23, 10, 15), tilt=0.2 * side, roll=0.75 * side)
    bean = bean + _coarse(frame, centre)
    return np.maximum(bean, -sinus), bean


def _coarse(frame: tuple[Field, Field, Field], centre: Point) -> Field:
    """Lobulation of a kidney: the same for every box that it is asked for."""
    z, y, x = (p - np.float32(c) for p, c in zip(frame, centre, strict=True))
    return np.asarray(0.9 * np.sin(z / 9 + y / 14) + 0.7 * np.cos(x / 10 - z / 13), dtype=np.float32)


def _solid_organs(canvas: Canvas) -> None:
    """Liver with its vessels, gallbladder, spleen and kidneys."""
    right, left = canvas.near((146, 26, -62)), canvas.near((134, 26, 64))
    box = canvas.box((-1, -128, -178), (225, 100, 100))
    z, y, x = frame = canvas.frame(box)
    lobe = ellipsoid(frame, canvas.near((108, 4, -92)), (92, 82, 62), tilt=0.14)
    lobe = join(lobe, ellipsoid(frame, canvas.near((72, -52, 2)), (42, 36, 70), tilt=-0.2), 26)
    under = (z - 130 + 0.55 * (x + 40) + 0.18 * (y + 20)) * 0.84  # the visceral surface slants
    spine = 44 - np.hypot(x * 1.05, (y - 22) * 1.1)
    fissure = np.float32(1.5) - np.hypot((x + 8 + 0.3 * y) * 0.9, np.clip(100 - z, 0, None))
    lobe = lobe + canvas.bumps(box, 34, 2.2)
    lobe = -join(-lobe, -under, 14)
    bean = np.minimum(_kidney(canvas, box, right, -1)[1], np.hypot(y - 44, x + 44) - 36 + np.clip(96 - z, 0, None))
    liver = cut(lobe, spine, fissure, 7 - bean, canvas.abdomen[box] + 0.5)
    canvas.paint(box, liver, 110 * canvas.phase, "liver")
    _vessels(canvas, canvas.whole(box, liver))
    neck = canvas.near((150, -42, -52), 2)
    part, pear = canvas.tube([(neck[0] - 16, neck[1] + 12, neck[2] + 10), neck], [6, 13.5])
    canvas.paint(part, pear - 1.5, 70.0)
    canvas.paint(part, pear, 10.0, "gallbladder")
    part = canvas.box((20, -60, 40), (170, 110, 178))
    middle = canvas.near((96, 30, 112))
    spleen = ellipsoid(canvas.frame(part), middle, (52, 43, 30), tilt=-0.25, roll=0.35)
    hollow = ellipsoid(canvas.frame(part), point(np.subtract(middle, (0, 14, 46))), (60, 44, 36), roll=0.3)
    spleen = cut(spleen + canvas.bumps(part, 26, 2), -hollow, canvas.abdomen[part] + 0.5)
    canvas.paint(part, spleen, 120 * canvas.phase, "spleen", rim=1)
    for name, centre, side in (("right kidney", right, -1), ("left kidney", left, 1)):
        part = canvas.around(centre, (70, 44, 48))
        organ, bean = _kidney(canvas, part, centre, side)
        pyramid = np.maximum(bean + 6, 3 * np.cos(canvas.frame(part)[0] / 2.6) - 1)
        canvas.paint(part, bean, FAT, "fat", rim=3)
        canvas.paint(part, organ, 180 * canvas.phase, name)
        canvas.paint(part, np.maximum(organ, pyramid), 150 * canvas.phase)


def _vessels(canvas: Canvas, liver: Field) -> None:
    """Portal and hepatic veins inside the liver; its label keeps them, as outlines by hand do."""
    twigs: list[tuple[Point, Point, float]] = [
        ((118, -12, -34), (-0.25, 0.1, -1), 6.0),
        ((118, -12, -34), (-0.6, -0.6, 0.7), 6.0),
        ((52, 2, -24), (0.5, 0.3, -1), 5.6),
        ((52, 2, -24), (0.5, -0.8, -0.6), 5.6),
        ((52, 2, -24), (0.3, -0.8, 0.5), 5.6),
    ]
    while twigs:
        start, heading, radius = twigs.pop()
        direction = np.array(heading) / np.linalg.norm(heading)
        end = point(start + direction * radius * canvas.rng.uniform(4, 7))
        box, pipe = canvas.tube([start, end], [radius, radius * 0.8], 3)
        canvas.paint(box, np.maximum(pipe, liver[box] + 2), 155 * canvas.phase)
        if radius > 1.5:
            forks = direction + canvas.rng.normal(0, 0.5, (2, 3))
            twigs += [(end, point(fork), radius * 0.74) for fork in forks]


def _retroperitoneum(canvas: Canvas) -> None:
    """Psoas, crura, adrenal glands and the great vessels with their first branches."""
    art, vein = 160 * canvas.phase, 145 * canvas.phase
    for side, name in ((-1, "right adrenal gland"), (1, "left adrenal gland")):
        box, pipe = canvas.tube([(130, 30, 30 * side), (185, 26, 38 * side), (250, 18, 50 * side)], [5, 15, 21])
        canvas.paint(box, pipe + canvas.bumps(box, 20, 0.8), _MUSCLE, "muscle")
        box, pipe = canvas.tube([(60, 14, 22 * side), (110, 14, 20 * side), (160, 16, 12 * side)], [5, 5, 3])
        canvas.paint(box, pipe, _MUSCLE, "muscle")
        top = (84 - 2 * side, 8, (36 - 3 * side) * side)
        for y, x in ((24, 44), (26, 31)):
            box, pipe = canvas.tube([top, (104 - 2 * side, y, x * side)], [3.6, 2.8])
            canvas.paint(box, pipe, 85.0, name)
    pipes: list[tuple[str, float, list[Point], list[float]]] = [
        ("portal vein", vein, [(158, -22, -14), (136, -14, -20), (118, -12, -34)], [5.5, 6.5, 6]),
        ("portal vein", vein, [(138, -15, -18), (130, -12, 20), (116, 8, 58), (104, 18, 84)], [5, 4, 4, 3.5]),
        ("", vein, [(158, -22, -14), (200, -32, -12), (250, -36, -14)], [5.5, 5, 4]),
        ("", art, [(134, -8, 9), (146, -24, 6), (200, -34, 4), (250, -38, -2)], [4, 3.5, 3.5, 3]),
        ("", art, [(118, -8, 9), (116, -24, 8), (112, -22, 30)], [3.5, 3.5, 2.5]),
        ("", vein, [(140, 16, 46), (140, -14, 18), (142, -6, -16)], [5, 4.5, 5]),
        ("", vein, [(150, 16, -44), (146, -2, -20)], [5, 5]),
        (
            "inferior vena cava",
            vein,
            [(14, -16, -12), (40, 2, -22), (150, 2, -22), (250, 4, -19)],
            [13, 12.5, 11, 10],
        ),
        ("aorta", art, [(-9, 16, 24), (60, 6, 15), (150, -1, 10), (250, 1, 8)], [11.5, 11, 10, 8.5]),
    ]
    for name, hu, path, radii in pipes:
        box, pipe = canvas.tube([canvas.near(p, 0.8) for p in path], radii)
        canvas.paint(box, pipe - 1, FAT, "fat")
        canvas.paint(box, pipe, hu, name)


def _spine(canvas: Canvas) -> None:
    """Vertebrae with discs, arches and processes; they repeat every 34 mm."""
    box = canvas.box((-1, 4, -50), (999, 100, 50))
    z, y, x = canvas.frame(box)
    y = y - 4 - 4 * np.cos(z / 76)  # lordosis
    level = (z + canvas.rng.uniform(0, 34)) % 34 - 17
    section = ellipsoid((z * 0, y, x), (0, 29, 0), (99, 17, 23)) + np.where(y > 40, 0.6, 0)
    canvas.paint(box, np.maximum(section + 0.5, np.abs(level) - 17), 85.0, "spine")
    body = np.maximum(section + 2.2 * (1 - (level / 13) ** 2), np.abs(level) - 12.5)
    ring = np.abs(np.hypot(x * 0.85, y - 54) - 11.5) - 2.6
    arch = np.maximum(ring, np.where(y < 52, np.abs(level + 4) - 6, np.abs(level) - 11))
    thorn = np.maximum(np.abs(x) - 2.6, np.maximum(np.abs(level - 6) - 9, np.abs(y - 76) - 13))
    wings = [capsule((level, y, x), (-3, 52, 12 * n), (-3, 58, 36 * n), 5, 3.2) for n in (-1, 1)]
    facets = [ellipsoid((np.abs(level), y, x), (15, 58, 15 * n), (8, 6, 6)) for n in (-1, 1)]
    behind = -cut(-arch, -thorn, *(-part for part in (*wings, *facets)))
    for part, shell in ((body, 1.8), (behind, 2.0)):
        bone = part + canvas.bumps(box, 10, 0.4)
        canvas.paint(box, bone, 560.0, "spine")
        canvas.paint(box, bone + shell, 200.0 + canvas.bumps(box, 4, 28))
    canal = np.hypot(x * 0.85, y - 54) - 8.5 + z * 0
    canvas.paint(box, canal, 30.0, "spinal canal")


def _ribs(canvas: Canvas) -> None:
    """Ribs run in the wall just outside the cavity, downwards to the front, shorter the lower they are."""
    box = canvas.box((-1, -128, -178), (190, 110, 178))
    z, y, x = canvas.frame(box)
    turn = np.arctan2(np.abs(x), y + 5)  # 0 at the back, pi at the front
    along = z - 46 * turn + 12 + canvas.rng.uniform(0, 12)
    number = np.floor(along / 30)
    depth = canvas.cavity[box] - 4.5
    thick = np.hypot(depth / 3.2, (along - 30 * number - 15) / 5.5) - 1
    end = turn - np.clip(2.75 - 0.42 * number, 0.5, 2.4)
    rib = np.maximum(np.maximum(thick * 4, end * 60), (42 - np.abs(x)) * 0.8)
    canvas.paint(box, rib, 520.0, "ribs")
    canvas.paint(box, rib + 2, 230.0)


def _scanned(canvas: Canvas) -> NDArray[np.int16]:
    """HU as a scanner would give them: texture, a little blur, and noise that knows its neighbours."""
    hu = canvas.hu
    whole = (slice(None), slice(None), slice(None))
    hu += canvas.bumps(whole, 3.5, 4.5) * np.clip((hu + 1000) / 1000, 0, 1)
    noise = canvas.rng.standard_normal(hu.shape, dtype=np.float32)
    _, y, x = canvas.frame(whole)
    # Neighbours are correlated by the reconstruction kernel; the middle sees the fewest photons.
    for axis in (1, 2):
        noise = ndimage.correlate1d(noise, np.array([0.25, 1, 0.25]) / np.sqrt(1.125), axis)
        hu = ndimage.correlate1d(hu, np.array([0.235, 0.53, 0.235]), axis, mode="nearest")
    hu += noise * (14 - 5 * np.clip(np.hypot(x, y) / 200, 0, 1))
    return np.asarray(np.rint(np.clip(hu, -1024, 3071)), dtype=np.int16)


def _as_volume(canonical: NDArray[np.int16], spacing_mm: Point, seed: int) -> Volume:
    """Through the same door as a NIfTI file in RAS+ order, so that the same turn is taken."""
    source = canonical[::-1, ::-1, ::-1].transpose(2, 1, 0)
    affine = np.diag([spacing_mm[2], spacing_mm[1], spacing_mm[0], 1.0])
    centre = np.array([2.5, -14.0, -120.0])  # of the field of view: patients never lie in the very middle
    affine[:3, 3] = centre - (np.array(source.shape) - 1) / 2 * affine.diagonal()[:3]
    return Volume.from_source(source, affine, modality="CT", name=f"phantom-{seed}")
