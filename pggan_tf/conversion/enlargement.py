"""Enlarge photos to any size with a network that enlarges by a fixed factor.

The network is applied until the photo is at least as large as wanted, and a Lanczos filter then
reduces it. With a factor of 1 a photo keeps its size: a network that was trained on damaged photos
(--degrade) restores it, and the reduction takes the rest of the noise.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from pggan_tf.errors import UserError
from pggan_tf.networks import tiles

LARGEST_FACTOR = 16
_STRIP = 1 << 20  # pixels that are resized at a time, as floats


@dataclass(frozen=True)
class Enlargement:
    """The size to enlarge photos to: a factor, or the box that they shall fill."""

    factor: float = 1.0
    box: tuple[int, int] | None = None  # (width, height) in pixels; None: `factor` counts

    @classmethod
    def of_options(cls, scale: float | None, to: str | None) -> Enlargement:
        """Return the enlargement of --scale or --to. Raise UserError if they are not valid."""
        if scale is not None and to is not None:
            raise UserError("--scale and --to: give one of them.")
        if scale is None:
            return cls(box=parse_box(str(to)))
        if not 1 <= scale <= LARGEST_FACTOR:
            raise UserError(f"--scale {scale:g}: expected 1 to {LARGEST_FACTOR}.")
        return cls(scale)

    def find_size(self, height: int, width: int) -> tuple[int, int]:
        """Return (height, width) in pixels to which a photo of this height and width is enlarged.

        In a box it is the largest size that fits and keeps the proportions.

        Raises UserError if a photo is larger than the box, or would be enlarged too much.
        """
        factor = self.factor
        if self.box:
            factor = min(self.box[0] / width, self.box[1] / height)
            if factor < 1:
                raise UserError(
                    f"--to {self.box[0]}x{self.box[1]}: the photo has {width}x{height} pixels, and is only enlarged. "
                    "Give a larger size."
                )
            if factor > LARGEST_FACTOR:
                raise UserError(
                    f"--to {self.box[0]}x{self.box[1]}: {factor:.0f} times as large as a photo of {width}x{height} pixels. "
                    f"Expected {LARGEST_FACTOR} times at most."
                )
        return max(1, round(height * factor)), max(1, round(width * factor))

    def wrap(self, change: Callable, again: Callable | None = None) -> Callable:
        """Return a function (photo, progress) -> photo of the wanted size.

        Args:
            change: function (photo, progress) -> photo that enlarges by a factor of 2 or more.
            again: the same for what `change` has enlarged already (default: `change`).
        """
        later = again or change

        def enlarge(photo, progress=tiles.ignore):
            size = self.find_size(*photo.size)
            photo = change(photo, progress)  # once in any case: with a factor of 1 the network restores
            while photo.size[0] < size[0] or photo.size[1] < size[1]:
                photo = later(photo, progress)
            return reduce_photo(photo, size)

        return enlarge


def parse_box(text: str) -> tuple[int, int]:
    """Return (width, height) for '4000x3000'. Raises UserError for another text."""
    found = re.fullmatch(r"\s*(\d{1,6})\s*[xX×]\s*(\d{1,6})\s*", text)
    if not found or not int(found[1]) or not int(found[2]):
        raise UserError(f"--to {text}: expected WIDTHxHEIGHT in pixels, such as 4000x3000.")
    return int(found[1]), int(found[2])


def reduce_photo(photo, size: tuple[int, int]):
    """Return a photo reduced to (height, width) with a Lanczos filter; the same if it has that size.

    photo: `photos.Photo`.
    """
    if photo.size == size:
        return photo
    alpha = None if photo.alpha is None else _reduce(photo.alpha, size)
    return photo.with_pixels(_reduce(photo.pixels, size), alpha)


def _reduce(planes: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Return [H,W,C] of uint8 or uint16 resized to [*size,C] in the same dtype."""
    from pggan_tf.data import pixels

    most, rows = np.iinfo(planes.dtype).max, max(1, _STRIP // size[1])
    out = np.empty((*size, planes.shape[2]), planes.dtype)
    for top in range(0, size[0], rows):
        bottom = min(top + rows, size[0])
        out[top:bottom] = np.clip(np.rint(pixels.resize_rows(planes, size, "lanczos", top, bottom)), 0, most)
    return out
