"""What kind of picture a view is: by its header where there is one, else by how it looks.

A rule is used only where the picture can be of its kind, and a thing that a kind can't show is refused with that
reason; so ``UNKNOWN`` is a fine answer, and better than a wrong one. What the statistics mean:

- colour: mucosa and fundus are red with little blue, stains by haematoxylin and eosin have the least green, skin is
  pale and reaches the picture's edges;
- speckle of ultrasound grows with brightness, is there in every part, and is coarser across the beam than along it
  (Burckhardt, Speckle in ultrasound B-mode scans, 1978); the noise of the other kinds is alike in both directions;
- a projection (X-ray) is smooth and fills the picture; a slice lies on a dark ground.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from weakref import WeakKeyDictionary

import numpy as np
from scipy import ndimage as ndi

from napari_ibisagent.core.masks import Mask, iou
from napari_ibisagent.core.view import Plane, View, view_of
from napari_ibisagent.core.volume import Volume
from napari_ibisagent.policies.embedded.pictures.heads import head_of
from napari_ibisagent.policies.embedded.pictures.lung_fields import lung_fields
from napari_ibisagent.policies.embedded.pictures.retina_layers import retina_of
from napari_ibisagent.policies.embedded.pictures.shapes import correlation
from napari_ibisagent.policies.embedded.pictures.small import Grey, Small, small_of


class Sort(StrEnum):
    """The kinds of pictures, named as they stand in "this looks like …"."""

    CT = "a CT in Hounsfield units"
    SLICE = "a grey slice of a CT or MR scan"
    BRAIN = "a slice of a head"
    MR = "an MR slice"
    CHEST = "a chest X-ray"
    XRAY = "an X-ray picture"
    ULTRASOUND = "an ultrasound picture"
    ENDOSCOPY = "an endoscopy picture"
    DERMOSCOPY = "a close picture of skin"
    FUNDUS = "a picture of the back of an eye"
    OCT = "an OCT of the retina"
    HISTOLOGY = "stained tissue under a microscope"
    FLUORESCENCE = "fluorescence microscopy"
    PET = "a PET scan"
    UNKNOWN = "a picture of a kind that I don't recognise"


@dataclass(frozen=True, slots=True)
class Kind:
    """The likeliest sort, how sure that is (0 to 1), and what speaks for it. stated: by the header."""

    sort: Sort
    sure: float
    facts: tuple[str, ...] = ()
    stated: bool = False

    @property
    def words(self) -> str:
        """ "This is an ultrasound picture", or "this looks like" one."""
        return f"This {'is' if self.stated else 'looks like'} {self.sort.value}"


_CODES = {
    **dict.fromkeys(("CT",), Sort.CT),
    **dict.fromkeys(("MR", "MRI"), Sort.MR),
    **dict.fromkeys(("US", "ULTRASOUND", "IVUS"), Sort.ULTRASOUND),
    **dict.fromkeys(("CR", "DX", "RG", "XA", "RF", "MG", "X-RAY", "XRAY"), Sort.XRAY),
    **dict.fromkeys(("PT", "PET"), Sort.PET),
    **dict.fromkeys(("ES", "ENDOSCOPY"), Sort.ENDOSCOPY),
    **dict.fromkeys(("OP", "FUNDUS"), Sort.FUNDUS),
    **dict.fromkeys(("OPT", "OCT"), Sort.OCT),
    **dict.fromkeys(("DMS", "DERMOSCOPY"), Sort.DERMOSCOPY),
    **dict.fromkeys(("SM", "HISTOLOGY"), Sort.HISTOLOGY),
    **dict.fromkeys(("FLUORESCENCE",), Sort.FLUORESCENCE),
    **dict.fromkeys(("NM",), Sort.UNKNOWN),
}
# "OT" (other), "SC" (a screenshot) and a missing header say nothing about the kind.
_LEAST_SIDE = 24
# Whether the middle of a stack shows a head, for the scans in use: it is asked for on every slice that doesn't.
_HEADS: WeakKeyDictionary[Volume, bool] = WeakKeyDictionary()


def kind_of(view: View, volume: Volume) -> Kind:
    """What kind of picture a view of a volume is."""
    return kind_of_small(small_of(view), view.plane, volume)


def kind_of_small(small: Small, plane: Plane, volume: Volume) -> Kind:
    """``kind_of`` for a view that has been shrunk already."""
    words = volume.modality.upper().replace(",", " ").split()
    stated = _CODES.get(words[0]) if words else None
    if stated is Sort.MR and _shows_head(small, plane, volume):
        return Kind(Sort.BRAIN, 0.9, ("the header says MR", "one oval, alike on both sides"), True)
    if stated is Sort.XRAY and lung_fields(small) is not None:
        return Kind(Sort.CHEST, 0.9, ("the header says X-ray", "two lung fields side by side"), True)
    if stated is not None:
        return Kind(stated, 1.0, (f"the header says {words[0]}",), True)
    if min(small.shape) < _LEAST_SIDE or float(small.grey.std()) < 1e-3:
        return Kind(Sort.UNKNOWN, 1.0, ("too small or empty",))
    if small.colour is not None:
        return _of_colour(small, small.colour)
    if is_noise(small.grey):
        return Kind(Sort.UNKNOWN, 1.0, ("nothing but noise",))
    if volume.has_spacing and min(volume.shape) > 4:
        return _of_volume(small, plane, volume)
    return _of_grey(small)


def is_noise(grey: Grey) -> bool:
    """Whether neighbouring pixels have nothing to do with each other."""
    rough = grey - ndi.gaussian_filter(grey, 3)
    return correlation(rough[1:], rough[:-1]) < 0.15 and correlation(rough[:, 1:], rough[:, :-1]) < 0.15


def _of_volume(small: Small, plane: Plane, volume: Volume) -> Kind:
    """A stack of slices without a modality: CT by its air, PET by its large voxels and hot spots, else MR."""
    step = tuple(slice(None, None, max(1, n // 48)) for n in volume.shape)
    sample = np.asarray(volume.data[step], np.float32)
    least, middle = float(sample.min()), float(np.median(sample))
    if least < -900 and np.mean((sample < -900) & (sample > -1100)) > 0.05:
        return Kind(Sort.CT, 0.9, ("a twentieth of it is at -1000, the HU of air",))
    # Voxels of 3.5 mm and more in all directions but one, and nearly everything far below the hottest spot.
    if sorted(volume.spacing_mm)[1] >= 3.5 and least >= 0 and middle < 0.1 * float(sample.max()):
        return Kind(Sort.PET, 0.7, (f"voxels of {max(volume.spacing_mm):.1f} mm", "few spots far above the rest"))
    if _shows_head(small, plane, volume):
        return Kind(Sort.BRAIN, 0.8, ("one oval of a head's size", "alike on both sides"))
    return Kind(Sort.MR, 0.7, ("a stack of slices, not in Hounsfield units",))


def _shows_head(small: Small, plane: Plane, volume: Volume) -> bool:
    """Whether the view, or in a stack one of three axial slices about the middle, shows a head."""
    if plane is Plane.AXIAL and head_of(small) is not None:
        return True
    if volume.shape[0] < 5 or not volume.has_orientation:
        return False
    if volume not in _HEADS:
        axial = (view_of(volume, Plane.AXIAL, int(at * volume.shape[0])) for at in (0.5, 0.35, 0.65))
        _HEADS[volume] = any(head_of(small_of(view, 128)) is not None for view in axial)
    return _HEADS[volume]


def _of_colour(small: Small, colour: Grey) -> Kind:
    """Endoscopy, fundus, skin, stained tissue or something else, by tint and field."""
    lit = small.field & (colour.max(axis=2) > 0.15)
    red, green, blue = (colour[..., channel][lit] for channel in range(3))
    fine = _detail(small)
    framed = 1 - float(small.field.mean())
    purple = float(np.mean((green < red) & (green < blue)))
    reddish = float(np.mean((red > green) & (red > blue)))
    if purple > 0.7 and fine > 0.085 and framed < 0.1:
        return Kind(Sort.HISTOLOGY, 0.85, (f"pink and purple in {100 * purple:.0f} %", "fine grained"))
    if reddish < 0.7:
        return Kind(Sort.UNKNOWN, 0.5, ("a colour picture of an unfamiliar tint",))
    if framed > 0.05 and _round_field(small.field) > 0.98 and fine < 0.09 and _reflections(colour) < 5:
        warm = float(np.mean((red > green) & (green > blue)))
        if warm > 0.6:
            return Kind(Sort.FUNDUS, 0.85, ("a round field on black", "orange to red, smooth"))
    # Skin is pale, so that even blue is reflected well, and fills the picture; mucosa is deep red on a black frame.
    pale = float(np.median(blue / np.maximum(red, 0.05)))
    bright = float(np.median(red))
    if framed < 0.02 and bright > 0.5 and pale > 0.42 and fine < 0.12:
        return Kind(Sort.DERMOSCOPY, 0.7, ("pale and reddish up to the edges",))
    if pale < 0.75 and framed > 0.02 and float(np.mean(red > 1.15 * green)) > 0.6:
        return Kind(Sort.ENDOSCOPY, 0.75, ("red with little blue", "a dark frame or a dark hollow at the edge"))
    return Kind(Sort.UNKNOWN, 0.4, ("a reddish colour picture without the marks of a kind that I know",))


def _of_grey(small: Small) -> Kind:
    """A grey picture without a header."""
    framed = 1 - float(small.field.mean())
    if is_fluorescence(small):
        return Kind(Sort.FLUORESCENCE, 0.75, ("many small bright parts of like size on a dark ground",))
    rough, cross = speckle(small)
    if retina_of(small) is not None and rough > 0.1:
        return Kind(Sort.OCT, 0.8, ("a bright band from edge to edge", "dark above and below"))
    # A brighter display (gamma) flattens speckle, so the limit for its roughness lies below the usual 0.1 to 0.3.
    if rough > 0.075 and cross > 0.2:
        return Kind(Sort.ULTRASOUND, 0.8, ("speckle everywhere that is coarser across the beam",))
    lungs = lung_fields(small) if framed < 0.2 else None
    if lungs is not None and rough < 0.1 and small.field[_middle(small.shape)].mean() > 0.9:
        return Kind(Sort.CHEST, 0.8, ("two dark fields alike side by side", "smooth, and fills the picture"))
    head = head_of(small)
    if head is not None:
        return Kind(Sort.BRAIN, 0.6, ("one oval on a dark ground", "alike on both sides"))
    if framed > 0.2 and rough < 0.25:
        return Kind(Sort.SLICE, 0.6, ("a body on a dark ground",))
    if rough > 0.08:
        return Kind(Sort.SLICE, 0.5, ("grey tissue without speckle",))
    return Kind(Sort.UNKNOWN, 0.4, ("a grey picture without the marks of a kind that I know",))


def speckle(small: Small) -> tuple[float, float]:
    """(how much the smoothest quarter varies relative to its brightness, by how much the texture is wider than high).

    Zeros where variation doesn't grow with brightness: that is no speckle. A texture that is higher than wide counts
    as well: the picture may have been turned.
    """
    mean = ndi.gaussian_filter(small.grey, 2)
    spread = np.sqrt(np.maximum(ndi.gaussian_filter(small.grey**2, 2) - mean**2, 0))
    inside = ndi.binary_erosion(small.field, iterations=4) & (mean > 0.06) & (mean < 0.8)
    if np.count_nonzero(inside) < 200:
        return 0.0, 0.0
    rough = float(np.percentile(spread[inside] / mean[inside], 25))
    wide = np.asarray(ndi.gaussian_filter(small.grey, 3))
    fine = np.where(inside, (small.grey - wide) / (wide + 0.03), 0)
    power = float((fine * fine).sum()) or 1.0
    along, across = float((fine[2:] * fine[:-2]).sum()) / power, float((fine[:, 2:] * fine[:, :-2]).sum()) / power
    grows = correlation(mean[inside], spread[inside]) > 0.28
    return rough, abs(across - along) if grows else 0.0


def is_fluorescence(small: Small) -> bool:
    """Whether many small parts of like size shine on a ground that is dark nearly everywhere."""
    ground = float(np.median(small.grey))
    noise = 1.4826 * float(np.median(np.abs(small.grey - ground)))
    level = max(ground + 5 * noise, 0.5 * (ground + float(np.percentile(small.grey, 99))) * 0.5)
    shine = ndi.binary_opening(small.grey > level)
    parts, _ = ndi.label(shine)
    sizes = np.bincount(parts.ravel())
    share = float(shine.mean())
    kept = np.nonzero(sizes >= 9)[0][1:]
    if kept.size < 8 or not 0.01 < share < 0.4 or ground > 0.25:
        return False
    # The ground is one: what doesn't shine differs by noise only. A body or a beam leaves many shades.
    rest = small.grey[~ndi.binary_dilation(shine, iterations=3)]
    if rest.size == 0 or float(np.percentile(rest, 95)) > 0.5 * level:
        return False
    return bool(sizes[kept].max() < 0.05 * small.grey.size and sizes[kept].max() < 0.35 * sizes[kept].sum())


def _detail(small: Small) -> float:
    """Standard deviation, as a share of the range, of what is finer than a fortieth of the picture."""
    inside = ndi.binary_erosion(small.field, iterations=4)
    if not inside.any():
        return 1.0
    coarse = ndi.gaussian_filter(small.grey, max(small.shape) / 40)
    return float(np.std((small.grey - coarse)[inside]))


def _reflections(colour: Grey) -> int:
    """How many separate spots are nearly white: wet mucosa reflects the lamp in many, a retina at most in its disc."""
    return int(ndi.label(colour.min(axis=2) > 0.85)[1])


def _round_field(field: Mask) -> float:
    """Overlap of the field with the disc round its middle (cut by the picture where it is wider)."""
    filled = ndi.binary_fill_holes(field)
    rows, columns = np.nonzero(filled)
    if rows.size == 0:
        return 0.0
    y, x = (rows.min() + rows.max()) / 2, (columns.min() + columns.max()) / 2
    radius = max(float(np.ptp(rows)), float(np.ptp(columns))) / 2 + 0.5
    yy, xx = np.ogrid[: field.shape[0], : field.shape[1]]
    return iou(np.asarray((yy - y) ** 2 + (xx - x) ** 2 <= radius**2), filled)


def _middle(shape: tuple[int, int]) -> tuple[slice, slice]:
    height, width = shape
    return slice(height // 8, height - height // 8), slice(width // 8, width - width // 8)
