"""Decode photos to learn from to plain RGB or gray, and cut squares out of them.

Photos that are changed and written again go through `photos`, which keeps what else is in their
files.
"""

from __future__ import annotations

import numpy as np
from PIL import Image

from pggan_tf.data import decoders
from pggan_tf.data.decoders import EXTENSIONS, FORMATS, MAX_BYTES  # noqa: F401  for users
from pggan_tf.errors import Unreadable  # noqa: F401


def _to_rgb_or_gray(image: Image.Image, channels: int) -> Image.Image:
    """Convert mode L, LA, RGB or RGBA to RGB or L. What is transparent becomes white."""
    if image.mode in ("LA", "RGBA"):
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return image.convert("L" if channels == 1 else "RGB")


def decode_photo(data: bytes | np.ndarray, channels: int = 3, least: int = 1) -> Image.Image:
    """Decode an image file to an upright picture in sRGB.

    data: the bytes of the file, or pixels uint8 [H, W(, 1|3|4)]. Of an animation, this is the first
    frame. channels: 1 for mode L, otherwise RGB. Raises Unreadable, also where a side is below
    `least` pixels.
    """
    return decode_first(data, channels, least)[0]


def decode_first(data: bytes | np.ndarray, channels: int = 3, least: int = 1) -> tuple[Image.Image, bool]:
    """Do what `decode_photo` does, and tell whether the file holds more pictures."""
    if isinstance(data, np.ndarray):
        with decoders.raise_unreadable():
            image = Image.fromarray(data[..., 0] if data.ndim == 3 and data.shape[-1] == 1 else data)
            decoders.check_size(*image.size, least)
            return _to_rgb_or_gray(image, channels), False
    with decoders.open_pictures(data) as pictures:
        picture = pictures.picture(least=least)
        more = pictures.has_more()
    with decoders.raise_unreadable():
        return _to_rgb_or_gray(picture.image(), channels), more


# Of one photo at most: a phone's photo has 800 of 128 px, and those of a thousand photos would fill
# 40 GB.
TILES = 64


def cut_tiles(image: Image.Image, size: int, filter: str = "lanczos") -> list[np.ndarray]:
    """Cut all of a picture into squares uint8 [size, size, C] at its own resolution.

    The squares are evenly spread: as few as cover the picture, or TILES of them. A picture with a
    side below `size` is enlarged until that side is `size`.
    """
    if min(image.size) < size:
        factor = size / min(image.size)
        image = image.resize([max(size, round(side * factor)) for side in image.size], Image.Resampling[filter.upper()])
    pixels = np.asarray(image).reshape(image.height, image.width, -1)
    starts = [np.linspace(0, side - size, -(-side // size)).round().astype(int) for side in (image.height, image.width)]
    corners = [(y, x) for y in starts[0] for x in starts[1]]
    chosen = np.linspace(0, len(corners) - 1, min(TILES, len(corners))).round().astype(int)
    return [np.ascontiguousarray(pixels[y : y + size, x : x + size]) for y, x in (corners[i] for i in chosen)]


def cut_square(
    image: Image.Image, size: int, filter: str = "lanczos", crop: str = "centre", where: float = 0.5
) -> np.ndarray:
    """Cut a square out of a picture and resize it to uint8 [size, size, C].

    Args:
        image: the picture.
        size: pixels of a side of the result.
        filter: one of pixels.FILTERS.
        crop: 'centre' takes the central square, 'random' the one at `where`, 'none' the whole
            picture, out of proportion.
        where: place of the square along the longer side, 0..1.
    """
    side = min(image.size)
    if crop == "none":
        box = None
    elif crop == "centre":
        left, top = (image.width - side) // 2, (image.height - side) // 2
        box = (left, top, left + side, top + side)
    else:
        left, top = round(where * (image.width - side)), round(where * (image.height - side))
        box = (left, top, left + side, top + side)
    out = np.asarray(image.resize((size, size), Image.Resampling[filter.upper()], box=box))
    return out.reshape(size, size, -1)
