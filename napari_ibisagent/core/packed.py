"""``PackedMask``: a mask as the events keep it."""

from __future__ import annotations

from dataclasses import dataclass

from napari_ibisagent.core import masks


@dataclass(frozen=True, slots=True)
class PackedMask:
    """A mask in its text form: small, comparable, hashable. ``shape`` is (H, W) of the view."""

    shape: tuple[int, ...]
    runs: str

    @staticmethod
    def of(mask: masks.Mask) -> PackedMask:
        """The packed form of a mask of any shape."""
        return PackedMask(tuple(int(n) for n in mask.shape), masks.encode(mask))

    def array(self) -> masks.Mask:
        """The mask as a new array. Raises ValueError where the text is broken."""
        return masks.decode(self.runs, self.shape)
