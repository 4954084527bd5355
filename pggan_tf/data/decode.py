"""The bytes of one photo -> pixels, whatever form it comes in."""

from __future__ import annotations

import numpy as np
from PIL import Image

from pggan_tf.data import decoders
from pggan_tf.data.decoders import EXTENSIONS, FORMATS, MAX_BYTES  # noqa: F401  for those who call photo()
from pggan_tf.errors import Unreadable  # noqa: F401


def _to_rgb_or_gray(image: Image.Image, channels: int) -> Image.Image:
    """Mode L, LA, RGB or RGBA -> RGB or L. Transparency is laid on white."""
    if image.mode in ("LA", "RGBA"):
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return image.convert("L" if channels == 1 else "RGB")


def photo(data: bytes | np.ndarray, channels: int = 3, least: int = 1) -> Image.Image:
    """The bytes of an image file, or its pixels uint8 [H, W(, 1|3|4)] -> an upright picture of mode RGB or L, in sRGB.

    Turned as its EXIF says; of an animation the first frame. Raises Unreadable, also where a side is below `least` pixels.
    """
    return first_of(data, channels, least)[0]


def first_of(data: bytes | np.ndarray, channels: int = 3, least: int = 1) -> tuple[Image.Image, bool]:
    """Do what `photo` does; and tell whether the file holds more pictures, which are not looked at."""
    if isinstance(data, np.ndarray):
        with decoders.reasons():
            image = Image.fromarray(data[..., 0] if data.ndim == 3 and data.shape[-1] == 1 else data)
            decoders.check_size(*image.size, least)
            return _to_rgb_or_gray(image, channels), False
    with decoders.opened(data) as pictures:
        picture = pictures.picture(least=least)
        more = pictures.has_more()
    with decoders.reasons():
        return _to_rgb_or_gray(picture.image(), channels), more


TILES = 64  # of one photo at most: those of a phone would come to 800, and a thousand of them to 40 GB


def tiles(image: Image.Image, size: int, filter: str = "lanczos") -> list[np.ndarray]:
    """All of a picture as squares uint8 [size, size, C] at its own resolution, evenly spread, as few as cover it, or TILES of
    them. One with a side below `size` is enlarged until that is `size`."""
    if min(image.size) < size:
        factor = size / min(image.size)
        image = image.resize([max(size, round(side * factor)) for side in image.size], Image.Resampling[filter.upper()])
    pixels = np.asarray(image).reshape(image.height, image.width, -1)
    starts = [np.linspace(0, side - size, -(-side // size)).round().astype(int) for side in (image.height, image.width)]
    corners = [(y, x) for y in starts[0] for x in starts[1]]
    chosen = np.linspace(0, len(corners) - 1, min(TILES, len(corners))).round().astype(int)
    return [np.ascontiguousarray(pixels[y : y + size, x : x + size]) for y, x in (corners[i] for i in chosen)]


def square(
    image: Image.Image, size: int, filter: str = "lanczos", crop: str = "centre", where: float = 0.5
) -> np.ndarray:
    """A picture -> uint8 [size, size, C].

    crop: 'centre' takes the central square; 'random' the one that lies at `where` (0..1) along the longer side; 'none' the
    whole picture, which changes its proportions if it is not square.
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
